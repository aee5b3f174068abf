//! Where the server's certificate comes from: a certificate authority, or files that are named one by one.

use super::together::{alone, both};
use super::{ConfigError, ServeArgs};
use crate::acme::{AcmeChallenge, AcmeSettings, ExternalAccount};
use crate::tls::CertificateFiles;

/// The most names of a certificate: what Let's Encrypt gives.
pub(super) const MAX_NAMES: usize = 100;

impl ServeArgs {
    /// What is ordered of an authority. Where no name is, the settings of that mean nothing.
    pub(super) fn acme(&self) -> Result<Option<AcmeSettings>, ConfigError> {
        let needs_domain = [
            ("acme-email", self.acme_email.is_some()),
            ("acme-directory", self.acme_directory.is_some()),
            ("acme-cacert", self.acme_cacert.is_some()),
            ("acme-terms-agreed", self.acme_terms_agreed.is_some()),
            ("acme-eab-kid", self.acme_eab_kid.is_some()),
            ("acme-eab-key-file", self.acme_eab_key_file.is_some()),
            ("acme-profile", self.acme_profile.is_some()),
            ("acme-challenge", self.acme_challenge.is_some()),
        ];
        if self.acme_domain.is_empty() {
            alone(true, &needs_domain, "acme-domain")?;
            return Ok(None);
        }
        if self.certificate.is_some() || self.private_key.is_some() {
            return Err(ConfigError::Conflict {
                setting: "acme-domain",
                other: "certificate",
            });
        }
        let directory = self.acme_directory.clone().unwrap_or_default();
        if self.acme_terms_agreed != Some(true) {
            return Err(ConfigError::AcmeTerms(directory.as_str().to_owned()));
        }
        let challenge = self.acme_challenge.unwrap_or_default();
        let by_file = challenge == AcmeChallenge::Http01;
        let needs_listener = [("acme-challenge http-01", by_file)];
        alone(
            self.http_listen.is_none(),
            &needs_listener,
            "http-listen (usually 0.0.0.0:80 or [::]:80)",
        )?;
        let mut names = Vec::new();
        for name in &self.acme_domain {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        if names.len() > MAX_NAMES {
            return Err(ConfigError::TooManyAcmeDomains);
        }
        Ok(Some(AcmeSettings {
            names,
            email: self.acme_email.clone(),
            directory,
            cacert: self.acme_cacert.clone(),
            external_account: self.external_account()?,
            profile: self.acme_profile.clone(),
            challenge,
        }))
    }

    fn external_account(&self) -> Result<Option<ExternalAccount>, ConfigError> {
        let pair = both(
            ("acme-eab-kid", self.acme_eab_kid.clone()),
            ("acme-eab-key-file", self.acme_eab_key_file.clone()),
        )?;
        Ok(pair.map(|(key_id, key_file)| ExternalAccount { key_id, key_file }))
    }

    /// The files of the certificate, where they are named one by one.
    pub(super) fn certificate_files(&self) -> Result<Option<CertificateFiles>, ConfigError> {
        let pair = both(
            ("certificate", self.certificate.clone()),
            ("private-key", self.private_key.clone()),
        )?;
        Ok(pair.map(|(certificate, key)| CertificateFiles { certificate, key }))
    }
}
