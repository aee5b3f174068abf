//! Offset Retrieval.

use super::{LAST, MORE, VERSION};
use crate::resumable::{PART, limits, over_both};
use crate::server::content;

#[test]
fn head_must_include_the_offset() {
    over_both(&[], |client| {
        let url = client.draft_new();
        assert_eq!(client.draft_head(&url).header("upload-offset"), "0");
        client.append(&url, 0, MORE, b"01234").is(204);
        assert_eq!(client.draft_head(&url).header("upload-offset"), "5");
        client.append(&url, 5, LAST, b"56789").is(201);
        assert_eq!(client.draft_head(&url).header("upload-offset"), "10");
    });
}

#[test]
fn head_must_include_the_completeness() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        assert_eq!(client.draft_head(&url).header("upload-complete"), "?0");
        client.append(&url, 5, LAST, b"56789").is(201);
        assert_eq!(client.draft_head(&url).header("upload-complete"), "?1");
    });
}

#[test]
fn head_must_include_the_length_where_the_client_gave_it() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", "10")], b"");
        assert_eq!(client.draft_head(&url).header("upload-length"), "10");
        let url = client.draft_create(&[], b"01234");
        let head = client.draft_head(&url);
        assert!(!head.headers.contains_key("upload-length"));
        let length = ("upload-length", "12");
        client
            .append_with(&url, 5, &[MORE, length], b"56789")
            .is(204);
        assert_eq!(client.draft_head(&url).header("upload-length"), "12");
        client.append(&url, 10, LAST, b"ab").is(201);
        assert_eq!(client.draft_head(&url).header("upload-length"), "12");
    });
}

#[test]
fn head_must_include_the_length_that_an_interrupted_last_request_gave() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let rest = content(PART + 7);
        let size = rest.len().to_string();
        let headers = [LAST, ("content-length", &size)];
        let mut append = client.begin_append(&url, 5, &headers);
        append.send(&rest[..PART]);
        client.wait_staged(&url, 5);
        append.break_off(crate::flight::Break::Close);
        let head = client.draft_head(&url);
        assert_eq!(head.header("upload-length"), (5 + rest.len()).to_string());
        assert_eq!(head.header("upload-complete"), "?0");
        let offset: usize = head.header("upload-offset").parse().unwrap();
        // From now on it has to match.
        let answer = client.append(&url, offset, LAST, &rest[offset - 5..PART]);
        super::assert_problem(&answer, 400, "inconsistent-upload-length");
        client
            .append(&url, offset, LAST, &rest[offset - 5..])
            .is(201);
        assert!(client.opened(&url).content == [b"01234", &rest[..]].concat());
    });
}

#[test]
fn head_must_indicate_the_limits() {
    over_both(&["--max-size", "3MiB"], |client| {
        let url = client.draft_create(&[], b"01234");
        let limits = limits(&client.draft_head(&url));
        assert_eq!(limits["max-size"], 3 << 20);
        assert!(limits["max-age"] > 0);
    });
}

#[test]
fn head_should_not_be_cached() {
    over_both(&[], |client| {
        let url = client.draft_new();
        assert_eq!(client.draft_head(&url).header("cache-control"), "no-store");
        client.append(&url, 0, LAST, b"").is(201);
        assert_eq!(client.draft_head(&url).header("cache-control"), "no-store");
    });
}

#[test]
fn head_of_nothing_is_404() {
    over_both(&[], |client| {
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        let answer = client.draft("HEAD", &unknown, &[], b"").is(404);
        assert!(!answer.headers.contains_key("upload-offset"));
    });
}

#[test]
fn head_of_a_client_that_names_no_version_is_answered_too() {
    over_both(&[], |client| {
        let answer = client
            .request("POST", "/uploads", &[MORE], b"01234")
            .is(201);
        let head = client
            .request("HEAD", answer.header("location"), &[], b"")
            .is(204);
        assert_eq!(head.header("upload-offset"), "5");
        assert_eq!(head.header("upload-complete"), "?0");
        assert!(!head.headers.contains_key("tus-resumable"));
    });
}

#[test]
fn get_has_the_state_too_and_the_receipt_in_the_end() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", "10")], b"01234");
        let state = client.request("GET", &url, &[VERSION], b"").is(204);
        assert_eq!(state.header("upload-offset"), "5");
        assert_eq!(state.header("upload-complete"), "?0");
        assert_eq!(state.header("upload-length"), "10");
        let receipt = client.append(&url, 5, LAST, b"56789").receipt();
        let again = client.request("GET", &url, &[VERSION], b"").is(200);
        assert_eq!(again.json(), receipt);
        assert_eq!(again.header("content-type"), "application/json");
    });
}
