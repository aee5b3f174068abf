//! What is still to be told to whom, kept in the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::Counters;
use super::message::{Message, Waiting, unix};
use crate::store::{Change, Collection, SealedFile, Store, StoreError, UploadId};
use crate::upload::{Finished, read_record};

/// Uploads that may wait to be told. Past that, uploads go on and nobody is told of them.
const MAX_WAITING: usize = 100_000;
/// How many are dropped between two lines in the log.
const TELL_DROPPED: u64 = 1000;

pub(super) struct Outbox {
    store: Arc<dyn Store>,
    /// The names of all endpoints.
    endpoints: BTreeSet<String>,
    /// How many records there are.
    waiting: AtomicUsize,
    counters: Arc<Counters>,
}

impl Outbox {
    pub(super) fn new(
        store: Arc<dyn Store>,
        endpoints: Vec<String>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            store,
            endpoints: endpoints.into_iter().collect(),
            waiting: AtomicUsize::new(0),
            counters,
        }
    }

    /// What an earlier run left, with the endpoints that are not told yet. Blocks.
    pub(super) fn take_up(&self) -> Result<Vec<(UploadId, BTreeSet<String>)>, StoreError> {
        let mut found = Vec::new();
        for name in self.store.records(Collection::Outbox)? {
            let Ok(id) = name.as_str().parse::<UploadId>() else {
                tracing::warn!(%name, "the outbox holds something that is not ours");
                continue;
            };
            match self.take_up_one(&id) {
                Ok(left) if left.is_empty() => {}
                Ok(left) => found.push((id, left)),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%id, error, "webhooks are told of an upload after the next start only");
                }
            }
        }
        self.waiting.store(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    /// Who is still to be told of an upload. Where it is nobody, its record is removed.
    fn take_up_one(&self, id: &UploadId) -> Result<BTreeSet<String>, StoreError> {
        let record = self.store.record(Collection::Outbox, &id.into())?;
        let waiting = Waiting::parse(&record);
        let (message, since, mut left) = if let Some(Waiting::Finished {
            message,
            since,
            left,
        }) = waiting
        {
            (Some(message), since, left)
        } else {
            // What the server did not come to say, the upload itself does.
            let now = unix(SystemTime::now());
            (self.published(id)?, now, self.endpoints.clone())
        };
        // Who is no longer configured is not told.
        left.retain(|name| self.endpoints.contains(name));
        let change = match message {
            Some(message) if !left.is_empty() => {
                let left = left.clone();
                let waiting = Waiting::Finished {
                    message,
                    since,
                    left,
                };
                Change::Put(waiting.to_bytes())
            }
            _ => {
                left.clear();
                Change::Remove
            }
        };
        if change != Change::Put(record) {
            let change = || change.clone();
            self.store
                .update_record(Collection::Outbox, &id.into(), &mut |_| change())?;
        }
        Ok(left)
    }

    /// What can be said of an upload that is published; `None` where it is not.
    fn published(&self, id: &UploadId) -> Result<Option<Message>, StoreError> {
        let meta = match self.store.open(id) {
            Err(StoreError::NotFound) => return Ok(None),
            upload => upload?.open(SealedFile::Meta)?,
        };
        // How far its publishing came is not known: perhaps not to the last sync.
        self.store.settle(id)?;
        Ok(read_record(&*meta)
            .ok()
            .map(|record| Message::found(&record)))
    }

    /// Notes that an upload is about to be published. Blocks.
    pub(super) fn mark(&self, id: &UploadId) -> Result<(), StoreError> {
        self.put_new(id, &Waiting::Publishing, false).map(|_| ())
    }

    /// Takes the mark back: it could not be published. Blocks.
    pub(super) fn unmark(&self, id: &UploadId) -> Result<(), StoreError> {
        let mut removed = false;
        self.store
            .update_record(Collection::Outbox, &id.into(), &mut |record| {
                let waiting = record.and_then(Waiting::parse);
                removed = matches!(waiting, Some(Waiting::Publishing));
                if removed {
                    Change::Remove
                } else {
                    Change::Keep
                }
            })?;
        if removed {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Notes that an upload is finished, to be told. Says whether it will be. Blocks.
    pub(super) fn put(&self, upload: &Finished) -> Result<bool, StoreError> {
        let waiting = Waiting::Finished {
            message: Message::finished(upload),
            since: unix(SystemTime::now()),
            left: self.endpoints.clone(),
        };
        self.put_new(&upload.id, &waiting, true)
    }

    /// Puts a record, where there is one already or still room for one.
    fn put_new(&self, id: &UploadId, waiting: &Waiting, last: bool) -> Result<bool, StoreError> {
        let room = self.waiting.load(Ordering::Relaxed) < MAX_WAITING;
        let (mut is_new, mut put) = (false, false);
        self.store
            .update_record(Collection::Outbox, &id.into(), &mut |record| {
                is_new = record.is_none();
                put = room || !is_new;
                if put {
                    Change::Put(waiting.to_bytes())
                } else {
                    Change::Keep
                }
            })?;
        if put && is_new {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
        if !put && last {
            let dropped = self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            if dropped.is_multiple_of(TELL_DROPPED) {
                tracing::warn!(
                    dropped = dropped + 1,
                    waiting = MAX_WAITING,
                    "webhooks are not told of uploads: too many wait already"
                );
            }
        }
        Ok(put)
    }

    /// The message about an upload, and since when it waits. `None`: nobody is to be told. Blocks.
    pub(super) fn message(&self, id: &UploadId) -> Result<Option<(Message, u64)>, StoreError> {
        let record = match self.store.record(Collection::Outbox, &id.into()) {
            Err(StoreError::NotFound) => return Ok(None),
            record => record?,
        };
        Ok(match Waiting::parse(&record) {
            Some(Waiting::Finished { message, since, .. }) => Some((message, since)),
            _ => None,
        })
    }

    /// Notes that an endpoint was told, or will not be. Blocks.
    pub(super) fn settle(&self, id: &UploadId, endpoint: &str) -> Result<(), StoreError> {
        let mut removed = false;
        self.store
            .update_record(Collection::Outbox, &id.into(), &mut |record| {
                removed = false;
                let Some(Waiting::Finished {
                    message,
                    since,
                    mut left,
                }) = record.and_then(Waiting::parse)
                else {
                    return Change::Keep;
                };
                left.remove(endpoint);
                removed = left.is_empty();
                if removed {
                    return Change::Remove;
                }
                let waiting = Waiting::Finished {
                    message,
                    since,
                    left,
                };
                Change::Put(waiting.to_bytes())
            })?;
        if removed {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::store::{LocalStore, RecordStore};
    use crate::upload::Kind;

    #[test]
    fn a_mark_is_taken_back_and_what_is_to_be_told_is_not() {
        let data = TempDir::new().unwrap();
        let store = Arc::new(LocalStore::open(data.path()).unwrap());
        let names = vec!["https://example.org/".to_owned()];
        let outbox = Outbox::new(store.clone(), names, Arc::default());
        let now = SystemTime::now();
        let id = UploadId::generate(now);
        let waiting = || {
            let records = store.records(Collection::Outbox).unwrap().len();
            assert_eq!(outbox.waiting.load(Ordering::Relaxed), records);
            records
        };
        outbox.unmark(&id).unwrap();
        outbox.mark(&id).unwrap();
        assert_eq!(waiting(), 1);
        outbox.unmark(&id).unwrap();
        outbox.unmark(&id).unwrap();
        assert_eq!(waiting(), 0);

        let finished = Finished {
            id,
            submission: id,
            kind: Kind::File,
            size: 1,
            sealed_size: 200,
            link: None,
            by: "anonymous".to_owned(),
            from: None,
            time: now,
            expires: None,
        };
        outbox.mark(&id).unwrap();
        assert!(outbox.put(&finished).unwrap());
        outbox.unmark(&id).unwrap();
        assert_eq!(waiting(), 1);
    }
}
