//! A folder that several servers share, as they share a bucket: a segment is there when it has come to its end and not before, an
//! entry is put by one server alone, and another server may do something between any two steps of this one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::store::{
    Change, Collection, EntryBytes, Expiring, LocalStore, Publication, RecordName, RecordStore,
    SealedUpload, SegmentHeader, SegmentName, SegmentWriter, SessionStore, Staging, Store,
    StoreError, UploadId,
};

/// What happens before an entry is put.
type Between = Box<dyn FnOnce() + Send>;

/// What is in the folder.
pub(in crate::upload) struct Folder {
    store: LocalStore,
    /// By upload and number, whose segment it is, and whether it has come to its end.
    segments: Mutex<BTreeMap<(UploadId, u32), (SegmentName, bool)>>,
    /// Records whose entries were replaced by a last one, behind which none is put.
    ended: Mutex<BTreeSet<UploadId>>,
    /// How many segments each upload was published with.
    published: Mutex<BTreeMap<UploadId, usize>>,
    expiring: Mutex<Vec<Expiring>>,
}

/// The folder, as one server sees it.
pub(in crate::upload) struct SharedFolder {
    folder: Arc<Folder>,
    /// And how many entries are put before.
    between: Mutex<Option<(usize, Between)>>,
    publishing: Mutex<Option<Between>>,
    /// Whether it gives no answer, once, to what is asked of a published upload.
    silent: AtomicBool,
    rewrapping: Mutex<Option<Between>>,
}

impl SharedFolder {
    pub(in crate::upload) fn new(store: LocalStore) -> Self {
        Self::over(Arc::new(Folder {
            store,
            segments: Mutex::default(),
            ended: Mutex::default(),
            published: Mutex::default(),
            expiring: Mutex::default(),
        }))
    }

    fn over(folder: Arc<Folder>) -> Self {
        Self {
            folder,
            between: Mutex::default(),
            publishing: Mutex::default(),
            silent: AtomicBool::default(),
            rewrapping: Mutex::default(),
        }
    }

    /// The same folder, for another server.
    pub(in crate::upload) fn for_another(&self) -> Self {
        Self::over(Arc::clone(&self.folder))
    }

    /// Has something done before this server puts its next entry.
    pub(in crate::upload) fn before_the_next_entry(&self, what: impl FnOnce() + Send + 'static) {
        self.before_an_entry(0, what);
    }

    /// The same, when it has put so many more.
    pub(in crate::upload) fn before_an_entry(
        &self,
        number: usize,
        what: impl FnOnce() + Send + 'static,
    ) {
        *self.between.lock().unwrap() = Some((number, Box::new(what)));
    }

    /// Has something done before this server publishes the next time.
    pub(in crate::upload) fn before_it_publishes(&self, what: impl FnOnce() + Send + 'static) {
        *self.publishing.lock().unwrap() = Some(Box::new(what));
    }

    /// The next time somebody asks here for a published upload, it cannot be told.
    pub(in crate::upload) fn is_silent_once(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Has something done before this server puts new headers in the place of others the next time.
    pub(in crate::upload) fn before_it_rewraps(&self, what: impl FnOnce() + Send + 'static) {
        *self.rewrapping.lock().unwrap() = Some(Box::new(what));
    }

    fn come_to_an_entry(&self) {
        let mut waiting = self.between.lock().unwrap();
        let between = waiting.take_if(|(left, _)| *left == 0);
        if let Some((left, _)) = &mut *waiting {
            *left -= 1;
        }
        drop(waiting);
        if let Some((_, between)) = between {
            between();
        }
    }

    fn store(&self) -> &LocalStore {
        &self.folder.store
    }
}

impl Folder {
    /// Whether it is there: `None` where it is not, and else whether it has come to its end.
    fn segment(&self, id: &UploadId, name: &SegmentName) -> Option<bool> {
        let segments = self.segments.lock().unwrap();
        let (own, ended) = segments.get(&(*id, name.number()))?;
        (own == name).then_some(*ended)
    }
}

struct Writer {
    folder: Arc<Folder>,
    id: UploadId,
    name: SegmentName,
    inner: Box<dyn SegmentWriter>,
}

impl Writer {
    fn check(&self) -> Result<(), StoreError> {
        let there = self.folder.segment(&self.id, &self.name);
        there.map(drop).ok_or(StoreError::Overtaken)
    }
}

impl SegmentWriter for Writer {
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, sealed: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        self.inner.write(sealed)
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.check()?;
        self.inner.finish()?;
        let mut segments = self.folder.segments.lock().unwrap();
        segments.insert((self.id, self.name.number()), (self.name, true));
        Ok(())
    }
}

impl RecordStore for SharedFolder {
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        self.store().record(collection, name)
    }

    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        self.store().update_record(collection, name, change)
    }

    fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        self.store().records(collection)
    }
}

impl SessionStore for SharedFolder {
    fn create_session(&self, id: &UploadId, head: &[u8]) -> Result<(), StoreError> {
        self.store().create_session(id, head)
    }

    fn session_head(&self, id: &UploadId) -> Result<Vec<u8>, StoreError> {
        self.store().session_head(id)
    }

    fn put_entry(&self, id: &UploadId, number: u32, entry: &EntryBytes) -> Result<(), StoreError> {
        self.come_to_an_entry();
        let ended = self.folder.ended.lock().unwrap();
        let (first, entries) = self.store().last_entries(id, 1)?;
        if ended.contains(id) || first as usize + entries.len() != number as usize {
            return Err(StoreError::Overtaken);
        }
        self.store().put_entry(id, number, entry)
    }

    fn last_entries(&self, id: &UploadId, most: u32) -> Result<(u32, Vec<EntryBytes>), StoreError> {
        self.store().last_entries(id, most)
    }

    fn entries(&self, id: &UploadId, first: u32, most: u32) -> Result<Vec<EntryBytes>, StoreError> {
        self.store().entries(id, first, most)
    }

    fn replace_entries(&self, id: &UploadId, entry: &EntryBytes) -> Result<(), StoreError> {
        self.come_to_an_entry();
        self.folder.ended.lock().unwrap().insert(*id);
        self.store().replace_entries(id, entry)
    }

    fn sessions(&self) -> Result<Vec<UploadId>, StoreError> {
        self.store().sessions()
    }

    fn remove_session(&self, id: &UploadId) -> Result<(), StoreError> {
        self.store().remove_session(id)
    }
}

impl Staging for SharedFolder {
    fn secure_segment(&self, _id: &UploadId, _segment: &SegmentName) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_staged(&self, id: &UploadId) -> Result<bool, StoreError> {
        self.store().is_staged(id)
    }

    fn open_staged(
        &self,
        id: &UploadId,
        segments: &[SegmentName],
    ) -> Result<Box<dyn SealedUpload>, StoreError> {
        let mut there = segments.iter().map(|name| self.folder.segment(id, name));
        if there.any(|there| there != Some(true)) {
            return Err(StoreError::NotFound);
        }
        self.store().open_staged(id, segments)
    }

    fn forget_cached(&self, _id: &UploadId, _segment: &SegmentName) -> Result<(), StoreError> {
        Ok(())
    }

    fn remove_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        if self.folder.segment(id, segment).is_none() {
            return Ok(());
        }
        let mut segments = self.folder.segments.lock().unwrap();
        segments.remove(&(*id, segment.number()));
        self.store().remove_segment(id, segment)
    }

    fn mend_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
        _at: u64,
        _tail: &[u8],
    ) -> Result<(), StoreError> {
        // What is there is whole.
        let there = self.folder.segment(id, segment);
        there.map(drop).ok_or(StoreError::NotFound)
    }

    fn link_segment(
        &self,
        from: (&UploadId, &SegmentName),
        to: (&UploadId, &SegmentName),
    ) -> Result<(), StoreError> {
        match self.store().link_segment(from, to) {
            // Below the folder a segment has no name but its number, and another server has linked the same one.
            Err(StoreError::Exists) => {}
            linked => linked?,
        }
        let mut segments = self.folder.segments.lock().unwrap();
        segments.insert((*to.0, to.1.number()), (*to.1, true));
        Ok(())
    }
}

impl Store for SharedFolder {
    fn name_segment(&self, number: u32) -> Result<SegmentName, StoreError> {
        SegmentName::tagged(number)
    }

    fn segment_limit(&self) -> Option<u64> {
        Some(1 << 20)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn create_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<Box<dyn SegmentWriter>, StoreError> {
        let inner = self.store().create_segment(id, segment)?;
        let mut segments = self.folder.segments.lock().unwrap();
        segments.insert((*id, segment.number()), (*segment, false));
        Ok(Box::new(Writer {
            folder: Arc::clone(&self.folder),
            id: *id,
            name: *segment,
            inner,
        }))
    }

    fn publish(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        let between = self.publishing.lock().unwrap().take();
        if let Some(between) = between {
            between();
        }
        let listed = |upload: &Publication| {
            let (time, id) = (upload.expires?, upload.id);
            Some(Expiring { time, id })
        };
        let mut expiring = self.folder.expiring.lock().unwrap();
        expiring.extend(uploads.iter().filter_map(listed));
        expiring.sort_unstable_by_key(|listed| (listed.time, listed.id));
        drop(expiring);
        let count = |upload: &Publication| (upload.id, upload.segments.len());
        let mut published = self.folder.published.lock().unwrap();
        published.extend(uploads.iter().map(count));
        drop(published);
        self.store().publish(uploads)
    }

    fn is_kept(&self, id: &UploadId) -> Result<bool, StoreError> {
        let segments = self.folder.published.lock().unwrap().get(id).copied();
        let files = self.store().open(id)?.files()?;
        Ok(segments.is_some_and(|segments| files.len() == segments + 1))
    }

    fn settle(&self, id: &UploadId) -> Result<(), StoreError> {
        self.store().settle(id)
    }

    fn discard(&self, id: &UploadId) -> Result<(), StoreError> {
        self.store().discard(id)
    }

    fn open(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        if self.silent.swap(false, Ordering::Relaxed) {
            let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(StoreError::io("reach", "the store", silent));
        }
        self.store().open(id)
    }

    fn list(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.store().list(after, limit)
    }

    fn delete(&self, id: &UploadId) -> Result<(), StoreError> {
        self.store().delete(id)
    }

    fn rewrap(
        &self,
        id: &UploadId,
        old_meta: &[u8],
        meta: &[u8],
        headers: Option<&[SegmentHeader<'_>]>,
    ) -> Result<(), StoreError> {
        let between = self.rewrapping.lock().unwrap().take();
        if let Some(between) = between {
            between();
        }
        self.store().rewrap(id, old_meta, meta, headers)
    }

    fn expiring(
        &self,
        until: std::time::SystemTime,
        limit: usize,
    ) -> Result<Option<Vec<Expiring>>, StoreError> {
        let expiring = self.folder.expiring.lock().unwrap();
        let due = expiring.iter().filter(|listed| listed.time <= until);
        Ok(Some(due.copied().take(limit).collect()))
    }

    fn expired(&self, expired: &[Expiring]) -> Result<(), StoreError> {
        let gone = |listed: &Expiring| expired.iter().any(|gone| gone.id == listed.id);
        self.folder
            .expiring
            .lock()
            .unwrap()
            .retain(|listed| !gone(listed));
        Ok(())
    }

    fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.store().has_room(bytes)
    }

    fn stored(&self) -> Result<u64, StoreError> {
        self.store().stored()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.store().check()
    }
}
