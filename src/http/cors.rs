//! Which pages of other origins may upload (Fetch standard, "CORS protocol"). None, unless they are named.

use std::str::FromStr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Deserializer, de};

/// What a page may send.
const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const ALLOWED_HEADERS: &str = "Authorization, Content-Type, Content-Disposition, Tus-Resumable, Upload-Length, \
    Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Checksum, Upload-Complete, \
    Upload-Incomplete, Upload-Draft-Interop-Version, X-HTTP-Method-Override, X-Requested-With, X-Request-ID, \
    Content-Digest, Repr-Digest, Want-Repr-Digest, Sealslot-Submission, Sealslot-Kind, Sealslot-Keep";
/// What a page may read of an answer.
const EXPOSED_HEADERS: &str = "Location, Content-Location, Retry-After, Tus-Resumable, Tus-Version, Tus-Extension, \
    Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, \
    Upload-Concat, Upload-Expires, Upload-Complete, Upload-Incomplete, Upload-Limit, Upload-Draft-Interop-Version, \
    Repr-Digest, Accept-Patch";
/// For how long a browser need not ask again, in seconds.
const MAX_AGE: &str = "86400";

/// An origin whose pages may upload: `https://app.example`, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsOrigin(String);

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an origin: give a scheme and a host, like https://app.example, without a path; or * for all"
)]
pub struct CorsOriginError;

impl FromStr for CorsOrigin {
    type Err = CorsOriginError;

    fn from_str(text: &str) -> Result<Self, CorsOriginError> {
        let origin = text.to_ascii_lowercase();
        let host = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        let is_host = |host: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
            !host.is_empty() && host.bytes().all(allowed)
        };
        if origin == "*" || host.is_some_and(is_host) {
            Ok(Self(origin))
        } else {
            Err(CorsOriginError)
        }
    }
}

impl<'de> Deserialize<'de> for CorsOrigin {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// The origin that a request comes from, where its pages may upload.
pub(super) fn allowed<'a>(
    origins: &[CorsOrigin],
    headers: &'a HeaderMap,
) -> Option<&'a HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let known = |known: &CorsOrigin| known.0 == "*" || origin == known.0.as_str();
    origins.iter().any(known).then_some(origin)
}

/// Adds what lets a page of another origin, on routes that are for those, read the answer, and, to the answer to a preflight, what it may send.
pub(super) fn add_headers(origins: &[CorsOrigin], request: &HeaderMap, answer: &mut HeaderMap) {
    if origins.is_empty() {
        return;
    }
    // The answer differs by origin, also where there is none.
    answer.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed(origins, request) else {
        return;
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
            (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ] {
            answer.insert(name, HeaderValue::from_static(value));
        }
    } else {
        answer.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED_HEADERS),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers
    }

    #[test]
    fn only_origins_that_are_named_may() {
        let origins =
            ["https://app.example", "http://[::1]:8080"].map(|origin| origin.parse().unwrap());
        assert!(allowed(&origins, &from("https://app.example")).is_some());
        assert!(allowed(&origins, &from("http://[::1]:8080")).is_some());
        for other in [
            "http://app.example",
            "https://app.example:8443",
            "https://evil.example",
            "null",
            "*",
        ] {
            assert!(allowed(&origins, &from(other)).is_none(), "{other}");
        }
        assert!(allowed(&origins, &HeaderMap::new()).is_none());
        assert!(allowed(&[CorsOrigin("*".to_owned())], &from("null")).is_some());
        let mut answer = HeaderMap::new();
        add_headers(&[], &from("https://app.example"), &mut answer);
        assert!(answer.is_empty());
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "app.example",
            "https://",
            "https://a/",
            "https://a/b",
            "ftp://a",
            "https://a b",
            "**",
        ] {
            assert!(text.parse::<CorsOrigin>().is_err(), "{text}");
        }
    }
}
