//! How a resumable upload begins, is taken in hand by one request after the other, and goes when it is cancelled or expires.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::claim::Claim;
use super::record::{ClearHead, NewSession, last_entry};
use super::state::State;
use super::{Session, SessionError, Unsaved, UploadUrl, remove, run_blocking};
use crate::store::{StoreError, UploadId};
use crate::upload::Uploads;
use crate::upload::observer::Begun;
use crate::upload::staged::Staged;

impl Uploads {
    /// Creates a resumable upload. Durable when this returns: the URL may be given out.
    pub async fn create_session(
        self: &Arc<Self>,
        new: NewSession,
    ) -> Result<Session, SessionError> {
        let mut session = self.begin_session(new).await?;
        run_blocking(move || {
            session.save()?;
            Ok(session)
        })
        .await
    }

    /// Begins a resumable upload whose creation brings its first body. It is written down when that body has come to its end;
    /// where it does not, nobody knows the URL, and nothing is left of it.
    pub async fn begin_session(self: &Arc<Self>, new: NewSession) -> Result<Session, SessionError> {
        let url = UploadUrl::generate(UploadId::generate(SystemTime::now()))?;
        let claim = self.claims.claim(url.id()).await;
        let expires = SystemTime::now() + self.session_limits.upload_lifetime;
        let unsaved = Unsaved {
            sealed_head: ClearHead::seal(&url, &new, expires)?,
            staged: Staged::new(Arc::clone(&self.store), *url.id(), self.staged.token()),
        };
        let state = State::new(&new);
        let mut session = self.in_hand(url, new, expires, state, claim)?;
        self.observer.begun(&Begun {
            id: *session.url.id(),
            submission: session.head.submission_of(&session.url),
            terms: &session.head.terms,
        });
        session.unsaved = Some(unsaved);
        Ok(session)
    }

    /// Takes a resumable upload in hand: ends what another request does with it, recovers what the server did not come to
    /// close, and publishes what it did not come to publish.
    pub async fn session(self: &Arc<Self>, url: UploadUrl) -> Result<Session, SessionError> {
        let (url, claim) = self.claim(url).await?;
        let uploads = Arc::clone(self);
        run_blocking(move || {
            // Whoever had it in hand before may have removed it.
            let clear = uploads.clear_head(&url)?;
            let head = clear.open(&url)?;
            let state = match last_entry(&*uploads.store, &url)? {
                Some((number, entry)) => State::after(number, entry)?,
                None => State::new(&head),
            };
            let mut session = uploads.in_hand(url, head, clear.expires, state, claim)?;
            session.recover()?;
            session.check_last_segment()?;
            session.complete_finish()?;
            Ok(session)
        })
        .await
    }

    /// Cancels a resumable upload, in whatever state it is: unfinished, with all that had arrived of it; finished, only what
    /// its URL answers from.
    pub async fn cancel_session(self: &Arc<Self>, url: UploadUrl) -> Result<(), SessionError> {
        let (url, _claim) = self.claim(url).await?;
        let uploads = Arc::clone(self);
        run_blocking(move || {
            uploads.clear_head(&url)?;
            remove(&*uploads.store, &url)
        })
        .await
    }

    /// Removes resumable uploads that have expired, and gives their number. Needs none of their secrets. Blocks.
    pub fn sweep_sessions(self: &Arc<Self>, now: SystemTime) -> Result<usize, StoreError> {
        let mut swept = 0;
        for id in self.store.sessions()? {
            match self.sweep_session(&id, now) {
                Ok(true) => swept += 1,
                Ok(false) => {}
                // The others expire all the same.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%id, error, "an expired upload could not be removed; trying again later");
                }
            }
        }
        Ok(swept)
    }

    fn sweep_session(self: &Arc<Self>, id: &UploadId, now: SystemTime) -> Result<bool, StoreError> {
        let head = match self.store.session_head(id) {
            Err(StoreError::NotFound) => return Ok(false),
            head => ClearHead::parse(&head?),
        };
        // A head that was never written to its end belongs to an upload that nobody knows the URL of.
        let unknown = || id.time() + Duration::from_hours(1);
        if head.map_or_else(unknown, |head| head.expires) > now {
            return Ok(false);
        }
        let Some(_claim) = self.claims.claim_idle(id) else {
            return Ok(false);
        };
        self.store.remove_session(id)?;
        self.store.discard(id)?;
        Ok(true)
    }

    /// Until when an upload URL answers, if it does. Disturbs nobody. Blocks.
    pub fn session_expires(&self, url: &UploadUrl) -> Option<SystemTime> {
        self.clear_head(url).ok().map(|head| head.expires)
    }

    /// The submission of the upload that a URL names, for another one that joins it: whoever knows the URL may add to it, for
    /// as long as it answers, finished or not. Disturbs nobody. Blocks.
    pub fn submission_of(&self, url: &UploadUrl) -> Result<UploadId, SessionError> {
        Ok(self.clear_head(url)?.open(url)?.submission_of(url))
    }

    /// Only who knows the secret may end what another request does.
    async fn claim(self: &Arc<Self>, url: UploadUrl) -> Result<(UploadUrl, Claim), SessionError> {
        let uploads = Arc::clone(self);
        let url = run_blocking(move || uploads.clear_head(&url).map(|_| url)).await?;
        let claim = self.claims.claim(url.id()).await;
        Ok((url, claim))
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
        head: NewSession,
        expires: SystemTime,
        state: State,
        claim: Claim,
    ) -> Result<Session, SessionError> {
        Ok(Session {
            store: Arc::clone(&self.store),
            observer: Arc::clone(&self.observer),
            sealed_to: self.sealed_to(&head.terms)?,
            checkpoint: self.session_limits.checkpoint,
            url,
            head,
            expires,
            state,
            claim,
            unsaved: None,
            unrecovered: None,
            _pending: self.staged.token(),
        })
    }
}
