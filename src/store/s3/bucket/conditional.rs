//! Writes under a condition. Where an engine has none, servers take turns by tickets.
//!
//! A ticket is an object in a folder of the object that is to be written. Whoever put one and then finds no other there has the lock;
//! everybody else takes theirs away and tries again after a while. A list shows every ticket that was put before it was asked for, so
//! no two find themselves alone. Whoever has the lock asks for nothing more after [`HOLD`]; a ticket that is older than [`DEAD`] by
//! the engine's own clock is of somebody who died, and anybody may take it away.
//!
//! With conditions, a write whose answer was lost is found where it was put. Where something else is found, another server may have
//! written over it: then nobody can tell, and it is neither done nor not, but [`BucketError::Unclear`].
//!
//! A write that came to no answer may yet be done by the engine. Its ticket stays, so that nobody else writes before it is dead. What
//! an engine does later than that may go over what another wrote.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::error::BucketError;
use super::list;
use super::requests::{Condition, Requests};
use super::{ETag, Listed, Notes, random_name};

/// How long whoever has a lock may write.
const HOLD: Duration = Duration::from_secs(20);
/// Older tickets do not count. A write that began at the end of [`HOLD`] has the time left to be done, longer than one is waited for.
const DEAD: Duration = Duration::from_mins(1);
/// How long to try to get a lock.
const WAIT: Duration = Duration::from_secs(20);
/// How long to try to give up the place in the queue.
const LEAVE: Duration = Duration::from_secs(5);
/// How often to write again where another write was under way.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);
/// Tickets that are looked at.
const TICKETS: usize = 100;

/// What became of a write under a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Done,
    /// The condition was not met. What is there is another's.
    Not,
}

/// Puts an object where there is none.
pub(super) async fn create(
    requests: &Requests,
    key: &str,
    body: &Bytes,
    notes: &Notes,
) -> Result<Written, BucketError> {
    let mut in_doubt = false;
    for attempt in 0..TRIES {
        let put = requests.put(key, body.clone().into(), notes, &Condition::Nothing);
        match put.await {
            Ok(_) => return Ok(Written::Done),
            Err(error) if error.is_conflict() => in_doubt |= error.is_after_doubt(),
            Err(error) if in_doubt => return Err(error.in_doubt()),
            Err(error) => return Err(error),
        }
        // What was put may be there, whatever is said now.
        let found = found(requests, key, body, notes).await;
        match found.map_err(BucketError::in_doubt)? {
            // The answer to what wrote it was lost.
            Found::Same => return Ok(Written::Done),
            Found::Other(_) => return not_found(in_doubt),
            Found::Nothing => pause(attempt).await,
        }
    }
    Err(BucketError::Contended)
}

/// Puts an object in the place of `old`.
pub(super) async fn replace(
    requests: &Requests,
    key: &str,
    old: &ETag,
    body: &Bytes,
    notes: &Notes,
) -> Result<Written, BucketError> {
    let condition = Condition::Still(old.clone());
    let mut in_doubt = false;
    for attempt in 0..TRIES {
        let put = requests.put(key, body.clone().into(), notes, &condition);
        match put.await {
            Ok(_) => return Ok(Written::Done),
            Err(error) if error.is_conflict() || error.is_missing() => {
                in_doubt |= error.is_after_doubt();
            }
            Err(error) => return Err(error),
        }
        match found(requests, key, body, notes).await? {
            Found::Same => return Ok(Written::Done),
            Found::Other(etag) if etag == *old => pause(attempt).await,
            Found::Other(_) | Found::Nothing => return not_found(in_doubt),
        }
    }
    Err(BucketError::Contended)
}

/// What became of a write that is not what is there. `in_doubt`: it may have been done, and another one over it.
fn not_found(in_doubt: bool) -> Result<Written, BucketError> {
    if in_doubt {
        Err(BucketError::Unclear)
    } else {
        Ok(Written::Not)
    }
}

/// [`create`] where the engine has no conditions.
pub(super) async fn create_in_turn(
    requests: &Requests,
    key: &str,
    body: &Bytes,
    notes: &Notes,
) -> Result<Written, BucketError> {
    in_turn(requests, key, body, notes, None).await
}

/// [`replace`] where the engine has no conditions.
pub(super) async fn replace_in_turn(
    requests: &Requests,
    key: &str,
    old: &ETag,
    body: &Bytes,
    notes: &Notes,
) -> Result<Written, BucketError> {
    in_turn(requests, key, body, notes, Some(old)).await
}

/// Puts an object in the place of `old`, or where there is none, while nobody else does.
async fn in_turn(
    requests: &Requests,
    key: &str,
    body: &Bytes,
    notes: &Notes,
    old: Option<&ETag>,
) -> Result<Written, BucketError> {
    let ticket = match lock(requests, key).await {
        Err(BucketError::Contended) => {
            // The lock may be of a write like this one, which came to no answer and was done all the same.
            return match found(requests, key, body, notes).await? {
                Found::Same => Ok(Written::Done),
                Found::Other(_) | Found::Nothing => Err(BucketError::Contended),
            };
        }
        ticket => ticket?,
    };
    let looking = timeout_at(ticket.until, found(requests, key, body, notes)).await;
    let written = match looking.unwrap_or(Err(BucketError::TimedOut)) {
        Ok(Found::Same) => Ok(Written::Done),
        Ok(there) if there.is_as_expected(old) => {
            let put = requests.put(key, body.clone().into(), notes, &Condition::Always);
            let put = timeout_at(ticket.until, put).await;
            match put.unwrap_or(Err(BucketError::TimedOut)) {
                // The engine may yet do it: the ticket stays.
                Err(error) if error.is_passing() || error.is_after_doubt() => return Err(error),
                put => put.map(|_| Written::Done),
            }
        }
        Ok(_) => Ok(Written::Not),
        Err(error) => Err(error),
    };
    // What stays there dies of old age.
    let _ = timeout(LEAVE, requests.delete(&ticket.key)).await;
    written
}

/// What is where something was to be written.
enum Found {
    Nothing,
    /// The same bytes and notes: no two writers have the same.
    Same,
    /// Others, and what they are told apart by.
    Other(ETag),
}

impl Found {
    /// Whether it is `old` that is there, or nothing where nothing was expected.
    fn is_as_expected(&self, old: Option<&ETag>) -> bool {
        match self {
            Self::Nothing => old.is_none(),
            Self::Same => false,
            Self::Other(etag) => Some(etag) == old,
        }
    }
}

async fn found(
    requests: &Requests,
    key: &str,
    body: &Bytes,
    notes: &Notes,
) -> Result<Found, BucketError> {
    // What is there may be longer, and is another's then; to read a little more of it tells which.
    match requests.get(key, body.len() as u64).await {
        Ok(object) if object.bytes == *body && notes.are_among(&object.notes) => Ok(Found::Same),
        Ok(object) => Ok(Found::Other(object.etag)),
        Err(BucketError::TooLong(_)) => match requests.head(key).await {
            Ok(head) => Ok(Found::Other(head.etag)),
            Err(error) if error.is_missing() => Ok(Found::Nothing),
            Err(error) => Err(error),
        },
        Err(error) if error.is_missing() => Ok(Found::Nothing),
        Err(error) => Err(error),
    }
}

/// A while that differs, so that those who met do not meet again.
async fn pause(attempt: u32) {
    let most = PAUSE * 2u32.saturating_pow(attempt.min(4));
    let part = getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX));
    sleep(most.mul_f64(0.5 + part / 2.0)).await;
}

struct Ticket {
    key: String,
    until: Instant,
}

async fn lock(requests: &Requests, key: &str) -> Result<Ticket, BucketError> {
    let folder = format!("locks/{key}/");
    let end = Instant::now() + WAIT;
    let none = Notes::default();
    for attempt in 0.. {
        // Before it is put: from then on it grows old.
        let until = Instant::now() + HOLD;
        let key = format!("{folder}{}", ticket_name()?);
        let trying = async {
            let empty = Bytes::new().into();
            requests.put(&key, empty, &none, &Condition::Always).await?;
            is_alone(requests, &folder, &key).await
        };
        let alone = timeout_at(end, trying).await;
        let alone = alone.unwrap_or(Err(BucketError::Contended));
        if matches!(alone, Ok(true)) {
            return Ok(Ticket { key, until });
        }
        // Nothing was written under it, so that it need not hold up anybody.
        let _ = timeout(LEAVE, requests.delete(&key)).await;
        alone?;
        if timeout_at(end, pause(attempt)).await.is_err() {
            break;
        }
    }
    Err(BucketError::Contended)
}

fn ticket_name() -> Result<String, BucketError> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    Ok(format!("{seconds}-{}", random_name()?))
}

/// Whether no other ticket counts. Those that do not are taken away.
async fn is_alone(requests: &Requests, folder: &str, own: &str) -> Result<bool, BucketError> {
    let tickets = list::objects(requests, folder, None, TICKETS).await?;
    let Some(now) = tickets.objects.iter().find(|ticket| ticket.key == own) else {
        // With so many before it, or taken away as dead.
        return Ok(false);
    };
    let (dead, alive): (Vec<_>, Vec<_>) =
        (tickets.objects.iter()).partition(|ticket| is_dead(ticket, now.modified));
    for ticket in dead {
        requests.delete(&ticket.key).await?;
    }
    Ok(alive.len() == 1 && !tickets.more)
}

fn is_dead(ticket: &Listed, now: SystemTime) -> bool {
    now.duration_since(ticket.modified)
        .is_ok_and(|age| age > DEAD)
}
