//! What is asked of which certificate authority.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::Scheme;

use crate::tls::{HostName, HostNameError};

/// Let's Encrypt's production directory.
const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Everything that ACME was told. Nothing in it is secret: keys are in files.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// The names that the certificate is for, without duplicates. At least one.
    pub names: Vec<AcmeName>,
    /// Where the authority may write to.
    pub email: Option<AcmeEmail>,
    /// The authority.
    pub directory: AcmeDirectory,
    /// Who vouches for the authority's own certificate, in PEM; `None`: the system.
    pub cacert: Option<PathBuf>,
    /// The account there that is paid for or known by other means (RFC 8555, section 7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// The kind of certificate, by the authority's name for it.
    pub profile: Option<AcmeProfile>,
    /// How names are proved.
    pub challenge: AcmeChallenge,
}

/// An account at the authority that was made elsewhere.
#[derive(Debug, Clone)]
pub struct ExternalAccount {
    /// Its name.
    pub key_id: String,
    /// The file of the key that proves it: base64url, as authorities give it.
    pub key_file: PathBuf,
}

/// A name that a certificate is ordered for: a DNS name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AcmeName(pub HostName);

/// Why a certificate cannot be ordered for a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcmeNameError {
    /// `*.example.org`.
    #[error(
        "{0:?} is a wildcard, which authorities give only to who changes the DNS (dns-01); name every host by itself"
    )]
    Wildcard(String),
    /// Neither a name nor an address.
    #[error(transparent)]
    Malformed(#[from] HostNameError),
}

impl FromStr for AcmeName {
    type Err = AcmeNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("*.") {
            return Err(AcmeNameError::Wildcard(text.to_owned()));
        }
        Ok(Self(text.parse()?))
    }
}

impl fmt::Display for AcmeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The URL of an authority's directory (RFC 8555, section 7.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeDirectory(String);

/// A text that is no [`AcmeDirectory`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("give the URL of the authority's directory, which begins with https://")]
pub struct AcmeDirectoryError;

impl AcmeDirectory {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AcmeDirectory {
    fn default() -> Self {
        Self(DEFAULT_DIRECTORY.to_owned())
    }
}

impl FromStr for AcmeDirectory {
    type Err = AcmeDirectoryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url: Uri = text.parse().map_err(|_| AcmeDirectoryError)?;
        let host = url.authority().ok_or(AcmeDirectoryError)?;
        let fine = url.scheme() == Some(&Scheme::HTTPS)
            && !host.host().is_empty()
            && !host.as_str().contains('@');
        fine.then(|| Self(text.to_owned()))
            .ok_or(AcmeDirectoryError)
    }
}

/// An address for mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeEmail(String);

/// A text that is no [`AcmeEmail`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("give one address, such as admin@example.org")]
pub struct AcmeEmailError;

impl AcmeEmail {
    /// As a contact of an account (RFC 8555, section 7.3).
    pub(super) fn contact(&self) -> String {
        format!("mailto:{}", self.0)
    }
}

impl FromStr for AcmeEmail {
    type Err = AcmeEmailError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local, domain) = text.rsplit_once('@').ok_or(AcmeEmailError)?;
        // A mailto URL has more that would mean something else (RFC 6068): several addresses, header fields, escapes.
        let plain = |c: char| c.is_ascii_graphic() && !",?&%:;<>()\"@".contains(c);
        let fine = !local.is_empty() && !domain.is_empty() && text.len() <= 254;
        (fine && local.chars().all(plain) && domain.chars().all(plain))
            .then(|| Self(text.to_owned()))
            .ok_or(AcmeEmailError)
    }
}

/// An authority's name for a kind of certificate, such as `shortlived` (draft-ietf-acme-profiles).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeProfile(String);

/// A text that is no [`AcmeProfile`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("give one of the names that the authority's directory lists, such as shortlived")]
pub struct AcmeProfileError;

impl AcmeProfile {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AcmeProfile {
    type Err = AcmeProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fine = !text.is_empty() && text.len() <= 64;
        (fine && text.chars().all(|c| c.is_ascii_graphic()))
            .then(|| Self(text.to_owned()))
            .ok_or(AcmeProfileError)
    }
}

/// How it is proved that a name leads to this server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By a handshake on port 443 (RFC 8737).
    #[default]
    TlsAlpn01,
    /// By a file over plain HTTP on port 80 (RFC 8555, section 8.3).
    Http01,
}

/// A text that is no [`AcmeChallenge`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is `tls-alpn-01` or `http-01`")]
pub struct AcmeChallengeError;

impl FromStr for AcmeChallenge {
    type Err = AcmeChallengeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tls-alpn-01" => Ok(Self::TlsAlpn01),
            "http-01" => Ok(Self::Http01),
            _ => Err(AcmeChallengeError),
        }
    }
}

impl fmt::Display for AcmeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
        })
    }
}

/// In the file of settings they stand as on the command line.
macro_rules! deserialize_from_str {
    ($($type:ty),*) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

deserialize_from_str!(
    AcmeName,
    AcmeDirectory,
    AcmeEmail,
    AcmeProfile,
    AcmeChallenge
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_refused_with_the_reason() {
        let error = "*.example.org".parse::<AcmeName>().unwrap_err();
        assert!(error.to_string().contains("dns-01"), "{error}");
        let name: AcmeName = "Files.Example.ORG".parse().unwrap();
        assert_eq!(name.to_string(), "files.example.org");
        assert!("192.0.2.7".parse::<AcmeName>().is_ok());
        assert!("files.example.org:443".parse::<AcmeName>().is_err());
    }

    #[test]
    fn a_directory_is_an_https_url() {
        assert!(
            "https://ca.example.org:14000/dir"
                .parse::<AcmeDirectory>()
                .is_ok()
        );
        for text in [
            "",
            "ca.example.org",
            "/dir",
            "http://ca.example.org/dir",
            "https://user@ca.example.org/",
        ] {
            assert!(text.parse::<AcmeDirectory>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_one_and_nothing_else() {
        let address: AcmeEmail = "admin+tls@example.org".parse().unwrap();
        assert_eq!(address.contact(), "mailto:admin+tls@example.org");
        for text in [
            "",
            "admin",
            "@example.org",
            "admin@",
            "mailto:a@example.org",
            "a@example.org,b@example.org",
            "a@example.org?subject=x",
            "a b@example.org",
        ] {
            assert!(text.parse::<AcmeEmail>().is_err(), "{text:?}");
        }
    }
}
