//! What is told of objects.

use std::borrow::Cow;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

/// What an object is told apart by from what was in its place before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::s3) struct ETag(pub(super) String);

/// An object.
#[derive(Debug, Clone)]
pub(in crate::store::s3) struct Object {
    pub(in crate::store::s3) bytes: Bytes,
    pub(in crate::store::s3) etag: ETag,
    pub(in crate::store::s3) notes: Notes,
    /// By the engine's clock, in whole seconds.
    pub(in crate::store::s3) modified: SystemTime,
}

/// What is told of an object beside its bytes.
#[derive(Debug, Clone)]
pub(in crate::store::s3) struct Head {
    pub(in crate::store::s3) size: u64,
    pub(in crate::store::s3) etag: ETag,
    pub(in crate::store::s3) notes: Notes,
    pub(in crate::store::s3) modified: SystemTime,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::s3) struct Listed {
    /// Below the store's prefix.
    pub(in crate::store::s3) key: String,
    pub(in crate::store::s3) size: u64,
    pub(in crate::store::s3) modified: SystemTime,
    pub(in crate::store::s3) etag: Option<ETag>,
}

/// Part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store::s3) struct Page {
    pub(in crate::store::s3) objects: Vec<Listed>,
    /// Whether there are more behind these.
    pub(in crate::store::s3) more: bool,
}

/// Part of a list of folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store::s3) struct Folders {
    pub(in crate::store::s3) names: Vec<String>,
    /// Whether there are more behind these.
    pub(in crate::store::s3) more: bool,
}

/// What is kept beside an object's bytes (user metadata): lower-case names, short ASCII values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::store::s3) struct Notes(pub(super) Vec<(Cow<'static, str>, String)>);

impl Notes {
    /// Adds a note. Its name has the form of a header's, in lower case; its value is printable ASCII.
    pub(in crate::store::s3) fn with(
        mut self,
        name: &'static str,
        value: impl Into<String>,
    ) -> Self {
        self.0.push((Cow::Borrowed(name), value.into()));
        self
    }

    /// Whether all of them are among `others`: an engine may add some of its own.
    pub(super) fn are_among(&self, others: &Self) -> bool {
        let is_there = |(name, value): &(Cow<'static, str>, String)| {
            others.value(name).is_some_and(|other| other == value)
        };
        self.0.iter().all(is_there)
    }

    /// The value of a note.
    pub(in crate::store::s3) fn value(&self, name: &str) -> Option<&str> {
        let note = self.0.iter().find(|(known, _)| *known == name);
        note.map(|(_, value)| value.as_str())
    }
}

/// What was asked of an engine since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RequestCounts {
    /// Objects put.
    pub put: u64,
    /// Objects read, whole or in part.
    pub get: u64,
    /// Objects asked about.
    pub head: u64,
    /// Pages of lists.
    pub list: u64,
    /// Deletions.
    pub delete: u64,
    /// Parts sent.
    pub part: u64,
    /// Everything else.
    pub other: u64,
    /// Bytes of bodies sent.
    pub bytes_out: u64,
    /// Bytes of bodies received.
    pub bytes_in: u64,
    /// Requests that failed, before they were tried again.
    pub failed: u64,
    /// Requests that were tried again.
    pub retried: u64,
}
