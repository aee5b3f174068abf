//! Where requests end over HTTP/1.1: the same however the bytes come in, and where httparse, which hyper uses, sees them end.
#![no_main]

use httparse::{EMPTY_HEADER, Error, Header, Request, Status};
use libfuzzer_sys::fuzz_target;
use sealslot::server::guard::http1::Requests;

/// More than any input has, so that their number is never what stops it.
const HEADERS: usize = 2048;

/// How many bytes of the body behind these fields come before the next request. `None`: it is not all there.
fn body(headers: &[Header<'_>], bytes: &[u8]) -> Option<usize> {
    let named = |name: &str| {
        let all = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        all.map(|header| header.value).collect::<Vec<_>>()
    };
    match (
        &named("content-length")[..],
        &named("transfer-encoding")[..],
    ) {
        ([], []) => Some(0),
        ([length], []) => {
            let length = std::str::from_utf8(length)
                .unwrap()
                .parse::<usize>()
                .unwrap();
            (length <= bytes.len()).then_some(length)
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"));
            chunks(bytes)
        }
        _ => panic!("two ways to tell where a body ends"),
    }
}

fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let parsed = httparse::parse_chunk_size(&bytes[at..]).expect("a size that was taken");
        let Status::Complete((size_len, size)) = parsed else {
            return None;
        };
        at += size_len;
        if size == 0 {
            let mut trailers = [EMPTY_HEADER; HEADERS];
            return match httparse::parse_headers(&bytes[at..], &mut trailers) {
                Ok(Status::Complete((len, _))) => Some(at + len),
                Ok(Status::Partial) => None,
                Err(error) => panic!("trailers that were taken: {error}"),
            };
        }
        let end = usize::try_from(size)
            .ok()
            .and_then(|size| at.checked_add(size)?.checked_add(2))?;
        let behind = bytes.get(end - 2..end)?;
        assert_eq!(behind, b"\r\n");
        at = end;
    }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = Requests::default().follow(bytes);
    let mut one_by_one = Requests::default();
    let wrong = bytes
        .iter()
        .position(|byte| one_by_one.follow(&[*byte]).is_err());
    assert_eq!(whole.err(), wrong);

    // What comes before the wrong byte was taken.
    let mut rest = &bytes[..wrong.unwrap_or(bytes.len())];
    loop {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut request = Request::new(&mut headers);
        let len = match request.parse(rest) {
            Ok(Status::Complete(len)) => len,
            // The bytes of a target that are no text are hyper's to refuse.
            Ok(Status::Partial) | Err(Error::Token) => return,
            Err(error) => panic!("a head that was taken: {error}"),
        };
        let Some(body) = body(request.headers, &rest[len..]) else {
            return;
        };
        rest = &rest[len + body..];
    }
});
