//! Links' and tokens' secrets, names and records: what is read says the same when it is written again.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use sealslot::grant::{
    GrantId, Link, LinkSecret, MediaRange, Scopes, Token, TokenName, TokenSecret,
};
use sealslot::store::RecordName;

fuzz_target!(|text: &str| {
    if let Ok(secret) = text.parse::<LinkSecret>() {
        assert_eq!(**secret.to_text(), *text);
    }
    if let Ok(secret) = text.parse::<TokenSecret>() {
        assert_eq!(**secret.to_text(), *text);
    }
    if let Ok(id) = text.parse::<GrantId>() {
        assert_eq!(id.to_string(), text);
        assert!(text.parse::<RecordName>().is_ok() && text.parse::<TokenName>().is_err());
    }
    if let Ok(scopes) = text.parse::<Scopes>() {
        assert_eq!(scopes.to_string().parse(), Ok(scopes));
    }
    if let Ok(range) = text.parse::<MediaRange>() {
        assert_eq!(range.as_str().parse(), Ok(range.clone()));
        let _ = range.contains(text);
    }
    let now = UNIX_EPOCH + Duration::from_secs(1_795_441_140);
    if let Ok(link) = serde_json::from_str::<Link>(text) {
        let _ = (link.state(now), link.bytes_left(), link.id());
        let written = serde_json::to_vec(&link).expect("it is plain data");
        let again: Link = serde_json::from_slice(&written).expect("it was written so");
        assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
    }
    if let Ok(token) = serde_json::from_str::<Token>(text) {
        let _ = (token.state(now), token.id());
        let written = serde_json::to_vec(&token).expect("it is plain data");
        let again: Token = serde_json::from_slice(&written).expect("it was written so");
        assert_eq!(serde_json::to_vec(&again).ok(), Some(written));
    }
});
