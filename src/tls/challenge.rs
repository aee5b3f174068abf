//! Certificates that prove to a certificate authority that a name leads here (TLS-ALPN-01, RFC 8737).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

use super::TlsError;
use super::settings::TlsVersion;

/// The application protocol of a validation (RFC 8737, section 6.2), which nothing else may be offered with.
const ACME_TLS_1: &[u8] = b"acme-tls/1";

/// The certificates that validations under way are answered with, by the name that is asked for. Clones share them.
#[derive(Clone, Default)]
pub struct AlpnChallenges(Arc<RwLock<HashMap<String, Arc<CertifiedKey>>>>);

impl AlpnChallenges {
    /// Answers validations of `name` (a DNS name in lower case) with `certificate`, until it is removed.
    pub fn insert(&self, name: &str, certificate: CertifiedKey) {
        let mut challenges = self.0.write().unwrap_or_else(PoisonError::into_inner);
        challenges.insert(name.to_owned(), Arc::new(certificate));
    }

    /// Answers validations of `name` no more.
    pub fn remove(&self, name: &str) {
        let mut challenges = self.0.write().unwrap_or_else(PoisonError::into_inner);
        challenges.remove(name);
    }

    /// Whether a handshake is a validation: it offers `acme-tls/1` and nothing else.
    pub(super) fn is_validation(hello: &ClientHello<'_>) -> bool {
        let mut offered = hello.alpn().into_iter().flatten();
        offered.next() == Some(ACME_TLS_1) && offered.next().is_none()
    }

    /// What a validation's handshake is done with. Where its name is not known here, that fails.
    pub(super) fn config(
        &self,
        provider: Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(TlsVersion::Tls12.and_later())
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![ACME_TLS_1.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl ResolvesServerCert for AlpnChallenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let challenges = self.0.read().unwrap_or_else(PoisonError::into_inner);
        challenges.get(hello.server_name()?).map(Arc::clone)
    }
}

impl fmt::Debug for AlpnChallenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlpnChallenges").finish_non_exhaustive()
    }
}
