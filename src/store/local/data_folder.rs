//! The data folder itself: made once, held by one process.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::directory::{Directory, FILE_MODE, FOLDER_MODE};
use crate::store::StoreError;

/// Makes the data folder and those above it where they are missing, each one durable.
pub(super) fn make(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |source| StoreError::io("create", path, source);
    let parent = path
        .parent()
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    make(parent)?;
    match DirBuilder::new().mode(FOLDER_MODE.bits()).create(path) {
        Ok(()) => {}
        // Two servers start at once; the lock will tell them apart.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) => return Err(failed(error)),
    }
    // Guards the new folder's name: all that is ever stored hangs on it.
    let parent = Directory::open(parent).map_err(|errno| StoreError::io("open", parent, errno))?;
    parent.sync()
}

/// Takes the lock of a data folder for as long as the returned file is open.
pub(super) fn lock(data: &Path) -> Result<File, StoreError> {
    let path = data.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE.bits())
        .open(&path);
    let file = file.map_err(|source| StoreError::io("create", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            folder: data.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(StoreError::io("lock", path, source)),
    }
}
