//! Uploads going out, for the admin: lists, sealed files as they are stored, plaintext where there is a key.

use std::fmt::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::call::Call;
use super::problem::Problem;
use super::range::{Asked, asked};
use super::{App, ReadFailure, Response, empty, json};
use crate::store::{ReadAt, SealedFile, UploadId};
use crate::upload::{OpenUpload, Plaintext, Summary};

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;
/// Uploads on one page of the list where the caller names no number, and at the most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

#[derive(Serialize)]
struct Page {
    uploads: Vec<Summary>,
    /// What to pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UploadId>,
}

/// `GET /uploads?after={id}&limit={n}`.
pub(super) async fn list(app: &Arc<App>, query: Option<&str>) -> Result<Response, Problem> {
    let (mut after, mut limit) = (None, DEFAULT_LIMIT);
    for pair in query
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let malformed = |_| Problem::malformed_query();
        match pair.split_once('=') {
            Some(("after", id)) => after = Some(id.parse().map_err(malformed)?),
            Some(("limit", number)) => {
                limit = number.parse().map_err(|_| Problem::malformed_query())?;
            }
            _ => return Err(Problem::malformed_query()),
        }
    }
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::malformed_query());
    }
    let (uploads, next) = app
        .blocking(move |app| app.uploads.list(after.as_ref(), limit))
        .await??;
    Ok(json(&Page { uploads, next }))
}

/// `GET /uploads/{id}`: the plaintext.
pub(super) async fn plaintext(
    app: &Arc<App>,
    id: UploadId,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    if app.uploads.identities().is_empty() {
        return Err(Problem::no_private_key());
    }
    let upload = app
        .blocking(move |app| -> Result<_, Problem> {
            let sealed = app.uploads.sealed_upload(&id)?;
            Ok(OpenUpload::open(
                sealed,
                Some(&id),
                app.uploads.identities(),
            )?)
        })
        .await??;
    let upload = Arc::new(upload);
    let size = upload.manifest().size;
    let media_type = upload.manifest().media_type.as_deref();
    let mut about = HeaderMap::new();
    let media_type = media_type.and_then(|value| HeaderValue::from_str(value).ok());
    about.insert(
        CONTENT_TYPE,
        media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    about.insert(
        CONTENT_DISPOSITION,
        attachment(upload.manifest().name.as_deref()),
    );
    let tag = format!("\"{id}\"");
    respond(headers, about, size, Some(&tag), |range| {
        Box::new(PlaintextSource(upload.plaintext(range)))
    })
}

/// `GET /uploads/{id}/{file}`: one sealed file.
pub(super) async fn sealed_file(
    app: &Arc<App>,
    id: UploadId,
    file: SealedFile,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let stored = app
        .blocking(move |app| app.uploads.sealed_file(&id, file))
        .await??;
    let mut about = HeaderMap::new();
    about.insert(CONTENT_TYPE, HeaderValue::from_static("application/age"));
    about.insert(
        CONTENT_DISPOSITION,
        attachment(Some(&format!("{id}-{file}"))),
    );
    // A segment never changes; meta.age may be written anew for other recipients.
    let tag = matches!(file, SealedFile::Segment(_)).then(|| format!("\"{id}.{file}\""));
    let size = stored.len();
    respond(headers, about, size, tag.as_deref(), |range| {
        Box::new(StoredSource {
            file: stored,
            at: range.start,
            end: range.end,
        })
    })
}

/// `DELETE /uploads/{id}`.
pub(super) async fn delete(call: Call<'_>, id: UploadId) -> Result<Response, Problem> {
    let deleted = call.app.blocking(move |app| app.uploads.delete(&id));
    if let Some(link) = deleted.await?? {
        call.facts.are_about_link(&link);
    }
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The whole or the part that was asked for.
fn respond(
    headers: &HeaderMap,
    about: HeaderMap,
    size: u64,
    tag: Option<&str>,
    source: impl FnOnce(std::ops::Range<u64>) -> Box<dyn Source>,
) -> Result<Response, Problem> {
    let (status, range) = match asked(headers, size, tag) {
        Asked::Whole => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Unsatisfiable => return Err(Problem::unsatisfiable(size)),
    };
    let length = range.end - range.start;
    let content_range = format!(
        "bytes {}-{}/{size}",
        range.start,
        range.end.saturating_sub(1)
    );
    let mut response = Response::new(ReadBody::new(source(range), length).boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = about;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(tag).ok()) {
        headers.insert(ETAG, tag);
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&content_range)
    {
        headers.insert(CONTENT_RANGE, range);
    }
    Ok(response)
}

/// `attachment`, with a name in both forms (RFC 6266, appendix D): plain for old clients, UTF-8 for the others. A name
/// is cut to what file systems take: the sender chose it, and must not be able to make headers that clients refuse.
fn attachment(name: Option<&str>) -> HeaderValue {
    const MAX_NAME: usize = 255;
    let value = name.map(|name| {
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        let plain: String = name
            .chars()
            .map(|c| match c {
                c if c.is_ascii_alphanumeric() || "-_.() ".contains(c) => c,
                _ => '_',
            })
            .collect();
        let mut encoded = String::new();
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
    });
    value
        .and_then(|value| HeaderValue::from_str(&value).ok())
        .unwrap_or(HeaderValue::from_static("attachment"))
}

/// Something that is read piece by piece, on a thread that may block.
trait Source: Send + 'static {
    /// The next piece, at most [`PIECE`] bytes; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, ReadFailure>;
}

struct PlaintextSource(Plaintext);

impl Source for PlaintextSource {
    fn next(&mut self) -> Result<Option<Bytes>, ReadFailure> {
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() + crate::seal::CHUNK_SIZE <= PIECE {
            match self.0.next_piece()? {
                Some(chunk) => piece.extend_from_slice(chunk),
                None => break,
            }
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

struct StoredSource {
    file: Box<dyn ReadAt>,
    at: u64,
    end: u64,
}

impl Source for StoredSource {
    fn next(&mut self) -> Result<Option<Bytes>, ReadFailure> {
        let size = usize::try_from(self.end - self.at)
            .unwrap_or(PIECE)
            .min(PIECE);
        let mut piece = vec![0; size];
        let read = self.file.read_at(&mut piece, self.at)?;
        piece.truncate(read);
        self.at += read as u64;
        Ok((read > 0).then(|| piece.into()))
    }
}

/// A body that is read while it is sent, one piece ahead. An error cuts it: a length was promised, and the connection
/// breaks off before it is reached.
struct ReadBody {
    state: ReadState,
    remaining: u64,
}

/// A source, and the piece that was read from it.
type ReadPiece = (Box<dyn Source>, Result<Option<Bytes>, ReadFailure>);

enum ReadState {
    Reading(JoinHandle<ReadPiece>),
    Done,
}

impl ReadBody {
    fn new(source: Box<dyn Source>, length: u64) -> Self {
        let state = if length == 0 {
            ReadState::Done
        } else {
            read_ahead(source)
        };
        Self {
            state,
            remaining: length,
        }
    }
}

fn read_ahead(mut source: Box<dyn Source>) -> ReadState {
    ReadState::Reading(tokio::task::spawn_blocking(move || {
        let piece = source.next();
        (source, piece)
    }))
}

impl Body for ReadBody {
    type Data = Bytes;
    type Error = ReadFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadFailure>>> {
        let ReadState::Reading(job) = &mut self.state else {
            return Poll::Ready(None);
        };
        let done = ready!(Pin::new(job).poll(cx));
        self.state = ReadState::Done;
        let error = match done {
            Ok((source, Ok(Some(piece)))) => {
                self.remaining = self.remaining.saturating_sub(piece.len() as u64);
                if self.remaining > 0 {
                    self.state = read_ahead(source);
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            Ok((_, Ok(None))) => "what is stored ended too soon".into(),
            Ok((_, Err(error))) => error,
            Err(error) => error.into(),
        };
        tracing::error!(
            error = &*error as &dyn std::error::Error,
            "a download was cut"
        );
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, ReadState::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
