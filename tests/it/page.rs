//! The upload page: what it is made of, in whose words, and what comes along with it.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use http::Request;
use rustls::version::TLS13;
use sha2::{Digest, Sha256};

use crate::client::{Answer, Protocol};
use crate::program::Bench;
use crate::server::Server;

pub(crate) const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn request(path: &str, headers: &[(&str, &str)]) -> Request<Vec<u8>> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Vec::new()).unwrap()
}

pub(crate) fn asking(server: &Server<'_>, path: &str, headers: &[(&str, &str)]) -> Answer {
    server.send(request(path, headers))
}

/// What stands between two marks, the first time.
#[track_caller]
pub(crate) fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before);
    let found = rest.and_then(|(_, rest)| rest.split_once(after));
    found
        .unwrap_or_else(|| panic!("no {before}…{after} in {text}"))
        .0
}

#[test]
fn the_page_is_in_the_language_of_its_reader() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for (path, accept, tag) in [
        ("/", "", "en"),
        ("/", "ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("/", "fr", "en"),
        ("/?lang=ko", "en", "ko"),
        ("/?lang=en", "ko", "en"),
        ("/?lang=xx", "ko", "ko"),
    ] {
        let page = asking(&server, path, &[("accept-language", accept)]).is(200);
        assert_eq!(page.header("content-language"), tag, "{path} {accept}");
        assert_eq!(page.header("vary"), "Accept-Language, Accept-Encoding");
        let text = page.text();
        assert!(text.contains(&format!("<html lang=\"{tag}\" dir=\"ltr\">")));
        assert!(text.contains(&format!("action=\"/uploads?lang={tag}\"")));
        let other = if tag == "en" { "ko" } else { "en" };
        let switch = format!("<a href=\"/?lang={other}\" hreflang=\"{other}\" lang=\"{other}\"");
        assert!(text.contains(&switch), "{text}");
    }
}

/// What the script and the style sheet hold on to.
#[test]
fn the_page_has_what_its_script_looks_for() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--page-field", "message"]);
    let script = server.get("/upload.js").is(200).text();
    let mut ids = BTreeSet::new();
    for call in ["$('", "copyOf('"] {
        let named = script.split(call).skip(1);
        ids.extend(named.map(|rest| rest.split('\'').next().unwrap()));
    }
    assert!(ids.len() > 20, "{ids:?}");
    for path in ["/?lang=en", "/?lang=ko"] {
        let page = server.get(path).is(200).text();
        for id in &ids {
            assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
        // What is named by another, or named to browsers, is there.
        for attribute in ["aria-labelledby", "aria-describedby", "for"] {
            for named in page.split(&format!(" {attribute}=\"")).skip(1) {
                let id = format!(" id=\"{}\"", named.split('"').next().unwrap());
                assert_eq!(page.matches(&id).count(), 1, "{attribute} {id}");
            }
        }
        for part in [
            "class=\"receipt\"",
            "class=\"submission\"",
            "class=\"time\"",
            "class=\"recipients\"",
            "class=\"received\"",
            "class=\"sha256\"",
            "class=\"id\"",
            "class=\"size\"",
            "data-action=\"copy\" hidden",
            "data-action=\"print\" hidden",
            "data-action=\"save\" hidden",
            "data-action=\"remove\"",
            "data-state=\"waiting\"",
            "<template id=\"file-template\"><li class=\"file\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        // What the policy would not let be.
        for forbidden in [" style=", " onclick=", "javascript:", "<script>"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        let data = between(&page, "id=\"page-data\">", "</script>");
        assert!(!data.contains('<'));
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["endpoint"], "/uploads");
        assert_eq!(data["maxSize"], 100_u64 << 30);
        assert_eq!(data["maxName"], 32 << 10);
        assert_eq!(data["maxFields"], 1 << 20);
        assert_eq!(data["hasFields"], true);
        assert!(data["recipients"][0]["fingerprint"].is_string());
        assert!(data["messages"]["added"]["other"].is_string());
        assert!(data["receipt"]["unnamed"].is_string());
        assert!(data["problems"]["store-full"].is_string());
        // What no upload of the script's is answered with.
        assert!(data["problems"]["too-many-parts"].is_null());
    }
}

#[test]
fn the_policy_names_the_style_that_is_in_the_page() {
    let bench = Bench::new();
    let colour = ["--page-colour", "#ffcc00"];
    for args in [&[][..], &colour] {
        let server = Server::sealing(&bench, args);
        let headers = [("accept", BROWSER)];
        for answer in [
            server.get("/").is(200),
            asking(&server, "/nowhere", &headers).is(404),
        ] {
            let text = answer.text();
            let style = between(&text, "<style>", "</style>");
            let hash = BASE64.encode(&Sha256::digest(style));
            let policy = format!(
                "default-src 'none'; script-src 'self'; style-src 'sha256-{hash}'; img-src 'self'; \
                 connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                 require-trusted-types-for 'script'; trusted-types 'none'"
            );
            assert_eq!(answer.header("content-security-policy"), policy);
            assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
            assert_eq!(
                answer.header("permissions-policy"),
                "camera=(), microphone=(), geolocation=()"
            );
        }
    }
}

#[test]
fn what_the_page_loads_is_kept_until_it_changes() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let page = server.get("/").is(200);
    assert_eq!(page.header("cache-control"), "private, no-cache");
    // So that the form comes with its origin.
    assert_eq!(page.header("referrer-policy"), "same-origin");
    let page = page.text();
    for (path, media_type) in [
        ("/upload.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let plain = server.get(path).is(200);
        assert_eq!(plain.header("content-type"), media_type);
        assert_eq!(plain.header("cache-control"), "no-cache");
        let named = format!("{path}?v={}", between(&page, &format!("\"{path}?v="), "\""));
        let version = server.get(&named).is(200);
        assert_eq!(
            version.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(version.body, plain.body);
        for other in [
            format!("{path}?v=0"),
            format!("{named}0"),
            format!("{path}?x"),
        ] {
            assert_eq!(server.get(&other).header("cache-control"), "no-cache");
        }
        let tag = plain.header("etag");
        assert!(tag.starts_with('"'), "{tag}");
        for coding in ["identity", "gzip"] {
            let have = |tag: &str| {
                let headers = [("if-none-match", tag), ("accept-encoding", coding)];
                asking(&server, path, &headers)
            };
            let sent = have("\"other\"").is(200);
            let tag = sent.header("etag");
            assert_eq!(sent.header("vary"), "Accept-Encoding");
            let known = have(tag).is(304);
            assert!(known.body.is_empty());
            assert_eq!(known.header("etag"), tag);
            let over_http2 = request(
                &named,
                &[("if-none-match", tag), ("accept-encoding", coding)],
            );
            let known = server
                .send_over(Protocol::Http2, &TLS13, over_http2)
                .is(304);
            assert_eq!(
                known.header("cache-control"),
                "public, max-age=31536000, immutable"
            );
        }
    }
    // A drawing that is opened by itself may have a style, and do nothing.
    assert_eq!(
        server.get("/icon.svg").header("content-security-policy"),
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
    );
    server.get("/logo").refused(404, "not-found");
}

/// What the script imports where it needs it, from here and from nowhere else.
#[test]
fn what_others_wrote_is_served_whole() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let mut imported = vec!["sha2.js".to_owned()];
    let mut place = 0;
    while let Some(file) = imported.get(place) {
        let path = format!("/noble-hashes/{file}");
        let plain = server.get(&path).is(200);
        let text = plain.text();
        assert_eq!(
            plain.header("content-type"),
            "text/javascript; charset=utf-8"
        );
        assert_eq!(plain.header("cache-control"), "no-cache");
        let gzip = [("accept-encoding", "gzip")];
        let packed = asking(&server, &path, &gzip).is(200);
        assert_eq!(packed.header("content-encoding"), "gzip");
        assert!(packed.body.len() < plain.body.len() / 2);
        let known = [("if-none-match", plain.header("etag"))];
        asking(&server, &path, &known).is(304);
        for import in text.lines().filter(|line| line.starts_with("import ")) {
            let other = between(import, "from \"./", "\";").to_owned();
            if !imported.contains(&other) {
                imported.push(other);
            }
        }
        place += 1;
    }
    imported.sort();
    assert_eq!(imported, ["_md.js", "_u64.js", "sha2.js", "utils.js"]);
    let licence = server.get("/noble-hashes/LICENSE").is(200);
    assert_eq!(licence.header("content-type"), "text/plain; charset=utf-8");
    assert!(licence.text().starts_with("The MIT License (MIT)"));
    for path in [
        "/noble-hashes",
        "/noble-hashes/",
        "/noble-hashes/legacy.js",
        "/noble-hashes/../upload.js",
    ] {
        server.get(path).refused(404, "not-found");
    }
}

#[test]
fn a_browser_is_asked_for_the_token_before_files_are_chosen() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    let refused = asking(&server, "/?lang=ko", &[("accept", BROWSER)]).is(401);
    assert!(
        refused
            .header("www-authenticate")
            .starts_with("Basic realm=")
    );
    assert_eq!(refused.header("content-language"), "ko");
    let text = refused.text();
    assert!(text.contains("<code>unauthorized</code>") && !text.contains("id=\"form\""));
    let basic = BASE64.encode(b"anybody:an-upload-token-that-is-long");
    let basic = format!("Basic {basic}");
    let page = asking(&server, "/", &[("authorization", &basic)]).is(200);
    assert!(page.text().contains("id=\"form\""));
    // What the page that says so needs is no secret.
    server.get("/icon.svg").is(200);
}

#[test]
fn the_page_is_light() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for tag in ["en", "ko"] {
        let page = format!("/?lang={tag}");
        let weight = |headers: &[(&str, &str)]| {
            let parts = [&page[..], "/upload.js", "/icon.svg"];
            parts.map(|path| asking(&server, path, headers).is(200).body.len())
        };
        let plain: usize = weight(&[]).iter().sum();
        assert!(plain < 100 << 10, "{plain}");
        // As browsers ask for it.
        let sent = weight(&[("accept-encoding", "gzip, deflate, br, zstd")]);
        let all: usize = sent.iter().sum();
        assert!(all < 30 << 10, "{all}");
        // What a server sends before it hears of the first piece (RFC 6928) holds the whole page.
        let [page, ..] = sent;
        assert!(page < 14_000, "{page}");
    }
}
