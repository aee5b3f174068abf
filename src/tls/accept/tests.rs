use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, Error, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;

use super::super::dev::{DEFAULT_HOSTS, DevCertificates};
use super::super::tests::{client_config, handshake, handshake_with, load, made};
use super::super::tickets::rotating_every;
use super::super::{TlsSettings, TlsVersion};
use super::*;

async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    server: &ServerTls,
    stream: S,
    audience: Audience,
) -> Result<TlsStream<S>, HandshakeError> {
    let greeting = ServerTls::begin(stream).await?;
    greeting.answer(server, audience).complete().await
}

async fn accepted(
    files: &DevCertificates,
    name: &str,
    audience: Audience,
) -> (Option<HandshakeError>, Option<io::Error>) {
    let server = load(files).unwrap();
    let config = client_config(&files.ca_pem, rustls::ALL_VERSIONS);
    let (near, far) = tokio::io::duplex(1 << 16);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (server, client) = tokio::join!(
        accept(&server, far, audience),
        TlsConnector::from(Arc::new(config)).connect(name, near)
    );
    (server.err(), client.err())
}

fn alert(error: Option<io::Error>) -> Option<AlertDescription> {
    let error = error?.into_inner()?;
    match error.downcast_ref::<Error>()? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn another_name_is_told_to_be_unknown() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let (server, client) = accepted(&files, "example.org", Audience::Everyone).await;
    assert!(matches!(server, Some(HandshakeError::UnknownName)));
    assert_eq!(alert(client), Some(AlertDescription::UnrecognisedName));
    // A client that connects to an address sends no name.
    for name in DEFAULT_HOSTS {
        let (server, client) = accepted(&files, name, Audience::Everyone).await;
        assert!(server.is_none() && client.is_none(), "{name}");
    }
    // Operators get the certificate, and judge themselves.
    let (_, client) = accepted(&files, "metrics.internal", Audience::Operators).await;
    let client = client.unwrap().to_string();
    assert!(client.contains("not valid for name"), "{client}");
}

#[tokio::test]
async fn of_the_versions_the_oldest_is_a_setting() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let settings = TlsSettings {
        min_version: TlsVersion::Tls13,
        ..TlsSettings::default()
    };
    let server = ServerTls::load(files.server(), settings).unwrap();
    let old = client_config(&files.ca_pem, &[&rustls::version::TLS12]);
    let refused = handshake(old, &server, "localhost").unwrap_err();
    assert!(matches!(refused, Error::PeerIncompatible(_)), "{refused:?}");
    let both = client_config(&files.ca_pem, rustls::ALL_VERSIONS);
    let (client, _) = handshake(both, &server, "localhost").unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

/// Handshakes again and again with one client, and tells how.
fn kind(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> HandshakeKind {
    let done = handshake_with(Arc::clone(client), Arc::clone(server), name);
    let (client, _) = done.unwrap();
    client.handshake_kind().unwrap()
}

#[test]
fn a_ticket_is_good_for_its_own_name_and_listener() {
    let (_dir, files) = made(&["localhost", "files.localhost"]);
    let server = load(&files).unwrap();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Arc::new(client_config(&files.ca_pem, &[version]));
        assert_eq!(
            kind(&client, &server.config(), "localhost"),
            HandshakeKind::Full
        );
        assert_eq!(
            kind(&client, &server.config(), "localhost"),
            HandshakeKind::Resumed
        );
        assert_eq!(
            kind(&client, &server.config_for_operators(), "localhost"),
            HandshakeKind::Full,
            "operations have keys of their own"
        );
    }
}

/// Hands a client what it has stored for one name under every name.
#[derive(Debug)]
struct OneName(rustls::client::ClientSessionMemoryCache);

impl rustls::client::ClientSessionStore for OneName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(one(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&one())
    }
    fn set_tls12_session(
        &self,
        _: ServerName<'static>,
        value: rustls::client::Tls12ClientSessionValue,
    ) {
        self.0.set_tls12_session(one(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<rustls::client::Tls12ClientSessionValue> {
        self.0.tls12_session(&one())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one());
    }
    fn insert_tls13_ticket(
        &self,
        _: ServerName<'static>,
        value: rustls::client::Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(one(), value);
    }
    fn take_tls13_ticket(
        &self,
        _: &ServerName<'static>,
    ) -> Option<rustls::client::Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one())
    }
}

fn one() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

#[test]
fn a_ticket_of_one_name_does_not_resume_under_another() {
    let (_dir, files) = made(&["localhost", "files.localhost"]);
    let server = load(&files).unwrap().config();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut client = client_config(&files.ca_pem, &[version]);
        let store = OneName(rustls::client::ClientSessionMemoryCache::new(8));
        client.resumption = rustls::client::Resumption::store(Arc::new(store));
        let client = Arc::new(client);
        assert_eq!(kind(&client, &server, "localhost"), HandshakeKind::Full);
        assert_eq!(
            kind(&client, &server, "files.localhost"),
            HandshakeKind::Full
        );
        assert_eq!(
            kind(&client, &server, "files.localhost"),
            HandshakeKind::Resumed,
            "that of its own does"
        );
    }
}

#[test]
fn a_key_for_tickets_does_not_outlive_two_turns() {
    let turn = Duration::from_secs(1);
    let tickets = rotating_every(turn).unwrap();
    let ticket = tickets.encrypt(b"a session").unwrap();
    assert_eq!(tickets.lifetime(), 2);
    assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
    // Each turn comes with the first use after its time, which is counted in whole seconds.
    let mut opened = 0;
    for _ in 0..2 {
        std::thread::sleep(turn * 2 + Duration::from_millis(50));
        opened += u32::from(tickets.decrypt(&ticket).is_some());
    }
    assert_eq!(opened, 1, "by the key before this one, and then by none");
}

#[test]
fn early_data_is_not_taken() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let server = load(&files).unwrap().config();
    // A ticket of a server that would take early data, with the same certificate.
    let mut generous = ServerConfig::builder_with_provider(Arc::clone(server.crypto_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&server.cert_resolver));
    generous.max_early_data_size = 1 << 14;
    let mut client = client_config(&files.ca_pem, &[&rustls::version::TLS13]);
    client.enable_early_data = true;
    let client = Arc::new(client);
    assert_eq!(
        kind(&client, &Arc::new(generous), "localhost"),
        HandshakeKind::Full
    );
    let mut sending = rustls::ClientConnection::new(Arc::clone(&client), one()).unwrap();
    {
        use std::io::Write;
        let mut early = sending.early_data().expect("the ticket allows it");
        early
            .write_all(b"an upload that could be replayed")
            .unwrap();
    }
    let mut accepting = rustls::ServerConnection::new(server).unwrap();
    let mut messages = Vec::new();
    while sending.wants_write() {
        sending.write_tls(&mut messages).unwrap();
    }
    let mut unread = &messages[..];
    while !unread.is_empty() {
        accepting.read_tls(&mut unread).unwrap();
        accepting.process_new_packets().unwrap();
    }
    assert!(accepting.early_data().is_none());
    let mut messages = Vec::new();
    while accepting.wants_write() {
        accepting.write_tls(&mut messages).unwrap();
    }
    let mut unread = &messages[..];
    while !unread.is_empty() {
        sending.read_tls(&mut unread).unwrap();
        sending.process_new_packets().unwrap();
    }
    assert!(!sending.is_early_data_accepted());
}

#[tokio::test]
async fn a_refused_client_gets_the_alert_and_the_end() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let server = load(&files).unwrap();
    let config = client_config(&files.ca_pem, rustls::ALL_VERSIONS);
    let name = ServerName::try_from("example.org").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    near.write_all(&hello).await.unwrap();
    let refused = accept(&server, far, Audience::Everyone).await;
    assert!(refused.is_err());
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, UNRECOGNIZED_NAME);
}
