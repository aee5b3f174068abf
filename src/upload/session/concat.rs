//! Concatenation (tus): parts that arrived in any order, perhaps at the same time, become one upload.

use std::sync::Arc;
use std::time::SystemTime;

use super::record::{self, Event, Final, Finish};
use super::state::Phase;
use super::{NewSession, Role, Session, SessionError, UploadUrl, run_blocking};
use crate::grant::What;
use crate::store::{MAX_SEGMENTS, StoreError, UploadId};
use crate::upload::Uploads;
use crate::upload::account::Account;
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
        let uploads = Arc::clone(self);
        let (sessions, new, begun) = run_blocking(move || {
            let begun = uploads.begun_before(&mut sessions, &new)?;
            Ok((sessions, new, begun))
        })
        .await?;
        let session = match begun {
            Some(session) => session,
            None => self.begin_session(new).await?,
        };
        let is_new = session.finished().is_none();
        let session = run_blocking(move || session.concatenate(sessions, &ordered)).await?;
        Ok((session, is_new))
    }

    /// The upload that the same request began to make of the parts, on a server that may have died since or may still be at it: it
    /// is gone on with, so that both make one. What another request began, and has not come to publish, is given up. Blocks.
    fn begun_before(
        &self,
        parts: &mut [Session],
        new: &NewSession,
    ) -> Result<Option<Session>, SessionError> {
        for part in &*parts {
            let Phase::Joining(into) = &part.state.phase else {
                continue;
            };
            let url: UploadUrl = into.url.parse().map_err(|_| SessionError::Lost)?;
            // Whoever has it in hand may wait for parts: it is not waited for.
            let Some(claim) = self.claims.claim_idle(url.id()) else {
                return Err(StoreError::Overtaken.into());
            };
            let begun = match self.as_it_stands(&url, &Arc::new(claim)) {
                Err(SessionError::Unknown) => continue,
                begun => begun?,
            };
            let same =
                begun.head.role.has_parts_of(&new.role) && begun.head.metadata == new.metadata;
            match begun.state.phase {
                _ if same => return Ok(Some(begun)),
                Phase::Open => begun.give_up()?,
                _ => return Err(SessionError::PartUsed),
            }
        }
        // What they had reserved was for what is not made now.
        for part in parts {
            if matches!(part.state.phase, Phase::Joining(_)) {
                part.check_link()?;
            }
        }
        Ok(None)
    }

    /// The upload that the same request made before.
    async fn concatenated_before(
        self: &Arc<Self>,
        parts: Vec<Session>,
        new: &NewSession,
    ) -> Result<(Session, bool), SessionError> {
        let into = parts.iter().find_map(|part| match &part.state.phase {
            Phase::Concatenated(into) => Some(into),
            _ => None,
        });
        let into = into.ok_or(SessionError::PartUsed)?;
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
        let open = matches!(
            self.state.phase,
            Phase::Open | Phase::Joining(_) | Phase::Concatenated(_)
        );
        self.head.role == Role::Partial && complete && open
    }

    /// Takes the parts' segments over, reads them back once for the digest of the whole, and publishes. Blocks.
    ///
    /// Before it is clear that this goes through, nothing is written down, and what was staged goes with the session.
    fn concatenate(mut self, mut parts: Vec<Self>, order: &[usize]) -> Result<Self, SessionError> {
        if self.finished().is_some() {
            // Whoever published it did not come to tell all of them.
            self.mark(&mut parts)?;
            return Ok(self);
        }
        // First, because it is gone as soon as what is published is counted.
        let reserves = self.reserves_already()?;
        if let Phase::Finishing(finish) = &self.state.phase
            && self.is_published()?
        {
            let finish = finish.clone();
            self.end_published(&mut parts, order, finish)?;
            return Ok(self);
        }
        self.take_over(&parts, reserves)?;
        match self.concatenate_reserved(&mut parts, order) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.undo(&parts);
                Err(error)
            }
        }
    }

    /// Whether another server took over what the parts had reserved. Blocks.
    fn reserves_already(&self) -> Result<bool, SessionError> {
        match &self.account {
            Some(account) if self.unsaved.is_none() => Ok(account.reserved()?.is_some()),
            _ => Ok(false),
        }
    }

    /// Brings to its end what another server has published. Blocks.
    fn end_published(
        &mut self,
        parts: &mut [Self],
        order: &[usize],
        finish: Finish,
    ) -> Result<(), SessionError> {
        self.store.settle(self.url.id())?;
        let mut segments = Vec::new();
        for &index in order {
            let part = &parts[index];
            let closed = record::closed_segments(&*self.store, &part.url, &part.state)?;
            segments.extend(closed);
        }
        self.tell(&segments, &finish);
        self.ended(finish)?;
        self.mark(parts)
    }

    /// What the parts have reserved becomes what this upload has. Blocks.
    fn take_over(&mut self, parts: &[Self], reserves: bool) -> Result<(), SessionError> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        if reserves {
            // What they reserved since then they do not need.
            let accounts = parts.iter().filter_map(|part| part.account.as_ref());
            accounts.for_each(Account::give_back);
            return Ok(());
        }
        if self.unsaved.is_none() && self.is_open() {
            // It was published and counted in this moment, or given up.
            return Err(StoreError::Overtaken.into());
        }
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
        if self.store.is_shared() && self.unsaved.is_none() {
            // Another server may go on with it, and whoever asks once more does where it was begun to be published.
            let is_begun = matches!(self.state.phase, Phase::Finishing(_));
            if is_begun || self.put_given_up().is_err() {
                return;
            }
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
        let finish = match &self.state.phase {
            Phase::Finishing(finish) => finish.clone(),
            _ => self.begin_to_join(parts, &segments)?,
        };
        self.publish(&segments, finish)?;
        self.mark(parts)
    }

    /// Writes down what is made of which parts, and that what follows is publishing. Blocks.
    fn begin_to_join(
        &mut self,
        parts: &mut [Self],
        segments: &[SealedSegment],
    ) -> Result<Finish, SessionError> {
        let digests = self.read_back_digests(segments, self.head.with_sha512())?;
        let digested = self.check_whole(segments, digests.finish(), &[])?;
        self.state.offset = segments.iter().map(|segment| segment.size).sum();
        self.state.segments = u32::try_from(segments.len()).unwrap_or(MAX_SEGMENTS);
        if self.store.is_shared() {
            // Of several servers that make something of a part, one puts the next entry. Whoever comes later finds this upload by it.
            self.save()?;
            let into = self.as_final();
            for part in parts {
                part.join(&into)?;
            }
        }
        self.begin_finish(digested)
    }

    fn as_final(&self) -> Final {
        Final {
            url: self.url.to_segment().to_string(),
        }
    }

    /// Notes of a part what is about to be made of it. Blocks.
    fn join(&mut self, into: &Final) -> Result<(), SessionError> {
        if matches!(&self.state.phase, Phase::Joining(noted) if noted.url == into.url) {
            return Ok(());
        }
        match self.put(Event::Joining(into.clone())) {
            Err(error) if error.is_overtaken() && self.is_noted(into)? => Ok(()),
            put => put,
        }
    }

    /// Whether another server has noted the same of a part. Blocks.
    fn is_noted(&self, into: &Final) -> Result<bool, SessionError> {
        let last = record::last_entry(&*self.store, &self.url)?;
        Ok(last.is_some_and(|(_, entry)| match &entry.event {
            Event::Joining(noted) | Event::Concatenated(noted) => noted.url == into.url,
            _ => false,
        }))
    }

    /// Notes of the parts that they went into this upload. Blocks.
    fn mark(&self, parts: &mut [Self]) -> Result<(), SessionError> {
        let into = self.as_final();
        for part in parts {
            // Their records stay, to answer for them and for the same request once more; what they held has a second name now.
            match part.put_last(Event::Concatenated(into.clone())) {
                Err(error) if error.is_overtaken() && part.is_noted(&into)? => {}
                put => put?,
            }
            self.store.discard(part.url.id())?;
        }
        Ok(())
    }

    /// Removes what another server began and has not come to publish: it finds the place of its next entry taken. Blocks.
    fn give_up(&self) -> Result<(), SessionError> {
        self.put_given_up()?;
        self.remove_all()
    }

    /// Whoever else is about to go on with the upload finds that place taken. Blocks.
    pub(super) fn put_given_up(&self) -> Result<(), StoreError> {
        let (id, next) = (self.url.id(), self.state.next);
        self.store.put_entry(id, next, &record::GIVEN_UP)
    }
}
