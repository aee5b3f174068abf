//! Making bytes and names durable. Everything in the store that must survive a power cut goes through here.
//!
//! A build with the feature `no-fsync` does neither. It exists for one test, which cuts the power and must then find
//! something lost: else it would prove nothing.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

/// Makes a file's bytes and size durable.
pub(super) fn sync_data(file: &File) -> io::Result<()> {
    if cfg!(feature = "no-fsync") {
        return Ok(());
    }
    file.sync_data()
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: impl AsFd) -> rustix::io::Result<()> {
    if cfg!(feature = "no-fsync") {
        return Ok(());
    }
    rustix::fs::fsync(folder)
}
