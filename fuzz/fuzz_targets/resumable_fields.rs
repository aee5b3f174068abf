//! The header fields of uploads that come in several requests, and upload URLs: what is read says the same when it is written
//! again.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sealslot::http::digest_fields::{REPR_DIGEST, digests, field_value, wanted};
use sealslot::http::keep::keep;
use sealslot::http::submission::Place;
use sealslot::http::tus_fields::{UploadMetadata, upload_checksum, upload_concat};
use sealslot::upload::UploadUrl;

fuzz_target!(|text: &str| {
    if let Ok(metadata) = UploadMetadata::parse(text) {
        let pairs = metadata.pairs().count();
        assert!(metadata.name().is_none_or(|name| !name.is_empty()));
        if let Some(raw) = metadata.into_raw() {
            assert_eq!(
                UploadMetadata::parse(&raw)
                    .map(|again| again.pairs().count())
                    .ok(),
                Some(pairs)
            );
        }
    }
    let _ = upload_checksum(text);
    if let Ok((_, Some(parts))) = upload_concat(text) {
        assert!(parts.iter().all(|part| text.contains(&**part.to_segment())));
    }
    if let Ok(url) = text.parse::<UploadUrl>() {
        assert_eq!(**url.to_segment(), *text);
    }
    let Ok(value) = HeaderValue::from_str(text) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(REPR_DIGEST, value.clone());
    for digest in digests(&headers, REPR_DIGEST).into_iter().flatten() {
        let written = field_value((digest.algorithm, &digest.value)).expect("of a known algorithm");
        headers.insert(REPR_DIGEST, written);
        assert_eq!(digests(&headers, REPR_DIGEST).ok(), Some(vec![digest]));
    }
    headers.insert("want-repr-digest", value.clone());
    let _ = wanted(&headers);
    headers.insert("sealslot-submission", value.clone());
    if let Ok(place) = Place::of(&headers) {
        let joins = place.joins.expect("the field is there");
        assert!(text.contains(&**joins.to_segment()));
    }
    headers.insert("sealslot-kind", value.clone());
    let _ = Place::of(&headers);
    headers.insert("sealslot-keep", value);
    if let Ok(time) = keep(&headers) {
        let time = time.expect("the field is there");
        assert_eq!(text.parse(), Ok(time.as_secs()));
    }
});
