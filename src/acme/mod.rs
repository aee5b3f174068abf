//! Certificates from a certificate authority by ACME (RFC 8555), renewed while the server runs.
//!
//! - [`AcmeSettings`] say for which names, from whom, and how the names are proved.
//! - [`Acme`] orders, stores and renews; [`AcmeStatus`] says how that goes.
//! - [`HttpChallenges`] are what a plain HTTP listener answers authorities with; [`crate::tls::AlpnChallenges`] is the same for handshakes.
//!
//! A certificate goes from here to the server as a file and in no other way: `tls` watches it like any other.

/// How often a request is sent anew whose nonce the authority does not know. Each time the crate has tried three times already.
const NONCE_TRIES: u32 = 8;

/// Does it again while the authority refuses nonces, which says nothing of the request (RFC 8555, section 6.5).
macro_rules! with_good_nonce {
    ($request:expr) => {{
        let mut tries = 0;
        loop {
            tries += 1;
            match $request {
                Err(error)
                    if tries < $crate::acme::NONCE_TRIES
                        && $crate::acme::is_problem(&error, "badNonce") => {}
                other => break other,
            }
        }
    }};
}

mod account;
mod challenges;
mod client;
mod files;
mod order;
mod renewal;
mod renewer;
mod settings;
mod status;
mod stored;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use instant_acme::Error;
use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::tls::{AlpnChallenges, CertificateFiles, ClientTlsError, client_config};
pub use challenges::HttpChallenges;
pub use settings::{
    AcmeChallenge, AcmeChallengeError, AcmeDirectory, AcmeDirectoryError, AcmeEmail,
    AcmeEmailError, AcmeName, AcmeNameError, AcmeProfile, AcmeProfileError, AcmeSettings,
    ExternalAccount,
};
pub use status::{AcmeFailure, AcmeStatus};

/// How long nothing is tried after a defect.
const AFTER_DEFECT: Duration = Duration::from_mins(10);
/// The most of what an authority says that is repeated, in characters.
const MAX_DETAIL: usize = 400;

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The file system refused.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner may use a secret.
    #[error(
        "others on this machine can use {0} (its mode is {mode:04o}): run chmod 600 {0}",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file of an account is damaged, or another authority's.
    #[error(
        "{} holds no account at this authority: put the right file back, or move it away and a new account is made",
        .0.display()
    )]
    Account(PathBuf),
    /// The stored certificate is damaged.
    #[error("{}: {reason}", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The key of an external account is none.
    #[error("{} holds no key: it is one line of base64url, as the authority gave it (--acme-eab-key-file)", .0.display())]
    ExternalKey(PathBuf),
    /// The authority cannot be connected to, because nobody is trusted.
    #[error("acme-cacert")]
    Trust(#[from] ClientTlsError),
    /// The authority was not reached, refused, or answered nonsense.
    #[error("{}", told(.0))]
    // Not as a source, which would be repeated in full: it is what somebody else says.
    Protocol(Error),
    /// The authority does not validate this name in this way.
    #[error(
        "the authority does not offer {challenge} for {}; try the other --acme-challenge",
        shortened(name)
    )]
    NoChallenge {
        /// The name.
        name: String,
        /// How it was to be proved.
        challenge: AcmeChallenge,
    },
    /// The authority looked whether a name leads here, and it does not.
    #[error(
        "the authority could not validate {}: {}",
        shortened(name),
        shortened(detail)
    )]
    Refused {
        /// The name.
        name: String,
        /// What the authority says.
        detail: String,
    },
    /// What came is not what was ordered.
    #[error("the certificate that the authority gave is not used: {0}")]
    Issued(&'static str),
    /// A key or a request could not be made.
    #[error("cannot make a key or a certificate request")]
    Generate(#[from] rcgen::Error),
    /// A certificate for a validation could not be made.
    #[error("cannot make a certificate for the validation")]
    Proof(#[source] rustls::Error),
    /// The whole of it took too long.
    #[error("the order took too long")]
    TimedOut,
}

impl From<Error> for AcmeError {
    fn from(error: Error) -> Self {
        Self::Protocol(error)
    }
}

impl AcmeError {
    fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> AcmeFailure {
        match self {
            Self::Protocol(error) if is_problem(error, "rateLimited") => AcmeFailure::RateLimited,
            Self::Protocol(Error::Other(other)) if other.is::<client::RequestError>() => {
                AcmeFailure::Unreachable
            }
            Self::TimedOut => AcmeFailure::Unreachable,
            Self::Protocol(_) | Self::Issued(_) => AcmeFailure::Authority,
            Self::Refused { .. } | Self::NoChallenge { .. } => AcmeFailure::Validation,
            _ => AcmeFailure::Local,
        }
    }
}

/// What an authority said, in so many words as fit a line of the log.
fn told(error: &Error) -> String {
    match error {
        Error::Api(problem) => {
            format!("the authority refused: {}", shortened(&problem.to_string()))
        }
        Error::Json(_) => {
            "the authority answered something else than ACME; look at --acme-directory".to_owned()
        }
        Error::Other(other) if other.is::<client::RequestError>() => {
            let mut text = format!("the authority was not reached: {other}");
            let mut source = other.source();
            while let Some(error) = source {
                let _ = write!(text, ": {error}");
                source = error.source();
            }
            shortened(&text)
        }
        error => shortened(&error.to_string()),
    }
}

fn shortened(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MAX_DETAIL).collect()
}

/// Whether the authority answered with this type of problem (RFC 8555, section 6.7).
fn is_problem(error: &Error, kind: &str) -> bool {
    let Error::Api(problem) = error else {
        return false;
    };
    let full = problem.r#type.as_deref().unwrap_or_default();
    full.strip_prefix("urn:ietf:params:acme:error:") == Some(kind)
}

/// Orders certificates, keeps them in a folder, and renews them in time.
pub struct Acme {
    settings: AcmeSettings,
    folder: PathBuf,
    tls: Arc<ClientConfig>,
    http: HttpChallenges,
    status: Mutex<AcmeStatus>,
}

impl Acme {
    /// Makes ready, in the folder `acme` of the folder of certificates. Looks at the files that the settings name, and asks nobody yet.
    pub fn open(settings: AcmeSettings, certs: &Path) -> Result<Self, AcmeError> {
        let folder = folder(certs);
        files::make_folder(&folder)?;
        if let Some(external) = &settings.external_account {
            account::external_key(external)?;
        }
        let tls = client_config(settings.cacert.as_deref())?;
        Ok(Self {
            settings,
            folder,
            tls,
            http: HttpChallenges::default(),
            status: Mutex::default(),
        })
    }

    /// Where certificate and key will be: the same file.
    pub fn certificate_files(certs: &Path) -> CertificateFiles {
        let path = stored::path(&folder(certs));
        CertificateFiles {
            certificate: path.clone(),
            key: path,
        }
    }

    /// What a plain HTTP listener answers validations with.
    pub fn http_challenges(&self) -> &HttpChallenges {
        &self.http
    }

    /// How it goes.
    pub fn status(&self) -> AcmeStatus {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Orders and renews for as long as it is polled. Validations by handshake are answered through `challenges`.
    pub async fn run(self: Arc<Self>, challenges: AlpnChallenges) {
        loop {
            // A task of its own, which ends with this one: a defect, ours or the library's, is not to be the end of all renewals.
            let mut renewing = JoinSet::new();
            let renewer = renewer::Renewer::new(Arc::clone(&self), challenges.clone());
            renewing.spawn(renewer.run());
            let _ = renewing.join_next().await;
            let now = SystemTime::now();
            {
                let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
                status.failed += 1;
                status.last_failure = Some(AcmeFailure::Local);
                status.failing_since.get_or_insert(now);
                status.next_attempt = Some(now + AFTER_DEFECT);
            }
            sleep(AFTER_DEFECT).await;
        }
    }
}

fn folder(certs: &Path) -> PathBuf {
    certs.join("acme")
}
