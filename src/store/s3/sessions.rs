//! Session records in a bucket.
//!
//! ```text
//! sessions/{id}/head
//! sessions/{id}/{ff-g:02x}-{999999-n:06}   entry n of generation g: the newest one sorts first
//! ```
//!
//! An entry is created where there is none, and never written again: of two servers that go on with one upload, one finds the
//! other's entry in its way, and acknowledges nothing. Replacing all entries begins the next generation. So that a server that still
//! counts in the one before learns of it, entry 0 of every generation but the first is there for as long as the record is: emptied
//! when it is over.

mod listing;
mod names;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use self::names::{EntryName, NewestFirst, folder, head_key};
use super::bucket::{Bucket, Notes};
use super::store::S3Store;
use super::walk::Walk;
use crate::store::{ENTRY_SIZE, EntryBytes, SessionStore, StoreError, UploadId};

/// The longest head that is read, in bytes.
const MAX_HEAD: u64 = 4 << 20;
/// Keys asked for at a time, as many as engines give.
const PAGE: usize = 1000;
/// More than there can be of one record.
const MAX_PAGES: usize = 2000;
/// How often entries are looked for again that were replaced while they were read.
const TRIES: usize = 4;
/// Uploads of which the generation is remembered.
const REMEMBERED: usize = 10_000;

/// Session records in a bucket.
#[derive(Clone)]
pub(super) struct Sessions {
    bucket: Bucket,
    /// The generation that each record was last seen in. One that is out of date is found out.
    generations: Arc<Mutex<HashMap<UploadId, u8>>>,
}

impl Sessions {
    pub(super) fn new(bucket: Bucket) -> Self {
        let generations = Arc::default();
        Self {
            bucket,
            generations,
        }
    }

    fn create(&self, id: &UploadId, head: &[u8]) -> Result<(), StoreError> {
        let head = Bytes::copy_from_slice(head);
        self.bucket.create(&head_key(id), head, &Notes::default())?;
        self.remember(id, 0);
        Ok(())
    }

    fn head(&self, id: &UploadId) -> Result<Vec<u8>, StoreError> {
        let head = self.bucket.get(&head_key(id), MAX_HEAD)?;
        Ok(head.bytes.into())
    }

    /// What it is put behind is for the caller to know: a record without a head has no entries for anybody who looks for that first,
    /// and they are swept.
    fn put_entry(&self, id: &UploadId, number: u32, entry: &EntryBytes) -> Result<(), StoreError> {
        let generation = self.generation(id)?;
        let name = EntryName::new(generation, number)?;
        self.put_new(id, name, entry)?;
        let Some(next) = name.begins_next() else {
            return Ok(());
        };
        // An entry counts where its generation was not over after it was there.
        match self.bucket.head(&next.key(id)) {
            Err(StoreError::NotFound) => Ok(()),
            Ok(_) => {
                self.forget(id);
                // Nobody reads it; it goes with the record where this fails.
                let _ = self.bucket.delete(&name.key(id));
                Err(StoreError::Overtaken)
            }
            Err(error) => Err(error),
        }
    }

    fn put_new(
        &self,
        id: &UploadId,
        name: EntryName,
        entry: &EntryBytes,
    ) -> Result<(), StoreError> {
        let entry = Bytes::copy_from_slice(entry);
        let created = self.bucket.create(&name.key(id), entry, &Notes::default());
        created.map_err(|error| match error {
            StoreError::Exists => {
                self.forget(id);
                StoreError::Overtaken
            }
            error => error,
        })
    }

    fn last_entries(&self, id: &UploadId, most: u32) -> Result<(u32, Vec<EntryBytes>), StoreError> {
        self.read(id, |count| count.saturating_sub(most)..count)
    }

    fn entries(&self, id: &UploadId, first: u32, most: u32) -> Result<Vec<EntryBytes>, StoreError> {
        let range = |count: u32| {
            let end = first.saturating_add(most).min(count);
            first.min(end)..end
        };
        Ok(self.read(id, range)?.1)
    }

    /// Those entries of the newest generation that `range` chooses by their count, with the number of the first one.
    fn read(
        &self,
        id: &UploadId,
        range: impl Fn(u32) -> Range<u32>,
    ) -> Result<(u32, Vec<EntryBytes>), StoreError> {
        let mut missing = StoreError::NotFound;
        for _ in 0..TRIES {
            let Some(newest) = self.newest(id)? else {
                return Ok((0, Vec::new()));
            };
            let numbers = range(newest.number() + 1);
            let first = numbers.start;
            let keys = numbers.map(|number| newest.with_number(number).key(id));
            let keys: Vec<_> = keys.collect();
            let objects = self.bucket.get_all(&keys, ENTRY_SIZE as u64);
            let read = objects.into_iter().zip(&keys).map(|(object, key)| {
                let bytes = object?.bytes;
                <EntryBytes>::try_from(&bytes[..]).map_err(|_| not_an_entry(key))
            });
            match read.collect() {
                Ok(entries) => return Ok((first, entries)),
                // Replaced, or removed, since it was seen in the list.
                Err(error @ StoreError::NotFound) => missing = error,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::io(
            "read",
            folder(id),
            io::Error::new(io::ErrorKind::NotFound, missing),
        ))
    }

    /// The name of the newest entry; `None` where there is none.
    fn newest(&self, id: &UploadId) -> Result<Option<EntryName>, StoreError> {
        let folder = folder(id);
        let mut walk = Walk::through(&folder, usize::MAX);
        let (mut after, mut most) = (None, 1);
        loop {
            let page = self.bucket.list(&folder, after.as_deref(), most)?;
            for object in &page.objects {
                match NewestFirst::parse(&object.key[folder.len()..]) {
                    NewestFirst::Entry(name) => {
                        self.remember(id, name.generation());
                        return Ok(Some(name));
                    }
                    NewestFirst::Head => {
                        self.remember(id, 0);
                        return Ok(None);
                    }
                    NewestFirst::Other => walk.stranger()?,
                }
            }
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => return Ok(None),
            }
            most = PAGE;
        }
    }

    fn replace_entries(&self, id: &UploadId, entry: &EntryBytes) -> Result<(), StoreError> {
        let newest = EntryName::new(self.generation(id)?, 0)?;
        let Some(next) = newest.begins_next() else {
            return Err(StoreError::TooManySegments);
        };
        self.put_new(id, next, entry)?;
        self.remember(id, next.generation());
        self.remove_older(id, next)
    }

    /// Removes the entries of the generations before, but for what says that they are over.
    fn remove_older(&self, id: &UploadId, newest: EntryName) -> Result<(), StoreError> {
        let folder = folder(id);
        let mut after = newest.key(id);
        let mut walk = Walk::through(&folder, usize::MAX);
        for _ in 0..MAX_PAGES {
            let page = self.bucket.list(&folder, Some(&after), PAGE)?;
            let mut removed = Vec::new();
            for object in &page.objects {
                let NewestFirst::Entry(name) = NewestFirst::parse(&object.key[folder.len()..])
                else {
                    walk.stranger()?;
                    continue;
                };
                walk.ours()?;
                if name.generation() == newest.generation() {
                    continue;
                }
                if name.generation() == 0 || name.number() > 0 {
                    removed.push(object.key.clone());
                } else if object.size > 0 {
                    self.bucket
                        .put(&object.key, Bytes::new(), &Notes::default())?;
                }
            }
            self.bucket.delete_all(&removed)?;
            match page.objects.last() {
                Some(last) if page.more => after.clone_from(&last.key),
                _ => break,
            }
        }
        Ok(())
    }

    fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        self.forget(id);
        self.bucket.delete(&head_key(id))?;
        let folder = folder(id);
        for _ in 0..MAX_PAGES {
            // From the start again each time: what was listed is gone.
            let page = self.bucket.list(&folder, None, PAGE)?;
            let keys: Vec<_> = page.objects.into_iter().map(|object| object.key).collect();
            self.bucket.delete_all(&keys)?;
            if !page.more || keys.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn generation(&self, id: &UploadId) -> Result<u8, StoreError> {
        let known = self.known().get(id).copied();
        match known {
            Some(generation) => Ok(generation),
            None => Ok(self.newest(id)?.map_or(0, EntryName::generation)),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<UploadId, u8>> {
        self.generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: &UploadId, generation: u8) {
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            // Asked for again where it is needed.
            known.clear();
        }
        known.insert(*id, generation);
    }

    fn forget(&self, id: &UploadId) {
        self.known().remove(id);
    }
}

fn not_an_entry(key: &str) -> StoreError {
    let source = io::Error::new(
        io::ErrorKind::InvalidData,
        format!("an entry has {ENTRY_SIZE} bytes"),
    );
    StoreError::io("read", key, source)
}

impl SessionStore for S3Store {
    fn create_session(&self, id: &UploadId, head: &[u8]) -> Result<(), StoreError> {
        self.sessions.create(id, head)
    }

    fn session_head(&self, id: &UploadId) -> Result<Vec<u8>, StoreError> {
        self.sessions.head(id)
    }

    fn put_entry(&self, id: &UploadId, number: u32, entry: &EntryBytes) -> Result<(), StoreError> {
        self.sessions.put_entry(id, number, entry)
    }

    fn last_entries(&self, id: &UploadId, most: u32) -> Result<(u32, Vec<EntryBytes>), StoreError> {
        self.sessions.last_entries(id, most)
    }

    fn entries(&self, id: &UploadId, first: u32, most: u32) -> Result<Vec<EntryBytes>, StoreError> {
        self.sessions.entries(id, first, most)
    }

    fn replace_entries(&self, id: &UploadId, entry: &EntryBytes) -> Result<(), StoreError> {
        self.sessions.replace_entries(id, entry)
    }

    fn sessions(&self) -> Result<Vec<UploadId>, StoreError> {
        self.sessions.all()
    }

    fn sessions_begun(&self, within: Range<SystemTime>) -> Result<Vec<UploadId>, StoreError> {
        self.sessions.begun(&within)
    }

    fn remove_session(&self, id: &UploadId) -> Result<(), StoreError> {
        self.sessions.remove(id)
    }
}

#[cfg(test)]
mod tests;
