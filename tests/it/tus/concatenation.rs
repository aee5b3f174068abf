//! Concatenation, of partial uploads that are finished.

use super::{OCTETS, extensions, metadata};
use crate::client::Answer;
use crate::resumable::{Client, over_both};
use crate::server::content;

const PARTIAL: (&str, &str) = ("upload-concat", "partial");

fn partial(client: &Client<'_>, content: &[u8]) -> String {
    let length = content.len().to_string();
    let url = client.tus_create(&[PARTIAL, ("upload-length", &length)]);
    if !content.is_empty() {
        client.tus_patch(&url, 0, content).is(204);
    }
    url
}

fn list_of(urls: &[&str]) -> String {
    format!("final;{}", urls.join(" "))
}

fn concatenate(client: &Client<'_>, urls: &[&str], headers: &[(&str, &str)]) -> Answer {
    let list = list_of(urls);
    let headers = [&[("upload-concat", &list[..])], headers].concat();
    client.tus("POST", "/uploads", &headers, b"")
}

#[test]
fn concatenation_must_be_named_as_an_extension_and_not_of_unfinished_uploads() {
    over_both(&[], |client| {
        let named = extensions(client);
        assert!(named.contains(&"concatenation".to_owned()));
        assert!(!named.contains(&"concatenation-unfinished".to_owned()));
    });
}

#[test]
fn partial_uploads_should_not_be_processed() {
    over_both(&[], |client| {
        let url = partial(client, b"hello");
        assert!(!client.is_listed(&url));
        assert!(!client.bench.is_stored(crate::resumable::id_of(&url)));
        let headers = [PARTIAL, ("upload-length", "5"), OCTETS];
        let answer = client.tus("POST", "/uploads", &headers, b"hello").is(201);
        assert!(!client.is_listed(answer.header("location")));
    });
}

#[test]
fn final_length_must_be_the_sum_and_its_order_that_of_the_list() {
    over_both(&[], |client| {
        let content = content(400_000);
        let first = partial(client, &content[..1]);
        let second = partial(client, &content[1..131_073]);
        let third = partial(client, &content[131_073..]);
        let answer = concatenate(client, &[&first, &second, &third], &[]).is(201);
        let url = answer.header("location");
        assert_eq!(client.tus_head(url).header("upload-length"), "400000");
        assert!(client.opened(url).content == content);
        assert!(client.is_listed(url));
        // In another order it is another upload.
        let (one, two) = (partial(client, b" world"), partial(client, b"hello"));
        let answer = concatenate(client, &[&two, &one], &[]).is(201);
        let url = answer.header("location");
        assert_eq!(client.opened(url).content, b"hello world");
    });
}

#[test]
fn final_of_partials_that_came_in_pieces_and_in_parallel() {
    over_both(&[], |client| {
        let headers = [PARTIAL, ("upload-length", "6")];
        let (one, two) = (client.tus_create(&headers), client.tus_create(&headers));
        let deferred = client.tus_create(&[PARTIAL, ("upload-defer-length", "1")]);
        client.tus_patch(&two, 0, b"678").is(204);
        client.tus_patch(&one, 0, b"0123").is(204);
        client.tus_patch(&two, 3, b"9ab").is(204);
        client.tus_patch(&one, 4, b"45").is(204);
        let length = ("upload-length", "2");
        client
            .tus_patch_with(&deferred, 0, &[length], b"cd")
            .is(204);
        let empty = partial(client, b"");
        let answer = concatenate(client, &[&one, &two, &empty, &deferred], &[]).is(201);
        let url = answer.header("location");
        assert_eq!(client.opened(url).content, b"0123456789abcd");
    });
}

#[test]
fn final_partial_urls_may_be_absolute() {
    over_both(&[], |client| {
        let (one, two) = (partial(client, b"hello"), partial(client, b" world"));
        let absolute = format!("https://{}{two}", client.server.address);
        let answer = concatenate(client, &[&one, &absolute], &[]).is(201);
        let url = answer.header("location");
        assert_eq!(client.opened(url).content, b"hello world");
    });
}

#[test]
fn final_must_come_without_a_length() {
    over_both(&[], |client| {
        let one = partial(client, b"hello");
        concatenate(client, &[&one], &[("upload-length", "5")]).is(400);
        concatenate(client, &[&one], &[("upload-defer-length", "1")]).is(400);
        // Nor does it bring content of its own.
        let list = list_of(&[&one]);
        let headers = [("upload-concat", &list[..]), OCTETS];
        client.tus("POST", "/uploads", &headers, b" world").is(400);
        concatenate(client, &[&one], &[]).is(201);
    });
}

#[test]
fn final_of_an_unfinished_partial_is_409_since_that_is_not_announced() {
    over_both(&[], |client| {
        let whole = partial(client, b"hello");
        let url = client.tus_create(&[PARTIAL, ("upload-length", "6")]);
        client.tus_patch(&url, 0, b" wor").is(204);
        let deferred = client.tus_create(&[PARTIAL, ("upload-defer-length", "1")]);
        concatenate(client, &[&whole, &url], &[]).is(409);
        concatenate(client, &[&whole, &deferred], &[]).is(409);
        // Both are as they were.
        client.tus_patch(&url, 4, b"ld").is(204);
        let answer = concatenate(client, &[&whole, &url], &[]).is(201);
        let url = answer.header("location");
        assert_eq!(client.opened(url).content, b"hello world");
    });
}

#[test]
fn final_of_what_is_no_partial_upload_is_refused() {
    over_both(&[], |client| {
        let one = partial(client, b"hello");
        let unknown = format!("/uploads/{0}.{0}", "0".repeat(32));
        concatenate(client, &[&one, &unknown], &[]).is(404);
        let mut secret_wrong = one.clone();
        let last = secret_wrong.pop().unwrap();
        secret_wrong.push(if last == '0' { '1' } else { '0' });
        concatenate(client, &[&secret_wrong], &[]).is(404);
        let ordinary = client.tus_new(5);
        let finished = client.tus_new(5);
        client.tus_patch(&finished, 0, b"01234").is(204);
        for other in [&ordinary, &finished, "/nowhere", "https://example.org/x"] {
            let status = concatenate(client, &[&one, other], &[]).status;
            assert!((400..500).contains(&status), "{other}: {status}");
        }
    });
}

#[test]
fn upload_concat_must_be_partial_or_final_with_a_list() {
    over_both(&[], |client| {
        let one = partial(client, b"hello");
        for value in [
            "Final",
            "other",
            "final",
            "final;",
            &format!("partial;{one}"),
        ] {
            let length = ("upload-length", "5");
            for headers in [
                &[("upload-concat", value), length][..],
                &[("upload-concat", value)],
            ] {
                let answer = client.tus("POST", "/uploads", headers, b"");
                assert_eq!(answer.status, 400, "{value:?}");
            }
        }
    });
}

#[test]
fn final_must_not_take_over_the_metadata_of_its_partials() {
    over_both(&[], |client| {
        let theirs = metadata(&[("filename", b"a part"), ("filetype", b"a/part")]);
        let headers = [
            PARTIAL,
            ("upload-length", "5"),
            ("upload-metadata", &theirs),
            OCTETS,
        ];
        let answer = client.tus("POST", "/uploads", &headers, b"hello").is(201);
        let one = answer.header("location");
        assert_eq!(client.tus_head(one).header("upload-metadata"), theirs);
        let answer = concatenate(client, &[one], &[]).is(201);
        let url = answer.header("location");
        assert!(!client.tus_head(url).headers.contains_key("upload-metadata"));
        let manifest = client.opened(url).manifest;
        assert_ne!(manifest["name"], "a part");
        assert_ne!(manifest["type"], "a/part");
        let two = partial(client, b" world");
        let own = metadata(&[("filename", b"the whole"), ("filetype", b"a/b")]);
        let answer = concatenate(client, &[&two], &[("upload-metadata", &own)]).is(201);
        let url = answer.header("location");
        assert_eq!(client.tus_head(url).header("upload-metadata"), own);
        let manifest = client.opened(url).manifest;
        assert_eq!(manifest["name"], "the whole");
        assert_eq!(manifest["type"], "a/b");
    });
}

#[test]
fn final_patch_must_be_403_and_change_nothing() {
    over_both(&[], |client| {
        let (one, two) = (partial(client, b"hello"), partial(client, b" world"));
        let answer = concatenate(client, &[&one, &two], &[]).is(201);
        let url = answer.header("location");
        for offset in [0, 5, 11] {
            client.tus_patch(url, offset, b"more").is(403);
            client.tus_patch(url, offset, b"").is(403);
        }
        assert_eq!(client.opened(url).content, b"hello world");
        assert_eq!(client.tus_offset(url), 11);
    });
}

#[test]
fn final_head_must_have_offset_and_length_which_are_equal() {
    over_both(&[], |client| {
        let (one, two) = (partial(client, b"hello"), partial(client, b" world"));
        let answer = concatenate(client, &[&one, &two], &[]).is(201);
        let head = client.tus_head(answer.header("location"));
        assert_eq!(head.header("upload-offset"), "11");
        assert_eq!(head.header("upload-length"), "11");
    });
}

#[test]
fn head_must_include_upload_concat_as_received() {
    over_both(&[], |client| {
        let (one, two) = (partial(client, b"hello"), partial(client, b" world"));
        let absolute = format!("https://{}{two}", client.server.address);
        for url in [&one, &two] {
            assert_eq!(client.tus_head(url).header("upload-concat"), "partial");
        }
        let answer = concatenate(client, &[&one, &absolute], &[]).is(201);
        let head = client.tus_head(answer.header("location"));
        assert_eq!(head.header("upload-concat"), list_of(&[&one, &absolute]));
        let ordinary = client.tus_head(&client.tus_new(5));
        assert!(!ordinary.headers.contains_key("upload-concat"));
    });
}

#[test]
fn partial_head_must_include_the_offset() {
    over_both(&[], |client| {
        let url = client.tus_create(&[PARTIAL, ("upload-length", "6")]);
        assert_eq!(client.tus_offset(&url), 0);
        client.tus_patch(&url, 0, b"012").is(204);
        let head = client.tus_head(&url);
        assert_eq!(head.header("upload-offset"), "3");
        assert_eq!(head.header("upload-length"), "6");
        client.tus_patch(&url, 3, b"345").is(204);
        assert_eq!(client.tus_offset(&url), 6);
    });
}

#[test]
fn final_of_more_than_the_maximum_must_be_413() {
    over_both(&["--max-size", "1KiB"], |client| {
        let one = partial(client, &content(1000));
        let two = partial(client, &content(25));
        concatenate(client, &[&one, &two], &[]).is(413);
        concatenate(client, &[&one], &[]).is(201);
    });
}

#[test]
fn partial_uploads_may_be_used_again() {
    over_both(&[], |client| {
        let (one, two) = (partial(client, b"hello"), partial(client, b" world"));
        for (list, content) in [
            (&[&one[..], &two][..], &b"hello world"[..]),
            (&[&two, &one], b" worldhello"),
            (&[&one, &one], b"hellohello"),
            (&[&one], b"hello"),
        ] {
            // A server may have deleted them by then; it must not make something else of them.
            let answer = concatenate(client, list, &[]);
            if answer.status == 201 {
                assert_eq!(client.opened(answer.header("location")).content, content);
            } else {
                assert!((400..500).contains(&answer.status), "{answer:?}");
            }
        }
    });
}

#[test]
fn final_asked_for_again_is_the_same() {
    over_both(&[], |client| {
        let (one, two) = (partial(client, b"hello"), partial(client, b" world"));
        let first = concatenate(client, &[&one, &two], &[]).is(201);
        let before = client.server.listed();
        let again = concatenate(client, &[&one, &two], &[]).is(201);
        assert_eq!(first.header("location"), again.header("location"));
        assert_eq!(client.server.listed(), before);
    });
}
