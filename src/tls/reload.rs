//! Serving with certificates and revocation lists that may be replaced on disk at any time.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig, ServerConnection};
use rustls::sign::CertifiedKey;
use rustls::{Error, HandshakeKind};
use tokio::time::{MissedTickBehavior, interval};

use super::TlsError;
use super::challenge::AlpnChallenges;
use super::client_auth::{ClientAuth, ClientTrust};
use super::client_certificate::ClientCertificate;
use super::config::{read_certified_key, server_config};
use super::settings::{CertificateFiles, TlsSettings, TlsVersion};

/// The shortest pause between two looks at the files.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The server's TLS configuration, with the files its certificate comes from.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    pub(super) challenge_config: Arc<ServerConfig>,
    challenges: AlpnChallenges,
    min_version: TlsVersion,
    current: Arc<CurrentCertificate>,
    files: CertificateFiles,
    /// The files as they were at the last attempt to read them, whether it succeeded or not.
    attempted: Mutex<PairState>,
    clients: Option<Clients>,
}

/// The certificates of clients.
struct Clients {
    settings: ClientAuth,
    trust: RwLock<Arc<ClientTrust>>,
    /// How many times it was replaced, and one more.
    generation: AtomicU64,
    attempted: Mutex<Vec<Option<FileState>>>,
}

impl Clients {
    fn trust(&self) -> Arc<ClientTrust> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ServerTls {
    /// Reads the certificate and its private key, and what clients' certificates are held to.
    pub fn load(files: CertificateFiles, settings: TlsSettings) -> Result<Self, TlsError> {
        let attempted = PairState::of(&files);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = if settings.may_wait && attempted.is_absent() {
            None
        } else {
            Some(Arc::new(read_certified_key(&files, &provider)?))
        };
        let current = Arc::new(CurrentCertificate(RwLock::new(certified)));
        let challenges = AlpnChallenges::default();
        let challenge_config = Arc::new(challenges.config(Arc::clone(&provider))?);
        let config = server_config(
            provider,
            settings.min_version,
            None,
            Arc::clone(&current) as Arc<dyn ResolvesServerCert>,
        )?;
        let tls = Self {
            config: Arc::new(config),
            challenge_config,
            challenges,
            min_version: settings.min_version,
            current,
            files,
            attempted: Mutex::new(attempted),
            clients: None,
        };
        match settings.clients {
            Some(clients) => tls.asking_clients(clients),
            None => Ok(tls),
        }
    }

    /// Asks clients for certificates from now on, of the authorities that are read here.
    fn asking_clients(mut self, settings: ClientAuth) -> Result<Self, TlsError> {
        let attempted = settings.files().map(FileState::of).collect();
        let trust = self.read_trust(&settings)?;
        self.clients = Some(Clients {
            settings,
            trust: RwLock::new(Arc::new(trust)),
            generation: AtomicU64::new(1),
            attempted: Mutex::new(attempted),
        });
        Ok(self)
    }

    fn read_trust(&self, settings: &ClientAuth) -> Result<ClientTrust, TlsError> {
        ClientTrust::load(
            settings,
            self.min_version,
            self.config.crypto_provider(),
            Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>,
        )
    }

    /// What validations by certificate authorities are answered with.
    pub fn challenges(&self) -> &AlpnChallenges {
        &self.challenges
    }

    /// The configuration for new connections, of this moment. It stays the same when the server's certificate is replaced, and is
    /// another one when what clients' certificates are held to is.
    pub fn config(&self) -> Arc<ServerConfig> {
        match &self.clients {
            Some(clients) => Arc::clone(&clients.trust().config),
            None => self.config_without_clients(),
        }
    }

    /// The configuration for connections on which no client is asked for a certificate.
    pub fn config_without_clients(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The certificate that the client of an established connection has shown, if it has.
    ///
    /// A session that is resumed brings the certificate along from when it began, unverified: it is verified again, so that
    /// no ticket outlives a certificate or its revocation.
    pub fn client_certificate(
        &self,
        connection: &ServerConnection,
    ) -> Result<Option<ClientCertificate>, Error> {
        let chain = connection.peer_certificates().unwrap_or_default();
        let Some(certificate) = ClientCertificate::new(chain) else {
            return Ok(None);
        };
        if connection.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.verify(&certificate)?;
        }
        Ok(Some(certificate))
    }

    /// The configuration for new connections over QUIC, of this moment: that of [`Self::config`], for HTTP/3 alone. QUIC knows no
    /// TLS before 1.3 (RFC 9001, section 4.2), and rustls refuses it there.
    pub fn quic_config(&self) -> ServerConfig {
        let mut config = (*self.config()).clone();
        config.alpn_protocols = vec![b"h3".to_vec()];
        config
    }

    /// The certificate that a client has shown who is known by this chain, verified again: whether its session was resumed,
    /// which [`Self::client_certificate`] looks at, QUIC does not tell.
    pub fn client_certificate_in(
        &self,
        chain: &[CertificateDer<'static>],
    ) -> Result<Option<ClientCertificate>, Error> {
        let certificate = ClientCertificate::new(chain);
        if let Some(certificate) = &certificate {
            self.verify(certificate)?;
        }
        Ok(certificate)
    }

    /// Whether a certificate passes now: it may have expired, or have been revoked.
    pub fn verify(&self, certificate: &ClientCertificate) -> Result<(), Error> {
        match &self.clients {
            Some(clients) => clients.trust().verify(certificate),
            None => Err(Error::NoCertificatesPresented),
        }
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
        let present = PairState::of(&self.files);
        if present == *attempted {
            return Ok(false);
        }
        *attempted = present;
        let certified = read_certified_key(&self.files, self.config.crypto_provider())?;
        self.current.replace(certified);
        Ok(true)
    }

    /// A number that grows whenever what clients' certificates are held to was replaced.
    pub fn client_generation(&self) -> u64 {
        let generation = self.clients.as_ref().map(|clients| &clients.generation);
        generation.map_or(0, |generation| generation.load(Ordering::Acquire))
    }

    /// Reads the authorities and revocation lists of clients again if any has changed since the last attempt, in the manner of
    /// [`Self::reload_if_changed`]: all of them, or none where one cannot be used.
    pub fn reload_clients_if_changed(&self) -> Result<bool, TlsError> {
        let Some(clients) = &self.clients else {
            return Ok(false);
        };
        let mut attempted = clients
            .attempted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let present: Vec<_> = clients.settings.files().map(FileState::of).collect();
        if present == *attempted {
            return Ok(false);
        }
        *attempted = present;
        let trust = self.read_trust(&clients.settings)?;
        *clients
            .trust
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(trust);
        clients.generation.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// Looks for replaced files at every interval, and logs what it finds. Runs until it is dropped.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut poll = interval(every.max(MIN_POLL_INTERVAL));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            poll.tick().await;
            let tls = Arc::clone(&self);
            // The runtime is shutting down, or reading panicked; neither gets better by trying again.
            if let Err(error) = tokio::task::spawn_blocking(move || tls.look()).await {
                tracing::warn!(%error, "no longer looking for new certificates");
                return;
            }
        }
    }

    /// Takes what was replaced, and says so.
    fn look(&self) {
        match self.reload_if_changed() {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was replaced");
            }
            Err(error) => tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "the new certificate cannot be used; still serving with the one before"
            ),
        }
        match self.reload_clients_if_changed() {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!("the authorities or revocation lists of clients were replaced");
            }
            Err(error) => tracing::warn!(
                error = &error as &(dyn std::error::Error + 'static),
                "the new authorities or revocation lists of clients cannot be used; still going by those before"
            ),
        }
        let trust = self.clients.as_ref().map(Clients::trust);
        for file in trust.iter().flat_map(|trust| trust.newly_stale()) {
            tracing::warn!(
                crl = %file.display(),
                "a revocation list is past its time: the certificates that it is about are refused until there is a new one"
            );
        }
    }
}

/// What every handshake presents, whatever name the client asks for: the client judges whether it fits. None: it is still to come.
struct CurrentCertificate(RwLock<Option<Arc<CertifiedKey>>>);

impl CurrentCertificate {
    fn replace(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
    fn of(files: &CertificateFiles) -> Self {
        Self {
            certificate: FileState::of(&files.certificate),
            key: FileState::of(&files.key),
        }
    }

    /// Whether there is nothing of it.
    fn is_absent(&self) -> bool {
        self.certificate.is_none() && self.key.is_none()
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
