//! Floods over HTTP/2, written by hand: each ends the attacker's connection, or is bounded, and others are answered.

use std::time::{Duration, Instant};

use rustls::version::TLS13;

use crate::client::{Protocol, Wire, trusting};
use crate::http2_resets::{
    DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, fields, frame,
};
use crate::program::Bench;
use crate::server::Server;

const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 8;

fn begin(server: &Server<'_>, bench: &Bench, settings: &[u8]) -> Wire {
    let config = trusting(&bench.path("certs/ca.pem"), &TLS13, Protocol::Http2);
    let mut wire = Wire::connect(server.address, config).unwrap();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.send(frame(SETTINGS, 0, 0, settings));
    wire
}

fn request(method: &str, path: &str) -> Vec<u8> {
    fields(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
    ])
}

/// Sends `frames(n)` for n from 1 until the connection is ended; gives how many it took.
#[track_caller]
fn flood(what: &str, server: &Server<'_>, bench: &Bench, frames: impl Fn(u32) -> Vec<u8>) -> u32 {
    const AT_ONCE: u32 = 500;
    let mut wire = begin(server, bench, &[]);
    wire.set_read_timeout(Duration::from_millis(1));
    let began = Instant::now();
    let mut sent = 0;
    let mut others = Duration::ZERO;
    loop {
        let many: Vec<u8> = (sent + 1..=sent + AT_ONCE).flat_map(&frames).collect();
        sent += AT_ONCE;
        if wire.try_send(many).is_err() || wire.rest().1 {
            break;
        }
        if sent % (AT_ONCE * 8) == 0 {
            let asked = Instant::now();
            server.get("/healthz").is(200);
            others = others.max(asked.elapsed());
        }
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "{what}: {sent} and still there"
        );
    }
    assert!(
        others < Duration::from_secs(15),
        "{what}: others waited {others:?}"
    );
    server.get("/healthz").is(200);
    sent
}

#[test]
fn frames_that_bring_nothing_end_the_connection() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let put = request("PUT", "/uploads/x");
    let begun = |n: u32, more: Vec<u8>| {
        let first = if n == 1 {
            frame(HEADERS, END_HEADERS, 1, &put)
        } else {
            Vec::new()
        };
        [first, more].concat()
    };
    flood("PING", &server, &bench, |_| frame(PING, 0, 0, &[0; 8]));
    flood("PING answers", &server, &bench, |_| {
        frame(PING, 1, 0, &[0; 8])
    });
    flood("SETTINGS", &server, &bench, |n| {
        frame(
            SETTINGS,
            0,
            0,
            &[&[0, 4][..], &(n % 60_000 + 1).to_be_bytes()].concat(),
        )
    });
    flood("empty SETTINGS", &server, &bench, |_| {
        frame(SETTINGS, 0, 0, &[])
    });
    flood("PRIORITY", &server, &bench, |n| {
        frame(PRIORITY, 0, n % 1000 * 2 + 1, &[0, 0, 0, 0, 7])
    });
    flood("WINDOW_UPDATE", &server, &bench, |_| {
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
    });
    flood("WINDOW_UPDATE of a stream", &server, &bench, |n| {
        begun(n, frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]))
    });
    flood("unknown frames", &server, &bench, |_| frame(77, 0, 0, &[]));
    flood("large unknown frames", &server, &bench, |_| {
        frame(77, 0, 0, &[0; 8000])
    });
    flood("empty DATA", &server, &bench, |n| {
        begun(n, frame(DATA, 0, 1, &[]))
    });
    flood("padding", &server, &bench, |n| {
        let padded = [&[250][..], &[0; 250]].concat();
        begun(n, frame(DATA, PADDED, 1, &padded))
    });
    flood("resets of what was never begun", &server, &bench, |_| {
        frame(RST_STREAM, 0, 1, &[0; 4])
    });
    flood("GOAWAY", &server, &bench, |_| frame(GOAWAY, 0, 0, &[0; 8]));
}

#[test]
fn streams_are_not_begun_for_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let get = request("GET", "/healthz");
    let put = request("PUT", "/uploads/x");
    let taken = flood("rapid reset", &server, &bench, |n| {
        let stream = n * 2 - 1;
        [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &get),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ]
        .concat()
    });
    // Those that the sockets' buffers hold are among them, and were not read.
    assert!(taken < 200_000, "{taken}");
    flood("rapid reset of uploads", &server, &bench, |n| {
        let stream = n * 2 - 1;
        [
            frame(HEADERS, END_HEADERS, stream, &put),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ]
        .concat()
    });
    // The server is made to reset: a window that does not grow, DATA behind the end, a stream that depends on itself.
    let made = |n: u32, bad: Vec<u8>| [frame(HEADERS, END_HEADERS, n * 2 - 1, &put), bad].concat();
    flood("made you reset by a window", &server, &bench, |n| {
        made(n, frame(WINDOW_UPDATE, 0, n * 2 - 1, &[0; 4]))
    });
    flood(
        "made you reset by too large a window",
        &server,
        &bench,
        |n| {
            made(
                n,
                frame(WINDOW_UPDATE, 0, n * 2 - 1, &[0x7f, 0xff, 0xff, 0xff]),
            )
        },
    );
    flood(
        "made you reset by DATA behind the end",
        &server,
        &bench,
        |n| {
            let stream = n * 2 - 1;
            [
                frame(HEADERS, END_HEADERS | END_STREAM, stream, &get),
                frame(DATA, 0, stream, b"x"),
            ]
            .concat()
        },
    );
    flood(
        "made you reset by a dependency on itself",
        &server,
        &bench,
        |n| {
            let stream = n * 2 - 1;
            made(
                n,
                frame(
                    PRIORITY,
                    0,
                    stream,
                    &[&stream.to_be_bytes()[..], &[7]].concat(),
                ),
            )
        },
    );
    flood("more streams than may be", &server, &bench, |n| {
        frame(HEADERS, END_HEADERS, n * 2 - 1, &put)
    });
}

#[test]
fn headers_end() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let get = request("GET", "/healthz");
    flood("CONTINUATION without end", &server, &bench, |n| {
        let block = fields(&[("x", &"y".repeat(100))]);
        if n == 1 {
            frame(HEADERS, END_STREAM, 1, &get)
        } else {
            frame(CONTINUATION, 0, 1, &block)
        }
    });
    flood("empty CONTINUATION", &server, &bench, |n| {
        if n == 1 {
            frame(HEADERS, END_STREAM, 1, &get)
        } else {
            frame(CONTINUATION, 0, 1, &[])
        }
    });
    // HPACK: 4,000 bytes in the table once, and then a byte for each time that they are meant.
    flood("references to a large field", &server, &bench, |n| {
        let mut block = get.clone();
        if n == 1 {
            block.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
            block.extend([b'y'; 4000]);
        }
        block.extend([0xbe; 8000]);
        frame(HEADERS, END_HEADERS | END_STREAM, n * 2 - 1, &block)
    });
}

#[test]
fn what_no_client_may_send_ends_the_connection() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let large = [0x7f, 0xff, 0xff, 0xff];
    for (what, frames) in [
        (
            "PUSH_PROMISE",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        ),
        (
            "a window too large",
            frame(WINDOW_UPDATE, 0, 0, &large).repeat(2),
        ),
        (
            "a window that does not grow",
            frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        ),
        ("a frame too large", frame(77, 0, 0, &vec![0; 1 << 20])),
        (
            "an even stream",
            frame(HEADERS, END_HEADERS, 2, &request("GET", "/")),
        ),
        ("DATA of no stream", frame(DATA, 0, 0, b"x")),
        ("DATA of an idle stream", frame(DATA, 0, 1, b"x")),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, &[])),
        ("a PING of another size", frame(PING, 0, 0, &[0; 7])),
        (
            "CONTINUATION of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &[]),
        ),
        (
            "a frame of padding longer than it",
            frame(DATA, PADDED, 1, &[9, 0]),
        ),
    ] {
        let mut wire = begin(&server, &bench, &[]);
        wire.set_read_timeout(Duration::from_secs(10));
        let _ = wire.try_send(frames);
        assert!(wire.is_ended(), "{what}");
    }
    server.get("/healthz").is(200);
}

#[test]
fn an_answer_that_is_not_taken_is_given_up() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--write-timeout", "1s", "--header-timeout", "1s"]);
    // Windows of no bytes, and of one.
    for window in [0_u8, 1] {
        let mut wire = begin(&server, &bench, &[0, 4, 0, 0, 0, window]);
        for n in 1..=60_u32 {
            let get = request("GET", "/upload.js");
            wire.send(frame(HEADERS, END_HEADERS | END_STREAM, n * 2 - 1, &get));
        }
        let began = Instant::now();
        wire.set_read_timeout(Duration::from_millis(200));
        // Whoever answers PING is alive, and takes nothing all the same.
        while !wire.rest().1 && wire.try_send(frame(PING, 1, 0, &[0; 8])).is_ok() {
            assert!(began.elapsed() < Duration::from_secs(20), "window {window}");
        }
    }
}
