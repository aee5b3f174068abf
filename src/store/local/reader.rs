//! Reading a data folder beside the server that is at work in it.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::LocalFolder;
use super::directory::Directory;
use super::published::{Published, open_if_there};
use super::records;
use super::sessions::session_of;
use crate::store::{Collection, RecordName, SealedUpload, StoreError, UploadId};

/// The published uploads and the records of a data folder, read-only. It takes no lock and changes nothing, and so works beside a running server;
/// what that deletes or seals anew meanwhile may be [`StoreError::NotFound`] or [`StoreError::Replaced`] on the next read.
pub struct LocalReader {
    data: PathBuf,
    published: Published,
}

impl LocalReader {
    /// Opens the data folder `data`, which must be there. May block.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        // Messages name the whole path, whatever the working folder is.
        let data =
            std::path::absolute(data).map_err(|source| StoreError::io("find", data, source))?;
        let path = data.join("uploads");
        let uploads =
            Directory::open(&path).map_err(|errno| StoreError::io("open", &path, errno))?;
        Ok(Self {
            published: Published::new(uploads),
            data,
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

    /// The names of all records of a collection, in no order. May block.
    pub fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        let Some(folder) = self.folder(&["records", collection.name()])? else {
            return Ok(Vec::new());
        };
        let names = records::names(&folder)?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// A record as it is now, or [`StoreError::NotFound`]. May block.
    pub fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        let folder = self.folder(&["records", collection.name()])?;
        let folder = folder.ok_or(StoreError::NotFound)?;
        records::read(&folder, name)?.ok_or(StoreError::NotFound)
    }

    /// How many uploads have begun and not come to their end, and can be gone on with. May block.
    pub fn count_unfinished(&self) -> Result<usize, StoreError> {
        let Some(folder) = self.folder(&["sessions"])? else {
            return Ok(0);
        };
        let names = records::names(&folder)?;
        Ok(names.iter().filter_map(|name| session_of(name)).count())
    }

    /// A folder of the data folder, where it is there.
    fn folder(&self, names: &[&str]) -> Result<Option<Directory>, StoreError> {
        let path = names
            .iter()
            .fold(self.data.clone(), |path, name| path.join(name));
        match Directory::open(&path) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(StoreError::io("open", path, errno)),
        }
    }
}
