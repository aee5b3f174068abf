use super::*;
use proptest::prelude::*;

/// What of a stream is passed on, when it arrives in pieces of this size, and whether it may end there.
fn passed(stream: &[u8], piece: usize) -> Result<Vec<u8>, Code> {
    let mut frames = Frames::default();
    let mut arrived = BytesMut::new();
    let mut all = Vec::new();
    for piece in stream.chunks(piece) {
        arrived.extend_from_slice(piece);
        while let Some(piece) = frames.next(&mut arrived).map_err(|wrong| wrong.code)? {
            assert!(!piece.is_empty());
            all.extend_from_slice(&piece);
        }
    }
    frames.end(&arrived).map_err(|wrong| wrong.code)?;
    Ok(all)
}

/// The same in every way that it may arrive.
fn always(stream: &[u8]) -> Result<Vec<u8>, Code> {
    let whole = passed(stream, stream.len().max(1));
    for piece in 1..stream.len() {
        assert_eq!(passed(stream, piece), whole, "in pieces of {piece}");
    }
    whole
}

#[test]
fn a_message_is_passed_on_as_it_is() {
    let message = b"\x01\x02hd\x00\x04body\x00\x40\x04more\x01\x01t";
    assert_eq!(always(message).unwrap(), message);
    assert_eq!(always(b"\x01\x00").unwrap(), b"\x01\x00");
    assert_eq!(always(b"").unwrap(), b"");
}

#[test]
fn what_means_nothing_is_left_out() {
    // A reserved frame with and without content, and DATA of nothing, which h3 would take for the end of the body.
    let message = b"\x21\x03xyz\x01\x01h\x00\x00\x21\x00\x00\x02ab\x00\x00\x00\x01c";
    assert_eq!(always(message).unwrap(), b"\x01\x01h\x00\x02ab\x00\x01c");
}

#[test]
fn an_end_within_a_frame_is_none() {
    for cut in [
        &b"\x01"[..],
        b"\x01\x05hd",
        b"\x01\x01h\x00",
        b"\x01\x01h\x00\x05",
        b"\x01\x01h\x00\x05body",
        b"\x01\x01h\x21\x05some",
    ] {
        assert_eq!(always(cut), Err(Code::H3_FRAME_ERROR), "{cut:?}");
    }
}

#[test]
fn what_is_out_of_place_ends_it() {
    for wrong in [
        // DATA before the head and behind the trailers, and a third section of fields.
        &b"\x00\x01x"[..],
        b"\x01\x01h\x01\x01t\x00\x01x",
        b"\x01\x01h\x01\x01t\x01\x01t",
        // SETTINGS, GOAWAY, PUSH_PROMISE, one of HTTP/2's, and WebTransport.
        b"\x01\x01h\x04\x00",
        b"\x01\x01h\x07\x00",
        b"\x01\x01h\x05\x00",
        b"\x01\x01h\x08\x00",
        b"\x40\x41\x00",
    ] {
        assert_eq!(always(wrong), Err(Code::H3_FRAME_UNEXPECTED), "{wrong:?}");
    }
}

#[test]
fn what_would_be_too_much_is_refused_before_it_comes() {
    // Fields of 64 KiB and one byte, and of as much as can be said.
    let too_much = Err(Code::H3_EXCESSIVE_LOAD);
    assert_eq!(always(b"\x01\x80\x01\x00\x01"), too_much);
    assert_eq!(always(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff"), too_much);
    assert_eq!(always(b"\x21\x80\x01\x00\x01"), too_much);
    let nothing = b"\x00\x00".repeat(40_000);
    let message = [&b"\x01\x01h"[..], &nothing].concat();
    assert_eq!(passed(&message, 1000), too_much);
}

proptest! {
    #[test]
    fn nothing_makes_it_stumble(
        stream in proptest::collection::vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..200),
        piece in 1_usize..50,
    ) {
        prop_assert_eq!(passed(&stream, piece), passed(&stream, stream.len().max(1)));
    }
}
