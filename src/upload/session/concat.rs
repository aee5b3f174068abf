//! Concatenation (tus): parts that arrived in any order, perhaps at the same time, become one upload.

use std::sync::Arc;
use std::time::SystemTime;

use super::record::{Event, Final};
use super::state::Phase;
use super::{NewSession, Role, Session, SessionError, UploadUrl, run_blocking};
use crate::grant::What;
use crate::store::{MAX_SEGMENTS, StoreError, UploadId};
use crate::upload::Uploads;
use crate::upload::held::held_until;
use crate::upload::segment::SealedSegment;

impl Uploads {
    /// Makes an upload of the parts, in this order, and publishes it. Its segments are theirs, not copied.
    ///
    /// Asked for a second time, it gives the same upload, and `false`: an answer may have been lost.
    pub async fn concatenate(
        self: &Arc<Self>,
        mut new: NewSession,
        parts: &[UploadUrl],
    ) -> Result<(Session, bool), SessionError> {
        // In the order of their ids, so that two requests for the same parts do not wait for each other.
        let mut order: Vec<&UploadUrl> = parts.iter().collect();
        order.sort_by_key(|url| *url.id());
        order.dedup_by_key(|url| *url.id());
        if order.len() < parts.len() {
            return Err(SessionError::PartTwice);
        }
        let mut sessions = Vec::with_capacity(order.len());
        for url in order {
            let mut session = self.session(url.clone()).await?;
            // Of a part only its segments matter, and there may be many.
            session.head.metadata = None;
            session.head.metadata_entries = Vec::new();
            sessions.push(session);
        }
        let mut length = 0_u64;
        let mut ordered = Vec::with_capacity(parts.len());
        for url in parts {
            let index = sessions
                .iter()
                .position(|session| session.url.id() == url.id());
            let index = index.ok_or(SessionError::Unknown)?;
            if !sessions[index].head.terms.fits(&new.terms) {
                return Err(SessionError::PartForeign);
            }
            if !sessions[index].is_complete_part() {
                return Err(SessionError::PartIncomplete);
            }
            length = length.saturating_add(sessions[index].state.offset);
            ordered.push(index);
        }
        let limit = new.terms.max_size;
        if length > limit {
            return Err(SessionError::TooLarge(limit));
        }
        let used = |session: &Session| matches!(session.state.phase, Phase::Concatenated(_));
        if sessions.iter().any(used) {
            return self.concatenated_before(sessions, &new).await;
        }
        new.length = Some(length);
        let session = self.begin_session(new).await?;
        let session = run_blocking(move || session.concatenate(sessions, &ordered)).await?;
        Ok((session, true))
    }

    /// The upload that the same request made before.
    async fn concatenated_before(
        self: &Arc<Self>,
        parts: Vec<Session>,
        new: &NewSession,
    ) -> Result<(Session, bool), SessionError> {
        let Some(Phase::Concatenated(into)) = parts.first().map(|part| &part.state.phase) else {
            return Err(SessionError::PartUsed);
        };
        let url = into.url.parse().map_err(|_| SessionError::Lost)?;
        // Not in the order of ids: nothing else may be held while it is waited for.
        drop(parts);
        let session = self.session(url).await?;
        let same =
            session.head.role.has_parts_of(&new.role) && session.head.metadata == new.metadata;
        if same && session.finished().is_some() {
            Ok((session, false))
        } else {
            Err(SessionError::PartUsed)
        }
    }
}

impl Session {
    fn is_complete_part(&self) -> bool {
        let complete = self.state.length == Some(self.state.offset);
        let open = matches!(self.state.phase, Phase::Open | Phase::Concatenated(_));
        self.head.role == Role::Partial && complete && open
    }

    /// Takes the parts' segments over, reads them back once for the digest of the whole, and publishes. Blocks.
    ///
    /// Before it is clear that this goes through, nothing is written down, and what was staged goes with the session.
    fn concatenate(mut self, mut parts: Vec<Self>, order: &[usize]) -> Result<Self, SessionError> {
        self.take_over(&parts)?;
        match self.concatenate_reserved(&mut parts, order) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.undo(&parts);
                Err(error)
            }
        }
    }

    /// What the parts have reserved becomes what this upload has. Blocks.
    fn take_over(&mut self, parts: &[Self]) -> Result<(), SessionError> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        let ids: Vec<UploadId> = parts.iter().map(|part| *part.url.id()).collect();
        let bytes = parts.iter().map(|part| part.state.offset).sum();
        let held = self.unsaved.as_ref().is_some_and(|unsaved| unsaved.held);
        let until = held.then(|| held_until(SystemTime::now()));
        Ok(account.take_over(&ids, bytes, until.unwrap_or(self.expires))?)
    }

    /// Gives the parts back what they had, and leaves nothing of this upload, unless it may be published. Blocks.
    fn undo(&self, parts: &[Self]) {
        if !matches!(self.store.open(self.url.id()), Err(StoreError::NotFound)) {
            return;
        }
        if let Err(error) = self.remove_all() {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(id = %self.url.id(), error, "what was to be made of parts could not be removed; the next start will");
        }
        for part in parts {
            if let Some(account) = &part.account {
                let (bytes, most) = (Some(part.state.offset), part.head.terms.max_size);
                if let Err(error) = account.reserve(What::Part, bytes, most, part.expires) {
                    // It is tried again when somebody asks for the part.
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a part has nothing reserved"
                    );
                }
            }
        }
    }

    fn concatenate_reserved(
        &mut self,
        parts: &mut [Self],
        order: &[usize],
    ) -> Result<(), SessionError> {
        let mut segments: Vec<SealedSegment> = Vec::new();
        for &index in order {
            let part = &parts[index];
            for (number, segment) in (0..).zip(part.closed_segments()?) {
                let place = u32::try_from(segments.len()).unwrap_or(MAX_SEGMENTS);
                if place >= MAX_SEGMENTS {
                    return Err(SessionError::TooManySegments);
                }
                let (from, to) = (segment.name(number)?, self.store.name_segment(place)?);
                self.store
                    .link_segment((part.url.id(), &from), (self.url.id(), &to))?;
                let name = Some(to).filter(|name| !name.is_plain());
                segments.push(SealedSegment { name, ..segment });
            }
        }
        let digests = self.read_back_digests(&segments, self.head.with_sha512())?;
        let digested = self.check_whole(&segments, digests.finish(), &[])?;
        self.state.offset = segments.iter().map(|segment| segment.size).sum();
        self.state.segments = u32::try_from(segments.len()).unwrap_or(MAX_SEGMENTS);
        let finish = self.begin_finish(digested)?;
        self.publish(&segments, finish)?;
        let into = Final {
            url: self.url.to_segment().to_string(),
        };
        for part in parts {
            // Their records stay, to answer for them and for the same request once more; what they held has a second name now.
            part.put_last(Event::Concatenated(into.clone()))?;
            self.store.discard(part.url.id())?;
        }
        Ok(())
    }
}
