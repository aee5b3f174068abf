//! The server's own certificate: where it comes from, for which names it answers, and how requests see what is wrong with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use http::{Method, Request};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConnection, StreamOwned};

use crate::client::{Answer, Protocol, Wire, trusting};
use crate::program::Bench;
use crate::server::{Server, wait_until};

impl Server<'_> {
    /// A request over HTTP/1.1 with these lines of a head behind the first.
    fn asked(&self, path: &str, lines: &[&str]) -> Answer {
        let mut wire = self.wire();
        let first = format!("GET {path} HTTP/1.1");
        let head = [&[&first[..]], lines, &["\r\n"]].concat();
        wire.send(head.join("\r\n"));
        wire.answer()
    }

    fn metric(&self, line: &str) -> bool {
        let metrics = self.admin(Method::GET, "/metrics").is(200).text();
        metrics.lines().any(|found| found == line)
    }
}

/// What a client is told that asks for this name in its handshake.
fn alert(server: &Server<'_>, name: &'static str) -> Option<AlertDescription> {
    let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
    let name = ServerName::try_from(name).unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    let tcp = std::net::TcpStream::connect(server.address).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    let error = stream.conn.complete_io(&mut stream.sock).err()?;
    let error = error.into_inner()?;
    match error.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[test]
fn a_request_for_another_host_is_misdirected() {
    let bench = Bench::new();
    let operations = ["--metrics-listen", "127.0.0.1:0"];
    let named = [&["--server-name", "proxy.example"][..], &operations].concat();
    let server = Server::sealing(&bench, &named);
    let hosts = ["localhost", "127.0.0.1:1", "[::1]", "PROXY.example:443"];
    for host in hosts {
        let host = format!("Host: {host}");
        assert_eq!(server.asked("/recipients", &[&host]).status, 200, "{host}");
    }
    for path in ["/recipients", "/", "/metrics", "/nowhere", "/uploads"] {
        let answer = server.asked(path, &["Host: other.example"]);
        answer.refused(421, "misdirected");
        assert!(answer.text().contains("--server-name"));
    }
    // What stands in the target goes before.
    let other = "https://other.example/recipients";
    server
        .asked(other, &["Host: localhost"])
        .refused(421, "misdirected");
    let own = "https://localhost/recipients";
    assert_eq!(server.asked(own, &["Host: other.example"]).status, 200);
    // Probes know an address alone.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.asked(path, &["Host: 10.0.0.7:8443"]).status, 200);
    }
    for lines in [
        &[][..],
        &["Host: localhost", "Host: localhost"],
        &["Host: localhost", "Host: other.example"],
        &["Host:"],
        &["Host: localhost/"],
        &["Host: a@localhost"],
    ] {
        server
            .asked("/recipients", lines)
            .refused(400, "malformed-host");
    }
    assert!(server.metric("sealslot_refusals_total{code=\"misdirected\"} 6"));

    let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
    let mut wire = Wire::connect(server.operations(), config).unwrap();
    wire.send("GET /metrics HTTP/1.1\r\nHost: metrics.internal\r\n\r\n");
    assert_eq!(wire.answer().status, 200, "operators call it as they like");
}

#[test]
fn a_handshake_for_another_name_is_refused() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    assert_eq!(alert(&server, "localhost"), None);
    assert_eq!(
        alert(&server, "other.example"),
        Some(AlertDescription::UnrecognisedName)
    );
    // The client is told before it is counted.
    wait_until("it is counted", || {
        server.metric("sealslot_handshakes_failed_total 1")
    });
}

#[test]
fn what_was_agreed_upon_is_spoken_and_nothing_else() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let put = "PUT /uploads/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    let over = |protocol| {
        let config = trusting(&server.ca(), &TLS13, protocol);
        Wire::connect(server.address, config).unwrap()
    };
    let mut wire = over(Protocol::Http1);
    wire.send(put);
    wire.answer().receipt();
    let mut wire = over(Protocol::Http2);
    wire.send(put);
    assert!(wire.is_ended());
    // The other way round: a client that would speak HTTP/2 after having agreed upon HTTP/1.1.
    let mut wire = over(Protocol::Http1);
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(!wire.try_head().is_ok_and(|head| head.status < 400));
    // Without a word about it, HTTP/1.1 is.
    let mut silent = rustls::ClientConfig::clone(&trusting(&server.ca(), &TLS13, Protocol::Http1));
    silent.alpn_protocols.clear();
    let mut wire = Wire::connect(server.address, Arc::new(silent)).unwrap();
    wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(!wire.try_head().is_ok_and(|head| head.status < 400));
    assert_eq!(server.listed().len(), 1);
}

/// Serves with a certificate that does not stand in the folder of certificates.
const LIVE: [&str; 4] = [
    "--certificate",
    "live/server.pem",
    "--private-key",
    "live/server.key",
];

/// Puts a pair of a certificate and its key into two files, and the authority where the server's clients look for it.
fn make_pair(bench: &Bench, folder: &str) {
    bench.run(&["certs", "--dir", folder]).ok();
    fs::create_dir_all(bench.path("certs")).unwrap();
    let ca = bench.path(folder).join("ca.pem");
    fs::copy(ca, bench.path("certs/ca.pem")).unwrap();
}

#[test]
fn a_certificate_comes_from_files_of_any_name() {
    let bench = Bench::new();
    make_pair(&bench, "live");
    // What stands in the folder of certificates is not looked at.
    bench.write("certs/server.pem", "garbage");
    let server = Server::sealing(&bench, &LIVE);
    server.get("/readyz").is(200);
    drop(server);

    let both = [bench.read("live/server.pem"), bench.read("live/server.key")].concat();
    let path = bench.write("both.pem", both);
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let recipient = Bench::recipient_text();
    let named = ["--certificate", "both.pem", "--private-key", "both.pem"];
    let args = [&["--recipient", &recipient[..]][..], &named].concat();
    let line = bench.refuses_to_serve(&args, &[]).failed(1);
    assert!(line.contains("chmod 600") && line.contains("defaultMode: 0440"));
    mode(0o600);
    Server::sealing(&bench, &named).get("/readyz").is(200);
}

#[test]
fn a_replacement_that_cannot_be_used_is_seen_and_does_no_harm() {
    let bench = Bench::new();
    make_pair(&bench, "live");
    let server = Server::sealing(&bench, &LIVE);
    assert_eq!(server.get("/readyz").is(200).text(), "ready\n");
    assert!(server.metric("sealslot_certificate_failing 0"));
    assert!(server.metric("sealslot_certificate_replacements_total 0"));
    let good = bench.read("live/server.key");
    bench.write("live/server.key", "garbage");
    wait_until("it is told of", || {
        server.get("/readyz").text() != "ready\n"
    });
    let said = server.get("/readyz").is(200).text();
    assert_eq!(
        said,
        "ready\nwarning: no new certificate is used: malformed\n"
    );
    assert!(server.metric("sealslot_certificate_failing 1"));
    assert!(server.log().contains("the new certificate cannot be used"));
    server.put("/uploads/x", "content").receipt();

    bench.write("live/server.key", good);
    assert_eq!(server.get("/readyz").is(200).text(), "ready\n");
    let path = Path::new("live/server.pem");
    make_pair(&bench, "next");
    fs::rename(bench.path("next/server.key"), bench.path("live/server.key")).unwrap();
    fs::rename(bench.path("next/server.pem"), bench.path(path)).unwrap();
    // The client trusts the new authority alone.
    server.get("/readyz").is(200);
    assert!(server.metric("sealslot_certificate_replacements_total 1"));
    server
        .send(Request::get("/healthz").body(Vec::new()).unwrap())
        .is(200);
}
