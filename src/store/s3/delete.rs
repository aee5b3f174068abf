//! Deleting a published upload.

use super::folder::Folder;
use super::keys;
use super::removal::Removal;
use super::store::S3Store;
use super::unfinished::{self, Doing};
use crate::store::{StoreError, UploadId};

impl S3Store {
    /// Removes the manifest, which makes the upload gone, and then the rest. Nothing in a bucket can be overwritten where it lies: where
    /// the bucket keeps versions, what is removed here can be read until these are removed too.
    pub(super) fn delete_published(&self, id: &UploadId) -> Result<(), StoreError> {
        let is_published = match self.bucket.head(&keys::meta(id)) {
            Ok(_) => true,
            Err(StoreError::NotFound) => false,
            Err(error) => return Err(error),
        };
        if !is_published && unfinished::doing(self, id)? != Some(Doing::Deleting) {
            return Err(StoreError::NotFound);
        }
        let Some(removal) = Removal::take(self, id, Doing::Deleting)? else {
            return Err(StoreError::NotFound);
        };
        let mut folder = Folder::list(&self.bucket, id)?;
        if folder.meta.is_some() {
            self.bucket.delete(&keys::meta(id))?;
        }
        if removal.before == Some(Doing::Rewrapping) {
            // A manifest that was put there meanwhile has gone with it, and what that one named has not been listed. From now on none is
            // put there: it would have to be in the place of one.
            folder.join(Folder::list(&self.bucket, id)?);
        }
        // Of several who do this at once, one tells of it.
        let was_there = folder.len() > 0 || removal.before == Some(Doing::Deleting);
        if removal.remove(&folder, true)? && was_there {
            Ok(())
        } else {
            Err(StoreError::NotFound)
        }
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
