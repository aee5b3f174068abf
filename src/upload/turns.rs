//! Who changes a published upload does so alone.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::store::UploadId;

/// The uploads that somebody changes or removes.
#[derive(Default)]
pub(super) struct Turns {
    taken: Mutex<BTreeSet<UploadId>>,
    one_ended: Condvar,
}

/// Whoever holds it is alone with the upload.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    id: UploadId,
}

impl Turns {
    /// Waits until nobody else changes this upload. Blocks.
    pub(super) fn take(&self, id: &UploadId) -> Turn<'_> {
        let taken = self.lock();
        let mut taken = self
            .one_ended
            .wait_while(taken, |taken| taken.contains(id))
            .unwrap_or_else(PoisonError::into_inner);
        taken.insert(*id);
        Turn {
            turns: self,
            id: *id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<UploadId>> {
        // Single ids come and go: a panic elsewhere cannot have left it half done.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.id);
        self.turns.one_ended.notify_all();
    }
}
