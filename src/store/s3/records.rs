//! Records in a bucket.
//!
//! ```text
//! records/{collection}/{name}   a record in its envelope
//! ```
//!
//! A record is read, changed, and put back where nobody else has put it since. Objects cannot be deleted on that condition, so
//! removing takes two steps: an envelope that says so is put in the record's place, and then deleted. Whoever finds it there waits
//! until it is gone. Where whoever put it died in between, somebody else takes both steps again when it is a minute old by the
//! engine's clock; so the second step is not begun, or given up, long before that.

mod envelope;
mod together;

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use data_encoding::BASE32_DNSSEC;

use self::envelope::{Envelope, MAX_ENVELOPE};
use self::together::{Found, Place, Together};
use super::bucket::{Bucket, ETag, Notes, Object};
use super::store::S3Store;
use super::walk::Walk;
use crate::store::{Change, Collection, MAX_RECORD, RecordName, RecordStore, StoreError};

/// Keys asked for at a time, as many as engines give.
const PAGE: usize = 1000;
/// Records of one collection that are listed.
const MOST: usize = 1_000_000;
/// When others than who put it look after what says that a record is removed. Engines tell whole seconds.
const ABANDONED: Duration = Duration::from_secs(61);
/// When whoever put it leaves that to them: deleting it is to be over long before.
const TOO_LATE: Duration = Duration::from_secs(15);
/// How often it is found before it is asked how old it is. Mostly it is about to be deleted.
const ASK_AGE: u32 = 8;

/// Records in a bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct Records {
    bucket: Bucket,
    together: Arc<Together<(Collection, RecordName)>>,
    /// [`ABANDONED`], but where a test is not to take so long.
    abandoned: Duration,
}

impl Records {
    pub(super) fn new(bucket: Bucket) -> Self {
        let together = Arc::new(Together::new());
        Self {
            bucket,
            together,
            abandoned: ABANDONED,
        }
    }
}

impl RecordStore for Records {
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        let object = self
            .bucket
            .get(&key(collection, name), MAX_ENVELOPE as u64)?;
        match read(collection, name, &object)? {
            Envelope::Record(bytes) => Ok(bytes.into()),
            Envelope::Removed => Err(StoreError::NotFound),
        }
    }

    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        let place = InBucket {
            bucket: &self.bucket,
            collection,
            name,
            key: key(collection, name),
            found_removed: Cell::new(0),
            abandoned: self.abandoned,
        };
        self.together
            .update(&(collection, name.clone()), &place, change)
    }

    fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        let folder = folder(collection);
        let mut names = Vec::new();
        let mut walk = Walk::through(&folder, MOST);
        let mut after: Option<String> = None;
        loop {
            let page = self.bucket.list(&folder, after.as_deref(), PAGE)?;
            for object in &page.objects {
                let name = object.key.strip_prefix(&folder);
                let name = name.and_then(|name| name.parse::<RecordName>().ok());
                // Whatever else lies there is none of ours.
                walk.met(name.is_some())?;
                names.extend(name);
            }
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => return Ok(names),
            }
        }
    }
}

/// Where one record is.
struct InBucket<'a> {
    bucket: &'a Bucket,
    collection: Collection,
    name: &'a RecordName,
    key: String,
    /// How often it was found being removed.
    found_removed: Cell<u32>,
    abandoned: Duration,
}

impl Place for InBucket<'_> {
    /// `None`: nothing was there.
    type Version = Option<ETag>;

    fn read(&self) -> Result<Option<Found<Self::Version>>, StoreError> {
        let object = match self.bucket.get(&self.key, MAX_ENVELOPE as u64) {
            Err(StoreError::NotFound) => return Ok(Some((None, None))),
            object => object?,
        };
        match read(self.collection, self.name, &object)? {
            Envelope::Record(bytes) => Ok(Some((Some(bytes.into()), Some(object.etag)))),
            Envelope::Removed => {
                self.wait_for_removal(&object)?;
                Ok(None)
            }
        }
    }

    fn write(&self, version: Self::Version, record: Option<Vec<u8>>) -> Result<bool, StoreError> {
        let notes = Notes::default();
        let put = match (&version, &record) {
            (None, None) => return Ok(true),
            (None, Some(record)) => {
                let envelope = Envelope::write(Some(record));
                self.bucket.create(&self.key, envelope, &notes)
            }
            (Some(etag), Some(record)) => {
                let envelope = Envelope::write(Some(record));
                self.bucket.replace(&self.key, etag, envelope, &notes)
            }
            (Some(etag), None) => return self.remove(etag),
        };
        done_unless_overtaken(put)
    }
}

impl InBucket<'_> {
    fn remove(&self, etag: &ETag) -> Result<bool, StoreError> {
        let begun = Instant::now();
        let envelope = Envelope::write(None);
        let put = self
            .bucket
            .replace(&self.key, etag, envelope, &Notes::default());
        if !done_unless_overtaken(put)? {
            return Ok(false);
        }
        // From here on it is gone for everybody. Where the rest fails, whoever puts it anew deletes what is left.
        if begun.elapsed() < TOO_LATE
            && let Err(error) = self.bucket.delete(&self.key)
        {
            let error = &error as &dyn std::error::Error;
            let collection = self.collection.name();
            tracing::debug!(collection, error, "a removed record is to be deleted later");
        }
        Ok(true)
    }

    /// Removes the record once more where whoever did so before came only half the way. Of several who find that, one does it.
    fn wait_for_removal(&self, object: &Object) -> Result<(), StoreError> {
        let found = self.found_removed.get() + 1;
        self.found_removed.set(found);
        if found.is_multiple_of(ASK_AGE) {
            let age = self.engine_now()?.duration_since(object.modified);
            if age.is_ok_and(|age| age >= self.abandoned) {
                self.remove(&object.etag)?;
            }
        }
        Ok(())
    }

    /// What the engine's clock shows, told from an object that was just written.
    fn engine_now(&self) -> Result<SystemTime, StoreError> {
        let mut random = [0; 10];
        getrandom::fill(&mut random).expect("the operating system has randomness");
        let key = format!("probe/{}", BASE32_DNSSEC.encode(&random));
        self.bucket.put(&key, Bytes::new(), &Notes::default())?;
        let head = self.bucket.head(&key);
        self.bucket.delete(&key)?;
        Ok(head?.modified)
    }
}

/// Whether something was put; `false` where something else was there by then.
fn done_unless_overtaken(put: Result<(), StoreError>) -> Result<bool, StoreError> {
    match put {
        Ok(()) => Ok(true),
        Err(StoreError::Exists | StoreError::Replaced | StoreError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

fn read(
    collection: Collection,
    name: &RecordName,
    object: &Object,
) -> Result<Envelope, StoreError> {
    Envelope::parse(&object.bytes).ok_or_else(|| StoreError::DamagedRecord {
        collection: collection.name(),
        name: name.clone(),
    })
}

fn folder(collection: Collection) -> String {
    format!("records/{}/", collection.name())
}

fn key(collection: Collection, name: &RecordName) -> String {
    format!("{}{name}", folder(collection))
}

/// A change that would make a record too large.
fn too_large() -> StoreError {
    let source = io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a record has at most {MAX_RECORD} bytes"),
    );
    StoreError::io("write", "a record", source)
}

impl RecordStore for S3Store {
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        self.records.record(collection, name)
    }

    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        self.records.update_record(collection, name, change)
    }

    fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError> {
        self.records.records(collection)
    }
}

#[cfg(test)]
mod tests;
