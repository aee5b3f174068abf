//! Development certificates: made, shown, renewed by a running server, and handed to phones.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use sealslot::tls::dev::{CertificateFacts, is_due, read_facts};

use crate::program::Bench;
use crate::server::{Server, wait_until};

const MINUTE: Duration = Duration::from_mins(1);

/// Puts a certificate of the authority in `certs` there that is good from then until then, as seconds from now.
fn nearly_over(bench: &Bench, from: i64, until: i64) {
    let read = |name: &str| String::from_utf8(bench.read(format!("certs/{name}"))).unwrap();
    let ca_key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let mut authority = CertificateParams::default();
    let subject = read_facts(&bench.path("certs/ca.pem")).unwrap().subject;
    authority.distinguished_name = rcgen::DistinguishedName::new();
    authority
        .distinguished_name
        .push(DnType::CommonName, subject.strip_prefix("CN=").unwrap());
    let mut params =
        CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |seconds: i64| {
        let by = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 {
            now.saturating_sub(by)
        } else {
            now + by
        };
        rcgen::date_time_ymd(1970, 1, 1) + time
    };
    params.not_before = at(from);
    params.not_after = at(until);
    let key = KeyPair::generate().unwrap();
    let leaf = params
        .signed_by(&key, &Issuer::from_params(&authority, &ca_key))
        .unwrap();
    bench.write("certs/server.pem", leaf.pem());
    // It keeps its mode.
    bench.write("certs/server.key", key.serialize_pem());
}

fn presented(bench: &Bench) -> CertificateFacts {
    read_facts(&bench.path("certs/server.pem")).unwrap()
}

#[test]
fn a_server_renews_at_start_what_is_over_or_nearly() {
    let bench = Bench::new();
    bench.run(&["certs"]).ok();
    for until in [-60, 20] {
        nearly_over(&bench, -3600, until);
        let before = presented(&bench);
        let server = Server::start(&bench, &[], &[]);
        // The client verifies it.
        server.get("/healthz").is(200);
        let after = presented(&bench);
        assert_ne!(after.fingerprint(), before.fingerprint());
        assert_eq!(after.names, ["localhost", "127.0.0.1"]);
        assert!(!is_due(&after, SystemTime::now() + MINUTE));
        assert!(server.log().contains("renewed the server's certificate"));
    }
    let before = presented(&bench);
    let _server = Server::start(&bench, &[], &[]);
    assert_eq!(presented(&bench).fingerprint(), before.fingerprint());
}

#[test]
fn without_the_authoritys_key_it_warns() {
    let bench = Bench::new();
    bench.run(&["certs"]).ok();
    nearly_over(&bench, -3600, 600);
    fs::remove_file(bench.path("certs/ca.key")).unwrap();
    let before = presented(&bench);
    let server = Server::start(&bench, &[], &[]);
    server.get("/healthz").is(200);
    wait_until("the warning", || {
        server.log().contains("ca.key is not beside it")
    });
    assert_eq!(presented(&bench).fingerprint(), before.fingerprint());
}

#[test]
fn renew_is_taken_by_a_running_server() {
    let bench = Bench::new();
    let server = Server::start(&bench, &[], &[]);
    let before = presented(&bench).fingerprint();
    bench.run(&["certs", "renew", "--days", "2"]).ok();
    assert_ne!(presented(&bench).fingerprint(), before);
    wait_until("it is taken", || {
        server.log().contains("the certificate was replaced")
    });
    server.get("/healthz").is(200);
}

#[test]
fn phones_get_the_authority_on_the_flag_alone() {
    let bench = Bench::new();
    let server = Server::start(&bench, &[], &[]);
    server.get("/ca").refused(404, "not-found");
    server.get("/ca.crt").refused(404, "not-found");
    drop(server);
    let server = Server::start(&bench, &["--ca-page"], &[]);
    let authority = read_facts(&bench.path("certs/ca.pem")).unwrap();
    let page = server.get("/ca?lang=ko").is(200);
    assert_eq!(page.header("content-language"), "en");
    let page = page.text();
    let first_line = &authority.fingerprint()[..23];
    for part in [
        first_line,
        "Certificate Trust Settings",
        "href=\"/ca.crt\"",
        "aria-label=\"QR code of https://127.0.0.1:",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let file = server.get("/ca.crt").is(200);
    assert_eq!(file.header("content-type"), "application/x-x509-ca-cert");
    assert_eq!(
        file.header("content-disposition"),
        "inline; filename=\"sealslot-ca.crt\""
    );
    assert_eq!(file.body, authority.der);
    wait_until("the fingerprint", || {
        server.log().contains(&authority.fingerprint())
    });
}

#[test]
fn an_authority_that_did_not_issue_the_certificate_is_not_handed_out() {
    let bench = Bench::new();
    bench.run(&["certs"]).ok();
    bench.run(&["certs", "--dir", "other"]).ok();
    fs::copy(bench.path("other/ca.pem"), bench.path("certs/ca.pem")).unwrap();
    let refused = || {
        let ran = bench.run(&["serve", "--ca-page", "--listen", "127.0.0.1:0"]);
        assert_eq!(ran.code(), Some(1));
        ran.stderr()
    };
    let said = refused();
    assert!(
        said.contains("--ca-page") && said.contains("did not issue"),
        "{said}"
    );
    fs::copy(bench.path("certs/server.pem"), bench.path("certs/ca.pem")).unwrap();
    let said = refused();
    assert!(said.contains("no authority"), "{said}");
    let said = bench.run(&["certs", "trust", "--yes"]).failed(1);
    assert!(said.contains("not put into any store"), "{said}");
}
