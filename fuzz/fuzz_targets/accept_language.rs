//! The language that a request asks for: whatever it says, it gets one that is offered, and without `lang` in its query the
//! same as without a query.
#![no_main]

use http::header::ACCEPT_LANGUAGE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sealslot::http::accept_language::preferred;

const OFFERED: [&str; 4] = ["en", "ko", "pt-BR", "zh-Hant-TW"];

// The query, and a header field on each further line.
fuzz_target!(|text: &str| {
    let (query, accept) = text.split_once('\n').unwrap_or((text, ""));
    let mut headers = HeaderMap::new();
    for line in accept.split('\n') {
        if let Ok(value) = HeaderValue::from_str(line) {
            headers.append(ACCEPT_LANGUAGE, value);
        }
    }
    let asked = preferred(Some(query), &headers, &OFFERED);
    let accepted = preferred(None, &headers, &OFFERED);
    assert!(asked.is_none_or(|found| found < OFFERED.len()));
    if !query.contains("lang=") {
        assert_eq!(asked, accepted);
    }
    if let Some(found) = accepted {
        let tag = OFFERED[found].to_ascii_lowercase();
        let text = accept.to_ascii_lowercase();
        assert!(
            text.contains(&tag) || text.contains('*'),
            "nobody asked for it"
        );
    }
});
