//! Connections without a handshake: they cost others nothing, however many there are.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::program::Bench;
use crate::server::{Server, wait_until};

/// Whether the server has closed it.
fn is_closed(stream: &mut TcpStream) -> bool {
    let patience = Duration::from_millis(1);
    stream.set_read_timeout(Some(patience)).unwrap();
    match stream.read(&mut [0; 64]) {
        Ok(read) => read == 0,
        Err(error) => !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    }
}

#[test]
fn who_says_nothing_gives_way() {
    let bench = Bench::new();
    let limits = ["--max-handshakes", "8", "--max-connections", "40"];
    let deadline = ["--handshake-timeout", "2m"];
    let server = Server::sealing(&bench, &[&limits[..], &deadline].concat());
    let mut established = server.wire();
    let mut silent = Vec::new();
    let began = Instant::now();
    for _ in 0..30 {
        silent.push(TcpStream::connect(server.address).unwrap());
        silent.push(TcpStream::connect(server.address).unwrap());
        // Others get in all the while, and those who are in stay.
        server.get("/healthz").is(200);
        established.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        established.answer().is(200);
    }
    // One address keeps half of the places: those of the youngest ones.
    let older = silent.len() - 4;
    wait_until("the older ones give way", || {
        silent[..older].iter_mut().all(is_closed)
    });
    assert!(!silent[older..].iter_mut().all(is_closed));
    // The deadline of a handshake had no part in it.
    assert!(began.elapsed() < Duration::from_mins(2));
}

#[test]
fn who_has_all_connections_goes_in_time() {
    let bench = Bench::new();
    let limits = ["--max-connections", "4", "--handshake-timeout", "3s"];
    let server = Server::sealing(&bench, &limits);
    let mut upload = server.begin("PUT", "/uploads/x", &["Content-Length: 10"]);
    upload.send("01234");
    // Twice as many as there are places left.
    let silent: Vec<_> = (0..6)
        .map(|_| TcpStream::connect(server.address).unwrap())
        .collect();
    // In its turn, behind those who are in the queue.
    server.get("/healthz").is(200);
    upload.send("56789");
    upload.answer().receipt();
    drop(silent);
}
