//! What certificates say, also those from elsewhere. Whether one is genuine is for rustls to say.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use sha1::{Digest, Sha1};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, NameConstraints, SubjectAltName};

use super::limits::{Constraints, escaped};
use super::{HostName, OUR_AUTHORITIES};
use crate::tls::TlsError;
use crate::tls::config::{fingerprint_of, read_chain};
use crate::tls::host::text_of;

/// `id-kp-serverAuth` (RFC 5280, section 4.2.1.12).
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";

/// What one certificate says. Its texts are escaped, so that none of them can talk to a terminal.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// The certificate itself.
    pub der: Vec<u8>,
    /// Whom it is for, as RFC 4514 writes it. Empty where it says nobody.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The DNS names and IP addresses that it is for (subject alternative names), in its order.
    pub names: Vec<String>,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Whether those others may sign nothing themselves.
    signs_leaves_alone: bool,
    /// Which names certificates below it may have, where it is limited.
    pub constraints: Option<Constraints>,
    /// Whether it is good for TLS servers, and for nothing else.
    pub(super) only_servers: bool,
}

/// Why an authority is not put into trust stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is a server's certificate, or another that may not sign.
    #[error("it is no authority but a certificate below one")]
    NoAuthority,
    /// Whoever has its key could stand for hosts that it does not name.
    #[error(
        "it is not limited by name to single hosts: whoever has its key could stand for others, or for every host there is"
    )]
    NotLimited,
    /// There could be other authorities below it.
    #[error("it may have other authorities below it")]
    NotLast,
    /// Its key could sign mail or programs.
    #[error("it is not limited to TLS servers")]
    NotOnlyServers,
    /// Another name, or not signed by itself.
    #[error("it is none that `sealslot certs` has made")]
    NotOurs,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

impl CertificateFacts {
    /// Reads a certificate; `None` where it does not parse.
    pub fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let tbs = certificate.tbs_certificate();
        let names = match tbs.get_extension::<SubjectAltName>().ok()? {
            Some((_, SubjectAltName(names))) => {
                let names = names.iter().filter_map(text_of);
                names.map(|name| escaped(&name)).collect()
            }
            None => Vec::new(),
        };
        let basic = tbs.get_extension::<BasicConstraints>().ok()?;
        let last = |basic: &BasicConstraints| basic.path_len_constraint == Some(0);
        let limits = tbs.get_extension::<NameConstraints>().ok()?;
        let uses = tbs.get_extension::<ExtendedKeyUsage>().ok()?;
        let uses = uses.map(|(_, ExtendedKeyUsage(uses))| uses);
        Some(Self {
            der: der.to_vec(),
            subject: escaped(&tbs.subject().to_string()),
            issuer: escaped(&tbs.issuer().to_string()),
            names,
            not_before: tbs.validity().not_before.to_system_time(),
            not_after: tbs.validity().not_after.to_system_time(),
            signs_leaves_alone: basic.as_ref().is_some_and(|(_, basic)| last(basic)),
            is_authority: basic.is_some_and(|(_, basic)| basic.ca),
            constraints: limits.map(|(critical, limits)| Constraints::of(critical, &limits)),
            only_servers: uses
                .is_some_and(|uses| uses.len() == 1 && uses[0].to_string() == SERVER_AUTH),
        })
    }

    /// SHA-256 over the certificate, as `openssl x509 -fingerprint -sha256` prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.der)
    }

    /// SHA-1 over the certificate in upper-case hexadecimal digits: what the stores of macOS and Windows call it. Nothing relies
    /// on it but finding the entry.
    pub fn sha1(&self) -> String {
        data_encoding::HEXUPPER.encode(&Sha1::digest(&self.der))
    }

    /// The common name of an authority that was made here, whatever else it says. It is also what NSS calls it.
    pub fn our_name(&self) -> Option<&str> {
        let name = self.subject.strip_prefix("CN=")?;
        let id = name.strip_prefix(OUR_AUTHORITIES)?;
        let hexadecimal = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        hexadecimal.then_some(name)
    }

    /// Whether it may be put into trust stores: only an authority that was made here, that is limited to named hosts and to TLS
    /// servers, and whose time is not over.
    pub fn check_trustworthy(&self, now: SystemTime) -> Result<(), Unfit> {
        if !self.is_authority {
            return Err(Unfit::NoAuthority);
        }
        let limits = self.constraints.as_ref();
        if limits.and_then(Constraints::hosts).is_none() {
            return Err(Unfit::NotLimited);
        }
        if !self.signs_leaves_alone {
            return Err(Unfit::NotLast);
        }
        if !self.only_servers {
            return Err(Unfit::NotOnlyServers);
        }
        if self.our_name().is_none() || self.subject != self.issuer {
            return Err(Unfit::NotOurs);
        }
        if self.not_after <= now {
            return Err(Unfit::Expired);
        }
        Ok(())
    }

    /// Whether `authority` signed it, and may have: by its key, its constraints, and for TLS servers. Looked at for the time
    /// when it began, so that one that has expired still has its authority.
    pub fn is_issued_by(&self, authority: &Self) -> bool {
        let mut roots = RootCertStore::empty();
        if roots
            .add(CertificateDer::from(&*authority.der).into_owned())
            .is_err()
        {
            return false;
        }
        let own = CertificateDer::from(&*self.der);
        let Ok(parsed) = ParsedCertificate::try_from(&own) else {
            return false;
        };
        let began = self.not_before.duration_since(UNIX_EPOCH);
        let at = UnixTime::since_unix_epoch(began.unwrap_or_default());
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], at, algorithms.all).is_ok()
    }

    /// How long it is good for still; nothing where it has expired.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.not_after.duration_since(now).unwrap_or_default()
    }

    /// How long it is good for from its beginning to its end.
    pub fn lifetime(&self) -> Duration {
        self.not_after
            .duration_since(self.not_before)
            .unwrap_or_default()
    }

    /// The hosts among its names. One with a wildcard is none.
    pub fn hosts(&self) -> Vec<HostName> {
        self.names
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect()
    }
}

/// The first certificate in a PEM file.
pub fn read_facts(path: &Path) -> Result<CertificateFacts, TlsError> {
    let chain = read_chain(path)?;
    CertificateFacts::of(&chain[0]).ok_or_else(|| unreadable(path))
}

/// All certificates in a PEM file, one at least.
pub fn read_all_facts(path: &Path) -> Result<Vec<CertificateFacts>, TlsError> {
    let chain = read_chain(path)?;
    let facts = chain.iter().map(|der| CertificateFacts::of(der));
    facts.collect::<Option<_>>().ok_or_else(|| unreadable(path))
}

fn unreadable(path: &Path) -> TlsError {
    TlsError::Certificate {
        path: path.to_owned(),
        source: rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding),
    }
}

/// All certificates in a text with PEM blocks that can be read.
pub fn read_facts_of(pem: &[u8]) -> Vec<CertificateFacts> {
    use rustls::pki_types::pem::PemObject;
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    certificates
        .filter_map(|der| CertificateFacts::of(&der))
        .collect()
}
