//! Creation With Upload.

use super::{OCTETS, extensions};
use crate::client::Protocol;
use crate::resumable::over_both;
use crate::server::content;

#[test]
fn creation_with_upload_must_be_named_beside_creation() {
    over_both(&[], |client| {
        let named = extensions(client);
        for extension in ["creation", "creation-with-upload"] {
            assert!(named.iter().any(|name| name == extension), "{named:?}");
        }
    });
}

#[test]
fn post_with_a_part_must_be_201_with_the_offset_after_it() {
    over_both(&[], |client| {
        let headers = [("upload-length", "10"), OCTETS];
        let answer = client.tus("POST", "/uploads", &headers, b"01234").is(201);
        assert_eq!(answer.header("upload-offset"), "5");
        let url = answer.header("location");
        assert_eq!(client.tus_offset(url), 5);
        assert!(!client.is_listed(url));
        client.tus_patch(url, 5, b"56789").is(204);
        assert_eq!(client.opened(url).content, b"0123456789");
    });
}

#[test]
fn post_with_the_whole_finishes_the_upload() {
    over_both(&[], |client| {
        for size in [1, 65_536, 300_001] {
            let content = content(size);
            let length = size.to_string();
            let headers = [("upload-length", &length[..]), OCTETS];
            let answer = client.tus("POST", "/uploads", &headers, &content).is(201);
            assert_eq!(answer.header("upload-offset"), length);
            let url = answer.header("location");
            assert!(client.is_listed(url));
            assert!(client.opened(url).content == content);
            assert_eq!(client.tus_offset(url), size);
        }
    });
}

#[test]
fn post_without_a_length_beforehand_counts_what_came() {
    over_both(&[], |client| {
        let tus = ("tus-resumable", "1.0.0");
        let headers = [tus, ("upload-defer-length", "1"), OCTETS];
        let mut post = client.begin("POST", "/uploads", &headers);
        post.send(b"012");
        post.send(b"34");
        let answer = post.finish().is(201);
        assert_eq!(answer.header("upload-offset"), "5");
        let url = answer.header("location");
        let length = ("upload-length", "10");
        client.tus_patch_with(url, 5, &[length], b"56789").is(204);
        assert_eq!(client.opened(url).content, b"0123456789");
    });
}

#[test]
fn post_with_content_of_another_type_is_415() {
    over_both(&[], |client| {
        let length = ("upload-length", "10");
        for other in ["application/octet-stream", "application/partial-upload", ""] {
            let headers = [length, ("content-type", other)];
            let answer = client.tus("POST", "/uploads", &headers, b"01234").is(415);
            assert!(!answer.headers.contains_key("location"));
        }
        client.tus("POST", "/uploads", &[length], b"01234").is(415);
    });
}

#[test]
fn post_with_more_than_the_length_is_refused() {
    over_both(&[], |client| {
        let before = client.server.listed().len();
        let headers = [("upload-length", "4"), OCTETS];
        client.tus("POST", "/uploads", &headers, b"01234").is(413);
        let headers = [("tus-resumable", "1.0.0"), ("upload-length", "4"), OCTETS];
        let mut post = client.begin("POST", "/uploads", &headers);
        post.send(b"01234");
        let status = post.finish().status;
        assert!(matches!(status, 400 | 413), "{status}");
        assert_eq!(client.server.listed().len(), before);
    });
}

#[test]
fn post_is_told_early_whether_it_will_be_accepted() {
    // hyper asks for a body with `100 Continue` over HTTP/1.1 only.
    over_both(&["--max-size", "1KiB"], |client| {
        if !matches!(client.protocol, Protocol::Http1) {
            return;
        }
        let lines = [
            "Tus-Resumable: 1.0.0",
            "Content-Type: application/offset+octet-stream",
            "Expect: 100-continue",
            "Content-Length: 5",
        ];
        let too_long = [&lines[..], &["Upload-Length: 1025"]].concat();
        let mut wire = client.server.begin("POST", "/uploads", &too_long);
        assert_eq!(wire.answer_at_once().status, 413);
        let accepted = [&lines[..], &["Upload-Length: 5"]].concat();
        let mut wire = client.server.begin("POST", "/uploads", &accepted);
        assert_eq!(wire.head().status, 100);
        wire.send("01234");
        let answer = wire.answer().is(201);
        assert_eq!(client.opened(answer.header("location")).content, b"01234");
    });
}
