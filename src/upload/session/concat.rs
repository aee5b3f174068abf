//! Concatenation (tus): parts that arrived in any order, perhaps at the same time, become one upload.

use std::sync::Arc;

use super::record::{Event, Final};
use super::state::Phase;
use super::{NewSession, Role, Session, SessionError, UploadUrl, run_blocking};
use crate::store::MAX_SEGMENTS;
use crate::upload::Uploads;
use crate::upload::segment::SealedSegment;

impl Uploads {
    /// Makes an upload of the parts, in this order, and publishes it. Its segments are theirs, not copied.
    ///
    /// Asked for a second time, it gives the same upload, and `false`: an answer may have been lost. `limit`: bytes that it may
    /// have.
    pub async fn concatenate(
        self: &Arc<Self>,
        mut new: NewSession,
        parts: &[UploadUrl],
        limit: u64,
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
            if !sessions[index].is_complete_part() {
                return Err(SessionError::PartIncomplete);
            }
            length = length.saturating_add(sessions[index].state.offset);
            ordered.push(index);
        }
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
        let mut segments: Vec<SealedSegment> = Vec::new();
        for &index in order {
            let part = &parts[index];
            for (number, segment) in (0..).zip(part.closed_segments()?) {
                let place = u32::try_from(segments.len()).unwrap_or(MAX_SEGMENTS);
                if place >= MAX_SEGMENTS {
                    return Err(SessionError::TooManySegments);
                }
                self.store
                    .link_segment((part.url.id(), number), (self.url.id(), place))?;
                segments.push(segment);
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
        for part in &mut parts {
            // Their records stay, to answer for them and for the same request once more; what they held has a second name now.
            part.put_last(Event::Concatenated(into.clone()))?;
            self.store.discard(part.url.id())?;
        }
        Ok(self)
    }
}
