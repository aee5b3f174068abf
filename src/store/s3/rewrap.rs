//! New headers in the place of those of a published upload.

use bytes::Bytes;

use super::bucket::Notes;
use super::keys;
use super::notes::{self, Named};
use super::published::S3Upload;
use super::removal::Removal;
use super::store::S3Store;
use super::unfinished::{self, Doing};
use super::writer::S3Writer;
use crate::store::{SegmentHeader, SegmentName, SegmentWriter, StoreError, UploadId};

impl S3Store {
    /// Puts the new manifest in the place of the old one, which is the one step that makes the change; new segments were written
    /// under new names before that, and the old ones are removed after it.
    ///
    /// Somebody else who changed the upload meanwhile, or is deleting it, is [`StoreError::Replaced`], and nothing was changed then.
    pub(super) fn rewrap_published(
        &self,
        id: &UploadId,
        old_meta: &[u8],
        meta: &[u8],
        headers: Option<&[SegmentHeader<'_>]>,
    ) -> Result<(), StoreError> {
        let old = self.open_upload(id)?;
        // Only this one is replaced. The new one was made from the caller's, and so were the sizes in `headers`.
        if old.meta().bytes != old_meta {
            return Err(StoreError::Replaced);
        }
        let Some(headers) = headers else {
            let notes = self.same_segments(&old, id, meta)?;
            return self.replace_meta(&old, id, meta, &notes);
        };
        // Of whoever was quicker it may first be seen that the old segments are gone.
        self.replace_all(&old, id, meta, headers)
            .map_err(|error| old.or_replaced(error))
    }

    fn replace_all(
        &self,
        old: &S3Upload,
        id: &UploadId,
        meta: &[u8],
        headers: &[SegmentHeader<'_>],
    ) -> Result<(), StoreError> {
        let names = old.segments()?;
        let sizes = self.check_headers(id, &names, headers)?;
        let noted = Removal::take(self, id, Doing::Rewrapping)?;
        // Somebody deletes it.
        let mut noted = noted.ok_or(StoreError::Replaced)?;
        let mut new = Vec::with_capacity(names.len());
        let replaced = self
            .write_segments(id, &names, headers, &sizes, &mut noted, &mut new)
            .and_then(|()| notes::write(&self.bucket, id, meta, &new))
            .and_then(|notes| self.replace_meta(old, id, meta, &notes));
        match replaced {
            Ok(()) => {
                self.remove_old(id, old, &names)?;
                self.count_no_more(id, &noted, sizes.iter().sum(), true)
            }
            Err(error) => {
                // What can be told of it is: where it cannot, sweeping looks which ones are the upload's.
                if !matches!(error, StoreError::Unsettled { .. }) {
                    self.remove_new(id, &noted, &new);
                }
                Err(error)
            }
        }
    }

    /// Counts no more what was removed, where nobody else does. `is_all`: nothing is left to be removed.
    fn count_no_more(
        &self,
        id: &UploadId,
        noted: &Removal<'_>,
        bytes: u64,
        is_all: bool,
    ) -> Result<(), StoreError> {
        // Where somebody had begun something before, sweeping is to look what is left of that.
        let is_over = is_all && noted.before.is_none();
        if !noted.count_no_more(bytes, is_over)? && self.counts_still(id)? {
            self.quota.give_back(bytes);
        }
        Ok(())
    }

    /// Whether nobody deletes the upload, or has: they count no more what they find of it. Whoever begins with that from here on finds
    /// gone what was removed.
    fn counts_still(&self, id: &UploadId) -> Result<bool, StoreError> {
        if unfinished::doing(self, id)? == Some(Doing::Deleting) {
            return Ok(false);
        }
        match self.bucket.head(&keys::meta(id)) {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The notes of a manifest whose segments stay as they are.
    fn same_segments(
        &self,
        old: &S3Upload,
        id: &UploadId,
        meta: &[u8],
    ) -> Result<Notes, StoreError> {
        match notes::named(&old.meta().notes) {
            // The list stays where it is.
            Named::Listed(tag) => Ok(notes::with_list(meta, &tag)),
            _ => notes::write(&self.bucket, id, meta, &old.segments()?),
        }
    }

    fn replace_meta(
        &self,
        old: &S3Upload,
        id: &UploadId,
        meta: &[u8],
        notes: &Notes,
    ) -> Result<(), StoreError> {
        let (before, after) = (old.meta().bytes.len() as u64, meta.len() as u64);
        self.quota.take(after.saturating_sub(before))?;
        let replaced = self.bucket.replace(
            &keys::meta(id),
            &old.meta().etag,
            Bytes::copy_from_slice(meta),
            notes,
        );
        match replaced {
            Ok(()) => {
                self.quota.give_back(before.saturating_sub(after));
                Ok(())
            }
            Err(error @ (StoreError::Replaced | StoreError::NotFound)) => {
                self.quota.give_back(after.saturating_sub(before));
                Err(error)
            }
            // The engine may have done it.
            Err(source) => Err(StoreError::Unsettled {
                source: Box::new(source),
            }),
        }
    }

    /// The sizes of the segments, where each of them has a header, and no other one.
    fn check_headers(
        &self,
        id: &UploadId,
        names: &[SegmentName],
        headers: &[SegmentHeader<'_>],
    ) -> Result<Vec<u64>, StoreError> {
        let in_order = (0..)
            .zip(names)
            .all(|(number, name)| name.number() == number);
        if !in_order || names.len() < headers.len() {
            return Err(StoreError::NotFound);
        }
        if let Some(foreign) = names.get(headers.len()) {
            return Err(StoreError::UnexpectedFile {
                path: keys::segment(id, foreign).into(),
            });
        }
        let sizes = names.iter().zip(headers).map(|(name, header)| {
            let key = keys::segment(id, name);
            let size = self.bucket.head(&key)?.size;
            if size < header.old_size {
                return Err(StoreError::UnexpectedFile { path: key.into() });
            }
            Ok(size)
        });
        sizes.collect()
    }

    /// Writes segments with new headers. `new`: the names of those that may be there, also after an error.
    ///
    /// After each of them it looks whether it is to go on: who deletes the upload has said so, and what was taken for given up may be gone.
    fn write_segments(
        &self,
        id: &UploadId,
        names: &[SegmentName],
        headers: &[SegmentHeader<'_>],
        sizes: &[u64],
        noted: &mut Removal<'_>,
        new: &mut Vec<SegmentName>,
    ) -> Result<(), StoreError> {
        for ((old, header), size) in names.iter().zip(headers).zip(sizes) {
            let name = SegmentName::tagged(old.number())?;
            new.push(name);
            let mut writer = Box::new(S3Writer::new(self, id, &name));
            writer.write(header.new)?;
            self.copy_range(
                &keys::segment(id, old),
                header.old_size..*size,
                &mut *writer,
            )?;
            writer.finish()?;
            noted.renew()?;
        }
        Ok(())
    }

    fn remove_old(
        &self,
        id: &UploadId,
        old: &S3Upload,
        names: &[SegmentName],
    ) -> Result<(), StoreError> {
        let mut keys: Vec<String> = names.iter().map(|name| keys::segment(id, name)).collect();
        if let Named::Listed(tag) = notes::named(&old.meta().notes) {
            keys.push(keys::names(id, &tag));
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.bucket.delete_all(&keys)
    }

    /// Removes what was written for nothing. What stays is removed by sweeping, which the note of it is left for.
    fn remove_new(&self, id: &UploadId, noted: &Removal<'_>, new: &[SegmentName]) {
        let mut bytes = 0;
        let removed: Result<(), StoreError> = new.iter().try_for_each(|name| {
            bytes += self.take_away(id, name)?;
            Ok(())
        });
        let counted = self.count_no_more(id, noted, bytes, removed.is_ok());
        if let Err(error) = removed.and(counted) {
            tracing::warn!(%id, %error, "segments that were written for nothing stay until they are swept");
        }
    }
}
