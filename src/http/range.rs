//! Byte ranges (RFC 9110, section 14). One range at a time; a request for several gets the whole.

use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};
use std::ops::Range;

/// What part of something a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// All of it.
    Whole,
    /// These bytes, cut to what there is.
    Part(Range<u64>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` for something of `size` bytes with the strong entity tag `etag`.
pub(super) fn asked(headers: &HeaderMap, size: u64, etag: Option<&str>) -> Asked {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Asked::Whole;
    };
    if let Some(condition) = headers.get(IF_RANGE)
        && (etag.is_none() || condition.to_str().ok() != etag)
    {
        return Asked::Whole;
    }
    let Some((unit, set)) = range.split_once('=') else {
        return Asked::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    parse(set.trim(), size).unwrap_or(Asked::Whole)
}

/// `None` for what is malformed or names several ranges: it is ignored.
fn parse(range: &str, size: u64) -> Option<Asked> {
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number too large for 64 bits lies behind everything.
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let part = if first.is_empty() {
        let suffix = number(last)?;
        size.saturating_sub(suffix)..size
    } else {
        let first = number(first)?;
        let last = if last.is_empty() {
            u64::MAX
        } else {
            number(last)?
        };
        if last < first {
            return None;
        }
        first..last.saturating_add(1).min(size)
    };
    Some(if part.is_empty() {
        Asked::Unsatisfiable
    } else {
        Asked::Part(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &str) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        asked(&headers, 100, Some("\"tag\""))
    }

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        assert_eq!(of("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(of("bytes=10-"), Asked::Part(10..100));
        assert_eq!(of("bytes=10-999"), Asked::Part(10..100));
        assert_eq!(of("bytes=-1"), Asked::Part(99..100));
        assert_eq!(of("bytes=-1000"), Asked::Part(0..100));
        assert_eq!(of("Bytes = 5-6"), Asked::Part(5..7));
        assert_eq!(of("bytes=99-99999999999999999999999"), Asked::Part(99..100));
    }

    #[test]
    fn what_lies_behind_the_end_cannot_be_had() {
        for range in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(of(range), Asked::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for range in [
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=+1-2",
        ] {
            assert_eq!(of(range), Asked::Whole, "{range}");
        }
    }

    #[test]
    fn another_tag_gets_the_whole() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, "bytes=0-1".parse().unwrap());
        headers.insert(IF_RANGE, "\"other\"".parse().unwrap());
        assert_eq!(asked(&headers, 100, Some("\"tag\"")), Asked::Whole);
        headers.insert(IF_RANGE, "\"tag\"".parse().unwrap());
        assert_eq!(asked(&headers, 100, Some("\"tag\"")), Asked::Part(0..2));
        assert_eq!(asked(&headers, 100, None), Asked::Whole);
    }
}
