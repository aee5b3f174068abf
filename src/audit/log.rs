//! The log as everybody else sees it: entries are taken from any thread and written by one.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use super::AuditError;
use super::chain::Hash;
use super::entry::{Entry, Event};
use super::pieces::Pieces;
use super::refusals::Refusals;
use super::sink::{Sink, Stamped};
use super::writer::Writer;
use crate::store::{LogStore, NodeId, Store};

/// After how long what was written is synced, where nobody waits for it.
const SYNC_AFTER: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often the head is told, where there is a new one.
const TELL_HEAD: Duration = Duration::from_hours(1);
/// Entries that wait while the log cannot be written. Uploads are refused then, so they are few.
const MAX_WAITING: usize = 10_000;
/// Entries that are written in one call.
const MAX_BATCH: usize = 256;

/// An append-only log of who did what.
pub struct AuditLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    given: Condvar,
    /// Something was written or synced, or could not be.
    done: Condvar,
}

/// Entries are numbered in the order in which they are given, beginning with 1.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Stamped>,
    refusals: Refusals,
    given: u64,
    written: u64,
    synced: u64,
    /// The last entry that somebody waits for.
    wanted: u64,
    failing: bool,
    lost: u64,
    closing: bool,
    head: Option<Hash>,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes an entry, and gives its number. `None`: there are too many already.
    fn push(&mut self, mut entry: Entry) -> Option<u64> {
        if self.waiting.len() >= MAX_WAITING {
            self.lost += 1;
            return None;
        }
        if self.lost > 0 {
            entry.lost = Some(std::mem::take(&mut self.lost));
        }
        let time = SystemTime::now();
        self.waiting.push_back(Stamped { time, entry });
        self.given += 1;
        Some(self.given)
    }

    /// Ends the window in which refusals are counted.
    fn push_counted(&mut self) {
        for entry in self.refusals.drain() {
            self.push(entry);
        }
    }
}

impl AuditLog {
    /// Opens the log at `path`, or begins one, and writes that the server has started. Blocks.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        Self::begin(Box::new(Writer::open(path)?))
    }

    /// Begins the log of a server in the store that it shares with others, and writes that it has started. Blocks.
    pub fn open_in(store: Arc<dyn Store>, node: &NodeId) -> Result<Self, AuditError> {
        let logs = store.logs().ok_or(AuditError::NotHere)?;
        Self::begin_in(logs, node)
    }

    pub(super) fn begin_in(logs: Arc<dyn LogStore>, node: &NodeId) -> Result<Self, AuditError> {
        Self::begin(Box::new(Pieces::new(logs, node.into())))
    }

    fn begin(mut writer: Box<dyn Sink>) -> Result<Self, AuditError> {
        // Told here and not by the thread, so that a log that cannot be written is an error with its cause.
        let started = Stamped {
            time: SystemTime::now(),
            entry: Entry::new(Event::Started),
        };
        writer.write(&[started]).1?;
        writer.sync()?;
        tell_head(&*writer, "the audit log goes on");
        let shared = Arc::new(Shared::default());
        shared.queue().head = Some(writer.head().1);
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("audit".to_owned())
                .spawn(move || run(&shared, &mut *writer))
                .map_err(AuditError::Thread)?
        };
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Whether the last write failed: what must not happen without a line may not happen now.
    pub fn is_failing(&self) -> bool {
        self.shared.queue().failing
    }

    /// Takes an entry, to be written at once and synced within a second. Does not block.
    pub fn append(&self, entry: Entry) {
        self.shared.queue().push(entry);
        self.shared.given.notify_one();
    }

    /// Takes an entry about a refused request. Of the same kind from the same address one is written a minute, and the
    /// others are counted in a later line, so that nobody can fill the disk with what is refused.
    pub fn append_refusal(&self, entry: Entry) {
        let mut queue = self.shared.queue();
        for entry in queue.refusals.take(entry, Instant::now()) {
            queue.push(entry);
        }
        drop(queue);
        self.shared.given.notify_one();
    }

    /// Takes an entry and waits until it is durable, with all others that wait for the same sync. Blocks.
    ///
    /// An entry that cannot be written now is kept all the same, and written when that is possible again.
    pub fn append_durably(&self, entry: Entry) -> Result<(), AuditError> {
        let mut queue = self.shared.queue();
        let number = queue.push(entry).ok_or(AuditError::Failing)?;
        queue.wanted = queue.wanted.max(number);
        self.shared.given.notify_one();
        while queue.synced < number {
            if queue.failing || (queue.closing && queue.head.is_none()) {
                return Err(AuditError::Failing);
            }
            queue = self
                .shared
                .done
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Writes what is left, and that the server has stopped, and makes it durable. Blocks.
    pub fn close(&self) {
        let Some(thread) = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        else {
            return;
        };
        let mut queue = self.shared.queue();
        queue.push_counted();
        queue.push(Entry::new(Event::Stopped));
        queue.closing = true;
        drop(queue);
        self.shared.given.notify_one();
        // A panic in it has been logged.
        let _ = thread.join();
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the writing thread remembers between its rounds.
struct Rounds {
    /// Since when something is written and not synced.
    dirty: Option<Instant>,
    told: Instant,
    told_seq: u64,
    /// Whether what nobody waits for is gathered for a while.
    gathers: bool,
    /// A sync failed: what the disk holds is not known, and only a start that reads it again can go on.
    broken: bool,
}

fn run(shared: &Shared, writer: &mut dyn Sink) {
    let mut rounds = Rounds {
        dirty: None,
        told: Instant::now(),
        told_seq: writer.head().0,
        gathers: writer.gathers(),
        broken: false,
    };
    loop {
        let (batch, wanted, closing) = next(shared, &rounds);
        let done = round(writer, &mut rounds, &batch, wanted, closing);
        let mut queue = shared.queue();
        queue.written += done.written as u64;
        // What was not written waits where it was.
        for stamped in batch.into_iter().skip(done.written).rev() {
            queue.waiting.push_front(stamped);
        }
        if rounds.dirty.is_none() && !rounds.broken {
            queue.synced = queue.written;
        }
        let failed = done.failed.is_some();
        if let Some(error) = &done.failed
            && !queue.failing
        {
            let error = error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the audit log cannot be written: no uploads are taken"
            );
        } else if queue.failing && !failed {
            tracing::warn!("the audit log can be written again");
        }
        queue.failing = failed;
        queue.head = Some(writer.head().1);
        let ended = closing && (failed || queue.waiting.is_empty());
        if ended {
            queue.head = None;
        }
        drop(queue);
        shared.done.notify_all();
        if ended {
            tell_head(writer, "the audit log ends");
            return;
        }
        if rounds.told.elapsed() >= TELL_HEAD {
            rounds.told = Instant::now();
            if std::mem::replace(&mut rounds.told_seq, writer.head().0) != writer.head().0 {
                tell_head(writer, "the audit log has come this far");
            }
        }
    }
}

/// Waits for work: entries, a sync that is due, or a try after a failure.
fn next(shared: &Shared, rounds: &Rounds) -> (Vec<Stamped>, bool, bool) {
    let began = Instant::now();
    let mut queue = shared.queue();
    loop {
        let counted = queue.refusals.due(Instant::now());
        if counted.is_some_and(|due| due.is_zero()) {
            queue.push_counted();
        }
        let pause = if queue.failing {
            RETRY_AFTER.saturating_sub(began.elapsed())
        } else if queue.wanted > queue.synced {
            Duration::ZERO
        } else if let Some(first) = queue.waiting.front() {
            // A clock that was set does not keep it.
            let waited = first.time.elapsed().unwrap_or(SYNC_AFTER);
            if rounds.gathers && queue.waiting.len() < MAX_BATCH {
                SYNC_AFTER.saturating_sub(waited)
            } else {
                Duration::ZERO
            }
        } else {
            let due = rounds
                .dirty
                .map(|since| SYNC_AFTER.saturating_sub(since.elapsed()));
            let tell = TELL_HEAD.saturating_sub(rounds.told.elapsed());
            [due, queue.refusals.due(Instant::now())]
                .into_iter()
                .flatten()
                .fold(tell, Duration::min)
        };
        if pause.is_zero() || queue.closing {
            let batch = queue.waiting.len().min(MAX_BATCH);
            let batch = queue.waiting.drain(..batch).collect();
            return (batch, queue.wanted > queue.synced, queue.closing);
        }
        let waited = shared.given.wait_timeout(queue, pause);
        queue = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// What came of a round.
struct Done {
    written: usize,
    failed: Option<AuditError>,
}

fn round(
    writer: &mut dyn Sink,
    rounds: &mut Rounds,
    batch: &[Stamped],
    wanted: bool,
    closing: bool,
) -> Done {
    let failed = |written, error| Done {
        written,
        failed: Some(error),
    };
    if rounds.broken {
        return failed(0, AuditError::Failing);
    }
    if let Err(error) = writer.follow() {
        return failed(0, error);
    }
    let (written, result) = writer.write(batch);
    if written > 0 {
        rounds.dirty.get_or_insert_with(Instant::now);
    }
    if let Err(error) = result {
        return failed(written, error);
    }
    let late = rounds
        .dirty
        .is_some_and(|since| since.elapsed() >= SYNC_AFTER);
    if rounds.dirty.is_some() && (wanted || closing || late) {
        if let Err(error) = writer.sync() {
            rounds.broken = true;
            return failed(written, error);
        }
        rounds.dirty = None;
    }
    Done {
        written,
        failed: None,
    }
}

/// The head, where whoever changes the log afterwards cannot change it too, as long as logs go elsewhere.
fn tell_head(writer: &dyn Sink, what: &'static str) {
    let (seq, head) = writer.head();
    tracing::info!(seq, %head, "{what}");
}
