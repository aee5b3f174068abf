use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rcgen::{CertificateParams, Issuer, KeyPair};
use tempfile::TempDir;

use super::super::dev::{self, DEFAULT_HOSTS, DevCertificates};
use super::super::tests::{connects, hosts, load, made};
use super::super::{CertificateFiles, CertificateState, ServerTls, TlsSettings};
use super::*;

/// Certificates that are told apart by a number, and replaced as one likes.
struct Folder {
    folder: TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        folder.put(&Pair::numbered(0));
        folder
    }

    fn files(&self) -> CertificateFiles {
        CertificateFiles {
            certificate: self.folder.path().join("server.pem"),
            key: self.folder.path().join("server.key"),
        }
    }

    /// Writes over what is there: nothing of it but content and times changes.
    fn put(&self, pair: &Pair) {
        self.write("server.pem", &pair.certificate);
        self.write("server.key", &pair.key);
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        if !path.exists() {
            fs::write(&path, "").unwrap();
            private(&path);
        }
        fs::write(path, text).unwrap();
    }

    fn server(&self) -> WatchedCertificate {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        WatchedCertificate::load(self.files(), Arc::new(provider), false).unwrap()
    }
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn numbered(number: u8) -> Self {
        Self::with(number, |_| {})
    }

    fn with(number: u8, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.serial_number = Some(vec![1, number].into());
        change(&mut params);
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    fn expired() -> Self {
        Self::with(9, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        })
    }
}

impl WatchedCertificate {
    /// The number of the certificate that a handshake would present now.
    fn number(&self) -> u8 {
        use x509_cert::der::Decode;
        let _ = self.refresh();
        let presented = self.presented().unwrap();
        let own = x509_cert::Certificate::from_der(&presented.certified.cert[0]).unwrap();
        let serial = own.tbs_certificate().serial_number();
        *serial.as_bytes().last().unwrap()
    }

    fn class(&self) -> Option<&'static str> {
        self.failure().map(|error| error.class())
    }
}

#[test]
fn a_pair_replaced_by_rename_is_presented_at_once() {
    let (dir, files) = made(&DEFAULT_HOSTS);
    let server = load(&files).unwrap();
    let old_ca = dir.path().join("old-ca.pem");
    fs::copy(&files.ca_pem, &old_ca).unwrap();
    assert!(connects(&old_ca, &server, "localhost").is_ok());

    dev::make(dir.path(), &hosts(&DEFAULT_HOSTS), dev::DEFAULT_DAYS, true).unwrap();
    assert!(connects(&old_ca, &server, "localhost").is_err());
    assert!(connects(&files.ca_pem, &server, "localhost").is_ok());
    assert_eq!(server.status().replacements, 1);
}

#[test]
fn a_pair_replaced_by_symlink_is_presented_at_once() {
    let (first, first_files) = made(&DEFAULT_HOSTS);
    let (second, second_files) = made(&DEFAULT_HOSTS);
    let dir = tempfile::tempdir().unwrap();
    // As Kubernetes and certbot swap them: the path leads through a link that is renamed over.
    let live = dir.path().join("live");
    symlink(first.path(), &live).unwrap();
    let server = load(&DevCertificates::paths(&live)).unwrap();

    symlink(second.path(), dir.path().join("next")).unwrap();
    fs::rename(dir.path().join("next"), &live).unwrap();
    assert!(connects(&second_files.ca_pem, &server, "localhost").is_ok());
    assert!(connects(&first_files.ca_pem, &server, "localhost").is_err());
}

#[test]
fn what_is_written_over_within_a_tick_of_the_clock_is_seen() {
    let folder = Folder::new();
    let server = folder.server();
    let pairs: Vec<_> = (0..50).map(Pair::numbered).collect();
    for (number, pair) in (0..50).zip(&pairs) {
        folder.put(pair);
        assert_eq!(server.number(), number);
    }
}

#[test]
fn half_of_a_replacement_keeps_the_old_and_is_not_told_of() {
    let folder = Folder::new();
    let server = folder.server();
    for number in 1..10 {
        let pair = Pair::numbered(number);
        folder.write("server.pem", &pair.certificate);
        assert_eq!(server.number(), number - 1);
        server.look();
        assert_eq!(server.class(), None);
        folder.write("server.key", &pair.key);
        assert_eq!(server.number(), number);
    }
}

#[test]
fn what_cannot_be_used_keeps_the_old_and_is_told_of_until_it_can() {
    let folder = Folder::new();
    let server = folder.server();
    let good = Pair::numbered(1);
    let out_of_order = {
        // Self-signed certificates of rcgen have one subject: another one makes it no issuer of the first.
        let other = Pair::with(7, |params| {
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, "another");
        });
        let own = Pair::numbered(8);
        Pair {
            certificate: own.certificate + &other.certificate,
            key: own.key,
        }
    };
    let of = |certificate: &str, key: &str| Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    for (broken, class) in [
        (of("garbage", "garbage"), "malformed"),
        (of(&good.certificate, "garbage"), "malformed"),
        (of(&good.certificate[..300], &good.key), "malformed"),
        (
            of(&good.certificate, &Pair::numbered(1).key),
            "key-mismatch",
        ),
        (Pair::expired(), "expired"),
        (
            Pair::with(9, |params| {
                params.not_before = rcgen::date_time_ymd(2999, 1, 1);
            }),
            "not-yet-valid",
        ),
        (out_of_order, "chain-order"),
    ] {
        folder.put(&broken);
        assert_eq!(server.number(), 0, "{class}");
        server.look();
        assert_eq!(server.class(), None, "{class}: it may be half of one");
        server.look();
        assert_eq!(server.class(), Some(class));
        folder.put(&Pair::numbered(0));
        assert_eq!(server.number(), 0);
        assert_eq!(server.class(), None, "{class}: over");
    }
    for name in ["server.pem", "server.key"] {
        fs::remove_file(folder.folder.path().join(name)).unwrap();
        assert_eq!(server.number(), 0);
    }
    server.look();
    server.look();
    assert_eq!(server.class(), Some("unreadable"));
    folder.put(&good);
    assert_eq!(server.number(), 1);
    assert_eq!(server.class(), None);
}

#[test]
fn in_place_of_an_expired_one_anything_is_taken() {
    let folder = Folder::new();
    folder.put(&Pair::expired());
    let tls = ServerTls::load(folder.files(), TlsSettings::default()).unwrap();
    assert_eq!(tls.status().state, CertificateState::Expired);
    let server = folder.server();
    folder.put(&Pair::with(3, |params| {
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }));
    assert_eq!(server.number(), 3);
    folder.put(&Pair::numbered(4));
    assert_eq!(server.number(), 4);
}

#[test]
fn a_failure_to_read_is_tried_again_without_a_change() {
    let folder = Folder::new();
    let server = folder.server();
    let pair = Pair::numbered(1);
    folder.put(&pair);
    {
        // As a disk's error would have left it: the files were looked at, and could not be read.
        let mut looked = server.looked();
        looked.state = PairState::of(&folder.files());
        looked.fresh = false;
        let error = TlsError::Read {
            path: folder.files().key,
            source: std::io::ErrorKind::Other.into(),
        };
        looked.failure = Some(Failure::after(None, error, true));
    }
    assert_eq!(server.number(), 0, "nothing has changed for handshakes");
    server.look();
    assert_eq!(server.number(), 1);
    assert_eq!(server.class(), None);
}

#[test]
fn nobody_waits_for_a_pipe() {
    let folder = Folder::new();
    let server = folder.server();
    let path = folder.files().key;
    fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
    assert_eq!(server.number(), 0);
    server.look();
    server.look();
    assert_eq!(server.class(), Some("unreadable"));
}

#[test]
fn a_chain_in_order_is_taken() {
    let folder = Folder::new();
    let server = folder.server();
    let issuer_key = KeyPair::generate().unwrap();
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer
        .distinguished_name
        .push(rcgen::DnType::CommonName, "an authority");
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(["localhost".to_owned()]).unwrap();
    own.serial_number = Some(vec![1, 5].into());
    let signed = own
        .signed_by(&key, &Issuer::from_params(&issuer, &issuer_key))
        .unwrap();
    folder.put(&Pair {
        certificate: signed.pem() + &issuer.self_signed(&issuer_key).unwrap().pem(),
        key: key.serialize_pem(),
    });
    assert_eq!(server.number(), 5);
}

#[tokio::test]
async fn handshakes_wait_for_the_rest_of_a_replacement_but_not_for_long() {
    let folder = Folder::new();
    let server = Arc::new(folder.server());
    let pair = Pair::numbered(1);
    folder.write("server.pem", &pair.certificate);
    let waiting = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.settle().await }
    });
    sleep(Duration::from_millis(20)).await;
    folder.write("server.key", &pair.key);
    waiting.await.unwrap();
    assert_eq!(server.number(), 1);

    folder.write("server.pem", "garbage");
    let began = Instant::now();
    server.settle().await;
    assert!(began.elapsed() >= REPLACEMENT / 2);
    // Each would take as long again if it waited.
    let (began, times) = (Instant::now(), 40_u32);
    for _ in 0..times {
        server.settle().await;
    }
    assert!(began.elapsed() < times * REPLACEMENT / 2, "once");
}

#[tokio::test]
async fn one_that_is_to_come_is_awaited() {
    let folder = tempfile::tempdir().unwrap();
    let files = DevCertificates::paths(folder.path());
    let settings = TlsSettings {
        may_wait: true,
        ..TlsSettings::default()
    };
    let server = Arc::new(ServerTls::load(files.server(), settings).unwrap());
    assert_eq!(server.status().state, CertificateState::Missing);
    let watch = tokio::spawn(Arc::clone(&server).watch(Duration::ZERO));
    sleep(Duration::from_millis(50)).await;
    assert!(!server.status().failing, "nothing is wrong yet");
    drop(server);
    watch.abort();

    // What cannot be used is as good as nothing, and told.
    for file in [&files.server_pem, &files.server_key] {
        fs::write(file, "garbage").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let settings = TlsSettings {
        may_wait: true,
        ..TlsSettings::default()
    };
    let server = Arc::new(ServerTls::load(files.server(), settings).unwrap());
    assert_eq!(server.status().state, CertificateState::Missing);
    let watch = tokio::spawn(Arc::clone(&server).watch(Duration::ZERO));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.status().failing {
        assert!(Instant::now() < deadline, "never told");
        sleep(Duration::from_millis(10)).await;
    }
    dev::make(
        folder.path(),
        &hosts(&DEFAULT_HOSTS),
        dev::DEFAULT_DAYS,
        true,
    )
    .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    // Without a handshake.
    while server.status().state != CertificateState::Valid {
        assert!(Instant::now() < deadline, "never picked up");
        sleep(Duration::from_millis(10)).await;
    }
    watch.abort();
    let status = server.status();
    assert_eq!(status.names, DEFAULT_HOSTS);
    let now = SystemTime::now();
    assert!(status.not_before < now && now < status.not_after);
}
