//! What pages load: built into the program, named by what it holds, and kept by browsers until that changes.

use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::Compression;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

use super::gzip;
use crate::http::{Response, empty, respond_with};

/// The style sheet, which every page holds.
pub(super) const STYLE: &str = include_str!("assets/style.css");

/// The script, one module: each file is a part of it, in this order.
pub(super) const SCRIPT: &str = concat!(
    include_str!("assets/script/words.js"),
    include_str!("assets/script/digest.js"),
    include_str!("assets/script/memory.js"),
    include_str!("assets/script/draft.js"),
    include_str!("assets/script/gather.js"),
    include_str!("assets/script/upload.js"),
    include_str!("assets/script/queue.js"),
    include_str!("assets/script/receipt.js"),
    include_str!("assets/script/view.js"),
    include_str!("assets/script/main.js"),
);

const ICON: &str = include_str!("assets/icon.svg");

/// What others wrote, as it is in the npm package `@noble/hashes` 2.4.0 with its licence: SHA-256 piece by piece, which browsers do
/// not have. The script imports it where it needs it.
const NOBLE_HASHES: [(&str, &str, &str); 5] = [
    (
        "sha2.js",
        JAVASCRIPT,
        include_str!("assets/noble-hashes/sha2.js"),
    ),
    (
        "_md.js",
        JAVASCRIPT,
        include_str!("assets/noble-hashes/_md.js"),
    ),
    (
        "_u64.js",
        JAVASCRIPT,
        include_str!("assets/noble-hashes/_u64.js"),
    ),
    (
        "utils.js",
        JAVASCRIPT,
        include_str!("assets/noble-hashes/utils.js"),
    ),
    (
        "LICENSE",
        "text/plain; charset=utf-8",
        include_str!("assets/noble-hashes/LICENSE"),
    ),
];

/// `/upload.js`
pub(super) static UPLOAD_JS: LazyLock<Asset> = LazyLock::new(|| Asset::new(JAVASCRIPT, SCRIPT));
/// `/icon.svg`
pub(super) static ICON_SVG: LazyLock<Asset> = LazyLock::new(|| Asset::new(SVG, ICON));

static NOBLE_HASHES_ASSETS: LazyLock<[(&str, Asset); 5]> = LazyLock::new(|| {
    NOBLE_HASHES.map(|(name, media_type, text)| (name, Asset::new(media_type, text)))
});

/// `/noble-hashes/{file}`, where there is such a file. They name each other, and so without a version.
pub(super) fn noble_hashes(file: &str) -> Option<&'static Asset> {
    let known = NOBLE_HASHES_ASSETS.iter().find(|(name, _)| *name == file);
    known.map(|(_, asset)| asset)
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
/// A drawing may have a style of its own. Opened by itself it still may do nothing.
const STYLED: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
);
/// As many hexadecimal digits of its SHA-256 name an asset.
const VERSION_DIGITS: usize = 16;
/// For what has its version in its address: a year, as long as anything is kept.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For the rest: asked for each time, and sent only where it changed.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// Something that pages load.
pub(in crate::http) struct Asset {
    content_type: &'static str,
    bytes: Bytes,
    /// The same in gzip, where that is smaller.
    gzip: Option<Bytes>,
    version: String,
}

impl Asset {
    pub(super) fn new(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut version = HEXLOWER.encode(&Sha256::digest(&bytes));
        version.truncate(VERSION_DIGITS);
        let gzip = gzip::compressed(&bytes, Compression::best());
        Self {
            content_type,
            gzip: (gzip.len() < bytes.len()).then_some(gzip),
            bytes,
            version,
        }
    }

    /// Its address under `path`: another one when it changes.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{path}?v={}", self.version)
    }

    /// The answer to a request for it.
    pub(super) fn respond(&self, head: &Parts) -> Response {
        let gzip = self
            .gzip
            .as_ref()
            .filter(|_| gzip::is_accepted(&head.headers));
        // A strong tag names bytes, and these are others (RFC 9110, section 8.8.3.3).
        let coding = gzip.map_or("", |_| "-gzip");
        let tag = format!("\"{}{coding}\"", self.version);
        let mut response = if is_known(&head.headers, &tag) {
            let mut response = Response::new(empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else if let Some(gzip) = gzip {
            let mut response = respond_with(self.content_type, gzip.clone());
            let headers = response.headers_mut();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            respond_with(self.content_type, self.bytes.clone())
        };
        let asked = head.uri.query().and_then(|query| query.strip_prefix("v="));
        let keeping = if asked == Some(&self.version) {
            FOR_EVER
        } else {
            ASK_AGAIN
        };
        let headers = response.headers_mut();
        if self.content_type == SVG {
            headers.insert(CONTENT_SECURITY_POLICY, STYLED);
        }
        headers.insert(CACHE_CONTROL, keeping);
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.extend(HeaderValue::try_from(tag).map(|tag| (ETAG, tag)));
        response
    }
}

/// Whether the client has what this tag names (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(value: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_static(value));
        is_known(&headers, "\"abc\"")
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        for value in ["\"abc\"", "W/\"abc\"", "*", "\"x\", \"abc\"", " \"abc\" "] {
            assert!(known(value), "{value}");
        }
        for value in ["abc", "\"ab\"", "", "\"x\",\"y\"", "w/\"abc\""] {
            assert!(!known(value), "{value}");
        }
        assert!(!is_known(&HeaderMap::new(), "\"abc\""));
    }
}
