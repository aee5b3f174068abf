//! tus 1.0.0 (<https://tus.io/protocols/resumable-upload>), with creation, creation-with-upload, creation-defer-length,
//! expiration, checksum, checksum-trailer, termination and concatenation.

mod checksum;

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    UPLOAD_LENGTH, UPLOAD_OFFSET, add_location, add_outcome, answer, finish_first, finish_if_due,
    insert, limit_body, run_to_the_end, session_limit, take_in, take_in_first,
};
use crate::http::body::RequestBody;
use crate::http::call::Call;
use crate::http::create::{Admission, Door, admit, admit_more, check_name, count, text_header};
use crate::http::limits::Permit;
use crate::http::problem::Problem;
use crate::http::submission::place_session;
use crate::http::tus_fields::{CHECKSUM_ALGORITHMS, UploadMetadata, upload_concat};
use crate::http::{App, Response};
use crate::upload::{
    ClientName, Kind, MetadataEntry, NewSession, Role, Session, Terms, UploadUrl, essence,
};
use checksum::Checksum;

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,checksum,checksum-trailer,\
                          termination,concatenation";
/// The media type of every body that brings data.
const OFFSET_STREAM: &str = "application/offset+octet-stream";

/// Whether a request speaks tus.
pub(in crate::http) fn is_spoken(headers: &HeaderMap) -> bool {
    headers.contains_key(TUS_RESUMABLE)
}

/// Refuses another version than ours.
pub(in crate::http) fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    if headers
        .get(TUS_RESUMABLE)
        .is_some_and(|version| version == VERSION)
    {
        Ok(())
    } else {
        Err(Problem::tus_version().with(TUS_VERSION, VERSION))
    }
}

/// Says in an answer which version it speaks.
pub(in crate::http) fn add_version(headers: &mut HeaderMap) {
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
}

/// What `OPTIONS` tells.
pub(super) fn announce(max_size: u64, headers: &mut HeaderMap) {
    add_version(headers);
    for (name, value) in [
        (TUS_VERSION, VERSION),
        (HeaderName::from_static("tus-extension"), EXTENSIONS),
        (
            HeaderName::from_static("tus-checksum-algorithm"),
            CHECKSUM_ALGORITHMS,
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    insert(headers, HeaderName::from_static("tus-max-size"), max_size);
}

/// What `HEAD` tells.
pub(super) fn status(session: &Session) -> HeaderMap {
    let mut headers = progress(session);
    match session.length() {
        Some(length) => insert(&mut headers, UPLOAD_LENGTH, length),
        None => insert(&mut headers, UPLOAD_DEFER_LENGTH, "1"),
    }
    if let Some(metadata) = session.metadata() {
        insert(&mut headers, UPLOAD_METADATA, metadata);
    }
    match session.role() {
        Role::Whole => {}
        Role::Partial => insert(&mut headers, UPLOAD_CONCAT, "partial"),
        Role::Final(parts) => insert(&mut headers, UPLOAD_CONCAT, parts.as_str()),
    }
    headers
}

/// What every answer tells of an upload.
fn progress(session: &Session) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, UPLOAD_OFFSET, session.offset());
    insert(
        &mut headers,
        UPLOAD_EXPIRES,
        httpdate::fmt_http_date(session.expires()),
    );
    add_outcome(session, &mut headers);
    headers
}

/// `POST /uploads`.
pub(in crate::http) async fn create(
    call: Call<'_>,
    door: Door,
    mut body: RequestBody,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    check_version(&head.headers)?;
    let Admission { permit, terms } = admit(call, &door, &body).await?;
    let (new, parts) = new_session(app, &head.headers, terms)?;
    if body.may_have_content() && (parts.is_some() || !is_offset_stream(&head.headers)) {
        return Err(if parts.is_some() {
            Problem::malformed_tus("A final upload has no content of its own.")
        } else {
            Problem::media_type(OFFSET_STREAM)
        });
    }
    limit_body(new.terms.max_size, &mut body, 0)?;
    if let Some(length) = new.length.filter(|length| body.announced() > Some(*length)) {
        return Err(Problem::longer_than_upload(length));
    }
    let checksum = Checksum::announced(&head.headers)?;
    door.check_size(&new.terms, new.length.max(body.announced()))?;
    let new = place_session(app, &head.headers, &door, new).await?;
    count(call, &new.terms)?;
    let task = create_and_receive(Arc::clone(app), new, parts, body, checksum, permit);
    let session = run_to_the_end(app, task).await.map_err(Problem::in_tus)?;
    let mut headers = progress(&session);
    add_location(&session, &mut headers);
    Ok(answer(StatusCode::CREATED, headers))
}

async fn create_and_receive(
    app: Arc<App>,
    new: NewSession,
    parts: Option<Vec<UploadUrl>>,
    mut body: RequestBody,
    checksum: Checksum,
    _permit: Permit,
) -> Result<Session, Problem> {
    if let Some(parts) = parts {
        let (session, made) = Box::pin(app.uploads.concatenate(new, &parts)).await?;
        if made {
            app.metrics.published(1, session.offset());
        }
        return Ok(session);
    }
    let session = if body.may_have_content() {
        let session = app.uploads.begin_session(new).await?;
        let append = session.append(&checksum.algorithms())?;
        take_in_first(append, &mut body, |body| checksum.expected(body)).await?
    } else {
        app.uploads.create_session(new).await?
    };
    finish_first(&app, session).await
}

fn new_session(
    app: &App,
    headers: &HeaderMap,
    terms: Terms,
) -> Result<(NewSession, Option<Vec<UploadUrl>>), Problem> {
    let (role, parts) = concat(headers)?;
    let length = number(headers, &UPLOAD_LENGTH)?;
    let deferred = match headers.get(&UPLOAD_DEFER_LENGTH) {
        None => false,
        Some(value) if value == "1" => true,
        Some(_) => {
            return Err(Problem::malformed_tus(
                "Upload-Defer-Length has no other value than 1.",
            ));
        }
    };
    let fits = match role {
        Role::Final(_) => length.is_none() && !deferred,
        _ => length.is_some() != deferred,
    };
    if !fits {
        return Err(Problem::malformed_tus(
            "Give Upload-Length or Upload-Defer-Length: 1, one of them; for a final upload neither.",
        ));
    }
    if length.is_some_and(|length| length > terms.max_size) {
        return Err(Problem::too_large(terms.max_size));
    }
    let metadata = metadata(headers)?;
    let name = metadata.name().map(ClientName::new);
    check_name(app, name.as_ref())?;
    let new = NewSession {
        submission: None,
        kind: Kind::File,
        name,
        media_type: metadata.media_type().map(str::to_owned),
        length,
        ends_at_length: true,
        metadata_entries: entries(&metadata),
        metadata: metadata.into_raw(),
        role,
        repr_digests: Vec::new(),
        wants: None,
        terms,
    };
    Ok((new, parts))
}

/// `PATCH` of an upload. Every answer to one says when the upload expires (tus, "Upload-Expires").
pub(super) async fn append(
    call: Call<'_>,
    url: UploadUrl,
    body: RequestBody,
) -> Result<Response, Problem> {
    let app = call.app;
    let appended = append_body(call, url.clone(), body).await;
    let problem = match appended {
        Ok(session) => return Ok(answer(StatusCode::NO_CONTENT, progress(&session))),
        Err(problem) => problem.in_tus(),
    };
    let expires = app
        .blocking(move |app| app.uploads.session_expires(&url))
        .await?;
    Err(match expires {
        Some(expires) => problem.with_expiry(expires),
        None => problem,
    })
}

async fn append_body(
    call: Call<'_>,
    url: UploadUrl,
    body: RequestBody,
) -> Result<Session, Problem> {
    let Call { app, head, .. } = call;
    let headers = &head.headers;
    if !is_offset_stream(headers) {
        return Err(Problem::media_type(OFFSET_STREAM));
    }
    let offset = number(headers, &UPLOAD_OFFSET)?
        .ok_or_else(|| Problem::malformed_tus("Upload-Offset is missing."))?;
    let length = number(headers, &UPLOAD_LENGTH)?;
    let checksum = Checksum::announced(headers)?;
    let permit = admit_more(call, &body).await?;
    let task = receive(Arc::clone(app), url, body, offset, length, checksum, permit);
    run_to_the_end(app, task).await
}

async fn receive(
    app: Arc<App>,
    url: UploadUrl,
    mut body: RequestBody,
    offset: u64,
    length: Option<u64>,
    checksum: Checksum,
    permit: Permit,
) -> Result<Session, Problem> {
    let mut session = app.uploads.session(url.clone()).await?;
    let permit = app.uploaders.permit_for(permit, &session.terms().by)?;
    session.brought_from(permit.from);
    session.ready()?;
    if matches!(session.role(), Role::Final(_)) {
        return Err(Problem::final_upload());
    }
    if offset != session.offset() {
        let problem = Problem::mismatching_offset(session.offset(), offset);
        return Err(problem.with_offset(session.offset()));
    }
    let limit = session_limit(&app, &session);
    if length.is_some_and(|length| length > limit) {
        return Err(Problem::too_large(limit).within(limit));
    }
    let whole = session.length().or(length);
    let room = whole.map(|whole| whole.saturating_sub(offset));
    if let Some(room) = room.filter(|room| body.announced() > Some(*room)) {
        return Err(Problem::longer_than_upload(room).with_offset(offset));
    }
    limit_body(limit, &mut body, offset)?;
    if let Some(length) = length {
        let fits;
        (session, fits) = Box::pin(session.declare_length(length)).await?;
        if !fits {
            return Err(Problem::inconsistent_length());
        }
    }
    // A client that lost the last answer may send nothing once more, to be told that all is there.
    let session = if room == Some(0) {
        nothing_more(session, &mut body, checksum).await?
    } else {
        let append = session.append(&checksum.algorithms())?;
        take_in(&app, &url, append, &mut body, |body| {
            checksum.expected(body)
        })
        .await?
    };
    finish_if_due(&app, session).await
}

/// A body of an upload that has all it is to have.
async fn nothing_more(
    session: Session,
    body: &mut RequestBody,
    checksum: Checksum,
) -> Result<Session, Problem> {
    let superseded = session.superseded();
    let next = tokio::select! {
        biased;
        () = superseded.cancelled() => return Err(Problem::taken_over()),
        next = body.next() => next,
    };
    if next?.is_some() {
        return Err(Problem::longer_than_upload(0).with_offset(session.offset()));
    }
    checksum.check_nothing(body)?;
    Ok(session)
}

fn is_offset_stream(headers: &HeaderMap) -> bool {
    let media_type = text_header(headers, CONTENT_TYPE).unwrap_or_default();
    essence(media_type).eq_ignore_ascii_case(OFFSET_STREAM)
}

/// A header whose value is a non-negative integer, written in digits alone.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let digits = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    let alone = headers.get_all(name).iter().count() == 1;
    number.filter(|_| alone).map(Some).ok_or_else(|| {
        Problem::malformed_tus("Upload-Offset and Upload-Length are numbers of bytes.")
    })
}

/// What is said about an upload. tus-js-client says it so in the draft's requests too.
pub(in crate::http) fn metadata(headers: &HeaderMap) -> Result<UploadMetadata, Problem> {
    match text(headers, &UPLOAD_METADATA)? {
        Some(text) => Ok(UploadMetadata::parse(text)?),
        None => Ok(UploadMetadata::default()),
    }
}

/// The same for the manifest.
pub(super) fn entries(metadata: &UploadMetadata) -> Vec<MetadataEntry> {
    let pairs = metadata.pairs();
    pairs
        .map(|(key, value)| MetadataEntry::new(key, value))
        .collect()
}

fn concat(headers: &HeaderMap) -> Result<(Role, Option<Vec<UploadUrl>>), Problem> {
    match text(headers, &UPLOAD_CONCAT)? {
        Some(text) => Ok(upload_concat(text)?),
        None => Ok((Role::Whole, None)),
    }
}

/// A header that stands once and is text.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    let malformed =
        || Problem::malformed_tus("A header of tus stands twice, or is no visible text.");
    text.map(Some).ok_or_else(malformed)
}
