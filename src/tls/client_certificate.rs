//! What a client certificate says of its owner.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A name in a certificate is not taken where it is longer, in bytes: RFC 5280 foresees 253 for a DNS name.
const MAX_NAME: usize = 255;
/// A name in a certificate is not taken behind so many others.
const MAX_NAMES: usize = 100;

/// What certificates are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// A DNS name among its subject alternative names, in lower case.
    Dns(String),
    /// An e-mail address among them, with its domain in lower case.
    Email(String),
    /// A URI among them.
    Uri(String),
    /// The SHA-256 of the whole certificate.
    Sha256([u8; 32]),
    /// None of its own: every certificate has it.
    Any,
}

/// A text that is no [`CertificateName`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is nothing that a client certificate is known by: give a DNS name, an e-mail address or a URI among its subject \
     alternative names, sha256: and 64 hexadecimal digits, or * for every one"
)]
pub struct CertificateNameError(String);

impl CertificateName {
    fn dns(name: &str) -> Self {
        Self::Dns(name.to_ascii_lowercase())
    }

    /// Only the domain is without case (RFC 5280, section 7.5).
    fn email(address: &str) -> Option<Self> {
        let (local, domain) = address.rsplit_once('@')?;
        let parts = !local.is_empty() && !domain.is_empty();
        parts.then(|| Self::Email(format!("{local}@{}", domain.to_ascii_lowercase())))
    }
}

impl FromStr for CertificateName {
    type Err = CertificateNameError;

    /// Which kind it is shows in the text, so that a name of one kind never stands for one of another.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || CertificateNameError(text.to_owned());
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(digest) = text.strip_prefix("sha256:") {
            let digits = digest.replace(':', "");
            let digest = HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
            let digest = digest.and_then(|digest| digest.try_into().ok());
            return digest.map(Self::Sha256).ok_or_else(malformed);
        }
        let fine = |byte: u8| byte.is_ascii_graphic();
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(fine) {
            return Err(malformed());
        }
        if text.contains(':') {
            return Ok(Self::Uri(text.to_owned()));
        }
        if text.contains('@') {
            return Self::email(text).ok_or_else(malformed);
        }
        let in_dns = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let dns = text.bytes().all(in_dns);
        dns.then(|| Self::dns(text)).ok_or_else(malformed)
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) => f.write_str(name),
            Self::Sha256(digest) => write!(f, "sha256:{}", HEXLOWER.encode(digest)),
            Self::Any => f.write_str("*"),
        }
    }
}

/// A certificate that a client has shown to be its own, and that was found genuine.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    pub(super) chain: Vec<CertificateDer<'static>>,
    sha256: [u8; 32],
    names: Vec<CertificateName>,
}

impl ClientCertificate {
    /// From a chain that was verified, the client's own certificate first.
    pub(super) fn new(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let own = chain.first()?;
        Some(Self {
            chain: chain.to_vec(),
            sha256: Sha256::digest(own).into(),
            names: names(own),
        })
    }

    /// Whether it is known by this name.
    pub fn has(&self, name: &CertificateName) -> bool {
        match name {
            CertificateName::Any => true,
            CertificateName::Sha256(digest) => *digest == self.sha256,
            name => self.names.contains(name),
        }
    }

    /// What to call it: the first of its names, or its digest.
    pub fn name(&self) -> CertificateName {
        let first = self.names.first().cloned();
        first.unwrap_or(CertificateName::Sha256(self.sha256))
    }
}

/// The names that a certificate is known by, in its order. One that cannot be read has none: it has its digest still.
fn names(certificate: &[u8]) -> Vec<CertificateName> {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let extension = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>();
    let Ok(Some((_, SubjectAltName(names)))) = extension else {
        return Vec::new();
    };
    let names = names.iter().take(MAX_NAMES);
    names.filter_map(alternative_name).collect()
}

fn alternative_name(name: &GeneralName) -> Option<CertificateName> {
    let (GeneralName::DnsName(text)
    | GeneralName::Rfc822Name(text)
    | GeneralName::UniformResourceIdentifier(text)) = name
    else {
        return None;
    };
    let text = text.as_str();
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    match name {
        GeneralName::DnsName(_) => Some(CertificateName::dns(text)),
        GeneralName::Rfc822Name(_) => CertificateName::email(text),
        _ => Some(CertificateName::Uri(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType, string::Ia5String};

    fn certificate(names: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::new(&[certificate.der().clone()]).unwrap()
    }

    fn ia5(text: &str) -> Ia5String {
        text.try_into().unwrap()
    }

    fn named(text: &str) -> CertificateName {
        text.parse().unwrap()
    }

    #[test]
    fn a_certificate_is_known_by_its_alternative_names() {
        let certificate = certificate(vec![
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::DnsName(ia5("Scanner.example.org")),
            SanType::Rfc822Name(ia5("Kim@Example.org")),
            SanType::URI(ia5("spiffe://example.org/Scanner?a=b")),
        ]);
        for name in [
            "scanner.example.org",
            "SCANNER.example.ORG",
            "Kim@example.org",
            "Kim@EXAMPLE.org",
            "spiffe://example.org/Scanner?a=b",
            "*",
            &format!("sha256:{}", HEXLOWER.encode(&certificate.sha256)),
        ] {
            assert!(certificate.has(&named(name)), "{name}");
        }
        for name in [
            "example.org",
            "kim@example.org",
            "spiffe://example.org/scanner?a=b",
            "192.0.2.7",
            "rcgen",
            &format!("sha256:{}", "0".repeat(64)),
        ] {
            assert!(!certificate.has(&named(name)), "{name}");
        }
        assert_eq!(certificate.name(), named("scanner.example.org"));
    }

    #[test]
    fn a_name_of_one_kind_is_none_of_another() {
        // An authority that may only name hosts writes something else where a host's name belongs.
        let forged = certificate(vec![
            SanType::DnsName(ia5("kim@example.org")),
            SanType::DnsName(ia5("spiffe://example.org/scanner")),
            SanType::URI(ia5("scanner.example.org")),
            SanType::DnsName(ia5("*")),
            SanType::DnsName(ia5("a b\n")),
        ]);
        for name in [
            "kim@example.org",
            "spiffe://example.org/scanner",
            "scanner.example.org",
        ] {
            assert!(!forged.has(&named(name)), "{name}");
        }
    }

    #[test]
    fn without_a_name_it_is_known_by_its_digest() {
        let nameless = certificate(Vec::new());
        let name = nameless.name().to_string();
        assert_eq!(name.len(), 7 + 64);
        assert!(nameless.has(&named(&name)));
        let pairs: Vec<_> = nameless.sha256.map(|byte| format!("{byte:02X}")).to_vec();
        assert!(nameless.has(&named(&format!("sha256:{}", pairs.join(":")))));
        // Only rustls verifies; what cannot be read further has no names.
        let garbage = ClientCertificate::new(&[CertificateDer::from(&b"garbage"[..])]).unwrap();
        assert!(matches!(garbage.name(), CertificateName::Sha256(_)));
        assert!(ClientCertificate::new(&[]).is_none());
    }

    #[test]
    fn what_no_certificate_is_known_by_is_refused() {
        let long = format!("{}.org", "a".repeat(MAX_NAME));
        for text in [
            "",
            "*.example.org",
            "a b",
            "sha256:",
            "sha256:00",
            "sha256:zz",
            "@example.org",
            "kim@",
            "m\u{fc}ller.example",
            &long,
        ] {
            assert!(text.parse::<CertificateName>().is_err(), "{text}");
        }
    }
}
