//! Certificates for development: an authority that can vouch for a few named hosts only, and a server certificate
//! for them.
//!
//! People put such an authority into the trust store of the machine they work on, and its key lies in a project
//! folder. Its certificate therefore carries critical name constraints (RFC 5280, section 4.2.1.10) and serves for TLS
//! servers only: whoever takes the key can impersonate the hosts it was made for, but no other host, and can sign
//! neither mail nor programs.

mod inspect;
mod limits;
mod make;
mod renew;
mod staged;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{CertificateFiles, HostName};

pub use inspect::{CertificateFacts, Unfit, read_all_facts, read_facts, read_facts_of};
pub use limits::{Constraints, escaped};
#[cfg(test)]
pub(super) use make::signed_leaf;
pub use make::{DEFAULT_DAYS, MAX_DAYS, make};
pub use renew::{
    RenewError, Renewed, Standing, finish_interrupted, is_due, renew, renew_where_due,
};

/// The hosts a certificate is for where none is named: this machine, from itself.
pub const DEFAULT_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What the subject of every authority made here begins with, as a common name. Eight digits of its key's identifier follow.
pub const OUR_AUTHORITIES: &str = "Sealslot development CA ";

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

/// How to make clients trust the authority certificate at `path`, for people at a terminal.
pub fn trust_instructions(path: &Path) -> String {
    let ca = path.to_string_lossy();
    let (sh, cmd) = (shell_quoted(&ca), format!("\"{ca}\""));
    let folder = match path.parent() {
        Some(dir) if dir != Path::new("certs") => {
            format!(" --dir {}", shell_quoted(&dir.to_string_lossy()))
        }
        _ => String::new(),
    };
    format!(
        "\
This machine:   sealslot certs trust{folder}
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
