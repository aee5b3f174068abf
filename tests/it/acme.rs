//! Certificates by ACME, without an authority: the settings, and plain HTTP. With one: tests/e2e/acme.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::program::Bench;
use crate::server::{Server, wait_until};

/// An authority that nobody is at.
const AWAY: [&str; 5] = [
    "--acme-terms-agreed",
    "--acme-directory",
    "https://127.0.0.1:1/dir",
    "--acme-cacert",
    "ca/ca.pem",
];
const OPEN: [&str; 2] = ["--identity=key", "--allow-anonymous"];

fn bench() -> Bench {
    let bench = Bench::new();
    bench.run(&["certs", "--dir", "ca"]).ok();
    bench
}

#[track_caller]
fn refused(bench: &Bench, args: &[&str], code: i32, words: &[&str]) {
    let line = bench.refuses_to_serve(args, &[]).failed(code);
    for word in words {
        assert!(line.contains(word), "{line}");
    }
    assert!(!bench.path("certs/server.pem").exists());
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let bench = Bench::new();
    let domain = "--acme-domain=files.example.org";
    let agreed = "--acme-terms-agreed";
    for (args, words) in [
        (
            &[domain][..],
            &["--acme-terms-agreed", "terms of service", "letsencrypt"][..],
        ),
        (
            &[domain, "--acme-terms-agreed=false"],
            &["--acme-terms-agreed"],
        ),
        (
            &["--acme-email=a@example.org"],
            &["acme-email", "acme-domain"],
        ),
        (
            &["--acme-terms-agreed"],
            &["acme-terms-agreed needs acme-domain"],
        ),
        (
            &["--acme-profile=shortlived"],
            &["acme-profile needs acme-domain"],
        ),
        (
            &[domain, agreed, "--acme-challenge=http-01"],
            &["http-01 needs http-listen"],
        ),
        (
            &[domain, agreed, "--acme-eab-kid=kid"],
            &["acme-eab-kid needs acme-eab-key-file"],
        ),
        (
            &[domain, agreed, "--acme-eab-key-file=key"],
            &["acme-eab-key-file needs acme-eab-kid"],
        ),
        (
            &[domain, agreed, "--certificate=c", "--private-key=k"],
            &["acme-domain does not go together with certificate"],
        ),
        // On loopback too, nothing is made up.
        (
            &[domain, agreed],
            &["acme-domain", "a public key to seal to", "who may upload"],
        ),
        (
            &["--acme-domain=*.example.org", agreed],
            &["wildcard", "dns-01"],
        ),
    ] {
        refused(&bench, args, 64, words);
    }
    assert!(!bench.path("data").exists() && !bench.path("certs").exists());
}

#[test]
fn the_key_of_an_external_account_is_looked_at_before_anything_is_asked() {
    let bench = bench();
    let domain = "--acme-domain=files.example.org";
    let eab = ["--acme-eab-kid=kid", "--acme-eab-key-file=eab"];
    let args = [&AWAY[..], &OPEN, &eab, &[domain]].concat();
    refused(&bench, &args, 1, &["cannot read eab"]);
    bench.write_private("eab", "not base64url!");
    refused(&bench, &args, 1, &["eab holds no key"]);
    bench.write("eab", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
    fs::set_permissions(bench.path("eab"), fs::Permissions::from_mode(0o644)).unwrap();
    refused(&bench, &args, 1, &["chmod 600 eab"]);
}

/// A server whose authority is away, and where it speaks plain HTTP.
fn with_plain<'a>(bench: &'a Bench, more: &[&str]) -> (Server<'a>, SocketAddr) {
    let names = ["--acme-domain=a.example.org", "--acme-domain=b.example.org"];
    let listen = ["--http-listen=127.0.0.1:0"];
    let args = [&AWAY[..], &OPEN, &names, &listen, more].concat();
    let server = Server::start(bench, &args, &[]);
    let mut address = None;
    wait_until("plain HTTP is served", || {
        let log = server.log();
        let line = log.lines().find(|line| line.contains("sending plain HTTP"));
        let said = line.and_then(|line| line.split("address=").nth(1));
        address = said.and_then(|address| address.trim().parse().ok());
        address.is_some()
    });
    (server, address.unwrap())
}

/// All that comes back over a connection on which this was sent.
fn exchange(address: SocketAddr, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Where the server has heard enough, it may close before all of it is sent.
    let _ = stream.write_all(sent);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn without_a_certificate_it_serves_nothing_and_makes_nothing_up() {
    let bench = bench();
    let (mut server, _) = with_plain(&bench, &["--acme-challenge=http-01"]);
    wait_until("the authority is missed", || {
        server.log().contains("no certificate yet")
    });
    assert!(server.log().contains("unreachable"), "{}", server.log());
    assert_eq!(bench.names("certs"), ["acme"]);
    assert!(bench.names("certs/acme").is_empty());
    assert!(!bench.path("data/admin.token").exists());
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().success());
}

#[test]
fn who_says_nothing_over_plain_http_keeps_nobody_out() {
    let bench = bench();
    let (_server, plain) = with_plain(&bench, &[]);
    // They have five seconds each. The first give way before.
    let first_gives_way = || {
        let began = Instant::now();
        let silent: Vec<_> = (0..300)
            .map(|_| TcpStream::connect(plain).unwrap())
            .collect();
        let answer = exchange(plain, b"GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        silent[0].set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!((&silent[0]).read(&mut [0; 1]).unwrap_or(0), 0);
        began.elapsed() < Duration::from_secs(5)
    };
    // Where the machine stands still, one round takes as long for another reason.
    assert!((0..3).any(|_| first_gives_way()));
}

#[test]
fn plain_http_sends_readers_on_and_takes_nothing() {
    let bench = bench();
    let (server, plain) = with_plain(&bench, &[]);
    let port = server.address.port();
    let get = |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        exchange(plain, request.as_bytes())
    };
    for (host, path, to) in [
        ("b.example.org", "/d/a-secret?x", "b.example.org"),
        ("B.example.org:80", "/", "b.example.org"),
        ("evil.example", "/d/a-secret", "a.example.org"),
        ("evil.example", "http://evil.example/p", "a.example.org"),
    ] {
        let answer = get(host, path);
        let path = path.trim_start_matches("http://evil.example");
        assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
        let location = format!("\r\nlocation: https://{to}:{port}{path}\r\n");
        assert!(answer.contains(&location), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    let unknown = get("a.example.org", "/.well-known/acme-challenge/unknown");
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    let body = vec![b'x'; 8 << 20];
    for method in ["POST", "PUT", "PATCH"] {
        let head = format!(
            "{method} /uploads HTTP/1.1\r\nHost: a.example.org\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // The answer comes though the body does not.
        let answer = exchange(plain, head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        assert!(answer.contains("consider it seen"), "{answer}");
        // Whoever sends all of it first is not cut off: many do not look then whether there was an answer.
        let mut stream = TcpStream::connect(plain).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    let large = format!(
        "GET / HTTP/1.1\r\nHost: a.example.org\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    assert!(exchange(plain, large.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert!(exchange(plain, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").starts_with("HTTP/1.1 400 "));
    assert!(!server.log().contains("a-secret"), "{}", server.log());
    assert!(!bench.path("data/uploads").exists() || bench.names("data/uploads").is_empty());
}

#[test]
fn plain_http_waits_for_nobody() {
    let bench = bench();
    let (mut server, plain) = with_plain(&bench, &[]);
    let mut slow: Vec<_> = (0..50)
        .map(|_| TcpStream::connect(plain).unwrap())
        .collect();
    for stream in &mut slow {
        stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    }
    let answer = exchange(plain, b"GET / HTTP/1.1\r\nHost: a.example.org\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    for stream in &mut slow {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        // It is closed, with or without a word.
        let _ = stream.read_to_end(&mut answer);
    }
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().success());
}
