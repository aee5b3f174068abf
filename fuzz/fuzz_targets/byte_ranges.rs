//! `Range` and `If-Range`: whatever they say, the parts are there, apart from one another, and those that a plain reading of the
//! header finds.
#![no_main]

use http::header::{IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sealslot::http::range::{Asked, MAX_RANGES, RangeSpec, asked};

const TAG: &str = "\"tag\"";

/// Where there are fewer bytes than this, every byte is looked at.
const FEW: u64 = 2000;

// The size on the first line, then the value of `Range`, then that of `If-Range`, where there is one.
fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let size = lines.next().and_then(|line| line.parse().ok());
    let (size, range, condition): (u64, _, _) = match (size, lines.next(), lines.next()) {
        (Some(size), Some(range), condition) => (size, range, condition),
        _ => return,
    };
    let Ok(value) = HeaderValue::from_str(range) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(RANGE, value);
    if let Some(Ok(value)) = condition.map(HeaderValue::from_str) {
        headers.insert(IF_RANGE, value);
    }
    let parts = match asked(&headers, size, Some(TAG)) {
        Asked::Whole => return,
        Asked::Unsatisfiable => Vec::new(),
        Asked::Parts(parts) => {
            assert!(!parts.is_empty());
            parts
        }
    };
    assert!(!headers.contains_key(IF_RANGE) || condition == Some(TAG));
    assert!(parts.len() <= MAX_RANGES);
    assert!(
        parts
            .iter()
            .all(|part| part.start < part.end && part.end <= size)
    );
    let mut sorted = parts.clone();
    sorted.sort_by_key(|part| part.start);
    assert!(sorted.windows(2).all(|two| two[0].end < two[1].start));

    let (_, set) = range.split_once('=').expect("there is a set");
    let specs: Vec<_> = set
        .split(',')
        .map(|spec| spec.trim_matches([' ', '\t']))
        .filter(|spec| !spec.is_empty())
        .map(|spec| {
            spec.parse::<RangeSpec>()
                .expect("only what is well-formed is answered")
        })
        .collect();
    for range in specs.iter().filter_map(|spec| spec.within(size)) {
        let holding = parts
            .iter()
            .filter(|part| part.start <= range.start && range.end <= part.end);
        assert_eq!(holding.count(), 1);
    }
    if size < FEW {
        let wanted = |byte: u64| {
            let mut ranges = specs.iter().filter_map(|spec| spec.within(size));
            ranges.any(|range| range.contains(&byte))
        };
        let sent: u64 = parts.iter().map(|part| part.end - part.start).sum();
        let asked = (0..size).filter(|byte| wanted(*byte)).count() as u64;
        assert!(sent <= asked + 128 * MAX_RANGES as u64);
    }
});
