//! Status Code `104 (Upload Resumption Supported)`, and what it must be where it is sent; nobody has to send it.

use super::{LAST, MORE, PARTIAL_UPLOAD, VERSION};
use crate::client::{Answer, Protocol};
use crate::resumable::{PART, over_both};
use crate::server::content;

fn resumption_supported(interims: &[Answer]) -> impl Iterator<Item = &Answer> {
    interims.iter().filter(|interim| interim.status == 104)
}

#[test]
fn creation_104_must_have_location_limits_and_version_and_the_same_location_at_the_end() {
    over_both(&[], |client| {
        for complete in [MORE, LAST] {
            let mut create = client.begin("POST", "/uploads", &[VERSION, complete]);
            create.send(&content(PART));
            let (interims, answer) = create.finish_with_interims();
            let answer = answer.is(201);
            for (index, interim) in resumption_supported(&interims).enumerate() {
                assert_eq!(interim.header("upload-draft-interop-version"), "8");
                if index == 0 {
                    assert!(interim.headers.contains_key("location"));
                    assert!(interim.headers.contains_key("upload-limit"));
                }
                let location = interim.headers.get("location");
                if complete == MORE && location.is_some() {
                    assert_eq!(location, answer.headers.get("location"));
                }
            }
        }
    });
}

#[test]
fn creation_104_must_not_be_sent_where_the_version_is_missing_or_another() {
    over_both(&[], |client| {
        let version = |value| ("upload-draft-interop-version", value);
        for headers in [
            &[MORE][..],
            &[MORE, version("99")],
            &[MORE, version("x")],
            &[MORE, version("")],
        ] {
            let mut create = client.begin("POST", "/uploads", headers);
            create.send(&content(PART));
            let (interims, _) = create.finish_with_interims();
            assert_eq!(resumption_supported(&interims).count(), 0, "{headers:?}");
        }
        // Nor where resuming was not asked for.
        let mut plain = client.begin("POST", "/uploads", &[VERSION]);
        plain.send(&content(PART));
        let (interims, answer) = plain.finish_with_interims();
        answer.receipt();
        assert_eq!(resumption_supported(&interims).count(), 0);
    });
}

#[test]
fn append_104_must_not_have_a_location() {
    over_both(&[], |client| {
        let url = client.draft_new();
        let mut append = client.begin_append(&url, 0, &[MORE]);
        append.send(&content(PART));
        let (interims, answer) = append.finish_with_interims();
        answer.is(204);
        for interim in resumption_supported(&interims) {
            assert!(!interim.headers.contains_key("location"));
            let offset: usize = interim.header("upload-offset").parse().unwrap();
            assert!(offset <= PART);
        }
    });
}

#[test]
fn continue_100_must_not_be_omitted() {
    // hyper asks for a body with `100 Continue` over HTTP/1.1 only.
    over_both(&[], |client| {
        if !matches!(client.protocol, Protocol::Http1) {
            return;
        }
        let expect = ("expect", "100-continue");
        let length = ("content-length", "5");
        for complete in [MORE, LAST] {
            let headers = [VERSION, complete, expect, length];
            let mut create = client.begin("POST", "/uploads", &headers);
            create.send(b"01234");
            let (interims, answer) = create.finish_with_interims();
            answer.is(201);
            assert!(interims.iter().any(|interim| interim.status == 100));
        }
        let url = client.draft_new();
        let offset = ("upload-offset", "0");
        let headers = [VERSION, PARTIAL_UPLOAD, MORE, offset, expect, length];
        let mut append = client.begin("PATCH", &url, &headers);
        append.send(b"01234");
        let (interims, answer) = append.finish_with_interims();
        answer.is(204);
        assert!(interims.iter().any(|interim| interim.status == 100));
    });
}
