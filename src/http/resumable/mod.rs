//! Uploads that come in several requests. Two protocols on the same routes, told apart by their headers: [`tus`] 1.0.0, and
//! the IETF [`draft`] "Resumable Uploads for HTTP".

pub(super) mod draft;
pub(super) mod options;
pub(super) mod tus;

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{CONTENT_LOCATION, LAST_MODIFIED, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::timeout;

use super::body::{BodyError, RequestBody};
use super::call::Call;
use super::create::run_to_the_end;
use super::digest_fields::{REPR_DIGEST, field_value};
use super::problem::Problem;
use super::{App, Response, empty, json};
use crate::upload::{Append, ExpectedDigest, Session, SessionError, UploadUrl};

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const METHOD_OVERRIDE: &str = "x-http-method-override";

/// What an upload URL answers to.
pub(super) const SESSION_METHODS: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";

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

impl Protocol {
    /// What an answer about an upload tells of it.
    fn status(&self, app: &App, session: &Session) -> HeaderMap {
        match self {
            Self::Tus => tus::status(session),
            Self::Draft(version) => draft::status(app, session, *version),
        }
    }
}

/// The method that a request means: clients that cannot send all of them say it in a header, and then the actual one does not
/// matter (tus, "X-HTTP-Method-Override"). Only where uploads are created and gone on with.
///
/// `None` for a name that no method can have.
pub(super) fn effective_method(head: &Parts) -> Option<Method> {
    match head.headers.get(METHOD_OVERRIDE) {
        Some(value) => Method::from_bytes(&value.as_bytes().to_ascii_uppercase()).ok(),
        None => Some(head.method.clone()),
    }
}

/// Whether a request to `/uploads` creates an upload.
pub(super) fn creates(head: &Parts) -> bool {
    let method = if tus::is_spoken(&head.headers) {
        effective_method(head)
    } else {
        Some(head.method.clone())
    };
    method == Some(Method::POST)
}

/// Everything at `/uploads/{id}.{secret}`.
pub(super) async fn at_url(
    call: Call<'_>,
    url: UploadUrl,
    body: RequestBody,
) -> Result<Response, Problem> {
    // Before anything is read of the upload, which is tried for longer than a client should wait to be told to come back.
    if call.app.uploads.is_shared() {
        let reached = call.app.blocking(|app| app.uploads.check_reach());
        reached.await??;
    }
    // Boxed: else every request's future would have room for this, also one that takes hours and needs none of it.
    let answer = Box::pin(answer_at_url(call, url.clone(), body)).await;
    if answer.is_err() {
        note_terms(call, url).await;
    }
    answer
}

async fn answer_at_url(
    call: Call<'_>,
    url: UploadUrl,
    body: RequestBody,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    let protocol = Protocol::of(&head.headers);
    let other = || Problem::method_not_allowed(SESSION_METHODS);
    let method = effective_method(head).ok_or_else(other)?;
    match protocol {
        Protocol::Tus => tus::check_version(&head.headers)?,
        Protocol::Draft(version) => version.check(&method, &head.headers)?,
    }
    match method {
        Method::HEAD => status(app, url, &protocol).await,
        Method::GET => receipt(app, url, &protocol).await,
        Method::PATCH => match protocol {
            Protocol::Tus => tus::append(call, url, body).await,
            Protocol::Draft(version) => draft::append(call, url, body, version).await,
        },
        Method::DELETE => {
            note_terms(call, url.clone()).await;
            let (within, from) = (app.limits.withdraw_for, call.peer.address);
            if app.uploads.withdraw(url, within, Some(from)).await? {
                call.facts.are_told();
            }
            Ok(answer(StatusCode::NO_CONTENT, HeaderMap::new()))
        }
        _ => Err(other()),
    }
}

/// Finds out for the audit log whose upload it is.
async fn note_terms(call: Call<'_>, url: UploadUrl) {
    if call.app.audit.is_none() {
        return;
    }
    let terms = call
        .app
        .blocking(move |app| app.uploads.session_terms(&url));
    if let Ok(Some(terms)) = terms.await {
        call.facts.are_of(&terms.by);
        if let Some(link) = terms.link {
            call.facts.are_about_link(&link.to_string());
        }
    }
}

async fn status(app: &Arc<App>, url: UploadUrl, protocol: &Protocol) -> Result<Response, Problem> {
    let session = app.uploads.session(url).await?.check().await?;
    let status = match protocol {
        Protocol::Tus => StatusCode::OK,
        Protocol::Draft(_) => StatusCode::NO_CONTENT,
    };
    Ok(answer(status, protocol.status(app, &session)))
}

/// The receipt of a finished upload, for whoever did not get the answer that brought it.
async fn receipt(app: &Arc<App>, url: UploadUrl, protocol: &Protocol) -> Result<Response, Problem> {
    let session = app.uploads.session(url).await?.check().await?;
    let Some(receipt) = session.receipt() else {
        let about = protocol.status(app, &session);
        return Ok(answer(StatusCode::NO_CONTENT, about));
    };
    let mut response = json(&receipt);
    response
        .headers_mut()
        .extend(protocol.status(app, &session));
    Ok(response)
}

/// What every answer about a finished upload says of what became of it.
fn add_outcome(session: &Session, headers: &mut HeaderMap) {
    let Some(time) = session.finished() else {
        return;
    };
    let location = format!("/uploads/{}", session.url().id());
    insert(headers, CONTENT_LOCATION, location);
    insert(headers, LAST_MODIFIED, httpdate::fmt_http_date(time));
    if let Some(value) = session.repr_digest().and_then(field_value) {
        headers.insert(HeaderName::from_static(REPR_DIGEST), value);
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
/// What it comes to is boxed when it has ended: a body may take hours, and its future need not have room for that all the while.
///
/// What arrived of a body that breaks off counts as well, unless it was to be held to a digest. `expected`: the digests, asked
/// for when the body has ended, since they may stand behind it.
async fn take_in(
    app: &App,
    url: &UploadUrl,
    mut append: Append,
    body: &mut RequestBody,
    expected: impl FnOnce(&RequestBody) -> Result<Vec<ExpectedDigest>, Problem>,
) -> Result<Session, Problem> {
    let kept = !append.is_checked();
    let broken = match fill(&mut append, body).await {
        Filled::Whole => match expected(body) {
            Ok(expected) => return Ok(Box::pin(append.close(&expected)).await?),
            Err(problem) => problem,
        },
        Filled::Broken(error) => Problem::interrupted(error, kept),
        Filled::TakenOver => Problem::taken_over(),
        Filled::Failed(SessionError::TooLong) => {
            // Nothing may go on with it (the draft, "Server Behavior" of appending); tus says nothing of such a body.
            drop(append);
            app.uploads.cancel_session(url.clone()).await?;
            return Err(Problem::overlong());
        }
        Filled::Failed(error) => return Err(error.into()),
    };
    let session = if kept {
        Box::pin(append.close(&[])).await?
    } else {
        Box::pin(append.discard()).await?
    };
    Err(broken.with_offset(session.offset()))
}

/// As [`take_in`], for the request that creates the upload: where it fails, nobody knows the upload's URL, and nothing is left.
async fn take_in_first(
    mut append: Append,
    body: &mut RequestBody,
    expected: impl FnOnce(&RequestBody) -> Result<Vec<ExpectedDigest>, Problem>,
) -> Result<Session, Problem> {
    match fill(&mut append, body).await {
        Filled::Whole => Ok(Box::pin(append.close(&expected(body)?)).await?),
        Filled::Broken(error) => Err(error.into()),
        Filled::TakenOver => Err(Problem::taken_over()),
        Filled::Failed(SessionError::TooLong) => Err(Problem::overlong()),
        Filled::Failed(error) => Err(error.into()),
    }
}

/// How a body ended.
enum Filled {
    Whole,
    Broken(BodyError),
    /// A later request for the same upload came.
    TakenOver,
    /// It could not be taken in.
    Failed(SessionError),
}

async fn fill(append: &mut Append, body: &mut RequestBody) -> Filled {
    let superseded = append.superseded();
    let mut until: Option<Instant> = None;
    loop {
        let next = match until {
            None => tokio::select! {
                biased;
                () = superseded.cancelled() => {
                    if append.is_checked() {
                        return Filled::TakenOver;
                    }
                    until = Some(Instant::now() + LAST_BYTES);
                    continue;
                }
                next = body.next() => next,
            },
            // A request is mostly taken over because its connection broke: what lies in the buffers on the way here has been
            // sent, and need not be sent again. The later request waits for it, so only for a moment.
            Some(until) => match timeout(LAST_PAUSE, body.next()).await {
                Ok(Ok(Some(data))) if Instant::now() < until => Ok(Some(data)),
                _ => return Filled::TakenOver,
            },
        };
        match next {
            Ok(Some(data)) => {
                if let Err(error) = append.write(&data).await {
                    return Filled::Failed(error);
                }
            }
            Ok(None) => return Filled::Whole,
            Err(error) => return Filled::Broken(error),
        }
    }
}

/// Publishes what is due, or removes it again where that fails and nobody knows its URL.
async fn finish_first(app: &App, session: Session) -> Result<Session, Problem> {
    let url = session.url().clone();
    match Box::pin(finish_if_due(app, session)).await {
        Ok(session) => Ok(session),
        Err(problem) => {
            if let Err(error) = app.uploads.cancel_session(url).await {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "an upload whose creation failed is left to expire");
            }
            Err(problem)
        }
    }
}

/// Publishes what is complete by itself now.
async fn finish_if_due(app: &App, session: Session) -> Result<Session, Problem> {
    let before = session.finished().is_some();
    let session = Box::pin(session.finish_if_due()).await?;
    if !before && session.finished().is_some() {
        app.metrics.published(1, session.offset());
    }
    Ok(session)
}

/// Bytes that an upload may have.
fn session_limit(app: &App, session: &Session) -> u64 {
    app.limits.max_size.min(session.max_size())
}

/// A body that goes with an upload of at most `limit` bytes: refused at once where it announces too much.
fn limit_body(limit: u64, body: &mut RequestBody, offset: u64) -> Result<(), Problem> {
    let limited = body.limit(limit.saturating_sub(offset));
    limited.map_err(|error| Problem::from(error).within(limit))
}

fn answer(status: StatusCode, headers: HeaderMap) -> Response {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: impl Display) {
    // All values come from us, but for what was checked when it was read.
    if let Ok(value) = HeaderValue::try_from(format!("{value}")) {
        headers.insert(name, value);
    }
}

/// Says what would not have been too much (the draft, section "Limits").
pub(super) fn add_limit(app: &App, headers: &mut HeaderMap) {
    if !headers.contains_key(draft::UPLOAD_LIMIT) {
        insert(
            headers,
            draft::UPLOAD_LIMIT,
            draft::limit(app.limits.max_size, None),
        );
    }
}

fn seconds_left(session: &Session) -> u64 {
    let left = session.expires().duration_since(SystemTime::now());
    left.map_or(0, |left| left.as_secs())
}
