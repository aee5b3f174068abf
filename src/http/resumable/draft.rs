//! The IETF draft "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload), interop version 8 (drafts 09 and later),
//! and the older ones that clients in the field speak: 3 (draft 01, Apple's `URLSession`), 5 and 6 (drafts 03 and 05,
//! tus-js-client).

mod fields;

use std::sync::Arc;

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, StatusCode};

use super::tus;
use super::{
    UPLOAD_LENGTH, UPLOAD_OFFSET, add_location, add_outcome, answer, finish_first, finish_if_due,
    insert, limit_body, run_to_the_end, seconds_left, session_limit, take_in, take_in_first,
};
use crate::http::body::RequestBody;
use crate::http::call::Call;
use crate::http::create::{Admission, Door, admit, admit_more, check_name, count, text_header};
use crate::http::digest_fields::{CONTENT_DIGEST, REPR_DIGEST, digests, wanted};
use crate::http::form::disposition_filename;
use crate::http::limits::Permit;
use crate::http::problem::Problem;
use crate::http::submission::place_session;
use crate::http::tus_fields::UploadMetadata;
use crate::http::{App, Response, json};
use crate::upload::{
    ClientName, ExpectedDigest, Kind, NewSession, Role, RunningDigest, Session, Terms, UploadUrl,
    essence,
};
pub(in crate::http) use fields::Version;
use fields::integer;

pub(in crate::http) const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");
/// The media type of what is appended.
const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// `Upload-Limit`, with how long an upload lives on.
pub(in crate::http) fn limit(max_size: u64, session: Option<&Session>) -> String {
    let size = format!("max-size={max_size}");
    match session {
        Some(session) => format!("{size}, max-age={}", seconds_left(session)),
        None => size,
    }
}

/// `Upload-Length`.
pub(in crate::http) fn length(headers: &HeaderMap) -> Option<u64> {
    integer(headers, &UPLOAD_LENGTH)
}

/// Says how many bytes are there.
pub(in crate::http) fn add_offset(headers: &mut HeaderMap, offset: u64) {
    insert(headers, UPLOAD_OFFSET, offset);
}

/// What `HEAD` tells.
pub(super) fn status(app: &App, session: &Session, version: Version) -> HeaderMap {
    let complete = session.finished().is_some();
    let mut headers = progress(app, session, version, complete);
    if let Some(length) = session.length() {
        insert(&mut headers, UPLOAD_LENGTH, length);
    }
    headers
}

fn progress(app: &App, session: &Session, version: Version, complete: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, UPLOAD_OFFSET, session.offset());
    let limit = limit(session_limit(app, session), Some(session));
    insert(&mut headers, UPLOAD_LIMIT, limit);
    version.add_completeness(&mut headers, complete);
    add_outcome(session, &mut headers);
    headers
}

/// `POST` or `PUT` of a part of an upload, or of none of it yet (`Upload-Complete: ?0`).
pub(in crate::http) async fn create(
    call: Call<'_>,
    door: Door,
    name: Option<ClientName>,
    mut body: RequestBody,
    version: Version,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    let headers = &head.headers;
    let length = length(headers);
    if length.is_some_and(|length| body.announced() > Some(length)) {
        return Err(Problem::inconsistent_length());
    }
    let Admission { permit, terms } = admit(call, &door, &body).await?;
    door.check_size(&terms, length.max(body.announced()))?;
    limit_body(terms.max_size, &mut body, 0)?;
    let new = new_session(app, headers, name, length, version, terms)?;
    let content = digests(headers, CONTENT_DIGEST)?;
    let new = place_session(app, headers, &door, new).await?;
    count(call, &new.terms)?;
    let task = create_and_receive(Arc::clone(app), new, body, content, permit);
    let session = run_to_the_end(app, task).await?;
    let mut headers = progress(app, &session, version, false);
    add_location(&session, &mut headers);
    Ok(answer(StatusCode::CREATED, headers))
}

async fn create_and_receive(
    app: Arc<App>,
    new: NewSession,
    mut body: RequestBody,
    content: Vec<ExpectedDigest>,
    _permit: Permit,
) -> Result<Session, Problem> {
    let session = if body.may_have_content() || !content.is_empty() {
        let checks: Vec<_> = content.iter().map(|digest| digest.algorithm).collect();
        let append = app.uploads.begin_session(new).await?.append(&checks)?;
        take_in_first(append, &mut body, |_| Ok(content)).await?
    } else {
        app.uploads.create_session(new).await?
    };
    finish_first(&app, session).await
}

fn new_session(
    app: &App,
    headers: &HeaderMap,
    name: Option<ClientName>,
    length: Option<u64>,
    version: Version,
    terms: Terms,
) -> Result<NewSession, Problem> {
    let media_type = text_header(headers, CONTENT_TYPE).unwrap_or_default();
    if essence(media_type).eq_ignore_ascii_case("multipart/form-data") {
        return Err(Problem::form_in_parts());
    }
    let metadata = tus::metadata(headers)?;
    let (name, media_type) = description(headers, name, &metadata)?;
    check_name(app, name.as_ref())?;
    Ok(NewSession {
        submission: None,
        kind: Kind::File,
        name,
        media_type,
        length,
        ends_at_length: version.ends_at_length(),
        metadata_entries: tus::entries(&metadata),
        metadata: metadata.into_raw(),
        role: Role::Whole,
        repr_digests: digests(headers, REPR_DIGEST)?,
        wants: wanted(headers)?,
        terms,
    })
}

/// What a request that creates an upload calls it. tus-js-client sends names in the way of tus, and gives what it sends the type
/// of what is appended.
pub(in crate::http) fn description(
    headers: &HeaderMap,
    name: Option<ClientName>,
    metadata: &UploadMetadata,
) -> Result<(Option<ClientName>, Option<String>), Problem> {
    let media_type = text_header(headers, CONTENT_TYPE)
        .filter(|media_type| !essence(media_type).eq_ignore_ascii_case(PARTIAL_UPLOAD))
        .or_else(|| metadata.media_type())
        .map(str::to_owned);
    let disposition = headers.get(CONTENT_DISPOSITION).filter(|_| name.is_none());
    let disposition = disposition
        .map(|value| disposition_filename(value.as_bytes()))
        .transpose()?;
    let name = name
        .or(disposition.flatten().map(ClientName::new))
        .or_else(|| metadata.name().map(ClientName::new));
    Ok((name, media_type))
}

/// What a request that appends says of itself.
struct Appending {
    version: Version,
    complete: bool,
    offset: u64,
    length: Option<u64>,
    content: Vec<ExpectedDigest>,
    repr: Vec<ExpectedDigest>,
}

/// `PATCH` of an upload.
pub(super) async fn append(
    call: Call<'_>,
    url: UploadUrl,
    body: RequestBody,
    version: Version,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    let headers = &head.headers;
    let media_type = text_header(headers, CONTENT_TYPE).unwrap_or_default();
    if version.is_typed() && !essence(media_type).eq_ignore_ascii_case(PARTIAL_UPLOAD) {
        return Err(Problem::media_type(PARTIAL_UPLOAD));
    }
    let appending = Appending {
        version,
        complete: version
            .completes(headers)
            // In version 3, what is not said to be incomplete is complete.
            .or((version == Version::Inverted).then_some(true))
            .ok_or_else(Problem::missing_completeness)?,
        offset: integer(headers, &UPLOAD_OFFSET).ok_or_else(Problem::missing_offset)?,
        length: length(headers),
        content: digests(headers, CONTENT_DIGEST)?,
        repr: digests(headers, REPR_DIGEST)?,
    };
    let complete = appending.complete;
    let permit = admit_more(call, &body).await?;
    let task = receive(Arc::clone(app), url, body, appending, permit);
    let received = run_to_the_end(app, task).await;
    let session = received.map_err(|problem| problem.in_draft(version))?;
    let about = progress(app, &session, version, complete);
    let Some(receipt) = session.receipt().filter(|_| complete) else {
        return Ok(answer(version.acknowledged(), about));
    };
    let mut response = json(&receipt);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().extend(about);
    insert(
        response.headers_mut(),
        LOCATION,
        format!("/uploads/{}", receipt.id),
    );
    Ok(response)
}

async fn receive(
    app: Arc<App>,
    url: UploadUrl,
    mut body: RequestBody,
    appending: Appending,
    permit: Permit,
) -> Result<Session, Problem> {
    let mut session = app.uploads.session(url.clone()).await?;
    let permit = app.uploaders.permit_for(permit, &session.terms().by)?;
    session.brought_from(permit.from);
    session.ready()?;
    if session.finished().is_some() {
        return complete_already(session, &body, &appending);
    }
    let offset = session.offset();
    if appending.offset != offset {
        return Err(Problem::mismatching_offset(offset, appending.offset).with_offset(offset));
    }
    let session = check_length(&app, session, &body, &appending).await?;
    limit_body(session_limit(&app, &session), &mut body, offset)?;
    let session = if body.may_have_content() || !appending.content.is_empty() {
        let checks: Vec<_> = appending
            .content
            .iter()
            .map(|digest| digest.algorithm)
            .collect();
        let append = session.append(&checks)?;
        take_in(&app, &url, append, &mut body, |_| Ok(appending.content)).await?
    } else {
        session
    };
    if !appending.complete {
        return finish_if_due(&app, session).await;
    }
    if session
        .length()
        .is_some_and(|length| length != session.offset())
    {
        return Err(Problem::inconsistent_length().with_offset(session.offset()));
    }
    let session = session.finish(&appending.repr).await?;
    app.metrics.published(1, session.offset());
    Ok(session)
}

/// The lengths that a request tells must be the same, and that which is known (section "Length").
async fn check_length(
    app: &App,
    session: Session,
    body: &RequestBody,
    appending: &Appending,
) -> Result<Session, Problem> {
    let end = body
        .announced()
        .map(|size| session.offset().saturating_add(size));
    let by_content = end.filter(|_| appending.complete);
    let told = appending.length.or(by_content);
    let contradicts = by_content.is_some_and(|length| told != Some(length))
        || told.is_some_and(|length| end > Some(length));
    if contradicts {
        return Err(Problem::inconsistent_length().with_offset(session.offset()));
    }
    let limit = session_limit(app, &session);
    if told.is_some_and(|length| length > limit) {
        return Err(Problem::too_large(limit).within(limit));
    }
    let session = match told {
        Some(length) => {
            let offset = session.offset();
            let (session, fits) = Box::pin(session.declare_length(length)).await?;
            if !fits {
                return Err(Problem::inconsistent_length().with_offset(offset));
            }
            session
        }
        None => session,
    };
    if session.length().is_some_and(|length| end > Some(length)) {
        return Err(Problem::inconsistent_length().with_offset(session.offset()));
    }
    Ok(session)
}

/// A finished upload takes nothing more. Only a client that may not know better, because its version ends an upload without
/// its saying so, is told again what it was told, or would have been.
fn complete_already(
    session: Session,
    body: &RequestBody,
    appending: &Appending,
) -> Result<Session, Problem> {
    let offset = session.offset();
    let problem = if body.may_have_content() {
        Problem::inconsistent_length()
    } else if appending.version.ends_at_length() && appending.complete && appending.offset == offset
    {
        let nothing = |digest: &ExpectedDigest| RunningDigest::new(digest.algorithm).finish();
        if appending
            .content
            .iter()
            .all(|digest| digest.is(&nothing(digest)))
        {
            return Ok(session);
        }
        Problem::digest_mismatch()
    } else {
        Problem::completed_upload()
    };
    Err(problem
        .with_offset(offset)
        .with_completeness(appending.version, true))
}
