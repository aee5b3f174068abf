//! Putting new headers in the place of a published upload's.
//!
//! What is new is written to `staging/{id}.replaced`: a file where only `meta.age` is new, else a folder with all. Then it changes
//! places with what is published, in one step, so that the old stands under that name: it is overwritten and removed, now or by the
//! next start. Nothing but whole uploads is ever under `uploads/`.

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;

use super::directory::Directory;
use super::writer::LocalWriter;
use super::{LocalFolder, LocalStore, erase, meta, open_if_there};
use crate::store::{SealedFile, SealedUpload, SegmentHeader, SegmentWriter, StoreError, UploadId};

/// How the name in `staging/` ends of what is to replace a published upload's headers, and of what was replaced.
pub(super) const REPLACED: &str = ".replaced";

pub(super) fn replaced_name(id: &UploadId) -> String {
    format!("{id}{REPLACED}")
}

/// What changes places with `staging/{id}.replaced`.
pub(super) struct Place<'a> {
    folder: &'a Directory,
    name: String,
}

impl<'a> Place<'a> {
    /// The `meta.age` in an upload's folder.
    pub(super) fn meta(folder: &'a Directory) -> Self {
        let name = SealedFile::Meta.to_string();
        Self { folder, name }
    }

    /// The upload's folder, in that of its day.
    pub(super) fn upload(day: &'a Directory, id: &UploadId) -> Self {
        let name = id.to_string();
        Self { folder: day, name }
    }
}

impl LocalStore {
    pub(super) fn rewrap_upload(
        &self,
        id: &UploadId,
        old_meta: &[u8],
        meta: &[u8],
        headers: Option<&[SegmentHeader<'_>]>,
    ) -> Result<(), StoreError> {
        if self.suspects.contains(id) {
            // Which of the two is published the disk alone knows: neither may be overwritten.
            let source = std::io::Error::other("an earlier sync of it failed");
            let path = self.staging.path().join(replaced_name(id));
            let source = Box::new(StoreError::io("replace", path, source));
            return Err(StoreError::Unsettled { source });
        }
        let day = self.find_day(id.day())?.ok_or(StoreError::NotFound)?;
        let folder = open_if_there(&day, &id.to_string())?.ok_or(StoreError::NotFound)?;
        check_meta(&folder, old_meta)?;
        // Of an earlier call that could not overwrite it. What is published is durable since.
        self.destroy_replaced(id)?;
        let staged = match headers {
            None => self.stage_meta(id, meta),
            Some(headers) => self.stage_copy(id, &folder, meta, headers),
        };
        let place = match headers {
            None => Place::meta(&folder),
            Some(_) => Place::upload(&day, id),
        };
        if let Err(error) = staged.and_then(|()| self.exchange(id, &place, headers.is_none())) {
            if let Err(error) = self.destroy_replaced(id) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%id, error, "new headers that were not put in place could not be removed; the next start will");
            }
            return Err(error);
        }
        self.secure(id, &place, headers.is_some())?;
        self.destroy_replaced(id)
    }

    /// Writes a new `meta.age` for what is published.
    pub(super) fn stage_meta(&self, id: &UploadId, meta: &[u8]) -> Result<(), StoreError> {
        if !self.published_contains_meta(id)? {
            return Err(StoreError::NotFound);
        }
        meta::write(&self.staging, &replaced_name(id), meta)
    }

    fn published_contains_meta(&self, id: &UploadId) -> Result<bool, StoreError> {
        let Some(day) = self.find_day(id.day())? else {
            return Ok(false);
        };
        let name = format!("{id}/{}", SealedFile::Meta);
        day.contains(&name)
            .map_err(|errno| day.error("look at", &name, errno))
    }

    /// Writes a copy of what is published, with new headers, and makes all of it durable.
    pub(super) fn stage_copy(
        &self,
        id: &UploadId,
        published: &Directory,
        meta: &[u8],
        headers: &[SegmentHeader<'_>],
    ) -> Result<(), StoreError> {
        let mut segments = Vec::with_capacity(headers.len());
        let mut bytes = meta.len() as u64;
        for (number, header) in (0..).zip(headers) {
            let name = SealedFile::Segment(number).to_string();
            let file = published.open_file(&name).map_err(|errno| match errno {
                Errno::NOENT => StoreError::NotFound,
                errno => published.error("open", &name, errno),
            })?;
            let size = file.metadata().map(|metadata| metadata.len());
            let size = size
                .map_err(|source| StoreError::io("open", published.path().join(&name), source))?;
            let payload = size.checked_sub(header.old_size);
            let payload = payload.ok_or_else(|| StoreError::UnexpectedFile {
                path: published.path().join(&name),
            })?;
            bytes = bytes.saturating_add(payload + header.new.len() as u64);
            segments.push((name, file));
        }
        check_files(published, headers.len())?;
        self.room.check(bytes, self.staging.handle())?;

        let folder = replaced_name(id);
        self.staging
            .make_folder(&folder)
            .map_err(|errno| self.staging.error("create", &folder, errno))?;
        let folder = self
            .staging
            .open_folder(&folder)
            .map_err(|errno| self.staging.error("open", &folder, errno))?;
        for ((name, file), header) in segments.iter().zip(headers) {
            let mut writer = LocalWriter::create(&folder, name)?;
            writer.write(header.new)?;
            writer.append_from(file, header.old_size)?;
            // Guards the bytes of the segment.
            Box::new(writer).finish()?;
        }
        meta::write(&folder, &SealedFile::Meta.to_string(), meta)?;
        // Guards the names of all files in the folder, before it can be seen.
        folder.sync()
    }

    /// Lets what is staged and what is published change places: from here on the new is what everybody opens.
    pub(super) fn exchange(
        &self,
        id: &UploadId,
        place: &Place<'_>,
        only_meta: bool,
    ) -> Result<(), StoreError> {
        let Place { folder, name } = place;
        match self.staging.exchange(replaced_name(id), folder, name) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(StoreError::NotFound),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if only_meta => {
                self.replace_meta(id, place)
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(StoreError::CannotExchange),
            Err(errno) => Err(folder.error("replace", name, errno)),
        }
    }

    /// The same for one file, on file systems that cannot exchange: the old one loses its name at once, and is overwritten only
    /// where nothing comes in between.
    pub(super) fn replace_meta(&self, id: &UploadId, place: &Place<'_>) -> Result<(), StoreError> {
        let Place { folder, name } = place;
        let failed = |errno| folder.error("replace", name, errno);
        let old = folder.open_to_write(name, false).map_err(failed)?;
        self.staging
            .rename_over(replaced_name(id), folder, name)
            .map_err(failed)?;
        if let Ok(metadata) = old.metadata() {
            self.room.resized(metadata.len(), 0);
        }
        self.secure(id, place, false)?;
        erase::erase(SealedFile::Meta, &old)
            .map_err(|source| StoreError::io("overwrite", folder.path().join(name), source))
    }

    /// Makes durable that they have changed places. Nothing of the old may be overwritten before that.
    fn secure(&self, id: &UploadId, place: &Place<'_>, both: bool) -> Result<(), StoreError> {
        let synced = place.folder.sync();
        let synced = if both {
            // Of two folders a file system without a journal may keep the two sides of it apart.
            synced.and_then(|()| self.staging.sync())
        } else {
            synced
        };
        synced.map_err(|source| {
            self.suspects.suspect(id);
            StoreError::Unsettled {
                source: Box::new(source),
            }
        })
    }

    /// Overwrites and removes what stands under the name of what was replaced. None there is fine.
    pub(super) fn destroy_replaced(&self, id: &UploadId) -> Result<(), StoreError> {
        let name = replaced_name(id);
        match self.staging.open_folder(&name) {
            Ok(folder) => erase::erase_keys(&folder)?,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTDIR) => {
                let file = self
                    .staging
                    .open_to_write(&name, false)
                    .map_err(|errno| self.staging.error("overwrite", &name, errno))?;
                erase::erase(SealedFile::Meta, &file).map_err(|source| {
                    StoreError::io("overwrite", self.staging.path().join(&name), source)
                })?;
            }
            // Nothing of ours.
            Err(Errno::LOOP) => {}
            Err(errno) => return Err(self.staging.error("open", &name, errno)),
        }
        self.staging
            .remove(&name)
            .map_err(|errno| self.staging.error("remove", &name, errno))
    }

    /// Removes what a crash left under that name, be it the new or the old; but never what is published, where a file system kept
    /// the two sides of the exchange apart.
    pub(super) fn sweep_replaced(&self, id: &UploadId) -> Result<(), StoreError> {
        let name = replaced_name(id);
        if self.is_published(&name, id)? {
            tracing::warn!(%id, "an upload has a second name in staging/: check the file system");
            return Ok(());
        }
        self.destroy_replaced(id)
    }

    fn is_published(&self, name: &str, id: &UploadId) -> Result<bool, StoreError> {
        let Some(day) = self.find_day(id.day())? else {
            return Ok(false);
        };
        let identity = |folder: &Directory, name: &str| match statat(
            folder.handle(),
            name,
            AtFlags::SYMLINK_NOFOLLOW,
        ) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(folder.error("look at", name, errno)),
        };
        let staged = identity(&self.staging, name)?;
        let meta = format!("{id}/{}", SealedFile::Meta);
        let published = [identity(&day, &id.to_string())?, identity(&day, &meta)?];
        Ok(staged.is_some() && published.contains(&staged))
    }
}

/// Fails where another `meta.age` is published than this one.
fn check_meta(published: &Directory, expected: &[u8]) -> Result<(), StoreError> {
    let meta = read_only(published)?.open(SealedFile::Meta)?;
    let mut stored = vec![0; expected.len()];
    let is_as_long = meta.len() == expected.len() as u64;
    if is_as_long && meta.read_at(&mut stored, 0)? == expected.len() && stored == expected {
        Ok(())
    } else {
        Err(StoreError::Replaced)
    }
}

fn read_only(published: &Directory) -> Result<LocalFolder, StoreError> {
    let folder = published
        .open_folder(".")
        .map_err(|errno| published.error("open", "", errno))?;
    Ok(LocalFolder::new(folder))
}

/// Fails where the folder holds anything but `meta.age` and so many segments.
fn check_files(published: &Directory, segments: usize) -> Result<(), StoreError> {
    let files = read_only(published)?.files()?;
    let numbers = (0..).map(SealedFile::Segment).take(segments);
    let expected = std::iter::once(SealedFile::Meta).chain(numbers);
    let mut files = files.into_iter();
    for expected in expected {
        if files.next() != Some(expected) {
            return Err(StoreError::NotFound);
        }
    }
    match files.next() {
        Some(foreign) => Err(StoreError::UnexpectedFile {
            path: published.path().join(foreign.to_string()),
        }),
        None => Ok(()),
    }
}
