//! Termination.

use super::{OCTETS, extensions};
use crate::resumable::over_both;

#[test]
fn termination_must_be_named_as_an_extension() {
    over_both(&[], |client| {
        assert!(extensions(client).contains(&"termination".to_owned()));
    });
}

#[test]
fn delete_must_be_204_and_should_free_what_was_there() {
    over_both(&[], |client| {
        let empty = client.tus_new(10);
        let begun = client.tus_new(300_010);
        let content = crate::server::content(300_000);
        client.tus_patch(&begun, 0, &content).is(204);
        let partial = [("upload-concat", "partial"), ("upload-length", "5")];
        let partial = client.tus_create(&partial);
        client.tus_patch(&partial, 0, b"01234").is(204);
        for url in [empty, begun, partial] {
            assert!(!client.unfinished_files(&url).is_empty());
            client.tus("DELETE", &url, &[], b"").is(204);
            client.wait_gone(&url);
        }
    });
}

#[test]
fn delete_later_requests_should_be_404() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        client.tus_patch(&url, 0, b"01234").is(204);
        client.tus("DELETE", &url, &[], b"").is(204);
        client.tus("HEAD", &url, &[], b"").is(404);
        client.tus("GET", &url, &[], b"").is(404);
        client.tus_patch(&url, 5, b"56789").is(404);
        client.tus("DELETE", &url, &[], b"").is(404);
        let concat = format!("final;{url}");
        let headers = [("upload-concat", &concat[..])];
        client.tus("POST", "/uploads", &headers, b"").is(404);
    });
}

#[test]
fn delete_of_a_finished_upload_leaves_what_was_handed_in() {
    over_both(&[], |client| {
        let headers = [("upload-length", "5"), OCTETS];
        let answer = client.tus("POST", "/uploads", &headers, b"01234").is(201);
        let url = answer.header("location");
        client.tus("DELETE", url, &[], b"").is(204);
        client.tus("HEAD", url, &[], b"").is(404);
        assert!(client.is_listed(url));
        assert_eq!(client.opened(url).content, b"01234");
    });
}

#[test]
fn delete_of_nothing_should_be_404() {
    over_both(&[], |client| {
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        client.tus("DELETE", &unknown, &[], b"").is(404);
    });
}
