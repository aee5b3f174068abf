//! The store on a local disk.
//!
//! ```text
//! data/lock                       held by the one process that uses the folder
//! data/staging/{id}/              an upload that nobody sees yet
//! data/sessions/{id}.head         the session record of an upload that may come in several requests
//! data/sessions/{id}.entries      its entries, one behind the other
//! data/sessions/{id}.mend         the new end of one of its segments, until it is in its place
//! data/staging/{id}.deleted/      an upload on its way out
//! data/staging/{id}.replaced      new headers on their way in, or old ones on their way out (`rewrap`)
//! data/records/                   links, tokens and what is to be told (`records`)
//! data/uploads/{day}/{id}/        a published upload; its meta.age has an extended attribute (`meta`)
//! ```
//!
//! A folder is renamed from `staging/` to `uploads/` to publish it and back to delete it, so whatever a crash leaves
//! in `staging/` without a session record is rubbish, and what is in `uploads/` is whole.

mod batches;
mod data_folder;
mod deferred;
mod direct;
mod directory;
mod durable;
mod erase;
mod folder;
mod meta;
mod publish;
mod published;
mod reader;
mod records;
mod rewrap;
mod room;
mod sessions;
mod staging;
mod suspects;
#[cfg(test)]
mod tests;
mod writer;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Access, AtFlags, StatVfsMountFlags, accessat, fstatvfs};
use rustix::io::Errno;

use self::deferred::{Deferred, DeferringWriter};
use self::directory::Directory;
pub use self::folder::LocalFolder;
use self::publish::Reveals;
use self::published::{Published, open_if_there};
pub use self::reader::LocalReader;
pub use self::records::LocalRecords;
use self::rewrap::REPLACED;
use self::room::Room;
pub use self::room::StoreLimits;
use self::suspects::{NotingWriter, Suspects};
use self::writer::LocalWriter;
use super::{
    Change, Collection, Day, Publication, RecordName, RecordStore, SealedUpload, SegmentHeader,
    SegmentName, SegmentWriter, Store, StoreError, UploadId,
};

/// How the name of an upload in `staging/` ends that is on its way out.
const DELETED: &str = ".deleted";

/// The store on a local disk: one data folder, one process.
pub struct LocalStore {
    staging: Directory,
    sessions: Directory,
    published: Published,
    /// The day folder that was published to last, known to be there and durable. Nearly every upload goes to the same.
    current_day: Mutex<Option<(Day, Arc<Directory>)>>,
    /// Segments that are synced when their upload is published.
    deferred: Arc<Deferred>,
    /// Held by the one form whose uploads are made durable side by side.
    completes_several: Mutex<()>,
    /// Publications that wait to be made visible together.
    reveals: Reveals,
    suspects: Arc<Suspects>,
    records: LocalRecords,
    room: Arc<Room>,
    /// Given back when the store is let go.
    _lock: data_folder::Lock,
}

impl LocalStore {
    /// The most files that an upload has open: its segment, once more for write-behind, and its record; while it is published, its
    /// folder and its `meta.age`.
    pub const OPEN_FILES_PER_UPLOAD: usize = 3;

    /// The most files that are open for all uploads together beside those: short segments that wait for their sync, and what is
    /// published of one form side by side.
    pub const OPEN_FILES_BESIDE: usize = deferred::MOST + publish::MOST_OPEN;

    /// Opens the store in the folder `data`: makes what is missing, takes the lock, and removes what an earlier run
    /// left unfinished. May block.
    ///
    /// A folder that another process uses is [`StoreError::Locked`]; nothing in it is touched then.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_within(data, StoreLimits::default())
    }

    /// The same within limits. With a quota, what is there is measured first: the sizes of all files are looked at.
    pub fn open_within(data: &Path, limits: StoreLimits) -> Result<Self, StoreError> {
        // Messages name the whole path, whatever the working folder is.
        let data =
            std::path::absolute(data).map_err(|source| StoreError::io("find", data, source))?;
        data_folder::make(&data)?;
        let lock = data_folder::lock(&data)?;

        let folder =
            Directory::open(&data).map_err(|errno| StoreError::io("open", &data, errno))?;
        let open = |name| {
            folder
                .make_folder(name)
                .map_err(|errno| folder.error("create", name, errno))?;
            folder
                .open_folder(name)
                .map_err(|errno| folder.error("open", name, errno))
        };
        let room = Arc::new(Room::new(limits));
        let store = Self {
            staging: open("staging")?.counting(&room),
            sessions: open("sessions")?,
            published: Published::new(open("uploads")?.counting(&room)),
            current_day: Mutex::new(None),
            deferred: Arc::default(),
            completes_several: Mutex::default(),
            reveals: Reveals::new(),
            suspects: Arc::default(),
            records: LocalRecords::open(&data)?,
            room,
            _lock: lock,
        };
        // What an earlier run wrote and did not come to sync may be read again, and must not be told as if it had been.
        durable::sync_file_system(folder.handle())
            .map_err(|errno| StoreError::io("sync", &data, errno))?;
        // Guards the names `staging`, `sessions` and `uploads`: without them nothing published below would be found again.
        folder.sync()?;
        store.sweep()?;
        store.records.sweep()?;
        if store.room.counted().is_some() {
            // Sweeping has counted what it removed, and never below nothing: from here on it is exact.
            let before = store.room.counted().unwrap_or(0);
            let stored = store.measure()?;
            store.room.resized(before, stored);
            tracing::info!(bytes = stored, "measured what is stored");
        }
        Ok(store)
    }

    fn measure(&self) -> Result<u64, StoreError> {
        Ok(room::measure(&self.staging)? + room::measure(self.published.folder())?)
    }

    /// Removes everything that is staged and that no session record goes on with. Stopped half-way, the next run goes on.
    fn sweep(&self) -> Result<(), StoreError> {
        let kept = self.sweep_sessions()?;
        let unreadable = |errno| StoreError::io("read", self.staging.path(), errno);
        // Names are collected first: removing while reading may skip some.
        let leftovers = self
            .staging
            .entries()
            .map_err(unreadable)?
            .collect::<Result<Vec<_>, _>>();
        let mut leftovers = leftovers.map_err(unreadable)?;
        leftovers.retain(|leftover| {
            let id = leftover.name.to_str().and_then(|name| name.parse().ok());
            !id.is_some_and(|id: UploadId| kept.contains(&id))
        });
        for leftover in &leftovers {
            let name = &leftover.name;
            let replaced = name.to_str().and_then(|name| name.strip_suffix(REPLACED));
            if let Some(id) = replaced.and_then(|id| id.parse().ok()) {
                self.sweep_replaced(&id)?;
                continue;
            }
            if name.as_bytes().ends_with(DELETED.as_bytes()) {
                self.destroy(name)?;
                continue;
            }
            self.staging
                .remove(name)
                .map_err(|errno| self.staging.error("remove", name, errno))?;
        }
        if !leftovers.is_empty() {
            tracing::info!(
                count = leftovers.len(),
                "removed what an earlier run left staged or half deleted"
            );
        }
        Ok(())
    }

    /// Removes an upload that has left `uploads/`: first the keys that are wrapped in its files are overwritten, and only when
    /// that is on the disk, everything is unlinked, `meta.age` first.
    fn destroy(&self, name: impl AsRef<OsStr>) -> Result<(), StoreError> {
        let name = name.as_ref();
        match self.staging.open_folder(name) {
            Ok(folder) => erase::erase_keys(&folder)?,
            // Another run of the same was quicker; or it is nothing of ours.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(self.staging.error("open", name, errno)),
        }
        self.staging
            .remove(name)
            .map_err(|errno| self.staging.error("remove", name, errno))
    }

    /// Creates a segment's file, and its upload's folder where it is missing.
    fn create_staged(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<LocalWriter, StoreError> {
        let folder = id.to_string();
        self.staging
            .make_folder(&folder)
            .map_err(|errno| self.staging.error("create", &folder, errno))?;
        let name = format!("{folder}/{}", segment.file());
        LocalWriter::create(&self.staging, &name)
    }

    /// The day folder to read from, if there is one.
    fn find_day(&self, day: Day) -> Result<Option<Arc<Directory>>, StoreError> {
        if let Some((_, folder)) = self.current_day().as_ref().filter(|(name, _)| *name == day) {
            return Ok(Some(Arc::clone(folder)));
        }
        Ok(self.published.day(day)?.map(Arc::new))
    }

    fn current_day(&self) -> MutexGuard<'_, Option<(Day, Arc<Directory>)>> {
        // What is in it is replaced as a whole, so a panic elsewhere cannot have left it half done.
        self.current_day
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordStore for LocalStore {
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        self.records.record(collection, name)
    }

    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        self.records.update_record(collection, name, change)
    }

    fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        self.records.records(collection)
    }
}

impl Store for LocalStore {
    fn create_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<Box<dyn SegmentWriter>, StoreError> {
        let writer = self.create_staged(id, segment)?;
        Ok(Box::new(NotingWriter {
            writer: Box::new(writer),
            id: *id,
            suspects: Arc::clone(&self.suspects),
        }))
    }

    fn create_segment_to_publish(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<Box<dyn SegmentWriter>, StoreError> {
        let writer = self.create_staged(id, segment)?;
        Ok(Box::new(DeferringWriter::new(writer, *id, &self.deferred)))
    }

    fn publish(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        self.publish_all(uploads)
    }

    fn settle(&self, id: &UploadId) -> Result<(), StoreError> {
        let day = self.find_day(id.day())?.ok_or(StoreError::NotFound)?;
        open_if_there(&day, &id.to_string())?.ok_or(StoreError::NotFound)?;
        // In the order of publishing, and for the same reasons.
        self.staging.sync()?;
        day.sync()?;
        self.published.folder().sync()
    }

    fn discard(&self, id: &UploadId) -> Result<(), StoreError> {
        self.suspects.forget(id);
        self.deferred.forget(id);
        let id = id.to_string();
        self.staging
            .remove(&id)
            .map_err(|errno| self.staging.error("remove", &id, errno))
    }

    fn open(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        let day = self.find_day(id.day())?.ok_or(StoreError::NotFound)?;
        let folder = open_if_there(&day, &id.to_string())?.ok_or(StoreError::NotFound)?;
        Ok(Box::new(LocalFolder::new(folder)))
    }

    fn list(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.published.list(after, limit)
    }

    fn delete(&self, id: &UploadId) -> Result<(), StoreError> {
        let name = id.to_string();
        let deleted = format!("{name}{DELETED}");
        let day = self.find_day(id.day())?;
        let moved = day.as_ref().map_or(Err(Errno::NOENT), |day| {
            day.rename_new(&name, &self.staging, &deleted)
        });
        let failed = |errno| {
            self.published
                .folder()
                .error("delete", format!("{}/{name}", id.day()), errno)
        };
        match moved {
            Ok(()) => {}
            // An earlier call moved it and could not go on.
            Err(Errno::NOENT) if self.staging.contains(&deleted).map_err(failed)? => {}
            Err(Errno::NOENT) => return Err(StoreError::NotFound),
            Err(errno) => return Err(failed(errno)),
        }
        // Guards that it has left uploads/. Its name in staging/ needs no sync: what gets lost there was to be removed.
        if let Some(day) = day {
            day.sync()?;
        }
        self.destroy(&deleted)?;
        // Where what was once replaced could not be removed, it still is there.
        self.destroy_replaced(id)
    }

    fn rewrap(
        &self,
        id: &UploadId,
        old_meta: &[u8],
        meta: &[u8],
        headers: Option<&[SegmentHeader<'_>]>,
    ) -> Result<(), StoreError> {
        self.rewrap_upload(id, old_meta, meta, headers)
    }

    fn check(&self) -> Result<(), StoreError> {
        let failed = |errno| StoreError::io("write to", self.staging.path(), errno);
        accessat(
            self.staging.handle(),
            ".",
            Access::WRITE_OK | Access::EXEC_OK,
            AtFlags::empty(),
        )
        .map_err(failed)?;
        let disk = fstatvfs(self.staging.handle()).map_err(failed)?;
        if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(failed(Errno::ROFS));
        }
        // File systems that do not count inodes say that they have none at all.
        let out_of_inodes = disk.f_files > 0 && disk.f_favail == 0;
        if out_of_inodes {
            return Err(StoreError::Full {
                source: Errno::NOSPC.into(),
            });
        }
        self.has_room(0)
    }

    fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.room.check(bytes, self.staging.handle())
    }

    fn has_room_now(&self, bytes: u64) -> Option<Result<(), StoreError>> {
        self.room.check_now(bytes)
    }

    fn stored(&self) -> Result<u64, StoreError> {
        self.room.counted().map_or_else(|| self.measure(), Ok)
    }
}
