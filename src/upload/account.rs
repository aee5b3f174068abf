//! What an upload that comes through a link takes of what the link has left.
//!
//! Something is reserved before anything else of the upload exists, and counted as used when it has been published. Whatever
//! ends it before that gives back what was reserved. What a crash left in between is looked at when the server starts
//! (`ARCHITECTURE.md`, "Links, tokens and what they have left").

use std::time::{Duration, Instant, SystemTime};

use super::Uploads;
use super::manifest::{Kind, Record};
use super::open::{ReadError, read_header, read_record};
use super::receive::ReceiveError;
use super::session::{is_cut_short, is_unmade};
use super::terms::Terms;
use crate::grant::{Fate, GrantError, GrantId, Link, LinkSecret, LinkState, Links, Refused, What};
use crate::seal::PayloadLayout;
use crate::store::{SealedFile, SealedUpload, StoreError, UploadId};

/// What is reserved at first for an upload whose length is not known; doubled whenever more is needed.
// Small in tests, so that they see it grow.
const FIRST: u64 = if cfg!(test) { 64 << 10 } else { 16 << 20 };

/// How often a link is looked at while a body comes in through it: after so many bytes, or so long.
const LOOK_EVERY: (u64, Duration) = (FIRST, Duration::from_secs(5));

/// The account of one upload. All calls may block.
#[derive(Clone)]
pub(super) struct Account {
    links: Links,
    link: GrantId,
    upload: UploadId,
}

impl Account {
    /// What is reserved for the upload. Fails where its link takes nothing any more; one that is gone is as good as revoked.
    pub(super) fn reserved(&self) -> Result<Option<u64>, Refused> {
        let link = self.links.link(&self.link)?.ok_or(Refused::Revoked)?;
        match link.state(SystemTime::now()) {
            LinkState::Revoked => Err(Refused::Revoked),
            _ => Ok(link
                .reserved
                .get(&self.upload)
                .map(|reserved| reserved.bytes)),
        }
    }

    /// Reserves for the upload: its length, or where that is not known a first piece of `most`. Gives how much.
    pub(super) fn reserve(
        &self,
        kind: What,
        length: Option<u64>,
        most: u64,
        until: SystemTime,
    ) -> Result<u64, Refused> {
        let reserve = |bytes| {
            let now = SystemTime::now();
            self.links
                .reserve(&self.link, self.upload, kind, bytes, until, now)
        };
        let mut bytes = length.unwrap_or(FIRST.min(most));
        loop {
            match reserve(bytes) {
                Ok(()) => return Ok(bytes),
                // It may become no longer than that. Each try asks for less.
                Err(Refused::BytesUsedUp { left }) if length.is_none() && 0 < left => {
                    bytes = left.min(bytes - 1);
                }
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Makes what is reserved enough for `needed` bytes, and mostly for more. Gives how much is reserved then.
    fn grow(&self, reserved: u64, needed: u64, most: u64) -> Result<u64, Refused> {
        let mut wanted = reserved.saturating_mul(2).min(most).max(needed);
        loop {
            let more = wanted.saturating_sub(reserved);
            match self.links.grow(&self.link, &self.upload, more) {
                Ok(()) => return Ok(wanted),
                Err(Refused::BytesUsedUp { left }) if reserved.saturating_add(left) >= needed => {
                    if wanted == needed {
                        return Err(Refused::BytesUsedUp { left });
                    }
                    wanted = reserved.saturating_add(left).min(wanted - 1).max(needed);
                }
                Err(refused) => return Err(refused),
            }
        }
    }

    /// Makes what is reserved exactly as much as the upload takes, now that this is known.
    pub(super) fn resize(&self, bytes: u64) -> Result<(), Refused> {
        self.links.resize(&self.link, &self.upload, bytes)
    }

    /// Reserves for the upload what was reserved for its parts, and the rest of its bytes.
    pub(super) fn take_over(
        &self,
        parts: &[UploadId],
        bytes: u64,
        until: SystemTime,
    ) -> Result<(), Refused> {
        self.links
            .take_over(&self.link, parts, self.upload, bytes, until)
    }

    /// Keeps what is reserved until then.
    pub(super) fn keep(&self, until: SystemTime) -> Result<(), Refused> {
        Ok(self.links.renew(&self.link, &[self.upload], until)?)
    }

    /// The upload is published: what was reserved becomes used. Where that fails, it stays reserved, and is looked at later.
    pub(super) fn settle(&self, bytes: u64) {
        if let Err(error) = self.links.settle(&self.link, &self.upload, bytes) {
            self.log(&error, "a finished upload is not counted yet");
        }
    }

    /// The upload will never be published. Where giving back fails, it stays reserved, and is looked at later.
    pub(super) fn give_back(&self) {
        if let Err(error) = self.links.give_back(&self.link, &self.upload) {
            self.log(&error, "what an upload had reserved is not given back yet");
        }
    }

    fn log(&self, error: &GrantError, what: &'static str) {
        let error = error as &dyn std::error::Error;
        tracing::warn!(id = %self.upload, link = %self.link, error, what, "a link is to be looked at later");
    }
}

/// What an upload reserves that takes part in a form, or by itself.
pub(super) fn what(kind: Kind) -> What {
    match kind {
        Kind::File => What::File,
        Kind::Fields => What::Fields,
    }
}

/// Counts what an upload takes in, and reserves more where that is needed.
pub(super) struct Meter {
    account: Option<Account>,
    reserved: u64,
    received: u64,
    /// Bytes that the upload may have.
    most: u64,
    /// When the link was last looked at, and what had been received then.
    looked: (Instant, u64),
}

impl Meter {
    pub(super) fn new(account: Option<Account>, reserved: u64, received: u64, most: u64) -> Self {
        Self {
            account,
            reserved,
            received,
            most,
            looked: (Instant::now(), received),
        }
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Gives back what was reserved beyond the `size` that it came to.
    pub(super) async fn leave(&self, size: u64) -> Result<(), ReceiveError> {
        let Some(account) = self.account.clone().filter(|_| size < self.reserved) else {
            return Ok(());
        };
        let resize = tokio::task::spawn_blocking(move || account.resize(size));
        Ok(resize.await.map_err(|_| ReceiveError::Abandoned)??)
    }

    /// Comes before `size` more bytes are taken in.
    pub(super) async fn take(&mut self, size: usize) -> Result<(), ReceiveError> {
        self.received = self.received.saturating_add(size as u64);
        if self.received > self.most {
            return Err(ReceiveError::TooLarge(self.most));
        }
        let Some(account) = &self.account else {
            return Ok(());
        };
        let (reserved, needed, most) = (self.reserved, self.received, self.most);
        let (account, enough) = (account.clone(), needed <= reserved);
        if enough && !self.is_to_look() {
            return Ok(());
        }
        self.looked = (Instant::now(), needed);
        let look = move || {
            if enough {
                // A link that was revoked takes not even the rest.
                account.reserved().map(|_| reserved)
            } else {
                account.grow(reserved, needed, most)
            }
        };
        let looked = tokio::task::spawn_blocking(look).await;
        self.reserved = looked.map_err(|_| ReceiveError::Abandoned)??;
        Ok(())
    }

    fn is_to_look(&self) -> bool {
        let (at, received) = self.looked;
        self.received - received >= LOOK_EVERY.0 || at.elapsed() >= LOOK_EVERY.1
    }
}

impl Uploads {
    /// The account of an upload on these terms, where it comes through a link.
    pub(super) fn account(&self, terms: &Terms, upload: UploadId) -> Option<Account> {
        terms.link.map(|link| self.account_of(link, upload))
    }

    pub(super) fn account_of(&self, link: GrantId, upload: UploadId) -> Account {
        Account {
            links: self.links.clone(),
            link,
            upload,
        }
    }

    /// Refuses early what a link has no room for. What may truly be taken is reserved later. Blocks.
    pub fn check_room(&self, terms: &Terms, bytes: u64) -> Result<(), ReceiveError> {
        let Some(id) = terms.link else {
            return Ok(());
        };
        let link = self.links.link(&id).map_err(Refused::from)?;
        match link.ok_or(Refused::Unknown)?.bytes_left() {
            Some(left) if bytes > left => Err(Refused::BytesUsedUp { left }.into()),
            _ => Ok(()),
        }
    }

    /// Counts a published upload that may not have been counted yet: once it is gone, nobody can tell. Gives its record, where
    /// that can be read.
    pub(super) fn settle_before_removal(
        &self,
        id: &UploadId,
    ) -> Result<Option<Record>, StoreError> {
        let upload = match self.store.open(id) {
            // An earlier removal came so far, and had counted it.
            Err(StoreError::NotFound) => return Ok(None),
            upload => upload?,
        };
        let record = upload
            .open(SealedFile::Meta)
            .map_err(ReadError::from)
            .and_then(|meta| read_record(&*meta))
            .ok();
        let link = record.as_ref().and_then(|record| record.link.as_ref());
        let Some(link) = link.and_then(|link| link.parse().ok()) else {
            return Ok(record);
        };
        let account = self.account_of(link, *id);
        let settled = account.links.link(&link).and_then(|link| {
            let reserved = link.and_then(|mut link| link.reserved.remove(id));
            let Some(reserved) = reserved else {
                return Ok(());
            };
            // Of a damaged upload it is not known how much of that it took.
            let size = plaintext_size(&*upload).unwrap_or(reserved.bytes);
            account.links.settle(&account.link, id, size)
        });
        match settled {
            Err(GrantError::Store(error)) => Err(error),
            // A damaged link takes nothing, so nothing has to be counted.
            _ => Ok(record),
        }
    }

    /// Looks what became of the uploads that links have something reserved for: of all where nobody is at work yet, at start;
    /// else of those whose time is over. Blocks.
    pub fn reconcile(&self, now: SystemTime, at_start: bool) {
        let ids = self.links.ids().unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "links cannot be looked at");
            Vec::new()
        });
        for id in ids {
            self.reconcile_link(&id, now, at_start);
        }
    }

    fn reconcile_link(&self, id: &GrantId, now: SystemTime, at_start: bool) {
        let fate = |upload: &UploadId| self.fate(upload, at_start);
        if let Err(error) = self.links.reconcile(id, now, at_start, &fate) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(link = %id, error, "what a link has reserved cannot be looked at; trying again later");
        }
    }

    /// The link that a secret belongs to, in whatever state it is. What servers that died had reserved of it is free again. Blocks.
    pub fn find_link(
        &self,
        secret: &LinkSecret,
        now: SystemTime,
    ) -> Result<Option<Link>, GrantError> {
        let found = self.links.find(secret)?;
        let is_over = |link: &Link| link.reserved.values().any(|reserved| reserved.until <= now);
        match found {
            Some(link)
                if self.store.is_shared()
                    && is_over(&link)
                    && self.held.is_to_look(link.id(), now) =>
            {
                self.reconcile_link(&link.id(), now, false);
                self.links.find(secret)
            }
            found => Ok(found),
        }
    }

    /// What became of an upload. Whatever cannot be told leaves it reserved.
    fn fate(&self, id: &UploadId, at_start: bool) -> Fate {
        self.find_fate(id, at_start).unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%id, error, "what became of an upload cannot be told; its link keeps it reserved");
            Fate::InProgress
        })
    }

    fn find_fate(&self, id: &UploadId, at_start: bool) -> Result<Fate, ReadError> {
        let head = match self.store.session_head(id) {
            Err(StoreError::NotFound) => None,
            head => Some(head?),
        };
        // In the order in which an upload goes through it: what is not here any more is found at the next one.
        let staged = self.store.is_staged(id)?;
        let unmade = match &head {
            Some(head) if at_start => is_unmade(head) || self.is_uncreated(id, head)?,
            _ => false,
        };
        // Of an upload that only a server held which renews it no more, what is staged is rubbish.
        let left_behind = head.is_none() && self.store.is_shared();
        if staged && !unmade && !left_behind {
            return Ok(Fate::InProgress);
        }
        match self.read(id, plaintext_size) {
            Ok(size) => return Ok(Fate::Published(size)),
            Err(ReadError::Store(StoreError::NotFound)) => {}
            Err(error) => return Err(error),
        }
        if unmade {
            // Nobody was told of this one. If it has parts, they are still there, and will be put together once more.
            self.store.remove_session(id)?;
            self.store.discard(id)?;
            tracing::info!(%id, "removed an upload that an earlier run had begun to create");
            return Ok(Fate::Gone);
        }
        Ok(if head.is_some() {
            Fate::InProgress
        } else {
            Fate::Gone
        })
    }

    /// Whether an upload was not created to its end. What is damaged later has entries.
    pub(super) fn is_uncreated(&self, id: &UploadId, head: &[u8]) -> Result<bool, StoreError> {
        Ok(is_cut_short(head) && self.store.last_entries(id, 1)?.1.is_empty())
    }
}

/// Bytes of plaintext in a published upload, told without a key from where the payloads of its files begin.
fn plaintext_size(upload: &dyn SealedUpload) -> Result<u64, ReadError> {
    let mut size = 0;
    for name in upload.files()? {
        if let SealedFile::Segment(_) = name {
            let file = upload.open(name)?;
            let (_, payload) = read_header(&*file, name)?;
            let layout = PayloadLayout::of_sealed(file.len().saturating_sub(payload));
            size += layout.map_err(|_| ReadError::Size(name))?.plaintext_size();
        }
    }
    Ok(size)
}

#[cfg(test)]
pub(super) mod dying_store;
#[cfg(test)]
mod tests;
