//! The age header: what is taken is canonical, and a prefix of it asks for more instead of failing.
#![no_main]

use data_encoding::BASE64_NOPAD;
use libfuzzer_sys::fuzz_target;
use sealslot::seal::Header;
use sealslot::upload::Record;

fuzz_target!(|input: (u16, &[u8])| {
    let (arrived, input) = input;
    let arrived = usize::from(arrived).min(input.len());
    let whole = Header::parse(input);
    match (Header::parse(&input[..arrived]), &whole) {
        (Ok(None), _) | (Err(_), Err(_)) => {}
        (Ok(Some((_, taken))), Ok(Some((_, also)))) => assert_eq!(taken, *also),
        (early, _) => panic!("after {arrived} bytes {early:?}, at the end {whole:?}"),
    }
    if let Ok(Some((header, taken))) = whole {
        check(&header, &input[..taken]);
    }
});

/// Writes the stanzas down again as the specification says, and expects what was read.
fn check(header: &Header, read: &[u8]) {
    let mut text = String::from("age-encryption.org/v1\n");
    for stanza in header.stanzas() {
        assert!(!stanza.args.is_empty());
        text += &format!("-> {}\n", stanza.args.join(" "));
        let body = BASE64_NOPAD.encode(&stanza.body);
        for line in body.as_bytes().chunks(64) {
            text += std::str::from_utf8(line).expect("base64");
            text.push('\n');
        }
        // The last line of a body is a short one.
        if body.len().is_multiple_of(64) {
            text.push('\n');
        }
    }
    text += "--- ";
    assert!(read.starts_with(text.as_bytes()));
    // The MAC in base64, its line feed, the nonce.
    assert_eq!(read.len(), text.len() + 43 + 1 + 16);
    assert!(read.ends_with(header.nonce()));
    let _: Option<Record> = Record::in_header(header);
}
