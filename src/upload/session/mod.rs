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
mod error;
mod finish;
mod lifecycle;
mod record;
mod recover;
mod state;
mod sweep;
#[cfg(test)]
mod tests;
mod url;

use core::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::task::task_tracker::TaskTrackerToken;

pub use append::Append;
use claim::Claim;
pub(super) use claim::Claims;
pub use error::SessionError;
#[cfg(test)]
pub(super) use record::GIVEN_UP;
use record::{Entry, Event};
pub use record::{NewSession, Role};
pub(super) use record::{is_cut_short, is_unmade};
use state::{Phase, State};
pub use url::{UploadUrl, UploadUrlError};

use super::account::Account;
use super::digest::Algorithm;
use super::manifest::ClientName;
use super::observer::Observer;
use super::receive::ReceiveError;
use super::recipients::SealedTo;
use super::segment::{self, SealedSegment};
use super::staged::Staged;
use super::{Receipt, Terms, to_rfc3339};
use crate::store::{SealedFile, SegmentName, Store, StoreError, UploadId};

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

/// A resumable upload, in the hands of one request. It goes into an [`Append`] and comes back, and there is no second one:
///
/// ```compile_fail,E0382
/// # use sealslot::upload::Session;
/// fn two_bodies_at_once(session: Session) {
///     let _ = session.append(&[]);
///     let _ = session.append(&[]);
/// }
/// ```
pub struct Session {
    store: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
    sealed_to: SealedTo,
    /// What it takes of its link, where it comes through one.
    account: Option<Account>,
    /// Bytes that are reserved there.
    reserved: u64,
    checkpoint: u64,
    url: UploadUrl,
    head: NewSession,
    expires: SystemTime,
    state: State,
    claim: Arc<Claim>,
    /// Of an upload whose URL nobody knows yet: it is written down only when its first body has come to its end.
    unsaved: Option<Unsaved>,
    /// Why a segment without an end could not get one yet.
    unrecovered: Option<StoreError>,
    /// Whoever stops the server waits until what is in progress has been closed.
    _pending: TaskTrackerToken,
}

/// A record that is not written yet. Dropped, what is staged goes with it.
struct Unsaved {
    sealed_head: Vec<u8>,
    staged: Staged,
    /// Whether what it has reserved is its own only as long as this server holds it.
    held: bool,
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

    /// Bytes that it may have, as was agreed when it was created.
    pub fn max_size(&self) -> u64 {
        self.head.terms.max_size
    }

    /// On what terms it is taken.
    pub fn terms(&self) -> &Terms {
        &self.head.terms
    }

    /// Says whose request has it in hand, for whoever is told that it was finished.
    pub fn brought_from(&mut self, address: IpAddr) {
        self.head.terms.from = Some(address);
    }

    /// What part it plays in a concatenation.
    pub fn role(&self) -> &Role {
        &self.head.role
    }

    /// When it was finished, if it is.
    pub fn finished(&self) -> Option<SystemTime> {
        match &self.state.phase {
            Phase::Finished(finish) => Some(finish.time),
            _ => None,
        }
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
            submission: self.head.submission_of(&self.url),
            kind: self.head.kind,
            name: self.head.name.as_ref().map(ClientName::to_text),
            size: self.state.offset,
            sha256: data_encoding::HEXLOWER.encode(&finish.digested.sha256),
            time: to_rfc3339(finish.time),
            recipients: self.sealed_to.fingerprints.to_vec(),
            expires: self.head.terms.expires(finish.time).map(to_rfc3339),
        })
    }

    /// Makes sure that all segments that were acknowledged are still there, for whoever asks where the upload stands. It costs
    /// a look at the folder; their sizes are checked before they are published.
    pub async fn check(self) -> Result<Self, SessionError> {
        run_blocking(move || {
            // Where several servers share the store, to tell them all costs as much as to publish them. The last one was seen.
            if self.is_open() && self.state.segments > 0 && !self.store.is_shared() {
                let staged = self.store.open_staged(self.url.id(), &[]);
                let staged = staged.map_err(|error| self.missing(error))?;
                let files = staged.files()?;
                let there = |number| files.binary_search(&SealedFile::Segment(number)).is_ok();
                if !(0..self.state.segments).all(there) {
                    return Err(self.lost("a segment is missing"));
                }
            }
            Ok(self)
        })
        .await
    }

    /// Makes sure that the last segment is there in its size. Blocks.
    fn check_last_segment(&self) -> Result<(), SessionError> {
        let Some(last) = self
            .state
            .segments
            .checked_sub(1)
            .filter(|_| self.is_open())
        else {
            return Ok(());
        };
        let name = self.state.last_name;
        let name = name.map_or_else(|| SegmentName::plain(last), Ok)?;
        let staged = self.store.open_staged(self.url.id(), &[name]);
        let file = staged.and_then(|staged| staged.open(name.file()));
        let file = file.map_err(|error| self.missing(error))?;
        if file.len() != self.state.last_sealed_size {
            return Err(self.lost("the last segment has another size"));
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        matches!(self.state.phase, Phase::Open)
    }

    /// The segments that were closed, each of which is still there in its size. Blocks.
    fn closed_segments(&self) -> Result<Vec<SealedSegment>, SessionError> {
        let segments = match record::closed_segments(&*self.store, &self.url, &self.state) {
            // What was read may be another server's by now.
            Err(SessionError::Lost) if self.is_overtaken() => {
                return Err(StoreError::Overtaken.into());
            }
            segments => segments?,
        };
        if segments.is_empty() {
            return Ok(segments);
        }
        let names = segment::names(&segments)?;
        let staged = self.store.open_staged(self.url.id(), &names);
        let sizes = staged
            .and_then(|staged| staged.sizes(&names))
            .map_err(|error| self.missing(error))?;
        let expected = segments.iter().map(|segment| segment.sealed_size);
        if !expected.eq(sizes) {
            return Err(self.lost("a segment has another size"));
        }
        Ok(segments)
    }

    /// Takes note of the length. One that contradicts what is known already is `false`, and changes nothing.
    pub async fn declare_length(mut self, length: u64) -> Result<(Self, bool), SessionError> {
        if self.state.length == Some(length) {
            return Ok((self, true));
        }
        if !self.is_open() || self.state.length.is_some() || length < self.state.offset {
            return Ok((self, false));
        }
        if length > self.max_size() {
            return Err(SessionError::TooLarge(self.max_size()));
        }
        run_blocking(move || {
            self.reserve_exactly(length)?;
            self.state.length = Some(length);
            self.put(Event::Length)?;
            Ok((self, true))
        })
        .await
    }

    /// Fails where its link takes nothing any more, and else sees what is reserved there. Blocks.
    fn look_at_link(&mut self) -> Result<(), SessionError> {
        if self.account.is_none() {
            return Ok(());
        }
        let published = match self.state.phase {
            // What is about to be made of a part has taken over what was reserved for it.
            Phase::Finished(_) | Phase::Joining(_) | Phase::Concatenated(_) => true,
            // It was, and only has to be told.
            Phase::Finishing(_) => self.is_published()?,
            Phase::Open | Phase::Interrupted(_) => false,
        };
        if published {
            return Ok(());
        }
        self.check_link()
    }

    /// Fails where its link takes nothing any more, or has nothing reserved for it and no room. Blocks.
    fn check_link(&mut self) -> Result<(), SessionError> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        self.reserved = match (account.reserved()?, self.head.reserves()) {
            (Some(reserved), _) => reserved,
            (None, None) => 0,
            // A part whose whole was not made after all, a link's record from a backup, or an upload that came so slowly that
            // it was taken for gone.
            (None, Some(what)) => {
                let bytes = self.state.length.unwrap_or(self.state.offset);
                let most = self.head.terms.max_size;
                account.reserve(what, Some(bytes), most, self.expires)?
            }
        };
        Ok(())
    }

    /// Makes what is reserved so many bytes, now that it is known how many it takes. Fails where its link takes nothing any
    /// more. Blocks.
    fn reserve_exactly(&mut self, bytes: u64) -> Result<(), SessionError> {
        if bytes == self.reserved {
            return self.check_link();
        }
        if let Some(account) = &self.account {
            account.resize(bytes)?;
            self.reserved = bytes;
        }
        Ok(())
    }

    /// Removes the upload with all that had arrived of it. Blocks.
    fn remove_all(&self) -> Result<(), SessionError> {
        Ok(remove(&*self.store, self.url.id(), self.account.as_ref())?)
    }

    /// What was acknowledged must be there, unless another server has gone on with it. Blocks.
    fn missing(&self, error: StoreError) -> SessionError {
        match error {
            StoreError::NotFound if self.is_overtaken() => StoreError::Overtaken.into(),
            StoreError::NotFound => self.lost("a segment is missing"),
            error => error.into(),
        }
    }

    /// Whether the record has come further than it stood when this session took the upload in hand, by another server. Blocks.
    fn is_overtaken(&self) -> bool {
        if !self.store.is_shared() {
            return false;
        }
        match record::last_entry(&*self.store, &self.url) {
            Ok(Some((number, entry))) => number + 1 != self.state.next || entry.is_last(),
            Ok(None) => self.state.next > 0,
            // Given up.
            Err(SessionError::Unknown) => true,
            Err(_) => false,
        }
    }

    /// Says to the operator what is damaged.
    fn lost(&self, what: &'static str) -> SessionError {
        tracing::error!(id = %self.url.id(), what, "an upload in progress is damaged, and was given up");
        SessionError::Lost
    }

    /// Writes the record down, where that has not been done: from now on the upload can be gone on with. Blocks.
    fn save(&mut self) -> Result<(), SessionError> {
        let Some(unsaved) = &self.unsaved else {
            return Ok(());
        };
        let Unsaved {
            sealed_head, held, ..
        } = unsaved;
        if let Some(account) = self.account.as_ref().filter(|_| *held) {
            // From now on it may lie there until it expires.
            account.keep(self.expires)?;
        }
        self.store.create_session(self.url.id(), sealed_head)?;
        if let Some(unsaved) = self.unsaved.take() {
            unsaved.staged.stays();
        }
        Ok(())
    }

    /// An entry that says where the upload stands now.
    fn entry(&self, event: Event) -> Entry {
        let mut entry = Entry {
            offset: self.state.offset,
            segments: self.state.segments,
            length: self.state.length,
            last_sealed_size: self.state.last_sealed_size,
            last_name: self.state.last_name,
            digests: None,
            event,
        };
        if !entry.is_last() {
            entry.digests = Some(self.state.digests.to_state());
        }
        entry
    }

    fn put(&mut self, event: Event) -> Result<(), SessionError> {
        let entry = self.entry(event);
        self.put_entry(&entry)
    }

    fn put_entry(&mut self, entry: &Entry) -> Result<(), SessionError> {
        self.save()?;
        let number = self.state.next;
        let sealed = entry.seal(&self.url, number)?;
        self.store.put_entry(self.url.id(), number, &sealed)?;
        self.state.next += 1;
        Ok(())
    }

    /// Leaves nothing of the record but its head and this last entry: the file keys are forgotten. Blocks.
    fn put_last(&mut self, event: Event) -> Result<(), SessionError> {
        let sealed = self.entry(event).seal(&self.url, 0)?;
        self.store.replace_entries(self.url.id(), &sealed)?;
        self.state.next = 1;
        Ok(())
    }
}

/// The record first: without it, what is staged is rubbish, and the next start removes it. What was reserved comes last: then
/// nothing of the upload takes room any more. Blocks.
fn remove(store: &dyn Store, id: &UploadId, account: Option<&Account>) -> Result<(), StoreError> {
    store.remove_session(id)?;
    store.discard(id)?;
    if let Some(account) = account {
        account.give_back();
    }
    Ok(())
}

async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SessionError> + Send + 'static,
) -> Result<T, SessionError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ReceiveError::Abandoned)?
}
