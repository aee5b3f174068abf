//! How the operator has the page present itself.

use crate::program::Bench;
use crate::server::Server;

const SVG: &str =
    "<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"/>";

#[test]
fn title_text_and_labels_may_differ_by_language() {
    let bench = Bench::new();
    bench.write(
        "sealslot.toml",
        "page-title = { en = \"Kim & Partners\", ko = \"김앤파트너스\" }\n\
         page-text = { en = \"For our clients.\" }\n\
         page-colour = \"#AA0000\"\n\
         page-field = [\"message\", { name = \"case\", label = { en = \"Case\", ko = \"사건\" }, required = true },\n\
         { name = \"notes\", lines = 9 }]\n",
    );
    let server = Server::sealing(&bench, &[]);
    let english = server.get("/?lang=en").is(200).text();
    for part in [
        "<title>Send files to Kim &amp; Partners</title>",
        "<h1>Send files to Kim &amp; Partners</h1>",
        "<span>Kim &amp; Partners</span>",
        "<p class=\"lead\">For our clients.</p>",
        "<label for=\"field-1\">Message <span class=\"optional\">(optional)</span></label>\
         <textarea id=\"field-1\" name=\"message\" autocomplete=\"off\" rows=\"4\"></textarea>",
        "<label for=\"field-2\">Case</label><input type=\"text\" id=\"field-2\" name=\"case\" autocomplete=\"off\" required>",
        "<textarea id=\"field-3\" name=\"notes\" autocomplete=\"off\" rows=\"9\">",
        "--accent:#aa0000;",
    ] {
        assert!(english.contains(part), "{part}: {english}");
    }
    // With a field there may be a message and no file.
    assert!(english.contains("name=\"file\" multiple aria-describedby"));
    let korean = server.get("/?lang=ko").is(200).text();
    for part in [
        "<h1>김앤파트너스에 파일 보내기</h1>",
        "<p class=\"lead\" lang=\"en\">For our clients.</p>",
        "<label for=\"field-2\">사건</label>",
        "<label for=\"field-1\">메시지 <span",
    ] {
        assert!(korean.contains(part), "{part}: {korean}");
    }
}

#[test]
fn flags_and_environment_say_the_same() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    let args = ["--recipient", &recipient, "--page-title", "Flag"];
    let environment = [
        ("SEALSLOT_PAGE_TITLE", "Variable"),
        ("SEALSLOT_PAGE_FIELD", "name\nreference=Order number"),
    ];
    let server = Server::start(&bench, &args, &environment);
    let page = server.get("/").text();
    for part in [
        "Send files to Flag",
        "Your name",
        "Order number",
        "name=\"reference\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn what_the_operator_writes_is_no_markup() {
    let bench = Bench::new();
    let hostile = "</title></style><script>alert(1)</script>\"'&{title}";
    let server = Server::sealing(
        &bench,
        &[
            "--page-title",
            hostile,
            "--page-text",
            hostile,
            "--page-field",
            &format!("x={hostile}"),
        ],
    );
    for path in ["/?lang=en", "/?lang=ko"] {
        let page = server.get(path).is(200).text();
        assert!(!page.contains("<script>"), "{page}");
        assert_eq!(page.matches("</title>").count(), 1);
        assert_eq!(page.matches("</style>").count(), 1);
        assert!(
            page.matches("&lt;script&gt;alert(1)").count() >= 4,
            "{page}"
        );
    }
}

#[test]
fn a_logo_is_served_as_what_it_is() {
    let bench = Bench::new();
    for (bytes, media_type) in [
        (&b"\x89PNG\r\n\x1a\n and so on"[..], "image/png"),
        (b"\xff\xd8\xff\xe0 and so on", "image/jpeg"),
        (b"GIF89a and so on", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (SVG.as_bytes(), "image/svg+xml"),
    ] {
        // Its name says nothing.
        bench.write("logo.txt", bytes);
        let server = Server::sealing(&bench, &["--page-logo", "logo.txt"]);
        let page = server.get("/").text();
        let (_, address) = page.split_once("<img class=\"logo\" src=\"").unwrap();
        let address = address.split('"').next().unwrap();
        assert!(address.starts_with("/logo?v="), "{address}");
        let logo = server.get(address).is(200);
        assert_eq!(logo.header("content-type"), media_type);
        assert_eq!(logo.body, bytes);
        assert!(logo.header("cache-control").contains("immutable"));
        assert!(
            logo.header("content-security-policy")
                .ends_with("; sandbox")
        );
    }
}

#[test]
fn a_logo_that_is_none_is_refused_at_start() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    bench.write("page.html", "<html></html>");
    bench.write("large.svg", SVG.to_owned() + &" ".repeat(64 << 10));
    bench.write("bare.svg", "<svg/>");
    for (file, word) in [
        ("page.html", "SVG, PNG"),
        ("large.svg", "64 KiB"),
        ("bare.svg", "xmlns"),
        ("nowhere.png", "cannot read"),
    ] {
        let args = ["--recipient", &recipient, "--page-logo", file];
        let line = bench.refuses_to_serve(&args, &[]).failed(1);
        assert!(line.contains(file) && line.contains(word), "{line}");
    }
}

#[test]
fn what_makes_no_page_is_refused_in_one_line() {
    let bench = Bench::new();
    for (toml, words) in [
        ("page-title = { fr = \"x\" }", "the languages are en, ko"),
        ("page-title = 7", "a text, or a table"),
        ("page-text = { en = \"\" }", "leave the setting out"),
        ("page-title = \"a\\nb\"", "write it in one line"),
        ("page-field = [\"a b\"]", "NAME=LABEL"),
        ("page-field = [{ name = \"a\", lines = 0 }]", "lines"),
        ("page-field = [{ name = \"a\", rows = 1 }]", "rows"),
        ("page-field = [{ label = \"a\" }]", "name"),
        ("page-field = [\"a\", \"a=b\"]", "two fields named `a`"),
        ("page-colour = \"red\"", "#1f5f4a"),
    ] {
        bench.write("sealslot.toml", toml);
        let line = bench.refuses_to_serve(&[], &[]).failed(64);
        assert!(line.contains(words), "{toml}: {line}");
    }
}
