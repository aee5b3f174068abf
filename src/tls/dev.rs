//! Certificates for development: an authority that can vouch for a few named hosts only, and a server certificate
//! for them.
//!
//! People put such an authority into the trust store of the machine they work on, and its key lies in a project
//! folder. Its certificate therefore carries critical name constraints (RFC 5280, section 4.2.1.10) and serves for TLS
//! servers only: whoever takes the key can impersonate the hosts it was made for, but no other host, and can sign
//! neither mail nor programs.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::{CertificateFiles, HostName};

/// The hosts a certificate is for where none is named: this machine, from itself.
pub const DEFAULT_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// How long before its making a certificate is valid already, for clients whose clock is behind.
const BACKDATED: Duration = Duration::from_hours(1);
/// With [`BACKDATED`] within ten years.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 3649);
/// With [`BACKDATED`] within the 397 days that clients accept of a server certificate.
const SERVER_LIFETIME: Duration = Duration::from_hours(24 * 396);

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// Why development certificates could not be made, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DevCertError {
    /// A file is there already.
    #[error("{} exists already; add --force to replace all four certificate files", path.display())]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// Some files of a set are there, but not what a server needs.
    #[error(
        "{} is missing, while other certificate files are there; put it back, or make all of them anew with \
         `sealslot certs --dir {} --force`",
        missing.display(),
        missing.parent().unwrap_or(Path::new(".")).display()
    )]
    Incomplete {
        /// The file that is not there.
        missing: PathBuf,
    },
    /// No host was named.
    #[error("a certificate needs a host; name at least one with --host")]
    NoHosts,
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key or certificate could not be generated.
    #[error("cannot generate the development certificates")]
    Generate(#[from] rcgen::Error),
}

/// Where the four files of a set of development certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevCertificates {
    /// The authority's certificate, which clients are to trust.
    pub ca_pem: PathBuf,
    /// The authority's private key, which a server does not need.
    pub ca_key: PathBuf,
    /// The server's certificate.
    pub server_pem: PathBuf,
    /// The server's private key.
    pub server_key: PathBuf,
}

impl DevCertificates {
    /// Where the files are in the folder `dir`, whether they exist or not.
    pub fn paths(dir: &Path) -> Self {
        Self {
            ca_pem: dir.join("ca.pem"),
            ca_key: dir.join("ca.key"),
            server_pem: dir.join("server.pem"),
            server_key: dir.join("server.key"),
        }
    }

    /// The two files that a server needs.
    pub fn server(&self) -> CertificateFiles {
        CertificateFiles {
            certificate: self.server_pem.clone(),
            key: self.server_key.clone(),
        }
    }

    fn all(&self) -> [&Path; 4] {
        [
            &self.ca_pem,
            &self.ca_key,
            &self.server_pem,
            &self.server_key,
        ]
    }
}

/// Whether `dir` holds a server certificate and its key.
///
/// The authority's files need not be there: a certificate from elsewhere comes without them, and the key is better
/// kept away from the server. Anything else than all or nothing is [`DevCertError::Incomplete`].
pub fn exist(dir: &Path) -> Result<bool, DevCertError> {
    let files = DevCertificates::paths(dir);
    match (present(&files.server_pem)?, present(&files.server_key)?) {
        (true, true) => Ok(true),
        (false, true) => Err(DevCertError::Incomplete {
            missing: files.server_pem,
        }),
        (true, false) => Err(DevCertError::Incomplete {
            missing: files.server_key,
        }),
        (false, false) if present(&files.ca_pem)? || present(&files.ca_key)? => {
            Err(DevCertError::Incomplete {
                missing: files.server_pem,
            })
        }
        (false, false) => Ok(false),
    }
}

/// Makes an authority limited to `hosts` and a server certificate for them, and writes both with their keys into the
/// folder `dir`, which is created (mode 0700) where it is missing.
///
/// The server certificate lasts 396 days, the authority ten years. Keys are ECDSA P-256, in files of mode 0600.
/// Where one of the four files exists nothing is written, unless `force` says to replace them all. Each file appears
/// whole; `server.pem` comes last, so that a set without it is known to be incomplete.
pub fn make(dir: &Path, hosts: &[HostName], force: bool) -> Result<DevCertificates, DevCertError> {
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

    let ca_key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
    let server_key = Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);
    let ca_pem = authority_params(hosts, &ca_key)
        .self_signed(&*ca_key)?
        .pem();
    let server_pem = signed_leaf(hosts, &ca_key, hosts, &server_key)?.pem();

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
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error(dir))?;
    Ok(files)
}

/// How to make clients trust the authority certificate at `ca`, for people at a terminal.
pub fn trust_instructions(ca: &Path) -> String {
    let ca = ca.to_string_lossy();
    let (sh, cmd) = (shell_quoted(&ca), format!("\"{ca}\""));
    format!(
        "\
One command:    curl --cacert {sh} https://localhost:8443/
Debian, Ubuntu: sudo cp {sh} /usr/local/share/ca-certificates/sealslot-dev.crt && sudo update-ca-certificates
Fedora, RHEL:   sudo cp {sh} /etc/pki/ca-trust/source/anchors/sealslot-dev.pem && sudo update-ca-trust
Arch Linux:     sudo trust anchor --store {sh}
macOS:          sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {sh}
Windows:        certutil -user -addstore Root {cmd}
Firefox:        Settings, Privacy & Security, View Certificates, Authorities, Import: {ca}
It can vouch only for the hosts it was made for, and names below them.
"
    )
}

/// `text` as one word of a POSIX shell's command line.
pub fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    // A relative path that starts like an option would be read as one, quoted or not.
    let prefix = if text.starts_with('-') { "./" } else { "" };
    format!("'{prefix}{}'", text.replace('\'', r"'\''"))
}

/// A server certificate for `hosts`, signed by the authority that has `ca_key` and is limited to `permitted`.
pub(super) fn signed_leaf(
    permitted: &[HostName],
    ca_key: &KeyPair,
    hosts: &[HostName],
    key: &KeyPair,
) -> Result<Certificate, rcgen::Error> {
    let authority = authority_params(permitted, ca_key);
    server_params(hosts)?.signed_by(key, &Issuer::from_params(&authority, ca_key))
}

/// What the authority's certificate says. The same key and hosts always give the same subject and constraints.
fn authority_params(hosts: &[HostName], key: &KeyPair) -> CertificateParams {
    let mut params = valid_for(AUTHORITY_LIFETIME);
    // Part of the key's identifier, so that two authorities in one trust store are not taken for one another.
    let id = data_encoding::HEXLOWER.encode(&params.key_identifier(key)[..4]);
    let name = format!("Sealslot development CA {id}");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Not every verifier looks for it in an authority; Windows, NSS and OpenSSL do.
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(name_constraints(hosts));
    params
}

/// What the server's certificate says.
fn server_params(hosts: &[HostName]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = valid_for(SERVER_LIFETIME);
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

/// Parameters with an empty subject, valid from a little ago until `lifetime` from now.
fn valid_for(lifetime: Duration) -> CertificateParams {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + since_epoch.saturating_sub(BACKDATED);
    params.not_after = epoch + since_epoch + lifetime;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

/// Constraints that leave `hosts` and nothing else, except that a DNS name always brings the names below it.
///
/// A kind of name that no permitted subtree mentions is not constrained at all, so a kind without hosts is excluded
/// as a whole.
fn name_constraints(hosts: &[HostName]) -> NameConstraints {
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

/// A file that is written and synced, but not yet under its name.
struct Staged<'a> {
    file: NamedTempFile,
    target: &'a Path,
}

/// Writes `contents` beside `target` with exactly the permissions `mode`, whatever the umask.
fn stage<'a>(target: &'a Path, contents: &str, mode: u32) -> Result<Staged<'a>, DevCertError> {
    let write = || {
        let dir = target.parent().unwrap_or(Path::new("."));
        // Created with mode 0600, as temporary files are.
        let mut file = tempfile::Builder::new()
            .prefix(".sealslot-")
            .tempfile_in(dir)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.write_all(contents.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write()
        .map(|file| Staged { file, target })
        .map_err(io_error(target))
}

impl Staged<'_> {
    /// Gives the file its name, in place of another only where `force` says so.
    fn publish(self, force: bool) -> Result<(), DevCertError> {
        let published = if force {
            self.file.persist(self.target)
        } else {
            self.file.persist_noclobber(self.target)
        };
        match published {
            Ok(_) => Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(DevCertError::Exists {
                    path: self.target.to_owned(),
                })
            }
            Err(failed) => Err(io_error(self.target)(failed.error)),
        }
    }
}

/// Whether something has the name `path`, be it a dangling symbolic link.
fn present(path: &Path) -> Result<bool, DevCertError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> DevCertError {
    move |source| DevCertError::Io {
        path: path.to_owned(),
        source,
    }
}
