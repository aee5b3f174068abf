//! A store that dies: after so many calls that change something, nothing is done any more, as if the server had been killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::store::{
    Change, Collection, EntryBytes, LocalStore, Publication, RecordName, RecordStore, SealedUpload,
    SegmentHeader, SegmentName, SegmentWriter, SessionStore, Staging, Store, StoreError, UploadId,
};

pub(in crate::upload) struct DyingStore {
    store: LocalStore,
    left: AtomicUsize,
    segment_limit: Option<u64>,
}

impl DyingStore {
    /// It takes `calls` more that change something.
    pub(in crate::upload) fn new(store: LocalStore, calls: usize) -> Arc<Self> {
        Self::with_segments(store, calls, None)
    }

    /// The same, with segments that end after so many bytes.
    pub(in crate::upload) fn with_segments(
        store: LocalStore,
        calls: usize,
        segment_limit: Option<u64>,
    ) -> Arc<Self> {
        let left = AtomicUsize::new(calls);
        Arc::new(Self {
            store,
            left,
            segment_limit,
        })
    }

    pub(in crate::upload) fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn dead() -> StoreError {
        StoreError::io("reach", "the store", std::io::Error::other("killed"))
    }

    /// For what only reads.
    fn alive(&self) -> Result<&LocalStore, StoreError> {
        if self.is_dead() {
            return Err(Self::dead());
        }
        Ok(&self.store)
    }

    /// For what changes something. The call that uses up the last one is not done any more.
    fn changing(&self) -> Result<&LocalStore, StoreError> {
        let counted = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match counted {
            Ok(2..) => Ok(&self.store),
            _ => Err(Self::dead()),
        }
    }
}

impl RecordStore for DyingStore {
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        self.alive()?.record(collection, name)
    }

    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        self.changing()?.update_record(collection, name, change)
    }

    fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        self.alive()?.records(collection)
    }
}

impl SessionStore for DyingStore {
    fn create_session(&self, id: &UploadId, head: &[u8]) -> Result<(), StoreError> {
        self.changing()?.create_session(id, head)
    }

    fn session_head(&self, id: &UploadId) -> Result<Vec<u8>, StoreError> {
        self.alive()?.session_head(id)
    }

    fn put_entry(&self, id: &UploadId, number: u32, entry: &EntryBytes) -> Result<(), StoreError> {
        self.changing()?.put_entry(id, number, entry)
    }

    fn last_entries(&self, id: &UploadId, most: u32) -> Result<(u32, Vec<EntryBytes>), StoreError> {
        self.alive()?.last_entries(id, most)
    }

    fn entries(&self, id: &UploadId, first: u32, most: u32) -> Result<Vec<EntryBytes>, StoreError> {
        self.alive()?.entries(id, first, most)
    }

    fn replace_entries(&self, id: &UploadId, entry: &EntryBytes) -> Result<(), StoreError> {
        self.changing()?.replace_entries(id, entry)
    }

    fn sessions(&self) -> Result<Vec<UploadId>, StoreError> {
        self.alive()?.sessions()
    }

    fn remove_session(&self, id: &UploadId) -> Result<(), StoreError> {
        self.changing()?.remove_session(id)
    }
}

impl Staging for DyingStore {
    fn secure_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        self.changing()?.secure_segment(id, segment)
    }

    fn is_staged(&self, id: &UploadId) -> Result<bool, StoreError> {
        self.alive()?.is_staged(id)
    }

    fn open_staged(
        &self,
        id: &UploadId,
        segments: &[SegmentName],
    ) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.alive()?.open_staged(id, segments)
    }

    fn forget_cached(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        self.alive()?.forget_cached(id, segment)
    }

    fn remove_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        self.changing()?.remove_segment(id, segment)
    }

    fn mend_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
        at: u64,
        tail: &[u8],
    ) -> Result<(), StoreError> {
        self.changing()?.mend_segment(id, segment, at, tail)
    }

    fn link_segment(
        &self,
        from: (&UploadId, &SegmentName),
        to: (&UploadId, &SegmentName),
    ) -> Result<(), StoreError> {
        self.changing()?.link_segment(from, to)
    }
}

impl Store for DyingStore {
    fn segment_limit(&self) -> Option<u64> {
        self.segment_limit
    }

    fn create_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<Box<dyn SegmentWriter>, StoreError> {
        self.changing()?.create_segment(id, segment)
    }

    fn publish(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        self.changing()?.publish(uploads)
    }

    fn settle(&self, id: &UploadId) -> Result<(), StoreError> {
        self.changing()?.settle(id)
    }

    fn discard(&self, id: &UploadId) -> Result<(), StoreError> {
        self.changing()?.discard(id)
    }

    fn open(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.alive()?.open(id)
    }

    fn list(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.alive()?.list(after, limit)
    }

    fn delete(&self, id: &UploadId) -> Result<(), StoreError> {
        self.changing()?.delete(id)
    }

    fn rewrap(
        &self,
        id: &UploadId,
        old_meta: &[u8],
        meta: &[u8],
        headers: Option<&[SegmentHeader<'_>]>,
    ) -> Result<(), StoreError> {
        self.changing()?.rewrap(id, old_meta, meta, headers)
    }

    fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.alive()?.has_room(bytes)
    }

    fn stored(&self) -> Result<u64, StoreError> {
        self.alive()?.stored()
    }

    fn check(&self) -> Result<(), StoreError> {
        self.alive()?.check()
    }
}
