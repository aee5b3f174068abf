//! One of several servers that share a store. Each says that it is alive, and one of them does what has to be done once for all.

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::http::NodeStatus;
use crate::store::{Day, Lease, NodeId, Nodes, RecordName, RecordStore, Store, StoreError};

/// How often a server says that it is alive, and renews what it holds.
pub(super) const BEAT: Duration = Duration::from_secs(10);
/// How long it may be silent before another one does what it did.
const LEASE: Duration = Duration::from_secs(30);
/// What it is called that one server does for all.
const UPKEEP: &str = "upkeep";

/// This server.
pub(super) struct Node {
    id: NodeId,
    records: Arc<dyn RecordStore>,
    nodes: Nodes,
    upkeep: RecordName,
    lease: Mutex<Option<Lease>>,
    /// Until when the lease is held. Asked while it is being renewed, too.
    held: Mutex<Option<Instant>>,
    progress: Mutex<Progress>,
    status: Arc<NodeStatus>,
}

/// How far the upkeep has come, for whoever goes on with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Resumable uploads that began before have been looked at.
    pub(super) sessions: Option<SystemTime>,
    /// What was staged on days up to this one has been looked at.
    pub(super) staged: Option<Day>,
}

/// The same as it is written down.
#[derive(Default, Serialize, Deserialize)]
struct Written {
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sessions: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    staged: Option<String>,
}

impl Progress {
    fn to_text(self) -> String {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        let written = Written {
            sessions: self.sessions.and_then(seconds).map(|since| since.as_secs()),
            staged: self.staged.map(|day| day.to_string()),
        };
        serde_json::to_string(&written).expect("a number and a day are JSON")
    }

    /// What cannot be understood is looked at anew.
    fn parse(text: &str) -> Self {
        let written: Written = serde_json::from_str(text).unwrap_or_default();
        let time = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        Self {
            sessions: written.sessions.and_then(time),
            staged: written.staged.and_then(|day| Day::from_str(&day).ok()),
        }
    }
}

impl Node {
    /// This server, where the store is one that others may use too.
    pub(super) fn of(store: &Arc<dyn Store>) -> Option<Arc<Self>> {
        if !store.is_shared() {
            return None;
        }
        let records: Arc<dyn RecordStore> = Arc::clone(store) as _;
        Some(Arc::new(Self::new(records)))
    }

    fn new(records: Arc<dyn RecordStore>) -> Self {
        let id = NodeId::generate();
        Self {
            id,
            nodes: Nodes::new(Arc::clone(&records)),
            records,
            upkeep: UPKEEP.parse().expect("it is the name of a record"),
            lease: Mutex::default(),
            held: Mutex::default(),
            progress: Mutex::default(),
            status: Arc::new(NodeStatus::new(id)),
        }
    }

    pub(super) fn id(&self) -> NodeId {
        self.id
    }

    /// What others may see of it.
    pub(super) fn status(&self) -> Arc<NodeStatus> {
        Arc::clone(&self.status)
    }

    /// Whether the upkeep is this server's now.
    pub(super) fn has_upkeep(&self) -> bool {
        lock(&self.held).is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn progress(&self) -> Progress {
        *lock(&self.progress)
    }

    /// Notes how far the upkeep has come; it is written down with the next [`beat`](Self::beat).
    pub(super) fn has_come(&self, note: impl FnOnce(&mut Progress)) {
        note(&mut lock(&self.progress));
    }

    /// Whether a server is dead.
    pub(super) fn is_dead(&self, id: &NodeId) -> Result<bool, StoreError> {
        Ok(!self.nodes.is_alive(id, SystemTime::now())?)
    }

    /// Forgets servers that have long been dead.
    pub(super) fn sweep(&self) -> Result<usize, StoreError> {
        self.nodes.sweep(SystemTime::now())
    }

    /// Says that it is alive, and keeps or takes the upkeep. What the first takes the second does not count with: each asks `clock`
    /// anew. Blocks.
    pub(super) fn beat(&self, clock: impl Fn() -> SystemTime) -> Result<(), StoreError> {
        let refreshed = self.nodes.refresh(&self.id, clock());
        let kept = self.keep_upkeep(&clock);
        let has = self.has_upkeep();
        if self.status.set_upkeep(has) != has && has {
            tracing::info!(node = %self.id, "this server looks after the store from now on, for all that share it");
        }
        refreshed.and(kept)
    }

    fn keep_upkeep(&self, clock: &impl Fn() -> SystemTime) -> Result<(), StoreError> {
        let mut lease = lock(&self.lease);
        // In this order: others take it no sooner than this server holds it no more.
        let until = Instant::now() + LEASE;
        let now = clock();
        let (kept, outcome) = match lease.take() {
            Some(mut lease) => match lease.renew(&*self.records, self.progress().to_text(), now) {
                Ok(true) => (Some(lease), Ok(())),
                Ok(false) => {
                    tracing::warn!(node = %self.id, "another server looks after the store: this one was silent for too long");
                    (None, Ok(()))
                }
                // Perhaps it can be renewed before it ends.
                Err(error) => (Some(lease), Err(error)),
            },
            None => match Lease::take(&*self.records, &self.upkeep, &self.id, LEASE, now) {
                Ok(lease) => (lease, Ok(())),
                Err(error) => (None, Err(error)),
            },
        };
        match (&outcome, &kept) {
            (Ok(()), Some(_)) => *lock(&self.held) = Some(until),
            (_, None) => *lock(&self.held) = None,
            (Err(_), Some(_)) => {}
        }
        if let (Ok(()), Some(lease)) = (&outcome, &kept) {
            // What this one has noted since it wrote it down last is not forgotten.
            let written = Progress::parse(lease.state());
            self.has_come(|progress| {
                progress.sessions = progress.sessions.max(written.sessions);
                progress.staged = progress.staged.max(written.staged);
            });
        }
        *lease = kept;
        outcome
    }

    /// Lets others have what it held, at once. Blocks.
    pub(super) fn leave(&self) {
        let lease = lock(&self.lease).take();
        *lock(&self.held) = None;
        self.status.set_upkeep(false);
        let given_up = match lease {
            Some(lease) => lease.give_up(&*self.records, self.progress().to_text()),
            None => Ok(()),
        };
        if let Err(error) = given_up.and_then(|()| self.nodes.leave(&self.id)) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "the other servers will find out by themselves that this one has ended"
            );
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in them is replaced as a whole, so a panic elsewhere cannot have left it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use tempfile::TempDir;

    use super::*;
    use crate::store::LocalRecords;

    #[test]
    fn one_of_two_has_the_upkeep_and_the_other_goes_on_with_it() {
        let data = TempDir::new().unwrap();
        let node = || Node::new(Arc::new(LocalRecords::open(data.path()).unwrap()));
        let (one, other) = (node(), node());
        let now = SystemTime::now();
        one.beat(|| now).unwrap();
        other.beat(|| now).unwrap();
        assert!(one.has_upkeep() && !other.has_upkeep());
        assert!(!other.is_dead(&one.id()).unwrap());
        let sessions = UNIX_EPOCH + Duration::from_hours(500_000);
        let staged = "2026-11-23".parse().unwrap();
        one.has_come(|progress| {
            progress.sessions = Some(sessions);
            progress.staged = Some(staged);
        });
        one.beat(|| now + BEAT).unwrap();
        // It dies, and nobody is told.
        other.beat(|| now + BEAT + LEASE / 2).unwrap();
        assert!(!other.has_upkeep());
        other.beat(|| now + BEAT + LEASE * 2).unwrap();
        assert!(other.has_upkeep());
        let expected = Progress {
            sessions: Some(sessions),
            staged: Some(staged),
        };
        assert_eq!(other.progress(), expected);
        // It was only silent.
        one.beat(|| now + BEAT + LEASE * 2).unwrap();
        assert!(!one.has_upkeep());
        other.leave();
        assert!(!other.has_upkeep() && one.is_dead(&other.id()).unwrap());
        one.beat(SystemTime::now).unwrap();
        assert!(one.has_upkeep());
    }

    #[test]
    fn the_upkeep_lasts_as_long_however_long_it_took_to_say_that_one_is_alive() {
        let data = TempDir::new().unwrap();
        let node = || Node::new(Arc::new(LocalRecords::open(data.path()).unwrap()));
        let (one, other) = (node(), node());
        let (now, took) = (SystemTime::now(), LEASE / 2);
        let asked = AtomicU32::new(0);
        // Each time that it is asked, so much later.
        let clock = || now + took * asked.fetch_add(1, Relaxed);
        one.beat(clock).unwrap();
        other.beat(|| now + took + LEASE).unwrap();
        assert!(one.has_upkeep() && !other.has_upkeep());
    }

    #[test]
    fn what_is_written_of_the_progress_is_read_again() {
        for progress in [
            Progress::default(),
            Progress {
                sessions: Some(UNIX_EPOCH + Duration::from_secs(7)),
                staged: Some("1970-01-01".parse().unwrap()),
            },
        ] {
            assert_eq!(Progress::parse(&progress.to_text()), progress);
        }
        for text in ["", "{}", "[]", "{\"sessions\":-1}", "{\"staged\":\"x\"}"] {
            assert_eq!(Progress::parse(text), Progress::default(), "{text}");
        }
    }
}
