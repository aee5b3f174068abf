//! Behind a proxy: where the server takes a connection to come from, as its log says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::version::TLS13;

use crate::client::{PATIENCE, Protocol, Wire, trusting};
use crate::program::Bench;
use crate::server::{Server, wait_until};

const LOGGING: [&str; 3] = ["--log", "debug", "--allow-anonymous"];
/// Both ends of a connection over loopback.
const HERE: &str = "127.0.0.1";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &length,
        body,
    ]
    .concat()
}

fn tcp(server: &Server<'_>) -> TcpStream {
    let tcp = TcpStream::connect(server.address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// The address that the server takes a request to come from which follows these bytes.
#[track_caller]
fn address_after(server: &Server<'_>, header: &[u8], fields: &[&str]) -> String {
    let mut tcp = tcp(server);
    tcp.write_all(header).unwrap();
    let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
    let mut wire = Wire::over(tcp, server.address.ip(), config).unwrap();
    address_of_request(server, &mut wire, fields)
}

#[track_caller]
fn address_of_request(server: &Server<'_>, wire: &mut Wire, fields: &[&str]) -> String {
    let before = answers(server).len();
    let first = format!("GET /healthz HTTP/1.1\r\nHost: {}", server.address);
    wire.send([&[&first[..]], fields, &["\r\n"]].concat().join("\r\n"));
    wire.answer().is(200);
    wait_until("the request is logged", || answers(server).len() > before);
    let logged = answers(server).pop().unwrap();
    let (_, address) = logged.split_once(" address=").unwrap();
    address.split(' ').next().unwrap().to_owned()
}

fn answers(server: &Server<'_>) -> Vec<String> {
    let log = server.log();
    let lines = log.lines().filter(|line| line.contains("answered"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_trusted_proxy_says_in_front_where_a_connection_comes_from() {
    let bench = Bench::new();
    let args = ["--trusted-proxy", "127.0.0.0/8", "--proxy-protocol"];
    let server = Server::sealing(&bench, &[&LOGGING[..], &args].concat());
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 187];
    let with_more = [&v4[..], &[4, 1, 0], &[0; 256]].concat();
    for (header, address) in [
        (
            &b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"[..],
            "192.0.2.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n",
            "2001:db8::7",
        ),
        (b"PROXY UNKNOWN\r\n", HERE),
        (&v2(0x21, 0x11, &v4), "192.0.2.7"),
        (&v2(0x21, 0x11, &with_more), "192.0.2.7"),
        (&v2(0x21, 0x21, &v6), "2001:db8::"),
        (&v2(0x20, 0x00, &[]), HERE),
    ] {
        assert_eq!(address_after(&server, header, &[]), address);
        // In single bytes, each a packet of its own.
        let mut tcp = tcp(&server);
        for byte in header {
            tcp.write_all(&[*byte]).unwrap();
        }
        let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
        let mut wire = Wire::over(tcp, server.address.ip(), config).unwrap();
        assert_eq!(address_of_request(&server, &mut wire, &[]), address);
        // All of the connection comes from there.
        assert_eq!(address_of_request(&server, &mut wire, &[]), address);
    }
    // Not configured, a request's own word counts for nothing.
    let claim = ["X-Forwarded-For: 192.0.2.9", "Forwarded: for=192.0.2.9"];
    let header = b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n";
    assert_eq!(address_after(&server, header, &claim), "127.0.0.9");
}

#[test]
fn what_is_no_header_ends_the_connection() {
    let bench = Bench::new();
    let args = [&LOGGING[..], &["--trusted-proxy", HERE, "--proxy-protocol"]].concat();
    let server = Server::sealing(&bench, &args);
    let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
    // TLS without a header.
    assert!(Wire::connect(server.address, Arc::clone(&config)).is_err());
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    for header in [
        &b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n"[..],
        b"PROXY TCP4 192.0.2.777 198.51.100.1 56324 443\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n\n",
        long.as_bytes(),
        &v2(0x21, 0x11, &[0; 4]),
        &v2(0x29, 0x11, &[0; 12]),
        &v2(0x21, 0x11, &[0; 4000]),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut tcp = tcp(&server);
        // Of what is too long the rest may find the connection closed.
        let _ = tcp.write_all(header);
        assert!(is_closed(&mut tcp), "{:?}", String::from_utf8_lossy(header));
    }
    let warnings = || server.log().matches("without a PROXY header").count();
    wait_until("it is said", || warnings() > 0);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    assert_eq!(address_after(&server, header, &[]), "192.0.2.7");
    assert_eq!(warnings(), 1, "once, however often it happens");
    drop(server);
    // One that never ends is ended.
    let limits = ["--handshake-timeout", "2s"];
    let server = Server::sealing(&bench, &[&args[..], &limits].concat());
    let mut tcp = tcp(&server);
    tcp.write_all(b"PROXY TCP4 192.0.2.7").unwrap();
    assert!(is_closed(&mut tcp));
}

/// Whether the server says no more; waits for it.
fn is_closed(tcp: &mut TcpStream) -> bool {
    let mut said = Vec::new();
    match tcp.read_to_end(&mut said) {
        Ok(_) => said.is_empty(),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn nobody_else_says_where_a_connection_comes_from() {
    let bench = Bench::new();
    let args = [
        "--trusted-proxy",
        "10.0.0.0/8",
        "--trusted-proxy",
        "127.0.0.2",
        "--proxy-protocol",
        "--forwarded",
        "x-forwarded-for",
    ];
    let server = Server::sealing(&bench, &[&LOGGING[..], &args].concat());
    let claim = ["X-Forwarded-For: 192.0.2.7"];
    assert_eq!(address_after(&server, b"", &claim), HERE);
    // To TLS the header is nonsense.
    let mut tcp = tcp(&server);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
    tcp.write_all(header).unwrap();
    let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
    assert!(Wire::over(tcp, server.address.ip(), config).is_err());
}

#[test]
fn a_trusted_proxy_says_in_a_request_where_it_comes_from() {
    let bench = Bench::new();
    for (field, fields, address) in [
        (
            "x-forwarded-for",
            &["X-Forwarded-For: 192.0.2.7"][..],
            "192.0.2.7",
        ),
        (
            "x-forwarded-for",
            &[
                "X-Forwarded-For: 198.51.100.9",
                "x-forwarded-for: 192.0.2.7, 10.1.2.3",
            ],
            "192.0.2.7",
        ),
        (
            "x-forwarded-for",
            &["X-Forwarded-For: 192.0.2.7, unknown"],
            HERE,
        ),
        ("x-forwarded-for", &["Forwarded: for=192.0.2.7"], HERE),
        ("x-forwarded-for", &[], HERE),
        (
            "forwarded",
            &["Forwarded: for=\"[2001:db8::7]:4711\";proto=https, for=10.1.2.3"],
            "2001:db8::7",
        ),
        (
            "forwarded",
            &["Forwarded: for=\"", "Forwarded: for=192.0.2.7"],
            "192.0.2.7",
        ),
        ("forwarded", &["Forwarded: for=_hidden"], HERE),
        ("forwarded", &["X-Forwarded-For: 192.0.2.7"], HERE),
    ] {
        let args = [
            "--trusted-proxy=127.0.0.1",
            "--trusted-proxy=10.0.0.0/8",
            "--forwarded",
            field,
        ];
        let server = Server::sealing(&bench, &[&LOGGING[..], &args].concat());
        assert_eq!(address_after(&server, b"", fields), address, "{fields:?}");
    }
}

#[test]
fn proxies_may_stand_in_a_row() {
    let bench = Bench::new();
    let args = [
        "--trusted-proxy=127.0.0.1",
        "--trusted-proxy=10.0.0.0/8",
        "--proxy-protocol",
        "--forwarded=x-forwarded-for",
    ];
    let server = Server::sealing(&bench, &[&LOGGING[..], &args].concat());
    let claim = ["X-Forwarded-For: 192.0.2.7"];
    // The one in front of us names another one, whose word counts.
    let trusted = b"PROXY TCP4 10.0.0.9 127.0.0.1 1 2\r\n";
    assert_eq!(address_after(&server, trusted, &claim), "192.0.2.7");
    // Or a client, whose word does not.
    let stranger = b"PROXY TCP4 198.51.100.9 127.0.0.1 1 2\r\n";
    assert_eq!(address_after(&server, stranger, &claim), "198.51.100.9");
    // Where it does not know, the request may be anybody's.
    for unknown in [&b"PROXY UNKNOWN\r\n"[..], &v2(0x20, 0x00, &[])] {
        assert_eq!(address_after(&server, unknown, &claim), HERE);
    }
}

#[test]
fn behind_a_proxy_each_client_has_limits_of_its_own() {
    let bench = Bench::new();
    let args = [
        "--trusted-proxy=127.0.0.1",
        "--proxy-protocol",
        "--max-uploads-per-address=1",
    ];
    let server = Server::sealing(&bench, &[&LOGGING[..], &args].concat());
    let begin = |client: &str| {
        let mut tcp = tcp(&server);
        write!(tcp, "PROXY TCP4 {client} 127.0.0.1 1 2\r\n").unwrap();
        let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
        let mut wire = Wire::over(tcp, server.address.ip(), config).unwrap();
        let head = "PUT /uploads/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        wire.send(head);
        wire
    };
    let mut first = begin("192.0.2.7");
    assert_eq!(first.head().status, 100);
    begin("192.0.2.7")
        .answer_at_once()
        .refused(429, "too-many-uploads");
    let mut other = begin("192.0.2.8");
    assert_eq!(other.head().status, 100);
    for wire in [&mut first, &mut other] {
        wire.send("done");
        wire.answer().receipt();
    }
}

#[test]
fn operations_are_for_machines_without_a_proxy() {
    let bench = Bench::new();
    let args = [
        "--trusted-proxy",
        HERE,
        "--proxy-protocol",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let server = Server::sealing(&bench, &[&LOGGING[..], &args].concat());
    let operations = server.operations();
    let config = trusting(&server.ca(), &TLS13, Protocol::Http1);
    let mut wire = Wire::connect(operations, config).unwrap();
    assert_eq!(address_of_request(&server, &mut wire, &[]), HERE);
}
