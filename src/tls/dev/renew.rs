//! A new server certificate below the same authority.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::KeyPair;
use zeroize::Zeroizing;

use super::inspect::{CertificateFacts, Unfit, read_facts, read_facts_of};
use super::make::{MAX_DAYS, lifetime, new_key, signed_leaf};
use super::staged::{PRIVATE, PUBLIC, stage, sync_folder};
use super::{CertificateFiles, DevCertError, DevCertificates, io_error, present};
use crate::tls::TlsError;
use crate::tls::config::read_private_file;

/// Where a new certificate waits for its name while the new key already has its own.
const COMING: &str = ".server.pem.renewed";

/// A certificate is renewed when no more than one part in so many is left of its life.
const LAST_PART: u32 = 3;

/// Why a server certificate could not be renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// A file is missing or cannot be read.
    #[error(transparent)]
    Read(#[from] TlsError),
    /// The authority is not one of ours, or can vouch for nothing any more.
    #[error(
        "{} cannot sign a new certificate: {reason}; make all of them anew with `sealslot certs --force`, and trust the new authority",
        path.display()
    )]
    Authority {
        /// The authority's certificate.
        path: PathBuf,
        /// What is wrong with it.
        reason: Unfit,
    },
    /// The server's certificate comes from somewhere else.
    #[error(
        "{} was not issued by {}: renew it where it comes from",
        certificate.display(),
        authority.display()
    )]
    NotOurs {
        /// The server's certificate.
        certificate: PathBuf,
        /// The authority beside it.
        authority: PathBuf,
    },
    /// The key is not the authority's, or is damaged.
    #[error("{} is not the private key of {}; put back the one that belongs to it", key.display(), authority.display())]
    Key {
        /// The key's file.
        key: PathBuf,
        /// The authority's certificate.
        authority: PathBuf,
    },
    /// The new files could not be made or written.
    #[error(transparent)]
    Write(#[from] DevCertError),
}

impl From<rcgen::Error> for RenewError {
    fn from(error: rcgen::Error) -> Self {
        Self::Write(error.into())
    }
}

/// What was renewed.
#[derive(Debug)]
pub struct Renewed {
    /// The new certificate.
    pub certificate: CertificateFacts,
    /// The authority that signed it.
    pub authority: CertificateFacts,
}

/// How the certificate in a folder stands.
#[derive(Debug)]
pub enum Standing {
    /// It was not made by the authority beside it, or there is none: it is none of our business.
    Foreign,
    /// It is good for a while.
    Good,
    /// It was due, and is renewed.
    Renewed(Box<Renewed>),
    /// It is due, and cannot be renewed, because the authority's key is not here.
    NoKey {
        /// The certificate that ends.
        certificate: Box<CertificateFacts>,
    },
    /// It ends with its authority, and so would a new one.
    AuthorityEnds {
        /// The authority.
        authority: Box<CertificateFacts>,
    },
}

/// Whether a certificate is to be renewed: a third of its life is left, or less, or it has not begun (the clock was set back).
pub fn is_due(certificate: &CertificateFacts, now: SystemTime) -> bool {
    certificate.left(now) <= certificate.lifetime() / LAST_PART || certificate.not_before > now
}

/// Renews the server certificate in the folder `dir` where it is due and the authority's key lies beside it, for as many days as
/// the one before was good for. Blocks on files.
pub fn renew_where_due(dir: &Path, now: SystemTime) -> Result<Standing, RenewError> {
    let files = DevCertificates::paths(dir);
    if !present(&files.ca_pem)? || !present(&files.server_pem)? {
        return Ok(Standing::Foreign);
    }
    finish_interrupted(dir)?;
    let (Ok(authority), Ok(certificate)) =
        (read_facts(&files.ca_pem), read_facts(&files.server_pem))
    else {
        // Whoever serves with them says what is wrong.
        return Ok(Standing::Foreign);
    };
    if authority.our_name().is_none() || !certificate.is_issued_by(&authority) {
        return Ok(Standing::Foreign);
    }
    if !is_due(&certificate, now) {
        return Ok(Standing::Good);
    }
    if certificate.not_after >= authority.not_after {
        return Ok(Standing::AuthorityEnds {
            authority: Box::new(authority),
        });
    }
    if !present(&files.ca_key)? {
        return Ok(Standing::NoKey {
            certificate: Box::new(certificate),
        });
    }
    let days = certificate.lifetime().as_secs().div_ceil(24 * 3600);
    let days = u16::try_from(days).unwrap_or(MAX_DAYS);
    renew(dir, days, now).map(|renewed| Standing::Renewed(Box::new(renewed)))
}

/// Makes a new server certificate and key in the folder `dir`, for the names of the one that is there and below the authority
/// beside it, good for `days` but not longer than the authority.
///
/// The certificate and its key are two files, and a server that reads them between the two renames finds that they do not fit,
/// keeps what it has and looks again at the next change, which is the second rename. A crash in between leaves the new certificate
/// under another name, from which [`finish_interrupted`] takes it.
pub fn renew(dir: &Path, days: u16, now: SystemTime) -> Result<Renewed, RenewError> {
    let files = DevCertificates::paths(dir);
    // Of two that renew at once, the second renews what the first has made.
    let folder = File::open(dir).map_err(io_error(dir))?;
    folder.lock().map_err(io_error(dir))?;
    finish_held(&files, dir)?;
    let authority = read_facts(&files.ca_pem)?;
    let refused = |reason| RenewError::Authority {
        path: files.ca_pem.clone(),
        reason,
    };
    authority
        .check_trustworthy(now)
        .or_else(|reason| match reason {
            // Those of before had the same limits; what cannot be renewed below them shows when it is verified.
            Unfit::NotLimited | Unfit::NotLast | Unfit::NotOnlyServers => Ok(()),
            reason => Err(refused(reason)),
        })?;
    let before = read_facts(&files.server_pem)?;
    let not_ours = || RenewError::NotOurs {
        certificate: files.server_pem.clone(),
        authority: files.ca_pem.clone(),
    };
    if !before.is_issued_by(&authority) {
        return Err(not_ours());
    }
    let wrong_key = || RenewError::Key {
        key: files.ca_key.clone(),
        authority: files.ca_pem.clone(),
    };
    let ca_key = read_private_file(&files.ca_key)?;
    let ca_key = std::str::from_utf8(&ca_key).map_err(|_| wrong_key())?;
    let ca_key = Zeroizing::new(KeyPair::from_pem(ca_key).map_err(|_| wrong_key())?);
    let key = new_key()?;
    let hosts = before.hosts();
    let end = (now + lifetime(days)).min(authority.not_after);
    let leaf = signed_leaf(&hosts, &ca_key, &hosts, &key, end)?;
    let certificate = CertificateFacts::of(leaf.der()).ok_or_else(wrong_key)?;
    // By what the authority's certificate says, and not by what was signed with: another key makes another signature.
    if !certificate.is_issued_by(&authority) {
        return Err(wrong_key());
    }
    let coming = dir.join(COMING);
    stage(&coming, &leaf.pem(), PUBLIC)?.publish(true)?;
    let key = Zeroizing::new(key.serialize_pem());
    stage(&files.server_key, &key, PRIVATE)?.publish(true)?;
    sync_folder(dir)?;
    fs::rename(&coming, &files.server_pem).map_err(io_error(&files.server_pem))?;
    sync_folder(dir)?;
    Ok(Renewed {
        certificate,
        authority,
    })
}

/// Brings a renewal to its end that a crash has interrupted, or takes back what it had begun.
pub fn finish_interrupted(dir: &Path) -> Result<(), RenewError> {
    if !present(&dir.join(COMING))? {
        return Ok(());
    }
    let folder = File::open(dir).map_err(io_error(dir))?;
    folder.lock().map_err(io_error(dir))?;
    finish_held(&DevCertificates::paths(dir), dir)
}

/// The same, with the folder locked.
fn finish_held(files: &DevCertificates, dir: &Path) -> Result<(), RenewError> {
    let coming = dir.join(COMING);
    let pem = match fs::read(&coming) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(&coming)(error).into()),
    };
    let pair = CertificateFiles {
        certificate: coming.clone(),
        key: files.server_key.clone(),
    };
    let done = if !read_facts_of(&pem).is_empty() && crate::tls::config::fit(&pair) {
        fs::rename(&coming, &files.server_pem)
    } else {
        fs::remove_file(&coming)
    };
    done.map_err(io_error(&coming))?;
    sync_folder(dir)?;
    Ok(())
}
