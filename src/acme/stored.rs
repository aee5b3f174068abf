//! The certificate on disk: chain and private key in one file, so that nobody ever sees one without the other.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use instant_acme::CertificateIdentifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use zeroize::Zeroizing;

use super::renewal::Validity;
use super::settings::{AcmeName, AcmeSettings};
use super::{AcmeError, files};
use crate::tls::dev::CertificateFacts;

/// Whoever finds the file is told what it is; text in front of PEM is ignored (RFC 7468, section 2).
const HEADING: &str = "Certificate and private key that sealslot has from a certificate authority (ACME). It is replaced by itself: do not edit.";
const DIRECTORY: &str = "Directory: ";
const PROFILE: &str = "Profile: ";
const NAMES: &str = "Names: ";

/// Where the certificate is.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("certificate.pem")
}

/// A certificate that was issued, and what for.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    /// What it was ordered with, as lines of the file.
    order: String,
    directory: Option<String>,
    leaf: CertificateDer<'static>,
    pub(super) validity: Validity,
}

impl Stored {
    /// What the file holds. `None`: there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, AcmeError> {
        let Some(text) = files::read_secret(path)? else {
            return Ok(None);
        };
        Self::parse(&text, path).map(Some)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, AcmeError> {
        let unusable = |reason| AcmeError::Stored {
            path: path.to_owned(),
            reason,
        };
        let (leaf, facts) = usable(text, text).map_err(unusable)?;
        let lines = text.lines().take_while(|line| !line.starts_with("-----"));
        let lines = lines.filter(|line| {
            [DIRECTORY, PROFILE, NAMES]
                .iter()
                .any(|kind| line.starts_with(kind))
        });
        let order = lines.flat_map(|line| [line, "\n"]).collect::<String>();
        let directory = order.lines().find_map(|line| line.strip_prefix(DIRECTORY));
        Ok(Self {
            directory: directory.map(str::to_owned),
            order,
            leaf,
            validity: Validity {
                not_before: facts.not_before,
                not_after: facts.not_after,
            },
        })
    }

    /// Whether it is what would be ordered now: of this authority, of this profile, for these names.
    pub(super) fn is_what_is_wanted(&self, settings: &AcmeSettings) -> bool {
        self.order == order_lines(settings)
    }

    /// What this authority knows it by (RFC 9773, section 4.1). `None`: it is another's, or names no key of its issuer.
    pub(super) fn identifier(
        &self,
        settings: &AcmeSettings,
    ) -> Option<CertificateIdentifier<'static>> {
        if self.directory.as_deref() != Some(settings.directory.as_str()) {
            return None;
        }
        identifier(&self.leaf)
    }
}

/// What an authority gave for an order.
pub(super) struct Issued {
    /// The chain in PEM, the server's own certificate first.
    pub(super) chain: String,
    /// Its private key, PKCS#8 in PEM.
    pub(super) key: Zeroizing<String>,
}

impl Issued {
    /// Looks whether it is what was ordered, and puts it in the place of the one before.
    pub(super) fn store(
        &self,
        path: &Path,
        settings: &AcmeSettings,
        now: SystemTime,
    ) -> Result<Stored, AcmeError> {
        self.check(&settings.names, now)
            .map_err(AcmeError::Issued)?;
        let order = order_lines(settings);
        let (key, chain) = (self.key.as_str(), self.chain.trim_start());
        let text = Zeroizing::new([HEADING, "\n", &order, key, chain].concat());
        let stored = Stored::parse(&text, path)?;
        files::write_secret(path, &text)?;
        Ok(stored)
    }

    fn check(&self, wanted: &[AcmeName], now: SystemTime) -> Result<(), &'static str> {
        let (_, facts) = usable(&self.chain, &self.key)?;
        let names = facts.hosts();
        if !wanted.iter().all(|name| names.contains(&name.0)) {
            return Err("it is not for all the names that were ordered");
        }
        if facts.not_after <= now {
            return Err("it is past its time already; look at this machine's clock");
        }
        Ok(())
    }
}

/// The first certificate of a chain in PEM that handshakes can present with this key: all of it reads, each certificate is
/// followed by its issuer's, and the key is the first one's.
fn usable(
    chain: &str,
    key: &str,
) -> Result<(CertificateDer<'static>, CertificateFacts), &'static str> {
    const UNREADABLE: &str = "it cannot be read";
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let chain = chain.map_err(|_| UNREADABLE)?;
    let leaf = chain.first().ok_or(UNREADABLE)?.clone();
    let facts = CertificateFacts::of(&leaf).ok_or(UNREADABLE)?;
    let parsed: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::from_der(der)).collect();
    let parsed = parsed.map_err(|_| UNREADABLE)?;
    let follows = |pair: &[Certificate]| {
        pair[0].tbs_certificate().issuer() == pair[1].tbs_certificate().subject()
    };
    if !parsed.windows(2).all(follows) {
        return Err("its chain is out of order");
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| UNREADABLE)?;
    let provider = aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key);
    let fits = CertifiedKey::new(chain, key.map_err(|_| UNREADABLE)?).keys_match();
    fits.map_err(|_| "it is for another key")?;
    Ok((leaf, facts))
}

/// What a certificate is ordered with, for the file.
fn order_lines(settings: &AcmeSettings) -> String {
    let mut names: Vec<_> = settings.names.iter().map(ToString::to_string).collect();
    names.sort();
    let profile = settings
        .profile
        .as_ref()
        .map_or("", |profile| profile.as_str());
    format!(
        "{DIRECTORY}{}\n{PROFILE}{profile}\n{NAMES}{}\n",
        settings.directory.as_str(),
        names.join(" ")
    )
}

fn identifier(certificate: &CertificateDer<'_>) -> Option<CertificateIdentifier<'static>> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate();
    let (_, authority) = certificate
        .get_extension::<AuthorityKeyIdentifier>()
        .ok()??;
    let key = authority.key_identifier?;
    let serial = certificate.serial_number().as_bytes();
    Some(
        CertificateIdentifier::new(Der::from_slice(key.as_bytes()), Der::from_slice(serial))
            .into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use rcgen::{CertificateParams, Issuer, KeyPair, SerialNumber};

    use super::*;
    use crate::acme::settings::AcmeChallenge;

    fn settings(names: &[&str]) -> AcmeSettings {
        AcmeSettings {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            email: None,
            directory: "https://ca.example.org/dir".parse().unwrap(),
            cacert: None,
            external_account: None,
            profile: None,
            challenge: AcmeChallenge::TlsAlpn01,
        }
    }

    /// As the authority of the example in RFC 9773, section 4.1, would issue.
    fn issued(names: &[&str]) -> Issued {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.key_identifier_method =
            rcgen::KeyIdMethod::PreSpecified(vec![0x69, 0x88, 0x5B, 0x6B, 0x87]);
        let authority = Issuer::new(authority, authority_key);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        params.use_authority_key_identifier_extension = true;
        params.not_before = SystemTime::now().into();
        params.not_after = (SystemTime::now() + Duration::from_hours(24 * 90)).into();
        let key = KeyPair::generate().unwrap();
        Issued {
            chain: params.signed_by(&key, &authority).unwrap().pem(),
            key: key.serialize_pem().into(),
        }
    }

    #[test]
    fn what_was_issued_is_in_one_file_that_says_what_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        assert!(Stored::read(&path).unwrap().is_none());
        let names = ["b.example.org", "a.example.org", "192.0.2.7"];
        let issued = issued(&names);
        issued
            .store(&path, &settings(&names), SystemTime::now())
            .unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let stored = Stored::read(&path).unwrap().unwrap();
        assert!(stored.is_what_is_wanted(&settings(&names)));
        let other_order = settings(&["a.example.org", "192.0.2.7", "b.example.org"]);
        assert!(stored.is_what_is_wanted(&other_order));
        assert!(!stored.is_what_is_wanted(&settings(&names[..2])));
        let mut elsewhere = settings(&names);
        elsewhere.directory = "https://other.example.org/dir".parse().unwrap();
        assert!(!stored.is_what_is_wanted(&elsewhere));
        assert!(stored.identifier(&elsewhere).is_none());
        let mut shorter = settings(&names);
        shorter.profile = Some("shortlived".parse().unwrap());
        assert!(!stored.is_what_is_wanted(&shorter));
        // The server reads both from it.
        let files = crate::tls::CertificateFiles {
            certificate: path.clone(),
            key: path,
        };
        crate::tls::ServerTls::load(files, crate::tls::TlsSettings::default()).unwrap();
    }

    #[test]
    fn a_certificate_is_known_by_its_issuers_key_and_its_serial_number() {
        let names = ["example.org"];
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        let stored = issued(&names).store(&path, &settings(&names), SystemTime::now());
        let identifier = stored.unwrap().identifier(&settings(&names)).unwrap();
        assert_eq!(identifier.to_string(), "aYhba4c.AIdlQyE");
    }

    #[test]
    fn what_was_not_ordered_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        let now = SystemTime::now();
        let reason = |issued: Issued, now| {
            let wanted = settings(&["a.example.org", "b.example.org"]);
            let error = issued.store(&path, &wanted, now).unwrap_err();
            assert!(!path.exists());
            error.to_string()
        };
        assert!(reason(issued(&["a.example.org"]), now).contains("not for all the names"));
        let both = ["a.example.org", "b.example.org"];
        let later = now + Duration::from_hours(24 * 100);
        assert!(reason(issued(&both), later).contains("clock"));
        let mut swapped = issued(&both);
        swapped.key = issued(&both).key;
        assert!(reason(swapped, now).contains("another key"));
        let mut torn = issued(&both);
        torn.chain += "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        assert!(reason(torn, now).contains("cannot be read"));
        let mut strange = issued(&both);
        strange.chain += &issued(&both).chain;
        assert!(reason(strange, now).contains("out of order"));
        let mut nothing = issued(&both);
        nothing.chain = String::new();
        assert!(reason(nothing, now).contains("cannot be read"));
    }
}
