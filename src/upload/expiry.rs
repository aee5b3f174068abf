//! Finished uploads that are kept for a time, and then deleted.
//!
//! Until when stands in the upload's record and nowhere else. So that not every record has to be read all the time, those
//! that are to go soon are noted in memory, as they are finished and whenever [all records were looked
//! at](Uploads::note_expiries): at start, and once a day. What is noted is only where to look. The record decides.
//!
//! A store that several servers share keeps a list instead, in the order of time, and [one of them](Uploads::delete_listed) looks at
//! its beginning again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Uploads;
use super::manifest::Record;
use super::observer::{Finished, Observer, Why};
use super::open::{ReadError, read_record};
use super::several::for_each;
use crate::store::{Expiring, SealedFile, StoreError, UploadId};

/// What goes later than that is noted when all records are looked at the next time.
const HORIZON: Duration = Duration::from_hours(48);
/// Uploads that are deleted in one go.
const AT_ONCE: usize = 1000;
/// When an upload is tried again that could not be deleted.
const TRY_AGAIN: Duration = Duration::from_mins(1);
/// For how long an upload that is listed and not there may still be about to be published.
const SOON_THERE: Duration = Duration::from_mins(10);
/// Listed uploads that are deleted at the same time.
const SIDE_BY_SIDE: usize = 8;
/// Listed uploads that could not be deleted and are passed over for a while.
const MAX_PASSED_OVER: usize = 10_000;

/// Uploads that are to go soon, by when.
#[derive(Default)]
pub(super) struct Expiries {
    noted: Mutex<BTreeSet<(SystemTime, UploadId)>>,
    /// Of those that the store lists, the ones that are not looked at before a time.
    passed_over: Mutex<BTreeMap<UploadId, SystemTime>>,
}

/// What became of an upload whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Deleted,
    /// It was not there.
    Gone,
    /// Its record says when it is to go, or that it is not.
    Stays(Option<SystemTime>),
}

impl Expiries {
    fn note(&self, id: &UploadId, expires: SystemTime, now: SystemTime) {
        if expires < now + HORIZON {
            self.lock().insert((expires, *id));
        }
    }

    fn is_due(&self, now: SystemTime) -> bool {
        self.lock().first().is_some_and(|(time, _)| *time <= now)
    }

    fn take_due(&self, now: SystemTime) -> Vec<UploadId> {
        let mut noted = self.lock();
        let mut due = Vec::new();
        while let Some((time, id)) = noted.pop_first() {
            if time > now || due.len() == AT_ONCE {
                noted.insert((time, id));
                break;
            }
            due.push(id);
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(SystemTime, UploadId)>> {
        // Single entries come and go: a panic elsewhere cannot have left it half done.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passed_over(&self) -> MutexGuard<'_, BTreeMap<UploadId, SystemTime>> {
        let passed_over = self.passed_over.lock();
        passed_over.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Expiries {
    fn finished(&self, upload: &Finished) {
        if let Some(expires) = upload.expires {
            self.note(&upload.id, expires, SystemTime::now());
        }
    }
}

impl Uploads {
    /// Looks at the records of the next `limit` uploads after `after` for those that are to go soon. Gives the id to go on
    /// after, where there may be more. Blocks.
    pub fn note_expiries(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Option<UploadId>, StoreError> {
        let ids = self.store.list(after, limit)?;
        for id in &ids {
            match self.expiry(id) {
                Ok(Some(expires)) => self.expiries.note(id, expires, SystemTime::now()),
                Ok(None) | Err(ReadError::Store(StoreError::NotFound)) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%id, error, "when an upload is to be deleted cannot be told: it stays");
                }
            }
        }
        Ok(ids.last().copied().filter(|_| ids.len() == limit))
    }

    /// Whether there is something to delete.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expiries.is_due(now)
    }

    /// Deletes noted uploads whose time is over. Gives their number. Blocks.
    pub fn delete_expired(&self, now: SystemTime) -> usize {
        let mut deleted = 0;
        for id in self.expiries.take_due(now) {
            match self.delete_if_expired(&id, now) {
                Ok(Fate::Deleted) => deleted += 1,
                Ok(Fate::Stays(Some(later))) => self.expiries.note(&id, later, now),
                // Somebody deleted it, perhaps not to its end; the next start goes on with that.
                Ok(Fate::Gone | Fate::Stays(None)) => {}
                Err(error) => {
                    log_failure(&id, &error);
                    self.expiries.note(&id, now + TRY_AGAIN, now);
                }
            }
        }
        deleted
    }

    /// Deletes uploads that the store lists as over, so many at most. Gives their number, and whether there may be more. Blocks.
    pub fn delete_listed(&self, now: SystemTime) -> Result<(usize, bool), StoreError> {
        let passed_over = {
            let mut passed_over = self.expiries.passed_over();
            passed_over.retain(|_, until| *until > now);
            passed_over.clone()
        };
        let Some(mut listed) = self.store.expiring(now, AT_ONCE + passed_over.len())? else {
            return Ok((0, false));
        };
        let more = listed.len() == AT_ONCE + passed_over.len();
        listed.retain(|listed| listed.time <= now && !passed_over.contains_key(&listed.id));
        let fates = Mutex::new(Vec::with_capacity(listed.len()));
        for_each(&listed, SIDE_BY_SIDE, |listed| {
            let fate = self.delete_if_expired(&listed.id, now);
            let mut fates = fates.lock().unwrap_or_else(PoisonError::into_inner);
            fates.push((*listed, fate));
        });
        let fates = fates.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut deleted = 0;
        let mut done = Vec::with_capacity(fates.len());
        for (listed, fate) in fates {
            deleted += usize::from(matches!(fate, Ok(Fate::Deleted)));
            match listed_until(&listed, fate, now) {
                None => done.push(listed),
                Some(until) => self.pass_over(&listed.id, until),
            }
        }
        if !done.is_empty() {
            self.store.expired(&done)?;
        }
        Ok((deleted, more && !done.is_empty()))
    }

    fn pass_over(&self, id: &UploadId, until: SystemTime) {
        let mut passed_over = self.expiries.passed_over();
        if passed_over.len() < MAX_PASSED_OVER {
            passed_over.insert(*id, until);
        }
    }

    fn delete_if_expired(&self, id: &UploadId, now: SystemTime) -> Result<Fate, ReadError> {
        match self.expiry(id) {
            Ok(Some(expires)) if expires <= now => {}
            Ok(later) => return Ok(Fate::Stays(later)),
            Err(ReadError::Store(StoreError::NotFound)) => return Ok(Fate::Gone),
            Err(error) => return Err(error),
        }
        match self.remove(id, Why::Expired, None) {
            Err(StoreError::NotFound) => Ok(Fate::Gone),
            removed => Ok(removed.map(|_| Fate::Deleted)?),
        }
    }

    /// When an upload is to be deleted, as its record says.
    fn expiry(&self, id: &UploadId) -> Result<Option<SystemTime>, ReadError> {
        let record = self.read(id, |upload| read_record(&*upload.open(SealedFile::Meta)?))?;
        match &record.expires {
            None => Ok(None),
            Some(_) => agreed(&record).map(Some).ok_or(ReadError::Record),
        }
    }

    /// What is gone need not be looked at when its time is over. Where that fails, it is looked at in vain.
    pub(super) fn take_off_the_list(&self, id: &UploadId, expires: SystemTime) {
        let listed = Expiring {
            time: expires,
            id: *id,
        };
        if let Err(error) = self.store.expired(&[listed]) {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(%id, error, "an upload that is gone is still listed as one that is to go");
        }
    }
}

/// When an upload is to be deleted, as its record says.
pub(super) fn agreed(record: &Record) -> Option<SystemTime> {
    humantime::parse_rfc3339(record.expires.as_ref()?).ok()
}

/// When to look again at an upload that stays on the list. `None`: it goes off it.
fn listed_until(
    listed: &Expiring,
    fate: Result<Fate, ReadError>,
    now: SystemTime,
) -> Option<SystemTime> {
    match fate {
        Ok(Fate::Deleted | Fate::Stays(None)) => None,
        // It is listed before it is published.
        Ok(Fate::Gone) => (listed.time.checked_add(SOON_THERE)).filter(|until| *until > now),
        // The list knows whole seconds.
        Ok(Fate::Stays(Some(until))) => Some(until),
        Err(error) => {
            log_failure(&listed.id, &error);
            Some(now + TRY_AGAIN)
        }
    }
}

fn log_failure(id: &UploadId, error: &ReadError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(%id, error, "an upload that has expired could not be deleted; trying again later");
}
