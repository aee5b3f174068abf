//! What one server has in hand of what is left of the quota.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::measured::{self, Usage};
use crate::store::{RecordStore, StoreError};

/// A server takes a thousandth of the quota more than it needs, but not less or more than this.
const LEAST_MORE: u64 = 64 << 20;
const MOST_MORE: u64 = 1 << 30;
/// How long what was left is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// What one server has in hand.
pub(super) struct Shares {
    records: Arc<dyn RecordStore>,
    quota: u64,
    /// Bytes that are taken of the quota, and not used yet.
    in_hand: Mutex<u64>,
    /// Held by whoever takes more, so that those who wait for it find what is in hand then.
    taking: Mutex<()>,
    /// How many bytes all servers had taken when it was last looked, and when that was.
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Shares {
    /// The record is there.
    pub(super) fn new(records: Arc<dyn RecordStore>, quota: u64) -> Self {
        Self {
            records,
            quota,
            in_hand: Mutex::new(0),
            taking: Mutex::new(()),
            seen: Mutex::new(None),
        }
    }

    fn more(&self) -> u64 {
        (self.quota / 1000).clamp(LEAST_MORE, MOST_MORE)
    }

    pub(super) fn take(&self, bytes: u64) -> Result<(), StoreError> {
        if self.spend(bytes) {
            self.share();
            return Ok(());
        }
        let _taking = lock(&self.taking);
        let had = self.spend_up_to(bytes);
        let needed = bytes - had;
        if needed == 0 {
            return Ok(());
        }
        let mut granted = 0;
        let taken = self.put(|taken| {
            granted = self.grant(taken, needed)?;
            Some(taken + granted)
        });
        let unused = match taken {
            Ok(true) => granted - needed,
            // What was granted may be taken or not. It is not used, so the quota holds.
            Ok(false) | Err(_) => had,
        };
        *lock(&self.in_hand) += unused;
        match taken {
            Ok(true) => Ok(()),
            // Something may have been deleted meanwhile.
            Ok(false) if self.spend(bytes) => Ok(()),
            Ok(false) => Err(StoreError::QuotaReached),
            Err(error) => Err(error),
        }
    }

    /// How much is to be taken where `needed` is, of what is left: a part of the rest in advance, less and less towards its end.
    fn grant(&self, taken: u64, needed: u64) -> Option<u64> {
        let left = self.quota.saturating_sub(taken).checked_sub(needed)?;
        Some(needed + self.more().min(left / 4))
    }

    fn spend(&self, bytes: u64) -> bool {
        let mut in_hand = lock(&self.in_hand);
        let left = in_hand.checked_sub(bytes);
        if let Some(left) = left {
            *in_hand = left;
        }
        left.is_some()
    }

    /// Spends what is in hand of so many bytes, and gives how many that are.
    fn spend_up_to(&self, bytes: u64) -> u64 {
        let mut in_hand = lock(&self.in_hand);
        let spent = (*in_hand).min(bytes);
        *in_hand -= spent;
        spent
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.regain(bytes);
        self.share();
    }

    /// The same where nobody may wait for the engine: others get what is too much in hand with the next change here.
    pub(super) fn regain(&self, bytes: u64) {
        let mut in_hand = lock(&self.in_hand);
        *in_hand = in_hand.saturating_add(bytes);
    }

    /// Puts back what is too much in hand. Others may need it, soon where there is little left.
    fn share(&self) {
        let keep = self.more().min(self.quota / 64);
        let mut in_hand = lock(&self.in_hand);
        if *in_hand <= keep.saturating_mul(2) {
            return;
        }
        let too_much = *in_hand - keep;
        *in_hand = keep;
        drop(in_hand);
        self.put_back(too_much);
    }

    pub(super) fn has_any(&self) -> bool {
        *lock(&self.in_hand) > 0
    }

    pub(super) fn close(&self) {
        // Nobody is to take more meanwhile, and lose it.
        let _taking = lock(&self.taking);
        let rest = std::mem::take(&mut *lock(&self.in_hand));
        if rest > 0 {
            self.put_back(rest);
        }
    }

    /// Gives back bytes. Where that fails it may have been done or not: nobody uses them then, so the quota holds.
    fn put_back(&self, bytes: u64) {
        if let Err(error) = self.put(|taken| Some(taken.saturating_sub(bytes))) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                bytes,
                error,
                "part of the quota may stay taken that is not; it is free again when how much is stored is measured anew"
            );
        }
    }

    pub(super) fn check(&self, bytes: u64) -> Result<(), StoreError> {
        self.share();
        let in_hand = *lock(&self.in_hand);
        let needed = bytes.saturating_sub(in_hand);
        if needed == 0 && in_hand > 0 {
            return Ok(());
        }
        if self.taken_lately()?.saturating_add(needed) > self.quota {
            return Err(StoreError::QuotaReached);
        }
        Ok(())
    }

    fn taken_lately(&self) -> Result<u64, StoreError> {
        let seen = *lock(&self.seen);
        match seen {
            Some((at, taken)) if at.elapsed() < BELIEVED => Ok(taken),
            _ => self.taken(),
        }
    }

    pub(super) fn stored(&self) -> Result<u64, StoreError> {
        // Nothing moves from the one to the other meanwhile.
        let _taking = lock(&self.taking);
        let taken = self.taken()?;
        Ok(taken.saturating_sub(*lock(&self.in_hand)))
    }

    fn taken(&self) -> Result<u64, StoreError> {
        let usage = measured::read(&*self.records)?.ok_or_else(gone)?;
        self.note(usage.taken);
        Ok(usage.taken)
    }

    /// Changes how much is taken, unless `change` says otherwise. Says whether it was.
    fn put(&self, mut change: impl FnMut(u64) -> Option<u64>) -> Result<bool, StoreError> {
        let (mut is_gone, mut seen) = (false, 0);
        let put = measured::put(&*self.records, |usage| {
            is_gone = usage.is_none();
            let usage = usage?;
            seen = usage.taken;
            let taken = change(usage.taken)?;
            Some(Usage { taken, ..usage })
        })?;
        if is_gone {
            return Err(gone());
        }
        self.note(put.as_ref().map_or(seen, |usage| usage.taken));
        Ok(put.is_some())
    }

    fn note(&self, taken: u64) {
        *lock(&self.seen) = Some((Instant::now(), taken));
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable {
        source: "nobody knows how much is stored: its record was removed; stop every server, and start them again".into(),
    }
}

/// Numbers are whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
