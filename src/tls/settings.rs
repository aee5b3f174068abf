//! What TLS is set up with.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rustls::SupportedProtocolVersion;

use super::{ClientAuth, HostName};

/// Where the server's certificate and its private key are. Both may be in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key: unencrypted PKCS#8, PKCS#1 or SEC1 in PEM, in a file that others cannot read.
    pub key: PathBuf,
}

/// How connections are secured.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How clients are asked for certificates, where they are.
    pub clients: Option<ClientAuth>,
    /// The names that the server answers to beside those of its certificate.
    pub names: Vec<HostName>,
    /// Whether it also answers to `localhost` and loopback addresses: it serves this machine alone.
    pub loopback: bool,
    /// Whether it may begin without a certificate, because one will come. Until then no handshake succeeds.
    pub may_wait: bool,
}

/// A version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with ephemeral key exchange and AEAD suites alone.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// A text that is no [`TlsVersion`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is `1.2` or `1.3`; nothing older is spoken")]
pub struct TlsVersionError;

impl FromStr for TlsVersion {
    type Err = TlsVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(TlsVersionError),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

impl TlsVersion {
    /// This version and those after it, the newest first.
    pub(super) fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        const ALL: [&SupportedProtocolVersion; 2] =
            [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Tls12 => &ALL,
            Self::Tls13 => &ALL[..1],
        }
    }
}
