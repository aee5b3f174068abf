//! All links of a store.

use std::sync::Arc;
use std::time::SystemTime;

use super::account::{Fate, Refused, Reservation, What};
use super::link::{Link, NewLink};
use super::record::{self, Listing, Record, Then};
use super::{GrantError, GrantId, LinkSecret, json};
use crate::store::{RecordStore, UploadId};

/// The upload links of a store. Cheap to clone; all calls may block.
#[derive(Clone)]
pub struct Links {
    store: Arc<dyn RecordStore>,
}

impl Links {
    /// The links of `store`.
    pub fn new(store: Arc<dyn RecordStore>) -> Self {
        Self { store }
    }

    /// Makes a link. Its secret is known to nobody but who gets it here.
    pub fn create(&self, new: NewLink, now: SystemTime) -> Result<(LinkSecret, Link), GrantError> {
        let secret = LinkSecret::generate()?;
        let link = Link::new(secret.hash(), new, now);
        record::create(&*self.store, &link)?;
        Ok((secret, link))
    }

    /// The link that a secret belongs to, in whatever state it is.
    pub fn find(&self, secret: &LinkSecret) -> Result<Option<Link>, GrantError> {
        record::find(&*self.store, &secret.hash())
    }

    /// The link of that id, in whatever state it is.
    pub fn link(&self, id: &GrantId) -> Result<Option<Link>, GrantError> {
        record::read(&*self.store, id)
    }

    /// The ids of all links, in no order. Reads none of them.
    pub fn ids(&self) -> Result<Vec<GrantId>, GrantError> {
        record::ids::<Link>(&*self.store)
    }

    /// All links, the newest first.
    pub fn list(&self) -> Result<Listing<Link>, GrantError> {
        let mut links = record::all::<Link>(&*self.store)?;
        links
            .grants
            .sort_by_key(|link| (std::cmp::Reverse(link.created), link.id()));
        Ok(links)
    }

    /// Revokes a link: from now on it takes nothing. One that was revoked stays so since then.
    pub fn revoke(&self, id: &GrantId, now: SystemTime) -> Result<Link, GrantError> {
        let revoked = record::update(&*self.store, id, |link: &mut Link| {
            if link.revoked.is_some() {
                return Ok((Then::Keep, link.clone()));
            }
            link.revoked = Some(json::recorded(now));
            Ok((Then::Put, link.clone()))
        });
        revoked.and_then(|link| link.ok_or(GrantError::NotFound { kind: Link::KIND }))
    }

    /// Reserves for an upload that is to be created: nothing may be taken before. At `until` somebody looks whether the
    /// upload still is.
    pub fn reserve(
        &self,
        id: &GrantId,
        upload: UploadId,
        what: What,
        bytes: u64,
        until: SystemTime,
        now: SystemTime,
    ) -> Result<(), Refused> {
        let reservation = reservation(what, bytes, until);
        self.change(id, |link| {
            link.reserve(upload, reservation.clone(), now)?;
            Ok((Then::Put, ()))
        })
    }

    /// Reserves `more` bytes for an upload.
    pub fn grow(&self, id: &GrantId, upload: &UploadId, more: u64) -> Result<(), Refused> {
        self.change(id, |link| {
            link.grow(upload, more)?;
            Ok((Then::Put, ()))
        })
    }

    /// Makes what is reserved for an upload `bytes`, now that it is known how long it becomes. Doing it again is fine.
    pub fn resize(&self, id: &GrantId, upload: &UploadId, bytes: u64) -> Result<(), Refused> {
        self.change(id, |link| {
            link.resize(upload, bytes)?;
            Ok((Then::Put, ()))
        })
    }

    /// Keeps what is reserved for these uploads until then, or longer where it is. Where nothing is, there is nothing to keep.
    pub fn renew(
        &self,
        id: &GrantId,
        uploads: &[UploadId],
        until: SystemTime,
    ) -> Result<(), GrantError> {
        let until = json::recorded(until);
        self.if_there(id, |link| {
            // Each of them, whatever the others say.
            let renewed = uploads.iter().map(|upload| link.renew(upload, until));
            renewed.fold(false, |one, other| one | other)
        })
    }

    /// Counts an upload that was published, with the bytes that it has. Where nothing is reserved for it, or there is no such
    /// link any more, nothing is counted: it was counted before.
    pub fn settle(&self, id: &GrantId, upload: &UploadId, bytes: u64) -> Result<(), GrantError> {
        self.if_there(id, |link| link.settle(upload, bytes))
    }

    /// Frees what is reserved for an upload that will never be published.
    pub fn give_back(&self, id: &GrantId, upload: &UploadId) -> Result<(), GrantError> {
        self.if_there(id, |link| link.give_back(upload))
    }

    /// Reserves for the file `into`, of `bytes` in all, what was reserved for the parts that it is put together from. What the
    /// parts have less must be left, and the file counts as an upload.
    pub fn take_over(
        &self,
        id: &GrantId,
        parts: &[UploadId],
        into: UploadId,
        bytes: u64,
        until: SystemTime,
    ) -> Result<(), Refused> {
        let file = reservation(What::File, bytes, until);
        self.change(id, |link| {
            link.take_over(parts, into, file.clone())?;
            Ok((Then::Put, ()))
        })
    }

    /// Looks what became of the uploads that something is reserved for: of all of them where nobody else is at work (at
    /// start), else of those that should be looked after by `now`. A link that is not there is fine.
    pub fn reconcile(
        &self,
        id: &GrantId,
        now: SystemTime,
        all: bool,
        fate: &dyn Fn(&UploadId) -> Fate,
    ) -> Result<(), GrantError> {
        let Some(link) = self.link(id)? else {
            return Ok(());
        };
        // Asked before the record is locked: it may take long, and what is published or gone stays so.
        let due = link.reserved.iter();
        let due = due.filter(|(_, reservation)| all || reservation.until <= now);
        let fates: Vec<_> = due
            .map(|(upload, _)| (*upload, fate(upload)))
            .filter(|(_, fate)| *fate != Fate::InProgress)
            .collect();
        if fates.is_empty() {
            return Ok(());
        }
        self.if_there(id, |link| {
            let mut changed = false;
            for (upload, fate) in &fates {
                changed |= match fate {
                    Fate::Published(bytes) => link.settle(upload, *bytes),
                    Fate::Gone => link.give_back(upload),
                    Fate::InProgress => false,
                };
            }
            changed
        })
    }

    /// Removes links that have been over for 30 days and that no upload under way came through. Says how many.
    pub fn sweep(&self, now: SystemTime) -> Result<usize, GrantError> {
        let over = |link: &Link| {
            record::is_past(link.revoked, link.expires, now) && link.reserved.is_empty()
        };
        record::sweep(&*self.store, over)
    }

    /// Changes a link, or says why not.
    fn change(
        &self,
        id: &GrantId,
        decide: impl FnMut(&mut Link) -> Result<(Then, ()), Refused>,
    ) -> Result<(), Refused> {
        record::update(&*self.store, id, decide)?.ok_or(Refused::Unknown)
    }

    /// Changes a link where it is there, and writes it where `change` says that it did.
    fn if_there(
        &self,
        id: &GrantId,
        mut change: impl FnMut(&mut Link) -> bool,
    ) -> Result<(), GrantError> {
        let changed = record::update(&*self.store, id, |link: &mut Link| {
            let then = if change(link) { Then::Put } else { Then::Keep };
            Ok::<_, GrantError>((then, ()))
        });
        changed.map(|_| ())
    }
}

fn reservation(what: What, bytes: u64, until: SystemTime) -> Reservation {
    Reservation {
        what,
        bytes,
        until: json::recorded(until),
    }
}
