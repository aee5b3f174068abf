//! Changes of one record that wait for each other in this process are written together.
//!
//! Everybody who changes a record joins the batch that is being gathered, or begins one and leads it. When the batch before has
//! been written, its leader reads the record; then each one in it applies its change to what the one before made of it, on its own
//! thread; then the leader writes what came of it, once, for all. Where another server was quicker, all of them change again what
//! that one made of it. So a record that hundreds change at once costs few requests, and they do not fight each other.

mod shared;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::shared::shared;
use crate::store::{Change, MAX_RECORD, StoreError};

/// How often a write is tried before other servers, and for how long.
const TRIES: u32 = 60;
const TIME: Duration = Duration::from_secs(30);
/// How long is waited before the next try: up to so long, longer each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(800);
/// Changes in one batch.
const MOST: usize = 512;

/// A record, or that there is none, and what tells it from what was put there since.
pub(super) type Found<V> = (Option<Vec<u8>>, V);

/// Where one record is.
pub(super) trait Place {
    /// Tells what was read from what was put there since.
    type Version;

    /// What is there; `None` where that cannot be told yet.
    fn read(&self) -> Result<Option<Found<Self::Version>>, StoreError>;

    /// Puts a record there, or nothing. `false`, and nothing done, where it is not as it was read any more.
    fn write(&self, version: Self::Version, record: Option<Vec<u8>>) -> Result<bool, StoreError>;
}

/// The changes under way, by the name of what they change.
pub(super) struct Together<K> {
    queues: Mutex<HashMap<K, Arc<Queue>>>,
}

/// The batches of one record.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    freed: Condvar,
}

#[derive(Default)]
struct QueueState {
    /// Whether a batch is being read and written.
    busy: bool,
    /// The batch that others may join.
    open: Option<Arc<Batch>>,
}

#[derive(Default)]
struct Batch {
    round: Mutex<Round>,
    changed: Condvar,
}

/// One time that the members of a batch change what was read.
#[derive(Default)]
struct Round {
    /// 0 before anything was read.
    number: u32,
    /// As the changes so far leave it.
    record: Option<Vec<u8>>,
    /// Whether one of them changed anything.
    touched: bool,
    /// Whether changes are taken now.
    applying: bool,
    members: usize,
    applied: usize,
    outcome: Option<Result<(), Arc<StoreError>>>,
}

impl<K: Clone + Eq + Hash> Together<K> {
    pub(super) fn new() -> Self {
        let queues = Mutex::default();
        Self { queues }
    }

    /// Changes the record at `place`, which `key` names.
    pub(super) fn update<P: Place>(
        &self,
        key: &K,
        place: &P,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        let queue = Arc::clone(lock(&self.queues).entry(key.clone()).or_default());
        let (batch, leads) = queue.join();
        let mut member = Member::new(&batch, change);
        let done = if leads {
            let turn = queue.take_turn();
            let led = lead(&turn, &mut member, place);
            drop(turn);
            led
        } else {
            member.follow()
        };
        let mut queues = lock(&self.queues);
        // Joined only under the lock: with the map's own there are just these two.
        drop(member);
        if Arc::strong_count(&queue) == 2 {
            queues.remove(key);
        }
        // Under the lock as well: the next one, who may be the last, would still count it.
        drop(queue);
        done
    }
}

impl Queue {
    /// The batch that is being gathered, and whether it is the caller's to lead.
    fn join(&self) -> (Arc<Batch>, bool) {
        let mut state = lock(&self.state);
        if let Some(batch) = &state.open {
            let mut round = lock(&batch.round);
            if round.members < MOST && round.outcome.is_none() {
                round.members += 1;
                return (Arc::clone(batch), false);
            }
        }
        let batch = Arc::new(Batch::default());
        lock(&batch.round).members = 1;
        state.open = Some(Arc::clone(&batch));
        (batch, true)
    }

    /// Waits for the batches before.
    fn take_turn(&self) -> Turn<'_> {
        let state = lock(&self.state);
        wait_while(&self.freed, state, |state| state.busy).busy = true;
        Turn { queue: self }
    }
}

/// What the changes of a batch made of the record.
struct Changed(Option<Vec<u8>>);

/// Whoever has it reads and writes the record.
struct Turn<'a> {
    queue: &'a Queue,
}

impl Turn<'_> {
    /// Waits until all in the batch have changed what was read, and lets nobody join any more. Gives what came of it, where
    /// anything was changed.
    fn close(&self, batch: &Arc<Batch>) -> Option<Changed> {
        loop {
            let round = lock(&batch.round);
            drop(wait_while(&batch.changed, round, |round| {
                round.applied < round.members
            }));
            let mut state = lock(&self.queue.state);
            let mut round = lock(&batch.round);
            // Somebody may have joined in between.
            if round.applied < round.members {
                continue;
            }
            state.open.take_if(|open| Arc::ptr_eq(open, batch));
            round.applying = false;
            return round.touched.then(|| Changed(round.record.take()));
        }
    }

    /// Lets nobody join any more, whatever became of the batch.
    fn end(&self, batch: &Arc<Batch>) {
        let mut state = lock(&self.queue.state);
        state.open.take_if(|open| Arc::ptr_eq(open, batch));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.queue.state).busy = false;
        self.queue.freed.notify_one();
    }
}

/// One who changes the record with others.
struct Member<'a> {
    batch: &'a Arc<Batch>,
    change: &'a mut dyn FnMut(Option<&[u8]>) -> Change,
    /// The last round that it changed something in.
    round: u32,
    /// What was wrong with its own change then.
    refused: Option<StoreError>,
}

impl<'a> Member<'a> {
    fn new(batch: &'a Arc<Batch>, change: &'a mut dyn FnMut(Option<&[u8]>) -> Change) -> Self {
        Self {
            batch,
            change,
            round: 0,
            refused: None,
        }
    }

    /// Changes what the leader reads, as often as it does, until it has been written.
    fn follow(&mut self) -> Result<(), StoreError> {
        loop {
            let round = lock(&self.batch.round);
            let seen = self.round;
            let mut round = wait_while(&self.batch.changed, round, |round| {
                round.outcome.is_none() && !(round.applying && round.number > seen)
            });
            if let Some(outcome) = &round.outcome {
                let outcome = outcome.clone();
                drop(round);
                return self.end(outcome);
            }
            self.apply(&mut round);
        }
    }

    fn apply(&mut self, round: &mut Round) {
        self.refused = None;
        match (self.change)(round.record.as_deref()) {
            Change::Keep => {}
            Change::Put(bytes) if bytes.len() > MAX_RECORD => {
                self.refused = Some(super::too_large());
            }
            Change::Put(bytes) => {
                round.record = Some(bytes);
                round.touched = true;
            }
            // Nothing to remove.
            Change::Remove if round.record.is_none() => {}
            Change::Remove => {
                round.record = None;
                round.touched = true;
            }
        }
        self.round = round.number;
        round.applied += 1;
        self.batch.changed.notify_all();
    }

    fn end(&mut self, outcome: Result<(), Arc<StoreError>>) -> Result<(), StoreError> {
        match (outcome, self.refused.take()) {
            (Err(error), _) => Err(shared(error)),
            (Ok(()), Some(refused)) => Err(refused),
            (Ok(()), None) => Ok(()),
        }
    }
}

impl Drop for Member<'_> {
    /// Where a change panicked, the others go on without it.
    fn drop(&mut self) {
        let mut round = lock(&self.batch.round);
        round.members -= 1;
        if self.round == round.number {
            round.applied = round.applied.saturating_sub(1);
        }
        self.batch.changed.notify_all();
    }
}

/// Reads, lets all in the batch change, and writes, until nobody else was quicker. Whatever ends it is the batch's end.
fn lead<P: Place>(turn: &Turn<'_>, member: &mut Member<'_>, place: &P) -> Result<(), StoreError> {
    let mut ending = Ending {
        turn,
        batch: Arc::clone(member.batch),
        outcome: Err(StoreError::Unavailable {
            source: "whoever wrote it broke off".into(),
        }),
    };
    ending.outcome = write_together(turn, member, place);
    member.end(ending.tell())
}

fn write_together<P: Place>(
    turn: &Turn<'_>,
    member: &mut Member<'_>,
    place: &P,
) -> Result<(), StoreError> {
    let batch = Arc::clone(member.batch);
    let begun = Instant::now();
    for tried in 0..TRIES {
        pause(tried);
        if begun.elapsed() > TIME {
            break;
        }
        let Some((record, version)) = place.read()? else {
            continue;
        };
        let mut round = lock(&batch.round);
        round.number += 1;
        (round.record, round.touched) = (record, false);
        (round.applying, round.applied) = (true, 0);
        member.apply(&mut round);
        drop(round);
        let Some(Changed(record)) = turn.close(&batch) else {
            return Ok(());
        };
        if place.write(version, record)? {
            return Ok(());
        }
    }
    Err(StoreError::Unavailable {
        source: "other servers change the same record all the time".into(),
    })
}

/// Tells all in a batch how it ended, also where its leader panicked.
struct Ending<'a> {
    turn: &'a Turn<'a>,
    batch: Arc<Batch>,
    outcome: Result<(), StoreError>,
}

impl Ending<'_> {
    fn tell(&mut self) -> Result<(), Arc<StoreError>> {
        let outcome = std::mem::replace(&mut self.outcome, Ok(())).map_err(Arc::new);
        self.turn.end(&self.batch);
        let mut round = lock(&self.batch.round);
        let told = round.outcome.get_or_insert(outcome).clone();
        self.batch.changed.notify_all();
        told
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let _ = self.tell();
    }
}

/// Waits before a try, if it is not the first one; for a random time, so that servers that were in each other's way are not again.
fn pause(tried: u32) {
    if tried == 0 {
        return;
    }
    let most = FIRST_PAUSE
        .saturating_mul(1 << tried.min(10))
        .min(LAST_PAUSE);
    // Without randomness it is half of that.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    std::thread::sleep(most.mul_f64(f64::from(random) / f64::from(u32::MAX)));
}

/// What a panic leaves is whole: nothing is changed in steps that could be interrupted.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits while `condition` holds. The standard library's own gives up waiting where something panicked.
fn wait_while<'a, T>(
    changed: &Condvar,
    mut guard: MutexGuard<'a, T>,
    condition: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    while condition(&guard) {
        guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
    guard
}

#[cfg(test)]
mod tests;
