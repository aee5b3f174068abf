//! A server that is asked again while it cannot be reached, over as many connections as there are questions at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::body::Body;
use super::http_client::{Answer, Download};
use super::{Access, Server, ServerError};

/// Why there is no answer, however often it was asked. Holds neither a token nor a link.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum PatienceError {
    /// It would be the same the next time.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// There was enough of trying.
    #[error("gave up after {} without progress", humantime::format_duration(*.patience))]
    GaveUp {
        /// How long that was.
        patience: Duration,
        /// What went wrong in the end.
        #[source]
        last: ServerError,
    },
    /// This command is to end.
    #[error("interrupted")]
    Stopped,
    /// What is there now is not what the beginning was read of.
    #[error("it was changed while it was fetched: fetch it again")]
    Changed,
}

impl PatienceError {
    /// What the server said in the end, where it said something.
    pub(in crate::cli) fn server_error(&self) -> Option<&ServerError> {
        match self {
            Self::Server(error) | Self::GaveUp { last: error, .. } => Some(error),
            Self::Stopped | Self::Changed => None,
        }
    }
}

/// What is worth telling of a server that is asked again and again.
pub(in crate::cli) enum Contact<'a> {
    /// Twice in a row it did not answer as it should. It is asked again.
    Lost(&'a ServerError),
    /// It answers again.
    Regained,
}

/// Says it to people.
type Says = Box<dyn Fn(Contact<'_>) + Send + Sync>;

/// Cheap to clone; the clones share connections, and what is known of the server.
#[derive(Clone)]
pub(in crate::cli) struct PatientServer {
    shared: Arc<Shared>,
    patience: Duration,
}

struct Shared {
    access: Access,
    stop: CancellationToken,
    says: Says,
    lost: AtomicBool,
    /// Connections on which nothing is asked now.
    idle: Mutex<Vec<Server>>,
}

/// An answer that is still to come, and the connection that it comes over.
pub(super) struct Coming {
    server: Server,
    pub(super) download: Download,
}

impl PatientServer {
    /// Asks for `patience` without progress, until `stop` is cancelled, and `says` when the server is lost and regained.
    pub(in crate::cli) fn new(
        access: Access,
        patience: Duration,
        stop: CancellationToken,
        says: impl Fn(Contact<'_>) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            access,
            stop,
            says: Box::new(says),
            lost: AtomicBool::new(false),
            idle: Mutex::default(),
        });
        Self { shared, patience }
    }

    /// The same server, asked for so long.
    pub(in crate::cli) fn with_patience(&self, patience: Duration) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            patience,
        }
    }

    /// Asks until there is an answer, and gives it where it is a success. What is asked must be safe to ask twice.
    pub(in crate::cli) async fn ask(
        &self,
        method: Method,
        path: &str,
        document: Option<&Value>,
    ) -> Result<Answer, PatienceError> {
        let mut tries = self.tries();
        loop {
            let failed = match self.asked_once(method.clone(), path, document).await {
                Ok(answer) => {
                    tries.succeeded();
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            tries.failed(failed).await?;
        }
    }

    async fn asked_once(
        &self,
        method: Method,
        path: &str,
        document: Option<&Value>,
    ) -> Result<Answer, ServerError> {
        let mut server = self.connection()?;
        let asked = tokio::select! {
            asked = server.ask(method, path, document) => asked,
            // Whoever tries again finds out that it is to end.
            () = self.shared.stop.cancelled() => return Err(stopped()),
        };
        if !matches!(asked, Err(ServerError::Http(_))) {
            self.put_back(server);
        }
        asked
    }

    /// Sends a request with a body until there is an answer, and gives it where it is a success. What is sent must be safe to send
    /// twice.
    pub(in crate::cli) async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, PatienceError> {
        let mut tries = self.tries();
        loop {
            let body = Body::whole(body.clone());
            let sent = self.sent_once(method.clone(), path, headers.clone(), body);
            let failed = match sent.await {
                Ok(answer) => {
                    tries.succeeded();
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            tries.failed(failed).await?;
        }
    }

    async fn sent_once(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Answer, ServerError> {
        let mut server = self.connection()?;
        let sent = tokio::select! {
            sent = server.send(method, path, headers, body) => sent,
            () = self.shared.stop.cancelled() => return Err(stopped()),
        };
        if !matches!(sent, Err(ServerError::Http(_))) {
            self.put_back(server);
        }
        sent
    }

    /// Sends one request, once, and waits for the head of the answer, where that is a success.
    pub(super) async fn fetch_once(
        &self,
        path: &str,
        headers: HeaderMap,
    ) -> Result<Coming, ServerError> {
        let mut server = self.connection()?;
        let fetched = tokio::select! {
            fetched = server.fetch(Method::GET, path, headers, Body::empty()) => fetched,
            () = self.shared.stop.cancelled() => return Err(stopped()),
        };
        match fetched {
            Ok(download) => Ok(Coming { server, download }),
            Err(error) => {
                if !matches!(error, ServerError::Http(_)) {
                    self.put_back(server);
                }
                Err(error)
            }
        }
    }

    /// Takes the connection back from an answer that has come to its end.
    pub(super) fn keep(&self, coming: Coming) {
        let Coming {
            mut server,
            download,
        } = coming;
        server.keep(download);
        self.put_back(server);
    }

    /// Counts what is tried for one thing.
    pub(super) fn tries(&self) -> Tries<'_> {
        Tries {
            shared: &self.shared,
            patience: self.patience,
            backoff: Backoff::new(self.patience),
            in_a_row: 0,
        }
    }

    /// Cancelled when all of it is to end.
    pub(in crate::cli) fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    fn connection(&self) -> Result<Server, ServerError> {
        let idle = self.shared.idle.lock();
        let idle = idle.unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(server) => Ok(server),
            None => Ok(self.shared.access.connection()?),
        }
    }

    fn put_back(&self, server: Server) {
        let idle = self.shared.idle.lock();
        idle.unwrap_or_else(PoisonError::into_inner).push(server);
    }
}

fn stopped() -> ServerError {
    ServerError::Http(super::http_client::HttpError::TimedOut("the answer"))
}

/// The attempts at one thing.
pub(super) struct Tries<'a> {
    shared: &'a Shared,
    patience: Duration,
    backoff: Backoff,
    in_a_row: u32,
}

impl Tries<'_> {
    /// Something came of it: patience begins anew.
    pub(super) fn succeeded(&mut self) {
        self.in_a_row = 0;
        self.backoff.progress();
        if self.shared.lost.swap(false, Ordering::Relaxed) {
            (self.shared.says)(Contact::Regained);
        }
    }

    /// Waits before the next attempt, where there is to be one.
    pub(super) async fn failed(&mut self, failed: ServerError) -> Result<(), PatienceError> {
        if self.shared.stop.is_cancelled() {
            return Err(PatienceError::Stopped);
        }
        if !failed.is_passing() {
            return Err(failed.into());
        }
        self.in_a_row += 1;
        // A connection that breaks once is no news.
        if self.in_a_row == 2 && !self.shared.lost.swap(true, Ordering::Relaxed) {
            (self.shared.says)(Contact::Lost(&failed));
        }
        let asked = match &failed {
            ServerError::Refused { retry_after, .. } => *retry_after,
            _ => None,
        };
        let Some(wait) = self.backoff.after_failure(Instant::now(), asked) else {
            return Err(PatienceError::GaveUp {
                patience: self.patience,
                last: failed,
            });
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.shared.stop.cancelled() => Err(PatienceError::Stopped),
        }
    }
}
