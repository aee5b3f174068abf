//! Reading the uploads of a bucket, published and staged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::bucket::{Bucket, ETag, Object};
use super::budget::Budget;
use super::folder::Folder;
use super::keys;
use super::notes::{self, Named};
use super::reader::{Held, S3File};
use crate::store::{ReadAt, SealedFile, SealedUpload, SegmentName, StoreError, UploadId};

/// A published upload. Its manifest was fetched when it was opened, and stays as it was then.
pub(super) struct S3Upload {
    bucket: Bucket,
    memory: Budget,
    id: UploadId,
    meta: Object,
    segments: Mutex<Option<Arc<[SegmentName]>>>,
}

impl S3Upload {
    pub(super) fn new(bucket: &Bucket, memory: &Budget, id: &UploadId, meta: Object) -> Self {
        Self {
            bucket: bucket.clone(),
            memory: memory.clone(),
            id: *id,
            meta,
            segments: Mutex::new(None),
        }
    }

    /// The manifest as it was when the upload was opened.
    pub(super) fn meta(&self) -> &Object {
        &self.meta
    }

    /// The names of its segments, in order. Asks for them at most once.
    pub(super) fn segments(&self) -> Result<Arc<[SegmentName]>, StoreError> {
        let mut known = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = &*known {
            return Ok(Arc::clone(names));
        }
        let names: Arc<[_]> = self.find_segments()?.into();
        *known = Some(Arc::clone(&names));
        Ok(names)
    }

    fn find_segments(&self) -> Result<Vec<SegmentName>, StoreError> {
        match notes::named(&self.meta.notes) {
            Named::Beside(names) => return Ok(names),
            Named::Listed(tag) => match notes::listed(&self.bucket, &self.id, &tag) {
                Ok(Some(names)) => return Ok(names),
                Err(StoreError::NotFound) => self.same_still()?,
                Err(error) => return Err(error),
                Ok(None) => {}
            },
            Named::Lost => {}
        }
        let folder = Folder::list(&self.bucket, &self.id)?;
        if folder.meta.is_none() {
            return Err(StoreError::Replaced);
        }
        folder.only_segments()
    }

    /// Fails where the upload is not the one any more that was opened.
    fn same_still(&self) -> Result<(), StoreError> {
        self.origin().same_still(&self.bucket)
    }

    fn origin(&self) -> Origin {
        Origin {
            meta: keys::meta(&self.id),
            etag: self.meta.etag.clone(),
        }
    }

    fn missing(&self) -> StoreError {
        self.same_still().err().unwrap_or(StoreError::NotFound)
    }

    /// An error, where something of it was not found because it is not the one any more that was opened.
    pub(super) fn or_replaced(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::NotFound => self.missing(),
            error => error,
        }
    }
}

/// What an upload's files were found through.
pub(super) struct Origin {
    meta: String,
    etag: ETag,
}

impl Origin {
    /// Fails where the manifest is another one by now, or gone.
    pub(super) fn same_still(&self, bucket: &Bucket) -> Result<(), StoreError> {
        match bucket.head(&self.meta) {
            Ok(head) if head.etag == self.etag => Ok(()),
            Ok(_) | Err(StoreError::NotFound) => Err(StoreError::Replaced),
            Err(error) => Err(error),
        }
    }
}

impl SealedUpload for S3Upload {
    fn files(&self) -> Result<Vec<SealedFile>, StoreError> {
        let names = self.segments()?;
        let folder = Folder::list(&self.bucket, &self.id)?;
        folder.check_foreign()?;
        let Some(meta) = &folder.meta else {
            return Err(StoreError::Replaced);
        };
        if meta
            .etag
            .as_ref()
            .is_some_and(|etag| *etag != self.meta.etag)
        {
            return Err(StoreError::Replaced);
        }
        let there: BTreeSet<&SegmentName> = folder.segments.iter().map(|(name, _)| name).collect();
        let present = names.iter().filter(|name| there.contains(name));
        let files = std::iter::once(SealedFile::Meta).chain(present.map(SegmentName::file));
        let files: Vec<_> = files.collect();
        if files.len() <= names.len() {
            // Sealed anew since it was opened, or damaged.
            self.same_still()?;
        }
        Ok(files)
    }

    fn open(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, StoreError> {
        let SealedFile::Segment(number) = file else {
            return Ok(Box::new(Held(self.meta.bytes.clone())));
        };
        let names = self.segments()?;
        let place = names.binary_search_by_key(&number, SegmentName::number);
        let name = place.map_err(|_| StoreError::NotFound)?;
        let key = keys::segment(&self.id, &names[name]);
        let head = match self.bucket.head(&key) {
            Err(StoreError::NotFound) => return Err(self.missing()),
            head => head?,
        };
        let (bucket, memory) = (&self.bucket, &self.memory);
        Ok(Box::new(S3File::new(
            bucket,
            memory,
            key,
            head.size,
            Some(self.origin()),
        )))
    }

    fn meta_checksum(&self) -> Result<Option<u64>, StoreError> {
        Ok(notes::checksum(&self.meta.notes))
    }
}

/// Staged segments, with their sizes, as they were when they were opened.
pub(super) struct S3Staged {
    bucket: Bucket,
    memory: Budget,
    id: UploadId,
    segments: BTreeMap<u32, (SegmentName, u64)>,
}

impl S3Staged {
    /// Looks for these segments. [`StoreError::NotFound`] where nothing is staged at all, or, asked for some, none of them is.
    pub(super) fn find(
        bucket: &Bucket,
        memory: &Budget,
        id: &UploadId,
        names: &[SegmentName],
    ) -> Result<Self, StoreError> {
        let mut segments = BTreeMap::new();
        if let [only] = names {
            let page = bucket.list(&keys::segment(id, only), None, 1)?;
            let found = page
                .objects
                .first()
                .filter(|found| found.key == keys::segment(id, only));
            segments.extend(found.map(|found| (only.number(), (*only, found.size))));
        } else {
            let folder = Folder::list(bucket, id)?;
            if names.is_empty() && folder.len() > 0 {
                return Ok(Self::of(bucket, memory, id, segments));
            }
            let sizes: BTreeMap<SegmentName, u64> = (folder.segments.iter())
                .map(|(name, object)| (*name, object.size))
                .collect();
            let found = |name: &SegmentName| Some((name.number(), (*name, *sizes.get(name)?)));
            segments.extend(names.iter().filter_map(found));
        }
        if segments.is_empty() {
            return Err(StoreError::NotFound);
        }
        Ok(Self::of(bucket, memory, id, segments))
    }

    fn of(
        bucket: &Bucket,
        memory: &Budget,
        id: &UploadId,
        segments: BTreeMap<u32, (SegmentName, u64)>,
    ) -> Self {
        Self {
            bucket: bucket.clone(),
            memory: memory.clone(),
            id: *id,
            segments,
        }
    }
}

impl SealedUpload for S3Staged {
    fn files(&self) -> Result<Vec<SealedFile>, StoreError> {
        let numbers = self.segments.keys();
        Ok(numbers.map(|number| SealedFile::Segment(*number)).collect())
    }

    fn open(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, StoreError> {
        let SealedFile::Segment(number) = file else {
            return Err(StoreError::NotFound);
        };
        let (name, size) = self.segments.get(&number).ok_or(StoreError::NotFound)?;
        let key = keys::segment(&self.id, name);
        let (bucket, memory) = (&self.bucket, &self.memory);
        Ok(Box::new(S3File::new(bucket, memory, key, *size, None)))
    }

    fn sizes(&self, segments: &[SegmentName]) -> Result<Vec<u64>, StoreError> {
        let size = |name: &SegmentName| match self.segments.get(&name.number()) {
            Some((there, size)) if there == name => Ok(*size),
            _ => Err(StoreError::NotFound),
        };
        segments.iter().map(size).collect()
    }
}
