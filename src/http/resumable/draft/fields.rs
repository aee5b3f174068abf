//! The draft's header fields, and how its versions differ in them.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sfv::{Item, Parser};

use crate::http::problem::Problem;
use crate::http::resumable::UPLOAD_OFFSET;

const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const UPLOAD_INCOMPLETE: HeaderName = HeaderName::from_static("upload-incomplete");
const INTEROP_VERSION: HeaderName = HeaderName::from_static("upload-draft-interop-version");

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
    pub(in crate::http::resumable) fn check(
        self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        let old = matches!(self, Self::Inverted | Self::Untyped);
        let appends = [UPLOAD_OFFSET, UPLOAD_COMPLETE, UPLOAD_INCOMPLETE];
        let strange = appends.iter().any(|name| headers.contains_key(name));
        if old && strange && [Method::HEAD, Method::DELETE].contains(method) {
            return Err(Problem::foreign_fields());
        }
        Ok(())
    }

    /// What acknowledges a part of an upload.
    pub(super) fn acknowledged(self) -> StatusCode {
        match self {
            Self::Inverted | Self::Untyped => StatusCode::CREATED,
            _ => StatusCode::NO_CONTENT,
        }
    }

    pub(super) fn is_typed(self) -> bool {
        matches!(self, Self::EndsAtLength | Self::Current)
    }

    /// Clients of these versions may take an upload that has its length for complete, and never say so.
    pub(super) fn ends_at_length(self) -> bool {
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

/// A structured field that is an integer, not negative. Any other value is as none (section "Offset").
pub(super) fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
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
