//! Stored uploads, in a data folder, in a bucket or on a server, as commands go through them.

use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::client::listing::{Listed, Pages};
use super::client::patient_server::{Contact, PatientServer};
use super::client::remote_upload::RemoteUpload;
use super::client::{Access, AccessArgs};
use super::results::note;
use super::{Exit, Failure};
use crate::config::BucketArgs;
use crate::store::{LocalReader, S3Store, S3Url, Shelf, StoreError, UploadId};
use crate::upload::{Record, Stored, to_rfc3339};

/// Ids that are held at a time. Each page reads the whole folder of a day.
pub(super) const PAGE: usize = 50_000;
/// How long a server is asked again that does not answer.
const PATIENCE: Duration = Duration::from_mins(2);

/// What to say where nothing is given.
pub(super) const NO_PLACE: &str =
    "give --data DIR, --store s3://BUCKET/PREFIX or the URL of a server";

/// Connects to a bucket.
pub(super) fn open_bucket(location: S3Url, reached: &BucketArgs) -> Result<S3Store, Failure> {
    let about = location.to_string();
    let store = reached.to(location)?.open_beside();
    store.map_err(|error| Failure::from(error).about(about))
}

/// The same, where nothing is written.
pub(super) fn open_bucket_to_read(
    location: &S3Url,
    reached: &BucketArgs,
) -> Result<Box<dyn Shelf>, Failure> {
    let store = reached.to(location.clone())?.open_to_read();
    store.map_err(|error| Failure::from(error).about(location))
}

/// Where uploads are stored.
#[derive(Args, Debug)]
pub(super) struct PlaceArgs {
    /// The data folder of a server
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,

    /// The bucket of servers, and the prefix in it. Credentials are those of the environment: AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN
    #[arg(long, value_name = "s3://BUCKET/PREFIX", conflicts_with = "data")]
    store: Option<S3Url>,

    #[command(flatten)]
    bucket: BucketArgs,

    #[command(flatten)]
    access: AccessArgs,
}

/// A server, and what its connections run on.
pub(super) struct ServerPlace {
    pub(super) server: PatientServer,
    pub(super) runtime: Runtime,
}

/// A data folder or a bucket that is read, or a server.
pub(super) enum Place {
    Stored(Box<dyn Shelf>),
    Server(ServerPlace),
}

/// An upload that may be looked at.
pub(super) struct Found {
    pub(super) id: UploadId,
    /// The one before it in the list.
    before: Option<UploadId>,
    /// What a server says of it.
    pub(super) listed: Option<Listed>,
}

impl Found {
    /// One that is not from a list.
    pub(super) fn named(id: UploadId) -> Self {
        Self {
            id,
            before: None,
            listed: None,
        }
    }
}

impl PlaceArgs {
    /// The server at `url`.
    fn server(&self, url: &str) -> Result<ServerPlace, Failure> {
        let access = Access::to(url, &self.access)?;
        // Requests come from threads of their own; what goes on behind them needs few.
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Other, format_args!("cannot start: {error}")))?;
        let says = |contact: Contact<'_>| match contact {
            Contact::Lost(error) => note(format_args!("sealslot: {error}; trying again")),
            Contact::Regained => note("sealslot: the server answers again"),
        };
        let server = PatientServer::new(access, PATIENCE, CancellationToken::new(), says);
        Ok(ServerPlace { server, runtime })
    }

    /// Whether the place is one of its own, and not a server.
    pub(super) fn is_named(&self) -> bool {
        self.data.is_some() || self.store.is_some()
    }

    /// The bucket, where that is the place.
    pub(super) fn bucket(&self) -> Result<Option<S3Store>, Failure> {
        let store = self.store.clone();
        store
            .map(|store| open_bucket(store, &self.bucket))
            .transpose()
    }

    /// The folder, the bucket or the server, to be read.
    pub(super) fn open(&self, url: Option<&str>) -> Result<Place, Failure> {
        if let Some(location) = &self.store {
            return Ok(Place::Stored(open_bucket_to_read(location, &self.bucket)?));
        }
        match (&self.data, url) {
            (Some(data), None) => Ok(Place::Stored(Box::new(LocalReader::open(data)?))),
            (None, Some(url)) => Ok(Place::Server(self.server(url)?)),
            _ => Err(Failure::usage(NO_PLACE)),
        }
    }
}

impl Place {
    /// All uploads in order.
    pub(super) fn uploads(&self) -> Box<dyn Iterator<Item = Result<Found, Failure>> + '_> {
        match self {
            Self::Stored(stored) => Box::new(pages(|after| Ok(stored.ids(after, PAGE)?))),
            Self::Server(place) => Box::new(place.uploads()),
        }
    }

    /// Opens an upload. `is_first`: what the list said of it a moment ago is good enough.
    pub(super) fn open(&self, found: &Found, is_first: bool) -> Result<Stored, StoreError> {
        match self {
            Self::Stored(stored) => {
                let upload = stored.upload(&found.id)?;
                let checksum = upload.meta_checksum();
                // Of a file that is not there, its reader tells.
                Ok((upload, checksum.unwrap_or(None)))
            }
            Self::Server(place) => {
                let checksum = if is_first {
                    found.listed.as_ref().and_then(meta_checksum)
                } else {
                    // What the list has no more was deleted meanwhile.
                    let listed = place.listed_again(found)?.ok_or(StoreError::NotFound)?;
                    meta_checksum(&listed)
                };
                let _entered = place.runtime.enter();
                let upload = RemoteUpload::new(place.server.clone(), found.id);
                Ok((Box::new(upload), checksum))
            }
        }
    }
}

impl ServerPlace {
    /// All uploads in order.
    pub(super) fn uploads(&self) -> impl Iterator<Item = Result<Found, Failure>> + '_ {
        let mut pages = Pages::of(self.server.clone(), None);
        let mut page = Vec::new().into_iter();
        let mut before = None;
        std::iter::from_fn(move || {
            loop {
                if let Some(listed) = page.next() {
                    let listed: Listed = listed;
                    let found = Found {
                        id: listed.id,
                        before: before.replace(listed.id),
                        listed: Some(listed),
                    };
                    return Some(Ok(found));
                }
                match self.runtime.block_on(pages.next()) {
                    Ok(Some(next)) => page = next.into_iter(),
                    Ok(None) => return None,
                    Err(error) => {
                        return Some(Err(error.into()));
                    }
                }
            }
        })
    }

    /// What the list says now.
    fn listed_again(&self, found: &Found) -> Result<Option<Listed>, StoreError> {
        let mut pages = Pages::of(self.server.clone(), found.before);
        loop {
            let page = self.runtime.block_on(pages.next());
            let page = page.map_err(|source| StoreError::Elsewhere {
                file: crate::store::SealedFile::Meta,
                source: Box::new(source),
            })?;
            let Some(page) = page else {
                return Ok(None);
            };
            let is_past = page.last().is_some_and(|last| last.id >= found.id);
            let again = page.into_iter().find(|listed| listed.id == found.id);
            if again.is_some() || is_past {
                return Ok(again);
            }
        }
    }
}

fn meta_checksum(listed: &Listed) -> Option<u64> {
    let digits = listed.meta.as_ref()?.crc64nvme.as_deref()?;
    u64::from_str_radix(digits, 16).ok()
}

/// Ids of a store, page by page.
pub(super) fn pages<'a>(
    mut list: impl FnMut(Option<&UploadId>) -> Result<Vec<UploadId>, Failure> + 'a,
) -> impl Iterator<Item = Result<Found, Failure>> + 'a {
    let mut page = Vec::new().into_iter();
    let mut before = None;
    let mut ended = false;
    std::iter::from_fn(move || {
        loop {
            if let Some(id) = page.next() {
                let before = before.replace(id);
                let listed = None;
                return Some(Ok(Found { id, before, listed }));
            }
            if ended {
                return None;
            }
            match list(before.as_ref()) {
                Ok(next) => {
                    ended = next.is_empty();
                    page = next.into_iter();
                }
                Err(failure) => {
                    ended = true;
                    return Some(Err(failure));
                }
            }
        }
    })
}

/// A record, as a server would list it.
pub(super) fn as_listed(record: &Record) -> Listed {
    Listed {
        id: record.id,
        time: to_rfc3339(record.time),
        sealed_size: (record.files.iter()).fold(0, |sum, file| sum.saturating_add(file.size)),
        files: record.files.clone(),
        link: record.link.clone(),
        expires: record.expires.clone(),
        meta: None,
    }
}

/// Does `work` with each of `items`, in `parallel` threads. The first failure ends it, when what was begun has come to its end.
pub(super) fn in_parallel<T: Send>(
    parallel: usize,
    items: impl Iterator<Item = Result<T, Failure>>,
    work: impl Fn(T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let failed = Arc::new(Mutex::new(None));
    let fail = |failure: Failure| {
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(failure);
    };
    let has_failed = || {
        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some()
    };
    let (sender, receiver) = sync_channel::<T>(parallel);
    let receiver = Mutex::new(receiver);
    thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                loop {
                    let next = receiver
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let Ok(item) = next else { return };
                    // What was handed over is taken, or whoever hands over would wait for ever.
                    if !has_failed()
                        && let Err(failure) = work(item)
                    {
                        fail(failure);
                    }
                }
            });
        }
        for item in items {
            if has_failed() {
                break;
            }
            match item {
                // The receiver outlives the threads.
                Ok(item) => drop(sender.send(item)),
                Err(failure) => {
                    fail(failure);
                    break;
                }
            }
        }
        drop(sender);
    });
    let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    failed.map_or(Ok(()), Err)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error {
            StoreError::NotFound | StoreError::UnexpectedFile { .. } => Exit::Data,
            StoreError::Replaced | StoreError::Unavailable { .. } => Exit::Later,
            _ => Exit::Other,
        };
        Self::from_error(exit, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn everything_is_done_once_and_a_failure_ends_it() {
        for parallel in [1, 4] {
            let done = AtomicUsize::new(0);
            let count = |_| {
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            in_parallel(parallel, (0..100).map(Ok), count).unwrap();
            assert_eq!(done.into_inner(), 100);

            let failure = in_parallel(parallel, (0..).map(Ok), |item| match item {
                50 => Err(Failure::new(Exit::Data, "that one")),
                _ => Ok(()),
            });
            assert_eq!(failure.unwrap_err().line(), Some("that one"));

            let items = [Ok(1), Err(Failure::new(Exit::Other, "no list")), Ok(2)];
            let failure = in_parallel(parallel, items.into_iter(), |item| {
                assert_eq!(item, 1);
                Ok(())
            });
            assert_eq!(failure.unwrap_err().line(), Some("no list"));
        }
    }
}
