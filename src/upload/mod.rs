//! The use cases: receive, publish, list, open, delete. Knows sealing, keys and storing; nothing of HTTP.
//!
//! The way in: [`Receiver`] takes bytes as they come and seals them; [`Receiver::finish`] gives a [`Received`], the only
//! thing that [`Uploads::publish`] takes; that gives a [`Receipt`]. Whatever is dropped on the way leaves nothing behind.
//! An upload that may come in several requests is a [`Session`] instead, and what is dropped of it can be gone on with.
//!
//! The way out: [`OpenUpload`] reads a manifest with a private key and gives the plaintext, whole or in part;
//! [`seal_stream`] and [`open_stream`] seal and open single age files, on all cores; an [`AgeReader`] opens one as it is read.

mod account;
mod age_file;
mod age_stream;
mod batches;
mod client_sealed;
mod digest;
mod etag;
mod expiry;
mod held;
mod manifest;
mod migrate;
mod observer;
mod open;
mod opened;
mod payload;
mod plaintext;
mod receive;
mod recipients;
mod relay;
mod rewrap;
mod seekable_age_file;
mod segment;
mod session;
mod several;
mod staged;
mod terms;
#[cfg(test)]
mod tests;
mod turns;
mod verify;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serialize;
use tokio_util::task::TaskTracker;

pub use age_file::{AgeFileError, AgeReader};
pub use age_stream::{Streamed, open_stream, seal_stream};
pub use client_sealed::{ClientSealedCheck, ClientSealedError};
pub use digest::{Algorithm, ExpectedDigest, RunningDigest, needs_sha512};
pub use etag::TaggedFile;
pub use manifest::{
    CLIENT_SEALED, ClientName, FIELDS_TYPE, FileEntry, Kind, Manifest, MetadataEntry,
    RECORD_STANZA, Record, SegmentEntry, VERSION, essence, is_client_sealed, to_rfc3339,
};
pub use migrate::{Carried, MigrateError, Migration, RecordCarried};
pub use observer::{Begun, Finished, Observer, Removed, Why};
pub use open::{OpenUpload, ReadError, read_header, read_record};
pub use plaintext::{Plaintext, PlaintextAt, PlaintextRead};
pub use receive::{NewUpload, ReceiveError, Received, Receiver};
pub use rewrap::{RewrapError, RewrapRule, Rewrapped, meta_etag, rewrap_headers};
pub use seekable_age_file::SeekableAgeFile;
pub use session::{
    Append, NewSession, Role, Session, SessionError, SessionLimits, UploadUrl, UploadUrlError,
};

pub use terms::Terms;
pub use verify::{Finding, Pace, Problem, Stored, Verified, Verifier};

use expiry::Expiries;
use held::Held;
use opened::OpenedManifests;
use session::Claims;
use turns::Turns;

use crate::grant::{GrantId, Links};
use crate::keys::NamedRecipient;
use crate::seal::Identity;
use crate::store::{
    EngineStatus, Publication, RecordStore, SealedFile, SealedUpload, Store, StoreError, UploadId,
};

/// Bytes that an upload takes beside its sealed content, roughly: headers and manifest.
const SEALED_AROUND: u64 = 4096;
/// Uploads of a list whose manifests are in memory at the same time.
const OPEN_AT_ONCE: usize = 64;

/// What the uploader gets in return: proof that the upload is sealed and on disk. Without `Debug`: it holds a name.
#[derive(Clone, Serialize)]
pub struct Receipt {
    /// The upload's id.
    pub id: UploadId,
    /// The id shared by all uploads of one form, and by those that joined one another.
    pub submission: UploadId,
    /// What it is.
    pub kind: Kind,
    /// The name that the client gave, as text.
    pub name: Option<String>,
    /// Bytes of plaintext.
    pub size: u64,
    /// SHA-256 over the plaintext, in lowercase hex.
    pub sha256: String,
    /// When the last byte had arrived (RFC 3339).
    pub time: String,
    /// The fingerprints of the keys that open it.
    pub recipients: Vec<String>,
    /// When it is to be deleted (RFC 3339), where that was agreed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What a list says of an upload; nothing in it needs a key.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The upload's id.
    pub id: UploadId,
    /// When the last byte had arrived (RFC 3339).
    pub time: String,
    /// Bytes of all its sealed files but `meta.age`.
    pub sealed_size: u64,
    /// The sealed files beside `meta.age`.
    pub files: Vec<FileEntry>,
    /// The link that it came through.
    pub link: Option<String>,
    /// When it is to be deleted.
    pub expires: Option<String>,
    /// `meta.age` itself: when this changes, the upload was sealed anew to other keys.
    pub meta: MetaEntry,
}

/// `meta.age`, as a list shows it.
#[derive(Debug, Clone, Serialize)]
pub struct MetaEntry {
    /// `meta.age`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// CRC-64/NVME over it, 16 digits of lowercase hex, where the store noted it.
    pub crc64nvme: Option<String>,
}

/// All uploads of one store, with the keys that they are sealed to.
pub struct Uploads {
    store: Arc<dyn Store>,
    current: recipients::Current,
    identities: Arc<[Identity]>,
    opened: OpenedManifests,
    /// Counts what is staged: neither published nor removed yet.
    staged: TaskTracker,
    session_limits: SessionLimits,
    claims: Arc<Claims>,
    observer: Arc<dyn Observer>,
    expiries: Arc<Expiries>,
    links: Links,
    held: Arc<Held>,
    /// Whoever changes a published upload takes its turn.
    turns: Turns,
}

impl Uploads {
    /// `recipients` must not be empty: sealing would fail at the first upload. `identities` usually is.
    pub fn new(
        store: Arc<dyn Store>,
        recipients: Vec<NamedRecipient>,
        identities: Vec<Identity>,
        session_limits: SessionLimits,
    ) -> Self {
        let records: Arc<dyn RecordStore> = Arc::clone(&store) as _;
        let expiries = Arc::<Expiries>::default();
        Self {
            links: Links::new(records),
            current: recipients::Current::new(recipients),
            identities: identities.into(),
            opened: OpenedManifests::default(),
            staged: TaskTracker::new(),
            session_limits,
            claims: Arc::default(),
            // A store that several servers share keeps a list of what is to go, and one of them looks at it.
            observer: if store.is_shared() {
                Arc::new(Vec::<Arc<dyn Observer>>::new())
            } else {
                Arc::clone(&expiries) as _
            },
            expiries,
            held: Arc::default(),
            turns: Turns::default(),
            store,
        }
    }

    /// The same, with somebody who is told of what becomes of them.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        let all: Vec<Arc<dyn Observer>> = vec![self.observer, observer];
        self.observer = Arc::new(all);
        self
    }

    /// The links of the same store.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The private keys that this server was given; usually none.
    pub fn identities(&self) -> &Arc<[Identity]> {
        &self.identities
    }

    /// What can be told of an engine that keeps the store's bytes.
    pub fn engine(&self) -> Option<EngineStatus> {
        self.store.engine()
    }

    /// Whether new uploads can be stored. Blocks.
    pub fn check(&self) -> Result<(), StoreError> {
        self.store.check()
    }

    /// Whether other servers may have the same uploads.
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Whether what is stored can be reached: asked first, since what reads it tries for longer. That nothing more fits does not
    /// matter here. Blocks.
    pub fn check_reach(&self) -> Result<(), StoreError> {
        match self.store.check() {
            away @ Err(StoreError::Unavailable { .. }) => away,
            _ => Ok(()),
        }
    }

    /// Whether new uploads of so many bytes of plaintext in all would fit, sealed. Blocks.
    pub fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.store.has_room(sealed_size(bytes))
    }

    /// The same where it can be told at once; `None`: ask [`has_room`](Self::has_room).
    pub fn has_room_now(&self, bytes: u64) -> Option<Result<(), StoreError>> {
        self.store.has_room_now(sealed_size(bytes))
    }

    /// Waits until nothing is staged any more: every upload under way was published, or broke off and was removed.
    pub async fn settled(&self) {
        self.staged.close();
        self.staged.wait().await;
    }

    /// Makes received uploads visible and durable, all of one submission together, and says so. Blocks.
    ///
    /// What fails here leaves nothing of the uploads that were not published yet.
    pub fn publish(&self, received: Vec<Received>) -> Result<Vec<Receipt>, ReceiveError> {
        let now = SystemTime::now();
        let mut sealed = Vec::with_capacity(received.len());
        let mut receipts = Vec::with_capacity(received.len());
        for upload in &received {
            let to = upload.sealed_to();
            let (manifest, meta) = upload.whole(now).seal_meta(&to.recipients)?;
            receipts.push(Receipt {
                id: manifest.id,
                submission: manifest.submission,
                kind: manifest.kind,
                name: manifest.name,
                size: manifest.size,
                sha256: manifest.sha256,
                time: to_rfc3339(now),
                recipients: to.fingerprints.to_vec(),
                expires: upload.expires(now).map(to_rfc3339),
            });
            sealed.push(Publication {
                id: manifest.id,
                meta,
                segments: upload.segments()?,
                expires: upload.expires(now),
            });
        }
        let ids: Vec<UploadId> = receipts.iter().map(|receipt| receipt.id).collect();
        for upload in &received {
            upload.check_link()?;
        }
        let published = self.observer.publishing(&ids);
        if let Err(error) = published.and_then(|()| self.store.publish(&sealed)) {
            self.keep_visible(received, &error);
            return Err(error.into());
        }
        for upload in received {
            upload.settle();
            self.observer.finished(&upload.finished(now));
            upload.stays();
        }
        Ok(receipts)
    }

    /// Of uploads whose publishing failed, lets those be that may be visible after all. What is reserved for them stays so, until
    /// it is looked at. Blocks.
    fn keep_visible(&self, received: Vec<Received>, error: &StoreError) {
        for upload in received {
            if matches!(self.store.open(upload.id()), Err(StoreError::NotFound)) {
                self.observer.not_published(upload.id());
            } else if let StoreError::Unsettled { .. } = error {
                upload.stays();
            }
        }
    }

    /// Published uploads in order of their ids, after `after`, at most `limit`, with the id to go on after where there
    /// may be more. Blocks.
    pub fn list(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<(Vec<Summary>, Option<UploadId>), StoreError> {
        let ids = self.store.list(after, limit)?;
        let next = ids.last().copied().filter(|_| ids.len() == limit);
        let mut summaries = Vec::with_capacity(ids.len());
        for some in ids.chunks(OPEN_AT_ONCE) {
            for (id, opened) in some.iter().zip(self.store.open_all(some)) {
                summaries.extend(self.summary(id, opened)?);
            }
        }
        Ok((summaries, next))
    }

    /// `None` where the upload was deleted since it was listed.
    fn summary(
        &self,
        id: &UploadId,
        opened: Result<Box<dyn SealedUpload>, StoreError>,
    ) -> Result<Option<Summary>, StoreError> {
        // One that could not be opened with the others may be too long for that.
        let opened = match opened {
            Err(StoreError::Refused { .. }) => self.store.open(id),
            opened => opened,
        };
        let read = self.read_opened(id, opened, |upload| {
            let meta = upload.open(SealedFile::Meta)?;
            let entry = MetaEntry {
                name: SealedFile::Meta.to_string(),
                size: meta.len(),
                crc64nvme: upload
                    .meta_checksum()?
                    .map(|checksum| format!("{checksum:016x}")),
            };
            Ok::<_, ReadError>((read_record(&*meta)?, entry))
        });
        let (record, meta) = match read {
            Ok(read) => read,
            Err(ReadError::Store(StoreError::NotFound)) => return Ok(None),
            Err(ReadError::Store(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(%id, %error, "an upload without a readable record is left out of the list");
                return Ok(None);
            }
        };
        Ok(Some(Summary {
            id: *id,
            time: to_rfc3339(record.time),
            sealed_size: (record.files.iter()).fold(0, |sum, file| sum.saturating_add(file.size)),
            files: record.files,
            link: record.link,
            expires: record.expires,
            meta,
        }))
    }

    /// Reads something of a published upload. What was sealed anew in the midst of it is read again. Blocks.
    fn read<T, E: From<StoreError> + AsStoreError>(
        &self,
        id: &UploadId,
        read: impl Fn(&dyn SealedUpload) -> Result<T, E>,
    ) -> Result<T, E> {
        self.read_opened(id, self.store.open(id), read)
    }

    /// The same of one that was opened a moment ago.
    fn read_opened<T, E: From<StoreError> + AsStoreError>(
        &self,
        id: &UploadId,
        opened: Result<Box<dyn SealedUpload>, StoreError>,
        read: impl Fn(&dyn SealedUpload) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut opened = opened;
        let mut tries = 3;
        loop {
            tries -= 1;
            let upload = opened?;
            match read(&*upload) {
                // Of a folder that was exchanged a file may be gone already.
                Err(error) if tries > 0 && error.is_passing() => {}
                read => return read,
            }
            opened = self.store.open(id);
        }
    }

    /// One sealed file as it is stored, with its entity tag. Blocks.
    pub fn sealed_file(&self, id: &UploadId, file: SealedFile) -> Result<TaggedFile, StoreError> {
        self.read(id, |upload| TaggedFile::open(upload, id, file))
    }

    /// A published upload, still sealed. Blocks.
    pub fn sealed_upload(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        self.store.open(id)
    }

    /// Opens a published upload with the server's private keys. Blocks.
    pub fn open(
        &self,
        upload: Box<dyn SealedUpload>,
        id: &UploadId,
    ) -> Result<OpenUpload, ReadError> {
        OpenUpload::open_by(upload, Some(id), |meta| {
            self.opened.open(meta, &self.identities, Instant::now())
        })
    }

    /// Lets go what was kept of opened uploads for whoever asks for their next part, where that was a while ago. To be called
    /// again and again.
    pub fn let_opened_go(&self, now: Instant) {
        self.opened.let_old_go(now);
    }

    /// Deletes a published upload. Says through which link it came. Blocks.
    pub fn delete(&self, id: &UploadId) -> Result<Option<String>, StoreError> {
        self.remove(id, Why::Deleted, None)
    }

    /// `by`: who took it back.
    fn remove(
        &self,
        id: &UploadId,
        why: Why,
        by: Option<&Terms>,
    ) -> Result<Option<String>, StoreError> {
        let _turn = self.turns.take(id);
        let record = self.settle_before_removal(id)?;
        let deleted = self.store.delete(id);
        // Where that failed, its keys may be overwritten all the same.
        self.opened.forget(id);
        deleted?;
        let expires = record.as_ref().and_then(expiry::agreed);
        if let Some(expires) = expires.filter(|_| why != Why::Expired) {
            self.take_off_the_list(id, expires);
        }
        let link = record.and_then(|record| record.link);
        let link = link.filter(|link| link.parse::<GrantId>().is_ok());
        self.observer.removed(&Removed {
            id: *id,
            why,
            link: link.as_deref(),
            by: by.map(|terms| terms.by.as_str()),
            from: by.and_then(|terms| terms.from),
        });
        Ok(link)
    }
}

/// Bytes that so many of plaintext take: of each chunk its tag, of each file its header, and the manifest.
fn sealed_size(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 4096 + SEALED_AROUND)
}

/// Fails where a digest is not what the client says. One that was not computed does not fit.
fn verify<'a>(
    by: impl Fn(Algorithm) -> Option<&'a [u8]>,
    expected: &[ExpectedDigest],
) -> Result<(), ReceiveError> {
    let wrong = expected.iter().find(|expected| {
        let own = by(expected.algorithm);
        own.is_none_or(|value| !expected.is(value))
    });
    match wrong {
        Some(wrong) => Err(ReceiveError::Digest(wrong.algorithm)),
        None => Ok(()),
    }
}

/// For reading again.
trait AsStoreError {
    fn as_store_error(&self) -> Option<&StoreError>;

    fn is_passing(&self) -> bool {
        matches!(
            self.as_store_error(),
            Some(StoreError::NotFound | StoreError::Replaced)
        )
    }
}

impl AsStoreError for StoreError {
    fn as_store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl AsStoreError for ReadError {
    fn as_store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
