//! Headers as proxies send them, and as they should not.

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;

/// What is read of `bytes`, and how many bytes were left alone.
fn read(bytes: &[u8]) -> (Result<Source, ProxyProtocolError>, usize) {
    let mut rest = bytes;
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let read = runtime.block_on(read_header(&mut rest));
    (read, rest.len())
}

/// The address that a header with something behind it names, of which nothing must be taken.
#[track_caller]
fn named(header: &[u8]) -> Source {
    let (address, left) = read(&[header, b"\x16\x03\x01 and so on"].concat());
    assert_eq!(left, 13);
    address.unwrap()
}

#[track_caller]
fn malformed(header: &[u8]) {
    let (read, _) = read(&[header, &[0; 4096]].concat());
    assert!(read.is_err(), "{:?}", String::from_utf8_lossy(header));
}

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, body].concat()
}

fn address(text: &str) -> Source {
    Source::Client(text.parse().unwrap())
}

#[test]
fn the_first_version_is_a_line() {
    for (line, expected) in [
        (
            "TCP4 192.0.2.7 198.51.100.1 56324 443",
            address("192.0.2.7"),
        ),
        (
            "TCP4 255.255.255.255 255.255.255.255 65535 65535",
            address("255.255.255.255"),
        ),
        ("TCP6 2001:db8::7 2001:db8::1 0 443", address("2001:db8::7")),
        (
            "TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 1 2",
            address("192.0.2.7"),
        ),
        ("UNKNOWN", Source::Proxy),
        (
            "UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535",
            Source::Proxy,
        ),
        ("UNKNOWN a b c d e f g h i j k", Source::Proxy),
    ] {
        let header = format!("PROXY {line}\r\n");
        assert_eq!(named(header.as_bytes()), expected, "{line}");
    }
}

#[test]
fn lines_that_are_wrong_are_refused() {
    for line in [
        "TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        "TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
        "TCP4 192.0.2.7  198.51.100.1 56324 443\r\n",
        "TCP4 192.0.2.7 198.51.100.1 56324 443\n",
        "TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
        "TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
        "TCP4 192.0.2.7 198.51.100.1  443\r\n",
        "TCP4 192.0.2.07 198.51.100.1 1 443\r\n",
        "TCP4 2001:db8::7 2001:db8::1 1 443\r\n",
        "TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
        "TCP6 2001:db8::7%eth0 2001:db8::1 1 443\r\n",
        "TCP4 192.0.2.7 nowhere 1 443\r\n",
        "UDP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        "tcp4 192.0.2.7 198.51.100.1 56324 443\r\n",
        "UNKNOWN\n",
        "\r\n",
        &format!("UNKNOWN {}\r\n", "x".repeat(92)),
    ] {
        malformed(format!("PROXY {line}").as_bytes());
    }
    malformed(b"proxy UNKNOWN\r\n");
    malformed(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    malformed(b"GET / HTTP/1.1\r\n\r\n");
    // The longest line that the specification foresees.
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), MAX_LINE);
    assert_eq!(named(longest.as_bytes()), Source::Proxy);
}

#[test]
fn the_second_version_is_binary() {
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 187];
    assert_eq!(named(&v2(0x21, 0x11, &v4)), address("192.0.2.7"));
    // What follows the addresses is skipped.
    let more = [&v4[..], &[4, 0, 3, 1, 2, 3]].concat();
    assert_eq!(named(&v2(0x21, 0x11, &more)), address("192.0.2.7"));
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!(named(&v2(0x21, 0x21, &v6)), address("2001:db8::7"));
    v6[..16].copy_from_slice(&"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!(named(&v2(0x21, 0x21, &v6)), address("192.0.2.7"));
    for local in [
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &v4),
        v2(0x21, 0x00, &v4),
        v2(0x21, 0x31, &[0; 216]),
        v2(0x21, 0x00, &[0; MAX_BODY]),
    ] {
        assert_eq!(named(&local), Source::Proxy);
    }
}

#[test]
fn binary_headers_that_are_wrong_are_refused() {
    for header in [
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x31, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x31, &[0; 215]),
        // Datagrams do not come over a connection; the others do not exist.
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x22, &[0; 36]),
        v2(0x21, 0x01, &[0; 12]),
        v2(0x21, 0x41, &[0; 300]),
        v2(0x21, 0x11, &[0; MAX_BODY + 1]),
        v2(0x20, 0x00, &[0; MAX_BODY + 1]),
    ] {
        malformed(&header);
    }
}

#[test]
fn a_header_may_come_in_any_pieces() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    let lines = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(),
        v2(0x21, 0x11, &[192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]),
    ];
    for header in lines {
        runtime.block_on(async {
            // A pipe with room for one byte.
            let (mut theirs, mut ours) = tokio::io::duplex(1);
            let sending = async {
                theirs.write_all(&header).await.unwrap();
                theirs.write_all(b"!").await.unwrap();
            };
            let reading = async {
                let read = read_header(&mut ours).await.unwrap();
                assert_eq!(read, address("192.0.2.7"));
                assert_eq!(ours.read_u8().await.unwrap(), b'!');
            };
            tokio::join!(sending, reading);
        });
    }
}

proptest! {
    #[test]
    fn every_address_comes_through(source: [u8; 16], v4: [u8; 4], ports: (u16, u16)) {
        let (source, v4) = (Ipv6Addr::from(source), Ipv4Addr::from(v4));
        let (from, to) = ports;
        let line = format!("PROXY TCP6 {source} ::1 {from} {to}\r\n");
        prop_assert_eq!(named(line.as_bytes()), Source::Client(IpAddr::from(source).to_canonical()));
        let line = format!("PROXY TCP4 {v4} 127.0.0.1 {from} {to}\r\n");
        prop_assert_eq!(named(line.as_bytes()), Source::Client(v4.into()));
        let body = [&v4.octets()[..], &[127, 0, 0, 1], &from.to_be_bytes(), &to.to_be_bytes()].concat();
        prop_assert_eq!(named(&v2(0x21, 0x11, &body)), Source::Client(v4.into()));
    }

    #[test]
    fn no_prefix_of_a_header_is_one(cut in 0usize..46) {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
        let body = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 187, 4, 0, 1, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
        for header in [line.to_vec(), v2(0x21, 0x11, &body)] {
            let cut = cut.min(header.len() - 1);
            prop_assert!(matches!(read(&header[..cut]).0, Err(ProxyProtocolError::Read(_))));
        }
    }

    #[test]
    fn nothing_is_taken_beyond_the_bounds(bytes in proptest::collection::vec(any::<u8>(), 0..200), length: u16) {
        let start = [&SIGNATURE[..], &[0x21, 0x11], &length.to_be_bytes()[..]].concat();
        for start in [&start[..], b"PROXY ", b""] {
            let all = [start, &bytes, &vec![b'x'; 70_000]].concat();
            let (_, left) = read(&all);
            prop_assert!(all.len() - left <= 16 + MAX_BODY);
        }
    }
}
