//! Upload Cancellation.

use super::{LAST, MORE};
use crate::resumable::{PART, over_both};
use crate::server::content;

#[test]
fn delete_should_deactivate_the_upload() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], &content(300_000));
        assert!(!client.unfinished_files(&url).is_empty());
        client.draft("DELETE", &url, &[], b"").is(204);
        client.draft("HEAD", &url, &[], b"").is(404);
        client.append(&url, 300_000, LAST, b"").is(404);
        client.draft("DELETE", &url, &[], b"").is(404);
        client.wait_gone(&url);
    });
}

#[test]
fn delete_should_end_a_request_in_flight() {
    over_both(&[], |client| {
        let url = client.draft_new();
        let mut append = client.begin_append(&url, 0, &[MORE]);
        append.send(&content(PART));
        client.wait_staged(&url, 0);
        client.draft("DELETE", &url, &[], b"").is(204);
        client.draft("HEAD", &url, &[], b"").is(404);
        if let Some(answer) = append.answer() {
            assert!(answer.status >= 400, "{answer:?}");
        }
        client.wait_gone(&url);
    });
}

#[test]
fn delete_of_a_finished_upload_leaves_what_was_handed_in() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        client.append(&url, 5, LAST, b"56789").is(201);
        client.draft("DELETE", &url, &[], b"").is(204);
        client.draft("HEAD", &url, &[], b"").is(404);
        assert!(client.is_listed(&url));
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn delete_of_nothing_is_404() {
    over_both(&[], |client| {
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        client.draft("DELETE", &unknown, &[], b"").is(404);
    });
}
