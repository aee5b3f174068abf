//! What clients in the field speak: interop versions 3 (draft -01), 5 (-03) and 6 (-04, -05), where they differ from 8.

use super::{LAST, MORE, PARTIAL_UPLOAD, assert_problem};
use crate::resumable::{limits, over_both};

const V3: (&str, &str) = ("upload-draft-interop-version", "3");
const V5: (&str, &str) = ("upload-draft-interop-version", "5");
const V6: (&str, &str) = ("upload-draft-interop-version", "6");

/// Version 3 says it the other way round.
const INCOMPLETE: (&str, &str) = ("upload-incomplete", "?1");
const NOT_INCOMPLETE: (&str, &str) = ("upload-incomplete", "?0");

#[test]
fn v3_creation_incomplete_must_be_201_with_location_offset_and_incomplete() {
    over_both(&[], |client| {
        for method in ["POST", "PUT"] {
            let answer = client.request(method, "/uploads/", &[V3, INCOMPLETE], b"01234");
            let answer = answer.is(201);
            assert_eq!(answer.header("upload-incomplete"), "?1");
            assert_eq!(answer.header("upload-offset"), "5");
            assert!(!answer.headers.contains_key("upload-complete"));
            let url = answer.header("location");
            assert!(!client.is_listed(url));
            let headers = [V3, NOT_INCOMPLETE, ("upload-offset", "5")];
            client.request("PATCH", url, &headers, b"56789").is(201);
            assert_eq!(client.opened(url).content, b"0123456789");
        }
    });
}

#[test]
fn v3_creation_complete_must_be_2xx_and_not_incomplete() {
    over_both(&[], |client| {
        let headers = [V3, NOT_INCOMPLETE];
        let answer = client
            .request("POST", "/uploads", &headers, b"01234")
            .is(201);
        let incomplete = answer.headers.get("upload-incomplete");
        assert!(incomplete.is_none_or(|value| value == "?0"));
        let receipt = answer.receipt();
        assert_eq!(client.bench.open_stored(&receipt["id"]).content, b"01234");
    });
}

#[test]
fn v3_head_must_be_204_with_offset_and_incomplete() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V3, INCOMPLETE], b"01234")
            .is(201);
        let url = answer.header("location");
        let head = client.request("HEAD", url, &[V3], b"").is(204);
        assert_eq!(head.header("upload-offset"), "5");
        assert_eq!(head.header("upload-incomplete"), "?1");
        let headers = [V3, NOT_INCOMPLETE, ("upload-offset", "5")];
        client.request("PATCH", url, &headers, b"").is(201);
        let head = client.request("HEAD", url, &[V3], b"").is(204);
        assert_eq!(head.header("upload-offset"), "5");
        assert_eq!(head.header("upload-incomplete"), "?0");
    });
}

#[test]
fn v3_append_must_be_201_with_the_offset_whether_complete_or_not() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V3, INCOMPLETE], b"")
            .is(201);
        let url = answer.header("location");
        // It knows no media type for this.
        let headers = [V3, INCOMPLETE, ("upload-offset", "0")];
        let answer = client.request("PATCH", url, &headers, b"01234").is(201);
        assert_eq!(answer.header("upload-incomplete"), "?1");
        assert_eq!(answer.header("upload-offset"), "5");
        let headers = [V3, NOT_INCOMPLETE, ("upload-offset", "5")];
        let answer = client.request("PATCH", url, &headers, b"56789").is(201);
        assert_eq!(answer.header("upload-offset"), "10");
        let incomplete = answer.headers.get("upload-incomplete");
        assert!(incomplete.is_none_or(|value| value == "?0"));
        assert_eq!(client.opened(url).content, b"0123456789");
    });
}

#[test]
fn v3_append_without_upload_incomplete_must_complete_the_upload() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V3, INCOMPLETE], b"01234")
            .is(201);
        let url = answer.header("location");
        let headers = [V3, ("upload-offset", "5")];
        client.request("PATCH", url, &headers, b"56789").is(201);
        assert_eq!(client.opened(url).content, b"0123456789");
    });
}

#[test]
fn v3_append_mismatching_offset_must_be_409_with_the_offset() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V3, INCOMPLETE], b"01234")
            .is(201);
        let url = answer.header("location");
        let headers = [V3, NOT_INCOMPLETE, ("upload-offset", "4")];
        let answer = client.request("PATCH", url, &headers, b"456789").is(409);
        assert_eq!(answer.header("upload-offset"), "5");
        client.is_at(url, 5);
    });
}

#[test]
fn v3_and_v5_head_and_delete_with_upload_offset_must_be_400() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        for (version, complete) in [(V3, INCOMPLETE), (V5, MORE)] {
            for method in ["HEAD", "DELETE"] {
                let offset = ("upload-offset", "5");
                client
                    .request(method, &url, &[version, offset], b"")
                    .is(400);
                client
                    .request(method, &url, &[version, complete], b"")
                    .is(400);
            }
        }
        client.is_at(&url, 5);
    });
}

#[test]
fn v3_of_nothing_must_be_404() {
    over_both(&[], |client| {
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        client.request("HEAD", &unknown, &[V3], b"").is(404);
        client.request("DELETE", &unknown, &[V3], b"").is(404);
        let headers = [V3, NOT_INCOMPLETE, ("upload-offset", "0")];
        client.request("PATCH", &unknown, &headers, b"x").is(404);
    });
}

#[test]
fn v5_uploads_without_a_media_type() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V5, MORE], b"01234")
            .is(201);
        assert_eq!(answer.header("upload-offset"), "5");
        let url = answer.header("location");
        let head = client.request("HEAD", url, &[V5], b"").is(204);
        assert_eq!(head.header("upload-offset"), "5");
        assert_eq!(head.header("upload-complete"), "?0");
        let headers = [V5, MORE, ("upload-offset", "5")];
        let answer = client.request("PATCH", url, &headers, b"567");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("upload-offset"), "8");
        let headers = [V5, LAST, ("upload-offset", "8")];
        let answer = client.request("PATCH", url, &headers, b"89").is(201);
        assert_eq!(answer.header("upload-offset"), "10");
        let complete = answer.headers.get("upload-complete");
        assert!(complete.is_none_or(|value| value == "?1"));
        assert_eq!(client.opened(url).content, b"0123456789");
    });
}

#[test]
fn v6_incomplete_any_answer_to_an_append_must_say_so() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V6, MORE], b"01234")
            .is(201);
        let url = answer.header("location");
        let headers = [V6, MORE, PARTIAL_UPLOAD, ("upload-offset", "5")];
        let answer = client.request("PATCH", url, &headers, b"56");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("upload-complete"), "?0");
        let answer = client.request("PATCH", url, &headers, b"56");
        assert_problem(&answer, 409, "mismatching-upload-offset");
        assert_eq!(answer.header("upload-offset"), "7");
        assert_eq!(answer.header("upload-complete"), "?0");
        let headers = [V6, LAST, PARTIAL_UPLOAD, ("upload-offset", "7")];
        let answer = client.request("PATCH", url, &headers, b"789").is(201);
        assert_eq!(answer.header("upload-complete"), "?1");
        assert_eq!(client.opened(url).content, b"0123456789");
    });
}

#[test]
fn v6_options_must_include_upload_limit() {
    over_both(&["--max-size", "3MiB"], |client| {
        for path in ["/uploads", "/uploads/", "/uploads/name"] {
            let answer = client.request("OPTIONS", path, &[V6], b"").is(204);
            assert_eq!(limits(&answer)["max-size"], 3 << 20);
        }
    });
}

#[test]
fn v6_delete_must_be_204() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V6, MORE], b"01234")
            .is(201);
        let url = answer.header("location");
        client.request("DELETE", url, &[V6], b"").is(204);
        client.request("HEAD", url, &[V6], b"").is(404);
    });
}

#[test]
fn v6_offset_must_not_exceed_the_length() {
    over_both(&[], |client| {
        let headers = [V6, MORE, ("upload-length", "10")];
        let answer = client
            .request("POST", "/uploads", &headers, b"01234")
            .is(201);
        let url = answer.header("location");
        let headers = [V6, LAST, PARTIAL_UPLOAD, ("upload-offset", "5")];
        let mut append = client.begin("PATCH", url, &headers);
        append.send(b"567890");
        let status = append.finish().status;
        assert!((400..500).contains(&status), "{status}");
        assert!(!client.is_listed(url));
    });
}

#[test]
fn versions_may_change_between_requests() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[V3, INCOMPLETE], b"01")
            .is(201);
        let url = answer.header("location");
        let headers = [V5, MORE, ("upload-offset", "2")];
        let answer = client.request("PATCH", url, &headers, b"23");
        assert!((200..300).contains(&answer.status), "{answer:?}");
        client.append(url, 4, LAST, b"45").is(201);
        assert_eq!(client.opened(url).content, b"012345");
    });
}
