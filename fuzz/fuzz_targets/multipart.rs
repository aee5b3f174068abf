//! Forms: the same parts and the same end whatever the frames, and no more bytes out than in.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sealslot::http::multipart::{Boundary, Event, Limits, MultipartError, Parser};

const LIMITS: Limits = Limits {
    parts: 16,
    part_header_bytes: 512,
    name_bytes: 64,
};

// The first line is the Content-Type, the rest the body.
fuzz_target!(|input: (u8, u8, &[u8])| {
    let (first, piece, text) = input;
    let line = text.iter().position(|&byte| byte == b'\n');
    let (content_type, body) = text.split_at(line.map_or(0, |end| end + 1));
    let content_type = String::from_utf8_lossy(content_type);
    let Ok(Some(boundary)) = Boundary::from_content_type(content_type.trim_ascii_end()) else {
        return;
    };
    let whole = read(&boundary, [body]);
    let (head, rest) = body.split_at(body.len().min(first.into()));
    let pieces = rest.chunks(usize::from(piece) + 1);
    assert_eq!(whole, read(&boundary, std::iter::once(head).chain(pieces)));
    let bytes = body.chunks(1);
    assert_eq!(whole, read(&boundary, bytes));
    let data = whole.0.iter().map(|event| match event {
        Event::Data(data) => data.len(),
        _ => 0,
    });
    assert!(data.sum::<usize>() <= body.len());
});

/// What came of a form, with the data of each part in one piece.
fn read<'a>(
    boundary: &Boundary,
    frames: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event>, Result<(), MultipartError>) {
    let mut parser = Parser::new(boundary.clone(), LIMITS);
    let mut frames = frames.into_iter();
    let mut events = Vec::new();
    loop {
        match parser.next() {
            Ok(Event::NeedMore) => match frames.next() {
                Some(frame) => parser.feed(Bytes::copy_from_slice(frame)),
                None => parser.finish(),
            },
            Ok(Event::Data(data)) => {
                assert!(!data.is_empty());
                if let Some(Event::Data(before)) = events.last_mut() {
                    *before = [&before[..], &data[..]].concat().into();
                } else {
                    events.push(Event::Data(data));
                }
            }
            Ok(Event::End) => return (events, Ok(())),
            Ok(event) => {
                if let Event::Part(head) = &event {
                    assert!(head.name.len() <= LIMITS.name_bytes);
                }
                events.push(event);
                let parts = events.iter().filter(|e| matches!(e, Event::Part(_)));
                assert!(parts.count() <= LIMITS.parts);
            }
            Err(error) => return (events, Err(error)),
        }
    }
}
