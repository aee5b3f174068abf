//! Creation, and with it creation-defer-length.

use super::{OCTETS, extensions, metadata};
use crate::digest_fields::digest;
use crate::resumable::{id_of, over_both};
use crate::server::{content, text};

const DEFER: (&str, &str) = ("upload-defer-length", "1");

#[test]
fn creation_must_be_named_as_extensions() {
    over_both(&[], |client| {
        let named = extensions(client);
        for extension in ["creation", "creation-defer-length"] {
            assert!(named.iter().any(|name| name == extension), "{named:?}");
        }
    });
}

#[test]
fn post_must_be_201_with_the_location_of_an_empty_upload() {
    over_both(&[], |client| {
        for path in ["/uploads", "/uploads/"] {
            let headers = [("upload-length", "100")];
            let answer = client.tus("POST", path, &headers, b"").is(201);
            let url = answer.header("location");
            assert_eq!(client.tus_offset(url), 0);
            client.tus_patch(url, 0, &content(100)).is(204);
            assert_eq!(client.opened(url).content, content(100));
        }
    });
}

#[test]
fn post_must_name_a_length_or_defer_it() {
    over_both(&[], |client| {
        client.tus("POST", "/uploads", &[], b"").is(400);
        client.tus_create(&[("upload-length", "1")]);
        client.tus_create(&[DEFER]);
    });
}

#[test]
fn upload_defer_length_must_be_1() {
    over_both(&[], |client| {
        for value in ["0", "2", "01", "true", "", "-1"] {
            let headers = [("upload-defer-length", value)];
            client.tus("POST", "/uploads", &headers, b"").is(400);
        }
    });
}

#[test]
fn upload_defer_length_must_be_in_head_as_long_as_the_length_is_not_known() {
    over_both(&[], |client| {
        let url = client.tus_create(&[DEFER]);
        let deferred = || {
            let head = client.tus_head(&url);
            assert_eq!(head.header("upload-defer-length"), "1");
            assert!(!head.headers.contains_key("upload-length"));
        };
        deferred();
        client.tus_patch(&url, 0, b"01234").is(204);
        deferred();
        let length = ("upload-length", "10");
        client.tus_patch_with(&url, 5, &[length], b"567").is(204);
        let head = client.tus_head(&url);
        assert_eq!(head.header("upload-length"), "10");
        assert!(!head.headers.contains_key("upload-defer-length"));
        client.tus_patch(&url, 8, b"89").is(204);
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn upload_defer_length_must_be_omitted_where_it_is_not_deferred() {
    over_both(&[], |client| {
        let url = client.tus_new(5);
        let head = client.tus_head(&url);
        assert!(!head.headers.contains_key("upload-defer-length"));
        client.tus_patch(&url, 0, b"01234").is(204);
        let head = client.tus_head(&url);
        assert!(!head.headers.contains_key("upload-defer-length"));
    });
}

#[test]
fn upload_defer_length_a_last_empty_patch_may_name_it() {
    over_both(&[], |client| {
        let url = client.tus_create(&[DEFER]);
        client.tus_patch(&url, 0, b"01234").is(204);
        assert!(!client.is_listed(&url));
        let length = ("upload-length", "5");
        client.tus_patch_with(&url, 5, &[length], b"").is(204);
        assert!(client.is_listed(&url));
        assert_eq!(client.opened(&url).content, b"01234");
    });
}

#[test]
fn upload_length_once_set_must_not_change() {
    over_both(&[], |client| {
        let set = client.tus_new(10);
        let deferred = client.tus_create(&[DEFER]);
        let length = ("upload-length", "10");
        client.tus_patch_with(&deferred, 0, &[length], b"").is(204);
        for url in [set, deferred] {
            for other in ["9", "11", "5"] {
                let other = ("upload-length", other);
                client.tus_patch_with(&url, 0, &[other], b"01234").is(400);
                let head = client.tus_head(&url);
                assert_eq!(head.header("upload-length"), "10");
                assert_eq!(head.header("upload-offset"), "0");
            }
            let same = [length];
            client.tus_patch_with(&url, 0, &same, b"0123456789").is(204);
            assert_eq!(client.opened(&url).content, b"0123456789");
        }
    });
}

#[test]
fn upload_length_must_not_be_less_than_what_is_there() {
    over_both(&[], |client| {
        let url = client.tus_create(&[DEFER]);
        client.tus_patch(&url, 0, b"01234").is(204);
        for value in ["4", "0", "-5", "x"] {
            let length = ("upload-length", value);
            client.tus_patch_with(&url, 5, &[length], b"").is(400);
        }
        assert_eq!(client.tus_offset(&url), 5);
        assert!(!client.is_listed(&url));
    });
}

#[test]
fn upload_metadata_must_be_well_formed() {
    over_both(&[], |client| {
        let encoded = "d29ybGQ=";
        for value in [
            ",".to_owned(),
            format!("a {encoded},,b {encoded}"),
            format!("a {encoded} {encoded}"),
            format!("a {encoded},a {encoded}"),
            "a,a".to_owned(),
            "a *".to_owned(),
            "a d29y=bGQ".to_owned(),
        ] {
            let headers = [("upload-length", "1"), ("upload-metadata", &value)];
            let answer = client.tus("POST", "/uploads", &headers, b"");
            assert_eq!(answer.status, 400, "{value}");
        }
    });
}

#[test]
fn upload_metadata_must_be_in_head_as_it_was_given() {
    over_both(&[], |client| {
        let long = metadata(&[("filename", b"report.pdf"), ("note", &content(600))]);
        for value in [
            "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential",
            "empty ,also_empty",
            "a,b Yg==",
            "not/the-usual;key Yg==",
            &long,
        ] {
            let given = ("upload-metadata", value);
            let url = client.tus_create(&[("upload-length", "3"), given]);
            let head = client.tus_head(&url);
            assert_eq!(head.header("upload-metadata"), value);
            client.tus_patch(&url, 0, b"012").is(204);
            assert_eq!(client.tus_head(&url).header("upload-metadata"), value);
        }
        let without = client.tus_new(3);
        let head = client.tus_head(&without);
        assert!(!head.headers.contains_key("upload-metadata"));
    });
}

#[test]
fn upload_metadata_that_is_empty_is_none() {
    over_both(&[], |client| {
        let url = client.tus_create(&[("upload-length", "3"), ("upload-metadata", "")]);
        client.tus_patch(&url, 0, b"012").is(204);
        assert_eq!(client.opened(&url).content, b"012");
    });
}

#[test]
fn upload_metadata_names_the_upload() {
    over_both(&[], |client| {
        for (keys, name) in [
            (["filename", "filetype"], "plan.pdf"),
            (["name", "type"], "€.pdf"),
            (["filename", "type"], "../../etc/passwd"),
        ] {
            let pairs: [(_, &[u8]); 2] =
                [(keys[0], name.as_bytes()), (keys[1], b"application/pdf")];
            let given = metadata(&pairs);
            let headers = [("upload-length", "3"), ("upload-metadata", &given)];
            let url = client.tus_create(&headers);
            client.tus_patch(&url, 0, b"012").is(204);
            let manifest = client.opened(&url).manifest;
            assert_eq!(manifest["name"], name);
            assert_eq!(manifest["type"], "application/pdf");
        }
    });
}

#[test]
fn upload_metadata_should_not_smuggle_headers() {
    over_both(&[], |client| {
        let name = "a\r\nX-Smuggled: 1\r\n\r\nb";
        let given = metadata(&[("filename", name.as_bytes()), ("filetype", b"a/b\r\nX: y")]);
        let headers = [("upload-length", "3"), ("upload-metadata", &given)];
        let url = client.tus_create(&headers);
        let heads = [
            client.tus_head(&url),
            client.tus_patch(&url, 0, b"012").is(204),
            client.tus_head(&url),
            client.tus("GET", &url, &[], b"").is(200),
        ];
        for head in heads {
            assert!(!head.headers.contains_key("x-smuggled"));
            assert!(!head.headers.contains_key("x"));
        }
        assert_eq!(client.opened(&url).manifest["name"], name);
    });
}

#[test]
fn upload_metadata_is_bounded() {
    over_both(&["--max-name", "100"], |client| {
        let given = metadata(&[("filename", &[b'x'; 101])]);
        let headers = [("upload-length", "3"), ("upload-metadata", &given)];
        client
            .tus("POST", "/uploads", &headers, b"")
            .refused(400, "name-too-long");
        let given = metadata(&[("filename", &[b'x'; 100])]);
        client.tus_create(&[("upload-length", "3"), ("upload-metadata", &given)]);
    });
}

#[test]
fn post_of_more_than_the_maximum_must_be_413() {
    over_both(&["--max-size", "1KiB"], |client| {
        let length = ("upload-length", "1025");
        client.tus("POST", "/uploads", &[length], b"").is(413);
        let headers = [length, OCTETS];
        client.tus("POST", "/uploads", &headers, b"01234").is(413);
        client.tus_new(1024);
    });
}

#[test]
fn deferred_length_of_more_than_the_maximum_must_be_413() {
    over_both(&["--max-size", "1KiB"], |client| {
        let url = client.tus_create(&[DEFER]);
        let length = ("upload-length", "1025");
        client.tus_patch_with(&url, 0, &[length], b"01234").is(413);
        client.tus_patch(&url, 0, &content(1025)).is(413);
        assert_eq!(client.tus_offset(&url), 0);
        client.tus_patch(&url, 0, &content(1000)).is(204);
        client.tus_patch(&url, 1000, &content(25)).is(413);
        let mut patch = client.tus_begin(&url, 1000, &[]);
        patch.send(&content(25));
        patch.finish().is(413);
        assert!(!client.is_listed(&url));
    });
}

#[test]
fn an_empty_upload_is_finished_at_once() {
    over_both(&[], |client| {
        let given = metadata(&[("filename", b"nothing")]);
        let headers = [("upload-length", "0"), ("upload-metadata", &given)];
        let answer = client.tus("POST", "/uploads", &headers, b"").is(201);
        assert_eq!(answer.header("upload-offset"), "0");
        let url = answer.header("location");
        let opened = client.opened(url);
        assert!(opened.content.is_empty());
        assert_eq!(opened.manifest["name"], "nothing");
        assert_eq!(client.tus_head(url).header("upload-length"), "0");
    });
}

#[test]
fn a_finished_upload_says_where_it_is_and_gives_its_receipt() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        let answer = client.tus_patch(&url, 0, b"0123456789").is(204);
        let location = format!("/uploads/{}", id_of(&url));
        assert_eq!(answer.header("content-location"), location);
        let digest = digest("sha-256", b"0123456789");
        assert_eq!(answer.header("repr-digest"), digest);
        let receipt = client.request("GET", &url, &[], b"").is(200).json();
        assert_eq!(text(&receipt["id"]), id_of(&url));
        assert_eq!(receipt["size"], 10);
    });
}
