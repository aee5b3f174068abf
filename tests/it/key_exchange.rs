//! What may be agreed on in a handshake: groups, versions and suites, asked for one at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup,
    RootCertStore, SupportedProtocolVersion,
};

use crate::client::PATIENCE;
use crate::program::Bench;
use crate::server::Server;

type Groups = Vec<&'static dyn SupportedKxGroup>;

/// What a handshake came to.
#[derive(Debug, PartialEq)]
struct Agreed {
    group: NamedGroup,
    kind: HandshakeKind,
}

/// A handshake in which only `groups` are offered, in that order.
fn agree(
    server: &Server<'_>,
    version: &'static SupportedProtocolVersion,
    groups: Groups,
) -> io::Result<Agreed> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(server.ca()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = CryptoProvider {
        kx_groups: groups,
        ..aws_lc_rs::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::IpAddress(server.address.ip().into());
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut tcp = TcpStream::connect(server.address)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    Ok(Agreed {
        group: connection.negotiated_key_exchange_group().unwrap().name(),
        kind: connection.handshake_kind().unwrap(),
    })
}

#[track_caller]
fn refused(outcome: io::Result<Agreed>, alert: AlertDescription) {
    let error = outcome.unwrap_err();
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    assert_eq!(error, Some(&Error::AlertReceived(alert)));
}

/// The record in which a client says hello that knows nothing newer than TLS 1.2 (RFC 5246, section 7.4.1.2).
fn old_hello(version: [u8; 2], suites: &[u16]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend((u16::try_from(2 * suites.len()).unwrap()).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    // secp256r1 and X25519; uncompressed points; ECDSA and RSA with SHA-256.
    let extensions =
        b"\0\x0a\0\x06\0\x04\0\x17\0\x1d\0\x0b\0\x02\x01\0\0\x0d\0\x06\0\x04\x04\x03\x04\x01";
    body.extend((u16::try_from(extensions.len()).unwrap()).to_be_bytes());
    body.extend(extensions);
    let length = u16::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(body);
    record
}

/// The first record that comes back: its type, and what is in it.
fn first_record(address: SocketAddr, hello: &[u8]) -> (u8, Vec<u8>) {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(hello).unwrap();
    let mut header = [0; 5];
    tcp.read_exact(&mut header).unwrap();
    let mut content = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut content).unwrap();
    (header[0], content)
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const FATAL: u8 = 2;
/// `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`.
const AEAD: u16 = 0xc02b;
/// The same kinds of keys with CBC: AES-128 and -256, with SHA-1 and with SHA-2.
const CBC: [u16; 4] = [0xc009, 0xc00a, 0xc023, 0xc024];

#[test]
fn each_group_alone_is_enough() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let kind = HandshakeKind::Full;
    for group in [X25519MLKEM768, X25519, SECP256R1, SECP384R1] {
        let agreed = agree(&server, &TLS13, vec![group]).unwrap();
        assert_eq!(agreed.group, group.name());
        assert_eq!(agreed.kind, kind, "a second round trip");
    }
    for group in [X25519, SECP256R1, SECP384R1] {
        let agreed = agree(&server, &TLS12, vec![group]).unwrap();
        assert_eq!(agreed.group, group.name());
    }
}

#[test]
fn the_post_quantum_hybrid_is_agreed_on_in_one_round_trip_where_the_client_puts_it_first() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let hybrid_first = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
    let agreed = agree(&server, &TLS13, hybrid_first).unwrap();
    assert_eq!(agreed.group, NamedGroup::X25519MLKEM768);
    assert_eq!(agreed.kind, HandshakeKind::Full);
    // TLS 1.2 knows no such group, and goes on without it.
    let agreed = agree(&server, &TLS12, vec![X25519MLKEM768, X25519]).unwrap();
    assert_eq!(agreed.group, NamedGroup::X25519);
}

/// rustls goes by the client's order of groups, which nothing overrules: a client that would rather not has its way.
#[test]
fn among_groups_the_clients_order_counts() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let agreed = agree(&server, &TLS13, vec![X25519, X25519MLKEM768]).unwrap();
    assert_eq!(agreed.group, NamedGroup::X25519);
}

#[test]
fn tls_1_1_and_cbc_are_refused_by_an_alert() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    // So the refusals below are not for another reason.
    let (kind, message) = first_record(server.address, &old_hello([3, 3], &[AEAD]));
    assert_eq!((kind, message[0]), (HANDSHAKE, 2), "no ServerHello");
    let modern_and_more = [&[AEAD], &CBC[..]].concat();
    for version in [[3, 0], [3, 1], [3, 2]] {
        let answer = first_record(server.address, &old_hello(version, &modern_and_more));
        let alert = u8::from(AlertDescription::ProtocolVersion);
        assert_eq!(answer, (ALERT, vec![FATAL, alert]), "{version:?}");
    }
    let answer = first_record(server.address, &old_hello([3, 3], &CBC));
    let alert = u8::from(AlertDescription::HandshakeFailure);
    assert_eq!(answer, (ALERT, vec![FATAL, alert]));
}

#[test]
fn tls_1_2_is_refused_by_an_alert_where_1_3_is_the_least() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--tls-min", "1.3"]);
    agree(&server, &TLS13, vec![X25519]).unwrap();
    let outcome = agree(&server, &TLS12, vec![X25519]);
    refused(outcome, AlertDescription::ProtocolVersion);
    let answer = first_record(server.address, &old_hello([3, 3], &[AEAD]));
    let alert = u8::from(AlertDescription::ProtocolVersion);
    assert_eq!(answer, (ALERT, vec![FATAL, alert]));
}
