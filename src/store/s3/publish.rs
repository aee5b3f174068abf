//! Publishing: everything but the manifests first, then these, each of which makes its upload visible.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bucket::Notes;
use super::notes;
use super::side_by_side::side_by_side;
use super::store::S3Store;
use super::{keys, unfinished};
use crate::store::{Expiring, Publication, StoreError};

/// How long to ask again where the engine does not say whether it has published.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);

const PAUSE: Duration = Duration::from_secs(1);

impl S3Store {
    pub(super) fn publish_all(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        let ids: BTreeSet<_> = uploads.iter().map(|upload| upload.id).collect();
        if ids.len() < uploads.len() {
            return Err(StoreError::Exists);
        }
        let size = uploads.iter().map(size_of_meta).sum();
        self.quota.take(size)?;
        let published = self.prepare(uploads).and_then(|notes| {
            let uploads: Vec<_> = uploads.iter().zip(notes).collect();
            self.commit(&uploads)
        });
        match &published {
            Ok(()) => {
                for upload in uploads {
                    unfinished::staged_no_more(self, &upload.id);
                }
            }
            // What may be there counts.
            Err(StoreError::Unsettled { .. }) => {}
            Err(_) => self.quota.give_back(size),
        }
        published
    }

    /// Puts what has to be there before the manifests.
    fn prepare(&self, uploads: &[Publication]) -> Result<Vec<Notes>, StoreError> {
        let prepared = side_by_side(uploads, |upload| {
            if let Some(time) = upload.expires {
                let id = upload.id;
                self.expiries.put(&Expiring { time, id })?;
            }
            notes::write(&self.bucket, &upload.id, &upload.meta, &upload.segments)
        });
        prepared.into_iter().collect()
    }

    fn commit(&self, uploads: &[(&Publication, Notes)]) -> Result<(), StoreError> {
        let failed = AtomicBool::new(false);
        let committed = side_by_side(uploads, |(upload, notes)| {
            // One that was not tried is not there.
            if failed.load(Relaxed) {
                return None;
            }
            let created = self.create_meta(upload, notes);
            if let Err(failure) = &created {
                failed.store(true, Relaxed);
                if !failure.is_certain {
                    self.unsettled.insert(upload.id);
                }
            }
            Some(created)
        });
        let tried: Vec<_> = committed.into_iter().flatten().collect();
        let may_be_there = |tried: &Result<(), Failure>| match tried {
            Ok(()) => true,
            Err(failure) => !failure.is_certain,
        };
        let visible = tried.iter().any(may_be_there);
        match tried.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some(failure) if !visible => Err(failure.error),
            Some(failure) => Err(StoreError::Unsettled {
                source: Box::new(failure.error),
            }),
        }
    }

    /// Tries until the engine has said whether it did it: what it was asked and did not answer, it may yet do when the upload was given
    /// up and its segments are gone.
    fn create_meta(&self, upload: &Publication, notes: &Notes) -> Result<(), Failure> {
        let until = Instant::now() + self.patience();
        let mut is_first = true;
        loop {
            let meta = Bytes::copy_from_slice(&upload.meta);
            let (created, is_certain) =
                (self.bucket).create_surely(&keys::meta(&upload.id), meta, notes);
            let Err(error) = created else {
                return Ok(());
            };
            // A refusal says nothing of what was asked before it and not answered.
            let is_certain = matches!(error, StoreError::Exists) || (is_certain && is_first);
            is_first = false;
            if is_certain || Instant::now() >= until {
                return Err(Failure { error, is_certain });
            }
            tracing::debug!(id = %upload.id, %error, "trying again to publish");
            std::thread::sleep(PAUSE);
        }
    }

    /// Long enough for the ticket of the first try to die, where the engine takes those.
    fn patience(&self) -> Duration {
        if self.bucket.engine().conditional_writes {
            self.patience
        } else {
            self.patience * 2
        }
    }
}

/// Why an upload was not published.
struct Failure {
    error: StoreError,
    /// Nothing was put, nor will be: an engine that does not answer may still have heard.
    is_certain: bool,
}

fn size_of_meta(upload: &Publication) -> u64 {
    upload.meta.len() as u64
}
