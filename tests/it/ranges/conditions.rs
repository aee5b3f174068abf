//! Entity tags, and conditions that name them (RFC 9110, section 13); HEAD.

use std::fs;

use data_encoding::HEXLOWER;
use http::Method;
use rustls::version::TLS13;
use sha2::{Digest, Sha256};

use super::{Asking, request};
use crate::client::Protocol;
use crate::program::Bench;
use crate::server::{Server, content, text};
use crate::store::only_in_a_folder;

/// A server with its key, an upload, and what can be fetched of it.
fn with_upload(test: impl Fn(&Bench, &Server<'_>, &str, &[(String, Vec<u8>)])) {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let plain = content(100_000);
    let id = text(&server.put("/uploads/x", plain.clone()).receipt()["id"]);
    let mut there = vec![(format!("/uploads/{id}"), plain)];
    for name in ["meta.age", "0000.age"] {
        let stored = bench.sealed_file(&id, name);
        there.push((format!("/uploads/{id}/{name}"), stored));
    }
    test(&bench, &server, &id, &there);
}

#[test]
fn tags_are_strong_and_say_what_they_are_made_of() {
    with_upload(|_, server, id, there| {
        let mut asking = Asking::new(server);
        let list = asking.get("/uploads", &[]).is(200).json();
        let checksum = text(&list["uploads"][0]["files"][0]["crc64nvme"]);
        let digest = HEXLOWER.encode(&Sha256::digest(&there[1].1));
        let tags = [
            format!("\"{id}\""),
            format!("\"{id}.meta.age.{}\"", &digest[..32]),
            format!("\"{id}.0000.age.{checksum}\""),
        ];
        for ((path, _), tag) in there.iter().zip(tags) {
            assert_eq!(asking.get(path, &[]).is(200).header("etag"), tag);
        }
    });
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    with_upload(|_, server, _, there| {
        let mut asking = Asking::new(server);
        for (path, whole) in there {
            let tag = asking.get(path, &[]).header("etag").to_owned();
            let weak = format!("W/{tag}");
            let listed = format!("\"a,b\", {weak}");
            for has in [&tag[..], &weak, &listed, "*"] {
                for method in [Method::GET, Method::HEAD] {
                    // The range comes after the condition (section 13.2.2).
                    let headers = [("if-none-match", has), ("range", "bytes=0-1")];
                    let answer = asking.ask(method, path, &headers);
                    assert_eq!(
                        (answer.status, answer.header("etag")),
                        (304, &tag[..]),
                        "{has}"
                    );
                    assert!(!answer.headers.contains_key("content-length"));
                    assert!(!answer.headers.contains_key("content-type"));
                }
            }
            for other in ["\"other\"", &tag[1..tag.len() - 1], "\"a\" \"b\""] {
                let answer = asking.get(path, &[("if-none-match", other)]);
                assert!(answer.is(200).body == *whole, "{other}");
            }
            let dates = [("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")];
            assert!(asking.get(path, &dates).is(200).body == *whole);
        }
    });
}

#[test]
fn what_is_not_what_it_must_be_is_refused() {
    with_upload(|_, server, _, there| {
        let mut asking = Asking::new(server);
        for (path, whole) in there {
            let tag = asking.get(path, &[]).header("etag").to_owned();
            for same in [&tag[..], "*", &format!("\"x\", {tag}")] {
                let answer = asking.get(path, &[("if-match", same), ("range", "bytes=1-2")]);
                assert_eq!(answer.is(206).body, whole[1..3]);
            }
            for other in ["\"x\"", &format!("W/{tag}"), "x"] {
                let headers = [("if-match", other), ("if-none-match", &tag)];
                asking
                    .get(path, &headers)
                    .refused(412, "precondition-failed");
                assert_eq!(asking.ask(Method::HEAD, path, &headers).status, 412);
            }
            let long_ago = "Thu, 01 Jan 1970 00:00:00 GMT";
            let answer = asking.get(path, &[("if-unmodified-since", long_ago)]);
            assert!(answer.is(200).body == *whole);
        }
        // What would be refused anyway is refused for that (section 13.2.1).
        let nothing = "/uploads/00000000000000000000000000000000";
        asking
            .get(nothing, &[("if-match", "\"x\"")])
            .refused(404, "not-found");
    });
}

#[test]
fn only_the_same_strong_tag_gets_a_part() {
    with_upload(|_, server, _, there| {
        let mut asking = Asking::new(server);
        for (path, whole) in there {
            let tag = asking.get(path, &[]).header("etag").to_owned();
            let part = |asking: &mut Asking<'_>, tag: &str| {
                asking.get(path, &[("range", "bytes=3-9"), ("if-range", tag)])
            };
            assert_eq!(part(&mut asking, &tag).is(206).body, whole[3..10]);
            for other in [
                &format!("W/{tag}")[..],
                "\"x\"",
                "Fri, 01 Jan 2100 00:00:00 GMT",
                "*",
            ] {
                assert!(part(&mut asking, other).is(200).body == *whole, "{other}");
            }
            // Without a range, it says nothing.
            assert!(asking.get(path, &[("if-range", "\"x\"")]).is(200).body == *whole);
        }
    });
}

#[test]
fn head_says_what_get_would() {
    with_upload(|_, server, _, there| {
        for protocol in Protocol::ALL {
            for (path, whole) in there {
                let ask = |method, headers: &[(&str, &str)]| {
                    let request = request(server, method, path, headers);
                    server.send_over(protocol, &TLS13, request).is(200)
                };
                let got = ask(Method::GET, &[]);
                // Ranges are for GET alone (section 14.2), even those that cannot be had.
                for range in ["bytes=0-9", "bytes=0-9,5000-5009", "bytes=99999999-"] {
                    let head = ask(Method::HEAD, &[("range", range)]);
                    let without_date = |mut headers: http::HeaderMap| {
                        headers.remove("date");
                        headers
                    };
                    assert_eq!(
                        without_date(head.headers),
                        without_date(got.headers.clone())
                    );
                    assert!(head.body.is_empty());
                }
                assert_eq!(got.header("content-length"), whole.len().to_string());
            }
        }
    });
}

#[test]
fn a_segment_whose_record_is_damaged_can_be_fetched_and_has_no_tag() {
    only_in_a_folder();
    with_upload(|bench, server, id, there| {
        let meta = bench.upload_folder(id).join("meta.age");
        let mut asking = Asking::new(server);
        for damage in [&b"age-encryption.org/v1\nnothing"[..], b""] {
            fs::write(&meta, damage).unwrap();
            let (path, stored) = &there[2];
            let answer = asking.get(path, &[("if-none-match", "\"x\"")]).is(200);
            assert!(answer.body == *stored);
            assert!(!answer.headers.contains_key("etag"));
            let part = [("range", "bytes=0-1"), ("if-range", "\"x\"")];
            assert!(asking.get(path, &part).is(200).body == *stored);
        }
    });
}
