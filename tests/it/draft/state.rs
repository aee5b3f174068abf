//! State: Offset, Completeness, Length, Limits.

use std::fs;
use std::path::PathBuf;

use super::{LAST, MORE, PARTIAL_UPLOAD, assert_problem, assert_refused};
use crate::flight::Break;
use crate::resumable::{Client, PART, id_of, limits, over_both};
use crate::server::content;
use crate::store::only_in_a_folder;

#[test]
fn offset_must_not_decrease() {
    over_both(&[], |client| {
        let content = content(PART);
        let url = client.draft_new();
        let mut before = 0;
        let mut not_less = |client: &Client<'_>| {
            let offset = client.draft_offset(&url);
            assert!(offset >= before, "{offset} < {before}");
            before = offset;
            offset
        };
        client.append(&url, 0, MORE, &content[..1000]).is(204);
        assert_eq!(not_less(client), 1000);
        client.append(&url, 500, MORE, b"xxxxx").is(409);
        assert_eq!(not_less(client), 1000);
        client.append(&url, 0, LAST, b"").is(409);
        assert_eq!(not_less(client), 1000);
        for how in Break::ALL {
            let offset = not_less(client);
            let mut append = client.begin_append(&url, offset, &[MORE]);
            append.send(&content);
            client.wait_staged(&url, offset);
            append.break_off(how);
            assert!(not_less(client) > offset);
        }
        client.restart(rustix::process::Signal::KILL);
        let offset = not_less(client);
        client.append(&url, offset, MORE, b"").is(204);
        assert_eq!(not_less(client), offset);
    });
}

/// The segments of an upload, in order.
fn segments(client: &Client<'_>, url: &str) -> Vec<PathBuf> {
    let folder = client.bench.path("data/staging").join(id_of(url));
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// What an upload has lost is not made up for: it is never completed, and nobody goes on with it.
#[track_caller]
fn assert_given_up(client: &Client<'_>, url: &str, offset: usize) {
    for _ in 0..2 {
        let answer = client.append(url, offset, LAST, b"the rest");
        assert!(answer.status >= 400, "{} {}", answer.status, answer.text());
        assert!(!client.is_listed(url));
    }
    let head = client.draft("HEAD", url, &[], b"");
    assert!(head.status >= 400, "{head:?}");
}

#[test]
fn offset_server_that_lost_all_segments_must_reject_further_interaction() {
    only_in_a_folder();
    over_both(&[], |client| {
        let url = client.draft_create(&[], &content(100_000));
        fs::remove_dir_all(client.bench.path("data/staging").join(id_of(&url))).unwrap();
        assert_given_up(client, &url, 100_000);
    });
}

#[test]
fn offset_server_that_lost_one_segment_must_reject_further_interaction() {
    only_in_a_folder();
    over_both(&[], |client| {
        for lost in 0..2 {
            let url = client.draft_create(&[], &content(100_000));
            client.append(&url, 100_000, MORE, b"more").is(204);
            fs::remove_file(&segments(client, &url)[lost]).unwrap();
            assert_given_up(client, &url, 100_004);
        }
    });
}

#[test]
fn offset_server_that_lost_a_piece_of_a_segment_must_reject_further_interaction() {
    only_in_a_folder();
    over_both(&[], |client| {
        let url = client.draft_create(&[], &content(100_000));
        let segment = fs::File::options()
            .write(true)
            .open(&segments(client, &url)[0]);
        segment.unwrap().set_len(66_000).unwrap();
        assert_given_up(client, &url, 100_000);
    });
}

#[test]
fn offset_server_that_lost_its_record_must_reject_further_interaction() {
    only_in_a_folder();
    over_both(&[], |client| {
        let url = client.draft_create(&[], &content(100_000));
        for name in client.bench.names("data/sessions") {
            if name.starts_with(id_of(&url)) {
                fs::remove_file(client.bench.path("data/sessions").join(name)).unwrap();
            }
        }
        assert_given_up(client, &url, 100_000);
    });
}

#[test]
fn offset_other_values_must_be_ignored() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        // As if it were not there, which no append can do without.
        for value in [
            "-5",
            "5.0",
            "five",
            "\"5\"",
            "?1",
            "(5)",
            "5, 5",
            "5;",
            "1000000000000000",
        ] {
            let headers = [PARTIAL_UPLOAD, MORE, ("upload-offset", value)];
            let answer = client.draft("PATCH", &url, &headers, b"56789");
            assert_eq!(answer.status, 400, "{value}");
            client.is_at(&url, 5);
        }
        let headers = [PARTIAL_UPLOAD, MORE];
        client.draft("PATCH", &url, &headers, b"56789").is(400);
        client.is_at(&url, 5);
    });
}

#[test]
fn offset_must_be_read_as_an_item() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        // Parameters that nobody defined are no error (RFC 9651, section 3.1.2), nor are leading zeros.
        for (index, value) in ["5;x=1", "6; y", "07", "000000000000008"]
            .into_iter()
            .enumerate()
        {
            let headers = [PARTIAL_UPLOAD, MORE, ("upload-offset", value)];
            let answer = client.draft("PATCH", &url, &headers, b"x");
            assert_eq!(answer.status, 204, "{value}: {}", answer.text());
            assert_eq!(client.draft_offset(&url), 6 + index);
        }
    });
}

#[test]
fn completeness_other_values_must_be_ignored() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        for value in ["?2", "?1, ?1", "", "?"] {
            // No append can do without it.
            let complete = ("upload-complete", value);
            let answer = client.append(&url, 5, complete, b"56789");
            assert_eq!(answer.status, 400, "{value}");
            client.is_at(&url, 5);
        }
        for value in ["1", "0", "1.0", "true", "\"?1\"", ":AQ==:"] {
            let complete = ("upload-complete", value);
            let answer = client.append(&url, 5, complete, b"56789");
            assert_eq!(answer.status, 400, "{value}");
            client.is_at(&url, 5);
            // Without it, this is an upload like any other.
            let answer = client.draft("PUT", "/uploads/plain", &[complete], b"plain");
            let receipt = answer.receipt();
            assert_eq!(client.bench.open_stored(&receipt["id"]).content, b"plain");
        }
    });
}

#[test]
fn completeness_must_be_read_as_an_item() {
    over_both(&[], |client| {
        let more = ("upload-complete", "?0;x=1");
        let answer = client.draft("POST", "/uploads", &[more], b"01234").is(201);
        assert_eq!(answer.header("upload-complete"), "?0");
        let url = answer.header("location");
        client
            .append(url, 5, ("upload-complete", "?1;x"), b"5")
            .is(201);
        assert_eq!(client.opened(url).content, b"012345");
    });
}

#[test]
fn completeness_is_the_clients_word_and_not_a_matter_of_length() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", "10")], b"01234");
        client.append(&url, 5, MORE, b"56789").is(204);
        client.is_at(&url, 10);
        client.append(&url, 10, LAST, b"").is(201);
        let head = client.draft_head(&url);
        assert_eq!(head.header("upload-complete"), "?1");
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn length_other_values_must_be_ignored() {
    over_both(&[], |client| {
        for value in ["-10", "10.0", "ten", "\"10\"", "?1"] {
            let length = ("upload-length", value);
            let headers = [MORE, length];
            let answer = client.draft("POST", "/uploads", &headers, b"01234");
            assert_eq!(answer.status, 201, "{value}: {}", answer.text());
            let url = answer.header("location");
            let head = client.draft_head(url);
            assert!(!head.headers.contains_key("upload-length"), "{value}");
            client.append_with(url, 5, &[LAST, length], b"5").is(201);
            assert_eq!(client.opened(url).content, b"012345");
        }
    });
}

#[test]
fn length_two_indicators_of_one_request_must_match() {
    over_both(&[], |client| {
        let before = client.server.listed();
        let wrong = ("upload-length", "6");
        let answer = client.draft("POST", "/uploads", &[LAST, wrong], b"01234");
        assert_problem(&answer, 400, "inconsistent-upload-length");
        let answer = client.draft("PUT", "/uploads/x", &[LAST, wrong], b"0123456");
        assert_problem(&answer, 400, "inconsistent-upload-length");
        assert_eq!(client.server.listed(), before);
        let url = client.draft_create(&[], b"01234");
        for other in ["9", "11"] {
            let wrong = ("upload-length", other);
            let answer = client.append_with(&url, 5, &[LAST, wrong], b"56789");
            assert_problem(&answer, 400, "inconsistent-upload-length");
            client.is_at(&url, 5);
        }
        let right = ("upload-length", "10");
        client
            .append_with(&url, 5, &[LAST, right], b"56789")
            .is(201);
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn length_indicators_of_several_requests_must_match() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", "10")], b"01234");
        // By the header field.
        for other in ["9", "11", "5"] {
            let wrong = ("upload-length", other);
            let answer = client.append_with(&url, 5, &[MORE, wrong], b"5");
            assert_problem(&answer, 400, "inconsistent-upload-length");
            client.is_at(&url, 5);
        }
        // By what the last request brings: less, or nothing at all.
        for rest in [&b"5678"[..], b""] {
            let answer = client.append(&url, 5, LAST, rest);
            assert_problem(&answer, 400, "inconsistent-upload-length");
            client.is_at(&url, 5);
        }
        let right = ("upload-length", "10");
        client.append_with(&url, 5, &[MORE, right], b"56").is(204);
        client.append(&url, 7, LAST, b"789").is(201);
        assert_eq!(client.opened(&url).content, b"0123456789");
    });
}

#[test]
fn length_less_than_what_was_received_is_inconsistent() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let answer = client.append_with(&url, 5, &[MORE, ("upload-length", "4")], b"");
        assert_problem(&answer, 400, "inconsistent-upload-length");
        client.is_at(&url, 5);
        let headers = [MORE, ("upload-length", "4")];
        let answer = client.draft("POST", "/uploads", &headers, b"01234");
        assert_problem(&answer, 400, "inconsistent-upload-length");
    });
}

#[test]
fn length_of_a_last_request_that_says_nothing_beforehand_must_match_too() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", "10")], b"01234");
        let mut append = client.begin_append(&url, 5, &[LAST]);
        append.send(b"567");
        assert_refused(&append.finish());
        assert!(!client.is_listed(&url));
    });
}

#[test]
fn limits_must_be_a_dictionary_of_integers() {
    over_both(
        &["--max-size", "3MiB", "--upload-lifetime", "1h"],
        |client| {
            let answer = client.draft("POST", "/uploads", &[MORE], b"").is(201);
            let url = answer.header("location").to_owned();
            for answer in [answer, client.draft_head(&url)] {
                let limits = limits(&answer);
                assert_eq!(limits["max-size"], 3 << 20);
                assert!((3_500..=3_600).contains(&limits["max-age"]), "{limits:?}");
            }
        },
    );
}

#[test]
fn limits_should_not_become_stricter() {
    over_both(&["--max-size", "3MiB"], |client| {
        let options = client.draft("OPTIONS", "/uploads", &[], b"").is(204);
        let announced = limits(&options)["max-size"];
        let answer = client.draft("POST", "/uploads", &[MORE], b"").is(201);
        assert!(limits(&answer)["max-size"] >= announced);
        let url = answer.header("location");
        client.append(url, 0, MORE, b"01234").is(204);
        let later = limits(&client.draft_head(url));
        assert_eq!(later["max-size"], limits(&answer)["max-size"]);
        assert!(limits(&answer)["max-age"] - later["max-age"] < 60);
    });
}

#[test]
fn limits_options_must_include_accept_patch_with_the_full_type() {
    over_both(&[], |client| {
        let url = client.draft_new();
        for path in ["/uploads", "/uploads/", "/uploads/name", &url] {
            let answer = client.draft("OPTIONS", path, &[], b"").is(204);
            let accepted = answer.header("accept-patch").split(',');
            let mut accepted = accepted.map(str::trim);
            assert!(accepted.any(|accepted| accepted == "application/partial-upload"));
        }
    });
}

#[test]
fn limits_options_should_include_upload_limit() {
    over_both(&["--max-size", "3MiB"], |client| {
        for path in ["/uploads", "/uploads/", "/uploads/name"] {
            let answer = client.draft("OPTIONS", path, &[], b"").is(204);
            assert_eq!(limits(&answer)["max-size"], 3 << 20);
            let allowed = answer.header("allow");
            assert!(allowed.contains("OPTIONS"), "{allowed}");
        }
    });
}

#[test]
fn limits_413_must_include_upload_limit() {
    over_both(&["--max-size", "1KiB"], |client| {
        let says = |answer: crate::client::Answer| {
            let answer = answer.is(413);
            assert_eq!(limits(&answer)["max-size"], 1024);
        };
        let too_long = ("upload-length", "1025");
        says(client.draft("POST", "/uploads", &[MORE, too_long], b"01234"));
        says(client.draft("POST", "/uploads", &[MORE], &content(1025)));
        says(client.draft("POST", "/uploads", &[LAST], &content(1025)));
        says(client.draft("PUT", "/uploads/x", &[LAST], &content(1025)));
        let mut create = client.begin("POST", "/uploads", &[super::VERSION, MORE]);
        create.send(&content(1025));
        says(create.finish());
        let mut create = client.begin("POST", "/uploads", &[super::VERSION, LAST]);
        create.send(&content(1025));
        says(create.finish());
        let url = client.draft_create(&[], &content(1000));
        says(client.append(&url, 1000, MORE, &content(25)));
        says(client.append(&url, 1000, LAST, &content(25)));
        says(client.append_with(&url, 1000, &[MORE, too_long], b""));
        assert!(!client.is_listed(&url));
        let mut append = client.begin_append(&url, 1000, &[MORE]);
        append.send(&content(25));
        says(append.finish());
    });
}
