//! Development certificates: made, shown, renewed by a running server, and handed to phones.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair,
};
use sealslot::tls::dev::{CertificateFacts, is_due, read_facts};

use crate::program::{Bench, Ran};
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

/// A certificate authority in `certs/ca.pem` that is called like ours, with name constraints of these bytes.
fn crafted(bench: &Bench, permitted: &[(u8, &[u8])]) {
    let tlv = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        let form: &[u8] = if length < 128 { &[tag] } else { &[tag, 0x81] };
        [form, &[length], content].concat()
    };
    let trees: Vec<u8> = permitted
        .iter()
        .flat_map(|(tag, base)| tlv(0x30, &tlv(*tag, base)))
        .collect();
    let mut limits =
        CustomExtension::from_oid_content(&[2, 5, 29, 30], tlv(0x30, &tlv(0xa0, &trees)));
    limits.set_criticality(true);
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Sealslot development CA deadbeef");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.custom_extensions = vec![limits];
    let key = KeyPair::generate().unwrap();
    bench.write("certs/ca.pem", params.self_signed(&key).unwrap().pem());
}

#[test]
fn an_authority_that_only_looks_limited_is_refused_and_cannot_talk_to_the_terminal() {
    const DNS: u8 = 0x82;
    const IP: u8 = 0x87;
    let bench = Bench::new();
    fs::create_dir(bench.path("certs")).unwrap();
    let v4: (u8, &[u8]) = (IP, &[127, 0, 0, 1, 255, 255, 255, 255]);
    let v6 = [[0; 15].as_slice(), &[1], &[255; 16]].concat();
    let v6: (u8, &[u8]) = (IP, &v6);
    let in_a_home_of_its_own = |args: &[&str]| {
        let mut command = bench.command(args);
        command.env("HOME", bench.path("home"));
        for base in ["XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env_remove(base);
        }
        Ran::of(command)
    };
    let trust = |more: &[&str]| {
        in_a_home_of_its_own(&[&["certs", "trust", "--yes", "--store", "nss"][..], more].concat())
    };
    let escape: &[u8] = b"\r\x1b[K\x1b[2Cfor\x1b[6Clocalhost";
    for permitted in [
        vec![(DNS, &b"localhost"[..]), (DNS, b"x/32"), (DNS, b"x:/128")],
        vec![(DNS, b"com"), (DNS, escape), v4, v6],
        vec![(DNS, b"."), v4, v6],
        vec![(DNS, b"localhost"), (0x81, b"example.org"), v4, v6],
    ] {
        crafted(&bench, &permitted);
        let said = trust(&[]).failed(1);
        assert!(said.contains("not limited by name"), "{said}");
        let shown = in_a_home_of_its_own(&["certs", "show"]).ok();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("not limited to single hosts"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\r']), "{shown}");
    }
    crafted(&bench, &[(DNS, b"com"), (DNS, b"build7"), v4, v6]);
    let said = trust(&["--host", "build7"]).failed(1);
    assert!(said.contains("add --host com"), "{said}");
    trust(&["--host", "build7", "--host", "com"]).ok();

    let two = [bench.read("certs/ca.pem"), bench.read("certs/ca.pem")].concat();
    bench.write("certs/ca.pem", two);
    let said = trust(&["--host", "build7", "--host", "com"]).failed(1);
    assert!(said.contains("2 certificates"), "{said}");
}
