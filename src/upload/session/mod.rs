//! Uploads that come in several requests (DESIGN.md section 4.3): each request's body becomes a segment under a file key of
//! its own, and between requests a sealed record holds what finishing needs.
//!
//! A request [claims](Uploads::session) the upload and gets a [`Session`], the only one there is. It turns into an [`Append`]
//! that takes the body in, and back: [`Append::close`]. The sealer lives in between and no longer, so nothing about it can be
//! stored, copied or begun again. [`Session::finish`] publishes.
//!
//! The order is always: the segment's bytes, their sync, the names' sync, the entry, its sync; only then an answer.

mod append;
mod claim;
mod concat;
mod finish;
mod record;
mod recover;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::task::task_tracker::TaskTrackerToken;

pub use append::Append;
use claim::Claim;
pub(super) use claim::Claims;
pub use record::Role;
use record::{ClearHead, Entry, Event, Head, Phase, State};
pub use url::{UploadUrl, UploadUrlError};

use super::digest::{Algorithm, ExpectedDigest};
use super::manifest::{ClientName, Kind, MetadataEntry};
use super::receive::ReceiveError;
use super::segment::SealedSegment;
use super::{Receipt, Uploads, to_rfc3339};
use crate::seal::{Recipient, SealError};
use crate::store::{MAX_SEGMENTS, SealedFile, Store, StoreError, UploadId};

/// How resumable uploads are bounded. Every field has a setting of the same name.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// How long an upload URL answers, from its creation on.
    pub upload_lifetime: Duration,
    /// After how many bytes of one body what has arrived is made durable while more arrives: what a recovery has to read.
    pub checkpoint: u64,
}

impl Default for SessionLimits {
    /// Seven days, and 256 MiB.
    fn default() -> Self {
        Self {
            upload_lifetime: Duration::from_hours(7 * 24),
            checkpoint: 256 << 20,
        }
    }
}

/// Why a resumable upload cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such upload, another secret, or expired.
    #[error(
        "there is no such upload: it was never created, was cancelled or has expired; begin anew"
    )]
    Unknown,
    /// Its record or what it had received is damaged. Nothing that was acknowledged may be passed over.
    #[error("what the server kept of this upload is damaged; begin anew")]
    Lost,
    /// More bodies than an upload can have segments.
    #[error("an upload takes at most {MAX_SEGMENTS} requests that bring data; send larger pieces")]
    TooManySegments,
    /// More came than the length that was given.
    #[error("more was sent than the length that was given; the upload is void")]
    TooLong,
    /// It is finished, or part of another.
    #[error("the upload is complete and takes nothing more")]
    Complete,
    /// A part that is to be concatenated has not arrived whole.
    #[error("an upload that is to be concatenated is no part, or not complete yet")]
    PartIncomplete,
    /// The parts are larger together than an upload may be.
    #[error("the parts are larger together than the {0} bytes that are allowed")]
    TooLarge(u64),
    /// It calls itself an age file and is none that could be opened here.
    #[error(transparent)]
    ClientSealed(#[from] super::ClientSealedError),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no randomness")]
    Randomness(#[source] getrandom::Error),
    /// Receiving failed.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
}

impl SessionError {
    /// Whether it says that what arrived is not what it should be. To try again would not help.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::ClientSealed(_) | Self::Receive(ReceiveError::Digest(_))
        )
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Receive(error.into())
    }
}

impl From<SealError> for SessionError {
    fn from(error: SealError) -> Self {
        Self::Receive(error.into())
    }
}

/// What is said of an upload that is to come in several requests.
pub struct NewSession {
    /// The name that the client gave.
    pub name: Option<ClientName>,
    /// The media type that the client gave.
    pub media_type: Option<String>,
    /// Bytes in all, where they are known.
    pub length: Option<u64>,
    /// Whether the upload is complete as soon as it has its length (tus), or only when the client says so (the draft).
    pub ends_at_length: bool,
    /// What else the client said about it, as it said it, to be told again.
    pub metadata: Option<String>,
    /// The same, for the manifest.
    pub metadata_entries: Vec<MetadataEntry>,
    /// What part it plays in a concatenation.
    pub role: Role,
    /// Digests that the whole must have.
    pub repr_digests: Vec<ExpectedDigest>,
    /// The digest that the client wants to be told.
    pub wants: Option<Algorithm>,
}

impl NewSession {
    fn into_head(self) -> Head {
        Head {
            name: self.name.map(|name| name.as_bytes().to_vec()),
            media_type: self.media_type,
            metadata: self.metadata,
            metadata_entries: self.metadata_entries,
            length: self.length,
            ends_at_length: self.ends_at_length,
            role: self.role,
            repr_digests: self.repr_digests,
            wants: self.wants,
        }
    }
}

/// A resumable upload, in the hands of one request.
pub struct Session {
    store: Arc<dyn Store>,
    recipients: Arc<[Recipient]>,
    fingerprints: Arc<[String]>,
    checkpoint: u64,
    url: UploadUrl,
    head: Head,
    expires: SystemTime,
    state: State,
    claim: Claim,
    /// Whoever stops the server waits until what is in progress has been closed.
    _pending: TaskTrackerToken,
}

impl Uploads {
    /// Creates a resumable upload. Durable when this returns: the URL may be given out.
    pub async fn create_session(
        self: &Arc<Self>,
        new: NewSession,
    ) -> Result<Session, SessionError> {
        let url = UploadUrl::generate(UploadId::generate(SystemTime::now()))?;
        let claim = self.claims.claim(url.id()).await;
        let head = new.into_head();
        let expires = SystemTime::now() + self.session_limits.upload_lifetime;
        self.blocking(move |uploads| {
            let sealed = ClearHead::seal(&url, &head, expires)?;
            uploads.store.create_session(url.id(), &sealed)?;
            let state = State::new(&head);
            Ok(uploads.in_hand(url, head, expires, state, claim))
        })
        .await
    }

    /// Takes a resumable upload in hand: ends what another request does with it, recovers what the server did not come to
    /// close, and publishes what it did not come to publish.
    pub async fn session(self: &Arc<Self>, url: UploadUrl) -> Result<Session, SessionError> {
        // Only who knows the secret may end what another request does.
        let (clear, url) = self
            .blocking(move |uploads| Ok((uploads.clear_head(&url)?, url)))
            .await?;
        let claim = self.claims.claim(url.id()).await;
        self.blocking(move |uploads| {
            let head = clear.open(&url)?;
            // Whoever had it in hand before may have removed it.
            uploads.clear_head(&url)?;
            let state = match record::last_entry(&*uploads.store, &url)? {
                Some((number, entry)) => State::after(number, entry)?,
                None => State::new(&head),
            };
            let mut session = uploads.in_hand(url, head, clear.expires, state, claim);
            session.recover()?;
            session.complete_finish()?;
            Ok(session)
        })
        .await
    }

    /// Removes resumable uploads that have expired. Needs none of their secrets. Blocks.
    pub fn sweep_sessions(self: &Arc<Self>, now: SystemTime) -> Result<usize, StoreError> {
        let mut swept = 0;
        for id in self.store.sessions()? {
            let expires = match self.store.session_head(&id) {
                Ok(head) => ClearHead::parse(&head).map(|head| head.expires),
                Err(StoreError::NotFound) => continue,
                Err(error) => return Err(error),
            };
            // A head that was never written to its end belongs to an upload that nobody knows the URL of.
            let expires = expires.unwrap_or(id.time() + Duration::from_hours(1));
            if expires > now {
                continue;
            }
            if let Some(_claim) = self.claims.claim_idle(&id) {
                self.store.remove_session(&id)?;
                self.store.discard(&id)?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Until when an upload URL answers, if it does. Disturbs nobody. Blocks.
    pub fn session_expires(&self, url: &UploadUrl) -> Option<SystemTime> {
        self.clear_head(url).ok().map(|head| head.expires)
    }

    fn clear_head(&self, url: &UploadUrl) -> Result<ClearHead, SessionError> {
        let head = match self.store.session_head(url.id()) {
            Err(StoreError::NotFound) => return Err(SessionError::Unknown),
            head => head?,
        };
        ClearHead::parse(&head)
            .filter(|head| head.is_of(url) && head.expires > SystemTime::now())
            .ok_or(SessionError::Unknown)
    }

    fn in_hand(
        &self,
        url: UploadUrl,
        head: Head,
        expires: SystemTime,
        state: State,
        claim: Claim,
    ) -> Session {
        Session {
            store: Arc::clone(&self.store),
            recipients: Arc::clone(&self.recipients),
            fingerprints: Arc::clone(&self.fingerprints),
            checkpoint: self.session_limits.checkpoint,
            url,
            head,
            expires,
            state,
            claim,
            _pending: self.staged.token(),
        }
    }

    /// Runs what blocks on a thread that may.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, SessionError> + Send + 'static,
    ) -> Result<T, SessionError> {
        let uploads = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&uploads))
            .await
            .map_err(|_| ReceiveError::Abandoned)?
    }
}

impl Session {
    /// The URL.
    pub fn url(&self) -> &UploadUrl {
        &self.url
    }

    /// Bytes that arrived and are durable.
    pub fn offset(&self) -> u64 {
        self.state.offset
    }

    /// Bytes in all, where they are known.
    pub fn length(&self) -> Option<u64> {
        self.state.length
    }

    /// Says when a later request for the same upload came, which waits for this one.
    pub fn superseded(&self) -> tokio_util::sync::CancellationToken {
        self.claim.superseded()
    }

    /// Until when the URL answers.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// What the client said about it beside name and type, as it said it.
    pub fn metadata(&self) -> Option<&str> {
        self.head.metadata.as_deref()
    }

    /// What part it plays in a concatenation.
    pub fn role(&self) -> &Role {
        &self.head.role
    }

    /// Whether it is complete as soon as it has its length.
    pub fn ends_at_length(&self) -> bool {
        self.head.ends_at_length
    }

    /// Whether it is a part that went into a final upload.
    pub fn is_concatenated(&self) -> bool {
        matches!(self.state.phase, Phase::Concatenated(_))
    }

    /// The digest that the client wanted to be told, or else SHA-256, once the upload is finished.
    pub fn repr_digest(&self) -> Option<(Algorithm, &[u8])> {
        let Phase::Finished(finish) = &self.state.phase else {
            return None;
        };
        let algorithm = self.head.wants.unwrap_or(Algorithm::Sha256);
        Some((algorithm, finish.digested.by(algorithm)?))
    }

    /// The receipt, once the upload is finished.
    pub fn receipt(&self) -> Option<Receipt> {
        let Phase::Finished(finish) = &self.state.phase else {
            return None;
        };
        Some(Receipt {
            id: *self.url.id(),
            submission: *self.url.id(),
            kind: Kind::File,
            name: self.name().map(|name| name.to_text()),
            size: self.state.offset,
            sha256: data_encoding::HEXLOWER.encode(&finish.digested.sha256),
            time: to_rfc3339(finish.time),
            recipients: self.fingerprints.to_vec(),
        })
    }

    /// Makes sure that everything that was acknowledged is still there. Where it is not, nothing may go on as if it were.
    pub async fn check(self) -> Result<Self, SessionError> {
        run_blocking(move || {
            if matches!(self.state.phase, Phase::Open) && self.state.segments > 0 {
                self.closed_segments()?;
            }
            Ok(self)
        })
        .await
    }

    /// The segments that were closed, each of which is still there in its size. Blocks.
    fn closed_segments(&self) -> Result<Vec<SealedSegment>, SessionError> {
        let segments = record::closed_segments(&*self.store, &self.url, self.state.next)?;
        if segments.is_empty() {
            return Ok(segments);
        }
        let lost = |error| match error {
            StoreError::NotFound => SessionError::Lost,
            error => error.into(),
        };
        let staged = self.store.open_staged(self.url.id()).map_err(lost)?;
        for (number, segment) in (0..).zip(&segments) {
            let file = staged.open(SealedFile::Segment(number)).map_err(lost)?;
            if file.len() != segment.sealed_size {
                return Err(SessionError::Lost);
            }
        }
        Ok(segments)
    }

    /// Takes note of the length. One that contradicts what is known already is `false`, and changes nothing.
    pub async fn declare_length(mut self, length: u64) -> Result<(Self, bool), SessionError> {
        if self.state.length == Some(length) {
            return Ok((self, true));
        }
        if self.state.length.is_some() || length < self.state.offset {
            return Ok((self, false));
        }
        run_blocking(move || {
            self.state.length = Some(length);
            self.put(Event::Length)?;
            Ok((self, true))
        })
        .await
    }

    /// Removes the upload: unfinished, with all that had arrived of it; finished, only what its URL answers from.
    pub async fn remove(self) -> Result<(), SessionError> {
        run_blocking(move || self.remove_all()).await
    }

    fn remove_all(&self) -> Result<(), SessionError> {
        // The record first: without it, what is staged is rubbish, and the next start removes it.
        self.store.remove_session(self.url.id())?;
        Ok(self.store.discard(self.url.id())?)
    }

    fn name(&self) -> Option<ClientName> {
        self.head.name.clone().map(ClientName::new)
    }

    /// Puts an entry that says where the upload stands now. Blocks.
    fn put(&mut self, event: Event) -> Result<(), SessionError> {
        let entry = Entry {
            offset: self.state.offset,
            segments: self.state.segments,
            length: self.state.length,
            digests: self.state.digests.to_state(),
            event,
        };
        self.put_entry(&entry)
    }

    fn put_entry(&mut self, entry: &Entry) -> Result<(), SessionError> {
        let number = self.state.next;
        let sealed = entry.seal(&self.url, number)?;
        self.store.put_entry(self.url.id(), number, &sealed)?;
        self.state.next += 1;
        Ok(())
    }
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SessionError> + Send + 'static,
) -> Result<T, SessionError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ReceiveError::Abandoned)?
}
