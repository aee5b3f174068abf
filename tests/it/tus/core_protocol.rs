//! Core Protocol.

use super::{EXTENSIONS, OCTETS, list, options};
use crate::resumable::{id_of, over_both};

/// No integer that a length or an offset could be.
const NO_INTEGERS: [&str; 8] = ["", "-1", "+1", "1.0", "0x1", "one", "1 0", "1,0"];

#[test]
fn headers_upload_offset_must_be_a_non_negative_integer() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        for value in NO_INTEGERS {
            let headers = [OCTETS, ("upload-offset", value)];
            client.tus("PATCH", &url, &headers, b"01234").is(400);
        }
        client.tus("PATCH", &url, &[OCTETS], b"01234").is(400);
        // An integer, but one that no upload gets to.
        let headers = [OCTETS, ("upload-offset", "18446744073709551616")];
        let status = client.tus("PATCH", &url, &headers, b"01234").status;
        assert!(matches!(status, 400 | 409), "{status}");
        assert_eq!(client.tus_offset(&url), 0);
    });
}

#[test]
fn headers_upload_length_must_be_a_non_negative_integer() {
    over_both(&[], |client| {
        for value in NO_INTEGERS {
            let headers = [("upload-length", value)];
            client.tus("POST", "/uploads", &headers, b"").is(400);
        }
        let headers = [("upload-length", "18446744073709551616")];
        let status = client.tus("POST", "/uploads", &headers, b"").status;
        assert!(matches!(status, 400 | 413), "{status}");
    });
}

#[test]
fn headers_tus_version_must_be_a_list_of_versions() {
    over_both(&[], |client| {
        assert_eq!(list(&options(client), "tus-version"), ["1.0.0"]);
    });
}

#[test]
fn headers_tus_resumable_must_be_in_every_answer() {
    over_both(&["--max-size", "1MiB"], |client| {
        // `tus` demands it of each.
        let url = client.tus_new(10);
        let other = format!("/uploads/{0}.{0}", "0".repeat(32));
        let too_long = ("upload-length", "1048577");
        client.tus("HEAD", &url, &[], b"").is(200);
        client.tus_patch(&url, 0, b"01234").is(204);
        client.tus_patch(&url, 0, b"01234").is(409);
        client.tus("PATCH", &url, &[OCTETS], b"5").is(400);
        let offset = ("upload-offset", "5");
        client.tus("PATCH", &url, &[offset], b"56789").is(415);
        let checksum = ("upload-checksum", "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        client.tus_patch_with(&url, 5, &[checksum], b"5").is(460);
        client.tus("POST", "/uploads", &[too_long], b"").is(413);
        client.tus("POST", "/uploads", &[], b"").is(400);
        client.tus("HEAD", &other, &[], b"").is(404);
        client.tus("DELETE", "/uploads", &[], b"").is(405);
        client.tus("OPTIONS", &url, &[], b"").is(204);
        client.tus_patch(&url, 5, b"56789").is(204);
        client.tus("GET", &url, &[], b"").is(200);
        client.tus("DELETE", &url, &[], b"").is(204);
        client.tus("GET", &url, &[], b"").is(404);
    });
}

#[test]
fn headers_tus_resumable_other_version_must_be_412_with_tus_version_and_not_processed() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        let before = client.server.listed().len();
        for version in ["0.2.2", "2.0.0", "1.0.1", "1.0", ""] {
            let other = ("tus-resumable", version);
            let refused = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
                let headers = [&[other], headers].concat();
                let answer = client.request(method, path, &headers, body).is(412);
                assert_eq!(answer.header("tus-version"), "1.0.0");
                assert_eq!(answer.header("tus-resumable"), "1.0.0");
                assert!(!answer.headers.contains_key("location"));
                assert!(!answer.headers.contains_key("upload-offset"));
            };
            refused("HEAD", &url, &[], b"");
            let offset = ("upload-offset", "0");
            refused("PATCH", &url, &[OCTETS, offset], b"01234");
            refused("DELETE", &url, &[], b"");
            refused("POST", "/uploads", &[("upload-length", "0")], b"");
        }
        assert_eq!(client.tus_offset(&url), 0);
        assert_eq!(client.server.listed().len(), before);
    });
}

#[test]
fn headers_tus_extension_must_be_a_list_of_what_is_supported() {
    over_both(&[], |client| {
        let mut named = list(&options(client), "tus-extension");
        named.sort();
        let mut expected = EXTENSIONS;
        expected.sort_unstable();
        assert_eq!(named, expected);
    });
}

#[test]
fn headers_tus_max_size_must_be_the_size_as_an_integer() {
    over_both(&["--max-size", "3MiB"], |client| {
        assert_eq!(options(client).header("tus-max-size"), "3145728");
    });
}

#[test]
fn headers_x_http_method_override_must_be_taken_for_the_method() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        let instead = |method| ("x-http-method-override", method);
        let headers = [instead("PATCH"), OCTETS, ("upload-offset", "0")];
        let answer = client.tus("POST", &url, &headers, b"01234").is(204);
        assert_eq!(answer.header("upload-offset"), "5");
        let answer = client.tus("POST", &url, &[instead("HEAD")], b"").is(200);
        assert_eq!(answer.header("upload-offset"), "5");
        client.tus("POST", &url, &[instead("DELETE")], b"").is(204);
        client.tus("HEAD", &url, &[], b"").is(404);
    });
}

#[test]
fn headers_x_http_method_override_the_actual_method_must_be_ignored() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        let instead = |method| ("x-http-method-override", method);
        let headers = [instead("PATCH"), OCTETS, ("upload-offset", "0")];
        client.tus("PUT", &url, &headers, b"01234").is(204);
        assert_eq!(client.tus_offset(&url), 5);
        let headers = [instead("DELETE"), OCTETS, ("upload-offset", "5")];
        client.tus("PATCH", &url, &headers, b"56789").is(204);
        client.tus("HEAD", &url, &[], b"").is(404);
        // Where uploads are created too.
        let headers = [instead("POST"), ("upload-length", "10")];
        let answer = client.tus("PATCH", "/uploads", &headers, b"").is(201);
        assert_eq!(client.tus_offset(answer.header("location")), 0);
    });
}

#[test]
fn headers_x_http_method_override_a_delete_that_is_none_must_not_delete() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        let instead = ("x-http-method-override", "HEAD");
        let answer = client.tus("DELETE", &url, &[instead], b"").is(200);
        assert_eq!(answer.header("upload-offset"), "0");
        assert_eq!(client.tus_offset(&url), 0);
    });
}

#[test]
fn head_must_include_upload_offset_always() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        assert_eq!(client.tus_head(&url).header("upload-offset"), "0");
        client.tus_patch(&url, 0, b"01234").is(204);
        assert_eq!(client.tus_head(&url).header("upload-offset"), "5");
        client.tus_patch(&url, 5, b"56789").is(204);
        // Finished, and still there.
        assert_eq!(client.tus_head(&url).header("upload-offset"), "10");
    });
}

#[test]
fn head_must_include_upload_length_where_it_is_known() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        assert_eq!(client.tus_head(&url).header("upload-length"), "10");
        client.tus_patch(&url, 0, b"0123456789").is(204);
        assert_eq!(client.tus_head(&url).header("upload-length"), "10");
    });
}

#[test]
fn head_must_not_be_cached() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        assert_eq!(client.tus_head(&url).header("cache-control"), "no-store");
        client.tus_patch(&url, 0, b"0123456789").is(204);
        assert_eq!(client.tus_head(&url).header("cache-control"), "no-store");
    });
}

#[test]
fn head_of_nothing_should_be_404_without_an_offset() {
    over_both(&[], |client| {
        let known = client.tus_new(10);
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        let foreign = format!("/uploads/{}.{}", id_of(&known), "0".repeat(32));
        for url in [unknown, foreign] {
            let answer = client.tus("HEAD", &url, &[], b"").is(404);
            assert!(!answer.headers.contains_key("upload-offset"));
            assert!(!answer.headers.contains_key("upload-length"));
        }
    });
}

#[test]
fn patch_of_another_type_should_be_415() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        let offset = ("upload-offset", "0");
        for other in [
            "application/octet-stream",
            "text/plain",
            "application/partial-upload",
            "multipart/form-data; boundary=x",
            "",
        ] {
            let headers = [("content-type", other), offset];
            client.tus("PATCH", &url, &headers, b"01234").is(415);
        }
        client.tus("PATCH", &url, &[offset], b"01234").is(415);
        assert_eq!(client.tus_offset(&url), 0);
    });
}

#[test]
fn patch_of_the_type_in_other_letters_is_of_the_type() {
    over_both(&[], |client| {
        let url = client.tus_new(5);
        let headers = [
            ("content-type", "Application/Offset+Octet-Stream"),
            ("upload-offset", "0"),
        ];
        client.tus("PATCH", &url, &headers, b"01234").is(204);
    });
}

#[test]
fn patch_mismatching_offset_must_be_409_and_change_nothing() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        client.tus_patch(&url, 0, b"01234").is(204);
        for offset in [0, 4, 6, 10, 11] {
            let answer = client.tus_patch(&url, offset, b"xxxxx").is(409);
            assert_eq!(answer.header("upload-offset"), "5");
            assert_eq!(client.tus_offset(&url), 5);
        }
        client.tus_patch(&url, 5, b"56789").is(204);
        assert_eq!(client.opened(&url).content, b"0123456789");
        client.tus_patch(&url, 0, b"xxxxx").is(409);
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn patch_must_be_204_with_the_sum_as_new_offset() {
    over_both(&[], |client| {
        let content = crate::server::content(200_000);
        let url = client.tus_new(content.len());
        let mut offset = 0;
        for size in [1, 0, 65_535, 65_536, 65_537, 3_391] {
            let piece = &content[offset..offset + size];
            let answer = client.tus_patch(&url, offset, piece).is(204);
            offset += size;
            assert_eq!(answer.header("upload-offset"), offset.to_string());
            assert_eq!(client.tus_offset(&url), offset);
        }
        assert_eq!(offset, content.len());
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn patch_without_a_length_beforehand_counts_what_came() {
    over_both(&[], |client| {
        let content = crate::server::content(100_000);
        let url = client.tus_new(content.len());
        for (index, piece) in content.chunks(50_000).enumerate() {
            let mut patch = client.tus_begin(&url, index * 50_000, &[]);
            for piece in piece.chunks(7_000) {
                patch.send(piece);
            }
            let answer = patch.finish().is(204);
            let offset = ((index + 1) * 50_000).to_string();
            assert_eq!(answer.header("upload-offset"), offset);
        }
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn patch_must_not_take_more_than_the_length() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        client.tus_patch(&url, 0, b"01234").is(204);
        client.tus_patch(&url, 5, b"567890").is(413);
        assert_eq!(client.tus_offset(&url), 5);
        client.tus_patch(&url, 5, b"56789").is(204);
        assert_eq!(client.opened(&url).content, b"0123456789");
        // The same where nobody said how much would come.
        let url = client.tus_new(10);
        let mut patch = client.tus_begin(&url, 0, &[]);
        patch.send(b"0123456789");
        patch.send(b"0");
        let status = patch.finish().status;
        assert!(matches!(status, 400 | 413), "{status}");
        assert!(!client.is_listed(&url) || client.opened(&url).content == b"0123456789");
    });
}

#[test]
fn patch_of_nothing_should_be_404() {
    over_both(&[], |client| {
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        client.tus_patch(&unknown, 0, b"01234").is(404);
    });
}

#[test]
fn patch_of_what_is_finished_changes_nothing() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        client.tus_patch(&url, 0, b"0123456789").is(204);
        let status = client.tus_patch(&url, 10, b"more").status;
        assert!((400..500).contains(&status), "{status}");
        assert_eq!(client.tus_offset(&url), 10);
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn options_must_contain_tus_version() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        for path in ["/uploads", "/uploads/", "/uploads/name", &url] {
            let answer = client.request("OPTIONS", path, &[], b"").is(204);
            assert_eq!(answer.header("tus-version"), "1.0.0");
            assert!(answer.headers.contains_key("tus-extension"));
            assert!(answer.headers.contains_key("tus-max-size"));
        }
    });
}

#[test]
fn options_must_ignore_tus_resumable() {
    over_both(&[], |client| {
        for version in ["1.0.0", "0.2.2", "nonsense"] {
            let headers = [("tus-resumable", version)];
            let answer = client.request("OPTIONS", "/uploads", &headers, b"").is(204);
            assert_eq!(answer.header("tus-version"), "1.0.0");
        }
    });
}
