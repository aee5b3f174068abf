//! Frames of HTTP/2 that are counted: the same however the bytes come in.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sealslot::server::guard::http2::Frames;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut whole = Frames::new(Arc::default());
    let mut cut = Frames::new(Arc::default());
    let all = pieces.concat();
    // Inputs are far shorter than what a connection may owe.
    assert!(whole.follow(&all).is_ok());
    for piece in &pieces {
        assert!(cut.follow(piece).is_ok());
    }
    assert_eq!(whole.standing(), cut.standing());
});
