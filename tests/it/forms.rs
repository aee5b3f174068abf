//! Uploads by `multipart/form-data`, and what is wrong with some of them.

use http::Request;
use rustls::version::TLS13;
use serde_json::{Value, json};

use crate::client::{Answer, Multipart, Protocol};
use crate::program::Bench;
use crate::server::{Server, content, text};

fn receipts(answer: Answer) -> (String, Vec<Value>) {
    let submission = answer.receipt();
    let uploads = submission["uploads"].as_array().unwrap().clone();
    (text(&submission["submission"]), uploads)
}

#[test]
fn files_and_fields_become_uploads_of_one_submission() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let files = [
        ("a.bin", content(300_000)),
        ("b.bin", content(65_536)),
        ("empty", vec![]),
    ];
    for protocol in Protocol::ALL {
        let mut form = Multipart::new().text("subject", "Grüße");
        for (name, content) in &files {
            form = form.file(name, "application/x-test", content);
        }
        let form = form
            .text("subject", "twice")
            .text("bytes", [0xff, 0])
            .finish();
        let request = Request::post("/uploads").header("content-type", Multipart::TYPE);
        let answer = server.send_over(protocol, &TLS13, request.body(form).unwrap());
        let (submission, uploads) = receipts(answer);
        assert_eq!(uploads.len(), 4);
        for (upload, (name, content)) in uploads.iter().zip(&files) {
            assert_eq!(upload["submission"], *submission);
            let opened = bench.open_stored(&upload["id"]);
            assert_eq!(opened.manifest["name"], *name);
            assert_eq!(opened.manifest["submission"], submission);
            assert_eq!(opened.manifest["type"], "application/x-test");
            assert!(opened.content == *content);
        }
        assert_eq!(uploads[3]["kind"], "fields");
        let fields: Value =
            serde_json::from_slice(&bench.open_stored(&uploads[3]["id"]).content).unwrap();
        let expected = json!({"fields": [
            {"name": "subject", "value": "Grüße"},
            {"name": "subject", "value": "twice"},
            {"name": "bytes", "base64": "/wA="},
        ]});
        assert_eq!(fields, expected);
    }
}

#[test]
fn a_form_may_be_all_texts() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let (_, uploads) = receipts(server.post_form(Multipart::new().text("a", "").text("b", "c")));
    assert_eq!(uploads.len(), 1);
    assert_eq!(uploads[0]["kind"], "fields");
    let opened = bench.open_stored(&uploads[0]["id"]);
    assert_eq!(
        opened.content,
        br#"{"fields":[{"name":"a","value":""},{"name":"b","value":"c"}]}"#
    );
}

#[test]
fn texts_that_were_left_empty_are_none() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--page-field", "message"]);
    let form = || Multipart::new().text("message", "");
    server.post_form(form()).refused(400, "empty-form");
    server
        .post_form(Multipart::new().text("a", ""))
        .refused(400, "empty-form");
    server.kept_nothing();
    // Of our own form that says nothing; in another's it may be a mark.
    for (form, kinds) in [
        (form(), &["file"][..]),
        (form().text("urgent", ""), &["file", "fields"]),
    ] {
        let (_, uploads) = receipts(server.post_form(form.file("x", "a/b", "x")));
        let found: Vec<_> = uploads.iter().map(|upload| &upload["kind"]).collect();
        assert_eq!(found, kinds);
    }
}

#[test]
fn a_file_field_left_empty_is_no_upload() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let empty = || Multipart::new().file("", "application/octet-stream", "");
    server.post_form(empty()).refused(400, "empty-form");
    server
        .post_form(Multipart::new())
        .refused(400, "empty-form");
    server.kept_nothing();
    let (_, uploads) = receipts(server.post_form(empty().file("x", "text/plain", "x")));
    assert_eq!(uploads.len(), 1);
    let (_, uploads) = receipts(server.post_form(Multipart::new().file("", "a/b", "something")));
    assert_eq!(uploads[0]["name"], Value::Null);
}

#[test]
fn a_form_cut_anywhere_arrives_the_same() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    // Nearly a delimiter, again and again.
    let tricky = b"\r\n------a-boundarx\r\n------a-bounda\r\n--\r\n\r\r\n".repeat(3);
    let form = Multipart::new()
        .file("tricky", "text/plain", &tricky)
        .text("t", "v")
        .finish();
    for piece in [1, 2, 7, 64] {
        let headers = [
            &format!("Content-Type: {}", Multipart::TYPE),
            "Transfer-Encoding: chunked",
        ];
        let mut wire = server.begin("POST", "/uploads", &headers);
        for chunk in form.chunks(piece) {
            let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
            wire.send(framed);
        }
        wire.send("0\r\n\r\n");
        let (_, uploads) = receipts(wire.answer());
        assert_eq!(bench.open_stored(&uploads[0]["id"]).content, tricky);
    }
}

#[test]
fn names_in_forms_are_kept_as_they_were_given() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let long = "x".repeat(5000);
    for name in [
        "../../escaped",
        "C:\\x",
        "\u{202e}gpj.exe",
        "a\u{1}b",
        "..",
        &long,
    ] {
        let (_, uploads) = receipts(server.post_form(Multipart::new().file(name, "a/b", "x")));
        assert_eq!(uploads[0]["name"], name);
        let manifest = bench.open_stored(&uploads[0]["id"]).manifest;
        assert_eq!(manifest["name"], name);
    }
    let extended = "Content-Disposition: form-data; name=f; filename*=UTF-8''a%00b%2F..";
    let (_, uploads) = receipts(server.post_form(Multipart::new().part(extended, "x")));
    assert_eq!(uploads[0]["name"], "a\0b/..");
    assert_eq!(
        bench.names("."),
        ["certs", "data", "key", "server.log", "stranger"]
    );
}

#[test]
fn the_page_of_a_form_lists_every_file() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let form = Multipart::new()
        .file("one<script>", "a/b", "1")
        .file("two", "a/b", "2")
        .text("note", "hello");
    let request = Request::post("/uploads")
        .header("content-type", Multipart::TYPE)
        .header("accept", "text/html");
    let page = server
        .send(request.body(form.finish()).unwrap())
        .is(201)
        .text();
    assert!(
        page.contains("one&lt;script&gt;") && !page.contains("one<script"),
        "{page}"
    );
    assert!(
        page.contains("two") && page.contains("What you wrote"),
        "{page}"
    );
    assert!(!page.contains("hello"), "{page}");
}

#[test]
fn a_form_without_its_end_is_not_kept() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let whole = || {
        Multipart::new()
            .file("whole", "a/b", content(300_000))
            .text("a", "b")
    };
    let unfinished = whole().unfinished();
    for cut in [unfinished.len(), unfinished.len() - 1, 300_000, 50, 3] {
        let body = &unfinished[..cut];
        let answer = server.post("/uploads", Multipart::TYPE, body);
        answer.refused(400, "truncated-form");
    }
    // One dash short of its end.
    let mut body = whole().finish();
    body.truncate(body.len() - 3);
    server
        .post("/uploads", Multipart::TYPE, body)
        .refused(400, "truncated-form");
    server.kept_nothing();
}

#[test]
fn what_is_no_form_is_refused() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let body = || Multipart::new().file("x", "a/b", content(300_000)).finish();
    for (content_type, code) in [
        ("multipart/form-data", "missing-boundary"),
        ("multipart/form-data; boundary=", "malformed-form"),
        (
            "multipart/form-data; boundary=----a-boundary; boundary=----a-boundary",
            "duplicate-boundary",
        ),
        (
            "multipart/form-data; boundary=\"----a-boundary",
            "malformed-form",
        ),
    ] {
        server
            .post("/uploads", content_type, body())
            .refused(400, code);
    }
    for part in [
        "Content-Type: text/plain",
        "Content-Disposition: attachment; name=x",
        "Content-Disposition: form-data",
        "Content-Disposition: form-data; name=\"x",
        "Content-Disposition: form-data; name=x\r\nContent-Disposition: form-data; name=y",
        "no header line at all",
        "Content-Disposition: form-data; name=x\r\n folded: yes",
    ] {
        let form = Multipart::new()
            .file("first", "a/b", content(300_000))
            .part(part, "x");
        server.post_form(form).refused(400, "malformed-form");
    }
    let other = "multipart/form-data; boundary=another";
    server
        .post("/uploads", other, body())
        .refused(400, "malformed-form");
    server.kept_nothing();
}
