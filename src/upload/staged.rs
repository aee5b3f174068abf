//! What is staged of an upload that nobody could go on with.

use std::sync::Arc;

use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::store::{Store, UploadId};

/// What is staged for an upload: discarded when this is dropped, unless it was said to stay.
pub(super) struct Staged {
    store: Arc<dyn Store>,
    /// Whoever stops the server waits until there are none.
    pending: TaskTrackerToken,
    id: UploadId,
    stays: bool,
}

impl Staged {
    pub(super) fn new(store: Arc<dyn Store>, id: UploadId, pending: TaskTrackerToken) -> Self {
        Self {
            store,
            pending,
            id,
            stays: false,
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) fn id(&self) -> &UploadId {
        &self.id
    }

    /// It is published, or can be gone on with.
    pub(super) fn stays(mut self) {
        self.stays = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        let (store, id) = (Arc::clone(&self.store), self.id);
        let pending = self.pending.clone();
        let discard = move || {
            let _pending = pending;
            if let Err(error) = store.discard(&id) {
                tracing::warn!(%id, error = &error as &dyn std::error::Error,
                    "what was staged for a broken-off upload could not be removed; the next start will");
            }
        };
        // Dropped on a thread of the runtime, it must not block there.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(discard)),
            Err(_) => discard(),
        }
    }
}
