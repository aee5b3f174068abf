//! What one server at a time does for all that share a store.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::nodes::{NodeId, unix};
use super::{Change, Collection, RecordName, RecordStore, StoreError};

/// How far the clocks of servers may be apart: nobody takes a lease before so long after its end.
const CLOCKS_APART: Duration = Duration::from_secs(5);
/// Bytes of the longest state that a lease keeps.
pub(super) const MAX_LEASE_STATE: usize = 64 << 10;

/// A lease that this server holds: nobody else does what it stands for until its time is over.
///
/// It has an end, so that another server goes on where the holder died. The clocks of all servers are compared, so they must be set
/// by NTP: what is promised holds while no two of them are more than five seconds apart. It saves work and is no
/// lock: what is done under it may be done twice.
#[derive(Debug)]
pub struct Lease {
    name: RecordName,
    holder: NodeId,
    /// Grows with each one who takes it, so that two times of one holder are told apart.
    turn: u64,
    time: Duration,
    until: SystemTime,
    /// The same by a clock that nobody sets.
    ends: Instant,
    state: String,
}

/// What the record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// `None`: it was given up.
    holder: Option<NodeId>,
    turn: u64,
    /// Milliseconds of Unix time.
    until: u64,
    state: String,
}

impl Lease {
    /// Takes the lease `name` for so long, where nobody holds it. The state that the last holder kept comes with it.
    pub fn take(
        records: &dyn RecordStore,
        name: &RecordName,
        holder: &NodeId,
        time: Duration,
        now: SystemTime,
    ) -> Result<Option<Self>, StoreError> {
        // Before anything is asked: what that takes is not added to the lease.
        let ends = Instant::now() + time;
        let until = now + time;
        let taken = update(records, name, |record| {
            let (turn, state) = match record {
                Some(record) if record.is_held(now) => return None,
                Some(record) => (record.turn.wrapping_add(1), record.state),
                None => (1, String::new()),
            };
            Some(Record {
                holder: Some(*holder),
                turn,
                until: unix(until),
                state,
            })
        })?;
        Ok(taken.map(|record| Self {
            name: name.clone(),
            holder: *holder,
            turn: record.turn,
            time,
            until,
            ends,
            state: record.state,
        }))
    }

    /// Whether it is held still.
    #[cfg(test)]
    pub(super) fn is_held(&self, now: SystemTime) -> bool {
        now < self.until && Instant::now() < self.ends
    }

    /// What the holder before this one, or this one, kept: where it was with its work.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Holds it for as long again from now on, and keeps `state` for this holder or the next, at most 64 KiB.
    /// `false`: it was lost, and somebody else may hold it.
    pub fn renew(
        &mut self,
        records: &dyn RecordStore,
        state: String,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let (ends, until) = (Instant::now() + self.time, now + self.time);
        let renewed = self.change(records, |record| Record {
            until: unix(until),
            state: state.clone(),
            ..record
        })?;
        if renewed {
            (self.ends, self.until, self.state) = (ends, until, state);
        } else {
            self.until = UNIX_EPOCH;
        }
        Ok(renewed)
    }

    /// Gives it up, so that others need not wait for its end, and keeps `state` for whoever takes it. One that was lost is fine.
    pub fn give_up(mut self, records: &dyn RecordStore, state: String) -> Result<(), StoreError> {
        self.state = state;
        let state = &self.state;
        self.change(records, |record| Record {
            holder: None,
            until: 0,
            state: state.clone(),
            ..record
        })
        .map(drop)
    }

    /// Changes the record where it is this holder's. Says whether it is.
    fn change(
        &self,
        records: &dyn RecordStore,
        mut change: impl FnMut(Record) -> Record,
    ) -> Result<bool, StoreError> {
        // One whose time is over is still this holder's where nobody took it since.
        let is_ours =
            |record: &Record| record.holder == Some(self.holder) && record.turn == self.turn;
        let changed = update(records, &self.name, |record| {
            record.filter(is_ours).map(&mut change)
        })?;
        Ok(changed.is_some())
    }
}

impl Record {
    fn is_held(&self, now: SystemTime) -> bool {
        let until = UNIX_EPOCH.checked_add(Duration::from_millis(self.until));
        // An end that no clock can show was never written by us.
        let free = until.and_then(|until| until.checked_add(CLOCKS_APART));
        self.holder.is_some() && free.is_some_and(|free| now < free)
    }
}

/// Puts the record that `change` gives, where it gives one, which is what this gives.
fn update(
    records: &dyn RecordStore,
    name: &RecordName,
    mut change: impl FnMut(Option<Record>) -> Option<Record>,
) -> Result<Option<Record>, StoreError> {
    let mut outcome = Ok(None);
    records.update_record(Collection::Leases, name, &mut |bytes| {
        let record = bytes.map(serde_json::from_slice).transpose();
        let Ok(record) = record else {
            outcome = Err(StoreError::DamagedRecord {
                collection: Collection::Leases.name(),
                name: name.clone(),
            });
            return Change::Keep;
        };
        let record = change(record);
        let change = match &record {
            Some(record) if record.state.len() <= MAX_LEASE_STATE => {
                Change::Put(serde_json::to_vec(record).expect("names and numbers are JSON"))
            }
            Some(_) => {
                outcome = Err(too_long(name));
                return Change::Keep;
            }
            None => Change::Keep,
        };
        outcome = Ok(record);
        change
    })?;
    outcome
}

fn too_long(name: &RecordName) -> StoreError {
    let source = std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        format!("a lease keeps at most {MAX_LEASE_STATE} bytes"),
    );
    StoreError::io("write", format!("leases/{name}"), source)
}

#[cfg(test)]
mod tests;
