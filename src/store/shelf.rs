//! What is stored, for whoever only reads it.

use super::{Collection, LocalReader, RecordName, SealedUpload, Store, StoreError, UploadId};

/// Published uploads and records as they are read: those of a store, or of a data folder beside the server that is at work in it.
/// All calls may block.
pub trait Shelf: Send + Sync {
    /// Published ids in order, those after `after` only, at most `limit`.
    fn ids(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError>;

    /// Opens a published upload for reading, or says [`StoreError::NotFound`].
    fn upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError>;

    /// The names of all records of a collection, in no order.
    fn record_names(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError>;

    /// A record as it is now, or [`StoreError::NotFound`].
    fn record_bytes(
        &self,
        collection: Collection,
        name: &RecordName,
    ) -> Result<Vec<u8>, StoreError>;

    /// How many uploads have begun and not come to their end, and can be gone on with.
    fn unfinished(&self) -> Result<usize, StoreError>;
}

impl<S: Store> Shelf for S {
    fn ids(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.list(after, limit)
    }

    fn upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.open(id)
    }

    fn record_names(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        self.records(collection)
    }

    fn record_bytes(
        &self,
        collection: Collection,
        name: &RecordName,
    ) -> Result<Vec<u8>, StoreError> {
        self.record(collection, name)
    }

    fn unfinished(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        for id in self.sessions()? {
            // A store may name what has lost its head, until the rest is gone too.
            match self.session_head(&id) {
                Ok(_) => count += 1,
                Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

impl Shelf for LocalReader {
    fn ids(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.list(after, limit)
    }

    fn upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.open_upload(id)
    }

    fn record_names(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        self.records(collection)
    }

    fn record_bytes(
        &self,
        collection: Collection,
        name: &RecordName,
    ) -> Result<Vec<u8>, StoreError> {
        self.record(collection, name)
    }

    fn unfinished(&self) -> Result<usize, StoreError> {
        self.count_unfinished()
    }
}
