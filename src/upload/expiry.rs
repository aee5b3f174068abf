//! Finished uploads that are kept for a time, and then deleted.
//!
//! Until when stands in the upload's record and nowhere else. So that not every record has to be read all the time, those
//! that are to go soon are noted in memory, as they are finished and whenever [all records were looked
//! at](Uploads::note_expiries): at start, and once a day. What is noted is only where to look. The record decides.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::Uploads;
use super::observer::{Finished, Observer, Why};
use super::open::{ReadError, read_record};
use crate::store::{SealedFile, StoreError, UploadId};

/// What goes later than that is noted when all records are looked at the next time.
const HORIZON: Duration = Duration::from_hours(48);
/// Uploads that are deleted in one go.
const AT_ONCE: usize = 1000;
/// When an upload is tried again that could not be deleted.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// Uploads that are to go soon, by when.
#[derive(Default)]
pub(super) struct Expiries(Mutex<BTreeSet<(SystemTime, UploadId)>>);

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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
                Ok(gone) => deleted += usize::from(gone),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%id, error, "an upload that has expired could not be deleted; trying again later");
                    self.expiries.note(&id, now + TRY_AGAIN, now);
                }
            }
        }
        deleted
    }

    fn delete_if_expired(&self, id: &UploadId, now: SystemTime) -> Result<bool, ReadError> {
        match self.expiry(id) {
            Ok(Some(expires)) if expires <= now => {}
            Ok(Some(later)) => {
                self.expiries.note(id, later, now);
                return Ok(false);
            }
            // Somebody deleted it, perhaps not to its end; the next start goes on with that.
            Ok(None) | Err(ReadError::Store(StoreError::NotFound)) => return Ok(false),
            Err(error) => return Err(error),
        }
        match self.remove(id, Why::Expired, None) {
            Err(StoreError::NotFound) => Ok(false),
            removed => Ok(removed.map(|_| true)?),
        }
    }

    /// When an upload is to be deleted, as its record says.
    fn expiry(&self, id: &UploadId) -> Result<Option<SystemTime>, ReadError> {
        let record = self.read(id, |upload| read_record(&*upload.open(SealedFile::Meta)?))?;
        let Some(expires) = record.expires else {
            return Ok(None);
        };
        let expires = humantime::parse_rfc3339(&expires);
        expires.map(Some).map_err(|_| ReadError::Record)
    }
}
