//! Checksum, and with it checksum-trailer.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use crc_fast::CrcAlgorithm;
use data_encoding::BASE64;

use super::{OCTETS, extensions, list, options};
use crate::resumable::{PART, over_both};
use crate::server::content;
use crate::store::only_in_a_folder;

const ALGORITHMS: [&str; 3] = ["sha1", "sha256", "crc32c"];

/// `Upload-Checksum` of these bytes.
fn checksum(algorithm: &str, bytes: &[u8]) -> String {
    let digest = match algorithm {
        "sha1" => aws_lc_rs::digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes)
            .as_ref()
            .to_vec(),
        "sha256" => aws_lc_rs::digest::digest(&SHA256, bytes).as_ref().to_vec(),
        "crc32c" => {
            let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes);
            u32::try_from(crc).unwrap().to_be_bytes().to_vec()
        }
        _ => unreachable!(),
    };
    format!("{algorithm} {}", BASE64.encode(&digest))
}

#[test]
fn the_example_of_the_specification_is_made() {
    assert_eq!(
        checksum("sha1", b"hello world"),
        "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
    );
    // The check value of CRC-32C.
    assert_eq!(checksum("crc32c", b"123456789"), "crc32c 4waSgw==");
}

#[test]
fn checksum_must_be_named_as_extensions() {
    over_both(&[], |client| {
        let named = extensions(client);
        for extension in ["checksum", "checksum-trailer"] {
            assert!(named.iter().any(|name| name == extension), "{named:?}");
        }
    });
}

#[test]
fn tus_checksum_algorithm_must_be_a_list_in_options_with_sha1() {
    over_both(&[], |client| {
        let named = list(&options(client), "tus-checksum-algorithm");
        assert!(named.contains(&"sha1".to_owned()), "{named:?}");
        assert_eq!(named, ALGORITHMS);
    });
}

#[test]
fn tus_checksum_algorithm_must_be_lower_case_ascii() {
    over_both(&[], |client| {
        let options = options(client);
        let named = options.header("tus-checksum-algorithm");
        assert!(
            named.is_ascii() && !named.contains(char::is_uppercase),
            "{named}"
        );
    });
}

#[test]
fn upload_checksum_that_matches_is_204() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            for size in [0, 5, 65_536, 300_000] {
                let content = content(size);
                let url = client.tus_new(size + 1);
                let right = checksum(algorithm, &content);
                let headers = [("upload-checksum", &right[..])];
                let answer = client.tus_patch_with(&url, 0, &headers, &content).is(204);
                assert_eq!(answer.header("upload-offset"), size.to_string());
                client.tus_patch(&url, size, b"x").is(204);
                assert!(client.opened(&url).content[..size] == content);
            }
        }
    });
}

#[test]
fn upload_checksum_that_mismatches_must_leave_the_upload_as_it_was() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            for size in [5, 300_000] {
                let content = content(size);
                let url = client.tus_new(size + 3);
                client.tus_patch(&url, 0, b"012").is(204);
                let wrong = checksum(algorithm, b"something else");
                let headers = [("upload-checksum", &wrong[..])];
                let answer = client.tus_patch_with(&url, 3, &headers, &content);
                answer.is(460);
                assert_eq!(client.tus_offset(&url), 3);
                assert!(!client.is_listed(&url));
                // It is usable, with the right one too.
                let right = checksum(algorithm, &content);
                let headers = [("upload-checksum", &right[..])];
                client.tus_patch_with(&url, 3, &headers, &content).is(204);
                assert!(client.opened(&url).content == [b"012", &content[..]].concat());
            }
        }
    });
}

#[test]
fn upload_checksum_of_another_algorithm_must_leave_the_upload_as_it_was() {
    over_both(&[], |client| {
        let url = client.tus_new(5);
        for value in [
            "md5 XUFAKrxLKna5cZ2REBfFkg==",
            "crc32 AAAAAA==",
            "sha3 AAAA",
        ] {
            let headers = [("upload-checksum", value)];
            client.tus_patch_with(&url, 0, &headers, b"hello").is(400);
            assert_eq!(client.tus_offset(&url), 0);
        }
        client.tus_patch(&url, 0, b"hello").is(204);
    });
}

#[test]
fn upload_checksum_must_be_a_name_and_base64() {
    over_both(&[], |client| {
        let url = client.tus_new(5);
        for value in [
            "",
            "sha1",
            "sha1 *",
            "sha1  Kq5sNclPz7QV2+lfQIuc6R7oRu0",
            "Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha1 Kq5s NclP",
        ] {
            let headers = [("upload-checksum", value)];
            let answer = client.tus_patch_with(&url, 0, &headers, b"hello");
            assert_eq!(answer.status, 400, "{value}");
        }
        // A digest too short for its algorithm is malformed, or matches nothing.
        let headers = [("upload-checksum", "sha1 AAAA")];
        let status = client.tus_patch_with(&url, 0, &headers, b"hello").status;
        assert!(matches!(status, 400 | 460), "{status}");
        assert_eq!(client.tus_offset(&url), 0);
    });
}

#[test]
fn upload_checksum_holds_for_the_last_patch_too() {
    over_both(&[], |client| {
        let url = client.tus_new(5);
        let wrong = checksum("sha1", b"HELLO");
        let headers = [("upload-checksum", &wrong[..])];
        client.tus_patch_with(&url, 0, &headers, b"hello").is(460);
        assert!(!client.is_listed(&url));
        let right = checksum("sha1", b"hello");
        let headers = [("upload-checksum", &right[..])];
        client.tus_patch_with(&url, 0, &headers, b"hello").is(204);
        assert_eq!(client.opened(&url).content, b"hello");
    });
}

#[test]
fn upload_checksum_holds_for_a_creation_with_upload_too() {
    over_both(&[], |client| {
        let length = ("upload-length", "10");
        let right = checksum("sha256", b"hello");
        let headers = [length, OCTETS, ("upload-checksum", &right)];
        let answer = client.tus("POST", "/uploads", &headers, b"hello").is(201);
        assert_eq!(answer.header("upload-offset"), "5");
        let wrong = checksum("sha256", b"HELLO");
        let headers = [length, OCTETS, ("upload-checksum", &wrong)];
        let answer = client.tus("POST", "/uploads", &headers, b"hello");
        // Refused, or created without what it brought.
        if answer.status == 201 {
            assert_eq!(answer.header("upload-offset"), "0");
        } else {
            answer.is(460);
        }
    });
}

#[test]
fn upload_checksum_of_a_patch_that_breaks_off_counts_nothing() {
    only_in_a_folder();
    over_both(&[], |client| {
        for how in crate::flight::Break::ALL {
            let content = content(PART);
            let url = client.tus_new(2 * PART);
            let whole = checksum("sha1", &[&content[..], &content].concat());
            let headers = [("upload-checksum", &whole[..])];
            let mut patch = client.tus_begin(&url, 0, &headers);
            patch.send(&content);
            client.wait_staged(&url, 0);
            patch.break_off(how);
            assert_eq!(client.tus_offset(&url), 0, "{how:?}");
            client.tus_patch(&url, 0, b"it is usable").is(204);
        }
    });
}

#[test]
fn upload_checksum_trailer_that_matches_is_204() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            for size in [5, 300_000] {
                let content = content(size);
                let url = client.tus_new(size);
                let announced = [("trailer", "Upload-Checksum")];
                let mut patch = client.tus_begin(&url, 0, &announced);
                patch.send(&content);
                let right = checksum(algorithm, &content);
                let answer = patch.finish_with_trailers(&[("upload-checksum", &right)]);
                let answer = answer.is(204);
                assert_eq!(answer.header("upload-offset"), size.to_string());
                assert!(client.opened(&url).content == content);
            }
        }
    });
}

#[test]
fn upload_checksum_trailer_that_mismatches_must_leave_the_upload_as_it_was() {
    over_both(&[], |client| {
        for (trailer, status) in [
            (checksum("sha1", b"something else"), 460),
            (checksum("crc32c", b"something else"), 460),
            ("md5 XUFAKrxLKna5cZ2REBfFkg==".to_owned(), 400),
            ("nonsense".to_owned(), 400),
        ] {
            for size in [5, 300_000] {
                let content = content(size);
                let url = client.tus_new(size);
                let announced = [("trailer", "Upload-Checksum")];
                let mut patch = client.tus_begin(&url, 0, &announced);
                patch.send(&content);
                let answer = patch.finish_with_trailers(&[("upload-checksum", &trailer)]);
                answer.is(status);
                assert_eq!(client.tus_offset(&url), 0);
                assert!(!client.is_listed(&url));
                client.tus_patch(&url, 0, &content).is(204);
                assert!(client.opened(&url).content == content);
            }
        }
    });
}

#[test]
fn upload_checksum_trailer_that_was_announced_and_does_not_come_counts_nothing() {
    over_both(&[], |client| {
        let url = client.tus_new(5);
        let mut patch = client.tus_begin(&url, 0, &[("trailer", "Upload-Checksum")]);
        patch.send(b"hello");
        patch.finish().is(400);
        assert_eq!(client.tus_offset(&url), 0);
        client.tus_patch(&url, 0, b"hello").is(204);
    });
}
