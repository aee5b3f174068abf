//! Deleting a published upload.

use super::folder::Folder;
use super::keys;
use super::store::S3Store;
use super::unfinished::{self, Doing};
use crate::store::{StoreError, UploadId};

impl S3Store {
    /// Removes the manifest, which makes the upload gone, and then the rest. Nothing in a bucket can be overwritten where it lies: where
    /// the bucket keeps versions, what is removed here can be read until these are removed too.
    pub(super) fn delete_published(&self, id: &UploadId) -> Result<(), StoreError> {
        let folder = Folder::list(&self.bucket, id)?;
        if folder.meta.is_some() {
            unfinished::begin(self, id, Doing::Deleting)?;
            self.bucket.delete(&keys::meta(id))?;
        } else if unfinished::doing(self, id)? != Some(Doing::Deleting) {
            return Err(StoreError::NotFound);
        }
        self.remove_folder(&folder)?;
        unfinished::end(self, id)
    }
}
