//! The other side of TLS: what connections that we make are made with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// Why nobody can be connected to.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// A file of certificates cannot be read.
    #[error("cannot read the certificates in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// It holds none.
    #[error("{} holds no certificate that can be used", .0.display())]
    NoCertificate(PathBuf),
    /// The system trusts nobody.
    #[error("no certificate authorities were found on this system")]
    NoAuthorities,
    /// rustls refuses what it was configured with.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// What TLS connections for HTTP/1.1 are made with: `cacert`, or else the system, says who may vouch for a server.
pub fn client_config(cacert: Option<&Path>) -> Result<Arc<ClientConfig>, ClientTlsError> {
    let mut roots = RootCertStore::empty();
    let certificates = match cacert {
        Some(path) => read_certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(match cacert {
            Some(path) => ClientTlsError::NoCertificate(path.to_owned()),
            None => ClientTlsError::NoAuthorities,
        });
    }
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(ClientTlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientTlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.map_err(|source| ClientTlsError::Read {
        path: path.to_owned(),
        source,
    })
}
