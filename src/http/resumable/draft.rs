//! The IETF draft "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload), interop version 8 (drafts 09 and later),
//! and the older ones that clients in the field speak: 3 (draft 01, Apple's `URLSession`), 5 and 6 (drafts 03 and 05,
//! tus-js-client).

use std::sync::Arc;

use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sfv::{Item, Parser};

use super::tus;
use super::{
    UPLOAD_LENGTH, UPLOAD_OFFSET, add_location, add_outcome, answer, insert, limit_body,
    run_to_the_end, seconds_left, take_in, take_in_first,
};
use crate::http::body::RequestBody;
use crate::http::create::{Permit, admit, check_name, text_header};
use crate::http::digest_fields::{CONTENT_DIGEST, REPR_DIGEST, digests, wanted};
use crate::http::form::disposition_filename;
use crate::http::problem::Problem;
use crate::http::{App, Response, json};
use crate::upload::{ClientName, ExpectedDigest, NewSession, Role, Session, UploadUrl};

const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const UPLOAD_INCOMPLETE: HeaderName = HeaderName::from_static("upload-incomplete");
const INTEROP_VERSION: HeaderName = HeaderName::from_static("upload-draft-interop-version");
pub(super) const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");
/// The media type of what is appended.
const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// Which interop version of the draft a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Version {
    /// Interop version 3: `Upload-Incomplete` in place of `Upload-Complete`.
    Inverted,
    /// 4 and 5: no media type of its own for what is appended.
    Untyped,
    /// 6: as it is now, but for tus-js-client, which never says that an upload is complete when it reads from a stream.
    EndsAtLength,
    /// 7, 8, and none given: the standard to come.
    Current,
}

impl Version {
    pub(in crate::http) fn of(headers: &HeaderMap) -> Self {
        match integer(headers, &INTEROP_VERSION) {
            Some(3) => Self::Inverted,
            Some(4 | 5) => Self::Untyped,
            Some(6) => Self::EndsAtLength,
            _ => Self::Current,
        }
    }

    /// Whether the request says that it brings the upload to its end; `None` where it says nothing, and so does not speak
    /// the draft where an upload is created.
    pub(in crate::http) fn completes(self, headers: &HeaderMap) -> Option<bool> {
        match self {
            Self::Inverted => boolean(headers, &UPLOAD_INCOMPLETE).map(|incomplete| !incomplete),
            _ => boolean(headers, &UPLOAD_COMPLETE),
        }
    }

    /// Refuses what the drafts of versions 3 and 5 forbid: asking and cancelling with what belongs to appending.
    pub(super) fn check(self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let old = matches!(self, Self::Inverted | Self::Untyped);
        let appends = [UPLOAD_OFFSET, UPLOAD_COMPLETE, UPLOAD_INCOMPLETE];
        let strange = appends.iter().any(|name| headers.contains_key(name));
        if old && strange && [Method::HEAD, Method::DELETE].contains(method) {
            return Err(Problem::foreign_fields());
        }
        Ok(())
    }

    /// What acknowledges a part of an upload.
    fn acknowledged(self) -> StatusCode {
        match self {
            Self::Inverted | Self::Untyped => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        }
    }

    fn is_typed(self) -> bool {
        matches!(self, Self::EndsAtLength | Self::Current)
    }

    /// Clients of these versions may take an upload that has its length for complete, and never say so.
    fn ends_at_length(self) -> bool {
        matches!(self, Self::Untyped | Self::EndsAtLength)
    }

    pub(in crate::http) fn add_completeness(self, headers: &mut HeaderMap, complete: bool) {
        let (name, value) = match self {
            Self::Inverted => (UPLOAD_INCOMPLETE, !complete),
            _ => (UPLOAD_COMPLETE, complete),
        };
        headers.insert(
            name,
            HeaderValue::from_static(if value { "?1" } else { "?0" }),
        );
    }
}

/// `Upload-Limit`, with how long an upload lives on.
pub(in crate::http) fn limit(app: &App, session: Option<&Session>) -> String {
    let size = format!("max-size={}", app.limits.max_size);
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
    let complete = session.receipt().is_some();
    let mut headers = progress(app, session, version, complete);
    if let Some(length) = session.length() {
        insert(&mut headers, UPLOAD_LENGTH, length);
    }
    headers
}

fn progress(app: &App, session: &Session, version: Version, complete: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, UPLOAD_OFFSET, session.offset());
    insert(&mut headers, UPLOAD_LIMIT, limit(app, Some(session)));
    version.add_completeness(&mut headers, complete);
    add_outcome(session, &mut headers);
    headers
}

/// `POST` or `PUT` of a part of an upload, or of none of it yet (`Upload-Complete: ?0`).
pub(in crate::http) async fn create(
    app: &Arc<App>,
    head: &Parts,
    name: Option<ClientName>,
    body: RequestBody,
    version: Version,
) -> Result<Response, Problem> {
    let headers = &head.headers;
    let length = length(headers);
    if length.is_some_and(|length| length > app.limits.max_size) {
        return Err(Problem::too_large(app.limits.max_size));
    }
    if length.is_some_and(|length| body.announced() > Some(length)) {
        return Err(Problem::inconsistent_length());
    }
    let permit = admit(app, head, &body)?;
    let new = new_session(app, headers, name, length, version)?;
    let content = digests(headers, CONTENT_DIGEST)?;
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
    let session = app.uploads.create_session(new).await?;
    if !body.may_have_content() && content.is_empty() {
        return Ok(session);
    }
    let checks: Vec<_> = content.iter().map(|digest| digest.algorithm).collect();
    let session = take_in_first(session, &mut body, &checks, |_| Ok(content)).await?;
    Ok(session.finish_if_due().await?)
}

fn new_session(
    app: &App,
    headers: &HeaderMap,
    name: Option<ClientName>,
    length: Option<u64>,
    version: Version,
) -> Result<NewSession, Problem> {
    let media_type = text_header(headers, CONTENT_TYPE);
    let essence = media_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        return Err(Problem::form_in_parts());
    }
    // tus-js-client sends names in the way of tus, and gives what it sends the type of what is appended.
    let metadata = tus::metadata(headers)?;
    let media_type = media_type
        .filter(|_| !essence.eq_ignore_ascii_case(PARTIAL_UPLOAD))
        .map(str::to_owned)
        .or_else(|| metadata.media_type().map(str::to_owned));
    let disposition = headers.get(CONTENT_DISPOSITION);
    let disposition = disposition
        .map(|value| disposition_filename(value.as_bytes()))
        .transpose()?;
    let name = name
        .or(disposition.flatten().map(ClientName::new))
        .or_else(|| metadata.name().map(ClientName::new));
    check_name(app, name.as_ref())?;
    Ok(NewSession {
        name,
        media_type,
        length,
        ends_at_length: version.ends_at_length(),
        metadata_entries: tus::entries(&metadata),
        metadata: metadata.into_raw(),
        role: Role::Whole,
        repr_digests: digests(headers, REPR_DIGEST)?,
        wants: wanted(headers)?,
    })
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
    app: &Arc<App>,
    head: &Parts,
    url: UploadUrl,
    body: RequestBody,
    version: Version,
) -> Result<Response, Problem> {
    let headers = &head.headers;
    let essence = text_header(headers, CONTENT_TYPE).unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    if version.is_typed() && !essence.eq_ignore_ascii_case(PARTIAL_UPLOAD) {
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
    let permit = app.upload_permit()?;
    let task = receive(Arc::clone(app), url, body, appending, permit);
    let received = run_to_the_end(app, task).await;
    let session = received.map_err(|problem| problem.with_completeness(version))?;
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
    _permit: Permit,
) -> Result<Session, Problem> {
    let session = app.uploads.session(url).await?;
    if session.receipt().is_some() {
        return complete_already(session, &body, &appending);
    }
    let offset = session.offset();
    if appending.offset != offset {
        return Err(Problem::mismatching_offset(offset, appending.offset).with_offset(offset));
    }
    let session = check_length(session, &body, &appending).await?;
    if session
        .length()
        .is_some_and(|length| length > app.limits.max_size)
    {
        return Err(Problem::too_large(app.limits.max_size));
    }
    limit_body(&app, &mut body, offset)?;
    let session = if body.may_have_content() || !appending.content.is_empty() {
        let checks: Vec<_> = appending
            .content
            .iter()
            .map(|digest| digest.algorithm)
            .collect();
        let append = session.append(&checks)?;
        take_in(append, &mut body, |_| Ok(appending.content)).await?
    } else {
        session
    };
    if !appending.complete {
        return Ok(session.finish_if_due().await?);
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
    let session = match told {
        Some(length) => {
            let offset = session.offset();
            let (session, fits) = session.declare_length(length).await?;
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
    if body.may_have_content() && body.announced() != Some(0) {
        Err(Problem::inconsistent_length().with_offset(offset))
    } else if appending.version.ends_at_length() && appending.complete && appending.offset == offset
    {
        Ok(session)
    } else {
        Err(Problem::completed_upload().with_offset(offset))
    }
}

/// A structured field that is an integer, not negative. Any other value is as none (section "Offset").
fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let integer = item(headers, name)?.bare_item.as_integer()?;
    u64::try_from(i64::from(integer)).ok()
}

fn boolean(headers: &HeaderMap, name: &HeaderName) -> Option<bool> {
    item(headers, name)?.bare_item.as_boolean()
}

fn item(headers: &HeaderMap, name: &HeaderName) -> Option<Item> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    // Several lines would be a list, which is no item.
    let alone = values.next().is_none();
    let item = Parser::new(value.as_bytes()).parse::<Item>().ok()?;
    alone.then_some(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn other_values_than_the_structured_ones_are_ignored() {
        for (value, expected) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("100;a=b", Some(100)),
            (" 7 ", Some(7)),
            ("999999999999999", Some(999_999_999_999_999)),
            ("-1", None),
            ("1.0", None),
            ("\"1\"", None),
            ("1, 2", None),
            ("1000000000000000", None),
            ("", None),
            ("0x10", None),
        ] {
            assert_eq!(
                integer(&with(&UPLOAD_OFFSET, &[value]), &UPLOAD_OFFSET),
                expected,
                "{value}"
            );
        }
        assert_eq!(
            integer(&with(&UPLOAD_OFFSET, &["1", "1"]), &UPLOAD_OFFSET),
            None
        );
        for (value, expected) in [
            ("?1", Some(true)),
            ("?0", Some(false)),
            ("1", None),
            ("true", None),
            ("?2", None),
        ] {
            let headers = with(&UPLOAD_COMPLETE, &[value]);
            assert_eq!(Version::Current.completes(&headers), expected, "{value}");
            assert_eq!(Version::Inverted.completes(&headers), None);
        }
    }

    #[test]
    fn version_3_says_it_the_other_way_round() {
        let headers = with(&INTEROP_VERSION, &["3"]);
        let version = Version::of(&headers);
        assert_eq!(version, Version::Inverted);
        assert_eq!(
            version.completes(&with(&UPLOAD_INCOMPLETE, &["?1"])),
            Some(false)
        );
        let mut headers = HeaderMap::new();
        version.add_completeness(&mut headers, true);
        assert_eq!(headers[UPLOAD_INCOMPLETE], "?0");
        for (value, version) in [
            ("5", Version::Untyped),
            ("6", Version::EndsAtLength),
            ("8", Version::Current),
            ("99", Version::Current),
            ("x", Version::Current),
        ] {
            assert_eq!(
                Version::of(&with(&INTEROP_VERSION, &[value])),
                version,
                "{value}"
            );
        }
    }
}
