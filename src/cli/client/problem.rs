//! How a server explains what it did not do.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use serde_json::Value;

use super::http_client::Answer;

/// The longest explanation of a server that is passed on, in characters.
pub(in crate::cli) const MAX_SAID: usize = 300;

/// What is shorter in a path is no secret, in characters.
const SECRET: usize = 8;

/// How a problem document (RFC 9457) explains itself, unless it repeats the path, which is a secret.
pub(in crate::cli) fn said(answer: &Answer, path: &str) -> Option<String> {
    let content_type = text(&answer.headers, &CONTENT_TYPE)?;
    if !content_type.starts_with("application/problem+json") {
        return None;
    }
    let problem: Value = serde_json::from_slice(&answer.body).ok()?;
    let detail = problem.get("detail").or(problem.get("title"))?.as_str()?;
    let detail: String = detail.chars().take(MAX_SAID).collect();
    let path = path.split('?').next().unwrap_or(path);
    let mut secrets = path.split('/').filter(|part| part.len() >= SECRET);
    let tells = secrets.any(|secret| detail.contains(secret));
    (!tells).then(|| detail.trim_end_matches('.').to_owned())
}

/// How long the server wants to be left alone (RFC 9110 section 10.2.3): seconds, or a date.
pub(in crate::cli) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// A header as text, where it is some.
pub(in crate::cli) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
