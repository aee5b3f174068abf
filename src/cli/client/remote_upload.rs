//! An upload on a server, read as if it lay here: what opens uploads opens this one while it streams in.
//!
//! Opening a file asks for its beginning, which is all of a small one. What is read in order behind that is one request, a
//! bounded piece ahead of the reader; to read elsewhere is another one. A transfer that breaks goes on with `Range` and `If-Range` (RFC 9110 sections 14.2 and 13.1.5).

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::ServerError;
use super::http_client::HttpError;
use super::patient_server::{Coming, PatienceError, PatientServer, Tries};
use super::problem::text;
use crate::store::{ReadAt, SealedFile, SealedUpload, StoreError, UploadId};
use crate::upload::read_record;

/// What is asked for of a segment before anybody has read of it: whoever opens one may want its header, and then some part of
/// the rest.
const BEGINNING: u64 = 128 << 10;
/// Pieces that may lie between the connection and the reader. One is at most what hyper reads at once, some hundred KiB.
const AHEAD: usize = 8;
/// What is kept of what was read, for a reader that goes back a little: from a header's last bytes to the payload behind it.
const BEHIND: usize = 256 << 10;
/// Further on than this, a new request is better than to read what lies between.
const NEAR: u64 = 256 << 10;
/// No `meta.age` is longer (`FORMAT.md`).
const MAX_META: u64 = 16 << 20;

/// One upload on a server. Its calls block, from a thread that may, in a runtime of tokio.
pub(in crate::cli) struct RemoteUpload {
    server: PatientServer,
    id: UploadId,
    runtime: Handle,
    /// `meta.age`, which is asked for more than once.
    meta: OnceLock<Arc<Vec<u8>>>,
}

impl RemoteUpload {
    /// The upload `id` on `server`. Nothing is asked yet. To be called in a runtime.
    pub(in crate::cli) fn new(server: PatientServer, id: UploadId) -> Self {
        Self {
            server,
            id,
            runtime: Handle::current(),
            meta: OnceLock::new(),
        }
    }

    /// All of `meta.age`. Blocks.
    pub(in crate::cli) fn meta(&self) -> Result<Arc<Vec<u8>>, StoreError> {
        if let Some(meta) = self.meta.get() {
            return Ok(Arc::clone(meta));
        }
        let file = self.file(SealedFile::Meta, MAX_META)?;
        let size = file.len();
        if size > MAX_META {
            return Err(elsewhere(SealedFile::Meta, ServerError::Nonsense.into()));
        }
        let mut meta = vec![0; usize::try_from(size).unwrap_or(0)];
        let read = file.read_at(&mut meta, 0)?;
        meta.truncate(read);
        Ok(Arc::clone(self.meta.get_or_init(|| Arc::new(meta))))
    }

    /// Asks for the first `beginning` bytes of a file.
    fn file(&self, file: SealedFile, beginning: u64) -> Result<RemoteFile, StoreError> {
        let source = Source {
            server: self.server.clone(),
            path: format!("/uploads/{}/{file}", self.id),
            file,
        };
        let (head, reader) = source.begin(&self.runtime, 0..beginning, None)?;
        Ok(RemoteFile {
            source,
            head,
            runtime: self.runtime.clone(),
            reader: Mutex::new(reader),
        })
    }
}

impl SealedUpload for RemoteUpload {
    /// Those that the record lists: the server shows no others.
    fn files(&self) -> Result<Vec<SealedFile>, StoreError> {
        let meta = InMemory(self.meta()?);
        let nonsense = || elsewhere(SealedFile::Meta, ServerError::Nonsense.into());
        let record = read_record(&meta).map_err(|_| nonsense())?;
        let listed = record.files.iter().map(|file| file.name.parse());
        let mut files = vec![SealedFile::Meta];
        for file in listed {
            files.push(file.map_err(|_| nonsense())?);
        }
        files.sort_unstable();
        Ok(files)
    }

    fn open(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, StoreError> {
        match file {
            SealedFile::Meta => Ok(Box::new(InMemory(self.meta()?))),
            segment @ SealedFile::Segment(_) => Ok(Box::new(self.file(segment, BEGINNING)?)),
        }
    }
}

struct InMemory(Arc<Vec<u8>>);

impl ReadAt for InMemory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(from..).unwrap_or_default();
        let size = rest.len().min(buf.len());
        buf[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }
}

fn elsewhere(file: SealedFile, error: PatienceError) -> StoreError {
    let status = error.server_error().and_then(ServerError::status);
    match status {
        Some(StatusCode::NOT_FOUND | StatusCode::GONE) => StoreError::NotFound,
        None if matches!(error, PatienceError::Changed) => StoreError::Replaced,
        _ => StoreError::Elsewhere {
            file,
            source: Box::new(error),
        },
    }
}

/// One file of it.
struct RemoteFile {
    source: Source,
    head: Head,
    runtime: Handle,
    reader: Mutex<Reader>,
}

impl ReadAt for RemoteFile {
    fn len(&self) -> u64 {
        self.head.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let left = self.head.size.saturating_sub(offset);
        let size = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let buf = &mut buf[..size];
        if buf.is_empty() {
            return Ok(0);
        }
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if !reader.is_near(offset..offset + size as u64) {
            let tag = self.head.tag.clone();
            let rest = offset..self.head.size;
            (_, *reader) = self.source.begin(&self.runtime, rest, tag)?;
        }
        let read = reader.read(buf, offset);
        read.map_err(|error| elsewhere(self.source.file, error))?;
        Ok(size)
    }
}

/// What the head of an answer says of the whole file.
#[derive(Clone)]
struct Head {
    size: u64,
    tag: Option<HeaderValue>,
}

/// What comes of one request and those that go on with it.
struct Reader {
    pieces: mpsc::Receiver<Result<Bytes, PatienceError>>,
    /// What has come and was not dropped yet, and where in the file it begins.
    window: Vec<u8>,
    at: u64,
    /// Where in the file it ends.
    end: u64,
}

impl Reader {
    /// Whether it comes by these bytes, or has them still.
    fn is_near(&self, bytes: Range<u64>) -> bool {
        let here = self.at + self.window.len() as u64;
        bytes.start >= self.at && bytes.start <= here + NEAR && bytes.end <= self.end
    }

    /// Fills all of `buf`.
    fn read(&mut self, buf: &mut [u8], offset: u64) -> Result<(), PatienceError> {
        let from = usize::try_from(offset - self.at).map_err(|_| PatienceError::Changed)?;
        let to = from + buf.len();
        while self.window.len() < to {
            // Nobody asks for more than was to come.
            let piece = self.pieces.blocking_recv().ok_or(PatienceError::Stopped)?;
            self.window.extend_from_slice(&piece?);
        }
        buf.copy_from_slice(&self.window[from..to]);
        if to > 4 * BEHIND {
            self.window.drain(..to - BEHIND);
            self.at += (to - BEHIND) as u64;
        }
        Ok(())
    }
}

/// A file on a server.
#[derive(Clone)]
struct Source {
    server: PatientServer,
    path: String,
    file: SealedFile,
}

impl Source {
    /// Begins to read these bytes, as far as there are so many, and waits for the head of the answer. `tag`: of the file that
    /// it has to be.
    fn begin(
        &self,
        runtime: &Handle,
        bytes: Range<u64>,
        tag: Option<HeaderValue>,
    ) -> Result<(Head, Reader), StoreError> {
        let (head_sender, head) = oneshot::channel();
        let (sender, pieces) = mpsc::channel(AHEAD);
        let mut stream = Stream {
            source: self.clone(),
            at: bytes.start,
            end: bytes.end,
            tag,
            size: None,
            head: Some(head_sender),
            pieces: sender,
        };
        runtime.spawn(async move {
            if let Err(error) = stream.run().await {
                stream.fail(error).await;
            }
        });
        let head = runtime
            .block_on(head)
            .unwrap_or(Err(PatienceError::Stopped));
        let head = head.map_err(|error| elsewhere(self.file, error))?;
        let reader = Reader {
            pieces,
            window: Vec::new(),
            at: bytes.start,
            end: bytes.end.min(head.size),
        };
        Ok((head, reader))
    }
}

/// Brings a part of a file, through whatever goes wrong on the way.
struct Stream {
    source: Source,
    /// What comes next.
    at: u64,
    /// Where it ends, unless the file does before.
    end: u64,
    tag: Option<HeaderValue>,
    size: Option<u64>,
    head: Option<oneshot::Sender<Result<Head, PatienceError>>>,
    pieces: mpsc::Sender<Result<Bytes, PatienceError>>,
}

impl Stream {
    async fn run(&mut self) -> Result<(), PatienceError> {
        let server = self.source.server.clone();
        let mut tries = server.tries();
        loop {
            let failed = match server.fetch_once(&self.source.path, self.wanted()).await {
                Ok(mut coming) => {
                    self.see_head(&coming)?;
                    match self.pass_on(&mut coming, &mut tries).await {
                        Passed::All => {
                            server.keep(coming);
                            return Ok(());
                        }
                        Passed::Unwanted => return Ok(()),
                        Passed::Stopped => return Err(PatienceError::Stopped),
                        Passed::Broken(error) => error,
                    }
                }
                Err(failed) => failed,
            };
            if self.pieces.is_closed() {
                return Ok(());
            }
            tries.failed(failed).await?;
        }
    }

    fn wanted(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let range = format!("bytes={}-{}", self.at, self.end.saturating_sub(1));
        headers.extend(
            HeaderValue::from_str(&range)
                .ok()
                .map(|range| (RANGE, range)),
        );
        headers.extend(self.tag.clone().map(|tag| (IF_RANGE, tag)));
        headers
    }

    /// Looks whether what comes is the rest of the same file.
    fn see_head(&mut self, coming: &Coming) -> Result<(), PatienceError> {
        let headers = &coming.download.headers;
        let size = match coming.download.status {
            // What `If-Range` named is no longer there.
            StatusCode::OK if self.tag.is_some() => return Err(PatienceError::Changed),
            StatusCode::PARTIAL_CONTENT => size_in_range(headers, self.at..self.end),
            _ => None,
        };
        let size = size.ok_or(ServerError::Nonsense)?;
        let tag = headers.get(ETAG).cloned();
        let is_other = self.size.is_some_and(|before| before != size)
            || (self.tag.is_some() && tag != self.tag);
        if is_other {
            return Err(PatienceError::Changed);
        }
        self.size = Some(size);
        self.tag.clone_from(&tag);
        if let Some(head) = self.head.take() {
            // Whoever asked may have gone.
            let _ = head.send(Ok(Head { size, tag }));
        }
        Ok(())
    }

    async fn pass_on(&mut self, coming: &mut Coming, tries: &mut Tries<'_>) -> Passed {
        let stop = self.source.server.stop().clone();
        let end = self.size.map_or(self.end, |size| self.end.min(size));
        loop {
            let next = tokio::select! {
                next = coming.download.next() => next,
                () = stop.cancelled() => return Passed::Stopped,
            };
            match next {
                Ok(Some(piece)) => {
                    self.at = self.at.saturating_add(piece.len() as u64);
                    if self.at > end {
                        return Passed::Broken(ServerError::Nonsense);
                    }
                    // A head alone is no progress: a server that cannot read its disk gives one each time.
                    if !piece.is_empty() {
                        tries.succeeded();
                    }
                    if self.pieces.send(Ok(piece)).await.is_err() {
                        return Passed::Unwanted;
                    }
                }
                Ok(None) if self.at < end => return Passed::Broken(HttpError::Short.into()),
                Ok(None) => return Passed::All,
                Err(error) => return Passed::Broken(error.into()),
            }
        }
    }

    async fn fail(&mut self, error: PatienceError) {
        match self.head.take() {
            Some(head) => drop(head.send(Err(error))),
            None => drop(self.pieces.send(Err(error)).await),
        }
    }
}

/// How an answer came to its end.
enum Passed {
    All,
    /// Nobody reads on.
    Unwanted,
    Stopped,
    Broken(ServerError),
}

/// The size of the whole in a `Content-Range` of these bytes, as far as there are so many.
fn size_in_range(headers: &HeaderMap, bytes: Range<u64>) -> Option<u64> {
    let range = text(headers, &CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (range, size) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size): (u64, u64, u64) =
        (first.parse().ok()?, last.parse().ok()?, size.parse().ok()?);
    let is_it = first == bytes.start && last.checked_add(1) == Some(bytes.end.min(size));
    is_it.then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_stands_in_a_range_that_is_the_one_asked_for() {
        let of = |range: &str, bytes: Range<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, range.parse().unwrap());
            size_in_range(&headers, bytes)
        };
        assert_eq!(of("bytes 0-9/10", 0..10), Some(10));
        assert_eq!(of("bytes 0-9/10", 0..99), Some(10));
        assert_eq!(of("bytes 5-9/100", 5..10), Some(100));
        for (range, bytes) in [
            ("bytes 0-9/*", 0..10),
            ("bytes 1-9/10", 0..10),
            ("bytes 0-8/10", 0..10),
            ("bytes 0-9/5", 0..10),
            ("bytes 0-18446744073709551615/10", 0..10),
            ("lines 0-9/10", 0..10),
            ("", 0..10),
        ] {
            assert_eq!(of(range, bytes), None, "{range}");
        }
    }
}
