//! Serving with a certificate that may be replaced on disk at any time.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use tokio::time::{MissedTickBehavior, interval};

use super::TlsError;
use super::config::{read_certified_key, server_config};

/// The shortest pause between two looks at the files.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The server's TLS configuration, with the files its certificate comes from.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    current: Arc<CurrentCertificate>,
    certificate: PathBuf,
    key: PathBuf,
    /// The files as they were at the last attempt to read them, whether it succeeded or not.
    attempted: Mutex<PairState>,
}

impl ServerTls {
    /// Reads a PEM certificate chain, the server's own certificate first, and its private key (unencrypted PKCS#8,
    /// PKCS#1 or SEC1 in PEM, in a file that only its owner may use).
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let attempted = PairState::of(certificate, key);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = read_certified_key(certificate, key, &provider)?;
        let current = Arc::new(CurrentCertificate(RwLock::new(Arc::new(certified))));
        let config = server_config(
            provider,
            Arc::clone(&current) as Arc<dyn ResolvesServerCert>,
        )?;
        Ok(Self {
            config: Arc::new(config),
            current,
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            attempted: Mutex::new(attempted),
        })
    }

    /// The configuration for new connections. It stays the same when the certificate is replaced.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Reads the files again if either has changed since the last attempt, symbolic links followed.
    ///
    /// Returns whether new handshakes now present a newly read certificate. A pair that cannot be used leaves the
    /// present one in place, and is an error once: the next call tries again only after a further change.
    /// Blocks on file reads.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let mut attempted = self
            .attempted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Looked at before the files are read: what is written in between shows as a change at the next call.
        let present = PairState::of(&self.certificate, &self.key);
        if present == *attempted {
            return Ok(false);
        }
        *attempted = present;
        let certified =
            read_certified_key(&self.certificate, &self.key, self.config.crypto_provider())?;
        self.current.replace(certified);
        Ok(true)
    }

    /// Looks for replaced files at every interval, and logs what it finds. Runs until it is dropped.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut poll = interval(every.max(MIN_POLL_INTERVAL));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            poll.tick().await;
            let tls = Arc::clone(&self);
            let reloaded = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await;
            match reloaded {
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => {
                    tracing::info!(certificate = %self.certificate.display(), "the certificate was replaced");
                }
                Ok(Err(error)) => tracing::warn!(
                    error = &error as &(dyn std::error::Error + 'static),
                    "the new certificate cannot be used; still serving with the one before"
                ),
                // The runtime is shutting down, or reading panicked; neither gets better by trying again.
                Err(error) => {
                    tracing::warn!(%error, "no longer looking for new certificates");
                    return;
                }
            }
        }
    }
}

/// What every handshake presents, whatever name the client asks for: the client judges whether it fits.
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

impl CurrentCertificate {
    fn replace(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl fmt::Debug for CurrentCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentCertificate").finish_non_exhaustive()
    }
}

/// Both files of a pair as the file system describes them.
#[derive(PartialEq, Eq)]
struct PairState {
    certificate: Option<FileState>,
    key: Option<FileState>,
}

impl PairState {
    fn of(certificate: &Path, key: &Path) -> Self {
        Self {
            certificate: FileState::of(certificate),
            key: FileState::of(key),
        }
    }
}

/// One file as the file system describes it.
///
/// The change time is in it because `chmod` moves nothing else, and a key refused for its mode is to be taken once
/// its mode is right.
#[derive(PartialEq, Eq)]
pub struct FileState {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileState {
    /// The state of the file that `path` leads to, or `None` where nothing can be seen there.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}
