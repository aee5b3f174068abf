//! The client of a bucket: requests with deadlines, retries and bounds, and what the engine behind it is found to keep.
//!
//! All calls block, for a bounded time: call from a thread that may.
#![expect(clippy::needless_pass_by_value, reason = "bodies are handed over")]

mod client;
mod conditional;
mod connector;
mod copy;
mod counts;
mod endpoint;
mod engine;
mod error;
mod exchange;
mod health;
mod list;
mod object;
mod parts;
mod probe;
mod requests;
mod runtime;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE32_DNSSEC;
use futures_util::{StreamExt, stream};
pub(super) use object_store::PutPayload;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(super) use endpoint::Endpoint;
pub use endpoint::EndpointError;
pub use engine::{Checksum, Engine};
pub use object::RequestCounts;
pub(super) use object::{ETag, Folders, Head, Listed, Notes, Object, Page};
pub(super) use parts::Parts;

use super::settings::S3Settings;
use crate::store::StoreError;
use conditional::Written;
use connector::{Connector, Deadlines};
use error::BucketError;
use probe::Found;
use requests::{Condition, MAX_KEYS, Requests};
use runtime::Runtime;

/// Objects that are read at the same time.
const READ_AT_ONCE: usize = 32;
/// Objects that are deleted at the same time, where each takes a request.
const DELETE_AT_ONCE: usize = 16;
/// So few are deleted sooner one by one.
const FEW: usize = 3;
/// How long an answer shows that the engine answers.
const FRESH: Duration = Duration::from_secs(1);
/// Where the end of a check's time was seen so much too late, this machine stood still, and perhaps the engine with it: that says nothing
/// of the engine, and it is asked once more.
const STOOD_STILL: Duration = Duration::from_millis(500);

/// A bucket. Cheap to clone.
#[derive(Clone)]
pub(super) struct Bucket(Arc<Inner>);

struct Inner {
    /// Before everything that uses it, so that it is shut down first.
    runtime: Runtime,
    requests: Requests,
    /// Sends nothing twice.
    hasty: Requests,
    connector: Connector,
    deadlines: Deadlines,
    engine: Engine,
    place: String,
    /// When it was last asked whether it answers, and whether it did.
    asked: Mutex<Option<(Instant, bool)>>,
}

impl Bucket {
    /// Connects, and tries what the engine keeps.
    pub(super) fn connect(settings: &S3Settings) -> Result<Self, StoreError> {
        Self::connect_within(settings, Deadlines::default())
    }

    /// Connects to read, for which nothing has to be tried: whether the bucket answers at all is looked at.
    pub(super) fn connect_to_read(settings: &S3Settings) -> Result<Self, StoreError> {
        Self::connect_by(settings, |place| {
            Self::connect_and_look(settings, Deadlines::default(), place)
        })
    }

    fn connect_within(settings: &S3Settings, deadlines: Deadlines) -> Result<Self, StoreError> {
        Self::connect_by(settings, |place| {
            Self::connect_and_probe(settings, deadlines, place)
        })
    }

    fn connect_by(
        settings: &S3Settings,
        connect: impl FnOnce(&str) -> Result<Self, BucketError>,
    ) -> Result<Self, StoreError> {
        let place = settings.location().to_string();
        connect(&place).map_err(|error| {
            if error.is_passing() {
                StoreError::Unavailable {
                    source: error.into(),
                }
            } else {
                StoreError::Refused {
                    doing: "use",
                    place,
                    source: error.into(),
                }
            }
        })
    }

    fn connect_and_probe(
        settings: &S3Settings,
        deadlines: Deadlines,
        place: &str,
    ) -> Result<Self, BucketError> {
        let (runtime, connector) = Self::runtime_and_connector(settings, deadlines)?;
        let found = runtime.wait(probe::probe(settings, &connector, deadlines))?;
        found.engine.log(&settings.engine_name(), place);
        Ok(Self::assembled(runtime, connector, deadlines, found, place))
    }

    fn connect_and_look(
        settings: &S3Settings,
        deadlines: Deadlines,
        place: &str,
    ) -> Result<Self, BucketError> {
        let (runtime, connector) = Self::runtime_and_connector(settings, deadlines)?;
        let found = runtime.wait(probe::look(settings, &connector, deadlines))?;
        Ok(Self::assembled(runtime, connector, deadlines, found, place))
    }

    fn runtime_and_connector(
        settings: &S3Settings,
        deadlines: Deadlines,
    ) -> Result<(Runtime, Connector), BucketError> {
        let tls = crate::tls::client_config(settings.cacert.as_deref());
        let tls = tls.map_err(|error| BucketError::Setup(error.into()))?;
        Ok((
            Runtime::start()?,
            Connector::new(tls.as_ref().clone(), deadlines),
        ))
    }

    fn assembled(
        runtime: Runtime,
        connector: Connector,
        deadlines: Deadlines,
        found: Found,
        place: &str,
    ) -> Self {
        Self(Arc::new(Inner {
            runtime,
            requests: found.requests,
            hasty: found.hasty,
            connector,
            deadlines,
            engine: found.engine,
            place: place.to_owned(),
            asked: Mutex::new(None),
        }))
    }

    /// The same as if the engine had no conditional writes.
    #[cfg(test)]
    pub(super) fn without_conditions(mut self) -> Self {
        let inner = Arc::get_mut(&mut self.0).expect("nobody else has it yet");
        inner.engine.conditional_writes = false;
        self
    }

    /// Puts an object, over whatever is there.
    pub(super) fn put(
        &self,
        key: &str,
        body: impl Into<PutPayload>,
        notes: &Notes,
    ) -> Result<(), StoreError> {
        let put = (self.0.requests).put(key, body.into(), notes, &Condition::Always);
        self.call("store", key, put).map(|_| ())
    }

    /// The same, and whether what it gives is certain: the engine neither did it nor may yet do it where it failed.
    pub(super) fn put_surely(
        &self,
        key: &str,
        body: impl Into<PutPayload>,
        notes: &Notes,
    ) -> (Result<(), StoreError>, bool) {
        let put = (self.0.requests).put(key, body.into(), notes, &Condition::Always);
        let put = self.wait(put).map(drop);
        self.surely("store", key, put)
    }

    /// Puts an object where there is none: [`StoreError::Exists`] where there is. One with the same bytes is taken for what this
    /// call put there and heard no answer to.
    pub(super) fn create(&self, key: &str, body: Bytes, notes: &Notes) -> Result<(), StoreError> {
        self.create_surely(key, body, notes).0
    }

    /// The same, and whether what it gives is certain, as [`put_surely`](Self::put_surely) does.
    pub(super) fn create_surely(
        &self,
        key: &str,
        body: Bytes,
        notes: &Notes,
    ) -> (Result<(), StoreError>, bool) {
        let requests = &self.0.requests;
        let written = if self.0.engine.conditional_writes {
            self.wait(conditional::create(requests, key, &body, notes))
        } else {
            self.wait(conditional::create_in_turn(requests, key, &body, notes))
        };
        match written {
            Ok(Written::Not) => (Err(StoreError::Exists), true),
            written => self.surely("store", key, written.map(drop)),
        }
    }

    /// Puts an object in the place of `old`: [`StoreError::Replaced`] where that is not there any more. One with the same bytes is
    /// taken for what this call put there.
    pub(super) fn replace(
        &self,
        key: &str,
        old: &ETag,
        body: Bytes,
        notes: &Notes,
    ) -> Result<(), StoreError> {
        let requests = &self.0.requests;
        let written = if self.0.engine.conditional_writes {
            let replace = conditional::replace(requests, key, old, &body, notes);
            self.call("replace", key, replace)
        } else {
            let replace = conditional::replace_in_turn(requests, key, old, &body, notes);
            self.call("replace", key, replace)
        };
        match written? {
            Written::Done => Ok(()),
            Written::Not => Err(StoreError::Replaced),
        }
    }

    /// A whole object of at most so many bytes, or [`StoreError::NotFound`].
    pub(super) fn get(&self, key: &str, most: u64) -> Result<Object, StoreError> {
        self.call("read", key, self.0.requests.get(key, most))
    }

    /// Several objects, many at a time, in the order of their keys' list.
    pub(super) fn get_all(&self, keys: &[String], most: u64) -> Vec<Result<Object, StoreError>> {
        let reads = keys.iter().map(|key| async move {
            let read = self.0.requests.get(key, most).await;
            read.map_err(|error| self.failed("read", key, error))
        });
        self.wait(stream::iter(reads).buffered(READ_AT_ONCE).collect())
    }

    /// Part of an object: less than was asked for only at its end.
    pub(super) fn range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.call("read", key, self.0.requests.range(key, range))
    }

    /// What is told of an object beside its bytes.
    pub(super) fn head(&self, key: &str) -> Result<Head, StoreError> {
        self.call("look at", key, self.0.requests.head(key))
    }

    /// Deletes an object. None there is fine.
    pub(super) fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.call("delete", key, self.0.requests.delete(key))
    }

    /// Deletes several objects, any number of which may not be there.
    pub(super) fn delete_all(&self, keys: &[String]) -> Result<(), StoreError> {
        if keys.len() > FEW && self.0.engine.bulk_delete {
            for keys in keys.chunks(MAX_KEYS) {
                let deleted = self.wait(self.0.requests.delete_many(keys));
                match deleted {
                    Ok(()) => {}
                    Err(error) if error.is_passing() => {
                        return Err(self.failed("delete", &keys[0], error));
                    }
                    // Of those that were there; one by one it is told which cannot be deleted.
                    Err(_) => self.delete_each(keys)?,
                }
            }
            return Ok(());
        }
        self.delete_each(keys)
    }

    fn delete_each(&self, keys: &[String]) -> Result<(), StoreError> {
        let deletions = keys.iter().map(|key| async move {
            let deleted = self.0.requests.delete(key).await;
            deleted.map_err(|error| self.failed("delete", key, error))
        });
        let deletions = stream::iter(deletions).buffer_unordered(DELETE_AT_ONCE);
        let results: Vec<_> = self.wait(deletions.collect());
        results.into_iter().collect()
    }

    /// Objects whose keys begin with `prefix`, in the order of their keys, where that is the same with and without folders: those
    /// after `after` (a whole key) only, at most `most`.
    pub(super) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Page, StoreError> {
        let listing = list::objects(&self.0.requests, prefix, after, most);
        let listing = self.in_time_for_lists(listing);
        self.call("list", prefix, listing)
    }

    /// Folders right below `prefix`, which ends in `/`: their names, without it and without the `/` behind them, in order, those
    /// after the name `after` only, at most `most`.
    pub(super) fn folders(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Folders, StoreError> {
        let listing = list::folders(&self.0.requests, prefix, after, most);
        let listing = self.in_time_for_lists(listing);
        self.call("list", prefix, listing)
    }

    async fn in_time_for_lists<T>(
        &self,
        listing: impl Future<Output = Result<T, BucketError>>,
    ) -> Result<T, BucketError> {
        let listed = timeout(self.0.deadlines.list, listing).await;
        listed.unwrap_or(Err(BucketError::TimedOut))
    }

    /// Begins an object that is sent in parts.
    pub(super) fn begin_parts(&self, key: &str) -> Result<Parts, StoreError> {
        let none = Notes::default();
        let begun = self.0.requests.begin_parts(key, &none);
        let id = self.call("begin", key, begun)?;
        Ok(Parts::new(self.clone(), key, id))
    }

    /// Drops the parts of an object that nobody will complete. One that nobody knows any more is fine.
    pub(super) fn abort_parts(&self, key: &str, upload_id: &str) -> Result<(), StoreError> {
        let aborting = self.0.requests.abort_parts(key, upload_id);
        self.call("drop the parts of", key, aborting)
    }

    /// What the engine was found to keep.
    pub(super) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Whether the engine answers, as of about a second ago.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let health = &self.0.connector.health;
        if health.answers(Instant::now(), FRESH) {
            return Ok(());
        }
        let did_not = || StoreError::Unavailable {
            source: BucketError::Resting.into(),
        };
        // One asks; who waits for it takes what it was told.
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, answered)) = *asked
            && at.elapsed() < FRESH
        {
            return if answered { Ok(()) } else { Err(did_not()) };
        }
        let key = "probe/absent";
        let deadline = self.0.deadlines.check;
        let answer = self.wait(async {
            let begun = Instant::now();
            let mut looked = timeout(deadline, self.0.hasty.head(key)).await;
            if looked.is_err() && begun.elapsed() > deadline + STOOD_STILL {
                looked = timeout(deadline, self.0.hasty.head(key)).await;
            }
            looked.unwrap_or_else(|_| {
                // The request was given up before it could tell.
                health.failed(Instant::now());
                Err(BucketError::TimedOut)
            })
        });
        let answer = match answer {
            Err(error) if !error.is_missing() => Err(self.failed("look at", key, error)),
            _ => Ok(()),
        };
        *asked = Some((Instant::now(), answer.is_ok()));
        answer
    }

    /// What was asked of the engine so far.
    pub(super) fn requests(&self) -> RequestCounts {
        self.0.connector.counts.so_far()
    }

    fn requests_of(&self) -> &Requests {
        &self.0.requests
    }

    /// Waits for a call to end.
    fn call<T>(
        &self,
        doing: &'static str,
        key: &str,
        call: impl Future<Output = Result<T, BucketError>>,
    ) -> Result<T, StoreError> {
        (self.wait(call)).map_err(|error| self.failed(doing, key, error))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.runtime.wait(future)
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.0.runtime.spawn(future)
    }

    /// What a write came to, and whether that is certain.
    fn surely(
        &self,
        doing: &'static str,
        key: &str,
        written: Result<(), BucketError>,
    ) -> (Result<(), StoreError>, bool) {
        let is_certain = written
            .as_ref()
            .map_or_else(BucketError::is_refusal, |()| true);
        let written = written.map_err(|error| self.failed(doing, key, error));
        (written, is_certain)
    }

    fn failed(&self, doing: &'static str, key: &str, error: BucketError) -> StoreError {
        error.into_store(doing, &format!("{}/{key}", self.0.place))
    }

    /// The same where what is missing is none that could be.
    fn refused(&self, doing: &'static str, key: &str, error: BucketError) -> StoreError {
        StoreError::Refused {
            doing,
            place: format!("{}/{key}", self.0.place),
            source: error.into(),
        }
    }
}

/// A name that no other object has.
fn random_name() -> Result<String, BucketError> {
    let mut random = [0; 10];
    getrandom::fill(&mut random).map_err(|error| BucketError::Setup(error.into()))?;
    Ok(BASE32_DNSSEC.encode(&random))
}

#[cfg(test)]
pub(super) mod tests;
