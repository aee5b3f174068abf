//! New headers for uploads on a server: `PUT /uploads/{id}/meta.age`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use sealslot::keys::read_identities;
use sealslot::seal::{Header, Identity};
use sealslot::store::{LocalFolder, UploadId};
use sealslot::upload::{OpenUpload, ReadError, Rewrapped, meta_etag, rewrap_headers};

use crate::client::{Answer, head_of};
use crate::program::Bench;
use crate::server::{Server, content, text, wait_until};

const REWRAPPED: &str = "application/vnd.sealslot.rewrapped";

fn stranger(bench: &Bench) -> Identity {
    let identities = read_identities(&bench.path("stranger"), &mut |_| unreachable!());
    identities.unwrap().remove(0)
}

/// New headers for what is stored on the disk, made with the keys that open it, for the bench's stranger or back.
fn made(bench: &Bench, id: &str, full: bool, to_stranger: bool) -> (Vec<u8>, Rewrapped) {
    let folder = bench.upload_folder(id);
    let meta = std::fs::read(folder.join("meta.age")).unwrap();
    let mut headers = Vec::new();
    for number in 0.. {
        let Ok(bytes) = std::fs::read(folder.join(format!("{number:04}.age"))) else {
            break;
        };
        let (_, size) = Header::parse(&bytes).unwrap().unwrap();
        headers.push(bytes[..size].to_vec());
    }
    let identities = [Bench::identity(), stranger(bench)];
    let to = identities[usize::from(to_stranger)].to_recipient().unwrap();
    let headers = full.then_some(&headers[..]);
    let new = rewrap_headers(&meta, headers, &id.parse().unwrap(), &identities, &[to]);
    (meta, new.map_err(|error| error.to_string()).unwrap())
}

fn request(server: &Server<'_>, id: &str, meta: &[u8], new: &Rewrapped) -> http::Request<Vec<u8>> {
    let count = new.segments.as_ref().map_or(0, Vec::len);
    server
        .as_admin(Method::PUT, &format!("/uploads/{id}/meta.age"))
        .header("if-match", meta_etag(&id.parse().unwrap(), meta))
        .header("content-type", REWRAPPED)
        .header("sealslot-headers", count.to_string())
        .body(new.to_bytes())
        .unwrap()
}

/// The answer of a server that may be killed at any time.
fn try_send(server: &Server<'_>, request: &http::Request<Vec<u8>>) -> std::io::Result<Answer> {
    let mut wire = server.try_wire()?;
    wire.try_send(head_of(request, server.address))?;
    wire.try_send(request.body())?;
    let answer = wire.try_answer(request.method());
    answer.map_err(|(error, _)| error)
}

/// With the stranger's key, without the server.
fn open_as_stranger(bench: &Bench, id: &str) -> Result<Vec<u8>, ReadError> {
    let folder = LocalFolder::open(&bench.upload_folder(id)).unwrap();
    let id: UploadId = id.parse().unwrap();
    let upload = OpenUpload::open(Box::new(folder), Some(&id), &[stranger(bench)])?;
    let mut content = Vec::new();
    Arc::new(upload).copy_to(|piece| {
        content.extend_from_slice(piece);
        Ok::<_, ReadError>(())
    })?;
    Ok(content)
}

fn upload(server: &Server<'_>, content: Vec<u8>) -> String {
    text(&server.put("/uploads/report.txt", content).receipt()["id"])
}

#[test]
fn an_upload_is_sealed_to_another_key_over_http() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--audit-log", "audit"]);
    let sent = content(300_000);
    for full in [false, true] {
        let id = upload(&server, sent.clone());
        let (meta, new) = made(&bench, &id, full, true);
        let listed = |field: &str| {
            let page = server.admin(Method::GET, "/uploads").is(200).json();
            let uploads = page["uploads"].as_array().unwrap().iter();
            let entry = uploads.clone().find(|upload| upload["id"] == id[..]);
            entry.unwrap()["meta"][field].clone()
        };
        assert_eq!(listed("name"), "meta.age");
        assert_eq!(listed("size"), meta.len());
        let before = listed("crc64nvme");
        let answer = server.send(request(&server, &id, &meta, &new)).is(204);
        let tag = meta_etag(&id.parse().unwrap(), &new.meta);
        assert_eq!(answer.header("etag"), tag);
        assert_eq!(open_as_stranger(&bench, &id).unwrap(), sent);
        let fetched = server
            .admin(Method::GET, &format!("/uploads/{id}/meta.age"))
            .is(200);
        assert!(fetched.body == new.meta);
        assert!(before.is_null() || listed("crc64nvme") != before);
        // The same once more: it was made from what is not there any more.
        server
            .send(request(&server, &id, &meta, &new))
            .refused(412, "precondition-failed");
        // The stock tool's way: by itself, with the key that it is sealed to now.
        let segment = bench.upload_folder(&id).join("0000.age");
        let (key, other) = if full {
            ("stranger", "key")
        } else {
            ("key", "stranger")
        };
        let segment = segment.to_str().unwrap();
        let opened = bench.run(&["open", "-i", key, "-o", "-", segment]).ok();
        assert!(opened == sent);
        bench
            .run(&["open", "-i", other, "-o", "-", segment])
            .failed(65);
        // That line is not waited for by the answer.
        wait_until("the line is written", || {
            let lines = String::from_utf8(bench.read("audit")).unwrap();
            let mut lines = lines.lines().filter(|line| line.contains("\"rewrapped\""));
            lines.any(|line| line.contains(&id))
        });
    }
    assert!(bench.names("data/staging").is_empty());
}

#[test]
fn what_does_not_fit_is_refused_with_a_code_and_nothing_changes() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = upload(&server, b"content".to_vec());
    let (meta, new) = made(&bench, &id, true, true);
    let with = |name: &'static str, value: &str| {
        let mut request = request(&server, &id, &meta, &new);
        request.headers_mut().insert(name, value.parse().unwrap());
        server.send(request)
    };
    let without = |name: &str| {
        let mut request = request(&server, &id, &meta, &new);
        request.headers_mut().remove(name);
        server.send(request)
    };
    without("if-match").refused(428, "precondition-required");
    with("if-match", "*").refused(428, "precondition-required");
    for tag in [
        "\"x\"",
        "W/\"x\"",
        "x",
        &format!("W/{}", meta_etag(&id.parse().unwrap(), &meta)),
    ] {
        with("if-match", tag).refused(412, "precondition-failed");
    }
    without("content-type").refused(415, "unsupported-media-type");
    with("content-type", "application/age").refused(415, "unsupported-media-type");
    for count in ["-1", "1.5", "?1", "10001", "x", ""] {
        with("sealslot-headers", count).refused(400, "malformed-header-count");
    }
    without("sealslot-headers").refused(422, "rewrap-refused");
    for count in ["0", "2"] {
        with("sealslot-headers", count).refused(422, "rewrap-refused");
    }
    let other = |change: &dyn Fn(&mut Rewrapped)| -> Answer {
        let (meta, mut new) = made(&bench, &id, true, true);
        change(&mut new);
        server.send(request(&server, &id, &meta, &new))
    };
    other(&|new| new.meta.clear()).refused(422, "rewrap-refused");
    other(&|new| new.segments = None).refused(422, "rewrap-refused");
    let nonce = other(&|new| *new.segments.as_mut().unwrap()[0].last_mut().unwrap() ^= 1);
    nonce.refused(422, "rewrap-refused");
    assert!(nonce.json()["detail"].as_str().unwrap().contains("nonce"));
    // No more than that is ever taken into memory, and it is said before it is sent.
    let answer = server
        .begin(
            "PUT",
            &format!("/uploads/{id}/meta.age"),
            &[
                &format!("Authorization: Bearer {}", server.token()),
                &format!("If-Match: {}", meta_etag(&id.parse().unwrap(), &meta)),
                &format!("Content-Type: {REWRAPPED}"),
                "Content-Length: 67108865",
            ],
        )
        .answer();
    answer.refused(413, "too-large");
    let unknown = "0".repeat(32);
    server
        .send(request(&server, &unknown, &meta, &new))
        .refused(404, "not-found");
    // A segment has no such request.
    let segment = server
        .as_admin(Method::PUT, &format!("/uploads/{id}/0000.age"))
        .body(Vec::new());
    let refused = server.send(segment.unwrap());
    refused.refused(405, "method-not-allowed");
    assert_eq!(refused.header("allow"), "GET, HEAD");
    // After all that it is as it was, and still takes what fits.
    assert_eq!(bench.open_stored(&id.clone().into()).content, b"content");
    server.send(request(&server, &id, &meta, &new)).is(204);
    assert_eq!(open_as_stranger(&bench, &id).unwrap(), b"content");
}

#[test]
fn a_server_that_is_killed_in_the_midst_leaves_the_old_or_the_new() {
    let bench = Bench::new();
    let sent = content(2_000_000);
    let mut ids = Vec::new();
    {
        let server = Server::sealing(&bench, &[]);
        for _ in 0..2 {
            ids.push(upload(&server, sent.clone()));
        }
    }
    let mut rewrapped = 0;
    for round in 0_u64..8 {
        let mut server = Server::sealing(&bench, &[]);
        let done = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let (server, bench, done) = (&server, &bench, &done);
            for id in &ids {
                scope.spawn(move || {
                    for turn in 0_u64.. {
                        let full = turn % 3 != 0;
                        let (meta, new) = made(bench, id, full, turn % 2 == 0);
                        let request = request(server, id, &meta, &new);
                        match try_send(server, &request) {
                            Ok(answer) => drop(answer.is(204)),
                            Err(_) => return,
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            wait_until("something is rewrapped", || {
                done.load(Ordering::Relaxed) > 1
            });
            std::thread::sleep(Duration::from_millis(round * 3));
            server.signal(Signal::KILL);
        });
        server.ended();
        rewrapped += done.load(Ordering::Relaxed);
        let server = Server::sealing(&bench, &[]);
        assert!(bench.names("data/staging").is_empty(), "swept");
        assert_eq!(server.listed().len(), 2);
        for id in &ids {
            let folder = LocalFolder::open(&bench.upload_folder(id)).unwrap();
            let keys = [Bench::identity(), stranger(&bench)];
            let parsed = id.parse().unwrap();
            let upload = OpenUpload::open(Box::new(folder), Some(&parsed), &keys)
                .unwrap_or_else(|error| panic!("{error}"));
            let mut opened = Vec::new();
            let copied = Arc::new(upload).copy_to(|piece| {
                opened.extend_from_slice(piece);
                Ok::<_, ReadError>(())
            });
            copied.unwrap();
            assert!(opened == sent);
            // And its record still tells what is there.
            for name in ["meta.age", "0000.age"] {
                server
                    .admin(Method::GET, &format!("/uploads/{id}/{name}"))
                    .is(200);
            }
        }
    }
    assert!(rewrapped >= 8);
}
