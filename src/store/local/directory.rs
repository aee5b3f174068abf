//! An open folder: files in it are reached by its handle, which saves the walk along the path and cannot be led
//! elsewhere by a folder that was moved or replaced by a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};

use super::durable;
use super::room::Room;
use crate::store::{SealedFile, StoreError};

/// Files and folders are for this user alone.
pub(super) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
pub(super) const FOLDER_MODE: Mode = Mode::RWXU;

const OPEN_FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

pub(super) struct Directory {
    handle: OwnedFd,
    /// Where it was when opened; for messages only.
    path: PathBuf,
    /// Where what is in it counts.
    room: Option<Arc<Room>>,
}

/// A name in a folder, and what it names.
pub(super) struct Entry {
    pub(super) name: OsString,
    pub(super) kind: FileType,
}

impl Directory {
    /// Opens the folder at `path`, which the caller's user chose: links on the way are followed.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let handle = fs::open(path, OPEN_FOLDER, Mode::empty())?;
        Ok(Self {
            handle,
            path: path.to_owned(),
            room: None,
        })
    }

    /// Opens a folder in this one. A link is not followed: `Errno::LOOP` or `Errno::NOTDIR`.
    pub(super) fn open_folder(&self, name: impl AsRef<OsStr>) -> Result<Self> {
        let name = name.as_ref();
        let handle = fs::openat(
            &self.handle,
            name,
            OPEN_FOLDER | OFlags::NOFOLLOW,
            Mode::empty(),
        )?;
        Ok(Self {
            handle,
            path: self.path.join(name),
            room: self.room.clone(),
        })
    }

    /// From now on, what is in it counts.
    pub(super) fn counting(mut self, room: &Arc<Room>) -> Self {
        self.room = Some(Arc::clone(room));
        self
    }

    /// Where what is in it counts.
    pub(super) fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }

    /// Makes a folder in this one where there is none yet.
    pub(super) fn make_folder(&self, name: impl AsRef<OsStr>) -> Result<()> {
        match fs::mkdirat(&self.handle, name.as_ref(), FOLDER_MODE) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        }
    }

    /// Creates a file that must not exist yet.
    pub(super) fn create_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat(&self.handle, name.as_ref(), flags, FILE_MODE).map(File::from)
    }

    /// Opens a file for reading. A link is not followed, and opening never waits (for the writer of a pipe, say).
    pub(super) fn open_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        fs::openat(&self.handle, name.as_ref(), flags, Mode::empty()).map(File::from)
    }

    /// Opens a file for writing as it is, or creates it empty where `create` says so. A link is not followed.
    pub(super) fn open_to_write(&self, name: impl AsRef<OsStr>, create: bool) -> Result<File> {
        let mut flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if create {
            flags |= OFlags::CREATE;
        }
        fs::openat(&self.handle, name.as_ref(), flags, FILE_MODE).map(File::from)
    }

    /// Gives the file `name` a second name in the folder `to`, which must be free: `Errno::EXIST`.
    pub(super) fn link(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new_name: impl AsRef<OsStr>,
    ) -> Result<()> {
        let (name, new_name) = (name.as_ref(), new_name.as_ref());
        fs::linkat(&self.handle, name, &to.handle, new_name, AtFlags::empty())
    }

    /// Gives `name` another name in this folder, in place of whatever has it.
    pub(super) fn rename(
        &self,
        name: impl AsRef<OsStr>,
        new_name: impl AsRef<OsStr>,
    ) -> Result<()> {
        fs::renameat(&self.handle, name.as_ref(), &self.handle, new_name.as_ref())
    }

    /// The same into the folder `to`.
    pub(super) fn rename_over(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new_name: impl AsRef<OsStr>,
    ) -> Result<()> {
        fs::renameat(&self.handle, name.as_ref(), &to.handle, new_name.as_ref())
    }

    /// Lets `name` and `other_name` in the folder `other` change places, in one step. Both must be there: `Errno::NOENT`.
    pub(super) fn exchange(
        &self,
        name: impl AsRef<OsStr>,
        other: &Self,
        other_name: impl AsRef<OsStr>,
    ) -> Result<()> {
        let (name, other_name) = (name.as_ref(), other_name.as_ref());
        fs::renameat_with(
            &self.handle,
            name,
            &other.handle,
            other_name,
            RenameFlags::EXCHANGE,
        )
    }

    /// Moves `name` into the folder `to`, where `new_name` must not exist yet: `Errno::EXIST` or `Errno::NOTEMPTY`.
    pub(super) fn rename_new(
        &self,
        name: impl AsRef<OsStr>,
        to: &Self,
        new_name: impl AsRef<OsStr>,
    ) -> Result<()> {
        let (name, new_name) = (name.as_ref(), new_name.as_ref());
        match fs::renameat_with(
            &self.handle,
            name,
            &to.handle,
            new_name,
            RenameFlags::NOREPLACE,
        ) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                self.rename_unless_there(name, to, new_name)
            }
            renamed => renamed,
        }
    }

    /// [`Self::rename_new`] for file systems that do not know its flag (NFS, older overlays). Between the look and the
    /// rename the name may be taken; then a plain rename replaces an empty folder at most, never one that holds files.
    pub(super) fn rename_unless_there(
        &self,
        name: &OsStr,
        to: &Self,
        new_name: &OsStr,
    ) -> Result<()> {
        if to.contains(new_name)? {
            return Err(Errno::EXIST);
        }
        fs::renameat(&self.handle, name, &to.handle, new_name)
    }

    /// Whether there is anything of that name.
    pub(super) fn contains(&self, name: impl AsRef<OsStr>) -> Result<bool> {
        match fs::statat(&self.handle, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Removes a file, a link, or a folder and all that is in it; `meta.age` first, so that what an interruption
    /// leaves cannot be taken for an upload. Nothing there is fine: another run of the same may have been quicker.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>) -> Result<()> {
        let name = name.as_ref();
        let folder = match self.open_folder(name) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR | Errno::LOOP) => return self.unlink(name, AtFlags::empty()),
            Err(errno) => return Err(errno),
        };
        // Names are collected first: removing while reading may skip some.
        let mut entries = folder.entries()?.collect::<Result<Vec<_>>>()?;
        let meta = SealedFile::Meta.to_string();
        entries.sort_by_key(|entry| entry.name != *meta);
        for entry in entries {
            if entry.kind == FileType::Directory {
                folder.remove(&entry.name)?;
            } else {
                folder.unlink(&entry.name, AtFlags::empty())?;
            }
        }
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<()> {
        let room = self.room.as_ref().filter(|_| flags.is_empty());
        let bytes = room.map_or(0, |room| room.given_back(self, name));
        match fs::unlinkat(&self.handle, name, flags) {
            Err(Errno::NOENT) => Ok(()),
            Ok(()) => {
                room.inspect(|room| room.resized(bytes, 0));
                Ok(())
            }
            unlinked => unlinked,
        }
    }

    /// What is in the folder, in no order, without `.` and `..`.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Result<Entry>>> {
        let listing = Dir::read_from(&self.handle)?;
        Ok(listing.filter_map(|entry| self.entry(entry).transpose()))
    }

    fn entry(&self, entry: Result<fs::DirEntry>) -> Result<Option<Entry>> {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            return Ok(None);
        }
        let kind = match entry.file_type() {
            // Not every file system keeps the type beside the name.
            FileType::Unknown => match fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(errno),
            },
            known => known,
        };
        Ok(Some(Entry {
            name: name.to_owned(),
            kind,
        }))
    }

    /// Makes the names in this folder durable.
    pub(super) fn sync(&self) -> std::result::Result<(), StoreError> {
        self.sync_or_errno()
            .map_err(|errno| StoreError::io("sync", &self.path, errno))
    }

    /// The same, with an error that can be told to many.
    pub(super) fn sync_or_errno(&self) -> Result<()> {
        durable::sync_folder(&self.handle)
    }

    /// The handle, for calls about the file system.
    pub(super) fn handle(&self) -> &OwnedFd {
        &self.handle
    }

    /// Where the folder was when it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says that `doing` something to `name` in this folder failed.
    pub(super) fn error(
        &self,
        doing: &'static str,
        name: impl AsRef<Path>,
        errno: Errno,
    ) -> StoreError {
        StoreError::io(doing, self.path.join(name), errno)
    }
}
