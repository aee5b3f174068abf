//! Reading a data folder beside the server that is at work in it.

use std::path::Path;

use super::LocalFolder;
use super::directory::Directory;
use super::published::{Published, open_if_there};
use crate::store::{SealedUpload, StoreError, UploadId};

/// The published uploads of a data folder, read-only. It takes no lock and changes nothing, and so works beside a running server;
/// what that deletes or seals anew meanwhile may be [`StoreError::NotFound`] or [`StoreError::Replaced`] on the next read.
pub struct LocalReader {
    published: Published,
}

impl LocalReader {
    /// Opens the data folder `data`, which must be there. May block.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        // Messages name the whole path, whatever the working folder is.
        let path = std::path::absolute(data)
            .map_err(|source| StoreError::io("find", data, source))?
            .join("uploads");
        let uploads =
            Directory::open(&path).map_err(|errno| StoreError::io("open", &path, errno))?;
        Ok(Self {
            published: Published::new(uploads),
        })
    }

    /// Published ids in order, those after `after` only, at most `limit`. May block.
    pub fn list(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadId>, StoreError> {
        self.published.list(after, limit)
    }

    /// Opens a published upload for reading, or says [`StoreError::NotFound`]. May block.
    pub fn open_upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        let day = self.published.day(id.day())?.ok_or(StoreError::NotFound)?;
        let folder = open_if_there(&day, &id.to_string())?.ok_or(StoreError::NotFound)?;
        Ok(Box::new(LocalFolder::new(folder)))
    }
}
