//! What uploads under way have reserved of their links, in a store that several servers share.
//!
//! No server can look at its start what another one left that died. So whatever only lives as long as this server does is reserved
//! for a short time, again and again: once it is not renewed any more, anybody may see that it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Uploads;
use crate::grant::GrantId;
use crate::store::UploadId;

/// How long what a server reserved outlives it.
const HELD: Duration = Duration::from_mins(15);
/// What ends sooner than that is renewed.
const RENEWED: Duration = Duration::from_mins(10);
/// How often a link is looked at for what has not been renewed.
const LOOKED: Duration = Duration::from_secs(30);
/// Links of which it is remembered when they were looked at.
const MAX_LOOKED: usize = 10_000;

/// Until when something is reserved that this server holds.
pub(super) fn held_until(now: SystemTime) -> SystemTime {
    now.checked_add(HELD).unwrap_or(now)
}

/// Everything that this server holds.
#[derive(Default)]
pub(super) struct Held(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// Until when it is reserved.
    until: BTreeMap<(GrantId, UploadId), SystemTime>,
    looked: BTreeMap<GrantId, SystemTime>,
}

/// Something that this server holds, for as long as this lives.
pub(super) struct Hold {
    held: Arc<Held>,
    key: (GrantId, UploadId),
}

impl Held {
    pub(super) fn hold(self: &Arc<Self>, link: GrantId, upload: UploadId, now: SystemTime) -> Hold {
        let key = (link, upload);
        self.lock().until.insert(key, held_until(now));
        Hold {
            held: Arc::clone(self),
            key,
        }
    }

    /// By link, what is to be renewed.
    fn due(&self, now: SystemTime) -> BTreeMap<GrantId, Vec<UploadId>> {
        let soon = now.checked_add(RENEWED).unwrap_or(now);
        let mut due = BTreeMap::<_, Vec<_>>::new();
        for ((link, upload), until) in &self.lock().until {
            if *until <= soon {
                due.entry(*link).or_default().push(*upload);
            }
        }
        due
    }

    fn renewed(&self, link: GrantId, uploads: &[UploadId], until: SystemTime) {
        let mut table = self.lock();
        for upload in uploads {
            if let Some(known) = table.until.get_mut(&(link, *upload)) {
                *known = until;
            }
        }
    }

    /// Whether a link is to be looked at again. Then it was, from now on.
    pub(super) fn is_to_look(&self, link: GrantId, now: SystemTime) -> bool {
        let mut table = self.lock();
        let looked = table.looked.get(&link);
        let long_ago = |looked: &SystemTime| {
            now.duration_since(*looked)
                .map_or(true, |age| age >= LOOKED)
        };
        if !looked.is_none_or(long_ago) {
            return false;
        }
        if table.looked.len() >= MAX_LOOKED {
            table.looked.clear();
        }
        table.looked.insert(link, now);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Single entries come and go: a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.lock().until.remove(&self.key);
    }
}

impl Uploads {
    /// Until when uploads reserve that live no longer than this server; `None`: nobody else uses the store, and they may as well
    /// reserve for good.
    pub(super) fn held_until(&self, now: SystemTime) -> Option<SystemTime> {
        self.store.is_shared().then(|| held_until(now))
    }

    /// Renews what uploads under way have reserved, where that is due: one change a link. To be called every minute or so. Blocks.
    pub fn renew_held(&self, now: SystemTime) {
        let until = held_until(now);
        for (link, uploads) in self.held.due(now) {
            match self.links.renew(&link, &uploads, until) {
                Ok(()) => self.held.renewed(link, &uploads, until),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%link, error, "what uploads have reserved of a link could not be renewed; trying again");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_renewed_in_time_and_let_go_of() {
        let held = Arc::new(Held::default());
        let now = SystemTime::now();
        let link: GrantId = "0".repeat(32).parse().unwrap();
        let ids = [0; 2].map(|_| UploadId::generate(now));
        let holds = ids.map(|id| held.hold(link, id, now));
        assert!(held.due(now).is_empty());
        let later = now + Duration::from_mins(6);
        let due = held.due(later);
        assert_eq!(due[&link].len(), 2);
        held.renewed(link, &due[&link], held_until(later));
        assert!(held.due(later).is_empty());
        drop(holds);
        assert!(held.lock().until.is_empty());
    }

    #[test]
    fn a_link_is_not_looked_at_all_the_time() {
        let held = Held::default();
        let now = SystemTime::now();
        let link: GrantId = "0".repeat(32).parse().unwrap();
        assert!(held.is_to_look(link, now));
        assert!(!held.is_to_look(link, now + LOOKED / 2));
        assert!(held.is_to_look(link, now + LOOKED));
        // The clock was set back.
        assert!(held.is_to_look(link, now));
    }
}
