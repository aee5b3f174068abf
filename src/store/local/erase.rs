//! Overwriting the wrapped keys of an upload that is being deleted.
//!
//! An upload opens with the file keys in its manifest, or with the one in the header of each of its files. All of them are
//! wrapped for the recipients. Without them nothing opens any more, also for the holder of a private key, whatever is found of
//! the segments afterwards. `SECURITY.md` says what that comes to on disks that do not write in place.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::Directory;
use super::durable;
use crate::store::{SealedFile, StoreError};

/// Bytes at the beginning of a segment that are overwritten: its header is there, for as many recipients as a server has.
const BEGINNING: u64 = 64 << 10;
const ZEROS: [u8; 4096] = [0; 4096];

/// Overwrites `meta.age`, and makes that durable; then the beginnings of all segments. Doing it again is fine.
pub(super) fn erase_keys(folder: &Directory) -> Result<(), StoreError> {
    let unreadable = |errno| StoreError::io("read", folder.path(), errno);
    let mut files = Vec::new();
    for entry in folder.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name: Option<SealedFile> = entry.name.to_str().and_then(|name| name.parse().ok());
        files.extend(name.filter(|_| entry.kind == FileType::RegularFile));
    }
    // `meta.age` sorts first.
    files.sort_unstable();
    for file in files {
        let name = file.to_string();
        match folder.open_to_write(&name, false) {
            Ok(open) => {
                erase(file, &open).map_err(|source| {
                    StoreError::io("overwrite", folder.path().join(&name), source)
                })?;
            }
            // Somebody else removes the same.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(folder.error("overwrite", &name, errno)),
        }
    }
    Ok(())
}

fn erase(name: SealedFile, file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let size = match name {
        SealedFile::Meta => metadata.len(),
        // It has a second name where it is also a segment of something that is not deleted.
        SealedFile::Segment(_) if metadata.nlink() > 1 => return Ok(()),
        SealedFile::Segment(_) => metadata.len().min(BEGINNING),
    };
    let mut at = 0;
    while at < size {
        let piece = ZEROS
            .len()
            .min(usize::try_from(size - at).unwrap_or(ZEROS.len()));
        file.write_all_at(&ZEROS[..piece], at)?;
        at += piece as u64;
    }
    durable::sync_data(file)
}
