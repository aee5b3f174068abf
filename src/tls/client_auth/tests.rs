//! Chains, lists and sessions, in handshakes in memory.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use rustls::client::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{CertificateError, HandshakeKind, ServerConnection};
use tempfile::TempDir;

use super::super::tests::{handshake_with, hosts, roots};
use super::super::{ServerTls, TlsSettings, dev};
use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn client_params(number: u64) -> CertificateParams {
    let mut params = CertificateParams::new(["scanner.example.org".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(number));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn list(issuer: &Issuer, revoked: &[u64]) -> String {
    list_of(issuer, revoked, 2020, 2999)
}

/// A list that was made and is good until these years.
fn list_of(issuer: &Issuer, revoked: &[u64], made: i32, until: i32) -> String {
    let revoked_certs = revoked.iter().map(|number| RevokedCertParams {
        serial_number: SerialNumber::from(*number),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(made, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).unwrap().pem().unwrap()
}

/// A server that asks for certificates of a root, which has an intermediate, which has a client.
struct Setting {
    dir: TempDir,
    root: Issuer,
    intermediate: Issuer,
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Setting {
    fn new(client: &CertificateParams) -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = Issuer::self_signed(authority_params("root"), key()).unwrap();
        let mut between = authority_params("intermediate");
        between.serial_number = Some(SerialNumber::from(7));
        let intermediate = Issuer::signed_by(between, key(), &root).unwrap();
        let own = key();
        let certificate = client.signed_by(&own, &*intermediate).unwrap();
        let dir = tempfile::tempdir().unwrap();
        dev::make(dir.path(), &hosts(&["localhost"]), dev::DEFAULT_DAYS, false).unwrap();
        std::fs::write(dir.path().join("clients.pem"), root.pem()).unwrap();
        Self {
            chain: vec![certificate.der().clone(), intermediate.der().clone()],
            key: PrivatePkcs8KeyDer::from(own.serialize_der()),
            dir,
            root,
            intermediate,
        }
    }

    fn serve(&self, crls: &[&str]) -> ServerTls {
        let files = dev::DevCertificates::paths(self.dir.path());
        let settings = TlsSettings {
            clients: Some(self.clients(crls)),
            ..TlsSettings::default()
        };
        ServerTls::load(files.server(), settings).unwrap()
    }

    fn clients(&self, crls: &[&str]) -> ClientAuth {
        let path = |name: &str| self.dir.path().join(name);
        ClientAuth {
            ca: path("clients.pem"),
            crls: crls.iter().map(|name| path(name)).collect(),
            certificates: ClientCertificates::Required,
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    fn client(&self) -> Arc<ClientConfig> {
        let files = dev::DevCertificates::paths(self.dir.path());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&files.ca_pem))
            .with_client_auth_cert(
                self.chain.clone(),
                PrivateKeyDer::from(self.key.clone_key()),
            );
        Arc::new(config.unwrap())
    }
}

fn connect(
    client: &Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<ServerConnection, Error> {
    handshake_with(Arc::clone(client), server, "localhost").map(|(_, server)| server)
}

fn reason(refused: Error) -> CertificateError {
    match refused {
        Error::InvalidCertificate(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_link_of_the_chain_needs_a_list() {
    let setting = Setting::new(&client_params(1));
    let client = setting.client();
    let tries = |crls: &[&str]| connect(&client, setting.serve(crls).config()).map(|_| ());
    setting.write("root.pem", &list(&setting.root, &[]));
    setting.write("between.pem", &list(&setting.intermediate, &[]));
    tries(&[]).unwrap();
    tries(&["root.pem", "between.pem"]).unwrap();
    for one in ["root.pem", "between.pem"] {
        let refused = tries(&[one]).unwrap_err();
        assert_eq!(reason(refused), CertificateError::UnknownRevocationStatus);
    }
    // Both in one file.
    let both = list(&setting.root, &[]) + &list(&setting.intermediate, &[1]);
    setting.write("both.pem", &both);
    assert_eq!(
        reason(tries(&["both.pem"]).unwrap_err()),
        CertificateError::Revoked
    );
    // The intermediate itself.
    setting.write("root.pem", &list(&setting.root, &[7]));
    let refused = tries(&["root.pem", "between.pem"]).unwrap_err();
    assert_eq!(reason(refused), CertificateError::Revoked);
}

#[test]
fn a_list_that_its_authority_did_not_sign_revokes_nothing_and_lets_nobody_pass() {
    let setting = Setting::new(&client_params(1));
    // The same name, another key.
    let forger = Issuer::self_signed(
        authority_params("intermediate"),
        KeyPair::generate().unwrap(),
    );
    setting.write("root.pem", &list(&setting.root, &[]));
    setting.write("between.pem", &list(&forger.unwrap(), &[]));
    let server = setting.serve(&["root.pem", "between.pem"]);
    assert!(connect(&setting.client(), server.config()).is_err());
}

#[test]
fn a_certificate_for_servers_or_past_its_time_does_not_pass() {
    let mut for_servers = client_params(1);
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let setting = Setting::new(&for_servers);
    assert!(connect(&setting.client(), setting.serve(&[]).config()).is_err());

    let mut expired = client_params(1);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let setting = Setting::new(&expired);
    let refused = connect(&setting.client(), setting.serve(&[]).config()).unwrap_err();
    assert!(matches!(
        reason(refused),
        CertificateError::ExpiredContext { .. }
    ));
}

#[test]
fn a_resumed_session_is_verified_as_things_are_now() {
    let setting = Setting::new(&client_params(1));
    let client = setting.client();
    setting.write("root.pem", &list(&setting.root, &[]));
    setting.write("between.pem", &list(&setting.intermediate, &[]));
    let server = setting.serve(&["root.pem", "between.pem"]);
    let before = server.config();
    let first = connect(&client, Arc::clone(&before)).unwrap();
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let certificate = server.client_certificate(&first).unwrap().unwrap();
    assert_eq!(certificate.name().to_string(), "scanner.example.org");

    let resumed = connect(&client, Arc::clone(&before)).unwrap();
    assert_eq!(resumed.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(server.client_certificate(&resumed).unwrap().is_some());

    let generation = server.client_generation();
    setting.write("between.pem", &list(&setting.intermediate, &[1]));
    assert!(server.reload_clients_if_changed().unwrap());
    assert!(server.client_generation() > generation);
    // Whoever was quicker than the list resumes, and is found out.
    let late = connect(&client, before).unwrap();
    assert_eq!(late.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(
        reason(server.client_certificate(&late).unwrap_err()),
        CertificateError::Revoked
    );
    assert!(server.verify(&certificate).is_err());
    // Later on no ticket of before is taken.
    assert_eq!(
        reason(connect(&client, server.config()).unwrap_err()),
        CertificateError::Revoked
    );
}

#[test]
fn what_cannot_be_used_keeps_the_old_and_is_reported_once() {
    let setting = Setting::new(&client_params(1));
    setting.write("root.pem", &list(&setting.root, &[]));
    setting.write("between.pem", &list(&setting.intermediate, &[]));
    let server = setting.serve(&["root.pem", "between.pem"]);
    let passes = || connect(&setting.client(), server.config()).is_ok();
    let files = ["clients.pem", "root.pem", "between.pem"];
    for file in files {
        let before = std::fs::read_to_string(setting.dir.path().join(file)).unwrap();
        for broken in [
            "",
            "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
        ] {
            setting.write(file, broken);
            assert!(server.reload_clients_if_changed().is_err(), "{file}");
            assert!(!server.reload_clients_if_changed().unwrap(), "{file}");
            assert!(passes(), "{file}");
        }
        std::fs::remove_file(setting.dir.path().join(file)).unwrap();
        assert!(server.reload_clients_if_changed().is_err(), "{file}");
        setting.write(file, &before);
        assert!(server.reload_clients_if_changed().unwrap(), "{file}");
        assert!(passes(), "{file}");
    }
    // Where no clients are asked, there is nothing to look at.
    let files = dev::DevCertificates::paths(setting.dir.path());
    let plain = ServerTls::load(files.server(), TlsSettings::default()).unwrap();
    assert!(!plain.reload_clients_if_changed().unwrap());
}

#[test]
fn a_list_past_its_time_is_told_once_and_not_where_a_newer_one_is_there() {
    let setting = Setting::new(&client_params(1));
    setting.write("old.pem", &list_of(&setting.root, &[], 2019, 2020));
    setting.write("root.pem", &list(&setting.root, &[]));
    setting.write(
        "between.pem",
        &list_of(&setting.intermediate, &[], 2019, 2021),
    );
    let resolver = &setting.serve(&[]).config().cert_resolver;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = setting.clients(&["old.pem", "root.pem", "between.pem"]);
    let trust =
        ClientTrust::load(&clients, TlsVersion::Tls12, &provider, Arc::clone(resolver)).unwrap();
    let told = || trust.newly_stale().map(Path::to_owned).collect::<Vec<_>>();
    assert_eq!(told(), [setting.dir.path().join("between.pem")]);
    assert!(told().is_empty());
}
