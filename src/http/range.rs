//! Byte ranges (RFC 9110, section 14): what `Range` and `If-Range` ask for.
//!
//! What is malformed, and what asks for more than [`MAX_RANGES`] ranges, is ignored, as section 14.2 allows: the answer is
//! the whole. Ranges that overlap, or lie closer together than the head of a part is long, become one, so that no answer is
//! much longer than the whole and no byte is read twice.

use std::ops::Range;
use std::str::FromStr;

use http::HeaderMap;
use http::header::{IF_RANGE, RANGE};

/// How many ranges one request may ask for.
pub const MAX_RANGES: usize = 64;
/// About what the head of a part takes: a smaller gap between two ranges is sent with them (section 15.3.7.2).
const PART_HEAD: u64 = 128;

/// One range, before it is known how many bytes there are (section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// From a byte on, up to and with another, or to the end.
    From {
        /// The first byte.
        first: u64,
        /// The last one, not before the first.
        last: Option<u64>,
    },
    /// So many bytes at the end.
    Suffix(u64),
}

/// A text that is no [`RangeSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a range of bytes: expected FIRST-LAST, FIRST- or -LENGTH, counted from 0")]
pub struct RangeSpecError;

impl FromStr for RangeSpec {
    type Err = RangeSpecError;

    fn from_str(text: &str) -> Result<Self, RangeSpecError> {
        let (first, last) = text.split_once('-').ok_or(RangeSpecError)?;
        if first.is_empty() {
            return number(last).map(Self::Suffix);
        }
        let first = number(first)?;
        let last = (!last.is_empty()).then(|| number(last)).transpose()?;
        if last.is_some_and(|last| last < first) {
            return Err(RangeSpecError);
        }
        Ok(Self::From { first, last })
    }
}

/// Digits alone. A number too large for 64 bits lies behind everything.
fn number(text: &str) -> Result<u64, RangeSpecError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RangeSpecError);
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

impl RangeSpec {
    /// What it means for something of `size` bytes, cut to what there is. `None`: it cannot be satisfied. Of something empty
    /// a suffix is all of it, and empty.
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        match self {
            Self::Suffix(0) => None,
            Self::Suffix(length) => Some(size.saturating_sub(length)..size),
            Self::From { first, .. } if first >= size => None,
            Self::From { first, last } => {
                let end = last.map_or(size, |last| last.saturating_add(1).min(size));
                Some(first..end)
            }
        }
    }
}

/// What part of something a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it.
    Whole,
    /// These bytes, none of them empty and none within `PART_HEAD` of another, in the order of the request.
    Parts(Vec<Range<u64>>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` for something of `size` bytes with the strong entity tag `etag`.
///
/// `If-Range` compares strongly (section 13.1.5). A date in it never holds, because nothing here has one
/// (`Last-Modified`): the answer is the whole.
pub fn asked(headers: &HeaderMap, size: u64, etag: Option<&str>) -> Asked {
    let Some(range) = only(headers, &RANGE) else {
        return Asked::Whole;
    };
    if headers.contains_key(IF_RANGE) && (etag.is_none() || only(headers, &IF_RANGE) != etag) {
        return Asked::Whole;
    }
    match range.split_once('=') {
        Some((unit, set)) if unit.eq_ignore_ascii_case("bytes") => {
            parts(set, size).unwrap_or(Asked::Whole)
        }
        _ => Asked::Whole,
    }
}

/// The value of a field that may stand in a request once. `None` where it stands there more often.
fn only<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// `None` for what is ignored.
fn parts(set: &str, size: u64) -> Option<Asked> {
    let mut specs = Vec::new();
    let elements = set
        .split(',')
        .map(|element| element.trim_matches([' ', '\t']));
    for element in elements.filter(|element| !element.is_empty()) {
        if specs.len() == MAX_RANGES {
            return None;
        }
        specs.push(element.parse::<RangeSpec>().ok()?);
    }
    if specs.is_empty() {
        return None;
    }
    let ranges: Vec<_> = specs.iter().filter_map(|spec| spec.within(size)).collect();
    if ranges.is_empty() {
        return Some(Asked::Unsatisfiable);
    }
    // No `Content-Range` can name no bytes: of something empty they are all that there is.
    if size == 0 {
        return None;
    }
    Some(Asked::Parts(coalesced(ranges)))
}

/// Makes one of those that overlap or nearly touch, in the place of the one that was asked for first.
fn coalesced(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut by_start: Vec<_> = ranges.into_iter().enumerate().collect();
    by_start.sort_by_key(|(_, range)| range.start);
    let mut apart: Vec<(usize, Range<u64>)> = Vec::new();
    for (place, range) in by_start {
        match apart.last_mut() {
            Some((first, before)) if range.start <= before.end.saturating_add(PART_HEAD) => {
                before.end = before.end.max(range.end);
                *first = (*first).min(place);
            }
            _ => apart.push((place, range)),
        }
    }
    apart.sort_by_key(|(place, _)| *place);
    apart.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAG: &str = "\"tag\"";

    fn of(range: &str, size: u64) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        asked(&headers, size, Some(TAG))
    }

    fn one(range: Range<u64>) -> Asked {
        Asked::Parts(vec![range])
    }

    #[test]
    fn ranges_are_cut_to_what_there_is() {
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=10-", 10..100),
            ("bytes=10-999", 10..100),
            ("bytes=-1", 99..100),
            ("bytes=-100", 0..100),
            ("bytes=-1000", 0..100),
            ("Bytes=5-6", 5..7),
            ("bytes=99-99999999999999999999999", 99..100),
            ("bytes= , 007-8,", 7..9),
        ] {
            assert_eq!(of(range, 100), one(expected), "{range}");
        }
    }

    #[test]
    fn what_lies_behind_the_end_cannot_be_had() {
        for range in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999-",
            "bytes=100-,200-300,-0",
        ] {
            assert_eq!(of(range, 100), Asked::Unsatisfiable, "{range}");
        }
        assert_eq!(of("bytes=100-,1-1,-0", 100), one(1..2));
    }

    #[test]
    fn of_what_is_empty_only_a_suffix_can_be_had_and_is_all_of_it() {
        assert_eq!(of("bytes=-5", 0), Asked::Whole);
        assert_eq!(of("bytes=0-,-5", 0), Asked::Whole);
        for range in ["bytes=0-", "bytes=0-0", "bytes=-0"] {
            assert_eq!(of(range, 0), Asked::Unsatisfiable, "{range}");
        }
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for range in [
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-1,x",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=0 - 1",
            "bytes =0-1",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(of(range, 100), Asked::Whole, "{range}");
        }
        let mut twice = HeaderMap::new();
        twice.append(RANGE, "bytes=0-1".parse().unwrap());
        twice.append(RANGE, "bytes=2-3".parse().unwrap());
        assert_eq!(asked(&twice, 100, Some(TAG)), Asked::Whole);
    }

    #[test]
    fn several_stay_in_their_order_and_apart_only_where_that_is_worth_it() {
        let size = 10_000;
        assert_eq!(
            of("bytes=5000-5001,0-1,9000-", size),
            Asked::Parts(vec![5000..5002, 0..2, 9000..10_000])
        );
        for (range, expected) in [
            ("bytes=0-10,11-20", 0..21),
            ("bytes=0-10,5-20", 0..21),
            ("bytes=0-100,20-30", 0..101),
            ("bytes=11-20,0-10", 0..21),
            ("bytes=0-0,129-130", 0..131),
            ("bytes=0-,-1,5-7,100-200", 0..10_000),
        ] {
            assert_eq!(of(range, size), one(expected), "{range}");
        }
        assert_eq!(
            of("bytes=0-0,130-130", size),
            Asked::Parts(vec![0..1, 130..131])
        );
        // Of those that became one, the first one's place counts.
        assert_eq!(
            of("bytes=5000-5010,0-1,5005-5020", size),
            Asked::Parts(vec![5000..5021, 0..2])
        );
    }

    #[test]
    fn too_many_are_ignored() {
        let many = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 1000)).collect();
            of(&format!("bytes={}", ranges.join(",")), 1 << 30)
        };
        assert!(matches!(many(64), Asked::Parts(parts) if parts.len() == 64));
        assert_eq!(many(65), Asked::Whole);
    }

    #[test]
    fn only_the_very_same_tag_gets_a_part() {
        let with = |conditions: &[&str], etag| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, "bytes=0-1".parse().unwrap());
            for condition in conditions {
                headers.append(IF_RANGE, condition.parse().unwrap());
            }
            asked(&headers, 100, etag)
        };
        assert_eq!(with(&[TAG], Some(TAG)), one(0..2));
        for other in [
            "\"other\"",
            "tag",
            "W/\"tag\"",
            "*",
            "\"tag\", \"tag\"",
            "Wed, 25 Nov 2026 04:32:00 GMT",
            "",
        ] {
            assert_eq!(with(&[other], Some(TAG)), Asked::Whole, "{other}");
        }
        assert_eq!(with(&[TAG, TAG], Some(TAG)), Asked::Whole);
        assert_eq!(with(&[TAG], None), Asked::Whole);
    }

    proptest! {
        #[test]
        fn every_byte_that_was_asked_for_is_in_exactly_one_part(
            specs in proptest::collection::vec((0..1200u64, 0..300u64, 0..4u8), 1..12),
            size in 1..1000u64,
        ) {
            let mut wanted = vec![false; usize::try_from(size).unwrap()];
            let mut texts = Vec::new();
            for (first, length, kind) in specs {
                let (text, range) = match kind {
                    0 => (format!("-{length}"), size.saturating_sub(length)..size),
                    1 => (format!("{first}-"), first..size),
                    _ => (format!("{first}-{}", first + length), first..first + length + 1),
                };
                texts.push(text);
                let range = range.start.min(size)..range.end.min(size);
                for byte in range {
                    wanted[usize::try_from(byte).unwrap()] = true;
                }
            }
            match of(&format!("bytes={}", texts.join(",")), size) {
                Asked::Whole => prop_assert!(false),
                Asked::Unsatisfiable => prop_assert!(!wanted.contains(&true)),
                Asked::Parts(parts) => {
                    for (byte, wanted) in (0..).zip(wanted) {
                        let holding = parts.iter().filter(|part| part.contains(&byte)).count();
                        prop_assert!(holding == usize::from(wanted) || (!wanted && holding == 1));
                    }
                    prop_assert!(parts.iter().all(|part| !part.is_empty() && part.end <= size));
                }
            }
        }
    }
}
