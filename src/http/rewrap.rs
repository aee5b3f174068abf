//! `PUT /uploads/{id}/meta.age`: new headers, made by whoever has the private key (`FORMAT.md`, "Rewrapping").

use std::sync::Arc;

use http::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use sfv::{Item, Parser};
use sha2::{Digest, Sha256};

use super::body::RequestBody;
use super::call::Call;
use super::problem::Problem;
use super::{App, Response, access, conditions, empty};
use crate::grant::Scope;
use crate::store::{MAX_SEGMENTS, UploadId};
use crate::upload::{Rewrapped, essence, meta_etag};

/// How many headers of segments stand in front of `meta.age`: an integer (RFC 9651, section 3.3.1), 0 where it is missing.
static SEALSLOT_HEADERS: HeaderName = HeaderName::from_static("sealslot-headers");

/// What such a body is called.
const REWRAPPED: &str = "application/vnd.sealslot.rewrapped";

/// The longest body, in bytes: it is worked on in memory.
const MAX_BODY: u64 = 64 << 20;

/// Such requests at the same time.
pub(super) const MAX_AT_ONCE: usize = 2;

/// Puts new headers in place, where `meta.age` still is the one that `If-Match` names.
pub(super) async fn put(
    call: Call<'_>,
    id: UploadId,
    mut body: RequestBody,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    access::require(call, Scope::Admin).await?;
    access::refuse_cross_site(call, &Method::PUT)?;
    // `*` would be true of a meta.age that the client has not seen.
    if !conditions::is_particular(&head.headers) {
        return Err(Problem::precondition_required());
    }
    check_type(&head.headers)?;
    let headers = header_count(&head.headers)?;
    body.limit(MAX_BODY)?;
    // Before the body is asked for.
    let old = current_meta(app, id, &head.headers).await?;
    let _permit = app
        .rewrap_permits
        .try_acquire()
        .map_err(|_| Problem::busy())?;
    let body = body.collect().await?;
    let rewrapped = app.blocking(move |app| {
        let new = Rewrapped::from_bytes(&body, headers)?;
        drop(body);
        app.uploads.rewrap(&id, &old, &new)?;
        Ok(meta_etag(&id, &new.meta))
    });
    let tag = rewrapped.await?.map_err(Problem::of_rewrap)?;
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

/// SHA-256 over the stored `meta.age`, where `If-Match` names it.
async fn current_meta(
    app: &Arc<App>,
    id: UploadId,
    headers: &HeaderMap,
) -> Result<[u8; 32], Problem> {
    let meta = app.blocking(move |app| app.uploads.meta(&id)).await??;
    let own = meta_etag(&id, &meta);
    if conditions::matches(headers, Some(&own)) {
        Ok(Sha256::digest(&meta).into())
    } else {
        Err(Problem::precondition_failed())
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let value = headers.get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    if value.is_some_and(|value| essence(value).eq_ignore_ascii_case(REWRAPPED)) {
        Ok(())
    } else {
        Err(Problem::not_rewrapped())
    }
}

fn header_count(headers: &HeaderMap) -> Result<u32, Problem> {
    let Some(value) = headers.get(&SEALSLOT_HEADERS) else {
        return Ok(0);
    };
    let item = Parser::new(value.as_bytes()).parse::<Item>().ok();
    let count = item.and_then(|item| item.bare_item.as_integer().map(i64::from));
    let count = count.and_then(|count| u32::try_from(count).ok());
    count
        .filter(|count| *count <= MAX_SEGMENTS)
        .ok_or_else(Problem::malformed_header_count)
}
