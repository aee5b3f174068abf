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

    /// Whether a published upload has all its segments, and nobody is at deleting it. That is looked for first: who has come to the
    /// end of it by then has removed the segments.
    pub(super) fn is_kept_whole(&self, id: &UploadId) -> Result<bool, StoreError> {
        if unfinished::doing(self, id)? == Some(Doing::Deleting) {
            return Ok(false);
        }
        let upload = match self.open_upload(id) {
            Err(StoreError::NotFound) => return Ok(false),
            upload => upload?,
        };
        let there = Folder::list(&self.bucket, id)?;
        let is_there = |name| (there.segments.iter()).any(|(segment, _)| segment == name);
        Ok(there.meta.is_some() && upload.segments()?.iter().all(is_there))
    }
}
