//! A certificate that is presented: for whom it speaks, from when until when, and whether it may take the place of another.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::CertificateError;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;

use super::TlsError;
use super::config::read_certified_key;
use super::host::text_of;
use super::settings::CertificateFiles;

/// A certificate with its key, and what is to be known of it.
pub(super) struct Presented {
    pub(super) certified: Arc<CertifiedKey>,
    /// Its subject alternative names: DNS names, wildcards among them, and addresses.
    pub(super) names: Vec<String>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// Whether each certificate of the chain is followed by the one of its issuer.
    in_order: bool,
}

impl Presented {
    /// Reads a certificate and its key.
    pub(super) fn read(
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let certified = read_certified_key(files, provider)?;
        let malformed = || TlsError::Certificate {
            path: files.certificate.clone(),
            source: CertificateError::BadEncoding.into(),
        };
        let parse = |der: &CertificateDer<'_>| Certificate::from_der(der).ok();
        let chain: Option<Vec<Certificate>> = certified.cert.iter().map(parse).collect();
        let chain = chain.ok_or_else(malformed)?;
        let own = chain.first().ok_or_else(malformed)?.tbs_certificate();
        let names = own.get_extension::<SubjectAltName>();
        let (_, SubjectAltName(names)) = names
            .map_err(|_| malformed())?
            .unwrap_or((false, SubjectAltName(Vec::new())));
        let in_order = chain
            .windows(2)
            .all(|pair| pair[0].tbs_certificate().issuer() == pair[1].tbs_certificate().subject());
        Ok(Self {
            names: names.iter().filter_map(text_of).collect(),
            not_before: own.validity().not_before.to_system_time(),
            not_after: own.validity().not_after.to_system_time(),
            in_order,
            certified: Arc::new(certified),
        })
    }

    /// Whether clients that look for `host`, a DNS name or an address, take the certificate. A wildcard stands for one label.
    pub(super) fn covers(&self, host: &ServerName<'_>) -> bool {
        let own = self.certified.cert.first();
        let own = own.and_then(|own| ParsedCertificate::try_from(own).ok());
        own.is_some_and(|own| verify_server_name(&own, host).is_ok())
    }

    /// What clients would not accept of it at this time.
    pub(super) fn flaw(&self, files: &CertificateFiles, now: SystemTime) -> Option<TlsError> {
        let path = files.certificate.clone();
        if self.not_after < now {
            Some(TlsError::Expired { path })
        } else if now < self.not_before {
            Some(TlsError::NotYetValid { path })
        } else if !self.in_order {
            Some(TlsError::ChainOrder { path })
        } else {
            None
        }
    }
}
