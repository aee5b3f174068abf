//! Writing a sealed file, with the disk at work while the rest still arrives.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::io::Errno;

use super::direct::Direct;
use super::directory::Directory;
use super::durable;
use super::room::Room;
use crate::store::{SegmentWriter, StoreError};

/// After so many bytes in the page cache the disk is set to work on them. A short upload never gets there; a long one has little
/// left to wait for in the end, and never fills the memory with what is still to be written.
const WRITE_BEHIND: u64 = 32 * 1024 * 1024;

/// A file that begins with so many bytes at once comes fast and is a long one: it is written past the page cache, as long as it goes
/// on like that. A short one is one write, and a slow one must not hold the memory for it.
const DIRECT_FROM: usize = 512 * 1024;

/// So much is copied before it is looked whether the disk has enough left.
const COPY_AT_ONCE: u64 = 64 * 1024 * 1024;

/// A file that is being written.
pub(super) struct LocalWriter {
    file: File,
    path: PathBuf,
    /// Bytes written since the disk was last set to work.
    unsynced: u64,
    pub(super) room: Option<Arc<Room>>,
    /// Bytes written in all, and since it was last looked whether the disk has enough left.
    written: u64,
    unlooked: u64,
    behind: Option<JoinHandle<io::Result<()>>>,
    /// Where it is written past the page cache.
    direct: Option<Direct>,
}

impl LocalWriter {
    /// Creates a file that must not be there yet.
    pub(super) fn create(folder: &Directory, name: &str) -> Result<Self, StoreError> {
        match folder.create_file(name) {
            Ok(file) => {
                let mut writer = Self::new(file, folder.path().join(name));
                writer.room = folder.room().cloned();
                Ok(writer)
            }
            Err(Errno::EXIST) => Err(StoreError::Exists),
            Err(errno) => Err(folder.error("create", name, errno)),
        }
    }

    pub(super) fn new(file: File, path: PathBuf) -> Self {
        Self {
            file,
            path,
            unsynced: 0,
            room: None,
            written: 0,
            unlooked: 0,
            behind: None,
            direct: None,
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Hands bytes to the system.
    fn hand_over(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.end_direct()?;
        self.file.write_all(sealed)?;
        self.unsynced += sealed.len() as u64;
        if self.unsynced >= WRITE_BEHIND {
            self.write_behind()?;
        }
        Ok(())
    }

    /// Hands to the system what was put into its place.
    fn hand_over_placed(&mut self) -> io::Result<()> {
        let written = self.direct.as_mut().map(|direct| direct.write(&self.file));
        match written {
            Some(Err(error)) if is_refused(&error) => self.end_direct(),
            Some(written) => written,
            None => Ok(()),
        }
    }

    /// Counts bytes that are about to be written, where there is room for them.
    fn take_room(&mut self, size: usize) -> Result<(), StoreError> {
        if let Some(room) = &self.room {
            room.look(&mut self.unlooked, &self.file)?;
            room.take(size as u64)?;
        }
        self.written += size as u64;
        self.unlooked += size as u64;
        Ok(())
    }

    /// Says what a write came to.
    fn settle(&mut self, written: io::Result<()>) -> Result<(), StoreError> {
        if written.is_err()
            && let (Some(room), Ok(file)) = (&self.room, self.file.metadata())
        {
            // Some of it may have been.
            room.resized(self.written, file.len());
            self.written = file.len();
            self.direct = None;
        }
        written.map_err(|source| StoreError::io("write", &self.path, source))
    }

    /// Hands over what waits for more.
    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.direct.as_mut().map(|direct| direct.flush(&self.file));
        match flushed {
            Some(Err(error)) if is_refused(&error) => self.end_direct(),
            Some(flushed) => flushed,
            None => Ok(()),
        }
    }

    /// From here on the file is written to through the page cache.
    fn end_direct(&mut self) -> io::Result<()> {
        match &self.direct {
            Some(direct) => direct.end(&self.file)?,
            None => return Ok(()),
        }
        self.direct = None;
        Ok(())
    }

    /// Sets the disk to work on what was written so far, unless it still is on what was before that.
    fn write_behind(&mut self) -> io::Result<()> {
        if self.behind.as_ref().is_some_and(|sync| !sync.is_finished()) {
            return Ok(());
        }
        self.join()?;
        self.unsynced = 0;
        let file = self.file.try_clone()?;
        let sync = move || durable::sync_data(&file);
        // Where no thread can be had, `finish` does it all.
        self.behind = std::thread::Builder::new()
            .name("write-behind".to_owned())
            .spawn(sync)
            .ok();
        Ok(())
    }

    /// Appends all of `source` from byte `at` on, without a way through this process where the file system can do that. Blocks.
    pub(super) fn append_from(&mut self, mut source: &File, at: u64) -> Result<(), StoreError> {
        self.end_direct()
            .map_err(|source| StoreError::io("write", &self.path, source))?;
        let failed = |source| StoreError::io("copy to", &self.path, source);
        let mut left = source
            .metadata()
            .and_then(|metadata| {
                source.seek(SeekFrom::Start(at))?;
                Ok(metadata.len().saturating_sub(at))
            })
            .map_err(failed)?;
        while left > 0 {
            let size = left.min(COPY_AT_ONCE);
            if let Some(room) = &self.room {
                room.check(0, &self.file)?;
                room.take(size)?;
            }
            let copied = io::copy(&mut source.take(size), &mut &self.file);
            if let (Some(room), Ok(file)) = (&self.room, self.file.metadata()) {
                // Some of it may have been where it failed.
                room.resized(self.written + size, file.len());
                self.written = file.len();
            }
            let copied = copied.map_err(|source| StoreError::io("copy to", &self.path, source))?;
            if copied < size {
                let cut = io::ErrorKind::UnexpectedEof;
                return Err(StoreError::io("copy to", &self.path, cut));
            }
            left -= size;
            self.write_behind()
                .map_err(|source| StoreError::io("sync", &self.path, source))?;
        }
        Ok(())
    }

    /// Waits for the disk. Its error must not get lost: the system tells it once, and a later sync may find none.
    fn join(&mut self) -> io::Result<()> {
        let Some(sync) = self.behind.take() else {
            return Ok(());
        };
        sync.join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that synced is gone")))
    }
}

impl SegmentWriter for LocalWriter {
    fn write(&mut self, sealed: &[u8]) -> Result<(), StoreError> {
        self.take_room(sealed.len())?;
        let written = self.hand_over(sealed);
        self.settle(written)
    }

    fn place(&mut self, size: usize) -> Result<Option<&mut [u8]>, StoreError> {
        if size < DIRECT_FROM {
            return Ok(None);
        }
        if self.written == 0 {
            self.direct = Direct::begin(&self.file);
        }
        if self.direct.is_some() {
            self.take_room(size)?;
        }
        Ok(self.direct.as_mut().map(|direct| direct.place(size)))
    }

    fn placed(&mut self) -> Result<(), StoreError> {
        let written = self.hand_over_placed();
        self.settle(written)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.unsynced = 0;
        // fdatasync: it also makes the size durable, without which the bytes could not be read. Times do not matter.
        self.flush()
            .and_then(|()| self.join())
            .and_then(|()| durable::sync_data(&self.file))
            .map_err(|source| StoreError::io("sync", &self.path, source))
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.sync()
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        let Some(direct) = self.direct.take() else {
            return;
        };
        if direct.unwritten() == 0 {
            return;
        }
        // It was not finished. What is whole of it is worth keeping to whoever recovers it, unless it was removed already.
        let is_removed = self.file.metadata().is_ok_and(|file| file.nlink() == 0);
        if (is_removed || direct.end(&self.file).is_err())
            && let Some(room) = &self.room
        {
            // What was counted and is not in the file was not counted back with it, nor will be.
            room.resized(direct.unwritten(), 0);
        }
    }
}

/// Whether a file system knows `O_DIRECT`, and does not take it as it was done here.
fn is_refused(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}
