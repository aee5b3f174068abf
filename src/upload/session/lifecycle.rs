//! How a resumable upload begins, is taken in hand by one request after the other, and goes when it is cancelled or expires.

use core::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::claim::Claim;
use super::record::{ClearHead, Event, Finish, GIVEN_UP, NewSession, last_entry};
use super::state::State;
use super::{Session, SessionError, Unsaved, UploadUrl, remove, run_blocking};
use crate::grant::GrantId;
use crate::store::{StoreError, UploadId};
use crate::upload::observer::Begun;
use crate::upload::{Terms, Uploads, Why};

/// How often it is looked anew where an upload stands that another server goes on with at the same time, and after how long.
const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Uploads {
    /// Creates a resumable upload. Durable when this returns: the URL may be given out.
    pub async fn create_session(
        self: &Arc<Self>,
        new: NewSession,
    ) -> Result<Session, SessionError> {
        let mut session = self.begin(new, false).await?;
        run_blocking(move || {
            session.save()?;
            Ok(session)
        })
        .await
    }

    /// Begins a resumable upload whose creation brings its first body. It is written down when that body has come to its end;
    /// where it does not, nobody knows the URL, and nothing is left of it.
    pub async fn begin_session(self: &Arc<Self>, new: NewSession) -> Result<Session, SessionError> {
        self.begin(new, true).await
    }

    /// `brings`: whether its first body comes before it is written down.
    async fn begin(
        self: &Arc<Self>,
        new: NewSession,
        brings: bool,
    ) -> Result<Session, SessionError> {
        let now = SystemTime::now();
        let url = UploadUrl::generate(UploadId::generate(now))?;
        let claim = self.claims.claim(url.id()).await;
        let expires = now + self.session_limits.upload_lifetime;
        let sealed_head = ClearHead::seal(&url, &new, expires)?;
        let mut staged = self.stage(*url.id(), &new.terms);
        let until = match self.held_until(now) {
            Some(short) if brings => short,
            _ => expires,
        };
        let mut reserved = 0;
        // What is made of parts takes over what they have.
        if let Some(what) = new.reserves() {
            let most = new.terms.max_size;
            (staged, reserved) = staged.reserve(what, new.length, most, until).await?;
        }
        let unsaved = Unsaved {
            sealed_head,
            staged,
            held: until < expires,
        };
        let state = State::new(&new);
        let mut session = self.in_hand(url, new, expires, state, Arc::new(claim))?;
        self.observer.begun(&Begun {
            id: *session.url.id(),
            submission: session.head.submission_of(&session.url),
            terms: &session.head.terms,
        });
        session.unsaved = Some(unsaved);
        session.reserved = reserved;
        Ok(session)
    }

    /// Takes a resumable upload in hand: ends what another request does with it, recovers what the server did not come to
    /// close, and publishes what it did not come to publish.
    pub async fn session(self: &Arc<Self>, url: UploadUrl) -> Result<Session, SessionError> {
        let (url, claim) = self.claim(url).await?;
        let (uploads, claim) = (Arc::clone(self), Arc::new(claim));
        run_blocking(move || look_again(|| uploads.take_in_hand(&url, &claim))).await
    }

    fn take_in_hand(&self, url: &UploadUrl, claim: &Arc<Claim>) -> Result<Session, SessionError> {
        let mut session = self.as_it_stands(url, claim)?;
        session.look_at_link()?;
        session.recover()?;
        session.check_last_segment()?;
        session.complete_finish()?;
        Ok(session)
    }

    /// Takes an upload in hand, and brings nothing to an end that was begun. Blocks.
    pub(super) fn as_it_stands(
        &self,
        url: &UploadUrl,
        claim: &Arc<Claim>,
    ) -> Result<Session, SessionError> {
        // Whoever had it in hand before may have removed it.
        let clear = self.clear_head(url)?;
        let head = clear.open(url)?;
        let state = match last_entry(&*self.store, url)? {
            Some((number, entry)) => State::after(number, entry)?,
            None => State::new(&head),
        };
        let (url, claim) = (url.clone(), Arc::clone(claim));
        self.in_hand(url, head, clear.expires, state, claim)
    }

    /// Cancels a resumable upload, in whatever state it is: unfinished, with all that had arrived of it; finished, only what
    /// its URL answers from.
    pub async fn cancel_session(self: &Arc<Self>, url: UploadUrl) -> Result<(), SessionError> {
        let (url, claim) = self.claim(url).await?;
        let (uploads, claim) = (Arc::clone(self), Arc::new(claim));
        run_blocking(move || {
            let clear = uploads.clear_head(&url)?;
            uploads.come_to_an_end(&url, &claim)?;
            Ok(uploads.remove_session(url.id(), clear.link)?)
        })
        .await
    }

    /// The same; and where the upload was finished no longer than `within` ago, it is deleted too. After that it stays, and
    /// so does its URL. Without a time, what is finished stays, and the URL answers no more. Says whether it deleted something;
    /// `from` is whose request it was then.
    pub async fn withdraw(
        self: &Arc<Self>,
        url: UploadUrl,
        within: Option<Duration>,
        from: Option<IpAddr>,
    ) -> Result<bool, SessionError> {
        let Some(within) = within else {
            return self.cancel_session(url).await.map(|()| false);
        };
        let (url, claim) = self.claim(url).await?;
        let (uploads, claim) = (Arc::clone(self), Arc::new(claim));
        run_blocking(move || {
            let clear = uploads.clear_head(&url)?;
            let finished = uploads.come_to_an_end(&url, &claim)?;
            let published = match uploads.store.open(url.id()) {
                Err(StoreError::NotFound) => false,
                // What cannot be told leaves the URL, to try again.
                published => published.map(|_| true)?,
            };
            let withdrawn = finished.filter(|_| published);
            if let Some(finished) = withdrawn {
                let end = finished.checked_add(within);
                if end.is_some_and(|end| end <= SystemTime::now()) {
                    return Err(SessionError::WithdrawalOver);
                }
                let terms = clear.open(&url).ok().map(|head| head.terms);
                let by = terms.map(|terms| Terms { from, ..terms });
                uploads.remove(url.id(), Why::Withdrawn, by.as_ref())?;
            }
            uploads.remove_session(url.id(), clear.link)?;
            Ok(withdrawn.is_some())
        })
        .await
    }

    /// Sees to it that nobody publishes an upload while it is removed, and gives when it was finished, if it was. Blocks.
    fn come_to_an_end(
        &self,
        url: &UploadUrl,
        claim: &Arc<Claim>,
    ) -> Result<Option<SystemTime>, SessionError> {
        if self.store.is_shared() {
            return look_again(|| self.give_up(url, claim));
        }
        // What is damaged beyond that can still be cancelled.
        let last = last_entry(&*self.store, url).ok().flatten();
        Ok(match last.map(|(_, entry)| entry.event) {
            Some(Event::Finished(Finish { time, .. }) | Event::Finishing(Finish { time, .. })) => {
                Some(time)
            }
            _ => None,
        })
    }

    /// The same where another server may have the upload in hand: of giving it up and beginning to publish it, only one finds its
    /// place in the record free. What was begun to be published is published first. Blocks.
    fn give_up(
        &self,
        url: &UploadUrl,
        claim: &Arc<Claim>,
    ) -> Result<Option<SystemTime>, SessionError> {
        let next = match last_entry(&*self.store, url) {
            Ok(Some((number, entry))) => match entry.event {
                Event::Finished(finish) => return Ok(Some(finish.time)),
                Event::Concatenated(_) => return Ok(None),
                Event::Finishing(finish) => {
                    return match self.take_in_hand(url, claim) {
                        Ok(session) => Ok(session.finished()),
                        // Nobody can publish that.
                        Err(SessionError::Lost) => Ok(Some(finish.time)),
                        Err(error) => Err(error),
                    };
                }
                _ => number + 1,
            },
            Ok(None) => 0,
            // Somebody did this before, and did not come to the end.
            Err(SessionError::Unknown) => return Ok(None),
            // What is damaged can still be cancelled.
            Err(SessionError::Lost) => {
                let (first, entries) = self.store.last_entries(url.id(), 1)?;
                first.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX))
            }
            Err(error) => return Err(error),
        };
        self.store.put_entry(url.id(), next, &GIVEN_UP)?;
        Ok(None)
    }

    /// Removes what there is of a resumable upload, whose URL answers no more. Blocks.
    pub(super) fn remove_session(
        &self,
        id: &UploadId,
        link: Option<GrantId>,
    ) -> Result<(), StoreError> {
        // Where its end was interrupted, it may be published all the same, and must be counted then.
        if link.is_some() {
            self.settle_before_removal(id)?;
        }
        let account = link.map(|link| self.account_of(link, *id));
        remove(&*self.store, id, account.as_ref())
    }

    /// On what terms the upload is taken that a URL names, if it answers. Disturbs nobody. Blocks.
    pub fn session_terms(&self, url: &UploadUrl) -> Option<Terms> {
        let head = self.clear_head(url).ok()?.open(url).ok()?;
        Some(head.terms)
    }

    /// Until when an upload URL answers, if it does. Disturbs nobody. Blocks.
    pub fn session_expires(&self, url: &UploadUrl) -> Option<SystemTime> {
        self.clear_head(url).ok().map(|head| head.expires)
    }

    /// The submission of the upload that a URL names, for another one that joins it: whoever knows the URL may add to it, for
    /// as long as it answers, finished or not. Disturbs nobody. Blocks.
    ///
    /// What comes through a link joins what came through the same one, and what comes without one what came without: a link's
    /// holder adds nothing to what others hand in, and the other way round.
    pub fn submission_of(
        &self,
        url: &UploadUrl,
        link: Option<&GrantId>,
    ) -> Result<UploadId, SessionError> {
        let clear = self.clear_head(url)?;
        if clear.link.as_ref() != link {
            return Err(SessionError::Unknown);
        }
        Ok(clear.open(url)?.submission_of(url))
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
        claim: Arc<Claim>,
    ) -> Result<Session, SessionError> {
        Ok(Session {
            store: Arc::clone(&self.store),
            observer: Arc::clone(&self.observer),
            sealed_to: self.sealed_to(&head.terms)?,
            account: self.account(&head.terms, *url.id()),
            reserved: 0,
            // What is kept only when it has come to its end has no checkpoints.
            checkpoint: match self.store.segment_limit() {
                Some(_) => u64::MAX,
                None => self.session_limits.checkpoint,
            },
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

/// Does something anew where another server went on with the upload in this moment. Blocks.
fn look_again<T>(look: impl Fn() -> Result<T, SessionError>) -> Result<T, SessionError> {
    let mut looks = LOOKS;
    loop {
        looks -= 1;
        match look() {
            Err(error) if looks > 0 && error.is_overtaken() => std::thread::sleep(LOOK_AGAIN),
            done => return done,
        }
    }
}
