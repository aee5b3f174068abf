//! Making bytes and names durable. Everything in the store that must survive a power cut goes through here.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Advice, fadvise};

/// Makes a file's bytes and size durable.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Sets the disk to work on a file's bytes without waiting for it, so that the syncs of several files have less left to do. It is
/// advice: where the system does not take it, the sync does it all.
pub(super) fn begin_sync(file: &File) {
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fsync(folder)
}

/// Makes everything durable that was ever written to the file system of this folder.
pub(super) fn sync_file_system(folder: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::syncfs(folder)
}
