//! Deadlines that run whatever a client does meanwhile, over both versions of HTTP.

use std::time::{Duration, Instant};

use http::Method;
use rustls::version::TLS13;

use crate::client::{Protocol, Wire, trusting};
use crate::http2_resets::{DATA, END_HEADERS, HEADERS, SETTINGS, fields, frame};
use crate::program::Bench;
use crate::server::Server;

/// The least that a connection lasts which has a second.
const ABOUT_A_SECOND: Duration = Duration::from_millis(900);

/// How long a connection lasts on which this is sent again and again, from before it was made.
fn lasts(connect: impl FnOnce() -> Wire, piece: &[u8]) -> Duration {
    let began = Instant::now();
    let mut wire = connect();
    wire.set_read_timeout(Duration::from_millis(100));
    while began.elapsed() < Duration::from_secs(20) {
        if wire.try_send(piece).is_err() || wire.rest().1 {
            break;
        }
    }
    began.elapsed()
}

fn ends_in_time(what: &str, connect: impl FnOnce() -> Wire, piece: &[u8]) {
    let lasted = lasts(connect, piece);
    let fits = ABOUT_A_SECOND..Duration::from_secs(8);
    assert!(fits.contains(&lasted), "{what}: {lasted:?}");
}

/// A connection after its first answer. Its second may be over before that, where the machine stands still.
fn answered(server: &Server<'_>) -> Wire {
    let began = Instant::now();
    let mut wire = server.wire();
    wire.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    match wire.try_answer(&Method::GET) {
        Ok(answer) => drop(answer.is(200)),
        Err((error, _)) => assert!(began.elapsed() >= ABOUT_A_SECOND, "{error}"),
    }
    wire
}

#[test]
fn heads_have_their_time() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--header-timeout", "1s"]);
    ends_in_time("nothing", || server.wire(), b"");
    ends_in_time(
        "line by line",
        || {
            let mut wire = server.wire();
            wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n");
            wire
        },
        b"X: y\r\n",
    );
    ends_in_time("byte by byte", || server.wire(), b"G");
    ends_in_time("idle after an answer", || answered(&server), b"");
    ends_in_time("byte by byte after an answer", || answered(&server), b"G");
}

/// An upload over HTTP/2 of which nothing has been sent but its head.
fn http2(server: &Server<'_>, bench: &Bench) -> Wire {
    let config = trusting(&bench.path("certs/ca.pem"), &TLS13, Protocol::Http2);
    let mut wire = Wire::connect(server.address, config).unwrap();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.send(frame(SETTINGS, 0, 0, &[]));
    let request = [
        (":method", "PUT"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/uploads/x"),
    ];
    wire.send(frame(HEADERS, END_HEADERS, 1, &fields(&request)));
    wire
}

/// Whether what comes from the server holds the reason that it gives.
fn is_told(wire: &mut Wire, piece: &[u8], code: &str) -> bool {
    let began = Instant::now();
    wire.set_read_timeout(Duration::from_millis(100));
    let mut all = Vec::new();
    while began.elapsed() < Duration::from_secs(40) {
        let sent = wire.try_send(piece);
        all.extend(wire.rest().0);
        if String::from_utf8_lossy(&all).contains(code) {
            return true;
        }
        if sent.is_err() {
            break;
        }
    }
    false
}

#[test]
fn bodies_have_their_time_over_both() {
    for (settings, piece, code) in [
        (&["--body-timeout", "1s"][..], &b""[..], "timeout"),
        (&["--request-timeout", "1s"], b"x", "timeout"),
        // Looked at when so much was waited for; where nothing comes for so long, it is the other deadline that ends it.
        (
            &["--body-timeout", "5s", "--min-speed", "1KiB"],
            b"x",
            "too-slow",
        ),
    ] {
        let bench = Bench::new();
        let server = Server::sealing(&bench, settings);
        let mut wire = server.begin("PUT", "/uploads/x", &["Content-Length: 4000000"]);
        assert!(
            is_told(&mut wire, piece, code),
            "{settings:?} over HTTP/1.1"
        );
        let mut wire = http2(&server, &bench);
        let data = if piece.is_empty() {
            Vec::new()
        } else {
            frame(DATA, 0, 1, piece)
        };
        assert!(is_told(&mut wire, &data, code), "{settings:?} over HTTP/2");
        server.kept_nothing();
    }
}

#[test]
fn an_answer_that_is_not_read_has_its_time() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--write-timeout", "1s", "--header-timeout", "1s"]);
    let whole = "GET /upload.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut wire = server.wire();
    // More answers than all buffers hold; none is read.
    let began = Instant::now();
    wire.set_read_timeout(Duration::from_millis(1));
    while wire.try_send(whole.repeat(100)).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(30), "never given up");
    }
}
