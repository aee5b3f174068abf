//! Requests that come to no end of their own, and what is kept of them.

use bytes::Bytes;
use rustix::process::Signal;

use crate::client::Protocol;
use crate::draft::{LAST, MORE, VERSION};
use crate::flight::{Break, Flight};
use crate::resumable::{PART, over_both};
use crate::server::{content, wait_until};
use crate::tus::OCTETS;

#[test]
fn a_patch_that_breaks_off_keeps_what_came() {
    let content = content(2 * PART);
    over_both(&[], |client| {
        for how in Break::ALL {
            for announced in [true, false] {
                let url = client.tus_new(content.len());
                client.tus_patch(&url, 0, &content[..5]).is(204);
                let rest = (content.len() - 5).to_string();
                let length = ("content-length", &rest[..]);
                let headers = if announced { &[length][..] } else { &[] };
                let mut patch = client.tus_begin(&url, 5, headers);
                patch.send(&content[5..PART]);
                client.wait_staged(&url, 5);
                patch.break_off(how);
                let offset = client.tus_offset(&url);
                assert!(offset > 5 && offset <= PART, "{how:?} {offset}");
                client.tus_patch(&url, offset, &content[offset..]).is(204);
                assert!(client.opened(&url).content == content);
            }
        }
    });
}

#[test]
fn a_patch_that_breaks_off_again_and_again_comes_to_its_end() {
    let content = content(6 * PART);
    over_both(&[], |client| {
        let url = client.draft_create(&[("upload-length", &content.len().to_string())], b"");
        let mut offset = 0;
        for round in 0..4 {
            let mut append = client.begin_append(&url, offset, &[LAST]);
            append.send(&content[offset..offset + PART]);
            client.wait_staged(&url, offset);
            append.break_off(Break::ALL[round % 3]);
            let reached = client.draft_offset(&url);
            assert!(reached > offset && reached <= offset + PART);
            offset = reached;
        }
        client
            .append(&url, offset, LAST, &content[offset..])
            .is(201);
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn a_body_that_ends_too_soon_is_kept_to_its_last_byte() {
    over_both(&[], |client| {
        for size in [1, 5, 65_536, PART] {
            let content = content(size + 1);
            let url = client.tus_new(size + 1);
            let announced = (size + 1).to_string();
            let mut patch = client.tus_begin(&url, 0, &[("content-length", &announced)]);
            patch.send(&content[..size]);
            // Who is answered knows that the request is over. For others it may not even have begun, and come after what they ask.
            let answered = patch.end_early();
            let over = answered.is_some();
            if let Some(answer) = answered {
                answer.is(400);
                assert_eq!(client.tus_offset(&url), size);
            }
            let offset = client.tus_offset(&url);
            assert!(offset <= size);
            let mut answer = client.tus_patch(&url, offset, &content[offset..]);
            if answer.status == 409 && !over {
                let offset = client.tus_offset(&url);
                assert_eq!(offset, size);
                answer = client.tus_patch(&url, offset, &content[offset..]);
            }
            answer.is(204);
            assert!(client.opened(&url).content == content);
        }
    });
}

#[test]
fn a_head_does_not_wait_for_a_patch_that_hangs() {
    over_both(&[], |client| {
        let content = content(2 * PART);
        let url = client.tus_new(content.len());
        let mut patch = client.tus_begin(&url, 0, &[]);
        patch.send(&content[..PART]);
        client.wait_staged(&url, 0);
        // The body timeout is a minute, and so is our patience: an answer is an answer at once.
        let began = std::time::Instant::now();
        let offset = client.tus_offset(&url);
        assert!(began.elapsed() < std::time::Duration::from_secs(20));
        assert!(offset > 0 && offset <= PART, "{offset}");
        if let Some(answer) = patch.answer() {
            answer.refused(409, "upload-taken-over");
        }
        client.tus_patch(&url, offset, &content[offset..]).is(204);
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn a_head_on_the_same_http2_connection_ends_the_patch_and_not_the_connection() {
    over_both(&[], |client| {
        let content = content(2 * PART);
        let url = client.draft_new();
        let Flight::Http2(mut append) = client.begin_append(&url, 0, &[MORE]) else {
            return;
        };
        let piece = Bytes::copy_from_slice(&content[..PART]);
        append.sending.send_data(piece, false).unwrap();
        client.wait_staged(&url, 0);
        let head = append.beside(&client.server, ("HEAD", &url), &[VERSION]);
        let head = head.expect("the connection stays").is(204);
        let offset: usize = head.header("upload-offset").parse().unwrap();
        assert!(offset > 0 && offset <= PART, "{offset}");
        let again = append.beside(&client.server, ("HEAD", &url), &[VERSION]);
        let again = again.expect("the connection stays").is(204);
        assert_eq!(again.header("upload-offset"), offset.to_string());
        if let Some(answer) = Flight::Http2(append).answer() {
            answer.refused(409, "upload-taken-over");
        }
    });
}

#[test]
fn a_refused_patch_leaves_its_connection_usable() {
    over_both(&[], |client| {
        if !matches!(client.protocol, Protocol::Http1) {
            return;
        }
        let url = client.tus_new(10);
        let mut wire = client.server.wire();
        for (offset, status) in [("5", 409), ("x", 400), ("0", 204), ("0", 409)] {
            wire.send(format!(
                "PATCH {url} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
                 Content-Type: application/offset+octet-stream\r\nContent-Length: 5\r\n\r\n01234"
            ));
            wire.answer().is(status);
        }
    });
}

#[test]
fn a_patch_takes_over_from_one_that_hangs() {
    over_both(&[], |client| {
        let content = content(2 * PART);
        let url = client.tus_new(content.len());
        let mut hanging = client.tus_begin(&url, 0, &[]);
        hanging.send(&content[..PART]);
        client.wait_staged(&url, 0);
        // Its own offset is where the old one began; that one got further, and is over.
        let answer = client.tus_patch(&url, 0, &content).is(409);
        let offset: usize = answer.header("upload-offset").parse().unwrap();
        assert!(offset > 0 && offset <= PART, "{offset}");
        if let Some(answer) = hanging.answer() {
            answer.refused(409, "upload-taken-over");
        }
        client.tus_patch(&url, offset, &content[offset..]).is(204);
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn a_delete_takes_over_from_a_patch_that_hangs() {
    over_both(&[], |client| {
        let url = client.tus_new(2 * PART);
        let mut patch = client.tus_begin(&url, 0, &[]);
        patch.send(&content(PART));
        client.wait_staged(&url, 0);
        client.tus("DELETE", &url, &[], b"").is(204);
        client.tus("HEAD", &url, &[], b"").is(404);
        if let Some(answer) = patch.answer() {
            assert!(answer.status >= 400, "{answer:?}");
        }
        client.wait_gone(&url);
    });
}

#[test]
fn a_patch_that_stands_still_is_given_up_and_kept() {
    // Long enough for the first part to have come.
    over_both(&["--body-timeout", "4s"], |client| {
        let content = content(2 * PART);
        let url = client.tus_new(content.len());
        let mut patch = client.tus_begin(&url, 0, &[]);
        patch.send(&content[..PART]);
        if let Some(answer) = patch.answer() {
            answer.refused(408, "timeout");
        }
        assert_eq!(client.tus_offset(&url), PART);
        client.tus_patch(&url, PART, &content[PART..]).is(204);
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn what_the_last_of_a_server_cuts_off_is_kept() {
    over_both(&["--grace", "0s"], |client| {
        let content = content(2 * PART);
        let url = client.draft_new();
        let mut append = client.begin_append(&url, 0, &[MORE]);
        append.send(&content[..PART]);
        client.wait_staged(&url, 0);
        client.restart(Signal::TERM);
        let offset = client.draft_offset(&url);
        assert!(offset > 0 && offset <= PART, "{offset}");
        client
            .append(&url, offset, LAST, &content[offset..])
            .is(201);
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn a_plain_upload_that_breaks_off_leaves_nothing() {
    over_both(&[], |client| {
        let listed = client.server.listed();
        let before = client.bench.sessions();
        for how in Break::ALL {
            let mut put = client.begin("PUT", "/uploads/x", &[]);
            client.server.stage(|content| put.send(content));
            put.break_off(how);
            wait_until("what was staged is removed", || {
                !client.bench.is_anything_staged()
            });
        }
        assert_eq!(client.bench.sessions(), before);
        assert_eq!(client.server.listed(), listed);
    });
}

#[test]
fn a_creation_that_breaks_off_publishes_nothing() {
    over_both(&[], |client| {
        let listed = client.server.listed();
        for how in Break::ALL {
            let tus = ("tus-resumable", "1.0.0");
            let length = ("upload-length", "4000000");
            let mut create = client.begin("POST", "/uploads", &[tus, length, OCTETS]);
            create.send(&content(PART));
            create.break_off(how);
        }
        assert_eq!(client.server.listed(), listed);
        client.restart(Signal::KILL);
        assert_eq!(client.server.listed(), listed);
    });
}
