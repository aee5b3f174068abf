//! Records as files, each replaced as a whole by whoever holds its lock.
//!
//! ```text
//! records/{collection}/{name}       a record
//! records/{collection}/{name}.new   what it is to become, while that is written
//! records/locks/{number}            held by whoever changes one of the records that share it
//! ```
//!
//! The locks are the system's (`flock`), on files that are opened for each change: so they hold between threads too, and
//! against a command that runs beside the server. One that dies lets go of its lock.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::Directory;
use super::{data_folder, durable};
use crate::store::{Change, Collection, MAX_RECORD, RecordName, RecordStore, StoreError};

/// So many records can be changed at once.
const LOCKS: usize = 16;

const NEW: &str = ".new";

/// The records of a data folder. It needs no other part of the store, so it can be opened beside a server that uses
/// the folder.
pub struct LocalRecords {
    /// In the order of [`Collection::ALL`].
    collections: Vec<Directory>,
    locks: Directory,
}

impl LocalRecords {
    /// Opens the records in the folder `data`, which is made where it is missing. May block.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let data =
            std::path::absolute(data).map_err(|source| StoreError::io("find", data, source))?;
        data_folder::make(&data)?;
        let folder =
            Directory::open(&data).map_err(|errno| StoreError::io("open", &data, errno))?;
        let records = open_folder(&folder, "records")?;
        let collections = Collection::ALL.iter();
        let opened = Self {
            collections: collections
                .map(|collection| open_folder(&records, collection.name()))
                .collect::<Result<_, _>>()?,
            locks: open_folder(&records, "locks")?,
        };
        // Guards the names of the folders: all that is written below hangs on them.
        records.sync()?;
        folder.sync()?;
        Ok(opened)
    }

    /// Whether there is any record of a collection in the folder `data`. Makes nothing.
    pub fn exist(data: &Path, collection: Collection) -> Result<bool, StoreError> {
        let path = data.join("records").join(collection.name());
        match Directory::open(&path) {
            Ok(folder) => Ok(names(&folder)?.iter().any(|name| !name.ends_with(NEW))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(StoreError::io("open", path, errno)),
        }
    }

    /// Removes what changes that were interrupted have left behind.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        for folder in &self.collections {
            for name in names(folder)? {
                let Some(name) = name.strip_suffix(NEW).and_then(|name| name.parse().ok()) else {
                    continue;
                };
                // A command beside this process may be about to put it in its place.
                let _lock = self.lock(&name)?;
                let new = new_name(&name);
                folder
                    .remove(&new)
                    .map_err(|errno| folder.error("remove", &new, errno))?;
            }
        }
        Ok(())
    }

    fn folder(&self, collection: Collection) -> &Directory {
        &self.collections[collection as usize]
    }

    /// Waits for the lock of a record. It is held for as long as the file is open.
    fn lock(&self, name: &RecordName) -> Result<File, StoreError> {
        let name = format!("{:02}", lock_number(name));
        let file = self
            .locks
            .open_to_write(&name, true)
            .map_err(|errno| self.locks.error("open", &name, errno))?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(StoreError::io("lock", self.locks.path().join(name), source));
                }
            }
        }
    }
}

impl RecordStore for LocalRecords {
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        read(self.folder(collection), name)?.ok_or(StoreError::NotFound)
    }

    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        let folder = self.folder(collection);
        let _lock = self.lock(name)?;
        let now = read(folder, name)?;
        match change(now.as_deref()) {
            Change::Keep => Ok(()),
            Change::Put(bytes) => put(folder, name, &bytes),
            Change::Remove if now.is_none() => Ok(()),
            Change::Remove => {
                folder
                    .remove(name.as_str())
                    .map_err(|errno| folder.error("remove", name.as_str(), errno))?;
                folder.sync()
            }
        }
    }

    fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        let names = names(self.folder(collection))?;
        // Whatever else lies there is none of ours, or on its way to become a record.
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}

fn open_folder(parent: &Directory, name: &str) -> Result<Directory, StoreError> {
    parent
        .make_folder(name)
        .map_err(|errno| parent.error("create", name, errno))?;
    parent
        .open_folder(name)
        .map_err(|errno| parent.error("open", name, errno))
}

/// The names of the files in a folder.
pub(super) fn names(folder: &Directory) -> Result<Vec<String>, StoreError> {
    let unreadable = |errno| StoreError::io("read", folder.path(), errno);
    let mut names = Vec::new();
    for entry in folder.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.kind == FileType::RegularFile {
            names.extend(entry.name.into_string().ok());
        }
    }
    Ok(names)
}

/// A record, where it is there.
pub(super) fn read(folder: &Directory, name: &RecordName) -> Result<Option<Vec<u8>>, StoreError> {
    let name = name.as_str();
    let file = match folder.open_file(name) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        // A link, or a socket.
        Err(Errno::LOOP | Errno::NXIO) => {
            return Err(StoreError::UnexpectedFile {
                path: folder.path().join(name),
            });
        }
        Err(errno) => return Err(folder.error("open", name, errno)),
    };
    let failed = |source| StoreError::io("read", folder.path().join(name), source);
    let mut bytes = Vec::new();
    file.take(MAX_RECORD as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > MAX_RECORD {
        return Err(failed(too_large()));
    }
    Ok(Some(bytes))
}

/// Puts a record in its place, whole and durable. Its lock is held.
fn put(folder: &Directory, name: &RecordName, bytes: &[u8]) -> Result<(), StoreError> {
    let new = new_name(name);
    let failed = |doing, source: io::Error| StoreError::io(doing, folder.path().join(&new), source);
    if bytes.len() > MAX_RECORD {
        return Err(failed("write", too_large()));
    }
    let created = match folder.create_file(&new) {
        // Left behind by a change that was interrupted; what became of its bytes is unknown.
        Err(Errno::EXIST) => folder.remove(&new).and_then(|()| folder.create_file(&new)),
        created => created,
    };
    let mut file = created.map_err(|errno| folder.error("create", &new, errno))?;
    let written = file
        .write_all(bytes)
        // Guards the record's bytes, before its name leads to them.
        .and_then(|()| durable::sync_data(&file))
        .map_err(|source| failed("write", source));
    let put = written.and_then(|()| {
        folder
            .rename(&new, name.as_str())
            .map_err(|errno| folder.error("replace", name.as_str(), errno))
    });
    if put.is_err() {
        // A full disk needs the space; the next change would remove it as well.
        let _ = folder.remove(&new);
    }
    put?;
    // Guards that the name leads to the new bytes.
    folder.sync()
}

fn new_name(name: &RecordName) -> String {
    format!("{name}{NEW}")
}

/// The same for one name in every process, now and in later versions that may run beside this one.
fn lock_number(name: &RecordName) -> usize {
    let sum = |sum: usize, byte: u8| (sum * 31 + usize::from(byte)) % LOCKS;
    name.as_str().bytes().fold(0, sum)
}

fn too_large() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a record has at most {MAX_RECORD} bytes"),
    )
}
