//! Who counts no more what is removed: of several servers that remove the same, one.
//!
//! That is whoever has put the note in `unfinished/` that stands there when it is through. Such a note is only ever put where there
//! is none, or in the place of one that was read.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::bucket::{ETag, Notes, Object};
use super::folder::Folder;
use super::keys;
use super::store::S3Store;
use super::unfinished::{self, Doing};
use crate::store::{StoreError, UploadId};

/// More often than this nobody finds another note each time.
const TRIES: usize = 8;

/// A note of this age is put anew by whoever goes on; it is taken for given up much later.
const RENEWED_AFTER: Duration = Duration::from_hours(1);

/// The right to count no more what is removed of an upload. It is noted, and whoever comes after may take it over, as whoever has it may
/// be dead: then what was there until that counts for ever rather than twice too little.
pub(super) struct Removal<'a> {
    store: &'a S3Store,
    id: UploadId,
    doing: Doing,
    note: Bytes,
    /// What somebody else was doing, or had begun to do, when it was taken.
    pub(super) before: Option<Doing>,
}

impl<'a> Removal<'a> {
    /// Takes the right. `None`: something else is done with the upload that goes before, and that whoever sweeps comes to.
    pub(super) fn take(
        store: &'a S3Store,
        id: &UploadId,
        doing: Doing,
    ) -> Result<Option<Self>, StoreError> {
        for _ in 0..TRIES {
            let removal = Self::new(store, id, doing, None);
            let (key, note) = (keys::unfinished(id), removal.note.clone());
            match store.bucket.create(&key, note, &Notes::default()) {
                Err(StoreError::Exists) => {}
                created => return created.map(|()| Some(removal)),
            }
            let Some((other, etag)) = unfinished::note(store, id)? else {
                continue;
            };
            let goes_before = match doing {
                Doing::Deleting => false,
                // Of several, the one whose manifest is put first comes to its end.
                Doing::Rewrapping => other == Some(Doing::Deleting),
                Doing::Clearing | Doing::Staging => {
                    matches!(other, Some(Doing::Deleting | Doing::Rewrapping))
                }
            };
            if goes_before {
                return Ok(None);
            }
            let taken = Self::take_up(store, id, doing, &etag)?;
            if let Some(mut removal) = taken {
                removal.before = other;
                return Ok(Some(removal));
            }
        }
        Ok(None)
    }

    /// Takes the right from whoever put this note. `None`: that is another one by now.
    pub(super) fn take_up(
        store: &'a S3Store,
        id: &UploadId,
        doing: Doing,
        old: &ETag,
    ) -> Result<Option<Self>, StoreError> {
        let removal = Self::new(store, id, doing, Some(doing));
        let (key, note) = (keys::unfinished(id), removal.note.clone());
        match store.bucket.replace(&key, old, note, &Notes::default()) {
            Ok(()) => Ok(Some(removal)),
            Err(StoreError::Replaced | StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(store: &'a S3Store, id: &UploadId, doing: Doing, before: Option<Doing>) -> Self {
        Self {
            store,
            id: *id,
            doing,
            note: format!("{} {}", doing.word(), keys::tag()).into(),
            before,
        }
    }

    /// Says that it still goes on, where others do nothing else with the upload: else, or where that has come to its end, this is
    /// [`StoreError::Replaced`].
    pub(super) fn renew(&mut self) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Some(object) = self.there()? else {
                break;
            };
            if Doing::of(&object.bytes) != Some(self.doing) {
                break;
            }
            let age = SystemTime::now().duration_since(object.modified);
            if age.unwrap_or_default() < RENEWED_AFTER {
                return Ok(());
            }
            let taken = Self::take_up(self.store, &self.id, self.doing, &object.etag)?;
            if let Some(mut renewed) = taken {
                if object.bytes == self.note {
                    renewed.before = self.before;
                }
                *self = renewed;
                return Ok(());
            }
        }
        Err(StoreError::Replaced)
    }

    /// Removes what is in the folder, which was listed since the right was taken. Gives whether it is this one's still: only then
    /// it is counted no more. `is_over`: there is nothing more to be done then.
    pub(super) fn remove(&self, folder: &Folder, is_over: bool) -> Result<bool, StoreError> {
        let bytes = folder.remove(&self.store.bucket)?;
        // Whoever takes it over from here on finds nothing of that any more.
        self.count_no_more(bytes, is_over)
    }

    /// Counts no more what was removed, where the right is this one's still, which it gives.
    pub(super) fn count_no_more(&self, bytes: u64, is_over: bool) -> Result<bool, StoreError> {
        let own = self.there()?.filter(|object| object.bytes == self.note);
        let Some(own) = own else {
            return Ok(false);
        };
        // At once: nothing can be deleted on a condition, so what somebody puts there in this moment goes with it.
        let ended = if is_over { self.end(&own) } else { Ok(()) };
        self.store.quota.give_back(bytes);
        ended.map(|()| true)
    }

    /// The note that is there.
    fn there(&self) -> Result<Option<Object>, StoreError> {
        let key = keys::unfinished(&self.id);
        match self.store.bucket.get(&key, unfinished::LONGEST) {
            Ok(object) => Ok(Some(object)),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn end(&self, own: &Object) -> Result<(), StoreError> {
        if self.before == Some(Doing::Rewrapping) && self.doing == Doing::Deleting {
            // Whoever rewraps may write one more segment before it looks, and may die then: sweeping is to find it.
            let clearing = Self::take_up(self.store, &self.id, Doing::Clearing, &own.etag);
            if let Err(error) = clearing {
                let (id, error) = (&self.id, &error as &dyn std::error::Error);
                tracing::debug!(%id, error, "the note of a deletion stays until it is swept");
            }
            return Ok(());
        }
        unfinished::end(self.store, &self.id)
    }
}

impl S3Store {
    /// Removes what `choose` takes of a folder, unless somebody else does something with that upload. Gives how many objects it was.
    pub(super) fn clear(
        &self,
        id: &UploadId,
        choose: impl FnOnce(Folder) -> Result<Folder, StoreError>,
    ) -> Result<usize, StoreError> {
        let Some(removal) = Removal::take(self, id, Doing::Clearing)? else {
            return Ok(0);
        };
        let chosen = choose(Folder::list(&self.bucket, id)?)?;
        removal.remove(&chosen, true)?;
        Ok(chosen.len())
    }

    /// Removes everything of an upload, unless it is published.
    pub(super) fn clear_unpublished(&self, id: &UploadId) -> Result<usize, StoreError> {
        self.clear(id, |folder| {
            Ok(if folder.meta.is_none() {
                folder
            } else {
                Folder::default()
            })
        })
    }
}
