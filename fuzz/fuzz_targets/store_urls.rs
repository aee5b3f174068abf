//! Addresses of buckets: what is read is written the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealslot::store::S3Url;

fuzz_target!(|text: &str| {
    if let Ok(url) = text.parse::<S3Url>() {
        assert_eq!(url.to_string(), text);
        assert!((3..=63).contains(&url.bucket().len()) && url.prefix().len() <= 200);
    }
});
