//! `Range`, and the answers with one part or several (RFC 9110, sections 14 and 15.3.7).

use std::fs;

use http::Method;
use rustls::version::TLS13;

use super::{Asked, Asking, CHUNK, SIZES, in_segments, parts, places, range, request, some};
use crate::client::Protocol;
use crate::program::Bench;
use crate::resumable::over_both;
use crate::server::{Server, content, text};
use crate::store::only_in_a_folder;

const OCTETS: &str = "application/octet-stream";
const OPENING: [&str; 2] = ["--identity", "key"];

#[test]
fn one_range_of_many_segments_is_that_of_the_plain_bytes() {
    over_both(&OPENING, |client| {
        let (id, plain) = in_segments(client, &SIZES);
        let path = format!("/uploads/{id}");
        let mut asking = Asking::new(&client.server);
        for (asked, expected) in some(80, &range(plain.len(), places(&SIZES))) {
            let answer = asking.get(&path, &[("range", &format!("bytes={asked}"))]);
            let range = answer.headers.get("content-range");
            let range = range.map(|range| range.to_str().unwrap().to_owned());
            if expected.is_empty() {
                answer.refused(416, "range-not-satisfiable");
                assert_eq!(range.unwrap(), format!("bytes */{}", plain.len()));
                continue;
            }
            let answer = answer.is(206);
            assert!(answer.body == plain[expected.clone()], "{asked}");
            let (last, size) = (expected.end - 1, plain.len());
            assert_eq!(
                range.unwrap(),
                format!("bytes {}-{last}/{size}", expected.start)
            );
        }
    });
}

#[test]
fn several_ranges_of_many_segments_are_those_of_the_plain_bytes() {
    over_both(&OPENING, |client| {
        let (id, plain) = in_segments(client, &SIZES);
        let path = format!("/uploads/{id}");
        let size = plain.len();
        let ranges = proptest::collection::vec(range(size, places(&SIZES)), 2..9);
        for asked in some(40, &ranges) {
            let texts: Vec<&str> = asked.iter().map(|(text, _)| &text[..]).collect();
            let value = format!("bytes={}", texts.join(", "));
            let request = request(&client.server, Method::GET, &path, &[("range", &value)]);
            let answer = client.server.send_over(client.protocol, &TLS13, request);
            let wanted: Vec<&Asked> = asked
                .iter()
                .filter(|(_, range)| !range.is_empty())
                .collect();
            if wanted.is_empty() {
                answer.refused(416, "range-not-satisfiable");
                continue;
            }
            let got = match answer.headers.get("content-range") {
                // All of them became one.
                Some(range) => {
                    let range = range.to_str().unwrap().strip_prefix("bytes ").unwrap();
                    let (first, _) = range.split_once('-').unwrap();
                    vec![(first.parse().unwrap(), &answer.body[..])]
                }
                None => parts(&answer, OCTETS, size),
            };
            assert!(!got.is_empty() && got.len() <= wanted.len());
            for (first, bytes) in &got {
                assert!(**bytes == plain[*first..first + bytes.len()], "{value}");
            }
            for (text, range) in wanted {
                let holds = |(first, bytes): &(usize, &[u8])| {
                    *first <= range.start && range.end <= first + bytes.len()
                };
                assert_eq!(
                    got.iter().filter(|part| holds(part)).count(),
                    1,
                    "{value}: {text}"
                );
            }
            // Nothing is sent twice, and little beside it.
            assert!(answer.body.len() < size + 2000, "{value}");
        }
    });
}

#[test]
fn several_ranges_of_a_sealed_file_come_as_stored() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = text(&server.put("/uploads/x", content(3 * CHUNK)).receipt()["id"]);
    let stored = bench.sealed_file(&id, "0000.age");
    let path = format!("/uploads/{id}/0000.age");
    let mut asking = Asking::new(&server);
    let answer = asking.get(&path, &[("range", "bytes=100000-100009,0-3,-5")]);
    let size = stored.len();
    let expected = [
        (100_000, &stored[100_000..100_010]),
        (0, &stored[..4]),
        (size - 5, &stored[size - 5..]),
    ];
    assert_eq!(parts(&answer, "application/age", size), expected);
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    // Nobody could have sent in what separates the parts.
    let again = asking.get(&path, &[("range", "bytes=100000-100009,0-3,-5")]);
    assert_ne!(again.header("content-type"), answer.header("content-type"));
    let meta = bench.sealed_file(&id, "meta.age");
    let part = asking.get(&format!("/uploads/{id}/meta.age"), &[("range", "bytes=-9")]);
    assert_eq!(part.is(206).body, meta[meta.len() - 9..]);
}

#[test]
fn what_asks_for_too_much_or_makes_no_sense_gets_the_whole() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let plain = content(4 * CHUNK);
    let id = text(&server.put("/uploads/x", plain.clone()).receipt()["id"]);
    let path = format!("/uploads/{id}");
    let mut asking = Asking::new(&server);
    let many = |count: usize| {
        let ranges: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 1000)).collect();
        format!("bytes={}", ranges.join(","))
    };
    let some = asking.get(&path, &[("range", &many(64))]);
    let got = parts(&some, OCTETS, plain.len());
    assert_eq!(got.len(), 64);
    assert!(got.iter().all(|(at, bytes)| **bytes == plain[*at..=*at]));
    for range in [
        &many(65)[..],
        "bytes=0-1,x",
        "bytes=9-8",
        "bytes 0-1",
        "pages=0-1",
    ] {
        let answer = asking.get(&path, &[("range", range)]).is(200);
        assert!(answer.body == plain, "{range}");
    }
    // As an attack that wants everything many times over.
    let greedy = vec!["0-"; 64].join(",");
    let answer = asking.get(&path, &[("range", &format!("bytes={greedy}"))]);
    assert!(answer.is(206).body == plain);
    let twice = [("range", "bytes=0-1"), ("range", "bytes=5-6")];
    assert!(asking.get(&path, &twice).is(200).body == plain);
}

#[test]
fn of_something_empty_there_is_no_part() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let id = text(&server.put("/uploads/x", b"").receipt()["id"]);
    let path = format!("/uploads/{id}");
    let mut asking = Asking::new(&server);
    for range in ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=0-,5-6"] {
        let answer = asking.get(&path, &[("range", range)]);
        answer.refused(416, "range-not-satisfiable");
        assert_eq!(answer.header("content-range"), "bytes */0");
    }
    let all = asking.get(&path, &[("range", "bytes=-5")]).is(200);
    assert_eq!((all.header("content-length"), all.body.len()), ("0", 0));
}

/// As a player does that looks for the index at the end of a film and then jumps about.
#[test]
fn a_player_may_seek() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let plain = content(20 * CHUNK + 99);
    let id = text(&server.put("/uploads/film.mp4", plain.clone()).receipt()["id"]);
    let path = format!("/uploads/{id}");
    let mut asking = Asking::new(&server);
    let first = asking.get(&path, &[("range", "bytes=0-")]).is(206);
    assert!(first.body == plain);
    assert_eq!(first.header("accept-ranges"), "bytes");
    let tag = first.header("etag").to_owned();
    for at in [
        plain.len() - 1000,
        5 * CHUNK - 3,
        0,
        11 * CHUNK,
        plain.len() - 1,
    ] {
        let range = format!("bytes={at}-");
        let answer = asking.get(&path, &[("range", &range), ("if-range", &tag)]);
        let answer = answer.is(206);
        assert!(answer.body == plain[at..], "{at}");
        assert_eq!(answer.header("etag"), tag);
    }
}

#[test]
fn damage_cuts_an_answer_of_several_parts_too() {
    only_in_a_folder();
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let plain = content(40 * CHUNK);
    let id = text(&server.put("/uploads/x", plain.clone()).receipt()["id"]);
    let path = format!("/uploads/{id}");
    let segment = bench.upload_folder(&id).join("0000.age");
    let whole = fs::read(&segment).unwrap();
    let payload = whole.len() - 40 * (CHUNK + 16);
    let damaged_in = |chunk: usize| {
        let mut damaged = whole.clone();
        damaged[payload + chunk * (CHUNK + 16) + 99] ^= 1;
        fs::write(&segment, damaged).unwrap();
    };
    let range = format!("bytes=0-99,{}-{},5000-5099", 10 * CHUNK, 30 * CHUNK + 99);
    for (asked_before, protocol) in Protocol::ALL.into_iter().enumerate() {
        let ask = || {
            let request = request(&server, Method::GET, &path, &[("range", &range)]);
            server.try_send_over(protocol, &TLS13, request)
        };
        // The last chunk says where the end is, until it was seen once.
        let end = (asked_before == 0).then_some(39);
        for chunk in end.into_iter().chain([10, 20, 30]) {
            damaged_in(chunk);
            let cut = ask().unwrap_err();
            // Neither the end of the part that is damaged nor what comes after it.
            let most = 100 + (chunk.min(30) - 10) * CHUNK + 1000;
            assert!(cut.len() < most, "{protocol:?} {chunk}: {}", cut.len());
            assert!(!cut.ends_with(b"--\r\n"), "{protocol:?} {chunk}");
        }
        // Where no part of it is asked for, it does not matter.
        damaged_in(35);
        assert_eq!(parts(&ask().unwrap(), OCTETS, plain.len()).len(), 3);
    }
}
