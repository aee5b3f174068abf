//! What is still to be told to whom, kept in the store.
//!
//! A record is named by its upload. Where several servers share the store, the name begins with that of the server that is to tell
//! of it: each tells of what is its own, and one of them makes its own what servers have left that died.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::Counters;
use super::message::{Message, Waiting, unix};
use crate::store::{
    Change, Collection, NodeId, RecordName, SealedFile, Store, StoreError, UploadId,
};
use crate::upload::{Finished, read_record};

/// Uploads that may wait to be told by one server. Past that, uploads go on and nobody is told of them.
const MAX_WAITING: usize = 100_000;
/// How many are dropped between two lines in the log.
const TELL_DROPPED: u64 = 1000;
/// Uploads of which it could not be noted what became of them, to be looked at again.
const MAX_UNCLEAR: usize = 10_000;

/// An upload, with the endpoints that are not told yet.
pub(super) type Left = (UploadId, BTreeSet<String>);

pub(super) struct Outbox {
    store: Arc<dyn Store>,
    /// This server, where there are others.
    node: Option<NodeId>,
    /// The names of all endpoints.
    endpoints: BTreeSet<String>,
    /// How many records there are of this server's.
    waiting: AtomicUsize,
    /// Uploads whose records say less than is known.
    unclear: Mutex<BTreeSet<UploadId>>,
    counters: Arc<Counters>,
}

/// Whose record it is, and of which upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    node: Option<NodeId>,
    id: UploadId,
}

impl Place {
    fn parse(name: &RecordName) -> Option<Self> {
        let (node, id) = match name.as_str().split_once('-') {
            Some((node, id)) => (Some(node.parse().ok()?), id),
            None => (None, name.as_str()),
        };
        let id = id.parse().ok()?;
        Some(Self { node, id })
    }

    fn name(&self) -> RecordName {
        match &self.node {
            None => RecordName::from(&self.id),
            Some(node) => format!("{node}-{}", self.id)
                .parse()
                .expect("ids and a dash name a record"),
        }
    }
}

impl Outbox {
    pub(super) fn new(
        store: Arc<dyn Store>,
        node: Option<NodeId>,
        endpoints: Vec<String>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            store,
            node,
            endpoints: endpoints.into_iter().collect(),
            waiting: AtomicUsize::new(0),
            unclear: Mutex::default(),
            counters,
        }
    }

    /// The name of this server's record of an upload.
    fn name(&self, id: &UploadId) -> RecordName {
        let (node, id) = (self.node, *id);
        Place { node, id }.name()
    }

    /// What an earlier run left, where this server is the only one. Blocks.
    pub(super) fn take_up(&self) -> Result<Vec<Left>, StoreError> {
        let mut found = Vec::new();
        for place in self
            .places()?
            .into_iter()
            .filter(|place| place.node.is_none())
        {
            self.take_up_logged(&place.id, &mut found);
        }
        self.waiting.store(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    /// Makes this server's own what those have left that `are_dead`, as much as may wait. Blocks.
    pub(super) fn adopt(
        &self,
        mut are_dead: impl FnMut(&NodeId) -> Result<bool, StoreError>,
    ) -> Result<Vec<Left>, StoreError> {
        let mut found = Vec::new();
        let mut known = BTreeMap::new();
        for place in self.places()? {
            let is_dead = match place.node {
                node if node == self.node => false,
                // From before the store was shared.
                None => true,
                Some(node) => match known.get(&node) {
                    Some(is_dead) => *is_dead,
                    None => *known.entry(node).or_insert(are_dead(&node)?),
                },
            };
            if is_dead && self.waiting.load(Ordering::Relaxed) < MAX_WAITING {
                self.take_over(&place)?;
                self.take_up_logged(&place.id, &mut found);
            }
        }
        Ok(found)
    }

    /// Puts another server's record among this one's, and then removes it there: an upload may be told of twice, but not never.
    fn take_over(&self, place: &Place) -> Result<(), StoreError> {
        let record = match self.store.record(Collection::Outbox, &place.name()) {
            Err(StoreError::NotFound) => return Ok(()),
            record => record?,
        };
        let mut is_new = false;
        self.store
            .update_record(Collection::Outbox, &self.name(&place.id), &mut |own| {
                is_new = own.is_none();
                if is_new {
                    Change::Put(record.clone())
                } else {
                    Change::Keep
                }
            })?;
        if is_new {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.store
            .update_record(Collection::Outbox, &place.name(), &mut |_| Change::Remove)
    }

    /// Looks again at uploads of which it could not be noted what became of them. Blocks.
    pub(super) fn clear_up(&self) -> Vec<Left> {
        let unclear =
            std::mem::take(&mut *self.unclear.lock().unwrap_or_else(PoisonError::into_inner));
        let mut found = Vec::new();
        for id in unclear {
            self.take_up_logged(&id, &mut found);
        }
        found
    }

    /// It could not be noted what became of an upload. Where there are others, no start will look at it: this server does, later.
    pub(super) fn is_unclear(&self, id: &UploadId) {
        let mut unclear = self.unclear.lock().unwrap_or_else(PoisonError::into_inner);
        if self.node.is_some() && unclear.len() < MAX_UNCLEAR {
            unclear.insert(*id);
        }
    }

    fn places(&self) -> Result<Vec<Place>, StoreError> {
        let names = self.store.records(Collection::Outbox)?;
        let place = |name: &RecordName| {
            let place = Place::parse(name);
            if place.is_none() {
                tracing::warn!(%name, "the outbox holds something that is not ours");
            }
            place
        };
        Ok(names.iter().filter_map(place).collect())
    }

    fn take_up_logged(&self, id: &UploadId, found: &mut Vec<Left>) {
        match self.take_up_one(id) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => found.push((*id, left)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%id, error, "webhooks are told of an upload later, or after the next start");
                self.is_unclear(id);
            }
        }
    }

    /// Who is still to be told of an upload. Where it is nobody, its record is removed.
    fn take_up_one(&self, id: &UploadId) -> Result<BTreeSet<String>, StoreError> {
        let record = match self.store.record(Collection::Outbox, &self.name(id)) {
            // It was told meanwhile.
            Err(StoreError::NotFound) => return Ok(BTreeSet::new()),
            record => record?,
        };
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
        let removes = change == Change::Remove;
        if change != Change::Put(record) {
            let change = || change.clone();
            self.store
                .update_record(Collection::Outbox, &self.name(id), &mut |_| change())?;
        }
        if removes {
            self.count_removed();
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
            .update_record(Collection::Outbox, &self.name(id), &mut |record| {
                let waiting = record.and_then(Waiting::parse);
                removed = matches!(waiting, Some(Waiting::Publishing));
                if removed {
                    Change::Remove
                } else {
                    Change::Keep
                }
            })?;
        if removed {
            self.count_removed();
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

    fn count_removed(&self) {
        let count = |waiting: usize| Some(waiting.saturating_sub(1));
        let _ = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    /// Puts a record, where there is one already or still room for one.
    fn put_new(&self, id: &UploadId, waiting: &Waiting, last: bool) -> Result<bool, StoreError> {
        let room = self.waiting.load(Ordering::Relaxed) < MAX_WAITING;
        let (mut is_new, mut put) = (false, false);
        self.store
            .update_record(Collection::Outbox, &self.name(id), &mut |record| {
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
        let record = match self.store.record(Collection::Outbox, &self.name(id)) {
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
            .update_record(Collection::Outbox, &self.name(id), &mut |record| {
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
            self.count_removed();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
