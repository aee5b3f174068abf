//! The client of a bucket: requests with deadlines, retries and bounds, and what the engine behind it is found to keep.
//!
//! All calls block, for a bounded time: call from a thread that may.
#![expect(
    dead_code,
    unused_variables,
    clippy::unimplemented,
    clippy::needless_pass_by_value
)]

mod engine;
mod object;
mod parts;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
pub(super) use object_store::PutPayload;

pub use engine::{Checksum, Engine};
pub use object::RequestCounts;
#[expect(unused_imports)]
pub(super) use object::{ETag, Folders, Head, Listed, Notes, Object, Page};
pub(super) use parts::Parts;

use super::settings::S3Settings;
use crate::store::StoreError;

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bucket(Arc<Inner>);

struct Inner {
    engine: Engine,
}

impl Bucket {
    /// Connects, and tries what the engine keeps.
    pub(super) fn connect(settings: &S3Settings) -> Result<Self, StoreError> {
        unimplemented!()
    }

    /// Puts an object, over whatever is there.
    pub(super) fn put(
        &self,
        key: &str,
        body: impl Into<PutPayload>,
        notes: &Notes,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Puts an object where there is none: [`StoreError::Exists`] where there is. One with the same bytes is taken for what this
    /// call put there and heard no answer to.
    pub(super) fn create(&self, key: &str, body: Bytes, notes: &Notes) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Puts an object in the place of `old`: [`StoreError::Replaced`] where that is not there any more. One with the same bytes is
    /// taken for what this call put there.
    pub(super) fn replace(
        &self,
        key: &str,
        old: &ETag,
        body: Bytes,
        notes: &Notes,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// A whole object of at most so many bytes, or [`StoreError::NotFound`].
    pub(super) fn get(&self, key: &str, most: u64) -> Result<Object, StoreError> {
        unimplemented!()
    }

    /// Several objects, many at a time, in the order of their keys' list.
    pub(super) fn get_all(&self, keys: &[String], most: u64) -> Vec<Result<Object, StoreError>> {
        unimplemented!()
    }

    /// Part of an object: less than was asked for only at its end.
    pub(super) fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        unimplemented!()
    }

    /// What is told of an object beside its bytes.
    pub(super) fn head(&self, key: &str) -> Result<Head, StoreError> {
        unimplemented!()
    }

    /// Deletes an object. None there is fine.
    pub(super) fn delete(&self, key: &str) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Deletes several objects, any number of which may not be there.
    pub(super) fn delete_all(&self, keys: &[String]) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Objects whose keys begin with `prefix`, in the order of their keys, those after `after` (a whole key) only, at most `most`.
    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page, StoreError> {
        unimplemented!()
    }

    /// Folders right below `prefix`, which ends in `/`: their names, without it and without the `/` behind them, in order, those
    /// after the name `after` only, at most `most`.
    pub(super) fn folders(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Folders, StoreError> {
        unimplemented!()
    }

    /// Copies an object of any size, with its notes, over whatever is there.
    pub(super) fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Begins an object that is sent in parts.
    pub(super) fn begin_parts(&self, key: &str) -> Result<Parts, StoreError> {
        unimplemented!()
    }

    /// Drops the parts of an object that nobody will complete. One that nobody knows any more is fine.
    pub(super) fn abort_parts(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// What the engine was found to keep.
    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether the engine answers, as of about a second ago.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// What was asked of the engine so far.
    pub(super) fn requests(&self) -> RequestCounts {
        unimplemented!()
    }
}
