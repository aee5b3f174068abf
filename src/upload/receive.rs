//! Taking in an upload that comes in one body.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Uploads;
use super::account::{Meter, what};
use super::digest::{Algorithm, Digested, Digests, ExpectedDigest};
use super::manifest::{ClientName, Kind, WholeUpload};
use super::observer::{Begun, Finished};
use super::recipients::SealedTo;
use super::segment::{self, Closed, Owner, SealedSegment, SegmentReceiver};
use super::staged::Staged;
use super::terms::Terms;
use crate::grant::Refused;
use crate::keys::KeyError;
use crate::seal::{Recipient, SealError};
use crate::store::{SegmentName, SegmentWriter, StoreError, UploadId};

/// Why an upload could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The store refused.
    #[error("the upload could not be stored")]
    Store(#[from] StoreError),
    /// Sealing failed.
    #[error("the upload could not be sealed")]
    Seal(#[from] SealError),
    /// More than the upload may have.
    #[error("an upload may have {0} bytes and no more")]
    TooLarge(u64),
    /// The link does not take it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The keys that it is to be sealed to cannot be read.
    #[error("the keys that the upload is to be sealed to cannot be read")]
    Recipients(#[source] KeyError),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no randomness")]
    Randomness(#[source] getrandom::Error),
    /// What arrived is not what the client says that it sent.
    #[error("the content does not have the {0:?} digest that was given: send it again")]
    Digest(Algorithm),
    /// The thread that sealed or wrote is gone: the server is stopping, or has a defect.
    #[error("the upload was abandoned inside the server")]
    Abandoned,
}

/// How long a request that brings a whole upload never takes.
const LONGEST_REQUEST: Duration = Duration::from_hours(2 * 24);

/// What is known of an upload before its bytes arrive.
pub struct NewUpload {
    /// The id that all uploads of one form share, or of the submission that it joins; `None` for an upload by itself.
    pub submission: Option<UploadId>,
    /// What it is.
    pub kind: Kind,
    /// The name that the client gave.
    pub name: Option<ClientName>,
    /// The media type that the client gave.
    pub media_type: Option<String>,
    /// Bytes of its body, where they are known.
    pub length: Option<u64>,
    /// On what terms it is taken.
    pub terms: Terms,
}

/// Takes in the bytes of one upload.
///
/// Sealing and writing run on threads that may block, beside the task that fills the next buffer. A receiver that is
/// dropped, or fails, leaves nothing behind.
pub struct Receiver {
    sealed_to: SealedTo,
    segment: SegmentReceiver<Alone>,
    meter: Meter,
    new: NewUpload,
}

impl Receiver {
    /// Begins an upload: what it may take of its link is reserved when this returns. Nothing else touches the store before there
    /// is something to write. `with_sha512`: whether SHA-512 will be asked for too.
    pub async fn begin(
        uploads: &Uploads,
        new: NewUpload,
        with_sha512: bool,
    ) -> Result<Self, ReceiveError> {
        let now = SystemTime::now();
        let id = UploadId::generate(now);
        let sealed_to = uploads.sealed_to(&new.terms)?;
        let staged = uploads.stage(id, &new.terms);
        // By then its request is over, one way or the other, and nothing of it was left to this.
        let longest = || now + uploads.session_limits.upload_lifetime.max(LONGEST_REQUEST);
        let until = uploads.held_until(now).unwrap_or_else(longest);
        let most = new.terms.max_size;
        let (staged, reserved) = staged
            .reserve(what(new.kind), new.length, most, until)
            .await?;
        let meter = Meter::new(staged.account().cloned(), reserved, 0, most);
        let limit = uploads.store.segment_limit();
        let alone = Alone {
            staged,
            sealed_to: sealed_to.clone(),
            segments: Vec::new(),
        };
        uploads.observer.begun(&Begun {
            id,
            submission: new.submission.unwrap_or(id),
            terms: &new.terms,
        });
        Ok(Self {
            sealed_to,
            meter,
            segment: SegmentReceiver::new(alone, Digests::new(with_sha512), limit),
            new,
        })
    }

    /// The keys that it is sealed to.
    pub fn recipients(&self) -> &Arc<[Recipient]> {
        &self.sealed_to.recipients
    }

    /// Takes in bytes. Waits only where both buffers are full.
    pub async fn write(&mut self, data: &[u8]) -> Result<(), ReceiveError> {
        self.meter.take(data.len()).await?;
        self.segment.write(data).await
    }

    /// Ends the upload, where its body truly ended: seals the last chunk and finishes the segment.
    pub async fn finish(self) -> Result<Received, ReceiveError> {
        let Closed {
            mut owner,
            segment,
            digests,
        } = self.segment.close().await?;
        owner.segments.extend(segment);
        let received = Received {
            staged: owner.staged,
            sealed_to: owner.sealed_to,
            new: self.new,
            segments: owner.segments,
            digested: digests.finish(),
        };
        // What follows it in a form may have the rest.
        self.meter.leave(received.size()).await?;
        Ok(received)
    }
}

/// An upload that comes in one body.
struct Alone {
    staged: Staged,
    sealed_to: SealedTo,
    /// Those that have ended.
    segments: Vec<SealedSegment>,
}

impl Owner for Alone {
    fn name(&mut self) -> Result<SegmentName, StoreError> {
        let number = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
        self.staged.store().name_segment(number)
    }

    fn create(&mut self, name: &SegmentName) -> Result<Box<dyn SegmentWriter>, StoreError> {
        let (store, id) = (self.staged.store(), self.staged.id());
        store.create_segment_to_publish(id, name)
    }

    fn ended(&mut self, segment: SealedSegment, _digests: &Digests) -> Result<(), ReceiveError> {
        self.segments.push(segment);
        Ok(())
    }

    fn recipients(&self) -> &[Recipient] {
        &self.sealed_to.recipients
    }
}

/// An upload whose body arrived whole and sealed, not yet visible, and durable only when it is. Dropped, it is discarded.
pub struct Received {
    staged: Staged,
    sealed_to: SealedTo,
    new: NewUpload,
    segments: Vec<SealedSegment>,
    digested: Digested,
}

impl Received {
    /// Bytes of plaintext.
    pub fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// The digest of the whole, if it was computed by this algorithm.
    pub fn digest(&self, algorithm: Algorithm) -> Option<&[u8]> {
        self.digested.by(algorithm)
    }

    /// Fails where a digest is not what the client says.
    pub fn verify(&self, expected: &[ExpectedDigest]) -> Result<(), ReceiveError> {
        super::verify(|algorithm| self.digested.by(algorithm), expected)
    }

    pub(super) fn id(&self) -> &UploadId {
        self.staged.id()
    }

    /// Refuses it where its link takes nothing any more. Blocks.
    pub(super) fn check_link(&self) -> Result<(), Refused> {
        let Some(account) = self.staged.account() else {
            return Ok(());
        };
        match account.reserved()? {
            // It stood still for so long that it was taken for gone, and somebody else may have what it had.
            None if self.staged.store().is_shared() => Err(Refused::NotReserved),
            _ => Ok(()),
        }
    }

    pub(super) fn sealed_to(&self) -> &SealedTo {
        &self.sealed_to
    }

    /// When it is to be deleted, finished `now`.
    pub(super) fn expires(&self, now: SystemTime) -> Option<SystemTime> {
        self.new.terms.expires(now)
    }

    /// The names of its segments, in order.
    pub(super) fn segments(&self) -> Result<Vec<SegmentName>, StoreError> {
        segment::names(&self.segments)
    }

    /// What the manifest is made of.
    pub(super) fn whole(&self, now: SystemTime) -> WholeUpload<'_> {
        WholeUpload {
            id: *self.staged.id(),
            submission: self.new.submission.unwrap_or(*self.staged.id()),
            kind: self.new.kind,
            name: self.new.name.as_ref().map(ClientName::as_bytes),
            media_type: self.new.media_type.as_deref(),
            metadata: Vec::new(),
            sha256: &self.digested.sha256,
            time: now,
            link: self.new.terms.link_id(),
            expires: self.expires(now),
            segments: self.segments.iter().collect(),
        }
    }

    /// What observers are told of it.
    pub(super) fn finished(&self, now: SystemTime) -> Finished {
        let id = *self.staged.id();
        Finished {
            id,
            submission: self.new.submission.unwrap_or(id),
            kind: self.new.kind,
            size: self.size(),
            sealed_size: self
                .segments
                .iter()
                .map(|segment| segment.sealed_size)
                .sum(),
            link: self.new.terms.link_id(),
            by: self.new.terms.by.clone(),
            from: self.new.terms.from,
            time: now,
            expires: self.expires(now),
        }
    }

    /// Counts it, now that it is published. Blocks.
    pub(super) fn settle(&self) {
        if let Some(account) = self.staged.account() {
            account.settle(self.size());
        }
    }

    /// It is published, or may be.
    pub(super) fn stays(self) {
        self.staged.stays();
    }
}
