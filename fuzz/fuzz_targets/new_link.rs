//! What `POST /links` says: whatever is understood is within bounds, and is understood again as the same.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use sealslot::http::new_link::parse;
use serde_json::json;

fuzz_target!(|document: &[u8]| {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let Ok(new) = parse(document, now) else {
        return;
    };
    assert!(new.expires.is_none_or(|expires| expires > now));
    for limit in [new.max_uploads, new.max_bytes, new.max_file] {
        assert_ne!(limit, Some(0));
    }
    assert!(new.types.len() <= 64 && new.extensions.len() <= 64 && new.recipients.len() <= 64);
    for extension in &new.extensions {
        assert!(!extension.contains(['/', ',', '"', '\0']) && !extension.starts_with('.'));
    }
    assert!(!new.label.contains(char::is_control));
    let again = json!({
        "label": new.label,
        "max_bytes": new.max_bytes,
        "types": new.types,
        "extensions": new.extensions,
        "title": new.page.title,
        "text": new.page.text,
        "fields": new.page.fields,
        "recipients": new.recipients,
        "keep": new.keep.map(|keep| keep.as_secs()),
    });
    let again = parse(again.to_string().as_bytes(), now).expect("what was understood");
    assert_eq!(again.label, new.label);
    assert_eq!(again.extensions, new.extensions);
    assert_eq!(again.recipients, new.recipients);
    assert_eq!(again.page, new.page);
    assert_eq!(again.keep, new.keep);
});
