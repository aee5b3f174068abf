//! The end of a resumable upload: its manifest is made from the entries, and it is published.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::record::{self, Event, Finish};
use super::state::{Phase, State};
use super::sweep::later;
use super::{Role, Session, SessionError, run_blocking};
use crate::seal::CHUNK_SIZE;
use crate::store::{MAX_SEGMENTS, Publication, SegmentName, StoreError};
use crate::upload::client_sealed::ClientSealedCheck;
use crate::upload::digest::{Digested, Digests, ExpectedDigest};
use crate::upload::manifest::{ClientName, Manifest, WholeUpload, is_client_sealed};
use crate::upload::observer::Finished;
use crate::upload::open::{OpenUpload, ReadError};
use crate::upload::segment::{self, SealedSegment};
use crate::upload::verify;

/// How long after an upload has expired a request that had it in hand before may still publish it, in a store that several
/// servers share.
const LATEST_FINISH: Duration = Duration::from_mins(30);

impl Session {
    /// Whether everything is there and it only has to be published, by itself.
    fn is_due(&self) -> bool {
        self.head.ends_at_length
            && self.head.role == Role::Whole
            && self.state.length == Some(self.state.offset)
    }

    /// Publishes the upload, where it is complete by itself as soon as it has its length (tus).
    pub async fn finish_if_due(self) -> Result<Self, SessionError> {
        if self.is_due() && self.is_open() {
            self.finish(&[]).await
        } else {
            Ok(self)
        }
    }

    /// Publishes the upload: durable and visible when this returns.
    ///
    /// `expected`: digests that the whole must have, beside those given when it was created. Where one does not fit, or the
    /// client says that it sealed it and that is not so, the whole upload is removed.
    pub async fn finish(mut self, expected: &[ExpectedDigest]) -> Result<Self, SessionError> {
        let expected = expected.to_vec();
        run_blocking(move || {
            if !self.is_open() || self.head.role != Role::Whole {
                return Err(SessionError::Complete);
            }
            self.finish_now(&expected)?;
            Ok(self)
        })
        .await
    }

    /// Brings to its end what an earlier request began: publishing, or what is due. Blocks.
    pub(super) fn complete_finish(&mut self) -> Result<(), SessionError> {
        if self.is_open() && self.is_due() {
            return self.finish_now(&[]);
        }
        let Phase::Finishing(finish) = &self.state.phase else {
            return Ok(());
        };
        let finish = finish.clone();
        if self.is_published()? {
            // How far the earlier request came is not known: perhaps not to the last sync.
            self.store.settle(self.url.id())?;
            let segments = record::closed_segments(&*self.store, &self.url, &self.state)?;
            self.tell(&segments, &finish);
            return self.ended(finish);
        }
        let staged = self.store.is_staged(self.url.id())?;
        if !staged && self.state.segments > 0 {
            // It was published, and its receiver has fetched and deleted it; it was counted before.
            return self.ended(finish);
        }
        if matches!(self.head.role, Role::Final(_)) {
            // Its parts are still there, and nobody was told of it.
            return Err(SessionError::Unknown);
        }
        let segments = self.closed_segments()?;
        self.publish(&segments, finish)
    }

    /// Whether it can be listed. Where the store cannot tell, nothing may follow from that. Blocks.
    pub(super) fn is_published(&self) -> Result<bool, StoreError> {
        match self.store.open(self.url.id()) {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn finish_now(&mut self, expected: &[ExpectedDigest]) -> Result<(), SessionError> {
        let segments = self.closed_segments()?;
        let checked = self
            .digested(&segments, expected)
            .and_then(|digested| self.check_whole(&segments, digested, expected));
        let digested = match checked {
            Err(error) if error.is_final() => {
                if self.store.is_shared() && self.unsaved.is_none() {
                    // Another server may be about to publish it: one of the two finds its place taken.
                    self.put_given_up()?;
                }
                self.remove_all()?;
                return Err(error);
            }
            checked => checked?,
        };
        self.reserve_exactly(self.state.offset)?;
        let finish = self.begin_finish(digested)?;
        self.publish(&segments, finish)
    }

    /// Whether the whole is what the client says. Blocks.
    pub(super) fn check_whole(
        &self,
        segments: &[SealedSegment],
        digested: Digested,
        expected: &[ExpectedDigest],
    ) -> Result<Digested, SessionError> {
        let by = |algorithm| digested.by(algorithm);
        verify(by, &self.head.repr_digests)?;
        verify(by, expected)?;
        self.check_client_sealed(segments)?;
        Ok(digested)
    }

    /// Writes down that everything is there, and that what follows is publishing. Blocks.
    pub(super) fn begin_finish(&mut self, digested: Digested) -> Result<Finish, SessionError> {
        let finish = Finish {
            digested,
            time: SystemTime::now(),
        };
        // Whoever asks later is told it, in whatever way the upload came to its end.
        self.state.length = Some(self.state.offset);
        self.put(Event::Finishing(finish.clone()))?;
        if self.store.is_shared() {
            // Where it was given up and all of its record is gone, the place was free again.
            self.check_record()?;
        }
        self.state.phase = Phase::Finishing(finish.clone());
        Ok(finish)
    }

    fn check_record(&self) -> Result<(), SessionError> {
        match self.store.session_head(self.url.id()) {
            Ok(_) => Ok(()),
            Err(StoreError::NotFound) => Err(SessionError::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    /// The digests of the whole. SHA-512 that is told only at the end has not run along: everything is read back for it. Blocks.
    fn digested(
        &self,
        segments: &[SealedSegment],
        expected: &[ExpectedDigest],
    ) -> Result<Digested, SessionError> {
        let digested = self.state.digests.clone().finish();
        let missing = |expected: &ExpectedDigest| digested.by(expected.algorithm).is_none();
        if expected.iter().any(missing) {
            return Ok(self.read_back_digests(segments, true)?.finish());
        }
        Ok(digested)
    }

    /// Reads everything back for its digests. Blocks.
    pub(super) fn read_back_digests(
        &self,
        segments: &[SealedSegment],
        with_sha512: bool,
    ) -> Result<Digests, SessionError> {
        let mut digests = Digests::new(with_sha512);
        if !segments.is_empty() {
            let upload = self.read_back(segments)?;
            let mut plaintext = upload.plaintext(0..upload.manifest().size);
            while let Some(piece) = plaintext.next_piece().map_err(damaged)? {
                digests.update(piece);
            }
        }
        Ok(digests)
    }

    /// Publishes what is staged. Blocks.
    pub(super) fn publish(
        &mut self,
        segments: &[SealedSegment],
        finish: Finish,
    ) -> Result<(), SessionError> {
        let (manifest, meta) = self
            .whole(segments, &finish.digested, finish.time)
            .seal_meta(&self.sealed_to.recipients)?;
        if self.store.is_shared() && SystemTime::now() >= later(self.expires, LATEST_FINISH) {
            // Whoever removes what has expired may be at it.
            return Err(SessionError::Unknown);
        }
        if manifest.size != self.state.offset {
            return Err(self.lost("its segments are not as long as it is"));
        }
        let id = self.url.id();
        let next = u32::try_from(segments.len()).unwrap_or(MAX_SEGMENTS);
        if next < MAX_SEGMENTS {
            // What a request left that failed before its segment counted must not come along.
            self.store.remove_segment(id, &SegmentName::plain(next)?)?;
        }
        let publication = Publication {
            id: *id,
            meta,
            segments: segment::names(segments)?,
            expires: self.head.terms.expires(finish.time),
        };
        let published = self.observer.publishing(&[*id]);
        let published = published.and_then(|()| self.store.publish(&[publication]));
        match published.and_then(|()| self.check_published()) {
            // It was, after all.
            Err(StoreError::Exists) => self.store.settle(id)?,
            Err(StoreError::NotFound) if self.store.is_shared() => {
                self.observer.not_published(id);
                return Err(SessionError::Unknown);
            }
            Err(error) => {
                // Tried again, it is told of again.
                if matches!(self.store.open(id), Err(StoreError::NotFound)) {
                    self.observer.not_published(id);
                }
                return Err(error.into());
            }
            Ok(()) => {}
        }
        self.tell(segments, &finish);
        self.ended(finish)
    }

    /// Fails where another server has published the upload too, and it was deleted before it was put there once more. Blocks.
    fn check_published(&self) -> Result<(), StoreError> {
        let id = self.url.id();
        if self.store.is_kept(id)? {
            return Ok(());
        }
        match self.store.delete(id) {
            Ok(()) => Err(StoreError::NotFound),
            Err(error) => Err(error),
        }
    }

    /// Counts it, and tells observers that it is durable. Blocks.
    pub(super) fn tell(&self, segments: &[SealedSegment], finish: &Finish) {
        if let Some(account) = &self.account {
            account.settle(self.state.offset);
        }
        self.observer.finished(&Finished {
            id: *self.url.id(),
            submission: self.head.submission_of(&self.url),
            kind: self.head.kind,
            size: self.state.offset,
            sealed_size: segments.iter().map(|segment| segment.sealed_size).sum(),
            link: self.head.terms.link_id(),
            by: self.head.terms.by.clone(),
            from: self.head.terms.from,
            time: finish.time,
            expires: self.head.terms.expires(finish.time),
        });
    }

    pub(super) fn ended(&mut self, finish: Finish) -> Result<(), SessionError> {
        let put = self.put_last(Event::Finished(finish.clone()));
        self.state.phase = match put {
            Ok(()) => Phase::Finished(finish),
            // Another server may have brought it to the same end.
            Err(error) if error.is_overtaken() => {
                match record::last_entry(&*self.store, &self.url)? {
                    Some((_, entry)) if matches!(entry.event, Event::Finished(_)) => {
                        State::after(0, entry)?.phase
                    }
                    _ => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        Ok(())
    }

    fn whole<'a>(
        &'a self,
        segments: &'a [SealedSegment],
        digested: &'a Digested,
        time: SystemTime,
    ) -> WholeUpload<'a> {
        WholeUpload {
            id: *self.url.id(),
            submission: self.head.submission_of(&self.url),
            kind: self.head.kind,
            name: self.head.name.as_ref().map(ClientName::as_bytes),
            media_type: self.head.media_type.as_deref(),
            metadata: self.head.metadata_entries.clone(),
            sha256: &digested.sha256,
            time,
            link: self.head.terms.link_id(),
            expires: self.head.terms.expires(time),
            segments: segments.iter().collect(),
        }
    }

    /// What is staged, to be read back. Blocks.
    pub(super) fn read_back(
        &self,
        segments: &[SealedSegment],
    ) -> Result<Arc<OpenUpload>, SessionError> {
        let empty = Digested {
            sha256: Vec::new(),
            sha512: Vec::new(),
        };
        // Of the manifest only the segments matter here.
        let manifest: Manifest = self.whole(segments, &empty, self.expires).into_manifest();
        let names = segment::names(segments)?;
        let staged = self.store.open_staged(self.url.id(), &names)?;
        Ok(Arc::new(OpenUpload::staged(manifest, staged)))
    }

    /// The header of what the sender sealed is at the beginning, in however many requests it came. Blocks.
    fn check_client_sealed(&self, segments: &[SealedSegment]) -> Result<(), SessionError> {
        let media_type = self.head.media_type.as_deref();
        if !media_type.is_some_and(is_client_sealed) {
            return Ok(());
        }
        let mut check = ClientSealedCheck::new(Arc::clone(&self.sealed_to.recipients));
        if !segments.is_empty() {
            let upload = self.read_back(segments)?;
            let mut start = upload.plaintext(0..5 * CHUNK_SIZE as u64);
            while let Some(piece) = start.next_piece().map_err(damaged)? {
                check.update(piece)?;
            }
        }
        Ok(check.finish()?)
    }
}

fn damaged(error: ReadError) -> SessionError {
    match error {
        ReadError::Store(error) => error.into(),
        _ => SessionError::Lost,
    }
}
