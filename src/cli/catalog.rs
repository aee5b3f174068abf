//! What is on a server, as far as its manifests tell: opened many at a time, and remembered in a cache that only the keys
//! which opened them open.

mod cache;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::Access;
use super::client::listing::{Listed, Pages};
use super::client::patient_server::{Contact, PatienceError, PatientServer};
use super::client::remote_upload::RemoteUpload;
use super::filters::FilterArgs;
use super::results::note;
use super::{Exit, Failure};
use crate::seal::{Identity, OpenError};
use crate::store::{SealedFile, StoreError, UploadId};
use crate::upload::{Kind, Manifest, OpenUpload, ReadError};
use cache::Cache;

/// Manifests that are fetched and opened at a time.
const AT_A_TIME: usize = 16;
/// Somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a manifest tells, without its keys. Without `Debug`: it holds a name.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) submission: UploadId,
    pub(super) kind: Kind,
    pub(super) name: Option<String>,
    #[serde(rename = "type")]
    pub(super) media_type: Option<String>,
    /// Bytes of plaintext.
    pub(super) size: u64,
    pub(super) sha256: String,
}

impl From<&Manifest> for Description {
    fn from(manifest: &Manifest) -> Self {
        Self {
            submission: manifest.submission,
            kind: manifest.kind,
            name: manifest.name.clone(),
            media_type: manifest.media_type.clone(),
            size: manifest.size,
            sha256: manifest.sha256.clone(),
        }
    }
}

/// An upload that is listed, with what its manifest tells.
pub(super) struct Entry {
    pub(super) listed: Listed,
    /// `None`: nobody asked, or it does not open.
    pub(super) described: Option<Description>,
}

impl Entry {
    /// One of which only is known what the server lists.
    pub(super) fn not_opened(listed: Listed) -> Self {
        Self {
            listed,
            described: None,
        }
    }

    /// Whether its name has this text in it, which is in lower case.
    pub(super) fn is_named(&self, text: &str) -> bool {
        let name = self.described.as_ref();
        let name = name.and_then(|described| described.name.as_deref());
        name.is_some_and(|name| name.to_lowercase().contains(text))
    }
}

/// Connects for a command that somebody waits for.
pub(super) fn connect(access: Access) -> PatientServer {
    let tell = |contact: Contact<'_>| match contact {
        Contact::Lost(error) => {
            let failure = Failure::from_error(Exit::Later, error);
            failure.about("the server is asked again").report();
        }
        Contact::Regained => note("sealslot: the server is back"),
    };
    PatientServer::new(access, PATIENCE, CancellationToken::new(), tell)
}

/// All uploads that the filters take, in the order of their ids.
pub(super) async fn gather(
    server: &PatientServer,
    filters: &FilterArgs,
) -> Result<Gathered, PatienceError> {
    let mut pages = Pages::of(server.clone(), None);
    let mut gathered = Gathered {
        uploads: Vec::new(),
        ids: Some(Vec::new()),
    };
    while let Some(page) = pages.next().await? {
        let begun = page.last().map(|last| last.id.time());
        if let Some(ids) = &mut gathered.ids {
            ids.extend(page.iter().map(|listed| listed.id));
        }
        let taken = page.into_iter().filter(|listed| filters.takes(listed));
        gathered.uploads.extend(taken);
        if begun.is_some_and(|begun| filters.ends_before(begun)) {
            gathered.ids = None;
            break;
        }
    }
    Ok(gathered)
}

/// What was listed.
pub(super) struct Gathered {
    /// Those that the filters take.
    pub(super) uploads: Vec<Listed>,
    /// All that there are, sorted; `None` where not all of them were looked at.
    pub(super) ids: Option<Vec<UploadId>>,
}

/// Opens manifests.
pub(super) struct Catalog {
    server: PatientServer,
    identities: Arc<Vec<Identity>>,
    cache: Option<Cache>,
}

impl Catalog {
    /// With these keys, and where `cached`, what an earlier run with them has opened. `url` is the server's.
    pub(super) fn new(
        server: PatientServer,
        identities: Vec<Identity>,
        url: &str,
        cached: bool,
    ) -> Self {
        let cache = cached.then(|| Cache::open(url, &identities)).flatten();
        Self {
            server,
            identities: Arc::new(identities),
            cache,
        }
    }

    /// Opens the manifests of these, in the same order. Those that are gone meanwhile are left out.
    pub(super) async fn describe(&mut self, listed: Vec<Listed>) -> Result<Vec<Entry>, Failure> {
        let mut found = Vec::new();
        found.resize_with(listed.len(), || None);
        let mut waiting = listed.into_iter().enumerate();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_A_TIME
                && let Some((place, listed)) = waiting.next()
            {
                let told = self.cache.as_ref().and_then(|cache| cache.find(&listed));
                if let Some(told) = told {
                    let described = told.described.clone();
                    found[place] = Some(Entry { listed, described });
                    continue;
                }
                let (server, identities) = (self.server.clone(), Arc::clone(&self.identities));
                running.spawn_blocking(move || {
                    let opened = open(server, &listed.id, &identities);
                    (place, listed, opened)
                });
            }
            let Some(ended) = running.join_next().await else {
                break;
            };
            let (place, listed, opened) = ended.map_err(|error| {
                let message = format_args!("a defect in Sealslot, please report it: {error}");
                Failure::new(Exit::Other, message)
            })?;
            let described = match opened {
                Ok(described) => described,
                Err(ReadError::Store(StoreError::NotFound)) => continue,
                Err(error) => return Err(Failure::from(error).about(listed.id)),
            };
            if let Some(cache) = &mut self.cache {
                cache.put(&listed, described.as_ref());
            }
            found[place] = Some(Entry { listed, described });
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Keeps what was opened for the next run, but nothing of uploads that are not in `there`.
    pub(super) fn keep(self, there: Option<&[UploadId]>) {
        let Some(cache) = self.cache else {
            return;
        };
        if let Err(failure) = cache.write(there) {
            // What it costs is time.
            failure.about("the cache is not kept").report();
        }
    }
}

/// What the manifest tells; `None` where it does not open.
fn open(
    server: PatientServer,
    id: &UploadId,
    identities: &[Identity],
) -> Result<Option<Description>, ReadError> {
    let remote = Box::new(RemoteUpload::new(server, *id));
    match OpenUpload::open(remote, Some(id), identities) {
        Ok(upload) => Ok(Some(upload.manifest().into())),
        Err(ReadError::Missing(SealedFile::Meta)) => Err(StoreError::NotFound.into()),
        // That says nothing of the upload.
        Err(
            error @ (ReadError::Store(_)
            | ReadError::Open {
                source: OpenError::External(_),
                ..
            }),
        ) => Err(error),
        Err(_) => Ok(None),
    }
}
