//! The end of a resumable upload: its manifest is made from the entries, and it is published.

use std::sync::Arc;
use std::time::SystemTime;

use super::record::{Event, Finish, Phase};
use super::{Role, Session, SessionError, run_blocking};
use crate::seal::CHUNK_SIZE;
use crate::store::StoreError;
use crate::upload::client_sealed::ClientSealedCheck;
use crate::upload::digest::{Digested, Digests, ExpectedDigest};
use crate::upload::manifest::{Kind, Manifest, WholeUpload, is_client_sealed};
use crate::upload::open::{OpenUpload, ReadError};
use crate::upload::segment::SealedSegment;
use crate::upload::verify;

impl Session {
    /// Whether everything is there and it only has to be published, by itself.
    fn is_due(&self) -> bool {
        self.head.ends_at_length
            && self.head.role == Role::Whole
            && self.state.length == Some(self.state.offset)
    }

    /// Publishes the upload, where it is complete by itself as soon as it has its length (tus).
    pub async fn finish_if_due(self) -> Result<Self, SessionError> {
        if self.is_due() && matches!(self.state.phase, Phase::Open) {
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
            if !matches!(self.state.phase, Phase::Open) || self.head.role != Role::Whole {
                return Err(SessionError::Complete);
            }
            self.begin_finish(&expected)?;
            self.complete_finish()?;
            Ok(self)
        })
        .await
    }

    /// Brings to its end what this or an earlier request began: publishing, or what is due. Blocks.
    pub(super) fn complete_finish(&mut self) -> Result<(), SessionError> {
        if matches!(self.state.phase, Phase::Open) && self.is_due() {
            self.begin_finish(&[])?;
        }
        let Phase::Finishing(finish) = &self.state.phase else {
            return Ok(());
        };
        let finish = finish.clone();
        if self.store.open(self.url.id()).is_ok() {
            // How far the earlier request came is not known: perhaps not to the last sync.
            self.store.settle(self.url.id())?;
            return self.finished(finish);
        }
        if matches!(self.head.role, Role::Final(_)) {
            // Its parts are still there, and nobody was told of it.
            return Err(SessionError::Unknown);
        }
        let segments = self.closed_segments()?;
        self.publish(&segments, finish)
    }

    /// Checks the whole, which is removed where it is not as it should be, and writes down that it is to be published. Blocks.
    fn begin_finish(&mut self, expected: &[ExpectedDigest]) -> Result<(), SessionError> {
        let digested = self.digested(expected)?;
        let checked = verify(&digested, &self.head.repr_digests)
            .and_then(|()| verify(&digested, expected))
            .map_err(SessionError::from)
            .and_then(|()| self.check_client_sealed());
        if let Err(error) = checked {
            if error.is_final() {
                self.remove_all()?;
            }
            return Err(error);
        }
        let finish = Finish {
            digested,
            time: SystemTime::now(),
        };
        self.put(Event::Finishing(finish.clone()))?;
        self.state.phase = Phase::Finishing(finish);
        Ok(())
    }

    /// The digests of the whole. SHA-512 that is told only at the end has not run along: everything is read back for it. Blocks.
    fn digested(&self, expected: &[ExpectedDigest]) -> Result<Digested, SessionError> {
        let digested = self.state.digests.clone().finish();
        let missing = |expected: &ExpectedDigest| digested.by(expected.algorithm).is_none();
        if !expected.iter().any(missing) {
            return Ok(digested);
        }
        let mut digests = Digests::new(true);
        if self.state.offset == 0 {
            return Ok(digests.finish());
        }
        let upload = self.read_back(&self.closed_segments()?)?;
        let mut plaintext = upload.plaintext(0..self.state.offset);
        while let Some(piece) = plaintext.next_piece().map_err(damaged)? {
            digests.update(piece);
        }
        Ok(digests.finish())
    }

    /// Publishes what is staged. Blocks.
    pub(super) fn publish(
        &mut self,
        segments: &[SealedSegment],
        finish: Finish,
    ) -> Result<(), SessionError> {
        let (manifest, meta) = self
            .whole(segments, &finish.digested, finish.time)
            .seal_meta(&self.recipients)?;
        if manifest.size != self.state.offset {
            return Err(SessionError::Lost);
        }
        match self.store.publish(&[(*self.url.id(), meta)]) {
            // It was, after all.
            Err(StoreError::Exists) => self.store.settle(self.url.id())?,
            published => published?,
        }
        self.finished(finish)
    }

    fn finished(&mut self, finish: Finish) -> Result<(), SessionError> {
        self.put(Event::Finished(finish.clone()))?;
        self.state.phase = Phase::Finished(finish);
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
            submission: *self.url.id(),
            kind: Kind::File,
            name: self.head.name.as_deref(),
            media_type: self.head.media_type.as_deref(),
            metadata: self.head.metadata_entries.clone(),
            sha256: &digested.sha256,
            time,
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
        let manifest: Manifest = self.whole(segments, &empty, self.expires).into_manifest();
        let staged = self.store.open_staged(self.url.id())?;
        Ok(Arc::new(OpenUpload::staged(manifest, staged)))
    }

    /// The header of what the sender sealed is at the beginning, in however many requests it came. Blocks.
    fn check_client_sealed(&self) -> Result<(), SessionError> {
        if !self
            .head
            .media_type
            .as_deref()
            .is_some_and(is_client_sealed)
        {
            return Ok(());
        }
        let mut check = ClientSealedCheck::new(&self.recipients);
        if self.state.offset > 0 {
            let segments = self.closed_segments()?;
            let upload = self.read_back(&segments)?;
            let mut start = upload.plaintext(0..5 * CHUNK_SIZE as u64);
            while let Some(piece) = start.next_piece().map_err(damaged)? {
                check.update(piece)?;
            }
        }
        Ok(check.finish()?)
    }
}

pub(super) fn damaged(error: ReadError) -> SessionError {
    match error {
        ReadError::Store(error) => error.into(),
        _ => SessionError::Lost,
    }
}
