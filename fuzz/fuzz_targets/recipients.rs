//! Files of public keys: what is read is named, written on one line, and read again as the same key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealslot::keys::parse_recipients;

fuzz_target!(|text: &str| {
    let Ok(recipients) = parse_recipients(text) else {
        return;
    };
    assert!(!recipients.is_empty());
    for recipient in recipients {
        let line = recipient.to_line();
        assert!(!line.contains(char::is_control));
        let again = parse_recipients(&line).expect("a line of our own");
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].to_line(), line);
        assert_eq!(again[0].fingerprint(), recipient.fingerprint());
    }
});
