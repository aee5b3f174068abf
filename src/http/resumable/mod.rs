//! Uploads that come in several requests. Two protocols on the same routes, told apart by their headers: [`tus`] 1.0.0, and
//! the IETF [`draft`] "Resumable Uploads for HTTP".

pub(super) mod draft;
pub(super) mod options;
pub(super) mod tus;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, LAST_MODIFIED, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::timeout;

use super::body::{BodyError, RequestBody};
use super::create::run_to_the_end;
use super::digest_fields::{REPR_DIGEST, field_value};
use super::problem::Problem;
use super::{App, Response, empty, json};
use crate::upload::{Append, Session, SessionError, UploadUrl};

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const METHOD_OVERRIDE: &str = "x-http-method-override";

/// How long a request that is taken over may go on with what has arrived for it, and how long nothing may come then.
const LAST_BYTES: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// Which protocol a request speaks.
pub(super) enum Protocol {
    Tus,
    Draft(draft::Version),
}

impl Protocol {
    fn of(headers: &HeaderMap) -> Self {
        if tus::is_spoken(headers) {
            Self::Tus
        } else {
            Self::Draft(draft::Version::of(headers))
        }
    }
}

/// The method that a request means: clients that cannot send all of them say it in a header, and then the actual one does not
/// matter (tus, "X-HTTP-Method-Override"). Only where uploads are created and gone on with.
pub(super) fn effective_method(head: &Parts) -> Method {
    let named = head.headers.get(METHOD_OVERRIDE);
    let named = named.map(|value| Method::from_bytes(&value.as_bytes().to_ascii_uppercase()));
    // A name that is none means nothing that is answered.
    named.map_or_else(
        || head.method.clone(),
        |named| named.unwrap_or(Method::TRACE),
    )
}

/// Everything at `/uploads/{id}.{secret}`.
pub(super) async fn at_url(
    app: &Arc<App>,
    head: &Parts,
    url: UploadUrl,
    body: RequestBody,
) -> Result<Response, Problem> {
    let protocol = Protocol::of(&head.headers);
    let method = effective_method(head);
    match protocol {
        Protocol::Tus => tus::check_version(&head.headers)?,
        Protocol::Draft(version) => version.check(&method, &head.headers)?,
    }
    match method {
        Method::HEAD => status(app, url, &protocol).await,
        Method::GET => receipt(app, url, &protocol).await,
        Method::PATCH => match protocol {
            Protocol::Tus => tus::append(app, head, url, body).await,
            Protocol::Draft(version) => draft::append(app, head, url, body, version).await,
        },
        Method::DELETE => {
            let session = app.uploads.session(url).await?;
            session.remove().await?;
            Ok(answer(StatusCode::NO_CONTENT, HeaderMap::new()))
        }
        _ => Err(Problem::method_not_allowed(
            "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
        )),
    }
}

async fn status(app: &Arc<App>, url: UploadUrl, protocol: &Protocol) -> Result<Response, Problem> {
    let session = app.uploads.session(url).await?.check().await?;
    Ok(status_of(app, &session, protocol))
}

fn status_of(app: &App, session: &Session, protocol: &Protocol) -> Response {
    match protocol {
        Protocol::Tus => answer(StatusCode::OK, tus::status(session)),
        Protocol::Draft(version) => answer(
            StatusCode::NO_CONTENT,
            draft::status(app, session, *version),
        ),
    }
}

/// The receipt of a finished upload, for whoever did not get the answer that brought it.
async fn receipt(app: &Arc<App>, url: UploadUrl, protocol: &Protocol) -> Result<Response, Problem> {
    let session = app.uploads.session(url).await?.check().await?;
    let Some(receipt) = session.receipt() else {
        let mut response = status_of(app, &session, protocol);
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().remove(CONTENT_LENGTH);
        return Ok(response);
    };
    let mut response = json(&receipt);
    let about = match protocol {
        Protocol::Tus => tus::status(&session),
        Protocol::Draft(version) => draft::status(app, &session, *version),
    };
    response.headers_mut().extend(about);
    Ok(response)
}

/// What every answer about a finished upload says of what became of it.
fn add_outcome(session: &Session, headers: &mut HeaderMap) {
    let Some(receipt) = session.receipt() else {
        return;
    };
    insert(
        headers,
        CONTENT_LOCATION,
        format!("/uploads/{}", receipt.id),
    );
    if let Some(value) = session.repr_digest().and_then(field_value) {
        headers.insert(HeaderName::from_static(REPR_DIGEST), value);
    }
    if let Ok(time) = humantime::parse_rfc3339(&receipt.time) {
        insert(headers, LAST_MODIFIED, httpdate::fmt_http_date(time));
    }
}

/// Where a new upload is gone on with.
fn add_location(session: &Session, headers: &mut HeaderMap) {
    insert(
        headers,
        LOCATION,
        format!("/uploads/{}", *session.url().to_segment()),
    );
}

/// Takes a whole body into an upload, and makes it count.
///
/// What arrived of a body that breaks off counts as well, unless it was to be held to a digest. `expected`: the digests, asked
/// for when the body has ended, since they may stand behind it.
async fn take_in(
    mut append: Append,
    body: &mut RequestBody,
    expected: impl FnOnce(&RequestBody) -> Result<Vec<crate::upload::ExpectedDigest>, Problem>,
) -> Result<Session, Problem> {
    let superseded = append.superseded();
    let broken = loop {
        let next = tokio::select! {
            biased;
            () = superseded.cancelled() => {
                take_in_what_has_arrived(&mut append, body).await?;
                break Problem::taken_over();
            }
            next = body.next() => next,
        };
        match next {
            Ok(Some(data)) => match append.write(&data).await {
                Ok(()) => {}
                Err(SessionError::TooLong) => {
                    append.void().await?;
                    return Err(Problem::inconsistent_length());
                }
                Err(error) => return Err(error.into()),
            },
            Ok(None) => match expected(body) {
                Ok(expected) => return Ok(append.close(&expected).await?),
                Err(problem) => break problem,
            },
            Err(error) => break Problem::interrupted(error),
        }
    };
    let session = if append.is_checked() {
        append.discard().await?
    } else {
        append.close(&[]).await?
    };
    Err(broken.with_offset(session.offset()))
}

/// A request is mostly taken over because its connection broke: what still lies in the buffers on the way here has been sent,
/// and need not be sent again. The next request waits for it, so only for a moment.
async fn take_in_what_has_arrived(
    append: &mut Append,
    body: &mut RequestBody,
) -> Result<(), SessionError> {
    let end = Instant::now() + LAST_BYTES;
    while !append.is_checked() && Instant::now() < end {
        match timeout(LAST_PAUSE, body.next()).await {
            Ok(Ok(Some(data))) => append.write(&data).await?,
            _ => break,
        }
    }
    Ok(())
}

/// As [`take_in`], for the request that creates the upload: where it fails, nobody knows the upload's URL, and it is removed.
async fn take_in_first(
    session: Session,
    body: &mut RequestBody,
    checks: &[crate::upload::Algorithm],
    expected: impl FnOnce(&RequestBody) -> Result<Vec<crate::upload::ExpectedDigest>, Problem>,
) -> Result<Session, Problem> {
    let mut append = session.append(checks)?;
    let broken = loop {
        match body.next().await {
            Ok(Some(data)) => {
                if let Err(error) = append.write(&data).await {
                    break error.into();
                }
            }
            Ok(None) => match expected(body) {
                Ok(expected) => return Ok(append.close(&expected).await?),
                Err(problem) => break problem,
            },
            Err(error) => break error.into(),
        }
    };
    append.void().await?;
    Err(broken)
}

/// A body that goes with an upload of this length, or without one: refused at once where it announces too much.
fn limit_body(app: &App, body: &mut RequestBody, offset: u64) -> Result<(), BodyError> {
    body.limit(app.limits.max_size.saturating_sub(offset))
}

fn answer(status: StatusCode, headers: HeaderMap) -> Response {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: impl Into<HeaderText>) {
    // All values come from us, but for what was checked when it was read.
    if let Ok(value) = HeaderValue::try_from(value.into().0) {
        headers.insert(name, value);
    }
}

/// Says what would not have been too much (the draft, section "Limits").
pub(super) fn add_limit(app: &App, headers: &mut HeaderMap) {
    if !headers.contains_key(draft::UPLOAD_LIMIT) {
        insert(headers, draft::UPLOAD_LIMIT, draft::limit(app, None));
    }
}

/// A header's value in the making.
struct HeaderText(String);

impl From<u64> for HeaderText {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl From<String> for HeaderText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for HeaderText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

fn seconds_left(session: &Session) -> u64 {
    let left = session.expires().duration_since(SystemTime::now());
    left.map_or(0, |left| left.as_secs())
}
