//! The deliveries to one endpoint. Each has a lane of its own, so that one that fails holds up no other.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::delivery::{DeliveryError, deliver};
use super::endpoint::Endpoint;
use super::message::unix;
use crate::store::{StoreError, UploadId};

/// Deliveries to one endpoint at the same time; to one that fails, one.
const MAX_AT_ONCE: usize = 4;
/// The wait after a first failure. Doubled with each that follows.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer than this.
const LONGEST: Duration = Duration::from_hours(1);
/// For how long it is tried.
const PATIENCE: Duration = Duration::from_hours(3 * 24);

/// A delivery that is due at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    id: UploadId,
    /// How often it failed.
    failures: u32,
}

/// What waits for an endpoint.
pub(super) struct Lane {
    endpoint: Endpoint,
    name: String,
    waiting: Mutex<Waiting>,
    pushed: Notify,
}

#[derive(Default)]
struct Waiting {
    due: BTreeSet<Due>,
    /// Those that are due or under way: no upload is told of twice at a time.
    known: HashSet<UploadId>,
}

/// What came of a delivery.
enum Outcome {
    /// There is nothing more to do: it was taken, or nobody is to be told.
    Done { taken: bool },
    /// It is to be tried again.
    Failed,
}

impl Lane {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            name: endpoint.name(),
            endpoint,
            waiting: Mutex::default(),
            pushed: Notify::new(),
        }
    }

    /// What the outbox calls the endpoint.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An upload is to be told of.
    pub(super) fn push(&self, id: UploadId) {
        let mut waiting = self.waiting();
        if waiting.known.insert(id) {
            waiting.due.insert(Due {
                at: Instant::now(),
                id,
                failures: 0,
            });
            drop(waiting);
            self.pushed.notify_one();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what is due, until it is told to stop.
    pub(super) async fn run(self: Arc<Self>, shared: Arc<Shared>, stop: CancellationToken) {
        let mut under_way = JoinSet::new();
        let mut failing = false;
        loop {
            let room = under_way.len() < if failing { 1 } else { MAX_AT_ONCE };
            let first = self.waiting().due.first().copied();
            let next = first.filter(|_| room);
            let due = async {
                match next {
                    Some(due) => tokio::time::sleep_until(due.at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = under_way.join_next(), if !under_way.is_empty() => {
                    if let Ok((due, outcome)) = ended {
                        failing = self.ended(due, &outcome, failing);
                    }
                }
                () = due => {
                    if let Some(due) = next && self.waiting().due.remove(&due) {
                        let (lane, shared) = (Arc::clone(&self), Arc::clone(&shared));
                        under_way.spawn(async move { (due, lane.attempt(&shared, due).await) });
                    }
                }
                () = self.pushed.notified() => {}
            }
        }
        under_way.join_all().await;
    }

    /// Takes note of what came of a delivery. Gives whether the endpoint fails.
    fn ended(&self, due: Due, outcome: &Outcome, failing: bool) -> bool {
        let mut waiting = self.waiting();
        match outcome {
            Outcome::Done { taken } => {
                waiting.known.remove(&due.id);
                failing && !taken
            }
            Outcome::Failed => {
                waiting.due.insert(Due {
                    at: Instant::now() + pause(due.failures),
                    failures: due.failures + 1,
                    ..due
                });
                true
            }
        }
    }

    async fn attempt(&self, shared: &Arc<Shared>, due: Due) -> Outcome {
        let id = due.id;
        let (message, since) =
            match blocking(shared, move |shared| shared.outbox.message(&id)).await {
                Ok(Some(found)) => found,
                Ok(None) => return Outcome::Done { taken: false },
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%id, error, "cannot read what webhooks are to be told");
                    return Outcome::Failed;
                }
            };
        let delivered = deliver(&self.endpoint, &shared.tls, &shared.keys, &message).await;
        if let Err(error) = &delivered {
            shared.counters.failed.fetch_add(1, Ordering::Relaxed);
            let waited = unix(SystemTime::now()).saturating_sub(since);
            if !(error.is_final() || waited >= PATIENCE.as_secs()) {
                self.log_failure(id, due.failures, error);
                return Outcome::Failed;
            }
            shared.counters.given_up.fetch_add(1, Ordering::Relaxed);
            let (endpoint, error) = (self.endpoint.authority(), error as &dyn std::error::Error);
            tracing::error!(%id, endpoint, error, "a webhook is not told of an upload: it will not be tried again");
        } else {
            shared.counters.delivered.fetch_add(1, Ordering::Relaxed);
        }
        let name = self.name.clone();
        let settled = blocking(shared, move |shared| shared.outbox.settle(&id, &name)).await;
        if let Err(error) = settled {
            let error = &error as &dyn std::error::Error;
            tracing::error!(%id, error, "a webhook will be told of an upload again after the next start");
        }
        Outcome::Done {
            taken: delivered.is_ok(),
        }
    }

    /// The first failure is news, and what goes on for long is not.
    fn log_failure(&self, id: UploadId, failures: u32, error: &DeliveryError) {
        let (endpoint, error) = (self.endpoint.authority(), error as &dyn std::error::Error);
        if failures == 0 {
            tracing::warn!(%id, endpoint, error, "a webhook could not be told of an upload; trying again");
        } else {
            tracing::debug!(%id, endpoint, error, failures, "a webhook could not be told of an upload");
        }
    }
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let shared = Arc::clone(shared);
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.unwrap_or_else(|error| {
        let error = std::io::Error::other(error);
        Err(StoreError::io("change", "the outbox", error))
    })
}

/// How long to wait after so many failures before this one. Half of it is random, so that what failed together does not come
/// back together.
fn pause(failures: u32) -> Duration {
    let longest = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    let random = getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX));
    longest.mul_f64(0.5 + 0.5 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds() {
        let mut longest = FIRST;
        for failures in 0..100 {
            let pause = pause(failures);
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
            longest = (longest * 2).min(LONGEST);
        }
    }
}
