//! What is stored in a bucket, held to a quota over all servers.
//!
//! One record says how many bytes are taken. A server takes some of what is left before it needs them, counts them down by itself,
//! and gives back what it does not use, and what is deleted: so most writes ask nobody, and the quota is never exceeded. Near its
//! end servers take little more than they need, so that none keeps from the others what it does not use.
//!
//! The record is made by measuring, once, before the first server serves. What a server has in hand nobody else can use: at most 2 GiB,
//! and at most a quarter of the quota. One that is killed leaves that taken, and what it was writing; and an update, or a
//! segment, whose answer is lost leaves taken what it was about; and of what two servers delete at once, part may stay taken. That stays so until it is measured anew: stop every server, remove the object
//! `records/usage/quota` below the store's prefix, and start them again. It is also measured anew when a server was started without
//! a quota in between, which counts nothing.

mod measured;
mod shares;

use std::sync::Arc;

use self::shares::Shares;
use super::bucket::Bucket;
use super::keys;
use super::records::Records;
use super::walk::Walk;
use crate::store::StoreError;

/// Keys asked for at a time, as many as engines give.
const PAGE: usize = 1000;
const UPLOADS: &str = "uploads/";
/// What all sealed files are called.
const SEALED: &str = ".age";

/// What this server may still store, and how much is stored.
pub(super) struct Quota {
    bucket: Bucket,
    /// `None`: there is no quota, and nothing is counted.
    shares: Option<Shares>,
}

impl Quota {
    /// Begins to count, where there is a quota. Where nobody has measured yet, this measures, or waits for who does.
    pub(super) fn open(
        bucket: Bucket,
        records: Records,
        quota: Option<u64>,
    ) -> Result<Self, StoreError> {
        let records = Arc::new(records);
        let Some(quota) = quota else {
            measured::note_uncounted(&*records)?;
            let shares = None;
            return Ok(Self { bucket, shares });
        };
        let measure = |beat: &mut Beat<'_>| measure(&bucket, beat);
        measured::ensure(&*records, &measure)?;
        let shares = Some(Shares::new(records, quota));
        Ok(Self { bucket, shares })
    }

    /// For a command beside servers, which has no quota of its own: what it changes is counted where they count.
    pub(super) fn join(bucket: Bucket, records: Records) -> Result<Self, StoreError> {
        let records = Arc::new(records);
        let counted = measured::is_measured(&*records)?;
        let shares = counted.then(|| Shares::new(records, u64::MAX));
        Ok(Self { bucket, shares })
    }

    /// For a command that only reads.
    pub(super) fn uncounted(bucket: Bucket) -> Self {
        let shares = None;
        Self { bucket, shares }
    }

    /// Whether there is one.
    pub(super) fn is_counted(&self) -> bool {
        self.shares.is_some()
    }

    /// Counts bytes that are about to be written, where they fit.
    pub(super) fn take(&self, bytes: u64) -> Result<(), StoreError> {
        self.shares
            .as_ref()
            .map_or(Ok(()), |shares| shares.take(bytes))
    }

    /// Counts bytes that are not stored any more, or were not written after all.
    pub(super) fn give_back(&self, bytes: u64) {
        if let Some(shares) = &self.shares {
            shares.give_back(bytes);
        }
    }

    /// The same, on a thread that must not wait for the engine.
    pub(super) fn regain(&self, bytes: u64) {
        if let Some(shares) = &self.shares {
            shares.regain(bytes);
        }
    }

    /// Whether so many more bytes would fit. Asks nobody while this server has them in hand.
    pub(super) fn check(&self, bytes: u64) -> Result<(), StoreError> {
        self.shares
            .as_ref()
            .map_or(Ok(()), |shares| shares.check(bytes))
    }

    /// Bytes of all sealed files. With a quota these are counted, with what other servers have in hand; else they are measured, which
    /// takes its time.
    pub(super) fn stored(&self) -> Result<u64, StoreError> {
        match &self.shares {
            Some(shares) => shares.stored(),
            None => measure(&self.bucket, &mut |_| Ok(())),
        }
    }

    /// Gives back what this server has in hand, as its end is near. What is counted later is counted all the same.
    pub(super) fn close(&self) {
        let Some(shares) = self.shares.as_ref().filter(|shares| shares.has_any()) else {
            return;
        };
        // On a thread of its own: whoever drops a store may be one that must not wait for the engine.
        std::thread::scope(|scope| {
            let closing = std::thread::Builder::new().spawn_scoped(scope, || shares.close());
            let _ = closing.map(std::thread::ScopedJoinHandle::join);
        });
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.close();
    }
}

/// Called now and then by whoever measures, with what was measured so far; where it fails, measuring ends.
type Beat<'a> = dyn FnMut(u64) -> Result<(), StoreError> + 'a;

/// Bytes of all sealed files in a bucket, staged and published.
fn measure(bucket: &Bucket, beat: &mut Beat<'_>) -> Result<u64, StoreError> {
    let mut bytes = 0_u64;
    let mut after: Option<String> = None;
    let mut walk = Walk::through(UPLOADS, usize::MAX);
    loop {
        let page = bucket.list(UPLOADS, after.as_deref(), PAGE)?;
        for object in &page.objects {
            if object.key.ends_with(SEALED) {
                bytes = bytes.saturating_add(object.size);
            }
            walk.met(keys::in_folder(&object.key).is_some())?;
        }
        match page.objects.last() {
            Some(last) if page.more => after = Some(last.key.clone()),
            _ => return Ok(bytes),
        }
        beat(bytes)?;
    }
}

#[cfg(test)]
mod tests;
