//! Writing `meta.age`, with its checksum beside it.
//!
//! The record in `meta.age` has checksums of the segments, and cannot have its own. It stands in an extended attribute of the
//! file, where the file system has such: it finds damage, and its loss on a copy is none.

use std::fs::File;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

use super::directory::Directory;
use super::writer::LocalWriter;
use crate::store::{SegmentWriter, StoreError};

/// Holds CRC-64/NVME over the file, in 16 digits of lowercase hex.
const ATTRIBUTE: &str = "user.sealslot.crc64nvme";

/// Creates the file `name`, which must not be there yet, with the bytes of a `meta.age`. Its bytes and its checksum are durable
/// when this returns, its name is not.
pub(super) fn write(folder: &Directory, name: &str, meta: &[u8]) -> Result<(), StoreError> {
    Box::new(begin(folder, name, meta)?).finish()
}

/// The same, and nothing of it is durable before what this returns was finished.
pub(super) fn begin(
    folder: &Directory,
    name: &str,
    meta: &[u8],
) -> Result<LocalWriter, StoreError> {
    let mut writer = LocalWriter::create(folder, name)?;
    writer.write(meta)?;
    let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, meta);
    let digits = format!("{checksum:016x}");
    // Not every file system keeps attributes, and one that is full still takes the upload.
    if let Err(errno) = fsetxattr(
        writer.file(),
        ATTRIBUTE,
        digits.as_bytes(),
        XattrFlags::empty(),
    ) {
        tracing::debug!(%errno, "the checksum of a meta.age could not be noted");
    }
    Ok(writer)
}

/// The checksum that was noted with this file, if there is one.
pub(super) fn checksum_of(file: &File) -> Option<u64> {
    let mut digits = [0_u8; 17];
    let size = fgetxattr(file, ATTRIBUTE, &mut digits[..]).ok()?;
    let digits = std::str::from_utf8(digits.get(..size).filter(|digits| digits.len() == 16)?);
    digits
        .ok()
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
}
