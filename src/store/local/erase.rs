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

/// The longest header that an age file has here. Where no end of it is found, so much is overwritten.
pub(super) const MAX_HEADER: u64 = 4 << 20;
/// How the last line of a header begins. Nothing before it in the header looks like that.
const LAST_LINE: &[u8] = b"\n---";
const ZEROS: [u8; 4096] = [0; 4096];

/// Overwrites `meta.age`, and makes that durable; then the headers of all segments. Doing it again is fine.
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

/// Overwrites what opens this file, and makes that durable.
pub(super) fn erase(name: SealedFile, file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    match name {
        SealedFile::Meta => erase_to(file, metadata.len(), None)?,
        // It has a second name where it is also a segment of something that is not deleted.
        SealedFile::Segment(_) if metadata.nlink() > 1 => return Ok(()),
        SealedFile::Segment(_) => {
            erase_to(file, metadata.len().min(MAX_HEADER), Some(LAST_LINE))?;
        }
    }
    durable::sync_data(file)
}

/// Overwrites up to `end`, or to the piece in which `last` is found. An earlier time may have come to any part of that: where
/// `last` is gone already, all is overwritten.
fn erase_to(file: &File, end: u64, last: Option<&[u8]>) -> io::Result<()> {
    let mut piece = [0; ZEROS.len()];
    // The end of the piece before, so that what lies across two pieces is found.
    let mut window = Vec::with_capacity(piece.len() + LAST_LINE.len());
    let mut at = 0;
    while at < end {
        let size = usize::try_from(end - at).unwrap_or(piece.len());
        let size = size.min(piece.len());
        let found = if let Some(last) = last {
            file.read_exact_at(&mut piece[..size], at)?;
            window.extend_from_slice(&piece[..size]);
            let found = window.windows(last.len()).any(|bytes| bytes == last);
            window.drain(..window.len().saturating_sub(last.len() - 1));
            found
        } else {
            false
        };
        file.write_all_at(&ZEROS[..size], at)?;
        at += size as u64;
        if found {
            break;
        }
    }
    Ok(())
}
