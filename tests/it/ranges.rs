//! Parts of what is stored: over HTTP, and by `open --range`; held against the plain bytes.

mod byteranges;
mod conditions;
mod parts_of_files;

use http::{Method, Request};
use proptest::prelude::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::client::{Answer, Wire, head_of};
use crate::resumable::{Client, id_of};
use crate::server::{Server, content};

const CHUNK: usize = 64 * 1024;

/// An upload that came in requests of these sizes, and so has a segment for each; gives its id and its content.
fn in_segments(client: &Client<'_>, sizes: &[usize]) -> (String, Vec<u8>) {
    let all = content(sizes.iter().sum());
    let url = client.tus_new(all.len());
    let mut offset = 0;
    for size in sizes {
        let body = &all[offset..offset + size];
        client.tus_patch(&url, offset, body).is(204);
        offset += size;
    }
    let id = id_of(&url).to_owned();
    let segments = &client.opened(&url).manifest["segments"];
    assert_eq!(segments.as_array().unwrap().len(), sizes.len());
    (id, all)
}

/// Sizes of segments that end around the ends of chunks.
const SIZES: [usize; 20] = [
    CHUNK,
    1,
    CHUNK - 1,
    CHUNK + 1,
    2 * CHUNK,
    7,
    3 * CHUNK + 5,
    CHUNK,
    CHUNK,
    100,
    2 * CHUNK - 1,
    2 * CHUNK + 1,
    1,
    1,
    CHUNK / 2,
    CHUNK,
    17,
    2,
    CHUNK + 100,
    300,
];

/// Places around the ends of chunks and segments, and some others.
fn places(sizes: &[usize]) -> Vec<usize> {
    let mut places = vec![0, 1];
    let mut start = 0;
    for size in sizes {
        for edge in (0..*size).step_by(CHUNK).chain([*size]) {
            let edge = start + edge;
            places.extend([edge.saturating_sub(1), edge, edge + 1, edge + 1000]);
        }
        start += size;
    }
    places
}

/// A range as a request writes it, and which bytes it means.
type Asked = (String, std::ops::Range<usize>);

/// Any of the three forms, of something of `size` bytes.
fn range(size: usize, places: Vec<usize>) -> impl Strategy<Value = Asked> {
    let place = proptest::sample::select(places);
    (place.clone(), place, 0..5u8).prop_map(move |(one, other, form)| match form {
        0 => (format!("{one}-"), one.min(size)..size),
        1 => (format!("-{one}"), size.saturating_sub(one)..size),
        _ => {
            let (first, last) = (one.min(other), one.max(other));
            (
                format!("{first}-{last}"),
                first.min(size)..(last + 1).min(size),
            )
        }
    })
}

/// So many values, the same in every run.
fn some<T>(count: usize, strategy: &impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    let value = |_| strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(value).collect()
}

/// Requests with the admin's token, on one connection.
struct Asking<'a> {
    server: &'a Server<'a>,
    wire: Wire,
}

impl<'a> Asking<'a> {
    fn new(server: &'a Server<'a>) -> Self {
        let wire = server.wire();
        Self { server, wire }
    }

    #[track_caller]
    fn ask(&mut self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = request(self.server, method, path, headers);
        self.wire.send(head_of(&request, self.server.address));
        self.wire.try_answer(request.method()).unwrap()
    }

    #[track_caller]
    fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers)
    }
}

fn request(
    server: &Server<'_>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Request<Vec<u8>> {
    let mut request = server.as_admin(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Vec::new()).unwrap()
}

/// What is left of a body.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn starts(&self, text: &str) -> bool {
        self.0.starts_with(text.as_bytes())
    }

    #[track_caller]
    fn take(&mut self, text: &str) {
        let rest = self.0.strip_prefix(text.as_bytes());
        self.0 = rest.unwrap_or_else(|| panic!("no {text:?}"));
    }

    #[track_caller]
    fn number(&mut self, end: &str) -> usize {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit());
        let (digits, rest) = self.0.split_at(digits.count());
        self.0 = rest;
        self.take(end);
        std::str::from_utf8(digits).unwrap().parse().unwrap()
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }
}

/// The parts of a `multipart/byteranges` (RFC 9110, section 14.6), each with where it begins, taken apart strictly.
#[track_caller]
fn parts<'a>(answer: &'a Answer, media_type: &str, size: usize) -> Vec<(usize, &'a [u8])> {
    assert_eq!(answer.status, 206);
    assert!(!answer.headers.contains_key("content-range"));
    let said = answer.header("content-type");
    let boundary = said.strip_prefix("multipart/byteranges; boundary=");
    let delimiter = format!("--{}", boundary.expect("several parts"));
    let mut rest = Rest(&answer.body);
    let mut parts = Vec::new();
    rest.take(&delimiter);
    while !rest.starts("--") {
        rest.take(&format!("\r\nContent-Type: {media_type}\r\n"));
        rest.take("Content-Range: bytes ");
        let (first, last) = (rest.number("-"), rest.number("/"));
        assert_eq!(rest.number("\r\n\r\n"), size);
        parts.push((first, rest.bytes(last + 1 - first)));
        rest.take("\r\n");
        rest.take(&delimiter);
    }
    rest.take("--\r\n");
    assert!(rest.0.is_empty());
    parts
}
