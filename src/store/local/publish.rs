//! Publishing: from whole in `staging/` to there to stay in `uploads/`.
//!
//! What is synced, what that guards, and what a power cut leaves without it:
//!
//! | sync | guards | without it |
//! |---|---|---|
//! | fdatasync of each segment (`writer`; of a short one here, `deferred`) | its bytes and size | a published upload with holes |
//! | fdatasync of `meta.age` | its bytes and size | a published upload that nobody can open |
//! | fsync of the upload's folder | the names of its files | a published folder that lacks a file |
//! | fsync of `uploads/`, once for a day's folder | the day folder's name | a day that is gone, with all that was published to it |
//! | *rename* | | |
//! | fsync of `staging/` | that the folder has left it | on a file system without a journal, a folder in two places, which the next start would empty |
//! | fsync of the day's folder | the folder's name there | an upload that was answered for and is gone |
//!
//! All that stands above the rename must be on the disk before it: the rename is what makes the upload one. The order of
//! what stands there does not matter. Of the two below it, `staging/` comes first. Nothing syncs the folder's name in
//! `staging/` here: until the rename, what gets lost there was promised to nobody.
//!
//! The syncs of one upload's own files are done by whoever publishes it, side by side with others, and the file system
//! lets those share a commit of its journal. The two folders below the rename are the same for all: one thread renames for all that
//! wait, and syncs each folder once for them ([`Batches`]). A sync that fails there is told to all whose names it was to guard, and a
//! rename that fails to its own upload alone.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, TryLockError};

use rustix::io::Errno;

use super::batches::Batches;
use super::directory::Directory;
use super::writer::LocalWriter;
use super::{LocalStore, durable, meta};
use crate::store::{Day, Publication, SealedFile, SegmentWriter, StoreError, UploadId};

/// Uploads of one form whose `meta.age` are written before the first of them is synced.
const COMPLETED_AT_ONCE: usize = 8;

/// Files that are open because of that: of each its folder and its `meta.age`. One form at a time has so many.
pub(super) const MOST_OPEN: usize = 2 * COMPLETED_AT_ONCE;

/// The uploads of one publication, whole and durable in `staging/`, with the day folder that each goes to.
pub(super) type Moves = Vec<(UploadId, Arc<Directory>)>;

/// Publications that are made visible together.
pub(super) type Reveals = Batches<Moves, Result<(), Unrevealed>>;

/// Why a publication was not made visible, or not for sure.
pub(super) struct Unrevealed {
    /// Whether anything of it may be visible.
    visible: bool,
    source: StoreError,
}

/// What making uploads visible asks of the disk.
trait Disk {
    /// Moves a complete folder from `staging/` to its day.
    fn reveal(&self, id: &UploadId, day: &Directory) -> Result<(), StoreError>;
    /// Makes durable that folders have left `staging/`.
    fn sync_staging(&self) -> Result<(), Failed>;
    /// Makes durable which folders are in this day's.
    fn sync_day(&self, day: &Directory) -> Result<(), Failed>;
}

/// A sync that failed, to be told to many.
#[derive(Clone)]
struct Failed {
    path: std::path::PathBuf,
    errno: Errno,
}

impl Failed {
    fn sync(folder: &Directory) -> Result<(), Self> {
        folder.sync_or_errno().map_err(|errno| Self {
            path: folder.path().to_owned(),
            errno,
        })
    }

    fn to_error(&self) -> StoreError {
        StoreError::io("sync", &self.path, self.errno)
    }
}

impl LocalStore {
    pub(super) fn publish_all(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        let ids: BTreeSet<_> = uploads.iter().map(|upload| upload.id).collect();
        if ids.len() < uploads.len() {
            return Err(StoreError::Exists);
        }
        self.complete_all(uploads)?;
        let moves = uploads
            .iter()
            .map(|upload| Ok((upload.id, self.make_day(upload.id.day())?)));
        let moves = moves.collect::<Result<Moves, StoreError>>()?;
        // Nothing was visible so far, and an error left nothing visible. From here on every upload is whole, and an
        // error says that it may be visible.
        let revealed = self
            .reveals
            .take_part(moves, |batch| reveal_all(self, batch));
        let revealed = revealed.unwrap_or_else(|| {
            let gone = io::Error::other("the thread that published is gone");
            Err(Unrevealed {
                visible: true,
                source: StoreError::io("publish to", self.published.folder().path(), gone),
            })
        });
        revealed.map_err(|Unrevealed { visible, source }| {
            if visible {
                StoreError::Unsettled {
                    source: Box::new(source),
                }
            } else {
                source
            }
        })
    }

    /// Makes all of them whole and durable in `staging/`: several at a time where no other form is at that, and else one after the
    /// other. So a crowd of forms has no more files open than as many single uploads, and those of one form.
    fn complete_all(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        if uploads.len() == 1 {
            return self.complete(uploads);
        }
        let several = match self.completes_several.try_lock() {
            Ok(several) => Some(several),
            // It guards nothing that a panic could have left half done.
            Err(TryLockError::Poisoned(several)) => Some(several.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let at_once = several.as_ref().map_or(1, |_| COMPLETED_AT_ONCE);
        uploads
            .chunks(at_once)
            .try_for_each(|some| self.complete(some))
    }

    /// Writes each upload's `meta.age` and makes its whole staging folder durable.
    fn complete(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        let written = uploads.iter().map(|upload| self.write_meta(upload));
        let written = written.collect::<Result<Vec<_>, StoreError>>()?;
        for (_, writer) in &written {
            durable::begin_sync(writer.file());
        }
        for (upload, (folder, writer)) in uploads.iter().zip(written) {
            self.deferred.finish(&upload.id)?;
            writer.finish()?;
            folder.sync()?;
        }
        Ok(())
    }

    fn write_meta(
        &self,
        upload: &Publication,
    ) -> Result<(Directory, Box<LocalWriter>), StoreError> {
        let id = upload.id.to_string();
        let folder = match self.staging.open_folder(&id) {
            Err(Errno::NOENT) => self
                .staging
                .make_folder(&id)
                .and_then(|()| self.staging.open_folder(&id)),
            opened => opened,
        };
        let folder = folder.map_err(|errno| self.staging.error("open", &id, errno))?;
        let name = SealedFile::Meta.to_string();
        let writer = match meta::begin(&folder, &name, &upload.meta) {
            // An earlier try has left one, and what became of its bytes is unknown.
            Err(StoreError::Exists) => {
                folder
                    .remove(&name)
                    .map_err(|errno| folder.error("remove", &name, errno))?;
                meta::begin(&folder, &name, &upload.meta)?
            }
            begun => begun?,
        };
        Ok((folder, Box::new(writer)))
    }

    /// The day folder to publish to, which is made where it is missing.
    fn make_day(&self, day: Day) -> Result<Arc<Directory>, StoreError> {
        let mut current = self.current_day();
        if let Some((_, folder)) = current.as_ref().filter(|(name, _)| *name == day) {
            return Ok(Arc::clone(folder));
        }
        let name = day.to_string();
        let uploads = self.published.folder();
        uploads
            .make_folder(&name)
            .map_err(|errno| uploads.error("create", &name, errno))?;
        // Also where it was there before: the run that made it may have ended in between.
        uploads.sync()?;
        let folder = uploads
            .open_folder(&name)
            .map_err(|errno| uploads.error("open", &name, errno))?;
        let folder = Arc::new(folder);
        *current = Some((day, Arc::clone(&folder)));
        Ok(folder)
    }
}

impl Disk for LocalStore {
    fn reveal(&self, id: &UploadId, day: &Directory) -> Result<(), StoreError> {
        let name = id.to_string();
        self.staging
            .rename_new(&name, day, &name)
            .map_err(|errno| match errno {
                Errno::EXIST | Errno::NOTEMPTY => StoreError::Exists,
                errno => {
                    // Somebody may have removed the day folder that was remembered: look again next time.
                    *self.current_day() = None;
                    day.error("publish", &name, errno)
                }
            })
    }

    fn sync_staging(&self) -> Result<(), Failed> {
        Failed::sync(&self.staging)
    }

    fn sync_day(&self, day: &Directory) -> Result<(), Failed> {
        Failed::sync(day)
    }
}

/// Makes all publications of a batch visible, and that durable. Each has an outcome of its own.
fn reveal_all(disk: &impl Disk, batch: &[Moves]) -> Vec<Result<(), Unrevealed>> {
    let moved: Vec<_> = batch.iter().map(|moves| reveal(disk, moves)).collect();
    let mut days: Vec<(&Arc<Directory>, Result<(), Failed>)> = Vec::new();
    for (moves, (count, _)) in batch.iter().zip(&moved) {
        for (_, day) in &moves[..*count] {
            if !days.iter().any(|(other, _)| Arc::ptr_eq(day, other)) {
                days.push((day, Ok(())));
            }
        }
    }
    let mut staging = Ok(());
    if !days.is_empty() {
        // It comes first: a file system without a journal may keep the two sides of a rename apart, and a folder that a
        // crash left in both places would be swept from both.
        staging = disk.sync_staging();
    }
    if staging.is_ok() {
        for (day, synced) in &mut days {
            *synced = disk.sync_day(day);
        }
    }
    let outcomes = batch.iter().zip(moved).map(|(moves, (count, moved))| {
        let visible = count > 0;
        let failed = |failed: Failed| Unrevealed {
            visible: true,
            source: failed.to_error(),
        };
        if visible {
            // What became visible is synced after an error too.
            staging.clone().map_err(failed)?;
            for (day, synced) in &days {
                if moves[..count].iter().any(|(_, to)| Arc::ptr_eq(day, to)) {
                    synced.clone().map_err(failed)?;
                }
            }
        }
        moved.map_err(|source| Unrevealed { visible, source })
    });
    outcomes.collect()
}

/// Moves the folders of one publication, up to the first that cannot be moved. Gives how many it were.
fn reveal(disk: &impl Disk, moves: &Moves) -> (usize, Result<(), StoreError>) {
    let mut count = 0;
    let revealed = moves.iter().try_for_each(|(id, day)| {
        disk.reveal(id, day)?;
        count += 1;
        Ok(())
    });
    (count, revealed)
}

#[cfg(test)]
mod tests;
