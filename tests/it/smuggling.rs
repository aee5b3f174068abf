//! Requests that a proxy in front could read otherwise than we do: none of them is answered but by a refusal, the connection
//! ends, and what stands behind them is never taken for a request.

use std::time::{Duration, Instant};

use http::Request;
use rustls::version::TLS13;

use crate::client::Protocol;
use crate::program::Bench;
use crate::server::Server;

/// What an attacker would have read as a request of its own.
const BEHIND: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends these bytes, with another request behind them. Gives the status of the answer, if there was one.
#[track_caller]
fn refused(server: &Server<'_>, bytes: &[u8]) -> Option<u16> {
    let mut wire = server.wire();
    let began = Instant::now();
    wire.set_read_timeout(Duration::from_secs(20));
    // It may be refused before all of it is written.
    let _ = wire.try_send([bytes, BEHIND.as_bytes()].concat());
    let (answer, ended) = wire.rest();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let what = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
    assert!(ended, "{what:?} left the connection open: {answer}");
    // At once, and not because a deadline had passed.
    assert!(began.elapsed() < Duration::from_secs(10), "{what:?}");
    assert!(
        answer.matches("HTTP/1.").count() <= 1,
        "{what:?} was answered more than once: {answer}"
    );
    assert!(!answer.ends_with("ok\n"), "{what:?} passed: {answer}");
    let status = answer.split(' ').nth(1)?.parse().unwrap();
    assert!((400..=505).contains(&status), "{what:?} got {answer}");
    Some(status)
}

fn head(fields: &str) -> Vec<u8> {
    format!("PUT /uploads/x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

fn with_server(test: impl FnOnce(&Server<'_>)) {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    test(&server);
    server.kept_nothing();
    server.get("/healthz").is(200);
}

#[test]
fn a_body_with_two_lengths_is_refused() {
    with_server(|server| {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\ncontent-length: 0\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5.0\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Content-Length: 18446744073709551621\r\n",
        ] {
            let request = [&head(fields)[..], b"0\r\n\r\n"].concat();
            assert_eq!(refused(server, &request), Some(400), "{fields}");
        }
    });
}

#[test]
fn a_transfer_encoding_is_chunked_and_nothing_else() {
    with_server(|server| {
        for fields in [
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding\n: chunked\r\n",
            "X: y\nTransfer-Encoding: chunked\r\n",
            "X: y\rTransfer-Encoding: chunked\r\n",
            "X: y\r\n Transfer-Encoding: chunked\r\n",
        ] {
            let request = [&head(fields)[..], b"0\r\n\r\n"].concat();
            assert_eq!(refused(server, &request), Some(400), "{fields}");
        }
        let old = b"PUT /uploads/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        assert_eq!(refused(server, old), Some(400));
    });
}

#[test]
fn chunks_are_read_to_the_letter() {
    with_server(|server| {
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "x".repeat(100_000));
        let endless = format!("1;{}", "x".repeat(100_000));
        let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        let many = format!("0\r\n{}\r\n", "X: y\r\n".repeat(10_000));
        for body in [
            "\r\n",
            "z\r\n",
            "-1\r\n",
            "+1\r\nx\r\n0\r\n\r\n",
            "0x1\r\nx\r\n0\r\n\r\n",
            " 1\r\nx\r\n0\r\n\r\n",
            "1 \r\nx\r\n0\r\n\r\n",
            "1\nx\n0\n\n",
            "1\rx\r0\r\r",
            "1\r\nx0\r\n\r\n",
            "1\r\nxyz\r\n0\r\n\r\n",
            "1\r\nx\n0\r\n\r\n",
            "1;a\nx\r\n0\r\n\r\n",
            "1;a\rb\r\nx\r\n0\r\n\r\n",
            "10000000000000000\r\nx\r\n0\r\n\r\n",
            "ffffffffffffffff\r\nx\r\n0\r\n\r\n",
            "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX: y\n\r\n",
            &long,
            &endless,
            &trailers,
            &many,
        ] {
            let request = [&head("Transfer-Encoding: chunked\r\n")[..], body.as_bytes()].concat();
            let status = refused(server, &request);
            assert!(matches!(status, Some(400) | None), "{body:.60}: {status:?}");
        }
    });
}

#[test]
fn heads_are_read_to_the_letter() {
    with_server(|server| {
        for fields in [
            "X: a\r\n b\r\n",
            "X: a\r\n\tb\r\n",
            "X: a\rb\r\n",
            "X: a\nY: b\r\n",
            "X: a\0b\r\n",
            "X: a\x08b\r\n",
            "X\0Y: a\r\n",
            "X\rY: a\r\n",
            "X Y: a\r\n",
            "X : a\r\n",
            " X: a\r\n",
            ": a\r\n",
            "X\r\n",
        ] {
            assert_eq!(refused(server, &head(fields)), Some(400), "{fields:?}");
        }
        for line in [
            "GET /healthz\r\n",
            "GET /healthz HTTP/0.9\r\n",
            "GET /healthz HTTP/1.2\r\n",
            "GET /healthz HTTP/2.0\r\n",
            "GET /healthz HTTP/1.1 \r\n",
            "GET /healthz HTTP/1.1\n",
            "GET  /healthz HTTP/1.1\r\n",
            "GET\t/healthz HTTP/1.1\r\n",
            "GET /healthz x HTTP/1.1\r\n",
            "GET /heal\0thz HTTP/1.1\r\n",
            " GET /healthz HTTP/1.1\r\n",
            "\nGET /healthz HTTP/1.1\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\0\r\n",
        ] {
            let request = format!("{line}Host: localhost\r\n\r\n");
            assert_eq!(refused(server, request.as_bytes()), Some(400), "{line:?}");
        }
    });
}

#[test]
fn heads_without_end_are_refused() {
    with_server(|server| {
        for (request, status) in [
            (
                format!(
                    "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    "x".repeat(1 << 17)
                ),
                414,
            ),
            (format!("GET /{}", "x".repeat(1 << 20)), 431),
            (
                format!(
                    "{}GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    "X".repeat(1 << 20)
                ),
                431,
            ),
        ] {
            let answer = refused(server, request.as_bytes());
            assert!(answer.is_none_or(|answer| answer == status), "{answer:?}");
        }
        for fields in [
            "X: y\r\n".repeat(5000),
            format!("X: {}\r\n", "y".repeat(1 << 20)),
            format!("{}: y\r\n", "X".repeat(1 << 20)),
        ] {
            let answer = refused(server, &head(&fields));
            assert!(matches!(answer, None | Some(431 | 400)), "{answer:?}");
        }
    });
}

/// The statuses of all answers until the connection ends or nothing more comes.
fn answers(server: &Server<'_>, bytes: &str) -> Vec<u16> {
    let mut wire = server.wire();
    // Each of these ends its connection.
    wire.set_read_timeout(Duration::from_secs(20));
    wire.send(bytes);
    let (all, _) = wire.rest();
    let all = String::from_utf8_lossy(&all).into_owned();
    let heads = all.split("HTTP/1.").skip(1);
    heads
        .map(|head| head.split(' ').nth(1).unwrap().parse().unwrap())
        .collect()
}

#[test]
fn what_is_proper_passes_also_one_behind_the_other() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let close = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let put = "PUT /uploads/x HTTP/1.1\r\nHost: localhost\r\n";
    let body =
        "Transfer-Encoding: chunked\r\n\r\n1;e=f\r\nx\r\n04\r\n\r\n\r\n\r\n0\r\nX: y\r\n\r\n";
    let pipelined = format!("{put}{body}{BEHIND}\r\n{put}Content-Length: 4\r\n\r\nGET {close}");
    assert_eq!(answers(&server, &pipelined), [201, 200, 201, 200]);
    // A refusal ends it, whatever stands in front and behind.
    let bad = format!("{BEHIND}{put}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx{close}");
    assert_eq!(answers(&server, &bad), [200, 400]);
    // A trailer does not say what a head says.
    let trailer =
        "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 5\r\nHost: b\r\n\r\n";
    assert_eq!(
        answers(&server, &format!("{put}{trailer}{close}")),
        [201, 200]
    );
    for (request, status) in [
        ("GET /healthz HTTP/1.0\r\n\r\n", 200),
        // A body that nobody says the end of.
        ("PUT /uploads/x HTTP/1.0\r\n\r\nbody", 411),
        (
            "PUT /uploads/x HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody",
            201,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings, close\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            200,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: a-pony\r\nConnection: close\r\n\r\n",
            417,
        ),
        (
            "TRACE /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            405,
        ),
        (
            "CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            404,
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            204,
        ),
        (
            "GET https://localhost/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            200,
        ),
    ] {
        assert_eq!(answers(&server, request), [status], "{request}");
    }
}

#[test]
fn a_length_that_is_said_twice_is_refused_over_http2_too() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let request = Request::put("/uploads/x")
        .header("content-length", "5")
        .header("content-length", "5");
    let request = request.body(b"whole".to_vec()).unwrap();
    let answer = server.send_over(Protocol::Http2, &TLS13, request);
    answer.refused(400, "malformed-length");
    server.kept_nothing();
}
