//! One request's body on its way into an upload.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::record::{Entry, Event, OpenSegment};
use super::{Session, SessionError, run_blocking};
use crate::seal::{FileKey, Recipient};
use crate::store::{MAX_SEGMENTS, SegmentName, SegmentWriter, StoreError};
use crate::upload::account::Meter;
use crate::upload::digest::{Algorithm, Digests, ExpectedDigest, RunningDigest};
use crate::upload::receive::ReceiveError;
use crate::upload::segment::{Closed, Owner, Progress, SealedSegment, SegmentReceiver};
use crate::upload::verify;

/// Takes in one body. Dropped, it leaves what it wrote without an end: the next request recovers it.
pub struct Append {
    pub(super) segment: SegmentReceiver<Appending>,
    /// Digests of this body alone.
    running: Vec<(Algorithm, RunningDigest)>,
    /// Bytes that may still come.
    room: Option<u64>,
    meter: Meter,
    superseded: CancellationToken,
}

impl Session {
    /// Begins to take in a body.
    ///
    /// `checks`: the algorithms of the digests that the body will be held to. With any, nothing of it counts before
    /// [`Append::close`] has seen that they fit.
    pub fn append(mut self, checks: &[Algorithm]) -> Result<Append, SessionError> {
        self.ready()?;
        if !self.is_open() {
            return Err(SessionError::Complete);
        }
        if self.state.segments >= MAX_SEGMENTS {
            return Err(SessionError::TooManySegments);
        }
        let superseded = self.claim.superseded();
        let room = self
            .state
            .length
            .map(|length| length.saturating_sub(self.state.offset));
        let digests = self.state.digests.clone();
        let (account, most) = (self.account.clone(), self.head.terms.max_size);
        let meter = Meter::new(account, self.reserved, self.state.offset, most);
        let journaled = checks.is_empty() && self.unsaved.is_none();
        let owner = Appending {
            session: self,
            journaled,
            pending: Vec::new(),
            current: None,
            saved: 0,
        };
        let limit = owner.session.store.segment_limit();
        let running = |&algorithm: &Algorithm| (algorithm, RunningDigest::new(algorithm));
        Ok(Append {
            segment: SegmentReceiver::new(owner, digests, limit),
            running: checks.iter().map(running).collect(),
            room,
            meter,
            superseded,
        })
    }
}

impl Append {
    /// Says when a later request for the same upload came: this one is to be closed then.
    pub fn superseded(&self) -> CancellationToken {
        self.superseded.clone()
    }

    /// Takes in bytes. More than the upload's length is [`SessionError::TooLong`].
    pub async fn write(&mut self, data: &[u8]) -> Result<(), SessionError> {
        if let Some(room) = &mut self.room {
            *room = room
                .checked_sub(data.len() as u64)
                .ok_or(SessionError::TooLong)?;
        }
        self.meter.take(data.len()).await?;
        for (_, digest) in &mut self.running {
            digest.update(data);
        }
        Ok(self.segment.write(data).await?)
    }

    /// Ends the segment with what has arrived, and makes it count: durable when this returns.
    ///
    /// Where `checks` were asked for, `expected` must fit, or nothing of the body counts and the error says which one did
    /// not.
    pub async fn close(self, expected: &[ExpectedDigest]) -> Result<Session, SessionError> {
        let digests: Vec<_> = self
            .running
            .into_iter()
            .map(|(algorithm, digest)| (algorithm, digest.finish()))
            .collect();
        let by = |algorithm| {
            let own = digests.iter().find(|(own, _)| *own == algorithm);
            own.map(|(_, value)| &value[..])
        };
        if let Err(wrong) = verify(by, expected) {
            discard(self.segment).await?;
            return Err(wrong.into());
        }
        let mut closed = self.segment.close().await?;
        closed.owner.session.reserved = self.meter.reserved();
        run_blocking(move || count(closed)).await
    }

    /// Ends a body that is held to a digest and did not come to its end: nothing of it counts.
    pub async fn discard(self) -> Result<Session, SessionError> {
        discard(self.segment).await
    }

    /// Whether nothing counts before a digest was seen to fit.
    pub fn is_checked(&self) -> bool {
        !self.running.is_empty()
    }
}

async fn discard(segment: SegmentReceiver<Appending>) -> Result<Session, SessionError> {
    let owner = segment.give_up().await?;
    run_blocking(move || {
        let Appending {
            session,
            pending,
            current,
            ..
        } = owner;
        let (store, id) = (&session.store, session.url.id());
        for (number, (segment, _)) in (session.state.segments..).zip(&pending) {
            store.remove_segment(id, &segment.name(number)?)?;
        }
        if let Some(name) = current {
            store.remove_segment(id, &name)?;
        }
        Ok(session)
    })
    .await
}

/// Makes a closed segment count. Blocks.
fn count(closed: Closed<Appending>) -> Result<Session, SessionError> {
    let Closed {
        owner,
        segment,
        digests,
    } = closed;
    let (secured, mut session) = (owner.saved > 0, owner.session);
    // Revoked since the body began: nothing of it is acknowledged.
    session.check_link()?;
    session.save()?;
    for (segment, digests) in owner.pending {
        session.secure(&segment)?;
        session.count(segment, digests)?;
    }
    if let Some(segment) = segment {
        if !secured {
            session.secure(&segment)?;
        }
        session.count(segment, digests)?;
    }
    Ok(session)
}

/// A session whose segment is in progress.
pub(super) struct Appending {
    session: Session,
    /// Whether the segment counts as far as it has come, should it never come to its end.
    journaled: bool,
    /// Segments that have ended and do not count yet, each with the digests behind it: where nothing counts before the end.
    pending: Vec<(SealedSegment, Digests)>,
    /// The segment in progress.
    current: Option<SegmentName>,
    /// Bytes of plaintext at the last checkpoint.
    saved: u64,
}

impl Owner for Appending {
    fn name(&mut self) -> Result<SegmentName, StoreError> {
        let pending = u32::try_from(self.pending.len()).unwrap_or(MAX_SEGMENTS);
        let number = self.session.state.segments.saturating_add(pending);
        self.session.store.name_segment(number)
    }

    fn create(&mut self, name: &SegmentName) -> Result<Box<dyn SegmentWriter>, StoreError> {
        let (store, id) = (Arc::clone(&self.session.store), *self.session.url.id());
        self.current = Some(*name);
        match store.create_segment(&id, name) {
            // What no entry counts was never acknowledged, and its key is forgotten.
            Err(StoreError::Exists) => {
                store.remove_segment(&id, name)?;
                store.create_segment(&id, name)
            }
            created => created,
        }
    }

    fn recipients(&self) -> &[Recipient] {
        &self.session.sealed_to.recipients
    }

    fn begin(&mut self, key: &FileKey, name: &SegmentName) -> Result<(), ReceiveError> {
        if !self.journaled {
            return Ok(());
        }
        let digests = self.session.state.digests.clone();
        let segment = OpenSegment {
            key: key.duplicate(),
            name: Some(*name).filter(|name| !name.is_plain()),
            size: 0,
            sealed_size: 0,
            crc_before_last: 0,
        };
        self.save(segment, &digests)
    }

    fn wrote(
        &mut self,
        writer: &mut dyn SegmentWriter,
        progress: Progress<'_>,
    ) -> Result<(), ReceiveError> {
        if !self.journaled || progress.size - self.saved < self.session.checkpoint {
            return Ok(());
        }
        writer.sync()?;
        if self.saved == 0 {
            let (store, id) = (&self.session.store, self.session.url.id());
            store.secure_segment(id, &progress.name)?;
        }
        self.saved = progress.size;
        self.save(
            OpenSegment {
                key: progress.key.duplicate(),
                name: Some(progress.name).filter(|name| !name.is_plain()),
                size: progress.size,
                sealed_size: progress.sealed_size,
                crc_before_last: progress.crc_before_last,
            },
            progress.digests,
        )
    }

    fn ended(&mut self, segment: SealedSegment, digests: &Digests) -> Result<(), ReceiveError> {
        self.saved = 0;
        self.current = None;
        if !self.journaled {
            self.pending.push((segment, digests.clone()));
            return Ok(());
        }
        let counted = self.session.secure(&segment).map_err(SessionError::from);
        counted
            .and_then(|()| self.session.count(segment, digests.clone()))
            .map_err(of_receiving)
    }
}

fn of_receiving(error: SessionError) -> ReceiveError {
    match error {
        SessionError::Receive(error) => error,
        SessionError::Randomness(error) => ReceiveError::Randomness(error),
        _ => ReceiveError::Abandoned,
    }
}

impl Appending {
    fn save(&mut self, segment: OpenSegment, digests: &Digests) -> Result<(), ReceiveError> {
        let mut entry = self.session.entry(Event::Open(segment));
        entry.digests = Some(digests.to_state());
        self.session.put_entry(&entry).map_err(of_receiving)
    }
}

impl Session {
    /// Makes a segment count that is durable. Where that fails, the session stands where it stood. Blocks.
    pub(super) fn count(
        &mut self,
        segment: SealedSegment,
        digests: Digests,
    ) -> Result<(), SessionError> {
        let mut entry = self.entry(Event::Length);
        entry.offset += segment.size;
        entry.segments += 1;
        entry.last_sealed_size = segment.sealed_size;
        entry.last_name = segment.name;
        entry.digests = Some(digests.to_state());
        let name = segment.name(self.state.segments)?;
        entry.event = Event::Closed(segment);
        let put = self.put_entry(&entry);
        if put.as_ref().is_err_and(SessionError::is_overtaken) && self.is_passed_over(&name) {
            // What another server went on with has no place for it.
            self.store.remove_segment(self.url.id(), &name)?;
        }
        put?;
        self.state.offset = entry.offset;
        self.state.segments = entry.segments;
        self.state.last_sealed_size = entry.last_sealed_size;
        self.state.last_name = entry.last_name;
        self.state.digests = digests;
        Ok(())
    }

    /// Whether an entry that another server has put where this one had none yet leaves a segment out, for good. It may count the
    /// very same one, having found it whole. What cannot be told leaves the segment where it is. Blocks.
    fn is_passed_over(&self, name: &SegmentName) -> bool {
        let number = self.state.next;
        let Ok(entries) = self.store.entries(self.url.id(), number, 1) else {
            return false;
        };
        let entry = entries
            .first()
            .and_then(|entry| Entry::open(&self.url, number, entry));
        match entry.map(|entry| entry.event) {
            Some(Event::Closed(segment)) => segment.name.as_ref() != Some(name),
            Some(Event::Length | Event::Open(_)) => true,
            _ => false,
        }
    }

    /// Makes the name of a segment durable that is to be counted next.
    fn secure(&self, segment: &SealedSegment) -> Result<(), StoreError> {
        let name = segment.name(self.state.segments)?;
        self.store.secure_segment(self.url.id(), &name)
    }
}
