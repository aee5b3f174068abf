//! Whether an upload is the same on both sides.

use super::{MigrateError, Sound};
use crate::store::{SealedFile, SealedUpload, StoreError};
use crate::upload::open::MAX_META_SIZE;
use crate::upload::verify::Problem;

/// Fails where a segment is not there, in the size that it has here: whatever has become of it since it was read.
pub(super) fn check_all_there(
    here: &dyn SealedUpload,
    there: &dyn SealedUpload,
) -> Result<(), MigrateError> {
    for file in here.files().map_err(MigrateError::From)? {
        let opened = here.open(file).map_err(MigrateError::From)?;
        let problem = match there.open(file) {
            Ok(kept) if kept.len() == opened.len() => continue,
            Ok(_) => Problem::Size,
            Err(StoreError::NotFound) => Problem::Missing,
            Err(error) => return Err(MigrateError::To(error)),
        };
        let file = file.to_string();
        return Err(MigrateError::NotKept { file, problem });
    }
    Ok(())
}

/// The first file of an upload that is not as it should be, by the bytes of `meta.age` and the sizes of the others.
pub(super) fn different_file(
    there: &dyn SealedUpload,
    sound: &Sound,
) -> Result<Option<SealedFile>, StoreError> {
    match read_whole(there) {
        Ok(meta) if meta == sound.meta => {}
        Ok(_) | Err(StoreError::NotFound) => return Ok(Some(SealedFile::Meta)),
        Err(error) => return Err(error),
    }
    for (file, entry) in &sound.segments {
        match there.open(*file) {
            Ok(opened) if opened.len() == entry.size => {}
            Ok(_) | Err(StoreError::NotFound) => return Ok(Some(*file)),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// All of `meta.age`.
pub(super) fn read_whole(upload: &dyn SealedUpload) -> Result<Vec<u8>, StoreError> {
    let file = upload.open(SealedFile::Meta)?;
    let size = file.len().min(MAX_META_SIZE + 1);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
