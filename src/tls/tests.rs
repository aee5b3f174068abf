//! Handshakes in memory between a rustls client that trusts only the development authority and [`ServerTls`].

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, NamedGroup, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};
use tempfile::TempDir;

use super::dev::{self, DEFAULT_HOSTS, DevCertError, DevCertificates};
use super::*;

pub(super) fn hosts(names: &[&str]) -> Vec<HostName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A new set of development certificates for `names`.
pub(super) fn made(names: &[&str]) -> (TempDir, DevCertificates) {
    let dir = tempfile::tempdir().unwrap();
    let files = dev::make(dir.path(), &hosts(names), dev::DEFAULT_DAYS, false).unwrap();
    (dir, files)
}

pub(super) fn load(files: &DevCertificates) -> Result<ServerTls, TlsError> {
    ServerTls::load(files.server(), TlsSettings::default())
}

fn in_a_day() -> SystemTime {
    SystemTime::now() + Duration::from_hours(24)
}

pub(super) fn roots(ca: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    roots
}

pub(super) fn client_config(
    ca: &Path,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_no_client_auth()
}

/// Carries both sides' messages until the handshake is over; the first error of either side.
pub(super) fn handshake(
    client: ClientConfig,
    server: &ServerTls,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    handshake_with(Arc::new(client), server.config(), name)
}

pub(super) fn handshake_with(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut messages = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut messages).unwrap();
        }
        let mut unread = &messages[..];
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
        let mut messages = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut messages).unwrap();
        }
        let mut unread = &messages[..];
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok((client, server))
}

pub(super) fn connects(ca: &Path, server: &ServerTls, name: &str) -> Result<(), rustls::Error> {
    handshake(client_config(ca, rustls::ALL_VERSIONS), server, name).map(|_| ())
}

#[test]
fn clients_that_trust_the_authority_connect_to_every_default_host() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let server = load(&files).unwrap();
    for name in DEFAULT_HOSTS {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let mut config = client_config(&files.ca_pem, &[version]);
            config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
            let (client, _) = handshake(config, &server, name).unwrap();
            assert_eq!(client.protocol_version(), Some(version.version));
            assert_eq!(
                client.alpn_protocol(),
                Some(&b"h2"[..]),
                "the server's order counts"
            );
            assert_eq!(
                client.peer_certificates().unwrap().len(),
                1,
                "the leaf alone"
            );
        }
    }
    let refused = connects(&files.ca_pem, &server, "example.org").unwrap_err();
    let reason = refused.to_string();
    assert!(
        reason.ends_with("no server certificate chain resolved"),
        "{reason}"
    );
}

#[test]
fn key_exchange_is_post_quantum_and_aes_goes_before_chacha() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let server = load(&files).unwrap();
    // A client that would rather have it the other way round.
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.reverse();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(&files.ca_pem))
        .with_no_client_auth();
    let (client, _) = handshake(config, &server, "localhost").unwrap();
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let group = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    let suite = format!("{:?}", client.negotiated_cipher_suite().unwrap().suite());
    assert!(suite.contains("AES") && suite.contains("GCM"), "{suite}");
}

#[test]
fn an_unknown_application_protocol_is_refused_and_early_data_is_off() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let server = load(&files).unwrap();
    let mut config = client_config(&files.ca_pem, rustls::ALL_VERSIONS);
    config.alpn_protocols = vec![b"smtp".to_vec()];
    let refused = handshake(config, &server, "localhost").unwrap_err();
    assert_eq!(refused, rustls::Error::NoApplicationProtocol);
    assert_eq!(server.config().max_early_data_size, 0);
    assert!(server.config().ticketer.enabled());
}

/// What a client says to a certificate for `name` made with the stolen key of an authority for `allowed`.
fn forged(allowed: &[&str], name: &str) -> Result<(), rustls::Error> {
    let (_dir, files) = made(allowed);
    let ca_key = KeyPair::from_pem(&fs::read_to_string(&files.ca_key).unwrap()).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = dev::signed_leaf(
        &hosts(allowed),
        &ca_key,
        &hosts(&[name]),
        &leaf_key,
        in_a_day(),
    )
    .unwrap();
    fs::write(&files.server_pem, leaf.pem()).unwrap();
    fs::write(&files.server_key, leaf_key.serialize_pem()).unwrap();
    connects(&files.ca_pem, &load(&files).unwrap(), name)
}

#[test]
fn the_authority_cannot_vouch_for_other_hosts() {
    let mixed = ["files.example.org", "192.0.2.7", "2001:db8::7"];
    // The same forgery passes for a host that is allowed: what refuses the others is the constraint alone.
    for name in mixed {
        forged(&mixed, name).unwrap();
    }
    for (allowed, name) in [
        (&mixed[..], "example.org"),
        (&mixed, "otherfiles.example.org"),
        (&mixed, "192.0.2.8"),
        (&mixed, "2001:db8::8"),
        (&["files.example.org"], "192.0.2.7"),
        (&["files.example.org"], "2001:db8::7"),
        (&["192.0.2.7"], "files.example.org"),
        (&["192.0.2.7"], "2001:db8::7"),
        (&["2001:db8::7"], "192.0.2.7"),
        (&["2001:db8::7"], "localhost"),
    ] {
        let refused = forged(allowed, name).unwrap_err();
        let reason = format!("{refused:?}");
        assert!(
            reason.contains("NameConstraintViolation"),
            "{allowed:?}, {name}: {reason}"
        );
    }
}

#[test]
fn one_kind_of_host_alone_still_works() {
    for name in DEFAULT_HOSTS {
        let (_dir, files) = made(&[name, name]);
        connects(&files.ca_pem, &load(&files).unwrap(), name).unwrap();
    }
}

#[test]
fn keys_are_private_and_a_new_folder_is_too() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new/certs");
    let files = dev::make(&dir, &hosts(&DEFAULT_HOSTS), dev::DEFAULT_DAYS, false).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&files.ca_key), 0o600);
    assert_eq!(mode(&files.server_key), 0o600);
    assert_eq!(mode(&files.ca_pem), 0o644);
    assert_eq!(mode(&files.server_pem), 0o644);
    assert_eq!(
        fs::read_dir(&dir).unwrap().count(),
        4,
        "nothing temporary is left"
    );
}

#[test]
fn existing_files_are_replaced_only_by_force() {
    let (dir, files) = made(&DEFAULT_HOSTS);
    let before = files.contents();
    let refused =
        dev::make(dir.path(), &hosts(&DEFAULT_HOSTS), dev::DEFAULT_DAYS, false).unwrap_err();
    assert!(matches!(refused, DevCertError::Exists { .. }), "{refused}");
    assert_eq!(files.contents(), before);

    dev::make(
        dir.path(),
        &hosts(&["example.org"]),
        dev::DEFAULT_DAYS,
        true,
    )
    .unwrap();
    for (new, old) in files.contents().iter().zip(&before) {
        assert_ne!(new, old);
    }
    connects(&files.ca_pem, &load(&files).unwrap(), "example.org").unwrap();

    // One file of the four is in the way as well, and none is written beside it.
    for path in [&files.ca_pem, &files.server_pem, &files.server_key] {
        fs::remove_file(path).unwrap();
    }
    assert!(dev::make(dir.path(), &hosts(&DEFAULT_HOSTS), dev::DEFAULT_DAYS, false).is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn without_hosts_nothing_is_made() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        dev::make(dir.path(), &[], dev::DEFAULT_DAYS, false),
        Err(DevCertError::NoHosts)
    ));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_incomplete_set_is_an_error_that_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!dev::exist(&dir.path().join("none")).unwrap());
    assert!(!dev::exist(dir.path()).unwrap());
    let files = dev::make(dir.path(), &hosts(&DEFAULT_HOSTS), dev::DEFAULT_DAYS, false).unwrap();
    assert!(dev::exist(dir.path()).unwrap());

    fs::remove_file(&files.ca_key).unwrap();
    assert!(
        dev::exist(dir.path()).unwrap(),
        "a server does not need the authority's key"
    );
    fs::remove_file(&files.server_key).unwrap();
    let missing = |dir: &Path| match dev::exist(dir) {
        Err(DevCertError::Incomplete { missing }) => missing,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(dir.path()), files.server_key);
    fs::remove_file(&files.server_pem).unwrap();
    assert_eq!(missing(dir.path()), files.server_pem, "only ca.pem is left");
}

impl DevCertificates {
    fn contents(&self) -> [Vec<u8>; 4] {
        [
            &self.ca_pem,
            &self.ca_key,
            &self.server_pem,
            &self.server_key,
        ]
        .map(|path| fs::read(path).unwrap())
    }
}

#[test]
fn a_key_that_others_can_use_is_refused_until_its_mode_is_right() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let server = load(&files).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o666] {
        fs::set_permissions(&files.server_key, Permissions::from_mode(mode)).unwrap();
        let refused = load(&files).err().unwrap();
        assert!(
            matches!(refused, TlsError::ExposedKey { .. }),
            "{mode:o}: {refused}"
        );
        let advice = format!("chmod 600 {}", files.server_key.display());
        assert!(refused.to_string().contains(&advice));
    }
    server.look();
    server.look();
    assert_eq!(server.status().failure, Some("exposed-key"));
    fs::set_permissions(&files.server_key, Permissions::from_mode(0o400)).unwrap();
    connects(&files.ca_pem, &server, "localhost").unwrap();
    assert!(!server.status().failing);
}

#[test]
fn a_pair_that_does_not_fit_is_refused_with_its_reason() {
    let (_dir, files) = made(&DEFAULT_HOSTS);
    let (_other_dir, other) = made(&DEFAULT_HOSTS);
    let refused = |certificate: &Path, key: &Path| {
        let files = CertificateFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        ServerTls::load(files, TlsSettings::default())
            .err()
            .unwrap()
    };
    assert!(matches!(
        refused(&files.server_pem, &other.server_key),
        TlsError::KeyMismatch { .. }
    ));
    assert!(matches!(
        refused(&files.server_key, &files.server_key),
        TlsError::NoCertificate { .. }
    ));
    assert!(matches!(
        refused(&files.server_pem, Path::new("/nonexistent")),
        TlsError::Read { .. }
    ));
    fs::write(&other.server_key, "no PEM\n").unwrap();
    assert!(matches!(
        refused(&files.server_pem, &other.server_key),
        TlsError::NoKey { .. }
    ));
    fs::write(&other.server_key, "-----BEGIN PRIVATE KEY-----\nAAAA\n").unwrap();
    assert!(matches!(
        refused(&files.server_pem, &other.server_key),
        TlsError::Pem { .. }
    ));
    let empty = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    fs::write(&other.server_key, empty).unwrap();
    assert!(matches!(
        refused(&files.server_pem, &other.server_key),
        TlsError::Key { .. }
    ));
    let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    fs::write(&other.server_pem, empty).unwrap();
    assert!(matches!(
        refused(&other.server_pem, &files.server_key),
        TlsError::Certificate { .. }
    ));
    fs::write(&other.server_pem, vec![b'\n'; (1 << 20) + 1]).unwrap();
    assert!(matches!(
        refused(&other.server_pem, &files.server_key),
        TlsError::TooLarge { .. }
    ));
}

#[test]
fn a_fingerprint_is_printed_as_openssl_prints_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("abc.pem");
    // Not a certificate, but the digest of these bytes is known: FIPS 180-2, appendix B.1, "abc".
    fs::write(
        &path,
        "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert_eq!(
        fingerprint(&path).unwrap(),
        "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:\
         B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
    );
}

#[test]
fn instructions_quote_the_path_for_a_shell() {
    let plain = dev::trust_instructions(Path::new("certs/ca.pem"));
    assert!(plain.contains("curl --cacert certs/ca.pem https://"));
    assert!(plain.contains("certutil -user -addstore Root \"certs/ca.pem\""));
    let quoted = dev::trust_instructions(Path::new("it's my/ca.pem"));
    assert!(quoted.contains(r"curl --cacert 'it'\''s my/ca.pem' https://"));
    let dashed = dev::trust_instructions(Path::new("-r/ca.pem"));
    assert!(dashed.contains("--cacert './-r/ca.pem' https://"));
}
