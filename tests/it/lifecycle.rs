//! Starting, stopping and being killed; certificates that change; clients that do not get on with it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::ClientConnection;
use rustls::version::TLS13;

use crate::client::{PATIENCE, Protocol, trusting};
use crate::program::Bench;
use crate::server::{Server, content, text, wait_until};
use crate::store::only_in_a_folder;

#[test]
fn an_upload_under_way_may_finish_before_the_server_stops() {
    for signal in [Signal::TERM, Signal::INT] {
        let bench = Bench::new();
        let mut server = Server::sealing(&bench, &[]);
        let sent = content(300_000);
        let mut upload = server.begin_admitted("/uploads/last", &["Content-Length: 300000"]);
        upload.send(&sent[..200_000]);
        let mut idle = server.wire();
        server.signal(signal);
        wait_until("nobody else is let in", || {
            TcpStream::connect(server.address).is_err()
        });
        assert!(idle.is_ended());
        upload.send(&sent[200_000..]);
        let receipt = upload.answer().receipt();
        assert_eq!(server.ended().code(), Some(0), "{}", server.log());
        assert_eq!(bench.open_stored(&receipt["id"]).content, sent);
        assert!(!bench.is_anything_staged());
    }
}

#[test]
fn after_the_grace_period_the_rest_is_cut_and_cleaned_up() {
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &["--grace", "200ms"]);
    let mut upload = server.begin_admitted("/uploads/slow", &["Content-Length: 30000000"]);
    server.stage(|content| upload.send(content));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
    assert!(upload.is_ended());
    assert!(!bench.is_anything_staged());
    assert!(bench.shelf().ids(None, 9).unwrap().is_empty());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &["--grace", "1h"]);
    let _upload = server.begin_admitted("/uploads/slow", &["Content-Length: 5"]);
    server.signal(Signal::TERM);
    wait_until("it is stopping", || server.log().contains("stopping"));
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(1));
}

#[test]
fn a_data_folder_has_one_server() {
    only_in_a_folder();
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let upload = server.begin_admitted("/uploads/x", &["Content-Length: 5"]);
    let line = bench.refuses_to_serve(&[], &[]).failed(1);
    assert!(line.contains("data"), "{line}");
    // The first goes on undisturbed.
    let mut upload = upload;
    upload.send("hello");
    upload.answer().receipt();
    drop(server);
    // Killed, it left the file of the lock, and not the lock.
    assert!(bench.path("data/lock").exists());
    Server::sealing(&bench, &[]).get("/healthz").is(200);
}

#[test]
fn what_was_acknowledged_survives_kill_and_the_rest_is_swept() {
    only_in_a_folder();
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &[]);
    let sent = content(300_000);
    let mut ids: Vec<_> = (0..3)
        .map(|_| server.put("/uploads/x", sent.clone()).receipt()["id"].clone())
        .collect();
    let mut half = server.begin_admitted("/uploads/half", &["Content-Length: 3000000"]);
    half.send(content(1 << 20));
    wait_until("a part is staged", || {
        !bench.names("data/staging").is_empty()
    });
    server.signal(Signal::KILL);
    server.ended();
    assert!(!bench.names("data/staging").is_empty());
    drop(server);

    let server = Server::sealing(&bench, &[]);
    assert!(bench.names("data/staging").is_empty());
    ids.sort_by_key(text);
    let listed = server.listed();
    assert_eq!(listed, ids.iter().map(text).collect::<Vec<_>>());
    for id in &ids {
        assert!(bench.open_stored(id).content == sent);
    }
}

#[test]
fn a_replaced_certificate_is_taken_up_and_a_broken_one_is_not() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    server.get("/healthz").is(200);
    bench.run(&["certs", "--dir", "certs", "--force"]).ok();
    // The new authority vouches for nothing that the old one signed.
    wait_until("the new certificate is served", || {
        server.try_wire().is_ok()
    });
    server.get("/healthz").is(200);
    for (file, contents) in [
        ("certs/server.pem", "nonsense"),
        ("certs/server.key", "nonsense"),
    ] {
        let before = bench.read(file);
        let said = server.log().matches("still serving").count();
        fs::write(bench.path(file), contents).unwrap();
        wait_until("it complains", || {
            server.log().matches("still serving").count() > said
        });
        server.get("/healthz").is(200);
        fs::write(bench.path(file), before).unwrap();
    }
    // A key that others can read is no better.
    let key = bench.path("certs/server.key");
    let said = server.log().matches("still serving").count();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    wait_until("it complains", || {
        server.log().matches("still serving").count() > said
    });
    server.get("/healthz").is(200);
}

/// What a client says first in a handshake.
fn client_hello(bench: &Bench, server: &Server<'_>) -> Vec<u8> {
    let config = trusting(&bench.path("certs/ca.pem"), &TLS13, Protocol::Http1);
    let name = server.address.ip().into();
    let mut client = ClientConnection::new(
        Arc::clone(&config),
        rustls::pki_types::ServerName::IpAddress(name),
    )
    .unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn clients_that_do_not_go_on_hold_up_nobody_and_are_let_go() {
    let bench = Bench::new();
    let times = ["--handshake-timeout", "4s", "--header-timeout", "4s"];
    let server = Server::sealing(&bench, &times);
    let hello = client_hello(&bench, &server);
    let mut silent = Vec::new();
    for start in [
        &b""[..],
        &hello[..hello.len() / 2],
        b"\x16",
        b"GET / HTTP/1.1\r\n",
    ] {
        let mut client = TcpStream::connect(server.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(start).unwrap();
        silent.push(client);
    }
    let mut stuck = Vec::new();
    for start in [
        "",
        "G",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        "PRI * HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut wire = server.wire();
        wire.send(start);
        stuck.push((start, wire));
    }
    for _ in 0..10 {
        server.get("/healthz").is(200);
    }
    for mut client in silent {
        // A reset ends it as well, but silence does not.
        let ended = client.read_to_end(&mut Vec::new());
        let gave_up = ended.err().map(|error| error.kind());
        assert!(gave_up != Some(std::io::ErrorKind::WouldBlock));
    }
    for (start, mut wire) in stuck {
        assert!(wire.is_ended(), "{start:?}");
    }
}

#[test]
fn a_request_head_that_trickles_is_cut() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--header-timeout", "3s"]);
    let mut wire = server.begin("GET", "/healthz", &[]);
    wire.answer().is(200);
    wire.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ");
    // It is never idle, and never done.
    wait_until("the server has had enough", || wire.try_send("x").is_err());
}

#[test]
fn a_client_that_does_not_read_its_answer_is_let_go() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &["--write-timeout", "1s", "--max-connections", "1"]);
    let id = text(&server.put("/uploads/large", content(16 << 20)).receipt()["id"]);
    let bearer = format!("Authorization: Bearer {}", server.token());
    let stuck = server.begin("GET", &format!("/uploads/{id}"), &[&bearer]);
    // There is room for one only: that this is answered says that the other is gone.
    server.get("/healthz").is(200);
    drop(stuck);
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_kept() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--header-timeout", "4s"]);
    let mut wire = server.wire();
    for _ in 0..3 {
        wire.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        wire.answer().is(200);
        wire.send("PUT /uploads/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
        wire.answer().receipt();
    }
    assert!(wire.is_ended());
    assert_eq!(server.listed().len(), 3);
}
