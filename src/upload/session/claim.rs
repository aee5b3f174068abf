//! One request at a time for each upload, and the latest one wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use crate::store::UploadId;

/// Who works on which upload.
#[derive(Default)]
pub(in crate::upload) struct Claims(Mutex<HashMap<UploadId, Arc<Place>>>);

#[derive(Default)]
struct Place {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Told when a later request comes.
    latest: Mutex<CancellationToken>,
}

/// The right to work on an upload, for as long as it lives: nobody else does.
pub(super) struct Claim {
    _turn: OwnedMutexGuard<()>,
    superseded: CancellationToken,
    _entry: Entry,
}

/// A place in the table, which goes with the last one who holds it.
struct Entry {
    claims: Arc<Claims>,
    id: UploadId,
    place: Arc<Place>,
}

impl Claims {
    /// Asks whoever works on the upload to stop, and waits for a turn. Turns come in the order of the requests.
    ///
    /// The wait does not depend on any client: who is told to stop has at most something to write and sync, also where it
    /// waits itself and is told before its turn has come.
    pub(super) async fn claim(self: &Arc<Self>, id: &UploadId) -> Claim {
        let entry = self.entry(id);
        let superseded = CancellationToken::new();
        std::mem::replace(&mut *lock(&entry.place.latest), superseded.clone()).cancel();
        let turn = Arc::clone(&entry.place.turn).lock_owned().await;
        Claim {
            _turn: turn,
            superseded,
            _entry: entry,
        }
    }

    /// Claims an upload that nobody works on, without disturbing anybody.
    pub(super) fn claim_idle(self: &Arc<Self>, id: &UploadId) -> Option<Claim> {
        let entry = self.entry(id);
        let turn = Arc::clone(&entry.place.turn).try_lock_owned().ok()?;
        Some(Claim {
            _turn: turn,
            superseded: CancellationToken::new(),
            _entry: entry,
        })
    }

    fn entry(self: &Arc<Self>, id: &UploadId) -> Entry {
        Entry {
            claims: Arc::clone(self),
            id: *id,
            place: Arc::clone(lock(&self.0).entry(*id).or_default()),
        }
    }
}

impl Claim {
    /// Says when a later request wants the upload. What is in progress is to be ended then.
    pub(super) fn superseded(&self) -> CancellationToken {
        self.superseded.clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = lock(&self.claims.0);
        // The table's own and this one: nobody can take a copy meanwhile, since that needs the table.
        if Arc::strong_count(&self.place) <= 2 {
            table.remove(&self.id);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in them is replaced as a whole, so a panic elsewhere cannot have left it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[tokio::test]
    async fn a_later_request_ends_the_earlier_ones_and_comes_after_them() {
        let claims = Arc::new(Claims::default());
        let id = UploadId::generate(SystemTime::now());
        let first = claims.claim(&id).await;
        assert!(claims.claim_idle(&id).is_none());
        let later = || {
            let claims = Arc::clone(&claims);
            tokio::spawn(async move { claims.claim(&id).await.superseded().is_cancelled() })
        };
        let waiting = later();
        first.superseded().cancelled().await;
        let latest = later();
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap(), "it was told before its turn came");
        assert!(!latest.await.unwrap());
        assert!(lock(&claims.0).is_empty());
    }

    #[tokio::test]
    async fn uploads_do_not_wait_for_each_other() {
        let claims = Arc::new(Claims::default());
        let ids = [0; 2].map(|_| UploadId::generate(SystemTime::now()));
        let first = claims.claim(&ids[0]).await;
        let second = claims.claim(&ids[1]).await;
        assert!(!first.superseded().is_cancelled() && !second.superseded().is_cancelled());
        drop((first, second));
        assert!(claims.claim_idle(&ids[0]).is_some());
        assert!(lock(&claims.0).is_empty());
    }
}
