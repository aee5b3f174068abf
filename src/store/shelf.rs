//! Published uploads, for whoever only reads them.

use super::{LocalReader, SealedUpload, Store, StoreError, UploadId};

/// Published uploads as they are read: those of a store, or of a data folder beside the server that is at work in it. All calls
/// may block.
pub trait Shelf: Send + Sync {
    /// Published ids in order, those after `after` only, at most `limit`.
    fn ids(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError>;

    /// Opens a published upload for reading, or says [`StoreError::NotFound`].
    fn upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError>;
}

impl<S: Store + ?Sized> Shelf for S {
    fn ids(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.list(after, limit)
    }

    fn upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.open(id)
    }
}

impl Shelf for LocalReader {
    fn ids(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.list(after, limit)
    }

    fn upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.open_upload(id)
    }
}
