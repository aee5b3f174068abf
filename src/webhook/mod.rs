//! Webhooks: configured URLs are told of every finished upload, as Standard Webhooks has it.
//!
//! At least once: [`Webhooks`] observes uploads and keeps what is still to be told in the store's outbox. It marks an upload
//! there before that is published, so that after a crash one that was published is told and one that was not is
//! forgotten; what was told is taken out when the receiver answered with a 2xx. Every try of a message has the same id.
//!
//! | module | owns |
//! |---|---|
//! | [`Endpoint`] | where messages go: https, or http on this machine |
//! | [`SigningKeys`] | the secret that both sides know, and what it makes of a message |
//! | `message` | what is told, and how it waits in the outbox |
//! | `outbox` | what is still to be told to whom |
//! | `lane` | the deliveries to one endpoint: when, how many at a time, when no more |
//! | `delivery` | one request |

mod delivery;
mod endpoint;
mod lane;
mod message;
mod outbox;
mod signature;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use endpoint::{Endpoint, EndpointError};
pub use signature::{MIN_SECRET, SecretError, SigningKeys};

use crate::store::{NodeId, Store, StoreError, UploadId};
use crate::tls::{ClientTlsError, client_config};
use crate::upload::{Finished, Observer};
use lane::Lane;
use outbox::{Left, Outbox};

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that a receiver took.
    pub delivered: AtomicU64,
    /// Tries that failed.
    pub failed: AtomicU64,
    /// Messages that are not tried any more.
    pub given_up: AtomicU64,
    /// Uploads that nobody is told of, because too much was waiting.
    pub dropped: AtomicU64,
}

/// What all lanes share.
struct Shared {
    outbox: Outbox,
    keys: SigningKeys,
    tls: Arc<ClientConfig>,
    counters: Arc<Counters>,
}

/// Tells the endpoints of every finished upload.
pub struct Webhooks {
    shared: Arc<Shared>,
    lanes: Vec<Arc<Lane>>,
}

impl Webhooks {
    /// Takes up what is in the store's outbox: what was finished is told, and what was being published when the server ended
    /// is told or forgotten. Nobody may publish yet. Blocks.
    ///
    /// `node`: this server, where several share the store. Then nothing is taken up but by [`adopt`](Self::adopt).
    pub fn open(
        store: Arc<dyn Store>,
        node: Option<NodeId>,
        endpoints: Vec<Endpoint>,
        keys: SigningKeys,
        cacert: Option<&Path>,
    ) -> Result<Self, WebhookError> {
        let counters = Arc::new(Counters::default());
        let lanes: Vec<_> = endpoints.into_iter().map(Lane::new).map(Arc::new).collect();
        let names: Vec<_> = lanes.iter().map(|lane| lane.name().to_owned()).collect();
        let outbox = Outbox::new(store, node, names, Arc::clone(&counters));
        let left = match node {
            None => outbox.take_up()?,
            Some(_) => Vec::new(),
        };
        let shared = Shared {
            outbox,
            keys,
            tls: client_config(cacert)?,
            counters,
        };
        let webhooks = Self {
            shared: Arc::new(shared),
            lanes,
        };
        webhooks.push(left);
        Ok(webhooks)
    }

    /// Tells, from now on, what servers were to tell that died. To be called by one server at a time, now and then. Gives how many
    /// uploads it is. Blocks.
    pub fn adopt(
        &self,
        are_dead: impl FnMut(&NodeId) -> Result<bool, StoreError>,
    ) -> Result<usize, StoreError> {
        let left = self.shared.outbox.adopt(are_dead)?;
        let count = left.len();
        self.push(left);
        Ok(count)
    }

    /// Looks again at uploads of which it could not be noted what became of them. To be called now and then. Blocks.
    pub fn clear_up(&self) {
        self.push(self.shared.outbox.clear_up());
    }

    fn push(&self, left: Vec<Left>) {
        for (id, left) in left {
            for lane in self.lanes.iter().filter(|lane| left.contains(lane.name())) {
                lane.push(id);
            }
        }
    }

    /// What is counted.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// Delivers until `stop`, and then waits for the requests under way, which are short.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut lanes = JoinSet::new();
        for lane in &self.lanes {
            let (lane, shared) = (Arc::clone(lane), Arc::clone(&self.shared));
            lanes.spawn(lane.run(shared, stop.clone()));
        }
        lanes.join_all().await;
    }
}

impl Observer for Webhooks {
    fn publishing(&self, ids: &[UploadId]) -> Result<(), StoreError> {
        ids.iter().try_for_each(|id| self.shared.outbox.mark(id))
    }

    fn not_published(&self, id: &UploadId) {
        if let Err(error) = self.shared.outbox.unmark(id) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%id, error, "the outbox keeps the mark of an upload that was not published until the next start");
            self.shared.outbox.is_unclear(id);
        }
    }

    fn finished(&self, upload: &Finished) {
        match self.shared.outbox.put(upload) {
            Ok(true) => self.lanes.iter().for_each(|lane| lane.push(upload.id)),
            Ok(false) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(id = %upload.id, error, "webhooks are told of an upload later, or after the next start only");
                self.shared.outbox.is_unclear(&upload.id);
            }
        }
    }
}

/// Why webhooks cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The outbox cannot be read.
    #[error("cannot read what is still to be told to webhooks")]
    Store(#[from] StoreError),
    /// Nobody can be trusted.
    #[error(transparent)]
    Tls(#[from] ClientTlsError),
}
