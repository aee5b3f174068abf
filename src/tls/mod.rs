//! TLS: the server's rustls configuration, clients' certificates, picking up replaced files, certificates for development,
//! and what connections to others are made with.
//!
//! - [`ServerTls`] holds the configuration every handshake uses, and the certificate files it came from.
//! - [`AlpnChallenges`] prove to certificate authorities that a name leads here.
//! - [`ClientAuth`] says how clients are asked for certificates; [`ClientCertificate`] is one that was found genuine.
//! - [`dev`] makes a name-constrained certificate authority and a server certificate.
//! - [`client_config`] says whom connections that we make trust.
//!
//! The only application-layer knowledge here is the list of ALPN protocol names.

mod accept;
mod challenge;
mod client;
mod client_auth;
mod client_certificate;
mod config;
pub mod dev;
mod host;
mod names;
mod presented;
mod reload;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod tickets;
mod watched;

use std::io;
use std::path::PathBuf;

use rustls::pki_types::pem;

pub use accept::{Audience, Greeting, Handshake, HandshakeError};
pub use challenge::AlpnChallenges;
pub use client::{ClientTlsError, client_config};
pub use client_auth::{ClientAuth, ClientCertificates, ClientCertificatesError};
pub use client_certificate::{CertificateName, CertificateNameError, ClientCertificate};
pub use config::fingerprint;
pub use host::{HostName, HostNameError};
pub use reload::ServerTls;
pub use settings::{CertificateFiles, TlsSettings, TlsVersion, TlsVersionError};
pub use status::{CertificateState, CertificateStatus};
pub use watched::FileState;

/// Why a certificate and its private key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file is far larger than any certificate chain or key.
    #[error("{} is larger than {limit} bytes; name a PEM file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, in bytes.
        limit: u64,
    },

    /// Others than its owner may use the private key.
    #[error(
        "others on this machine can use the private key {0} (its mode is {mode:04o}): run chmod 600 {0}; where it is mounted from a \
         Kubernetes secret, set defaultMode: 0440 and fsGroup",
        path.display()
    )]
    ExposedKey {
        /// The private key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },

    /// A file is damaged PEM.
    #[error("{} is not valid PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Where decoding stopped.
        source: pem::Error,
    },

    /// The certificate file holds no certificate.
    #[error("{} holds no certificate; it must be PEM with a CERTIFICATE block, the server's own first", path.display())]
    NoCertificate {
        /// The certificate file.
        path: PathBuf,
    },

    /// The key file holds no private key in a form that is read.
    #[error("{} holds no private key; it must be unencrypted PEM, as PKCS#8, PKCS#1 or SEC1", path.display())]
    NoKey {
        /// The private key file.
        path: PathBuf,
    },

    /// The certificate does not parse.
    #[error("the certificate in {} cannot be used", path.display())]
    Certificate {
        /// The certificate file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },

    /// The private key does not parse, or is of an algorithm that TLS does not use.
    #[error("the private key in {} cannot be used; it must be RSA, ECDSA (P-256, P-384, P-521) or Ed25519", path.display())]
    Key {
        /// The private key file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },

    /// The private key is not the certificate's.
    #[error("the private key in {} does not belong to the certificate in {}; replace both", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The private key file.
        key: PathBuf,
    },

    /// The certificate's time is over.
    #[error("the certificate in {} has expired; replace it by a current one", path.display())]
    Expired {
        /// The certificate file.
        path: PathBuf,
    },

    /// The certificate's time has not come.
    #[error("the certificate in {} is not valid yet; it will be taken when it is, if the clock is right", path.display())]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
    },

    /// A certificate of the chain is not followed by the one of its issuer.
    #[error("the certificates in {} are out of order; put the server's own first, and behind each that of its issuer", path.display())]
    ChainOrder {
        /// The certificate file.
        path: PathBuf,
    },

    /// Something that is no file has the name of one.
    #[error("{} is no regular file; name a PEM file", path.display())]
    NoFile {
        /// What has the name.
        path: PathBuf,
    },

    /// An authority for client certificates does not parse.
    #[error("the authorities in {} cannot be used", path.display())]
    Authority {
        /// The file of the authorities.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },

    /// The file of a revocation list holds none.
    #[error("{} holds no revocation list; it must be DER, or PEM with an X509 CRL block", path.display())]
    NoCrl {
        /// The file.
        path: PathBuf,
    },

    /// A revocation list does not parse, or is of a kind that cannot be honoured.
    #[error("the revocation list in {} cannot be used: {reason}", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// What clients' certificates are held to cannot be read or used.
    #[error("{setting}: name {kind} that can be read")]
    Clients {
        /// The flag that named the file.
        setting: &'static str,
        /// What is to be named.
        kind: &'static str,
        /// What is wrong with it.
        source: Box<TlsError>,
    },

    /// The cryptography provider could not be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// What it is about, in a word that names no file: for those who may not know where files are.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::NoFile { .. } => "unreadable",
            Self::ExposedKey { .. } => "exposed-key",
            Self::KeyMismatch { .. } => "key-mismatch",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::ChainOrder { .. } => "chain-order",
            _ => "malformed",
        }
    }
}
