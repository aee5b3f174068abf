//! RFC 9530: `Content-Digest` of a request, `Repr-Digest` of an upload, `Want-Repr-Digest`.

use aws_lc_rs::digest::{SHA256, SHA512};
use data_encoding::{BASE64, HEXLOWER};

use crate::client::Answer;
use crate::draft::{LAST, MORE};
use crate::flight::Break;
use crate::resumable::{Client, PART, over_both};
use crate::server::content;

const ALGORITHMS: [&str; 2] = ["sha-256", "sha-512"];
/// Nothing, less than a chunk, and more than a buffer.
const SIZES: [usize; 3] = [0, 5, 300_000];

/// A digest field with one member.
pub(crate) fn digest(algorithm: &str, bytes: &[u8]) -> String {
    let function = match algorithm {
        "sha-256" => &SHA256,
        "sha-512" => &SHA512,
        _ => unreachable!(),
    };
    let digest = aws_lc_rs::digest::digest(function, bytes);
    format!("{algorithm}=:{}:", BASE64.encode(digest.as_ref()))
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref())
}

/// The ways to send a whole upload in one request.
fn whole(client: &Client<'_>, headers: &[(&str, &str)], body: &[u8]) -> [Answer; 4] {
    let last = [&[LAST], headers].concat();
    [
        client.request("POST", "/uploads", headers, body),
        client.request("PUT", "/uploads/x", headers, body),
        client.draft("POST", "/uploads", &last, body),
        client.draft("PUT", "/uploads/x", &last, body),
    ]
}

#[test]
fn the_examples_of_rfc_9530_are_made() {
    let bytes = b"{\"hello\": \"world\"}\n";
    assert_eq!(
        digest("sha-256", bytes),
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
    );
}

#[test]
fn content_digest_of_a_whole_upload_is_verified() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            for size in SIZES {
                let content = content(size);
                let right = digest(algorithm, &content);
                for answer in whole(client, &[("content-digest", &right)], &content) {
                    let receipt = answer.receipt();
                    assert!(client.bench.open_stored(&receipt["id"]).content == content);
                }
                let before = client.server.listed();
                let wrong = digest(algorithm, b"something else");
                for answer in whole(client, &[("content-digest", &wrong)], &content) {
                    answer.refused(400, "digest-mismatch");
                }
                assert_eq!(client.server.listed(), before);
            }
        }
        crate::server::wait_until("what was staged is removed", || {
            client.bench.names("data/staging").is_empty()
        });
    });
}

#[test]
fn content_digest_of_an_append_is_verified_before_it_counts() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            for size in SIZES {
                println!("{algorithm} {size}");
                let content = content(size);
                let url = client.draft_create(&[], b"01234");
                let wrong = digest(algorithm, b"something else");
                for complete in [MORE, LAST] {
                    let headers = [complete, ("content-digest", &wrong)];
                    let answer = client.append_with(&url, 5, &headers, &content);
                    answer.refused(400, "digest-mismatch");
                    client.is_at(&url, 5);
                }
                let right = digest(algorithm, &content);
                let headers = [MORE, ("content-digest", &right)];
                client.append_with(&url, 5, &headers, &content).is(204);
                let nothing = digest(algorithm, b"");
                let headers = [LAST, ("content-digest", &nothing)];
                client.append_with(&url, 5 + size, &headers, b"").is(201);
                assert!(client.opened(&url).content == [b"01234", &content[..]].concat());
            }
        }
    });
}

#[test]
fn content_digest_of_a_creation_is_verified() {
    over_both(&[], |client| {
        for size in SIZES {
            println!("{size}");
            let content = content(size);
            let right = digest("sha-256", &content);
            let url = client.draft_create(&[("content-digest", &right)], &content);
            client.is_at(&url, size);
            let wrong = digest("sha-256", b"something else");
            let headers = [MORE, ("content-digest", &wrong)];
            let answer = client.draft("POST", "/uploads", &headers, &content);
            answer.refused(400, "digest-mismatch");
            assert!(!answer.headers.contains_key("location"));
        }
    });
}

#[test]
fn content_digest_every_one_that_is_known_has_to_match() {
    over_both(&[], |client| {
        let right = ALGORITHMS.map(|algorithm| digest(algorithm, b"hello"));
        let wrong = ALGORITHMS.map(|algorithm| digest(algorithm, b"HELLO"));
        let put = |headers: &[(&str, &str)]| {
            let answer = client.request("PUT", "/uploads/x", headers, b"hello");
            if answer.status == 201 {
                return true;
            }
            answer.refused(400, "digest-mismatch");
            false
        };
        let both = |first: &str, second: &str| {
            let one_line = format!("{first}, {second}");
            let accepted = put(&[("content-digest", &one_line)]);
            // Two lines of a field are one list.
            let lines = [("content-digest", first), ("content-digest", second)];
            assert_eq!(put(&lines), accepted);
            accepted
        };
        assert!(both(&right[0], &right[1]));
        assert!(!both(&right[0], &wrong[1]));
        assert!(!both(&wrong[0], &right[1]));
        let unknown = [
            "md5=:XUFAKrxLKna5cZ2REBfFkg==:",
            "crc32c=:AAAAAA==:",
            "x;y=1",
        ];
        for unknown in unknown {
            assert!(put(&[("content-digest", unknown)]), "{unknown}");
            assert!(both(unknown, &right[0]), "{unknown}");
            assert!(!both(unknown, &wrong[0]), "{unknown}");
        }
    });
}

#[test]
fn content_digest_of_a_request_that_breaks_off_counts_nothing() {
    over_both(&[], |client| {
        for how in Break::ALL {
            let content = content(2 * PART);
            let url = client.draft_create(&[], b"01234");
            let whole = digest("sha-256", &content);
            let headers = [MORE, ("content-digest", &whole)];
            let mut append = client.begin_append(&url, 5, &headers);
            append.send(&content[..PART]);
            client.wait_staged(&url, 5);
            append.break_off(how);
            client.is_at(&url, 5);
            client.append(&url, 5, LAST, b"56789").is(201);
        }
    });
}

#[test]
fn repr_digest_of_a_whole_upload_is_verified() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            for size in SIZES {
                let content = content(size);
                let right = digest(algorithm, &content);
                for answer in whole(client, &[("repr-digest", &right)], &content) {
                    answer.receipt();
                }
                let before = client.server.listed();
                let wrong = digest(algorithm, b"something else");
                for answer in whole(client, &[("repr-digest", &wrong)], &content) {
                    answer.refused(400, "digest-mismatch");
                }
                assert_eq!(client.server.listed(), before);
            }
        }
        crate::server::wait_until("what was staged is removed", || {
            client.bench.names("data/staging").is_empty()
        });
    });
}

#[test]
fn repr_digest_given_at_the_start_is_verified_at_the_end() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            let content = content(200_000);
            let (first, rest) = content.split_at(100_000);
            let right = digest(algorithm, &content);
            let url = client.draft_create(&[("repr-digest", &right)], first);
            client.append(&url, 100_000, LAST, rest).is(201);
            assert!(client.opened(&url).content == content);
            // That of what came first is not that of the whole.
            let wrong = digest(algorithm, first);
            let url = client.draft_create(&[("repr-digest", &wrong)], first);
            let answer = client.append(&url, 100_000, LAST, rest);
            answer.refused(400, "digest-mismatch");
            client.draft("HEAD", &url, &[], b"").is(404);
            client.append(&url, 100_000, LAST, rest).is(404);
            client.wait_gone(&url);
        }
    });
}

#[test]
fn repr_digest_given_at_the_end_is_verified() {
    over_both(&[], |client| {
        for algorithm in ALGORITHMS {
            let content = content(200_000);
            let (first, rest) = content.split_at(100_000);
            println!("{algorithm}");
            let right = digest(algorithm, &content);
            let url = client.draft_create(&[], first);
            let headers = [LAST, ("repr-digest", &right[..])];
            client.append_with(&url, 100_000, &headers, rest).is(201);
            let wrong = digest(algorithm, rest);
            let url = client.draft_create(&[], first);
            let headers = [LAST, ("repr-digest", &wrong[..])];
            let answer = client.append_with(&url, 100_000, &headers, rest);
            answer.refused(400, "digest-mismatch");
            client.draft("HEAD", &url, &[], b"").is(404);
            client.wait_gone(&url);
        }
    });
}

#[test]
fn repr_digest_survives_a_restart() {
    over_both(&[], |client| {
        let wrong = digest("sha-512", b"something else");
        let url = client.draft_create(&[("repr-digest", &wrong)], b"01234");
        client.restart(rustix::process::Signal::KILL);
        let answer = client.append(&url, 5, LAST, b"56789");
        answer.refused(400, "digest-mismatch");
        client.draft("HEAD", &url, &[], b"").is(404);
        client.wait_gone(&url);
    });
}

#[test]
fn want_repr_digest_of_a_whole_upload_is_answered() {
    over_both(&[], |client| {
        for (want, algorithm) in [
            ("sha-256=1", "sha-256"),
            ("sha-512=1", "sha-512"),
            ("sha-256=10, sha-512=3", "sha-256"),
            ("sha-256=3, sha-512=10", "sha-512"),
            ("sha-256=0, sha-512=1", "sha-512"),
            ("md5=10, unixsum=9, sha-512=1", "sha-512"),
        ] {
            for answer in whole(client, &[("want-repr-digest", want)], b"hello") {
                let answer = answer.is(201);
                assert_eq!(
                    answer.header("repr-digest"),
                    digest(algorithm, b"hello"),
                    "{want}"
                );
            }
        }
    });
}

#[test]
fn want_repr_digest_is_answered_at_the_end_and_from_then_on() {
    over_both(&[], |client| {
        for (want, algorithm) in [
            ("sha-256=3, sha-512=10", "sha-512"),
            ("sha-256=10, sha-512=3", "sha-256"),
        ] {
            let url = client.draft_create(&[("want-repr-digest", want)], b"01234");
            client.restart(rustix::process::Signal::KILL);
            let expected = digest(algorithm, b"0123456789");
            let answer = client.append(&url, 5, LAST, b"56789").is(201);
            assert_eq!(answer.header("repr-digest"), expected);
            assert_eq!(client.draft_head(&url).header("repr-digest"), expected);
            let receipt = client.request("GET", &url, &[], b"").is(200);
            assert_eq!(receipt.header("repr-digest"), expected);
        }
    });
}

#[test]
fn want_repr_digest_of_nothing_that_we_have_is_no_error() {
    over_both(&[], |client| {
        for want in ["md5=10", "sha-256=0", "sha-256=0, sha-512=0"] {
            for answer in whole(client, &[("want-repr-digest", want)], b"hello") {
                let answer = answer.is(201);
                let given = answer.headers.get("repr-digest");
                assert!(given.is_none(), "{want}: {given:?}");
            }
        }
    });
}

#[test]
fn a_malformed_digest_is_refused() {
    over_both(&[], |client| {
        let before = client.server.listed();
        let url = client.draft_create(&[], b"01234");
        for value in [
            "sha-256=LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
            "sha-256=:***:",
            "sha-256=:LPJNul",
            "sha-256=\"LPJN\"",
            "sha-256",
            "sha-256=1",
            "=",
            ":LPJN:",
            "SHA-256=:LPJN:",
            "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:,",
        ] {
            for field in ["content-digest", "repr-digest"] {
                println!("{field}: {value}");
                for answer in whole(client, &[(field, value)], b"hello") {
                    answer.refused(400, "malformed-digest");
                }
                let answer = client.append_with(&url, 5, &[MORE, (field, value)], b"x");
                answer.refused(400, "malformed-digest");
                client.is_at(&url, 5);
            }
        }
        assert_eq!(client.server.listed(), before);
    });
}

#[test]
fn a_digest_of_another_size_matches_nothing() {
    over_both(&[], |client| {
        for value in [
            "sha-256=:LPJN:",
            "sha-256=::",
            "sha-512=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:",
        ] {
            for field in ["content-digest", "repr-digest"] {
                for answer in whole(client, &[(field, value)], b"hello") {
                    answer.is(400);
                }
            }
        }
    });
}
