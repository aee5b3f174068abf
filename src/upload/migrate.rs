//! Carrying published uploads from one store to another, as they are: no key is needed, and no byte is taken for carried that was
//! not read again where it went.
//!
//! Whatever interrupts it, an upload is at the target whole or not at all: there it is published like any other, by its `meta.age`,
//! when everything else was read back.

mod records;
mod same;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::SystemTime;

use self::same::{check_all_there, different_file, read_whole};
use super::verify::meta::{Entry, Meta, read_meta};
use super::verify::reading::Reading;
use super::verify::{Finding, Pace, Problem, Verifier, check_segment};
use crate::store::{
    Publication, SealedFile, SealedUpload, SegmentName, Shelf, Store, StoreError, UploadId,
};

pub use records::RecordCarried;

/// How often an upload is begun anew that somebody seals anew, or deletes, meanwhile.
const TRIES: u32 = 5;
/// Bytes that are held of an upload at a time.
const PIECE: usize = 1 << 20;

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// It is at the target now, and was not before.
    Copied {
        /// Bytes of its files.
        bytes: u64,
    },
    /// It was there before, the same.
    Already,
    /// It was deleted meanwhile where it comes from.
    Gone,
    /// Another one of this id is there, and stays.
    Differs {
        /// The first file that is not the same.
        file: SealedFile,
    },
    /// It is damaged where it comes from, and stays there alone.
    Damaged(Finding),
}

/// Why nothing can be carried.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The source failed.
    #[error("cannot take it from where it is")]
    From(#[source] StoreError),
    /// The target failed.
    #[error("cannot put it where it goes")]
    To(#[source] StoreError),
    /// The target has lost or changed what was written.
    #[error(
        "{file} was not kept as it was written ({problem}): look at the disk or the engine there, then run this again"
    )]
    NotKept {
        /// Which file.
        file: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// From one store to another.
pub struct Migration<'a> {
    from: &'a dyn Shelf,
    to: &'a dyn Store,
    pace: Arc<dyn Pace>,
}

/// An upload that is sound as far as its `meta.age` tells.
struct Sound {
    reading: Reading,
    meta: Vec<u8>,
    segments: Vec<(SealedFile, Entry)>,
    expires: Option<SystemTime>,
}

impl<'a> Migration<'a> {
    /// `pace` is asked before anything is read, on both sides.
    pub fn new(from: &'a dyn Shelf, to: &'a dyn Store, pace: Arc<dyn Pace>) -> Self {
        Self { from, to, pace }
    }

    /// Copies one upload. Blocks.
    pub fn carry(&self, id: &UploadId) -> Result<Carried, MigrateError> {
        let mut before = None;
        let mut tries = TRIES;
        loop {
            tries -= 1;
            match self.try_carry(id) {
                Err(MigrateError::From(StoreError::Replaced | StoreError::NotFound))
                    if tries > 0 => {}
                // What is on its way out may look like damage: it counts where a second look finds the same.
                Ok(Carried::Damaged(found)) if tries > 0 && before.as_ref() != Some(&found) => {
                    before = Some(found);
                }
                carried => return carried,
            }
        }
    }

    /// Deletes an upload from where it came, once it is known to be at the target whole. `is_new`: this run has read it there.
    /// Gives whether it did: not where the two are not the same any more. Blocks.
    pub fn remove(
        &self,
        source: &dyn Store,
        id: &UploadId,
        is_new: bool,
    ) -> Result<bool, MigrateError> {
        if !is_new {
            self.verify_kept(id)?;
        }
        let there = self.to.open(id).map_err(MigrateError::To)?;
        let here = match source.open(id) {
            Ok(here) => here,
            Err(StoreError::NotFound) => return Ok(true),
            Err(error) => return Err(MigrateError::From(error)),
        };
        let meta = read_whole(&*here).map_err(MigrateError::From)?;
        if meta != read_whole(&*there).map_err(MigrateError::To)? {
            return Ok(false);
        }
        check_all_there(&*here, &*there)?;
        match source.delete(id) {
            Ok(()) | Err(StoreError::NotFound) => Ok(true),
            Err(error) => Err(MigrateError::From(error)),
        }
    }

    fn try_carry(&self, id: &UploadId) -> Result<Carried, MigrateError> {
        let upload = match self.from.upload(id) {
            Err(StoreError::NotFound) => return Ok(Carried::Gone),
            opened => opened.map_err(MigrateError::From)?,
        };
        let sound = match self.look(id, upload).map_err(MigrateError::From)? {
            Ok(sound) => sound,
            Err(finding) => return Ok(Carried::Damaged(finding)),
        };
        if let Some(carried) = self.compare(id, &sound)? {
            return Ok(carried);
        }
        if !self.to.is_shared() {
            // What an earlier run has left there, which was interrupted. In a shared store another one may be at it now: names are not
            // given twice there, and what is left is swept.
            self.to.discard(id).map_err(MigrateError::To)?;
        }
        let mut written = Vec::with_capacity(sound.segments.len());
        let carried = self.copy(id, &sound, &mut written);
        if !matches!(carried, Ok(Carried::Copied { .. })) {
            self.remove_written(id, &written);
        }
        carried
    }

    /// Removes what was written for nothing. Where this fails too, the next run does it, or it is swept.
    fn remove_written(&self, id: &UploadId, written: &[SegmentName]) {
        let removed = if self.to.is_shared() {
            let remove = |name| self.to.remove_segment(id, name);
            written.iter().try_for_each(remove)
        } else {
            self.to.discard(id)
        };
        if let Err(error) = removed {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(%id, error, "what was written for nothing is still there");
        }
    }

    /// Reads what says what an upload is. An error in its place: it is damaged.
    fn look(
        &self,
        id: &UploadId,
        upload: Box<dyn SealedUpload>,
    ) -> Result<Result<Sound, Finding>, StoreError> {
        let found = |file: SealedFile, problem| {
            let file = file.to_string();
            Ok(Err(Finding { file, problem }))
        };
        let noted = upload.meta_checksum().unwrap_or(None);
        let reading = Reading::new(upload, Arc::clone(&self.pace));
        let meta = read_meta(&reading, id, noted)?;
        let segments = meta.segments();
        let Meta {
            bytes: Some(bytes),
            record: Some(record),
            problem: None | Some(Problem::Unchecked),
        } = meta
        else {
            // A folder on its way out has lost this file first.
            self.from.upload(id)?;
            return found(SealedFile::Meta, meta.problem.unwrap_or(Problem::Record));
        };
        let files = match reading.files() {
            Err(StoreError::UnexpectedFile { path }) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                let (file, problem) = (name.display().to_string(), Problem::Unexpected);
                return Ok(Err(Finding { file, problem }));
            }
            files => files?,
        };
        let is_listed = |file: &SealedFile| segments.iter().any(|(listed, _)| listed == file);
        let foreign = |file: &&SealedFile| **file != SealedFile::Meta && !is_listed(file);
        if let Some(foreign) = files.iter().find(foreign) {
            return found(*foreign, Problem::Unexpected);
        }
        if let Some((missing, _)) = segments.iter().find(|(file, _)| !files.contains(file)) {
            return found(*missing, Problem::Missing);
        }
        let expires = record.expires.as_deref();
        let expires = expires.map(humantime::parse_rfc3339).transpose();
        let Ok(expires) = expires else {
            return found(SealedFile::Meta, Problem::Record);
        };
        Ok(Ok(Sound {
            reading,
            meta: bytes,
            segments,
            expires,
        }))
    }

    /// What is to be said of an upload that is at the target already. What is published there was read back before it was.
    fn compare(&self, id: &UploadId, sound: &Sound) -> Result<Option<Carried>, MigrateError> {
        let there = match self.to.open(id) {
            Ok(there) => there,
            Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(MigrateError::To(error)),
        };
        let different = different_file(&*there, sound).map_err(MigrateError::To)?;
        Ok(Some(match different {
            None => Carried::Already,
            Some(file) => Carried::Differs { file },
        }))
    }

    /// `written`: what is there for nothing, where it is not copied after all.
    fn copy(
        &self,
        id: &UploadId,
        sound: &Sound,
        written: &mut Vec<SegmentName>,
    ) -> Result<Carried, MigrateError> {
        for (number, (file, entry)) in (0..).zip(&sound.segments) {
            let name = self.to.name_segment(number).map_err(MigrateError::To)?;
            written.push(name);
            if let Some(problem) = self.copy_segment(id, &name, sound, *file, entry)? {
                let file = file.to_string();
                return Ok(Carried::Damaged(Finding { file, problem }));
            }
        }
        self.read_back(id, written, &sound.segments)?;
        // Once it may be published, nothing of it is for nothing.
        let names = std::mem::take(written);
        let published = self.to.publish(&[Publication {
            id: *id,
            meta: sound.meta.clone(),
            segments: names.clone(),
            expires: sound.expires,
        }]);
        match published {
            // Another run beside this one was quicker.
            Err(StoreError::Exists) => {
                *written = names;
                let carried = self.compare(id, sound)?;
                return carried.ok_or(MigrateError::To(StoreError::NotFound));
            }
            Err(StoreError::Unsettled { source }) => {
                self.to.settle(id).map_err(|_| MigrateError::To(*source))?;
            }
            published => published.map_err(MigrateError::To)?,
        }
        self.look_again(id, sound)?;
        let segments = sound.segments.iter().map(|(_, entry)| entry.size);
        Ok(Carried::Copied {
            bytes: segments.sum::<u64>() + sound.meta.len() as u64,
        })
    }

    /// Gives what is wrong with the segment where it comes from.
    fn copy_segment(
        &self,
        id: &UploadId,
        name: &SegmentName,
        sound: &Sound,
        file: SealedFile,
        entry: &Entry,
    ) -> Result<Option<Problem>, MigrateError> {
        let opened = sound.reading.open(file).map_err(MigrateError::From)?;
        if opened.len() != entry.size {
            return Ok(Some(Problem::Size));
        }
        let mut writer = (self.to.create_segment(id, name)).map_err(MigrateError::To)?;
        let size = usize::try_from(entry.size).map_or(PIECE, |size| size.min(PIECE));
        let (mut piece, mut at) = (vec![0; size], 0);
        while at < entry.size {
            let read = opened.read_at(&mut piece, at).map_err(MigrateError::From)?;
            if read == 0 {
                return Ok(Some(Problem::Size));
            }
            writer.write(&piece[..read]).map_err(MigrateError::To)?;
            at += read as u64;
        }
        // It was summed up as it was read.
        let checksum = sound.reading.checksum(file, &*opened);
        if checksum.map_err(MigrateError::From)? != Some(entry.checksum) {
            return Ok(Some(Problem::Checksum));
        }
        writer.finish().map_err(MigrateError::To)?;
        Ok(None)
    }

    /// Reads what was staged, and compares it with the checksums.
    fn read_back(
        &self,
        id: &UploadId,
        names: &[SegmentName],
        segments: &[(SealedFile, Entry)],
    ) -> Result<(), MigrateError> {
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            self.to.forget_cached(id, name).map_err(MigrateError::To)?;
        }
        let staged = self.to.open_staged(id, names).map_err(MigrateError::To)?;
        let reading = Reading::new(staged, Arc::clone(&self.pace));
        for (file, entry) in segments {
            let problem = check_segment(&reading, *file, entry).map_err(MigrateError::To)?;
            if let Some(problem) = problem {
                let file = file.to_string();
                return Err(MigrateError::NotKept { file, problem });
            }
        }
        Ok(())
    }

    /// Whether what was published is there: somebody may have taken what was staged for a leftover. What is not whole is removed.
    fn look_again(&self, id: &UploadId, sound: &Sound) -> Result<(), MigrateError> {
        let different = match self.to.open(id) {
            Ok(there) => different_file(&*there, sound).map_err(MigrateError::To)?,
            Err(StoreError::NotFound) => Some(SealedFile::Meta),
            Err(error) => return Err(MigrateError::To(error)),
        };
        let Some(file) = different else {
            return Ok(());
        };
        let _ = self.to.delete(id);
        Err(MigrateError::NotKept {
            file: file.to_string(),
            problem: Problem::Missing,
        })
    }

    /// Reads all of an upload at the target.
    fn verify_kept(&self, id: &UploadId) -> Result<(), MigrateError> {
        let verifier = Verifier::new(Vec::new(), Arc::clone(&self.pace));
        let open = || {
            let upload = self.to.open(id)?;
            let checksum = upload.meta_checksum().unwrap_or(None);
            Ok((upload, checksum))
        };
        let looked = verifier.verify(id, open, |_| true);
        let looked = looked.map_err(|error| match error {
            super::ReadError::Store(error) => MigrateError::To(error),
            // Without a key nothing is opened.
            _ => MigrateError::To(StoreError::NotFound),
        })?;
        let findings = looked.map_or(Vec::new(), |verified| verified.findings);
        match findings.into_iter().find(|found| found.problem.is_damage()) {
            Some(Finding { file, problem }) => Err(MigrateError::NotKept { file, problem }),
            None => Ok(()),
        }
    }
}
