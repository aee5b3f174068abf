//! Frames of HTTP/2 that are counted: the same however the bytes come in.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sealslot::server::guard::http2::Frames;

fuzz_target!(|pieces: Vec<Vec<u8>>| {
    let mut whole = Frames::new(Arc::default());
    let mut cut = Frames::new(Arc::default());
    let (may_owe, _) = whole.standing();
    let passes = whole.follow(&pieces.concat()).is_ok();
    let cut_passes = pieces.iter().all(|piece| cut.follow(piece).is_ok());
    let ((left, content), (cut_left, cut_content)) = (whole.standing(), cut.standing());
    // Inputs are far shorter than what may be owed, so only a frame that says it is about as long as that may end it. Then time
    // counts, which is not the same for both.
    if passes && cut_passes {
        assert_eq!(content, cut_content);
        if left > may_owe / 2 {
            assert_eq!(left, cut_left);
        }
    } else {
        assert!(content > may_owe / 2 && cut_content > may_owe / 2);
    }
});
