//! What is staged: segments that no manifest names yet.

use std::path::PathBuf;

use bytes::Bytes;

use super::bucket::Notes;
use super::folder::{self, Folder};
use super::published::S3Staged;
use super::store::S3Store;
use super::writer::S3Writer;
use super::{keys, unfinished};
use crate::store::{SealedUpload, SegmentName, SegmentWriter, Staging, StoreError, UploadId};

/// The note that tells apart who has emptied a segment to remove it.
const REMOVED: &str = "sealslot-removed";

/// Bytes that are read at once of a segment that is written anew.
const COPY_AT_ONCE: u64 = 8 << 20;

impl S3Store {
    /// Begins a segment. Names are random, so nobody asks the engine whether one is taken: what this process has written of late, it
    /// knows.
    pub(super) fn begin_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<S3Writer, StoreError> {
        check_name(id, segment)?;
        unfinished::staging(self, id)?;
        if !self.written.insert((*id, *segment)) {
            return Err(StoreError::Exists);
        }
        Ok(S3Writer::new(self, id, segment))
    }

    /// Removes everything of an upload that is not published.
    pub(super) fn discard_staged(&self, id: &UploadId) -> Result<(), StoreError> {
        if self.unsettled.contains(id) {
            // The engine may have heard after all that it is to be published. Sweeping removes it where it was not.
            return Ok(());
        }
        let folder = Folder::list(&self.bucket, id)?;
        if folder.meta.is_none() && folder.len() > 0 {
            self.clear_unpublished(id)?;
        }
        unfinished::staged_no_more(self, id);
        Ok(())
    }

    /// Writes a segment anew: what there is of it up to `at`, and then `tail`.
    fn rewrite(
        &self,
        id: &UploadId,
        segment: &SegmentName,
        at: u64,
        tail: &[u8],
    ) -> Result<(), StoreError> {
        let key = keys::segment(id, segment);
        let mut writer = Box::new(S3Writer::new(self, id, segment));
        self.copy_range(&key, 0..at, &mut *writer)?;
        writer.write(tail)?;
        // In one step: whoever reads it finds all of the old or all of the new.
        writer.finish()
    }

    /// Writes part of an object behind what was written before.
    pub(super) fn copy_range(
        &self,
        key: &str,
        range: std::ops::Range<u64>,
        writer: &mut dyn SegmentWriter,
    ) -> Result<(), StoreError> {
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + COPY_AT_ONCE);
            let piece = self.bucket.range(key, at..end)?;
            if piece.len() as u64 != end - at {
                let cut = std::io::ErrorKind::UnexpectedEof;
                return Err(StoreError::io("copy", key, cut));
            }
            writer.write(&piece)?;
            at = end;
        }
        Ok(())
    }

    /// Counts a segment no more that is about to be removed. Another server may be at the same, so it is emptied first: of them, who
    /// does that counts it.
    fn empty_and_count(&self, key: &str) -> Result<(), StoreError> {
        let head = match self.bucket.head(key) {
            Ok(head) if head.size > 0 => head,
            Ok(_) | Err(StoreError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        let own = Notes::default().with(REMOVED, keys::tag());
        match (self.bucket).replace(key, &head.etag, Bytes::new(), &own) {
            Ok(()) => {
                self.quota.give_back(head.size);
                Ok(())
            }
            Err(StoreError::Replaced | StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes a segment, which counts as before. Gives how many bytes it had.
    pub(super) fn take_away(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<u64, StoreError> {
        let marker = keys::parts(id, segment);
        folder::abort_parts(&self.bucket, &marker)?;
        let size = match self.size_of(id, segment) {
            Err(StoreError::NotFound) => 0,
            size => size?,
        };
        self.bucket
            .delete_all(&[keys::segment(id, segment), marker])?;
        Ok(size)
    }

    fn size_of(&self, id: &UploadId, segment: &SegmentName) -> Result<u64, StoreError> {
        Ok(self.bucket.head(&keys::segment(id, segment))?.size)
    }
}

/// A name without a tag could be another node's too.
fn check_name(id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
    if segment.is_plain() {
        return Err(StoreError::UnexpectedFile {
            path: PathBuf::from(keys::segment(id, segment)),
        });
    }
    Ok(())
}

impl Staging for S3Store {
    /// Its name came with its bytes.
    fn secure_segment(&self, _id: &UploadId, _segment: &SegmentName) -> Result<(), StoreError> {
        Ok(())
    }

    fn open_staged(
        &self,
        id: &UploadId,
        segments: &[SegmentName],
    ) -> Result<Box<dyn SealedUpload>, StoreError> {
        let staged = S3Staged::find(&self.bucket, &self.memory, id, segments)?;
        Ok(Box::new(staged))
    }

    fn is_staged(&self, id: &UploadId) -> Result<bool, StoreError> {
        let page = self.bucket.list(&keys::folder(id), None, 1)?;
        if page.objects.is_empty() {
            return Ok(false);
        }
        match self.bucket.head(&keys::meta(id)) {
            Ok(_) => Ok(false),
            Err(StoreError::NotFound) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Nothing is read from memory.
    fn forget_cached(&self, _id: &UploadId, _segment: &SegmentName) -> Result<(), StoreError> {
        Ok(())
    }

    fn remove_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError> {
        if segment.is_plain() {
            // None is ever written.
            return Ok(());
        }
        let (key, marker) = (keys::segment(id, segment), keys::parts(id, segment));
        folder::abort_parts(&self.bucket, &marker)?;
        if self.quota.is_counted() {
            self.empty_and_count(&key)?;
        }
        self.bucket.delete_all(&[key, marker])
    }

    fn mend_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
        at: u64,
        tail: &[u8],
    ) -> Result<(), StoreError> {
        check_name(id, segment)?;
        let size = self.size_of(id, segment)?;
        let end = at + tail.len() as u64;
        if size == end && self.bucket.range(&keys::segment(id, segment), at..end)? == *tail {
            return Ok(());
        }
        self.rewrite(id, segment, at, tail)?;
        self.quota.give_back(size);
        Ok(())
    }

    fn link_segment(
        &self,
        from: (&UploadId, &SegmentName),
        to: (&UploadId, &SegmentName),
    ) -> Result<(), StoreError> {
        check_name(to.0, to.1)?;
        if self.written.contains(&(*to.0, *to.1)) {
            return Err(StoreError::Exists);
        }
        let size = self.size_of(from.0, from.1)?;
        unfinished::staging(self, to.0)?;
        self.quota.take(size)?;
        let (from, copy) = (keys::segment(from.0, from.1), keys::segment(to.0, to.1));
        let (copied, is_certain) = self.bucket.copy_surely(&from, &copy);
        match &copied {
            Ok(()) => {
                self.written.insert((*to.0, *to.1));
            }
            Err(_) if is_certain => self.quota.give_back(size),
            Err(_) => {}
        }
        copied
    }
}
