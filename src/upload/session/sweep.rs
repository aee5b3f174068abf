//! Resumable uploads whose time is over.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::record::{ClearHead, GIVEN_UP};
use crate::store::{Day, StoreError, UploadId};
use crate::upload::Uploads;
use crate::upload::several::for_each;

/// How long an upload that was created through a link may wait for its first bytes.
const UNUSED: Duration = Duration::from_hours(1);
/// How long after their end uploads stay that other servers may have in hand: longer than one of them may still publish.
const AFTERMATH: Duration = Duration::from_hours(1);
/// Uploads that began in this time are listed at once.
const LISTED: Duration = Duration::from_hours(1);
/// Uploads that are looked at at the same time.
const AT_ONCE: usize = 8;

impl Uploads {
    /// Removes resumable uploads that have expired, and gives their number. Needs none of their secrets. Blocks.
    pub fn sweep_sessions(&self, now: SystemTime) -> Result<usize, StoreError> {
        let ids = self.store.sessions()?;
        Ok(ids.iter().filter(|id| self.sweep_one(id, now)).count())
    }

    /// The same in a store that several servers share: only those are looked at that began so long ago that they may have expired,
    /// and those that began since `looked` and should have brought something by now. Gives what `looked` is the next time. Blocks.
    pub fn sweep_shared_sessions(
        &self,
        looked: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<(usize, SystemTime), StoreError> {
        let over = earlier(now, self.session_limits.upload_lifetime + AFTERMATH);
        let idle = earlier(now, UNUSED);
        let mut swept = self.sweep_begun(UNIX_EPOCH..over, now)?;
        let mut from = looked.map_or(over, |looked| looked.max(over));
        while from < idle {
            let to = later(from, LISTED).min(idle);
            swept += self.sweep_begun(from..to, now)?;
            from = to;
        }
        Ok((swept, from.max(idle)))
    }

    /// Removes what servers left staged that died, day by day. Gives how many files it was, and what `after` is the next time.
    /// Blocks.
    pub fn sweep_staged(
        &self,
        after: Option<Day>,
        now: SystemTime,
    ) -> Result<(usize, Option<Day>), StoreError> {
        let lifetime = self.session_limits.upload_lifetime;
        self.store.sweep_staged(lifetime, after, now)
    }

    fn sweep_begun(&self, within: Range<SystemTime>, now: SystemTime) -> Result<usize, StoreError> {
        let swept = AtomicUsize::new(0);
        let ids = self.store.sessions_begun(within)?;
        for_each(&ids, AT_ONCE, |id| {
            swept.fetch_add(usize::from(self.sweep_one(id, now)), Ordering::Relaxed);
        });
        Ok(swept.into_inner())
    }

    /// The others expire whatever comes of this one.
    fn sweep_one(&self, id: &UploadId, now: SystemTime) -> bool {
        self.sweep_session(id, now).unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(%id, error, "an expired upload could not be removed; trying again later");
            false
        })
    }

    fn sweep_session(&self, id: &UploadId, now: SystemTime) -> Result<bool, StoreError> {
        let bytes = match self.store.session_head(id) {
            Err(StoreError::NotFound) => return Ok(false),
            head => head?,
        };
        let head = ClearHead::parse(&bytes);
        let shared = self.store.is_shared();
        let aftermath = if shared { AFTERMATH } else { Duration::ZERO };
        let link = head.as_ref().and_then(|head| head.link);
        let end = match head {
            Some(head) => head.expires,
            None if self.is_uncreated(id, &bytes)? => later(id.time(), UNUSED),
            // Another version can read it, perhaps.
            None => later(id.time(), self.session_limits.upload_lifetime),
        };
        let expired = later(end, aftermath) <= now;
        // What it takes of its link is for somebody who sends something.
        let unused = link.is_some() && id.time() + UNUSED <= now;
        if !expired && !unused {
            return Ok(false);
        }
        let Some(_claim) = self.claims.claim_idle(id) else {
            return Ok(false);
        };
        if !expired && !self.store.last_entries(id, 1)?.1.is_empty() {
            return Ok(false);
        }
        if !expired && shared {
            // Whoever is about to bring its first bytes to another server finds their place taken.
            match self.store.put_entry(id, 0, &GIVEN_UP) {
                Err(StoreError::Overtaken) => return Ok(false),
                put => put?,
            }
        }
        self.remove_session(id, link)?;
        Ok(true)
    }
}

fn earlier(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_sub(by).unwrap_or(UNIX_EPOCH)
}

/// A time that is too far away to be told counts as the time itself.
pub(super) fn later(time: SystemTime, by: Duration) -> SystemTime {
    time.checked_add(by).unwrap_or(time)
}
