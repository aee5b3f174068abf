//! Frames of HTTP/3: what is passed on is the same however the bytes come in, and has its bounds.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use sealslot::server::quic::frames::Frames;

/// What is passed on, and whether the stream came to a proper end.
fn passed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
    let (mut frames, mut arrived, mut passed) = (Frames::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        arrived.extend_from_slice(piece);
        loop {
            match frames.next(&mut arrived) {
                Ok(Some(piece)) => {
                    assert!(!piece.is_empty());
                    passed.extend_from_slice(&piece);
                }
                Ok(None) => break,
                Err(_) => return (passed, false),
            }
        }
        // Never more than the beginning of a frame waits: two integers of eight bytes.
        assert!(arrived.len() < 16);
    }
    let ended = frames.end(&arrived).is_ok();
    (passed, ended)
}

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let all = pieces.concat();
    let cut = passed(pieces.iter().map(Vec::as_slice));
    assert_eq!(cut, passed(std::iter::once(&all[..])));
    assert_eq!(cut, passed(all.chunks(1)));
    assert!(cut.0.len() <= all.len());
});
