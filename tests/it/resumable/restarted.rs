//! What was acknowledged survives the server, however that ends.

use rustix::process::Signal;

use crate::digest_fields::sha256_hex;
use crate::draft::{LAST, MORE};
use crate::resumable::{PART, over_both};
use crate::server::content;
use crate::tus::metadata;

const ENDS: [Signal; 2] = [Signal::KILL, Signal::TERM];

#[test]
fn a_tus_upload_goes_on_after_a_restart() {
    over_both(&[], |client| {
        let content = content(300_000);
        let given = metadata(&[("filename", b"plan.pdf"), ("filetype", b"a/b")]);
        let url = client.tus_create(&[("upload-defer-length", "1"), ("upload-metadata", &given)]);
        client.restart(Signal::KILL);
        client.tus_patch(&url, 0, &content[..100_000]).is(204);
        for end in ENDS {
            client.restart(end);
            let head = client.tus_head(&url);
            assert_eq!(head.header("upload-offset"), "100000");
            assert_eq!(head.header("upload-metadata"), given);
            assert_eq!(head.header("upload-defer-length"), "1");
        }
        let length = ("upload-length", "300000");
        let next = &content[100_000..200_001];
        client
            .tus_patch_with(&url, 100_000, &[length], next)
            .is(204);
        client.restart(Signal::KILL);
        let head = client.tus_head(&url);
        assert_eq!(head.header("upload-length"), "300000");
        assert_eq!(head.header("upload-offset"), "200001");
        client.tus_patch(&url, 200_001, &content[200_001..]).is(204);
        for end in ENDS {
            client.restart(end);
            assert_eq!(client.tus_offset(&url), 300_000);
            let receipt = client.request("GET", &url, &[], b"").is(200).json();
            assert_eq!(receipt["sha256"], sha256_hex(&content));
        }
        let opened = client.opened(&url);
        assert!(opened.content == content);
        assert_eq!(opened.manifest["name"], "plan.pdf");
        assert_eq!(opened.manifest["type"], "a/b");
    });
}

#[test]
fn a_draft_upload_goes_on_after_a_restart() {
    over_both(&[], |client| {
        let content = content(300_000);
        let headers = [
            ("upload-length", "300000"),
            ("content-type", "image/jpeg"),
            ("content-disposition", "inline; filename=a.jpg"),
        ];
        let url = client.draft_create(&headers, &content[..100_000]);
        for end in ENDS {
            client.restart(end);
            let head = client.draft_head(&url);
            assert_eq!(head.header("upload-offset"), "100000");
            assert_eq!(head.header("upload-length"), "300000");
            client.is_at(&url, 100_000);
        }
        client
            .append(&url, 100_000, MORE, &content[100_000..200_000])
            .is(204);
        client.restart(Signal::KILL);
        let receipt = client
            .append(&url, 200_000, LAST, &content[200_000..])
            .receipt();
        assert_eq!(receipt["sha256"], sha256_hex(&content));
        client.restart(Signal::KILL);
        let head = client.draft_head(&url);
        assert_eq!(head.header("upload-complete"), "?1");
        assert_eq!(
            client.request("GET", &url, &[], b"").is(200).json(),
            receipt
        );
        let opened = client.opened(&url);
        assert!(opened.content == content);
        assert_eq!(opened.manifest["name"], "a.jpg");
        assert_eq!(opened.manifest["type"], "image/jpeg");
    });
}

#[test]
fn a_server_killed_in_the_midst_of_a_patch_loses_nothing_acknowledged() {
    let content = content(4 * PART);
    over_both(&[], |client| {
        let url = client.tus_new(content.len());
        client.tus_patch(&url, 0, &content[..100_000]).is(204);
        let mut offset = 100_000;
        for _ in 0..3 {
            let mut patch = client.tus_begin(&url, offset, &[]);
            patch.send(&content[offset..offset + PART]);
            client.wait_staged(&url, offset);
            client.restart(Signal::KILL);
            let reached = client.tus_offset(&url);
            assert!(
                reached >= offset && reached <= offset + PART,
                "{offset} {reached}"
            );
            // What was answered holds.
            client.restart(Signal::KILL);
            assert_eq!(client.tus_offset(&url), reached);
            offset = reached;
        }
        client.tus_patch(&url, offset, &content[offset..]).is(204);
        let receipt = client.request("GET", &url, &[], b"").is(200).json();
        assert_eq!(receipt["sha256"], sha256_hex(&content));
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn partial_uploads_are_concatenated_after_a_restart() {
    over_both(&[], |client| {
        let partial = |client: &crate::resumable::Client<'_>, content: &[u8]| {
            let length = content.len().to_string();
            let headers = [("upload-concat", "partial"), ("upload-length", &length)];
            let url = client.tus_create(&headers);
            client.tus_patch(&url, 0, content).is(204);
            url
        };
        let one = partial(client, b"hello");
        client.restart(Signal::KILL);
        let two = partial(client, b" world");
        client.restart(Signal::KILL);
        let list = format!("final;{one} {two}");
        let url = client.tus_create(&[("upload-concat", &list)]);
        client.restart(Signal::KILL);
        assert_eq!(client.opened(&url).content, b"hello world");
        assert_eq!(client.tus_head(&url).header("upload-concat"), list);
        assert_eq!(client.tus_create(&[("upload-concat", &list)]), url);
        client.tus_patch(&url, 11, b"more").is(403);
    });
}

#[test]
fn what_was_deleted_stays_so() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        client.draft("DELETE", &url, &[], b"").is(204);
        client.restart(Signal::KILL);
        client.draft("HEAD", &url, &[], b"").is(404);
        client.wait_gone(&url);
    });
}
