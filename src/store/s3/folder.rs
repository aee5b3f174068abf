//! What lies in an upload's folder.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::bucket::{Bucket, Listed};
use super::keys::{self, Entry};
use crate::store::{SegmentName, StoreError, UploadId};

/// Objects asked for at once.
const PAGE: usize = 1000;

/// More objects than this no upload has: each of its segments, and what an interruption may have left beside it.
const MOST: usize = 100_000;

/// Bytes of the longest name that an engine gives to what is sent in parts.
const MAX_PARTS_ID: u64 = 4096;

/// Everything in an upload's folder.
#[derive(Default)]
pub(super) struct Folder {
    pub(super) meta: Option<Listed>,
    /// Segments, in order of their names: those of the upload, and others.
    pub(super) segments: Vec<(SegmentName, Listed)>,
    /// Segments that are, or were, sent in parts.
    pub(super) parts: Vec<Listed>,
    /// Lists of segments' names, by their tags.
    pub(super) names: Vec<(String, Listed)>,
    /// What does not belong there.
    pub(super) foreign: Vec<Listed>,
}

impl Folder {
    /// Looks into a folder. An upload that has nothing there has an empty one.
    pub(super) fn list(bucket: &Bucket, id: &UploadId) -> Result<Self, StoreError> {
        let prefix = keys::folder(id);
        let mut folder = Self::default();
        let mut after: Option<String> = None;
        loop {
            let page = bucket.list(&prefix, after.as_deref(), PAGE)?;
            after = page.objects.last().map(|last| last.key.clone());
            for object in page.objects {
                let name = object.key.strip_prefix(&prefix).unwrap_or("").to_owned();
                folder.add(&name, object);
            }
            if !page.more || after.is_none() {
                return Ok(folder);
            }
            if folder.len() > MOST {
                return Err(StoreError::UnexpectedFile {
                    path: prefix.into(),
                });
            }
        }
    }

    /// Adds an object that has this name in the folder.
    pub(super) fn add(&mut self, name: &str, object: Listed) {
        match Entry::of(name) {
            Some(Entry::Meta) => self.meta = Some(object),
            Some(Entry::Segment(name)) => self.segments.push((name, object)),
            Some(Entry::Parts(_)) => self.parts.push(object),
            Some(Entry::Names(tag)) => self.names.push((tag, object)),
            None => self.foreign.push(object),
        }
    }

    /// Adds what only a later list has.
    pub(super) fn join(&mut self, later: Self) {
        let known: BTreeSet<String> = self.all().map(|object| object.key.clone()).collect();
        let is_new = |object: &Listed| !known.contains(&object.key);
        let segments = later.segments.into_iter();
        self.segments
            .extend(segments.filter(|(_, object)| is_new(object)));
        self.segments.sort_by_key(|(name, _)| *name);
        self.parts.extend(later.parts.into_iter().filter(is_new));
        let names = later.names.into_iter();
        self.names
            .extend(names.filter(|(_, object)| is_new(object)));
        self.foreign
            .extend(later.foreign.into_iter().filter(is_new));
    }

    pub(super) fn len(&self) -> usize {
        self.all().count()
    }

    /// All objects, `meta.age` first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Listed> {
        let segments = self.segments.iter().map(|(_, object)| object);
        let names = self.names.iter().map(|(_, object)| object);
        (self.meta.iter())
            .chain(segments)
            .chain(&self.parts)
            .chain(names)
            .chain(&self.foreign)
    }

    /// Bytes of sealed files.
    pub(super) fn sealed_bytes(&self) -> u64 {
        let segments = self.segments.iter().map(|(_, object)| object);
        segments.chain(&self.meta).map(|object| object.size).sum()
    }

    /// Fails where something does not belong there.
    pub(super) fn check_foreign(&self) -> Result<(), StoreError> {
        match self.foreign.first() {
            Some(foreign) => Err(StoreError::UnexpectedFile {
                path: PathBuf::from(&foreign.key),
            }),
            None => Ok(()),
        }
    }

    /// Of each number the only segment that has it: for an upload that does not know its segments' names any more.
    pub(super) fn only_segments(&self) -> Result<Vec<SegmentName>, StoreError> {
        let twice = |two: &[(SegmentName, Listed)]| two[0].0.number() == two[1].0.number();
        if let Some(two) = self.segments.windows(2).find(|two| twice(two)) {
            return Err(StoreError::UnexpectedFile {
                path: PathBuf::from(&two[1].1.key),
            });
        }
        Ok(self.segments.iter().map(|(name, _)| *name).collect())
    }

    /// Removes everything, and what was sent in parts. Gives how many bytes of sealed files that were.
    pub(super) fn remove(&self, bucket: &Bucket) -> Result<u64, StoreError> {
        for marker in &self.parts {
            abort_parts(bucket, &marker.key)?;
        }
        let keys: Vec<String> = self.all().map(|object| object.key.clone()).collect();
        if !keys.is_empty() {
            bucket.delete_all(&keys)?;
        }
        Ok(self.sealed_bytes())
    }
}

/// Drops what was sent in parts as this marker says, which itself stays. None there is fine.
pub(super) fn abort_parts(bucket: &Bucket, marker: &str) -> Result<(), StoreError> {
    let name = match bucket.get(marker, MAX_PARTS_ID) {
        Err(StoreError::NotFound) => return Ok(()),
        name => name?.bytes,
    };
    let key = marker.strip_suffix(keys::PARTS).unwrap_or(marker);
    match str::from_utf8(&name) {
        Ok(name) => bucket.abort_parts(&format!("{key}{}", keys::SEALED), name),
        // Nothing that this store has written.
        Err(_) => Ok(()),
    }
}
