//! What is staged of an upload that nobody could go on with.

use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Uploads;
use super::account::Account;
use super::held::Hold;
use super::receive::ReceiveError;
use super::terms::Terms;
use crate::grant::{Refused, What};
use crate::store::{Store, UploadId};

/// What is staged for an upload, and reserved for it: discarded and given back when this is dropped, unless it was said to stay.
pub(super) struct Staged {
    store: Arc<dyn Store>,
    /// Whoever stops the server waits until there are none.
    pending: TaskTrackerToken,
    id: UploadId,
    account: Option<Account>,
    /// Has what is reserved for it renewed, where it must be.
    _hold: Option<Hold>,
    stays: bool,
}

impl Uploads {
    /// The beginning of an upload on these terms.
    pub(super) fn stage(&self, id: UploadId, terms: &Terms) -> Staged {
        let link = terms.link.filter(|_| self.store.is_shared());
        Staged {
            store: Arc::clone(&self.store),
            pending: self.staged.token(),
            id,
            account: self.account(terms, id),
            _hold: link.map(|link| self.held.hold(link, id, SystemTime::now())),
            stays: false,
        }
    }
}

impl Staged {
    /// Reserves for the upload where it comes through a link; see [`Account::reserve`].
    pub(super) async fn reserve(
        self,
        what: What,
        length: Option<u64>,
        most: u64,
        until: SystemTime,
    ) -> Result<(Self, u64), ReceiveError> {
        if length.is_some_and(|length| length > most) {
            return Err(ReceiveError::TooLarge(most));
        }
        let Some(account) = self.account.clone() else {
            return Ok((self, length.unwrap_or(0)));
        };
        // It travels along: if nobody waits any more, what was reserved is given back.
        let reserve = move || match account.reserve(what, length, most, until) {
            Ok(reserved) => Ok((self, reserved)),
            // It may have been written all the same.
            Err(refused @ Refused::Failed(_)) => Err(refused.into()),
            Err(refused) => {
                self.stays();
                Err(refused.into())
            }
        };
        tokio::task::spawn_blocking(reserve)
            .await
            .map_err(|_| ReceiveError::Abandoned)?
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) fn id(&self) -> &UploadId {
        &self.id
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
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
        let (account, pending) = (self.account.take(), self.pending.clone());
        let discard = move || {
            let _pending = pending;
            if let Err(error) = store.discard(&id) {
                tracing::warn!(%id, error = &error as &dyn std::error::Error,
                    "what was staged for a broken-off upload could not be removed; the next start will");
            }
            if let Some(account) = account {
                account.give_back();
            }
        };
        // Dropped on a thread of the runtime, it must not block there.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(discard)),
            Err(_) => discard(),
        }
    }
}
