//! HTTP/2 frames written by hand. A stream or a connection that is reset *without* an error is what hyper takes for the
//! end of a body; for an upload it is none.

use std::time::Duration;

use rustix::process::Signal;
use rustls::version::TLS13;

use crate::client::{Protocol, Wire, trusting};
use crate::program::Bench;
use crate::server::{Server, wait_until};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const NO_ERROR: [u8; 4] = [0; 4];

/// A frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = size[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Header fields, each a literal that is not indexed (RFC 7541, section 6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A connection on which a `PUT` was begun, and `size` bytes of its body were sent.
fn begin(server: &Server<'_>, bench: &Bench, more: &[(&str, &str)], size: usize) -> Wire {
    let config = trusting(&bench.path("certs/ca.pem"), &TLS13, Protocol::Http2);
    let mut wire = Wire::connect(server.address, config).unwrap();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.send(frame(SETTINGS, 0, 0, &[]));
    let mut request = vec![
        (":method", "PUT"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/uploads/x"),
    ];
    request.extend_from_slice(more);
    wire.send(frame(HEADERS, END_HEADERS, 1, &fields(&request)));
    for piece in vec![7; size].chunks(16_000) {
        wire.send(frame(DATA, 0, 1, piece));
    }
    wire
}

/// Less than the window that HTTP/2 opens with.
const BEGUN: usize = 40_000;

/// Stops the server, which ends all uploads in order, and says how many it published.
fn published(bench: &Bench, mut server: Server<'_>) -> usize {
    server.signal(Signal::TERM);
    assert!(server.ended().success());
    let days = bench.names("data/uploads").into_iter();
    days.map(|day| bench.names(&format!("data/uploads/{day}")).len())
        .sum()
}

#[test]
fn a_stream_reset_without_an_error_is_no_end() {
    for more in [&[][..], &[("content-length", "1000000")]] {
        let bench = Bench::new();
        let server = Server::sealing(&bench, &[]);
        let mut wire = begin(&server, &bench, more, BEGUN);
        wire.send(frame(RST_STREAM, 0, 1, &NO_ERROR));
        // Behind the reset on the same connection: the same frames with the end mark are an upload.
        let request = [
            (":method", "PUT"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/uploads/x"),
        ];
        wire.send(frame(HEADERS, END_HEADERS, 3, &fields(&request)));
        wire.send(frame(DATA, END_STREAM, 3, b"whole"));
        wait_until("the other is there", || !server.listed().is_empty());
        drop(wire);
        assert_eq!(published(&bench, server), 1);
    }
}

#[test]
fn a_client_that_answers_no_ping_does_not_end_its_body() {
    let bench = Bench::new();
    let short = ["--header-timeout", "1s", "--write-timeout", "1s"];
    let server = Server::sealing(&bench, &short);
    let mut wire = begin(&server, &bench, &[], BEGUN);
    assert!(wire.is_ended());
    assert_eq!(published(&bench, server), 0);
}

#[test]
fn pings_do_not_keep_an_idle_connection() {
    const PING: u8 = 6;
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--header-timeout", "1s"]);
    let config = trusting(&bench.path("certs/ca.pem"), &TLS13, Protocol::Http2);
    let mut wire = Wire::connect(server.address, config).unwrap();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    wire.send(frame(SETTINGS, 0, 0, &[]));
    wait_until("the connection is closed", || {
        std::thread::sleep(Duration::from_millis(50));
        wire.try_send(frame(PING, 0, 0, &[0; 8])).is_err()
    });
}
