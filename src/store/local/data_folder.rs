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

/// The lock of a data folder, until it is dropped.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closed alone, it would stay with a program that this process is just starting: until that runs, it has every file that
        // is open here.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of a data folder.
pub(super) fn lock(data: &Path) -> Result<Lock, StoreError> {
    let path = data.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE.bits())
        .open(&path);
    let file = file.map_err(|source| StoreError::io("create", &path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            folder: data.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(StoreError::io("lock", path, source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_dropped_is_free_whoever_still_has_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        // As a program has it that is just being started.
        let _copy = held.0.try_clone().unwrap();
        let refused = lock(folder.path());
        assert!(matches!(refused, Err(StoreError::Locked { .. })));
        drop(held);
        lock(folder.path()).unwrap();
    }
}
