//! Where uploads are rewrapped: a data folder, with its lock, a bucket, or a server.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_MATCH, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::super::client::ServerError;
use super::super::client::http_client::Answer;
use super::super::client::patient_server::PatienceError;
use super::super::client::remote_upload::RemoteUpload;
use super::super::exit::chain;
use super::super::stored::{Found, NO_PLACE, PAGE, Place, PlaceArgs, ServerPlace, pages};
use super::super::{Exit, Failure};
use crate::keys::NamedRecipient;
use crate::seal::{Header, MAX_HEADER_SIZE, NONCE_SIZE, OpenError};
use crate::store::{LocalReader, LocalStore, SealedFile, Shelf, Store, StoreError, UploadId};
use crate::upload::{
    ReadError, RewrapError, Rewrapped, SessionLimits, Uploads, meta_etag, read_header,
};

/// The media type of new headers.
const REWRAPPED: HeaderValue = HeaderValue::from_static("application/vnd.sealslot.rewrapped");
/// How many headers of segments stand in front of `meta.age`.
const HEADERS: HeaderName = HeaderName::from_static("sealslot-headers");
/// What is fetched of a segment at first: most headers are shorter.
const FIRST_PIECE: usize = 1 << 10;
/// What is fetched at a time of one that is not.
const PIECE: usize = 256 << 10;
/// What a server takes at a time. It answers that it is busy to what comes beside.
const PUT_AT_ONCE: usize = 2;

/// Why an upload could not be sealed anew.
pub(super) enum Trouble {
    /// It was deleted.
    Gone,
    /// Somebody else was quicker: from the beginning.
    Changed,
    /// No key that was given opens it.
    Unopened,
    /// It is this upload's own, for this reason.
    Refused(String),
    /// The others would fare no better.
    Failed(Failure),
}

pub(super) enum Target {
    Stored {
        uploads: Box<Uploads>,
        shelf: Arc<dyn Shelf>,
    },
    Server {
        place: ServerPlace,
        /// Of those who put something.
        turns: Semaphore,
    },
}

impl Target {
    pub(super) fn open(
        args: &PlaceArgs,
        url: Option<&str>,
        to: &[NamedRecipient],
    ) -> Result<Self, Failure> {
        if let Some(store) = args.bucket()? {
            let store = Arc::new(store);
            return Ok(Self::stored(Arc::clone(&store) as _, store, to));
        }
        let Some(data) = &args.data else {
            let Place::Server(server) = args.open(url)? else {
                return Err(Failure::usage(NO_PLACE));
            };
            return Ok(Self::Server {
                place: server,
                turns: Semaphore::new(PUT_AT_ONCE),
            });
        };
        // First, because the store would make what is missing.
        let reader = LocalReader::open(data)?;
        let store = LocalStore::open(data).map_err(|error| match error {
            StoreError::Locked { folder } => Failure::new(
                Exit::Other,
                format_args!(
                    "a server is at work in {}: give its URL in place of --data, or stop it first",
                    folder.display()
                ),
            ),
            error => error.into(),
        })?;
        Ok(Self::stored(Arc::new(store), Arc::new(reader), to))
    }

    fn stored(store: Arc<dyn Store>, shelf: Arc<dyn Shelf>, to: &[NamedRecipient]) -> Self {
        let to = to
            .iter()
            .map(|key| NamedRecipient::new(key.recipient.clone(), ""))
            .collect();
        let uploads = Uploads::new(store, to, Vec::new(), SessionLimits::default());
        Self::Stored {
            uploads: Box::new(uploads),
            shelf,
        }
    }

    /// Those with these ids, or all where there are none, in order.
    pub(super) fn uploads<'a>(
        &'a self,
        ids: &'a BTreeSet<UploadId>,
    ) -> Box<dyn Iterator<Item = Result<Found, Failure>> + 'a> {
        if !ids.is_empty() {
            return Box::new(ids.iter().map(|id| Ok(Found::named(*id))));
        }
        match self {
            Self::Stored { shelf, .. } => Box::new(pages(|after| Ok(shelf.ids(after, PAGE)?))),
            Self::Server { place, .. } => Box::new(place.uploads()),
        }
    }

    /// All of `meta.age`.
    pub(super) fn meta(&self, id: &UploadId) -> Result<Vec<u8>, Trouble> {
        match self {
            Self::Stored { uploads, .. } => {
                let file = uploads.sealed_file(id, SealedFile::Meta)?.file;
                let mut meta = vec![0; usize::try_from(file.len()).unwrap_or(0)];
                let size = file.read_at(&mut meta, 0)?;
                meta.truncate(size);
                Ok(meta)
            }
            Self::Server { place, .. } => {
                let _entered = place.runtime.enter();
                let upload = RemoteUpload::new(place.server.clone(), *id);
                Ok(upload.meta()?.to_vec())
            }
        }
    }

    /// The header and nonce of a segment.
    pub(super) fn header(
        &self,
        id: &UploadId,
        file: SealedFile,
    ) -> Result<(Header, Vec<u8>), Trouble> {
        match self {
            Self::Stored { uploads, .. } => {
                let stored = uploads.sealed_file(id, file)?.file;
                let (header, size) = read_header(&*stored, file)?;
                let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
                stored.read_at(&mut bytes, 0)?;
                Ok((header, bytes))
            }
            Self::Server { place, .. } => place.header(id, file),
        }
    }

    /// Puts new headers in place, where `meta.age` is still the one that they were made from.
    pub(super) fn put(&self, id: &UploadId, old: &[u8], new: &Rewrapped) -> Result<(), Trouble> {
        match self {
            Self::Stored { uploads, .. } => {
                let digest = Sha256::digest(old).into();
                Ok(uploads.rewrap(id, &digest, new)?)
            }
            Self::Server { place, turns } => {
                // Closed by nobody: there is a turn for everybody.
                let _turn = place.runtime.block_on(turns.acquire());
                place.put(id, old, new)
            }
        }
    }
}

impl ServerPlace {
    fn header(&self, id: &UploadId, file: SealedFile) -> Result<(Header, Vec<u8>), Trouble> {
        let path = format!("/uploads/{id}/{file}");
        let mut start = Vec::new();
        loop {
            let wanted = if start.is_empty() { FIRST_PIECE } else { PIECE };
            let last = start.len() + wanted - 1;
            let range = format!("bytes={}-{last}", start.len());
            let range = HeaderValue::from_str(&range).map_err(|_| ServerError::Nonsense)?;
            let headers = HeaderMap::from_iter([(RANGE, range)]);
            let answer = self.send(&Method::GET, &path, &headers, &Bytes::new())?;
            // All of it at once, where it is no longer than that.
            if answer.status == StatusCode::OK {
                start.clear();
            }
            start.extend_from_slice(&answer.body);
            let parsed = Header::parse(&start).map_err(|_| damaged(file))?;
            if let Some((header, size)) = parsed {
                start.truncate(size);
                return Ok((header, start));
            }
            let is_all = answer.status == StatusCode::OK || answer.body.len() < wanted;
            if is_all || start.len() > MAX_HEADER_SIZE + NONCE_SIZE {
                return Err(damaged(file));
            }
        }
    }

    fn put(&self, id: &UploadId, old: &[u8], new: &Rewrapped) -> Result<(), Trouble> {
        let mut headers = HeaderMap::new();
        let tag = HeaderValue::from_str(&meta_etag(id, old)).map_err(|_| ServerError::Nonsense)?;
        headers.insert(IF_MATCH, tag);
        headers.insert(CONTENT_TYPE, REWRAPPED);
        if let Some(segments) = &new.segments {
            headers.insert(HEADERS, segments.len().into());
        }
        let path = format!("/uploads/{id}/{}", SealedFile::Meta);
        self.send(&Method::PUT, &path, &headers, &new.to_bytes().into())?;
        Ok(())
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<Answer, Trouble> {
        let sent = self.server.send(method, path, headers, body);
        Ok(self.runtime.block_on(sent)?)
    }
}

fn damaged(file: SealedFile) -> Trouble {
    Trouble::Refused(format!(
        "{file} is damaged: it does not begin as an age file does"
    ))
}

impl From<ServerError> for Trouble {
    fn from(error: ServerError) -> Self {
        match error.status() {
            Some(StatusCode::NOT_FOUND) => Self::Gone,
            Some(StatusCode::PRECONDITION_FAILED) => Self::Changed,
            Some(
                StatusCode::CONFLICT
                | StatusCode::UNPROCESSABLE_ENTITY
                | StatusCode::PAYLOAD_TOO_LARGE,
            ) => Self::Refused(chain(&error)),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<PatienceError> for Trouble {
    fn from(error: PatienceError) -> Self {
        match error {
            PatienceError::Server(error) => error.into(),
            PatienceError::Changed => Self::Changed,
            error => Self::Failed(error.into()),
        }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::Gone,
            StoreError::Replaced => Self::Changed,
            error @ StoreError::UnexpectedFile { .. } => Self::Refused(chain(&error)),
            StoreError::Elsewhere { source, .. } if source.is::<PatienceError>() => {
                match source.downcast::<PatienceError>() {
                    Ok(error) => (*error).into(),
                    Err(error) => Self::Failed(Failure::new(Exit::Other, error)),
                }
            }
            error => Self::Failed(error.into()),
        }
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            ReadError::Open {
                file: SealedFile::Meta,
                source: OpenError::NoMatch,
            } => Self::Unopened,
            // A plugin that is not there is not there for the others either.
            ReadError::Open {
                source: OpenError::External(_),
                ..
            } => Self::Failed(error.into()),
            error => Self::Refused(chain(&error)),
        }
    }
}

impl From<RewrapError> for Trouble {
    fn from(error: RewrapError) -> Self {
        match error {
            RewrapError::Store(error) => error.into(),
            RewrapError::Read(error) => error.into(),
            RewrapError::Changed => Self::Changed,
            error => Self::Refused(chain(&error)),
        }
    }
}
