//! Bodies that do not come to their end, and clients that ask before they send.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use rustls::version::TLS13;
use tokio::sync::oneshot;

use crate::client::{Multipart, PATIENCE, Protocol, begin_http2, runtime, trusting};
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

/// A body that fails after its first piece, when it is told to.
struct Breaking {
    piece: Option<Bytes>,
    now: oneshot::Receiver<()>,
}

impl Body for Breaking {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(piece) = self.piece.take() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let now = Pin::new(&mut self.now).poll(cx);
        now.map(|_| Some(Err(io::ErrorKind::Other.into())))
    }
}

#[test]
fn an_http2_stream_that_is_reset_leaves_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let uri = format!("https://{}/uploads/x", server.address);
    let (break_off, now) = oneshot::channel();
    let piece = Some(content(PART).into());
    let request = Request::put(uri).body(Breaking { piece, now }).unwrap();
    let config = trusting(&bench.path("certs/ca.pem"), &TLS13, Protocol::Http2);
    runtime().block_on(async {
        let sending = tokio::spawn(begin_http2(server.address, config, request));
        let staged = async {
            while !staged_something(&bench) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, staged).await.unwrap();
        break_off.send(()).unwrap();
        sending.await.unwrap().unwrap_err();
    });
    server.kept_nothing();
}

#[test]
fn an_http2_body_shorter_than_announced_leaves_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for size in [5, PART] {
        let request = Request::put("/uploads/x").header("content-length", "4000000");
        let request = request.body(content(size)).unwrap();
        if let Ok(answer) = server.try_send_over(Protocol::Http2, &TLS13, request) {
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
    let server = Server::sealing(&bench, &["--body-timeout", "2s"]);
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
