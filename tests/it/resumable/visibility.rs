//! An upload is there for its receiver when it is whole, and not before.

use http::Method;

use crate::draft::{LAST, MORE};
use crate::resumable::{Client, id_of, over_both};

/// Neither listed, nor to be had, nor in its place on disk.
#[track_caller]
fn assert_hidden(client: &Client<'_>, url: &str) {
    assert!(!client.is_listed(url));
    let path = format!("/uploads/{}/meta.age", id_of(url));
    client.server.admin(Method::GET, &path).is(404);
    assert!(!client.bench.is_stored(id_of(url)));
}

#[track_caller]
fn assert_visible(client: &Client<'_>, url: &str) {
    assert!(client.is_listed(url));
    let path = format!("/uploads/{}/meta.age", id_of(url));
    client.server.admin(Method::GET, &path).is(200);
    assert!(client.bench.is_stored(id_of(url)));
}

#[test]
fn a_tus_upload_appears_with_its_last_byte() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        assert_hidden(client, &url);
        client.tus_patch(&url, 0, b"012345678").is(204);
        assert_hidden(client, &url);
        client.tus_patch(&url, 9, b"9").is(204);
        assert_visible(client, &url);
    });
}

#[test]
fn a_draft_upload_appears_when_it_is_complete() {
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", "10")], b"01234");
        assert_hidden(client, &url);
        client.append(&url, 5, MORE, b"56789").is(204);
        assert_hidden(client, &url);
        client.append(&url, 10, LAST, b"").is(201);
        assert_visible(client, &url);
    });
}

#[test]
fn partial_uploads_never_appear_and_the_final_one_at_once() {
    over_both(&[], |client| {
        let partial = |content: &[u8]| {
            let length = content.len().to_string();
            let headers = [("upload-concat", "partial"), ("upload-length", &length)];
            let url = client.tus_create(&headers);
            client.tus_patch(&url, 0, content).is(204);
            assert_hidden(client, &url);
            url
        };
        let (one, two) = (partial(b"hello"), partial(b" world"));
        let list = format!("final;{one} {two}");
        let url = client.tus_create(&[("upload-concat", &list)]);
        assert_visible(client, &url);
        assert_hidden(client, &one);
        assert_hidden(client, &two);
    });
}

#[test]
fn what_is_finished_leaves_nothing_staged() {
    over_both(&[], |client| {
        let tus = client.tus_new(10);
        client.tus_patch(&tus, 0, b"01234").is(204);
        client.tus_patch(&tus, 5, b"56789").is(204);
        let draft = client.draft_create(&[], b"01234");
        client.append(&draft, 5, LAST, b"56789").is(201);
        crate::server::wait_until("the staging folders are gone", || {
            !client.bench.is_anything_staged()
        });
    });
}
