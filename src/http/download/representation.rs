//! What stands at a URL, and the answers to who asks for it: whole, in part, in several parts, or not at all.

use std::ops::Range;

use data_encoding::HEXLOWER;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;

use super::read_body::{ReadBody, Source, Step};
use crate::http::conditions::{Verdict, judge};
use crate::http::problem::Problem;
use crate::http::range::{Asked, asked};
use crate::http::{Response, empty};

/// Something that can be fetched, and what is said of it.
pub(super) struct Representation {
    /// Its headers, with the `Content-Type`.
    pub(super) about: HeaderMap,
    /// Bytes.
    pub(super) size: u64,
    /// Its strong entity tag, in quotes: other bytes have another one. Without one it cannot be resumed.
    pub(super) etag: Option<String>,
}

impl Representation {
    /// Answers a GET or a HEAD. The conditions come first, then what range is asked for (RFC 9110, section 13.2.2), which
    /// only GET knows (section 14.2). Blocks.
    pub(super) fn respond(self, head: &Parts, source: impl Source) -> Result<Response, Problem> {
        let etag = self.etag.as_deref();
        match judge(&head.headers, etag) {
            Verdict::Failed => return Err(Problem::precondition_failed()),
            Verdict::NotModified => return Ok(self.not_modified()),
            Verdict::Holds => {}
        }
        if head.method == Method::HEAD {
            return Ok(self.answer(StatusCode::OK, self.size, None));
        }
        match asked(&head.headers, self.size, etag) {
            Asked::Unsatisfiable => Err(Problem::unsatisfiable(self.size)),
            Asked::Whole => {
                let steps = vec![Step::Content(0..self.size)];
                let body = ReadBody::new(Box::new(source), steps, self.size);
                Ok(self.answer(StatusCode::OK, self.size, Some(body)))
            }
            Asked::Parts(parts) => match <[_; 1]>::try_from(parts) {
                Ok([range]) => Ok(self.one_part(range, source)),
                Err(parts) => Ok(self.several_parts(parts, source)),
            },
        }
    }

    /// Section 15.4.5.
    fn not_modified(&self) -> Response {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        self.add_etag(response.headers_mut());
        response
    }

    fn one_part(&self, range: Range<u64>, source: impl Source) -> Response {
        let content_range = content_range(&range, self.size);
        let length = range.end - range.start;
        let body = ReadBody::new(Box::new(source), vec![Step::Content(range)], length);
        let mut response = self.answer(StatusCode::PARTIAL_CONTENT, length, Some(body));
        insert(response.headers_mut(), CONTENT_RANGE, &content_range);
        response
    }

    /// Section 15.3.7.2. Nobody who sends something in can know the boundary, and so nothing that is sent can contain it.
    fn several_parts(&self, parts: Vec<Range<u64>>, source: impl Source) -> Response {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let boundary = HEXLOWER.encode(&random);
        let media_type = self.about.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let mut steps = Vec::with_capacity(parts.len() * 2 + 1);
        let mut length = 0;
        for range in parts {
            let line_end = if steps.is_empty() { "" } else { "\r\n" };
            let mut words = format!("{line_end}--{boundary}\r\nContent-Type: ").into_bytes();
            words.extend_from_slice(media_type.unwrap_or(b"application/octet-stream"));
            let content_range = content_range(&range, self.size);
            words.extend(format!("\r\nContent-Range: {content_range}\r\n\r\n").into_bytes());
            length += words.len() as u64 + (range.end - range.start);
            steps.extend([Step::Words(words), Step::Content(range)]);
        }
        let words = format!("\r\n--{boundary}--\r\n").into_bytes();
        length += words.len() as u64;
        steps.push(Step::Words(words));
        let body = ReadBody::new(Box::new(source), steps, length);
        let mut response = self.answer(StatusCode::PARTIAL_CONTENT, length, Some(body));
        let multipart = format!("multipart/byteranges; boundary={boundary}");
        insert(response.headers_mut(), CONTENT_TYPE, &multipart);
        response
    }

    /// Without a body for HEAD, whose answer is that to GET in all else (section 9.3.2): nothing is read for it.
    fn answer(&self, status: StatusCode, length: u64, body: Option<ReadBody>) -> Response {
        let body = body.map_or_else(empty, BodyExt::boxed_unsync);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = self.about.clone();
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        self.add_etag(headers);
        response
    }

    fn add_etag(&self, headers: &mut HeaderMap) {
        if let Some(etag) = &self.etag {
            insert(headers, ETAG, etag);
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// `range` is not empty.
fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}
