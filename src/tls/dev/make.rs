//! Making an authority, and server certificates below it.

use std::fs::DirBuilder;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, date_time_ymd,
};
use zeroize::Zeroizing;

use super::staged::{PRIVATE, PUBLIC, stage, sync_folder};
use super::{DevCertError, DevCertificates, OUR_AUTHORITIES, io_error, present};
use crate::tls::HostName;

/// How many days a server certificate is good for where nothing else is asked for. Short, because the running server renews it:
/// a key that was taken with a laptop's folder is worth little after two weeks.
pub const DEFAULT_DAYS: u16 = 14;
/// The most days of a server certificate. Browsers accept 398 (CA/Browser Forum, Baseline Requirements, section 6.3.2).
pub const MAX_DAYS: u16 = 397;

const DAY: Duration = Duration::from_hours(24);
/// How long before its making a certificate is valid already, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_hours(1);
/// With [`BACKDATED`] within two years. An authority is trusted by hand on every device, so it has to last a project; but trust
/// that was forgotten in a store has to end by itself.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 730 - 1);

/// Makes an authority limited to `hosts` and a server certificate for them, and writes both with their keys into the
/// folder `dir`, which is created (mode 0700) where it is missing.
///
/// The server certificate lasts `days` (1 to [`MAX_DAYS`]), the authority two years. Keys are ECDSA P-256, in files of mode 0600.
/// Where one of the four files exists nothing is written, unless `force` says to replace them all. Each file appears
/// whole; `server.pem` comes last, so that a set without it is known to be incomplete.
pub fn make(
    dir: &Path,
    hosts: &[HostName],
    days: u16,
    force: bool,
) -> Result<DevCertificates, DevCertError> {
    let files = DevCertificates::paths(dir);
    if hosts.is_empty() {
        return Err(DevCertError::NoHosts);
    }
    if !force {
        for path in files.all() {
            if present(path)? {
                return Err(DevCertError::Exists {
                    path: path.to_owned(),
                });
            }
        }
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error(dir))?;

    let ca_key = new_key()?;
    let server_key = new_key()?;
    let mut authority = authority_params(hosts, &ca_key);
    authority.serial_number = Some(random_serial()?);
    let ca_pem = authority.self_signed(&*ca_key)?.pem();
    let end = SystemTime::now() + lifetime(days);
    let server_pem = signed_leaf(hosts, &ca_key, hosts, &server_key, end)?.pem();

    // All are written and synced before the first appears, so that a full disk leaves none.
    let staged = [
        stage(
            &files.ca_key,
            &Zeroizing::new(ca_key.serialize_pem()),
            PRIVATE,
        )?,
        stage(&files.ca_pem, &ca_pem, PUBLIC)?,
        stage(
            &files.server_key,
            &Zeroizing::new(server_key.serialize_pem()),
            PRIVATE,
        )?,
        stage(&files.server_pem, &server_pem, PUBLIC)?,
    ];
    for file in staged {
        file.publish(force)?;
    }
    sync_folder(dir)?;
    Ok(files)
}

/// How long from now a server certificate of so many days lasts: with what it is backdated not longer than that.
pub(super) fn lifetime(days: u16) -> Duration {
    (DAY * u32::from(days.clamp(1, MAX_DAYS))).saturating_sub(BACKDATED)
}

/// A new key of the kind that all have here.
pub(super) fn new_key() -> Result<Zeroizing<KeyPair>, rcgen::Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Zeroizing::new)
}

/// A server certificate for `hosts` until `end`, signed by the authority that has `ca_key` and is limited to `permitted`. Of an
/// authority only the subject and the key are in it, and both are the same whatever it is limited to.
pub(in crate::tls) fn signed_leaf(
    permitted: &[HostName],
    ca_key: &KeyPair,
    hosts: &[HostName],
    key: &KeyPair,
    end: SystemTime,
) -> Result<Certificate, rcgen::Error> {
    let authority = authority_params(permitted, ca_key);
    let mut params = server_params(hosts, end)?;
    params.serial_number = Some(random_serial()?);
    params.signed_by(key, &Issuer::from_params(&authority, ca_key))
}

/// A serial number of 16 bytes, positive and never seen before (Baseline Requirements, section 7.1: 64 random bits or more).
/// Firefox refuses a second certificate of one issuer under the same number.
fn random_serial() -> Result<SerialNumber, rcgen::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    // The first bit is the sign; the second keeps the length.
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// What the authority's certificate says. The same key and hosts always give the same subject and constraints.
fn authority_params(hosts: &[HostName], key: &KeyPair) -> CertificateParams {
    let mut params = valid_until(SystemTime::now() + AUTHORITY_LIFETIME);
    // Part of the key's identifier, so that two authorities in one trust store are not taken for one another.
    let id = data_encoding::HEXLOWER.encode(&params.key_identifier(key)[..4]);
    let name = format!("{OUR_AUTHORITIES}{id}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Not every verifier looks for it in an authority; Windows, NSS and OpenSSL do.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(name_constraints(hosts));
    params
}

/// What the server's certificate says.
fn server_params(hosts: &[HostName], end: SystemTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid_until(end);
    // Clients look at the alternative names alone; with spaces in it this is never mistaken for a host.
    params
        .distinguished_name
        .push(DnType::CommonName, "Sealslot development server");
    for host in hosts {
        let name = match host {
            HostName::Dns(name) => SanType::DnsName(name.as_ref().try_into()?),
            HostName::Ip(address) => SanType::IpAddress(*address),
        };
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Parameters with an empty subject, valid from a little ago until `end`.
fn valid_until(end: SystemTime) -> CertificateParams {
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + since_epoch(SystemTime::now()).saturating_sub(BACKDATED);
    params.not_after = epoch + since_epoch(end);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

/// Constraints that leave `hosts` and nothing else, except that a DNS name always brings the names below it.
///
/// A kind of name that no permitted subtree mentions is not constrained at all, so a kind without hosts is excluded
/// as a whole.
pub(super) fn name_constraints(hosts: &[HostName]) -> NameConstraints {
    let subnet = |address: IpAddr, prefix| {
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix))
    };
    let permitted_subtrees = hosts
        .iter()
        .map(|host| match host {
            HostName::Dns(name) => GeneralSubtree::DnsName(name.as_ref().to_owned()),
            HostName::Ip(address) => subnet(*address, if address.is_ipv4() { 32 } else { 128 }),
        })
        .collect();
    let mut excluded_subtrees = Vec::new();
    if !hosts.iter().any(|host| matches!(host, HostName::Dns(_))) {
        // The empty name is the root, and every name is below it.
        excluded_subtrees.push(GeneralSubtree::DnsName(String::new()));
    }
    if !hosts
        .iter()
        .any(|host| matches!(host, HostName::Ip(IpAddr::V4(_))))
    {
        excluded_subtrees.push(subnet(Ipv4Addr::UNSPECIFIED.into(), 0));
    }
    if !hosts
        .iter()
        .any(|host| matches!(host, HostName::Ip(IpAddr::V6(_))))
    {
        excluded_subtrees.push(subnet(Ipv6Addr::UNSPECIFIED.into(), 0));
    }
    NameConstraints {
        permitted_subtrees,
        excluded_subtrees,
    }
}
