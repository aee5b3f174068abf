//! Upload Creation.

use rustix::process::Signal;

use super::{LAST, MORE, VERSION};
use crate::client::Multipart;
use crate::digest_fields::sha256_hex;
use crate::flight::Break;
use crate::resumable::{PART, id_of, limits, over_both};
use crate::server::{content, text};

#[test]
fn incomplete_must_have_location_and_limits() {
    over_both(&[], |client| {
        for (method, path) in [
            ("POST", "/uploads"),
            ("POST", "/uploads/"),
            ("PUT", "/uploads/name"),
            ("PUT", "/uploads/"),
        ] {
            for body in [&b""[..], b"01234"] {
                let answer = client.draft(method, path, &[MORE], body).is(201);
                assert!(limits(&answer).contains_key("max-size"));
                // Promised beyond the demand.
                assert_eq!(answer.header("upload-complete"), "?0");
                assert_eq!(answer.header("upload-offset"), body.len().to_string());
                let url = answer.header("location");
                client.is_at(url, body.len());
                client.append(url, body.len(), LAST, b"rest").is(201);
                assert_eq!(client.opened(url).content, [body, b"rest"].concat());
            }
        }
    });
}

#[test]
fn incomplete_without_a_length_beforehand_counts_what_came() {
    over_both(&[], |client| {
        let content = content(100_000);
        let mut create = client.begin("POST", "/uploads", &[VERSION, MORE]);
        for piece in content.chunks(9_000) {
            create.send(piece);
        }
        let answer = create.finish().is(201);
        assert_eq!(answer.header("upload-offset"), "100000");
        let url = answer.header("location");
        client.append(url, 100_000, LAST, b"").is(201);
        assert!(client.opened(url).content == content);
    });
}

#[test]
fn complete_is_an_upload_like_any_other() {
    over_both(&[], |client| {
        for size in [0, 5, 300_001] {
            let content = content(size);
            for (method, path) in [("POST", "/uploads"), ("PUT", "/uploads/name")] {
                let answer = client.draft(method, path, &[LAST], &content);
                assert_eq!(answer.header("upload-complete"), "?1");
                let location = answer.header("location").to_owned();
                let receipt = answer.receipt();
                assert_eq!(location, format!("/uploads/{}", text(&receipt["id"])));
                assert_eq!(receipt["sha256"], sha256_hex(&content));
                assert!(client.bench.open_stored(&receipt["id"]).content == content);
            }
        }
    });
}

#[test]
fn length_must_be_recorded() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", "10")], b"01234");
        assert_eq!(client.draft_head(&url).header("upload-length"), "10");
        let empty = client.draft_create(&[("upload-length", "0")], b"");
        assert_eq!(client.draft_head(&empty).header("upload-length"), "0");
    });
}

#[test]
fn interrupted_must_not_be_complete() {
    over_both(&[], |client| {
        let before = client.server.listed();
        for complete in [MORE, LAST] {
            for how in Break::ALL {
                let length = (2 * PART).to_string();
                let headers = [VERSION, complete, ("content-length", &length)];
                let mut create = client.begin("POST", "/uploads", &headers);
                create.send(&content(PART));
                create.break_off(how);
                drop(create);
                assert_eq!(client.server.listed(), before);
            }
        }
        client.restart(Signal::TERM);
        assert_eq!(client.server.listed(), before);
    });
}

#[test]
fn metadata_of_the_first_request_is_that_of_the_upload() {
    over_both(&[], |client| {
        let headers = [
            ("content-type", "image/jpeg"),
            (
                "content-disposition",
                "inline; filename=\"file.jpg\"; filename*=UTF-8''%e2%82%ac%20file.jpg",
            ),
        ];
        let url = client.draft_create(&headers, b"01234");
        client.append(&url, 5, LAST, b"56789").is(201);
        let manifest = client.opened(&url).manifest;
        assert_eq!(manifest["name"], "€ file.jpg");
        assert_eq!(manifest["type"], "image/jpeg");
        // By its path.
        let headers = [MORE, ("content-type", "text/plain")];
        let answer = client.draft("PUT", "/uploads/a%20b.txt", &headers, b"");
        let url = answer.is(201).header("location").to_owned();
        client.append(&url, 0, LAST, b"text").is(201);
        let manifest = client.opened(&url).manifest;
        assert_eq!(manifest["name"], "a b.txt");
        assert_eq!(manifest["type"], "text/plain");
    });
}

#[test]
fn a_hostile_name_is_no_path() {
    over_both(&[], |client| {
        let disposition = "inline; filename=\"../../../etc/passwd\"";
        let headers = [("content-disposition", disposition)];
        let url = client.draft_create(&headers, b"");
        client.append(&url, 0, LAST, b"x").is(201);
        assert_eq!(client.opened(&url).manifest["name"], "../../../etc/passwd");
    });
}

#[test]
fn metadata_must_be_bounded() {
    over_both(&["--max-name", "100"], |client| {
        let long = "x".repeat(101);
        let disposition = format!("inline; filename={long}");
        let headers = [MORE, ("content-disposition", &disposition[..])];
        client
            .draft("POST", "/uploads", &headers, b"")
            .refused(400, "name-too-long");
        let path = format!("/uploads/{long}");
        client
            .draft("PUT", &path, &[MORE], b"")
            .refused(400, "name-too-long");
    });
}

#[test]
fn content_codings_are_counted_and_kept_as_they_are() {
    over_both(&[], |client| {
        // "hello" as gzip makes it.
        let coded =
            b"\x1f\x8b\x08\0\0\0\0\0\x02\xff\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
        let url = client.draft_create(&[("content-encoding", "gzip")], &coded[..10]);
        client.is_at(&url, 10);
        client.append(&url, 10, LAST, &coded[10..]).is(201);
        assert_eq!(client.opened(&url).content, coded);
    });
}

#[test]
fn a_form_in_parts_is_415() {
    over_both(&[], |client| {
        let form = Multipart::new().file("x", "a/b", "hello").finish();
        let headers = [MORE, ("content-type", Multipart::TYPE)];
        client.draft("POST", "/uploads", &headers, &form).is(415);
    });
}

#[test]
fn upload_resources_should_be_unique_and_hard_to_guess() {
    over_both(&[], |client| {
        let urls: std::collections::BTreeSet<_> = (0..10).map(|_| client.draft_new()).collect();
        assert_eq!(urls.len(), 10);
        let secrets = urls.iter().map(|url| {
            let (_, secret) = url.split_once('.').unwrap();
            for part in [id_of(url), secret] {
                assert_eq!(part.len(), 32, "{url}");
                let base32hex = |c| matches!(c, '0'..='9' | 'a'..='v');
                assert!(part.chars().all(base32hex), "{url}");
            }
            secret
        });
        assert_eq!(secrets.collect::<std::collections::BTreeSet<_>>().len(), 10);
    });
}
