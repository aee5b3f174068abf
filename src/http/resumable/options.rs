//! `OPTIONS`: what can be done here, in both protocols.

use http::header::ALLOW;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::draft::{self, UPLOAD_LIMIT};
use super::{answer, insert, tus};
use crate::http::Response;

/// Answers `OPTIONS`, also a browser's preflight.
pub(in crate::http) fn answer_options(max_size: u64, methods: &'static str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.insert(
        HeaderName::from_static("accept-patch"),
        HeaderValue::from_static("application/partial-upload, application/offset+octet-stream"),
    );
    insert(&mut headers, UPLOAD_LIMIT, draft::limit(max_size, None));
    tus::announce(max_size, &mut headers);
    answer(StatusCode::NO_CONTENT, headers)
}
