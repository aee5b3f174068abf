//! The armor: the same from one piece as from many, and one text only for any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealslot::seal::{ArmorDecoder, ArmorEncoder, ArmorError, looks_armored};

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, text) = input;
    let piece = usize::from(piece) + 1;
    let whole = decode(text, text.len().max(1));
    assert_eq!(whole, decode(text, piece));
    if let (Ok(()), bytes) = whole {
        assert!(looks_armored(text));
        let canonical = encode(&bytes, piece);
        assert_eq!(canonical, encode(&bytes, bytes.len().max(1)));
        // White space around the armor and the kind of line end are the only freedom there is.
        let lines = text.trim_ascii().split(|&byte| byte == b'\n');
        let lines: Vec<_> = lines
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .collect();
        assert_eq!(lines.join(&b'\n'), canonical.trim_ascii_end());
    }
});

fn decode(text: &[u8], piece: usize) -> (Result<(), ArmorError>, Vec<u8>) {
    let (mut decoder, mut bytes) = (ArmorDecoder::new(), Vec::new());
    for part in text.chunks(piece) {
        if let Err(error) = decoder.push(part, &mut bytes) {
            return (Err(error), bytes);
        }
    }
    (decoder.finish(&mut bytes), bytes)
}

fn encode(bytes: &[u8], piece: usize) -> Vec<u8> {
    let (mut encoder, mut text) = (ArmorEncoder::new(), Vec::new());
    for part in bytes.chunks(piece) {
        encoder.push(part, &mut text);
    }
    encoder.finish(&mut text);
    text
}
