//! Serving with certificates and revocation lists that may be replaced on disk at any time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs;
use rustls::server::{ResolvesServerCert, ServerConfig, ServerConnection};
use rustls::{Error, HandshakeKind};
use tokio::time::{MissedTickBehavior, interval};

use super::TlsError;
use super::challenge::AlpnChallenges;
use super::client_auth::{ClientAuth, ClientTrust};
use super::client_certificate::ClientCertificate;
use super::config::server_config;
use super::names::{Presenter, ServerNames};
use super::settings::{CertificateFiles, TlsSettings, TlsVersion};
use super::status::{CertificateStatus, Reminder};
use super::watched::{FileState, WatchedCertificate};

/// The shortest pause between two looks at the files.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The server's TLS configuration, with the files its certificate comes from.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    operators: Arc<ServerConfig>,
    pub(super) challenge_config: Arc<ServerConfig>,
    challenges: AlpnChallenges,
    min_version: TlsVersion,
    certificate: Arc<WatchedCertificate>,
    pub(super) presenter: Arc<Presenter>,
    names: ServerNames,
    reminder: Reminder,
    clients: Option<Clients>,
}

/// The certificates of clients.
struct Clients {
    settings: ClientAuth,
    trust: RwLock<Arc<ClientTrust>>,
    /// How many times it was replaced, and one more.
    generation: AtomicU64,
    attempted: Mutex<Attempted>,
}

/// The files as they were at the last attempt to read them.
struct Attempted {
    states: Vec<Option<FileState>>,
    /// What they were not taken for.
    failure: Option<String>,
}

impl Clients {
    fn trust(&self) -> Arc<ClientTrust> {
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ServerTls {
    /// Reads the certificate and its private key, and what clients' certificates are held to.
    pub fn load(files: CertificateFiles, settings: TlsSettings) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificate =
            WatchedCertificate::load(files, Arc::clone(&provider), settings.may_wait)?;
        let certificate = Arc::new(certificate);
        let names = ServerNames {
            named: settings.names,
            loopback: settings.loopback,
        };
        let presenter = |names| {
            Arc::new(Presenter {
                certificate: Arc::clone(&certificate),
                names,
            })
        };
        let (everyone, operators) = (presenter(Some(names.clone())), presenter(None));
        let config = |presenter: &Arc<Presenter>| {
            let presenter = Arc::clone(presenter) as Arc<dyn ResolvesServerCert>;
            server_config(Arc::clone(&provider), settings.min_version, None, presenter)
                .map(Arc::new)
        };
        let challenges = AlpnChallenges::default();
        let tls = Self {
            config: config(&everyone)?,
            operators: config(&operators)?,
            challenge_config: Arc::new(challenges.config(Arc::clone(&provider))?),
            challenges,
            min_version: settings.min_version,
            certificate,
            presenter: everyone,
            names,
            reminder: Reminder::default(),
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
            attempted: Mutex::new(Attempted {
                states: attempted,
                failure: None,
            }),
        });
        Ok(self)
    }

    fn read_trust(&self, settings: &ClientAuth) -> Result<ClientTrust, TlsError> {
        ClientTrust::load(
            settings,
            self.min_version,
            self.config.crypto_provider(),
            Arc::clone(&self.presenter) as Arc<dyn ResolvesServerCert>,
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
            None => Arc::clone(&self.config),
        }
    }

    /// The configuration for connections of the operator's own machines: no client is asked for a certificate, and any name may
    /// be asked for. It has keys of its own for tickets.
    pub fn config_for_operators(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.operators)
    }

    /// Whether `host`, a DNS name or an address without port or brackets, is this server: one of the names of the certificate that
    /// is now presented, or one of those that it was given beside them.
    pub fn covers(&self, host: &str) -> bool {
        self.names
            .cover(host, self.certificate.presented().as_deref())
    }

    /// What is presented now, and whether its replacement can be used.
    pub fn status(&self) -> CertificateStatus {
        CertificateStatus::of(&self.certificate, SystemTime::now())
    }

    /// Takes up a certificate that was replaced, and waits for the rest of a replacement that has just begun, a quarter of a second at the
    /// most. Handshakes take it up by themselves; to wait before them keeps those from a certificate that is no longer the last one.
    pub async fn settle(&self) {
        self.certificate.settle().await;
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

    /// Whether a certificate passes now: it may have expired, or have been revoked.
    pub fn verify(&self, certificate: &ClientCertificate) -> Result<(), Error> {
        match &self.clients {
            Some(clients) => clients.trust().verify(certificate),
            None => Err(Error::NoCertificatesPresented),
        }
    }

    /// A number that grows whenever what clients' certificates are held to was replaced.
    pub fn client_generation(&self) -> u64 {
        let generation = self.clients.as_ref().map(|clients| &clients.generation);
        generation.map_or(0, |generation| generation.load(Ordering::Acquire))
    }

    /// Reads the authorities and revocation lists of clients again if any has changed since the last attempt, or if that failed:
    /// all of them, or none where one cannot be used.
    ///
    /// Returns whether they were replaced. What is wrong with them is an error once, and again when it is something else.
    pub fn reload_clients_if_changed(&self) -> Result<bool, TlsError> {
        let Some(clients) = &self.clients else {
            return Ok(false);
        };
        let mut attempted = clients
            .attempted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let present: Vec<_> = clients.settings.files().map(FileState::of).collect();
        if present == attempted.states && attempted.failure.is_none() {
            return Ok(false);
        }
        let changed = present != attempted.states;
        attempted.states = present;
        let trust = match self.read_trust(&clients.settings) {
            Ok(trust) => trust,
            Err(error) => {
                let text = with_sources(&error);
                let told = !changed && attempted.failure.as_ref() == Some(&text);
                attempted.failure = Some(text);
                return if told { Ok(false) } else { Err(error) };
            }
        };
        attempted.failure = None;
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
    pub(super) fn look(&self) {
        self.certificate.look();
        self.reminder.tell(&self.status(), SystemTime::now());
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

/// An error with all that it comes from.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| {
        format!("{text}: {source}")
    })
}
