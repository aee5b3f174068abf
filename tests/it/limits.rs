//! What a client may ask for, and what it is told beyond that.

use std::time::Duration;

use http::Request;
use rustls::version::TLS13;

use crate::client::{Multipart, Protocol};
use crate::program::Bench;
use crate::server::{Server, content, wait_until};

#[test]
fn a_body_too_large_is_refused_announced_or_not() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-size", "1MiB"]);
    let put = |size: usize| Request::put("/uploads/x").body(content(size)).unwrap();
    let chunked = |size: usize| {
        let mut wire = server.begin("PUT", "/uploads/x", &["Transfer-Encoding: chunked"]);
        wire.send(format!("{size:x}\r\n"));
        wire.send([&content(size), &b"\r\n0\r\n\r\n"[..]].concat());
        wire.answer()
    };
    for size in [(1 << 20) + 1, 20 << 20] {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            server
                .send_over(protocol, &TLS13, put(size))
                .refused(413, "too-large");
        }
        chunked(size).refused(413, "too-large");
    }
    server.kept_nothing();
    server.send(put(1 << 20)).receipt();
    chunked(1 << 20).receipt();
}

#[test]
fn a_browser_that_sends_too_much_still_reads_why() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-size", "1MiB"]);
    let form = Multipart::new()
        .file("film.mkv", "a/b", content(40 << 20))
        .finish();
    let request = Request::post("/uploads")
        .header("content-type", Multipart::TYPE)
        .header("accept", "text/html,*/*;q=0.8");
    // As browsers do, it reads only when it has written everything.
    let answer = server.send(request.body(form.clone()).unwrap()).is(413);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(
        answer.text().contains("larger than the 1 MB"),
        "{}",
        answer.text()
    );
    // The same where it does not say beforehand how much it is.
    let headers = [
        &format!("Content-Type: {}", Multipart::TYPE)[..],
        "Accept: text/html",
        "Transfer-Encoding: chunked",
    ];
    let mut wire = server.begin("POST", "/uploads", &headers);
    wire.send(format!("{:x}\r\n", form.len()));
    wire.send([&form, &b"\r\n0\r\n\r\n"[..]].concat());
    assert!(wire.answer().is(413).text().contains("larger than"));
    server.kept_nothing();
}

#[test]
fn the_parts_of_a_form_are_bounded() {
    let bench = Bench::new();
    let limits = ["--max-fields", "10KiB", "--max-name", "100"];
    let server = Server::sealing(&bench, &limits);
    let first = || Multipart::new().file("first", "a/b", content(600_000));

    let endless = format!(
        "Content-Disposition: form-data; name=x\r\nX-Endless: {}",
        "x".repeat(10 << 20)
    );
    let answer = server.post_form(first().part(&endless, ""));
    answer.refused(400, "part-headers-too-large");
    let lines = "X: y\r\n".repeat(100_000);
    let answer = server.post_form(first().part(&(lines + "X: y"), ""));
    answer.refused(400, "part-headers-too-large");

    let mut many = first();
    for _ in 0..100_000 {
        many = many.part("Content-Disposition: form-data; name=f; filename=f", "");
    }
    server.post_form(many).refused(413, "too-many-parts");

    let answer = server.post_form(first().text("a", content(10_000)).text("b", content(241)));
    answer.refused(413, "fields-too-large");

    let long = "x".repeat(101);
    server
        .post_form(first().file(&long, "a/b", ""))
        .refused(400, "name-too-long");
    server
        .post_form(first().text(&long, ""))
        .refused(400, "name-too-long");
    server
        .put(&format!("/uploads/{long}"), "x")
        .refused(400, "name-too-long");
    server.kept_nothing();

    server
        .post_form(first().text("a", content(10_000)).text(&long[1..], ""))
        .receipt();
    server
        .put(&format!("/uploads/{}", &long[1..]), "x")
        .receipt();
}

#[test]
fn a_form_of_a_thousand_files_is_one_submission() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-parts", "50"]);
    let form = |parts| (0..parts).fold(Multipart::new(), |form, _| form.file("f", "a/b", "x"));
    let receipt = server.post_form(form(50)).receipt();
    assert_eq!(receipt["uploads"].as_array().unwrap().len(), 50);
    server.post_form(form(51)).refused(413, "too-many-parts");
    assert_eq!(server.listed().len(), 50);
    wait_until("what was refused is removed", || {
        bench.names("data/staging").is_empty()
    });
}

#[test]
fn an_upload_too_many_is_told_when_to_come_back() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-uploads", "1"]);
    let mut first = server.begin_admitted("/uploads/first", &["Content-Length: 5"]);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let put = Request::put("/uploads/second")
            .body(content(10_000))
            .unwrap();
        let busy = server.send_over(protocol, &TLS13, put);
        busy.refused(503, "busy");
        assert_eq!(busy.header("retry-after"), "5");
    }
    // Everything else goes on.
    server.get("/").is(200);
    first.send("hello");
    first.answer().receipt();
    server.put("/uploads/second", "x").receipt();
    // An upload that breaks off gives its place back.
    drop(server.begin_admitted("/uploads/third", &["Content-Length: 5"]));
    wait_until("the place is free", || {
        server.put("/uploads/x", "x").status == 201
    });
}

#[test]
fn a_connection_too_many_waits() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-connections", "2"]);
    let (first, mut second) = (server.wire(), server.wire());
    std::thread::scope(|scope| {
        let (done, is_done) = std::sync::mpsc::channel();
        let server = &server;
        let third = scope.spawn(move || {
            let answer = server.get("/healthz").is(200);
            done.send(()).unwrap();
            answer
        });
        let waited = is_done.recv_timeout(Duration::from_millis(300));
        assert!(waited.is_err(), "a third connection was served");
        // Those that are there are served all the while.
        second.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        second.answer().is(200);
        drop(first);
        assert_eq!(third.join().unwrap().text(), "ok\n");
    });
}

#[test]
fn headers_of_a_request_are_bounded() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let long = format!("X: {}\r\n", "x".repeat(1 << 20));
    let mut wire = server.wire();
    // It may be refused before all of it is written.
    let _ = wire.try_send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{long}\r\n"));
    if let Ok(head) = wire.try_head() {
        assert_eq!(head.status, 431);
    }
    server.get("/healthz").is(200);
}
