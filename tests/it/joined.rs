//! `Sealslot-Submission` and `Sealslot-Kind`: uploads that come one by one and belong together.

use http::Request;
use rustix::process::Signal;
use rustls::version::TLS13;
use serde_json::Value;

use crate::client::{Answer, Multipart, Protocol};
use crate::draft::{LAST, MORE};
use crate::program::Bench;
use crate::resumable::{Client, PART, id_of, over_both};
use crate::server::{Server, content, text, wait_until};
use crate::tus::{OCTETS, metadata};

const JOINS: &str = "sealslot-submission";
const FIELDS: (&str, &str) = ("sealslot-kind", "fields");
const TEXTS: &[u8] = br#"{"fields":[{"name":"note","value":"for Ms Kim"}]}"#;
/// Well-formed, and of no upload.
const NOWHERE: &str = "/uploads/00000000000000000000000000000000.00000000000000000000000000000000";

/// A creation that joins `url`, by each way to create one.
fn creations(client: &Client<'_>, joins: &str) -> Vec<Answer> {
    let joins = (JOINS, joins);
    let empty = [joins, ("upload-length", "3")];
    let first = [joins, ("upload-length", "3"), OCTETS];
    vec![
        client.tus("POST", "/uploads", &empty, b""),
        client.tus("POST", "/uploads", &first, b"abc"),
        client.draft("POST", "/uploads", &[joins, MORE], b"ab"),
        client.draft("POST", "/uploads", &[joins, MORE], b""),
        client.draft("PUT", "/uploads/x", &[joins, MORE], b"ab"),
        client.draft("POST", "/uploads", &[joins, LAST], b"abc"),
        client.request("POST", "/uploads", &[joins], b"abc"),
        client.request("PUT", "/uploads/x", &[joins], b"abc"),
    ]
}

/// Brings a draft or tus upload of `abc` to its end; gives its receipt. What came in one body has got its own already.
fn receipt(client: &Client<'_>, created: Answer) -> Value {
    let created = created.is(201);
    if !created.header("location").contains('.') {
        return created.receipt();
    }
    let url = created.header("location");
    if created.headers.contains_key("tus-resumable") {
        let offset = client.tus_offset(url);
        client.tus_patch(url, offset, &b"abc"[offset..]).is(204);
    } else {
        let offset = client.draft_offset(url);
        client.append(url, offset, LAST, &b"abc"[offset..]).is(201);
    }
    client.request("GET", url, &[], b"").is(200).json()
}

#[track_caller]
fn assert_unknown(client: &Client<'_>, joins: &str) {
    let mut said = Vec::new();
    for answer in creations(client, joins) {
        answer.refused(409, "unknown-submission");
        said.push(answer.text());
    }
    // Nothing tells the reasons apart.
    let nowhere = client.draft("POST", "/uploads", &[(JOINS, NOWHERE), MORE], b"");
    assert!(said.iter().all(|said| *said == nowhere.text()));
}

#[test]
fn uploads_that_join_one_share_its_submission() {
    over_both(&[], |client| {
        let anchors = [client.tus_new(3), client.draft_create(&[], b"ab")];
        for anchor in anchors {
            for created in creations(client, &anchor) {
                let receipt = receipt(client, created);
                assert_eq!(receipt["submission"], id_of(&anchor));
                assert_ne!(receipt["id"], receipt["submission"]);
                assert_eq!(receipt["kind"], "file");
                let opened = client.bench.open_stored(&receipt["id"]);
                assert_eq!(opened.manifest["submission"], id_of(&anchor));
                assert_eq!(opened.manifest["kind"], "file");
                assert_eq!(opened.content, b"abc");
            }
        }
    });
}

#[test]
fn a_submission_is_named_by_any_form_of_the_url_of_any_of_its_uploads() {
    over_both(&[], |client| {
        let anchor = client.tus_new(3);
        let segment = anchor.strip_prefix("/uploads/").unwrap();
        let absolute = format!("https://{}{anchor}", client.server.address);
        let mut joined = anchor.clone();
        for joins in [&anchor, segment, &absolute, "the one before"] {
            let joins = if joins.contains(' ') { &joined } else { joins };
            let url = client.tus_create(&[(JOINS, joins), ("upload-length", "3")]);
            client.tus_patch(&url, 0, b"abc").is(204);
            assert_eq!(client.opened(&url).manifest["submission"], id_of(&anchor));
            joined = url;
        }
        // What is joined is told it as well, and an upload by itself is its own submission still.
        client.tus_patch(&anchor, 0, b"abc").is(204);
        assert_eq!(
            client.opened(&anchor).manifest["submission"],
            id_of(&anchor)
        );
    });
}

#[test]
fn a_request_in_flight_for_the_joined_upload_goes_on() {
    over_both(&[], |client| {
        let sent = content(2 * PART);
        let anchor = client.tus_new(sent.len());
        let mut flight = client.tus_begin(&anchor, 0, &[]);
        flight.send(&sent[..PART]);
        client.wait_staged(&anchor, 0);
        for created in creations(client, &anchor) {
            created.is(201);
        }
        flight.send(&sent[PART..]);
        flight.finish().is(204);
        let opened = client.opened(&anchor);
        assert!(opened.content == sent);
        // One body, one segment: it was never interrupted.
        assert_eq!(opened.manifest["segments"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn a_finished_upload_is_joined_too_until_its_url_is_given_up() {
    over_both(&[], |client| {
        let anchor = client.tus_new(3);
        client.tus_patch(&anchor, 0, b"abc").is(204);
        for created in creations(client, &anchor) {
            let receipt = receipt(client, created);
            assert_eq!(receipt["submission"], id_of(&anchor));
        }
        client.tus("DELETE", &anchor, &[], b"").is(204);
        assert_unknown(client, &anchor);
    });
}

#[test]
fn what_is_cancelled_or_was_never_there_is_not_joined() {
    over_both(&[], |client| {
        let before = client.server.listed().len();
        let (anchor, other) = (client.tus_new(3), client.tus_new(3));
        let (id, (_, secret)) = (id_of(&anchor), other.split_once('.').unwrap());
        assert_unknown(client, &format!("/uploads/{id}.{secret}"));
        assert_unknown(client, NOWHERE);
        client.tus_head(&anchor);
        client.tus("DELETE", &anchor, &[], b"").is(204);
        assert_unknown(client, &anchor);
        assert_eq!(client.server.listed().len(), before);
        assert!(client.bench.names("data/staging").is_empty());
    });
}

#[test]
fn what_has_expired_is_not_joined() {
    // A lifetime ends at a whole second: it may be one shorter.
    over_both(&["--upload-lifetime", "6s"], |client| {
        let anchor = client.tus_new(3);
        client.tus_patch(&anchor, 0, b"abc").is(204);
        wait_until("the upload URL expires", || {
            let headers = [(JOINS, &anchor[..]), ("upload-length", "3")];
            client.tus("POST", "/uploads", &headers, b"").status == 409
        });
        assert_unknown(client, &anchor);
    });
}

#[test]
fn an_upload_that_joined_knows_its_submission_after_a_restart() {
    over_both(&[], |client| {
        let anchor = client.tus_new(3);
        let tus = client.tus_create(&[(JOINS, &anchor), ("upload-length", "3")]);
        client.tus_patch(&tus, 0, b"a").is(204);
        let draft = client.draft_create(&[(JOINS, &anchor)], b"ab");
        let fields = client.tus_create(&[
            (JOINS, &anchor),
            ("upload-length", &TEXTS.len().to_string()),
            FIELDS,
        ]);
        client.restart(Signal::KILL);
        let late = client.draft_create(&[(JOINS, &anchor)], b"ab");
        client.tus_patch(&tus, 1, b"bc").is(204);
        client.append(&draft, 2, LAST, b"c").is(201);
        client.append(&late, 2, LAST, b"c").is(201);
        client.tus_patch(&fields, 0, TEXTS).is(204);
        for url in [&tus, &draft, &late, &fields] {
            assert_eq!(client.opened(url).manifest["submission"], id_of(&anchor));
            let receipt = client.request("GET", url, &[], b"").is(200).json();
            assert_eq!(receipt["submission"], id_of(&anchor));
        }
        assert_eq!(client.opened(&fields).manifest["kind"], "fields");
    });
}

#[test]
fn what_names_no_upload_is_malformed() {
    over_both(&[], |client| {
        let anchor = client.tus_new(3);
        let (id, _) = anchor.split_once('.').unwrap();
        let twice = format!("{anchor}, {anchor}");
        for joins in ["", "x", "/uploads/", id, &twice, &anchor.to_uppercase()] {
            for answer in creations(client, joins) {
                answer.refused(400, "malformed-submission");
            }
        }
        let headers = [(JOINS, &anchor[..]), (JOINS, &anchor), MORE];
        let answer = client.draft("POST", "/uploads", &headers, b"");
        answer.refused(400, "malformed-submission");
    });
}

#[test]
fn fields_of_a_form_come_in_an_upload_of_their_own() {
    over_both(&[], |client| {
        let anchor = client.tus_new(3);
        let length = TEXTS.len().to_string();
        let length = ("upload-length", &length[..]);
        // What a file would be called and be is not what fields are called and are.
        let given = metadata(&[("filename", b"evil"), ("filetype", b"application/age")]);
        let (given, joins) = (("upload-metadata", &given[..]), (JOINS, &anchor[..]));
        let disposition = ("content-disposition", "attachment; filename=evil");
        let age = ("content-type", "application/age");
        let tus = client.tus_create(&[joins, length, FIELDS, given]);
        client.tus_patch(&tus, 0, TEXTS).is(204);
        let draft = client.draft_create(&[joins, length, FIELDS, disposition, age], b"{");
        client.append(&draft, 1, LAST, &TEXTS[1..]).is(201);
        let headers = [joins, FIELDS, disposition, age];
        let raw = client.request("POST", "/uploads", &headers, TEXTS);
        let put = client.request("PUT", "/uploads/evil", &headers, TEXTS);
        let receipts = [
            client.request("GET", &tus, &[], b"").is(200).json(),
            client.request("GET", &draft, &[], b"").is(200).json(),
            raw.receipt(),
            put.receipt(),
        ];
        for receipt in receipts {
            assert_eq!(receipt["kind"], "fields");
            assert_eq!(receipt["name"], Value::Null);
            assert_eq!(receipt["submission"], id_of(&anchor));
            let opened = client.bench.open_stored(&receipt["id"]);
            assert_eq!(opened.manifest["kind"], "fields");
            assert_eq!(opened.manifest["type"], "application/json");
            assert_eq!(opened.manifest["name"], Value::Null);
            assert_eq!(opened.content, TEXTS);
            let id = text(&receipt["id"]);
            let folder = client.bench.upload_folder(&id);
            let args = ["open", "-i", "key", "-o", "out", folder.to_str().unwrap()];
            client.bench.run(&args).ok();
            let out = client.bench.read(format!("out/fields-{id}.json"));
            assert_eq!(out, TEXTS);
        }
        // They need no other upload to belong to.
        let alone = client
            .request("POST", "/uploads", &[FIELDS], TEXTS)
            .receipt();
        assert_eq!(alone["submission"], alone["id"]);
    });
}

#[test]
fn fields_say_their_length_and_are_no_longer_than_a_form_may_have() {
    over_both(&["--max-fields", "100"], |client| {
        let long = ("upload-length", "101");
        let large = [b' '; 101];
        for answer in [
            client.tus("POST", "/uploads", &[FIELDS, long], b""),
            client.draft("POST", "/uploads", &[FIELDS, long, MORE], b""),
            client.draft("POST", "/uploads", &[FIELDS, LAST], &large),
            client.request("POST", "/uploads", &[FIELDS], &large),
            client.request("PUT", "/uploads/x", &[FIELDS], &large),
        ] {
            answer.refused(413, "fields-too-large");
            assert_eq!(answer.header("upload-limit"), "max-size=100");
        }
        let deferred = ("upload-defer-length", "1");
        for answer in [
            client.tus("POST", "/uploads", &[FIELDS, deferred], b""),
            client.draft("POST", "/uploads", &[FIELDS, MORE], b"{"),
            client
                .begin("POST", "/uploads", &[FIELDS])
                .answer()
                .unwrap(),
            client
                .begin("PUT", "/uploads/x", &[FIELDS])
                .answer()
                .unwrap(),
        ] {
            answer.refused(411, "length-required");
        }
        let most = ("upload-length", "100");
        let url = client.tus_create(&[FIELDS, most]);
        client.tus_patch(&url, 0, &large).is(413);
        client.tus_patch(&url, 0, &large[..100]).is(204);
        let url = client.draft_create(&[FIELDS, most], b"");
        client.append(&url, 0, LAST, &large).is(400);
        client.append(&url, 0, LAST, &large[..100]).is(201);
    });
}

#[test]
fn there_is_no_other_kind() {
    over_both(&[], |client| {
        for kind in ["", "file", "Fields", "fields, fields"] {
            let kind = ("sealslot-kind", kind);
            for answer in [
                client.tus("POST", "/uploads", &[kind, ("upload-length", "3")], b""),
                client.draft("POST", "/uploads", &[kind, MORE], b""),
                client.request("PUT", "/uploads/x", &[kind], b"abc"),
            ] {
                answer.refused(400, "malformed-kind");
            }
        }
    });
}

#[test]
fn forms_and_parts_have_their_place_already() {
    over_both(&[], |client| {
        let anchor = client.tus_new(3);
        let part = client.tus_create(&[("upload-length", "3"), ("upload-concat", "partial")]);
        client.tus_patch(&part, 0, b"abc").is(204);
        let whole = format!("final;{part}");
        for place in [(JOINS, &anchor[..]), FIELDS] {
            let partial = [place, ("upload-length", "3"), ("upload-concat", "partial")];
            let form = [place, ("content-type", Multipart::TYPE)];
            let body = Multipart::new().file("a", "x/y", b"abc").finish();
            for answer in [
                client.tus("POST", "/uploads", &partial, b""),
                client.tus("POST", "/uploads", &[place, ("upload-concat", &whole)], b""),
                client.request("POST", "/uploads", &form, &body),
            ] {
                answer.refused(400, "foreign-fields");
            }
        }
        // The part was not used up by that.
        client.tus_create(&[("upload-concat", &whole)]);
    });
}

#[test]
fn who_may_upload_is_asked_first_and_the_body_comes_last() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    let bearer = "Bearer an-upload-token-that-is-long";
    for protocol in Protocol::ALL {
        let send = |token: bool, headers: &[(&str, &str)]| {
            let mut request = Request::post("/uploads").header(JOINS, NOWHERE);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            if token {
                request = request.header("authorization", bearer);
            }
            server.send_over(protocol, &TLS13, request.body(b"abc".to_vec()).unwrap())
        };
        for headers in [
            &[][..],
            &[MORE],
            &[("tus-resumable", "1.0.0"), ("upload-length", "3"), OCTETS],
        ] {
            send(false, headers).refused(401, "unauthorized");
            send(true, headers).refused(409, "unknown-submission");
        }
    }
    let (joins, token) = (
        format!("{JOINS}: {NOWHERE}"),
        format!("Authorization: {bearer}"),
    );
    for (place, status) in [(&joins[..], 409), ("Sealslot-Kind: x", 400)] {
        for more in ["X: x", "Upload-Complete: ?0"] {
            let headers = [
                place,
                &token,
                more,
                "Expect: 100-continue",
                "Content-Length: 100000",
            ];
            let mut wire = server.begin("POST", "/uploads", &headers);
            assert_eq!(wire.answer_at_once().status, status);
        }
    }
    assert!(server.listed().is_empty());
}

#[test]
fn neither_log_nor_disk_has_the_url_that_is_joined() {
    over_both(&["--log", "trace"], |client| {
        let anchor = client.tus_new(3);
        let (_, secret) = anchor.split_once('.').unwrap();
        let (_, nowhere) = NOWHERE.split_once('.').unwrap();
        for created in creations(client, &anchor) {
            receipt(client, created);
        }
        assert_unknown(client, NOWHERE);
        for answer in creations(client, &format!("{anchor}/")) {
            answer.refused(400, "malformed-submission");
        }
        let note = format!("{anchor}x");
        for answer in creations(client, &note) {
            answer.refused(400, "malformed-submission");
        }
        for (path, found) in client.bench.files() {
            for secret in [secret, nowhere] {
                let has = memchr::memmem::find(&found, secret.as_bytes()).is_some();
                assert!(!has, "{} has {secret}", path.display());
            }
        }
    });
}
