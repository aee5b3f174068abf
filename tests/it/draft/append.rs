//! Upload Append.

use super::{LAST, MORE, PARTIAL_UPLOAD, assert_problem, assert_refused};
use crate::digest_fields::sha256_hex;
use crate::flight::Break;
use crate::resumable::{PART, id_of, over_both};
use crate::server::{content, text};

#[test]
fn patch_appends_from_its_beginning_without_gaps() {
    over_both(&[], |client| {
        let content = content(200_000);
        let url = client.draft_new();
        let mut offset = 0;
        for size in [1, 65_535, 0, 65_536, 65_537] {
            let piece = &content[offset..offset + size];
            let answer = client.append(&url, offset, MORE, piece).is(204);
            offset += size;
            assert_eq!(answer.header("upload-complete"), "?0");
            assert_eq!(answer.header("upload-offset"), offset.to_string());
            client.is_at(&url, offset);
        }
        let rest = &content[offset..];
        let receipt = client.append(&url, offset, LAST, rest).receipt();
        assert_eq!(receipt["sha256"], sha256_hex(&content));
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn interrupted_must_not_be_complete_and_should_keep_what_came() {
    let content = content(2 * PART);
    over_both(&[], |client| {
        for how in Break::ALL {
            let url = client.draft_new();
            let size = content.len().to_string();
            let headers = [LAST, ("content-length", &size)];
            let mut append = client.begin_append(&url, 0, &headers);
            append.send(&content[..PART]);
            client.wait_staged(&url, 0);
            append.break_off(how);
            let head = client.draft_head(&url);
            assert_eq!(head.header("upload-complete"), "?0");
            assert!(!client.is_listed(&url));
            let offset: usize = head.header("upload-offset").parse().unwrap();
            assert!(offset > 0 && offset <= PART, "{how:?} {offset}");
            client
                .append(&url, offset, LAST, &content[offset..])
                .is(201);
            assert!(client.opened(&url).content == content);
        }
    });
}

#[test]
fn mismatching_offset_must_be_409_with_the_right_one() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        for offset in [0, 4, 6, 1_000_000] {
            for complete in [MORE, LAST] {
                let answer = client.append(&url, offset, complete, b"56789");
                assert_problem(&answer, 409, "mismatching-upload-offset");
                assert_eq!(answer.header("upload-offset"), "5");
                let problem = answer.json();
                assert_eq!(problem["expected-offset"], 5);
                assert_eq!(problem["provided-offset"], offset);
                client.is_at(&url, 5);
            }
        }
        client.append(&url, 5, LAST, b"56789").is(201);
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn completed_content_must_be_refused_as_inconsistent_and_change_nothing() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        client.append(&url, 5, LAST, b"56789").is(201);
        for complete in [MORE, LAST] {
            let answer = client.append(&url, 10, complete, b"more");
            assert_problem(&answer, 400, "inconsistent-upload-length");
        }
        assert_refused(&client.append(&url, 5, LAST, b"56789"));
        assert_eq!(client.draft_offset(&url), 10);
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn completed_empty_must_be_refused() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        client.append(&url, 5, LAST, b"56789").is(201);
        for complete in [MORE, LAST] {
            let answer = client.append(&url, 10, complete, b"");
            assert_problem(&answer, 400, "completed-upload");
        }
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn complete_must_say_so_and_should_answer_as_the_first_request_would_have() {
    over_both(&[], |client| {
        let plain = client
            .draft("PUT", "/uploads/x", &[], b"0123456789")
            .receipt();
        for rest in [&b"56789"[..], b""] {
            let url = client.draft(
                "PUT",
                "/uploads/x",
                &[MORE],
                &b"0123456789"[..10 - rest.len()],
            );
            let url = url.is(201).header("location").to_owned();
            let answer = client.append(&url, 10 - rest.len(), LAST, rest);
            assert_eq!(answer.header("upload-complete"), "?1");
            assert_eq!(answer.header("upload-offset"), "10");
            let location = format!("/uploads/{}", id_of(&url));
            assert_eq!(answer.header("location"), location);
            assert_eq!(answer.header("content-location"), location);
            let receipt = answer.receipt();
            assert_eq!(text(&receipt["id"]), id_of(&url));
            for member in ["kind", "name", "size", "sha256", "recipients"] {
                assert_eq!(receipt[member], plain[member], "{member}");
            }
            assert!(client.is_listed(&url));
            assert_eq!(client.opened(&url).content, b"0123456789");
        }
    });
}

#[test]
fn incomplete_is_2xx_and_says_so() {
    over_both(&[], |client| {
        let url = client.draft_new();
        for offset in 0..3 {
            let answer = client.append(&url, offset, MORE, b"x").is(204);
            assert_eq!(answer.header("upload-complete"), "?0");
        }
        client.is_at(&url, 3);
    });
}

#[test]
fn length_must_be_recorded() {
    over_both(&[], |client| {
        let url = client.draft_new();
        let length = ("upload-length", "10");
        client
            .append_with(&url, 0, &[MORE, length], b"01234")
            .is(204);
        assert_eq!(client.draft_head(&url).header("upload-length"), "10");
        let answer = client.append_with(&url, 5, &[MORE, ("upload-length", "11")], b"");
        assert_problem(&answer, 400, "inconsistent-upload-length");
    });
}

#[test]
fn offset_must_not_exceed_the_length_announced() {
    over_both(&[], |client| {
        for complete in [MORE, LAST] {
            let url = client.draft_create(&[("upload-length", "10")], b"01234");
            let answer = client.append(&url, 5, complete, b"567890");
            assert_problem(&answer, 400, "inconsistent-upload-length");
            assert!(!client.is_listed(&url));
            let head = client.draft("HEAD", &url, &[], b"");
            assert!(head.status == 404 || head.header("upload-offset") == "5");
        }
    });
}

#[test]
fn offset_exceeding_the_length_must_make_the_upload_invalid() {
    over_both(&[], |client| {
        for complete in [MORE, LAST] {
            for more in [1, PART] {
                let url = client.draft_create(&[("upload-length", "10")], b"01234");
                let mut append = client.begin_append(&url, 5, &[complete]);
                append.send(b"56789");
                append.send(&content(more));
                let answer = append.finish();
                assert_problem(&answer, 400, "inconsistent-upload-length");
                client.draft("HEAD", &url, &[], b"").is(404);
                client.append(&url, 10, LAST, b"").is(404);
                client.append(&url, 5, LAST, b"56789").is(404);
                client.wait_gone(&url);
            }
        }
    });
}

#[test]
fn patch_must_have_an_offset_and_the_completeness() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let headers = [PARTIAL_UPLOAD, LAST];
        client.draft("PATCH", &url, &headers, b"56789").is(400);
        let headers = [PARTIAL_UPLOAD, ("upload-offset", "5")];
        client.draft("PATCH", &url, &headers, b"56789").is(400);
        client.is_at(&url, 5);
    });
}

#[test]
fn patch_of_another_type_is_415() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let offset = ("upload-offset", "5");
        for other in ["application/octet-stream", "text/plain", "image/jpeg", ""] {
            let headers = [MORE, offset, ("content-type", other)];
            client.draft("PATCH", &url, &headers, b"56789").is(415);
        }
        client
            .draft("PATCH", &url, &[MORE, offset], b"56789")
            .is(415);
        client.is_at(&url, 5);
    });
}

#[test]
fn patch_of_the_type_in_other_letters_is_of_the_type() {
    over_both(&[], |client| {
        let url = client.draft_new();
        let headers = [
            MORE,
            ("content-type", "Application/Partial-Upload"),
            ("upload-offset", "0"),
        ];
        client.draft("PATCH", &url, &headers, b"01234").is(204);
    });
}

#[test]
fn patch_may_be_sent_as_post() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let instead = |method| ("x-http-method-override", method);
        let headers = [
            instead("PATCH"),
            PARTIAL_UPLOAD,
            LAST,
            ("upload-offset", "5"),
        ];
        client.draft("POST", &url, &headers, b"56789").is(201);
        assert_eq!(client.opened(&url).content, b"0123456789");
        client
            .draft("POST", &url, &[instead("DELETE")], b"")
            .is(204);
        client.draft("HEAD", &url, &[], b"").is(404);
    });
}

#[test]
fn patch_of_nothing_is_404() {
    over_both(&[], |client| {
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        client.append(&unknown, 0, MORE, b"01234").is(404);
    });
}

#[test]
fn representation_is_that_of_the_first_request() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("content-type", "image/jpeg")], b"01234");
        let disposition = ("content-disposition", "inline; filename=other");
        client
            .append_with(&url, 5, &[LAST, disposition], b"5")
            .is(201);
        let manifest = client.opened(&url).manifest;
        assert_eq!(manifest["type"], "image/jpeg");
        assert_ne!(manifest["name"], "other");
    });
}
