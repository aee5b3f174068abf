//! What certificates say, and renewing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::*;
use crate::tls::tests::hosts;
use crate::tls::{ServerTls, TlsSettings};

const DAY: Duration = Duration::from_hours(24);

fn made(days: u16) -> (TempDir, DevCertificates) {
    let dir = tempfile::tempdir().unwrap();
    let files = make(dir.path(), &hosts(&DEFAULT_HOSTS), days, false).unwrap();
    (dir, files)
}

fn facts(path: &Path) -> CertificateFacts {
    read_facts(path).unwrap()
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> CertificateFacts {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let name = "Sealslot development CA 0123abcd";
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    CertificateFacts::of(params.self_signed(&key).unwrap().der()).unwrap()
}

#[test]
fn what_is_made_says_what_browsers_demand() {
    let now = SystemTime::now();
    for days in [1, DEFAULT_DAYS, MAX_DAYS] {
        let (_dir, files) = made(days);
        let (ca, server) = (facts(&files.ca_pem), facts(&files.server_pem));
        assert!(server.is_issued_by(&ca) && !ca.is_issued_by(&server));
        assert_eq!(server.names, DEFAULT_HOSTS);
        assert!(!server.is_authority && server.only_servers);
        assert_eq!(server.lifetime(), DAY * u32::from(days));
        assert!(server.lifetime() < DAY * 398 && server.not_before < now);
        ca.check_trustworthy(now).unwrap();
        assert_eq!(ca.lifetime(), DAY * 730);
        assert_eq!(
            ca.constraints.unwrap().permitted,
            ["localhost", "127.0.0.1/32", "::1/128"]
        );
        for pem in [&files.ca_pem, &files.server_pem] {
            let read = facts(pem);
            let parsed = Certificate::from_der(&read.der).unwrap();
            let serial = parsed.tbs_certificate().serial_number().as_bytes().to_vec();
            assert!(
                serial.len() == 16 && serial[0] & 0xc0 == 0x40,
                "{serial:x?}"
            );
            assert_eq!(read.fingerprint(), crate::tls::fingerprint(pem).unwrap());
        }
    }
}

#[test]
fn only_limited_authorities_of_ours_are_trustworthy() {
    let now = SystemTime::now();
    let (_dir, files) = made(1);
    let unfit = |facts: CertificateFacts| facts.check_trustworthy(now).unwrap_err();
    assert_eq!(unfit(facts(&files.server_pem)), Unfit::NoAuthority);
    assert_eq!(unfit(self_signed(|_| ())), Unfit::NotLimited);
    let limited = |hosts: &[&str]| {
        Some(super::make::name_constraints(&super::super::tests::hosts(
            hosts,
        )))
    };
    assert!(
        self_signed(|params| params.name_constraints = limited(&["localhost"]))
            .check_trustworthy(now)
            .is_ok()
    );
    let open_kind = self_signed(|params| {
        let mut limits = limited(&["localhost"]).unwrap();
        limits.excluded_subtrees.pop();
        params.name_constraints = Some(limits);
    });
    assert_eq!(unfit(open_kind), Unfit::NotLimited);
    let network = self_signed(|params| {
        let mut limits = limited(&["192.0.2.7"]).unwrap();
        let all = rcgen::CidrSubnet::from_addr_prefix("192.0.2.0".parse().unwrap(), 8);
        limits
            .permitted_subtrees
            .push(rcgen::GeneralSubtree::IpAddress(all));
        params.name_constraints = Some(limits);
    });
    assert_eq!(unfit(network), Unfit::NotLimited);
    let every_name = self_signed(|params| {
        let mut limits = limited(&["localhost"]).unwrap();
        limits
            .permitted_subtrees
            .push(rcgen::GeneralSubtree::DnsName(String::new()));
        params.name_constraints = Some(limits);
    });
    assert_eq!(unfit(every_name), Unfit::NotLimited);
    for depth in [
        rcgen::BasicConstraints::Unconstrained,
        rcgen::BasicConstraints::Constrained(1),
    ] {
        let deep = self_signed(|params| {
            params.name_constraints = limited(&["localhost"]);
            params.is_ca = IsCa::Ca(depth);
        });
        assert_eq!(unfit(deep), Unfit::NotLast);
    }
    let mail = self_signed(|params| {
        params.name_constraints = limited(&["localhost"]);
        params
            .extended_key_usages
            .push(rcgen::ExtendedKeyUsagePurpose::EmailProtection);
    });
    assert_eq!(unfit(mail), Unfit::NotOnlyServers);
    let other = self_signed(|params| {
        params.name_constraints = limited(&["localhost"]);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "Another CA");
    });
    assert_eq!(unfit(other), Unfit::NotOurs);
    let old = self_signed(|params| {
        params.name_constraints = limited(&["localhost"]);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    assert_eq!(unfit(old), Unfit::Expired);
}

#[test]
fn limits_that_are_not_critical_limit_nothing() {
    let extension = |critical| {
        let made = self_signed(|params| {
            params.name_constraints = Some(super::make::name_constraints(&hosts(&["localhost"])));
        });
        let made = Certificate::from_der(&made.der).unwrap();
        let all = made.tbs_certificate().extensions().unwrap().clone();
        let limits = all
            .iter()
            .find(|one| one.extn_id.to_string() == "2.5.29.30");
        let value = limits.unwrap().extn_value.as_bytes().to_vec();
        let mut custom = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 30], value);
        custom.set_criticality(critical);
        self_signed(|params| params.custom_extensions.push(custom))
            .check_trustworthy(SystemTime::now())
    };
    assert_eq!(extension(true), Ok(()));
    assert_eq!(extension(false), Err(Unfit::NotLimited));
}

#[test]
fn texts_of_certificates_are_escaped() {
    let facts = self_signed(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "a\r\u{1b}[2K\u{202e}b");
    });
    for text in [&facts.subject, &facts.issuer] {
        assert!(!text.contains(['\r', '\u{1b}']), "{text}");
        assert!(text.contains(r"\u{202e}b"), "{text}");
    }
}

#[test]
fn a_third_of_its_life_is_left_when_it_is_due() {
    let (_dir, files) = made(3);
    let server = facts(&files.server_pem);
    assert!(!is_due(
        &server,
        server.not_after - DAY - Duration::from_secs(1)
    ));
    assert!(is_due(&server, server.not_after - DAY));
    assert!(is_due(&server, server.not_after + DAY * 100));
    assert!(
        is_due(&server, server.not_before - DAY),
        "the clock was set back"
    );
}

#[test]
fn what_is_due_is_renewed_for_the_same_names_and_days() {
    let (dir, files) = made(3);
    let before = facts(&files.server_pem);
    let key = fs::read(&files.server_key).unwrap();
    assert!(matches!(
        renew_where_due(dir.path(), SystemTime::now()),
        Ok(Standing::Good)
    ));
    let later = before.not_after - DAY;
    let Ok(Standing::Renewed(renewed)) = renew_where_due(dir.path(), later) else {
        panic!("not renewed");
    };
    let after = facts(&files.server_pem);
    assert_eq!(after.der, renewed.certificate.der);
    assert_eq!(after.names, before.names);
    assert_eq!(after.not_after, later + DAY * 3 - Duration::from_hours(1));
    assert!(after.is_issued_by(&facts(&files.ca_pem)));
    assert_ne!(fs::read(&files.server_key).unwrap(), key);
    let renewed = ServerTls::load(files.server(), TlsSettings::default());
    assert!(renewed.is_ok(), "the pair fits");
    let mode = fs::metadata(&files.server_key)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        4,
        "nothing is left beside them"
    );
}

#[test]
fn nothing_is_renewed_that_is_not_of_the_authority_beside_it() {
    let (dir, files) = made(1);
    let later = SystemTime::now() + DAY * 2;
    fs::remove_file(&files.ca_key).unwrap();
    let standing = renew_where_due(dir.path(), later);
    assert!(
        matches!(standing, Ok(Standing::NoKey { .. })),
        "{standing:?}"
    );

    let (_other_dir, other) = made(1);
    fs::copy(&other.ca_key, &files.ca_key).unwrap();
    let standing = renew_where_due(dir.path(), later);
    assert!(
        matches!(standing, Err(RenewError::Key { .. })),
        "{standing:?}"
    );
    let before = fs::read(&files.server_pem).unwrap();
    fs::copy(&other.ca_pem, &files.ca_pem).unwrap();
    let standing = renew_where_due(dir.path(), later);
    assert!(matches!(standing, Ok(Standing::Foreign)), "{standing:?}");
    let refused = renew(dir.path(), 1, later);
    assert!(
        matches!(refused, Err(RenewError::NotOurs { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&files.server_pem).unwrap(), before);
    fs::remove_file(&files.ca_pem).unwrap();
    assert!(matches!(
        renew_where_due(dir.path(), later),
        Ok(Standing::Foreign)
    ));
}

#[test]
fn none_outlives_its_authority() {
    let (dir, files) = made(10);
    let end = facts(&files.ca_pem).not_after;
    let renewed = renew(dir.path(), 10, end - DAY * 2).unwrap();
    assert_eq!(renewed.certificate.not_after, end);
    let standing = renew_where_due(dir.path(), end - DAY / 2);
    assert!(
        matches!(standing, Ok(Standing::AuthorityEnds { .. })),
        "{standing:?}"
    );
    let refused = renew(dir.path(), 10, end);
    assert!(matches!(
        refused,
        Err(RenewError::Authority {
            reason: Unfit::Expired,
            ..
        })
    ));
}

#[test]
fn a_renewal_that_a_crash_interrupted_is_brought_to_its_end_or_taken_back() {
    // Before the crash: the new certificate waits, and the key is the new one already, or still the old one.
    let (dir, files) = made(1);
    let (old_pem, old_key) = (
        fs::read(&files.server_pem).unwrap(),
        fs::read(&files.server_key).unwrap(),
    );
    renew(dir.path(), 1, SystemTime::now()).unwrap();
    let new_pem = fs::read(&files.server_pem).unwrap();
    let coming = dir.path().join(".server.pem.renewed");
    let loads = || ServerTls::load(files.server(), TlsSettings::default()).is_ok();

    fs::write(&files.server_pem, &old_pem).unwrap();
    fs::write(&coming, &new_pem).unwrap();
    assert!(!loads());
    finish_interrupted(dir.path()).unwrap();
    assert_eq!(fs::read(&files.server_pem).unwrap(), new_pem);
    assert!(loads() && !coming.exists());

    fs::write(&files.server_pem, &old_pem).unwrap();
    fs::write(&files.server_key, &old_key).unwrap();
    fs::write(&coming, &new_pem).unwrap();
    finish_interrupted(dir.path()).unwrap();
    assert_eq!(fs::read(&files.server_pem).unwrap(), old_pem);
    assert!(loads() && !coming.exists());
}
