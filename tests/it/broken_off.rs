//! Bodies that do not come to their end, and clients that ask before they send.

use std::time::Duration;

use crate::client::Multipart;
use crate::program::Bench;
use crate::server::{Server, content, wait_until};

/// More than both buffers of an upload hold, so that something is staged when it breaks off.
const PART: usize = 1 << 20;

/// The ways to send half a body.
const HALVES: [(&str, &str); 2] = [
    ("Content-Length: 4000000", ""),
    ("Transfer-Encoding: chunked", "100000\r\n"),
];

fn staged_something(bench: &Bench) -> bool {
    !bench.names("data/staging").is_empty()
}

#[test]
fn a_cut_connection_leaves_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for (framing, chunk) in HALVES {
        for reset in [false, true] {
            let mut wire = server.begin("PUT", "/uploads/x", &[framing]);
            wire.send([chunk.as_bytes(), &content(PART)].concat());
            wait_until("a part is staged", || staged_something(&bench));
            if reset {
                wire.reset();
            } else {
                drop(wire);
            }
            server.kept_nothing();
        }
    }
}

#[test]
fn a_body_that_ends_too_soon_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for (framing, chunk) in HALVES {
        let mut wire = server.begin("PUT", "/uploads/x", &[framing]);
        wire.send([chunk.as_bytes(), &content(PART)].concat());
        wait_until("a part is staged", || staged_something(&bench));
        wire.end_sending();
        // Where hyper still answers, it must not be with a receipt.
        if let Ok(answer) = wire.try_answer(&http::Method::PUT) {
            answer.refused(400, "body-incomplete");
        }
        server.kept_nothing();
    }
}

#[test]
fn chunks_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for nonsense in [
        "zz\r\n",
        "5\r\nabcdefgh\r\n0\r\n\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut wire = server.begin("PUT", "/uploads/x", &["Transfer-Encoding: chunked"]);
        wire.send(nonsense);
        wire.answer().refused(400, "body-incomplete");
    }
    server.kept_nothing();
}

#[test]
fn a_body_that_stands_still_is_given_up() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--body-timeout", "300ms"]);
    let mut wire = server.begin("PUT", "/uploads/x", &["Content-Length: 4000000"]);
    wire.send(content(PART));
    wire.answer().refused(408, "timeout");
    assert!(wire.is_ended());
    let headers = [
        &format!("Content-Type: {}", Multipart::TYPE)[..],
        "Content-Length: 4000000",
    ];
    let mut wire = server.begin("POST", "/uploads", &headers);
    wire.send(
        Multipart::new()
            .file("x", "a/b", content(PART))
            .unfinished(),
    );
    wire.answer().refused(408, "timeout");
    server.kept_nothing();
}

#[test]
fn a_body_that_trickles_has_its_time_too() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--request-timeout", "1s"]);
    let mut wire = server.begin("PUT", "/uploads/x", &["Content-Length: 4000000"]);
    wire.set_read_timeout(Duration::from_millis(20));
    wait_until("the server has had enough", || {
        // Once it has answered, it need not read on.
        wire.try_send("x").is_err() || wire.try_head().is_ok_and(|head| head.status == 408)
    });
    server.kept_nothing();
}

#[test]
fn a_refused_client_is_not_asked_for_its_body() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = Server::sealing(
        &bench,
        &["--upload-token-file", "tokens", "--max-size", "1KiB"],
    );
    let expect = "Expect: 100-continue";
    let token = "Authorization: Bearer an-upload-token-that-is-long";
    for path in ["/uploads/x", "/uploads/"] {
        let mut wire = server.begin("PUT", path, &[expect, "Content-Length: 5"]);
        wire.answer_at_once().refused(401, "unauthorized");
        let mut wire = server.begin("PUT", path, &[expect, token, "Content-Length: 1025"]);
        wire.answer_at_once().refused(413, "too-large");
        let mut wire = server.begin("PUT", path, &[expect, token, "Content-Length: 5"]);
        assert_eq!(wire.head().status, 100);
        wire.send("hello");
        wire.answer().receipt();
    }
    let form = format!("Content-Type: {}", Multipart::TYPE);
    let mut wire = server.begin("POST", "/uploads", &[expect, &form, "Content-Length: 5"]);
    wire.answer_at_once().refused(401, "unauthorized");
    let mut wire = server.begin("POST", "/encrypt", &[expect, "Content-Length: 5"]);
    wire.answer_at_once().refused(401, "unauthorized");
    let mut wire = server.begin("GET", "/nowhere", &[expect, "Content-Length: 5"]);
    wire.answer_at_once().refused(404, "not-found");
    assert_eq!(server.listed().len(), 2);
}
