//! The requests of a bucket as they are, each under its bounds. What is built out of several is elsewhere.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use object_store::aws::AmazonS3;
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, CopyOptions, GetOptions, GetRange, GetResult, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, UpdateVersion,
};

use super::connector::Deadlines;
use super::error::BucketError;
use super::exchange::{self, Bounds};
use super::{ETag, Head, Notes, Object};

/// Of one page of a list: a thousand keys of a kilobyte, and what stands around them.
const MAX_LIST: u64 = 8 << 20;
/// Objects in one page of a list, or in one request that deletes many.
pub(super) const MAX_KEYS: usize = 1000;

/// Makes requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requests {
    client: AmazonS3,
    /// Puts deletions together in one request.
    bulk: AmazonS3,
    deadlines: Deadlines,
    /// Empty, or with a `/` at its end.
    prefix: Arc<str>,
    if_match: IfMatch,
}

/// How an `ETag` stands in `If-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// As the engine told it: in quotation marks (RFC 9110, section 8.8.3).
    Quoted,
    /// Without them, as Ceph 16 compares it.
    Bare,
}

impl IfMatch {
    fn value(self, etag: &ETag) -> String {
        match self {
            Self::Quoted => etag.0.clone(),
            Self::Bare => etag.0.trim_matches('"').to_owned(),
        }
    }
}

/// What has to be there for an object to be put.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Always,
    Nothing,
    Still(ETag),
}

impl Requests {
    pub(super) fn new(
        client: AmazonS3,
        bulk: AmazonS3,
        deadlines: Deadlines,
        prefix: &str,
    ) -> Self {
        let prefix = match prefix {
            "" => "".into(),
            prefix => format!("{prefix}/").into(),
        };
        Self {
            client,
            bulk,
            deadlines,
            prefix,
            if_match: IfMatch::Quoted,
        }
    }

    /// The same, with `If-Match` in this form.
    pub(super) fn with_if_match(&self, if_match: IfMatch) -> Self {
        Self {
            if_match,
            ..self.clone()
        }
    }

    fn path(&self, key: &str) -> Result<Path, BucketError> {
        let path = Path::parse(format!("{}{key}", self.prefix));
        path.map_err(|error| BucketError::Setup(error.into()))
    }

    /// A key as the store knows it.
    fn key<'a>(&self, path: &'a Path) -> Option<&'a str> {
        path.as_ref().strip_prefix(&*self.prefix)
    }

    /// For a call that sends or gets so many bytes.
    fn bounds(&self, sent: u64, most: u64) -> Bounds {
        Bounds {
            most,
            whole: self.deadlines.whole(sent.saturating_add(most)),
        }
    }

    pub(super) async fn put(
        &self,
        key: &str,
        body: PutPayload,
        notes: &Notes,
        condition: &Condition,
    ) -> Result<PutResult, BucketError> {
        let bounds = self.bounds(body.content_length() as u64, 0);
        let (path, options) = (self.path(key)?, self.options(notes, condition));
        exchange::run(bounds, self.client.put_opts(&path, body, options)).await
    }

    fn options(&self, notes: &Notes, condition: &Condition) -> PutOptions {
        let mode = match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Nothing => PutMode::Create,
            Condition::Still(etag) => PutMode::Update(UpdateVersion {
                // It goes into the header as it is.
                e_tag: Some(self.if_match.value(etag)),
                version: None,
            }),
        };
        PutOptions {
            mode,
            attributes: attributes(notes),
            ..PutOptions::default()
        }
    }

    /// Puts an object that is damaged on the way.
    pub(super) async fn put_damaged(&self, key: &str, body: Bytes) -> Result<(), BucketError> {
        let (path, options) = (self.path(key)?, PutOptions::default());
        let put = self.client.put_opts(&path, body.into(), options);
        exchange::run_damaged(self.bounds(0, 0), put).await?;
        Ok(())
    }

    pub(super) async fn get(&self, key: &str, most: u64) -> Result<Object, BucketError> {
        let path = self.path(key)?;
        let got = async {
            let got = self.client.get_opts(&path, GetOptions::default()).await?;
            let head = head(&got);
            Ok((head, got.bytes().await?))
        };
        let (head, bytes) = exchange::run(self.bounds(0, most), got).await?;
        let head = head?;
        // The bound lets errors through that are longer.
        if bytes.len() as u64 > most {
            return Err(BucketError::TooLong(most));
        }
        Ok(Object {
            bytes,
            etag: head.etag,
            notes: head.notes,
            modified: head.modified,
        })
    }

    pub(super) async fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes, BucketError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let path = self.path(key)?;
        let most = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let got = async { self.client.get_opts(&path, options).await?.bytes().await };
        match exchange::run(self.bounds(0, most), got).await {
            // It ends before.
            Err(error) if error.status() == 416 => Ok(Bytes::new()),
            got => got,
        }
    }

    pub(super) async fn head(&self, key: &str) -> Result<Head, BucketError> {
        let path = self.path(key)?;
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let got = exchange::run(self.bounds(0, 0), self.client.get_opts(&path, options)).await?;
        head(&got)
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let path = self.path(key)?;
        let one = stream::iter([Ok(path)]).boxed();
        let deleted = exchange::run(self.bounds(0, 0), async move {
            let mut deleted = self.client.delete_stream(one);
            while let Some(result) = deleted.next().await {
                result?;
            }
            Ok(())
        });
        match deleted.await {
            Err(error) if error.is_missing() => Ok(()),
            deleted => deleted,
        }
    }

    /// Deletes at most [`MAX_KEYS`] objects in one request.
    pub(super) async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        let paths: Result<Vec<_>, _> = keys.iter().map(|key| self.path(key)).collect();
        let paths = stream::iter(paths?.into_iter().map(Ok)).boxed();
        let client = self.bulk.clone();
        let deleting = exchange::run(self.bounds(0, MAX_LIST), async move {
            let mut deleted = client.delete_stream(paths);
            while let Some(result) = deleted.next().await {
                result?;
            }
            Ok(())
        });
        // An answer that tells of an object that nobody asked about makes it panic.
        let deleted = tokio::spawn(deleting).await;
        deleted.map_err(|error| BucketError::Malformed(error.into()))?
    }

    /// One page of a list: of keys, or of folders where `folders` is set.
    pub(super) async fn list_page(
        &self,
        prefix: &str,
        ask: ListPage,
    ) -> Result<PaginatedListResult, BucketError> {
        let prefix = format!("{}{prefix}", self.prefix);
        let options = PaginatedListOptions {
            offset: ask.after.map(|after| format!("{}{after}", self.prefix)),
            delimiter: ask.folders.then_some(Cow::Borrowed("/")),
            max_keys: Some(ask.most.clamp(1, MAX_KEYS)),
            page_token: ask.token,
            ..PaginatedListOptions::default()
        };
        let prefix = Some(&*prefix).filter(|prefix| !prefix.is_empty());
        let listing = self.client.list_paginated(prefix, options);
        exchange::run(self.bounds(0, MAX_LIST), listing).await
    }

    /// A key of a list as the store knows it.
    pub(super) fn listed(&self, path: &Path) -> Result<String, BucketError> {
        let key = self.key(path).map(str::to_owned);
        key.ok_or_else(|| BucketError::Unfit("its list has objects that nobody asked for"))
    }

    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<(), BucketError> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        let copying = self.client.copy_opts(&from, &to, CopyOptions::default());
        exchange::run(self.bounds(0, 0), copying).await
    }

    pub(super) async fn begin_parts(
        &self,
        key: &str,
        notes: &Notes,
    ) -> Result<String, BucketError> {
        let path = self.path(key)?;
        let options = PutMultipartOptions::from(attributes(notes));
        let begun = MultipartStore::create_multipart_opts(&self.client, &path, options);
        exchange::run(self.bounds(0, 0), begun).await
    }

    pub(super) async fn put_part(
        &self,
        key: &str,
        id: &str,
        index: usize,
        body: PutPayload,
    ) -> Result<PartId, BucketError> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let bounds = self.bounds(body.content_length() as u64, 0);
        let put = MultipartStore::put_part(&self.client, &path, &id, index, body);
        exchange::run(bounds, put).await
    }

    pub(super) async fn complete_parts(
        &self,
        key: &str,
        id: &str,
        parts: Vec<PartId>,
    ) -> Result<(), BucketError> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let completing = MultipartStore::complete_multipart(&self.client, &path, &id, parts);
        let completed = exchange::run(self.bounds(0, 0), completing).await;
        match completed {
            // It was completed by a request whose answer was lost. No name is given twice, so it is what was sent.
            Err(error) if error.is_missing() => match self.head(key).await {
                Ok(_) => Ok(()),
                Err(_) => Err(error),
            },
            completed => completed.map(|_| ()),
        }
    }

    pub(super) async fn abort_parts(&self, key: &str, id: &str) -> Result<(), BucketError> {
        let (path, id) = (self.path(key)?, id.to_owned());
        let aborting = MultipartStore::abort_multipart(&self.client, &path, &id);
        match exchange::run(self.bounds(0, 0), aborting).await {
            Err(error) if error.is_missing() => Ok(()),
            aborted => aborted,
        }
    }
}

/// What to list.
#[derive(Debug, Default)]
pub(super) struct ListPage {
    pub(super) after: Option<String>,
    pub(super) token: Option<String>,
    pub(super) folders: bool,
    pub(super) most: usize,
}

fn attributes(notes: &Notes) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, value) in &notes.0 {
        attributes.insert(Attribute::Metadata(name.clone()), value.clone().into());
    }
    attributes
}

fn head(got: &GetResult) -> Result<Head, BucketError> {
    let notes = got
        .attributes
        .iter()
        .filter_map(|(name, value)| match name {
            Attribute::Metadata(name) => Some((name.clone(), value.as_ref().to_owned())),
            _ => None,
        });
    let mut notes: Vec<_> = notes.collect();
    notes.sort();
    let etag = got.meta.e_tag.clone().filter(|etag| !etag.is_empty());
    Ok(Head {
        size: got.meta.size,
        etag: ETag(etag.ok_or(BucketError::Unfit("it tells no ETag"))?),
        notes: Notes(notes),
        modified: got.meta.last_modified.into(),
    })
}
