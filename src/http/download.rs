//! Uploads going out, for the admin: lists, sealed files as they are stored, plaintext where there is a key.

mod read_body;
mod representation;

use std::fmt::Write;
use std::sync::Arc;

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::call::Call;
use super::problem::Problem;
use super::{App, Response, empty, json};
use crate::store::{SealedFile, UploadId};
use crate::upload::{Summary, TaggedFile};
use read_body::Stored;
use representation::Representation;

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
    head: &Parts,
) -> Result<Response, Problem> {
    if app.uploads.identities().is_empty() {
        return Err(Problem::no_private_key());
    }
    let head = head.clone();
    app.blocking(move |app| opened(app, id, &head)).await?
}

/// The same, with the beginning of what is asked for. Blocks.
fn opened(app: &App, id: UploadId, head: &Parts) -> Result<Response, Problem> {
    let sealed = app.uploads.sealed_upload(&id)?;
    let upload = Arc::new(app.uploads.open(sealed, &id)?);
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
    // What an id stands for never changes, not even where it is sealed anew: the id says all.
    let representation = Representation {
        about,
        size: upload.manifest().size,
        etag: Some(format!("\"{id}\"")),
    };
    representation.respond(head, upload.plaintext(0..0))
}

/// `GET /uploads/{id}/{file}`: one sealed file.
pub(super) async fn sealed_file(
    app: &Arc<App>,
    id: UploadId,
    file: SealedFile,
    head: &Parts,
) -> Result<Response, Problem> {
    let head = head.clone();
    app.blocking(move |app| stored(app, id, file, &head))
        .await?
}

/// The same, with the beginning of what is asked for. Blocks.
fn stored(app: &App, id: UploadId, file: SealedFile, head: &Parts) -> Result<Response, Problem> {
    let TaggedFile { file: stored, etag } = app.uploads.sealed_file(&id, file)?;
    let mut about = HeaderMap::new();
    about.insert(CONTENT_TYPE, HeaderValue::from_static("application/age"));
    about.insert(
        CONTENT_DISPOSITION,
        attachment(Some(&format!("{id}-{file}"))),
    );
    let representation = Representation {
        about,
        size: stored.len(),
        etag,
    };
    representation.respond(head, Stored::new(stored))
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
