//! Concatenation (tus): parts that arrived in any order, perhaps at the same time, become one upload.

use std::sync::Arc;
use std::time::SystemTime;

use super::finish::damaged;
use super::record::{Event, Final, Finish, Phase};
use super::{NewSession, Role, Session, SessionError, UploadUrl, run_blocking};
use crate::store::MAX_SEGMENTS;
use crate::upload::Uploads;
use crate::upload::digest::Digests;
use crate::upload::segment::SealedSegment;
use crate::upload::verify;

impl Uploads {
    /// Makes an upload of the parts, in this order, and publishes it. Its segments are theirs, not copied.
    ///
    /// Asked for a second time, it gives the same upload: an answer may have been lost. `limit`: bytes that it may have.
    pub async fn concatenate(
        self: &Arc<Self>,
        mut new: NewSession,
        parts: &[UploadUrl],
        limit: u64,
    ) -> Result<Session, SessionError> {
        // In the order of their ids, so that two requests for the same parts do not wait for each other.
        let mut order: Vec<&UploadUrl> = parts.iter().collect();
        order.sort_by_key(|url| *url.id());
        order.dedup_by_key(|url| *url.id());
        let mut sessions = Vec::with_capacity(order.len());
        for url in order {
            sessions.push(self.session(url.clone()).await?);
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
        if let Some(session) = self.concatenated_before(&sessions, &new).await {
            return Ok(session);
        }
        new.length = Some(length);
        let session = self.create_session(new).await?;
        run_blocking(move || session.concatenate(sessions, &ordered)).await
    }

    /// The upload that the same request made before.
    async fn concatenated_before(
        self: &Arc<Self>,
        parts: &[Session],
        new: &NewSession,
    ) -> Option<Session> {
        let Phase::Concatenated(into) = &parts.first()?.state.phase else {
            return None;
        };
        let session = self.session(into.url.parse().ok()?).await.ok()?;
        let same = session.head.role == new.role && session.head.metadata == new.metadata;
        (same && matches!(session.state.phase, Phase::Finished(_))).then_some(session)
    }
}

impl Session {
    fn is_complete_part(&self) -> bool {
        let complete = self.state.length == Some(self.state.offset);
        let open = matches!(self.state.phase, Phase::Open | Phase::Concatenated(_));
        self.head.role == Role::Partial && complete && open
    }

    /// Takes the parts' segments over, reads them back once for the digest of the whole, and publishes. Blocks.
    fn concatenate(mut self, mut parts: Vec<Self>, order: &[usize]) -> Result<Self, SessionError> {
        let mut segments: Vec<SealedSegment> = Vec::new();
        for &index in order {
            let part = &parts[index];
            let own = part.closed_segments()?;
            for (number, segment) in (0..).zip(own) {
                let place = u32::try_from(segments.len()).unwrap_or(MAX_SEGMENTS);
                if place >= MAX_SEGMENTS {
                    return Err(SessionError::TooManySegments);
                }
                self.store
                    .link_segment((part.url.id(), number), (self.url.id(), place))?;
                segments.push(segment);
            }
        }
        let mut digests = Digests::new(self.head.with_sha512());
        if !segments.is_empty() {
            self.store.secure_segments(self.url.id())?;
            let upload = self.read_back(&segments)?;
            self.state.offset = upload.manifest().size;
            let mut plaintext = upload.plaintext(0..self.state.offset);
            while let Some(piece) = plaintext.next_piece().map_err(damaged)? {
                digests.update(piece);
            }
        }
        self.state.digests = digests.clone();
        let finish = Finish {
            digested: digests.finish(),
            time: SystemTime::now(),
        };
        if let Err(error) = verify(&finish.digested, &self.head.repr_digests) {
            self.remove_all()?;
            return Err(error.into());
        }
        self.put(Event::Finishing(finish.clone()))?;
        // First, so that a request that comes again after a crash finds it, published or not.
        for part in &mut parts {
            part.put(Event::Concatenated(Final {
                url: self.url.to_segment().to_string(),
            }))?;
        }
        self.publish(&segments, finish)?;
        for part in &parts {
            // Their records stay, to answer for them; what they held has a second name now.
            self.store.discard(part.url.id())?;
        }
        Ok(self)
    }
}
