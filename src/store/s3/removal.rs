//! Who counts no more what is removed: of several servers that remove the same, one.

use bytes::Bytes;

use super::bucket::{ETag, Notes};
use super::folder::Folder;
use super::keys;
use super::store::S3Store;
use super::unfinished::{self, Doing};
use crate::store::{StoreError, UploadId};

/// More often than this nobody finds another note each time.
const TRIES: usize = 8;

/// The right to count no more what is removed of an upload. It is noted, and whoever comes after may take it over, as whoever has it may
/// be dead: then what was there until that counts for ever rather than twice too little.
pub(super) struct Removal<'a> {
    store: &'a S3Store,
    id: UploadId,
    note: Bytes,
    /// Whether somebody had it before.
    pub(super) taken_over: bool,
    /// Whether somebody was putting other segments in the place of the upload's own when it was taken.
    pub(super) beside_rewrap: bool,
}

impl<'a> Removal<'a> {
    /// Takes the right. `None`: something else is done with the upload, which whoever sweeps comes to.
    pub(super) fn take(
        store: &'a S3Store,
        id: &UploadId,
        doing: Doing,
    ) -> Result<Option<Self>, StoreError> {
        for _ in 0..TRIES {
            let removal = Self::new(store, id, doing, false);
            let (key, note) = (keys::unfinished(id), removal.note.clone());
            match store.bucket.create(&key, note, &Notes::default()) {
                Err(StoreError::Exists) => {}
                created => return created.map(|()| Some(removal)),
            }
            let Some((other, etag)) = unfinished::note(store, id)? else {
                continue;
            };
            let goes_before = matches!(other, Some(Doing::Deleting | Doing::Rewrapping));
            if doing != Doing::Deleting && goes_before {
                return Ok(None);
            }
            let taken = Self::take_up(store, id, doing, &etag)?;
            if let Some(mut removal) = taken {
                removal.taken_over = other == Some(doing);
                removal.beside_rewrap = other == Some(Doing::Rewrapping);
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
        let removal = Self::new(store, id, doing, true);
        let (key, note) = (keys::unfinished(id), removal.note.clone());
        match store.bucket.replace(&key, old, note, &Notes::default()) {
            Ok(()) => Ok(Some(removal)),
            Err(StoreError::Replaced | StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(store: &'a S3Store, id: &UploadId, doing: Doing, taken_over: bool) -> Self {
        Self {
            store,
            id: *id,
            note: format!("{} {}", doing.word(), keys::tag()).into(),
            taken_over,
            beside_rewrap: false,
        }
    }

    /// Removes what is in the folder, which was listed since the right was taken. Gives whether it is this one's still: only then
    /// it is counted no more.
    pub(super) fn remove(&self, folder: &Folder) -> Result<bool, StoreError> {
        let bytes = folder.remove(&self.store.bucket)?;
        // Whoever takes it over from here on finds nothing of that any more.
        let lasts = self.lasts()?;
        if lasts {
            self.store.quota.give_back(bytes);
        }
        Ok(lasts)
    }

    fn lasts(&self) -> Result<bool, StoreError> {
        let key = keys::unfinished(&self.id);
        match self.store.bucket.get(&key, unfinished::LONGEST) {
            Ok(object) => Ok(object.bytes == self.note),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// It has come to its end.
    pub(super) fn end(self) -> Result<(), StoreError> {
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
        if removal.remove(&chosen)? {
            removal.end()?;
        }
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
