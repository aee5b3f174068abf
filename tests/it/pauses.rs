//! Requests on one connection over HTTP/1.1, with and without pauses between them: each is answered, in its order, and nothing of one
//! becomes another.

use std::thread::sleep;
use std::time::Duration;

use http::Method;

use crate::program::Bench;
use crate::server::Server;

const ALIVE: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// Long enough for the server to have nothing more to do.
const PAUSE: Duration = Duration::from_millis(50);

#[test]
fn requests_are_answered_after_a_pause_wherever_it_comes() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let mut wire = server.wire();
    for split in [0, 1, 2, ALIVE.len() - 1, ALIVE.len()] {
        let (before, behind) = ALIVE.split_at(split);
        wire.send(before);
        sleep(PAUSE);
        wire.send(behind);
        wire.answer().is(200);
        sleep(PAUSE);
    }
    wire.send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.try_answer(&Method::HEAD).unwrap().is(200);
    // Old clients send an empty line behind a body.
    wire.send("PUT /uploads/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n");
    sleep(PAUSE);
    wire.send("one\r\n");
    wire.answer().is(201);
    sleep(PAUSE);
    wire.send(ALIVE);
    wire.answer().is(200);
    wire.end_sending();
    assert!(wire.is_ended());
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let mut wire = server.wire();
    let upload = "PUT /uploads/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none";
    for _ in 0..3 {
        wire.send([ALIVE, upload, ALIVE].concat());
        for status in [200, 201, 200] {
            wire.answer().is(status);
        }
        sleep(PAUSE);
    }
}

#[test]
fn a_body_that_nobody_asks_for_does_not_become_requests() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let body = ALIVE.repeat(2);
    let size = body.len();
    let head =
        format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n");
    for split in [0, 1, ALIVE.len(), size] {
        let (with_head, behind) = body.split_at(split);
        let mut wire = server.wire();
        wire.send([&head[..], with_head].concat());
        wire.answer().is(200);
        sleep(PAUSE);
        // The server may read it to its end and go on, or may have closed the connection.
        let _ = wire.try_send(behind);
        sleep(PAUSE);
        wire.end_sending();
        let (rest, ended) = wire.rest();
        assert!(rest.is_empty() && ended, "{split} bytes with the head");
    }
}
