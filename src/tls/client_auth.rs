//! Certificates that clients show: the authorities that vouch for them, and the lists of those that were revoked.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::{Error, RootCertStore};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use x509_cert::name::Name;

use super::TlsError;
use super::client_certificate::ClientCertificate;
use super::config::{open, read_bounded, read_chain, server_config};
use super::settings::TlsVersion;

/// The most that is read of a revocation list, in bytes: some hundred thousand entries.
const MAX_CRL_LEN: u64 = 16 << 20;

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They may.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// A text that is not one of [`ClientCertificates`].
#[derive(Debug, thiserror::Error)]
#[error("it is `optional` or `required`")]
pub struct ClientCertificatesError;

impl FromStr for ClientCertificates {
    type Err = ClientCertificatesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "optional" => Ok(Self::Optional),
            "required" => Ok(Self::Required),
            _ => Err(ClientCertificatesError),
        }
    }
}

/// How clients are asked for certificates.
#[derive(Debug, Clone)]
pub struct ClientAuth {
    /// The authorities that vouch for them, in PEM.
    pub ca: PathBuf,
    /// What those authorities revoked, in PEM or DER. With any, a certificate passes only where each in its chain has a list
    /// of its issuer that is still good and does not name it.
    pub crls: Vec<PathBuf>,
    /// Whether they have to show one.
    pub certificates: ClientCertificates,
}

impl ClientAuth {
    /// All files that it is read from.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&self.ca)
            .chain(&self.crls)
            .map(PathBuf::as_path)
    }
}

/// What was read from the files of a [`ClientAuth`], and the configuration for connections made of it.
///
/// It has a key of its own for tickets, so that no session goes on which began under another.
pub(super) struct ClientTrust {
    pub(super) config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    next_updates: Vec<NextUpdate>,
}

/// Until when a list is good.
struct NextUpdate {
    time: SystemTime,
    file: PathBuf,
    /// Whether it was said that this time is over.
    told: AtomicBool,
}

fn of_authorities(error: TlsError) -> TlsError {
    TlsError::Clients {
        setting: "--client-ca",
        kind: "a PEM file of certificate authorities",
        source: Box::new(error),
    }
}

fn of_lists(error: TlsError) -> TlsError {
    TlsError::Clients {
        setting: "--client-crl",
        kind: "a revocation list of one of the authorities, in PEM or DER",
        source: Box::new(error),
    }
}

impl ClientTrust {
    pub(super) fn load(
        settings: &ClientAuth,
        min_version: TlsVersion,
        provider: &Arc<CryptoProvider>,
        certificate: Arc<dyn ResolvesServerCert>,
    ) -> Result<Self, TlsError> {
        let roots = Arc::new(read_authorities(&settings.ca).map_err(of_authorities)?);
        let mut lists = Vec::new();
        for path in &settings.crls {
            lists.extend(read_crls(path, &roots, provider).map_err(of_lists)?);
        }
        // rustls asks the first list that its issuer made for a certificate, whatever others say: the newest it is to be.
        lists.sort_by_key(|list| std::cmp::Reverse(list.this_update));
        let next_updates = next_updates(&lists);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .with_crls(lists.into_iter().map(|list| list.der))
                .enforce_revocation_expiration();
        let verifier = match settings.certificates {
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
            ClientCertificates::Required => verifier,
        };
        let verifier = verifier.build().map_err(|source| {
            of_authorities(TlsError::Authority {
                path: settings.ca.clone(),
                source: Error::General(source.to_string()),
            })
        })?;
        let config = server_config(
            Arc::clone(provider),
            min_version,
            Some(Arc::clone(&verifier)),
            certificate,
        )?;
        Ok(Self {
            config: Arc::new(config),
            verifier,
            next_updates,
        })
    }

    /// Whether the certificate passes now.
    pub(super) fn verify(&self, certificate: &ClientCertificate) -> Result<(), Error> {
        let (own, intermediates) = certificate
            .chain
            .split_first()
            .ok_or(Error::NoCertificatesPresented)?;
        self.verifier
            .verify_client_cert(own, intermediates, UnixTime::now())
            .map(|_| ())
    }

    /// The files of lists that are no longer good, each once.
    pub(super) fn newly_stale(&self) -> impl Iterator<Item = &Path> {
        let now = SystemTime::now();
        let stale = self
            .next_updates
            .iter()
            .filter(move |next| next.time <= now);
        let untold = stale.filter(|next| !next.told.swap(true, Ordering::Relaxed));
        untold.map(|next| next.file.as_path())
    }
}

/// Until when the newest list of each issuer is good. The lists come with the newest first.
fn next_updates(lists: &[RevocationList]) -> Vec<NextUpdate> {
    let mut issuers = Vec::new();
    let mut newest = Vec::new();
    for list in lists {
        if issuers.contains(&&list.issuer) {
            continue;
        }
        issuers.push(&list.issuer);
        newest.push(NextUpdate {
            time: list.next_update,
            file: list.path.clone(),
            told: AtomicBool::new(false),
        });
    }
    newest
}

/// The certificates of a PEM file, each an authority.
fn read_authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority {
                path: path.to_owned(),
                source,
            })?;
    }
    Ok(roots)
}

/// A revocation list as it is handed to rustls, and what it says of itself.
struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    path: PathBuf,
    issuer: Name,
    this_update: SystemTime,
    next_update: SystemTime,
}

/// The revocation lists of a file: one or more in PEM, or one in DER. That they are genuine is seen where they are used.
fn read_crls(
    path: &Path,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Vec<RevocationList>, TlsError> {
    let contents = read_bounded(open(path)?, path, MAX_CRL_LEN)?;
    let is_pem = memchr::memmem::find(&contents, b"-----BEGIN").is_some();
    let lists = if is_pem {
        let lists = CertificateRevocationListDer::pem_slice_iter(&contents);
        lists
            .collect::<Result<_, _>>()
            .map_err(|source| TlsError::Pem {
                path: path.to_owned(),
                source,
            })?
    } else {
        vec![CertificateRevocationListDer::from(contents.to_vec())]
    };
    if lists.is_empty() {
        return Err(TlsError::NoCrl {
            path: path.to_owned(),
        });
    }
    let lists = lists.into_iter().map(|der| {
        // By itself, so that the error is about this file.
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .with_crls([der.clone()])
            .build()
            .map_err(|error| error.to_string())?;
        let list: CertificateList =
            CertificateList::from_der(&der).map_err(|error| error.to_string())?;
        let list = list.tbs_cert_list;
        let next_update = list
            .next_update
            .ok_or("it does not say until when it is good")?;
        Ok(RevocationList {
            der,
            path: path.to_owned(),
            issuer: list.issuer,
            this_update: list.this_update.to_system_time(),
            next_update: next_update.to_system_time(),
        })
    });
    lists
        .collect::<Result<_, String>>()
        .map_err(|reason| TlsError::Crl {
            path: path.to_owned(),
            reason,
        })
}

#[cfg(test)]
mod tests;
