//! How long an upload is kept, who may take it back, and what is left of it.

use std::fs;
use std::time::{Duration, SystemTime};

use http::{Method, Request};
use serde_json::Value;

use crate::client::Answer;
use crate::program::Bench;
use crate::server::{Server, content, text, wait_until};

const KEEP: &str = "sealslot-keep";

impl Server<'_> {
    #[track_caller]
    fn put_kept(&self, seconds: &str) -> Answer {
        let request = Request::put("/uploads/kept").header(KEEP, seconds);
        self.send(request.body(content(1000)).unwrap())
    }

    /// An upload that comes in several requests, created and finished: its URL and its id.
    #[track_caller]
    fn resumed(&self, headers: &[(&str, &str)]) -> (String, String) {
        let mut create = Request::post("/uploads")
            .header("tus-resumable", "1.0.0")
            .header("upload-length", "4");
        for (name, value) in headers {
            create = create.header(*name, *value);
        }
        let created = self.send(create.body(Vec::new()).unwrap()).is(201);
        let url = created.header("location").to_owned();
        let patch = Request::patch(&url)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", "0")
            .header("content-type", "application/offset+octet-stream");
        let patched = self.send(patch.body(b"four".to_vec()).unwrap()).is(204);
        let location = patched.header("content-location");
        let id = location.strip_prefix("/uploads/").unwrap().to_owned();
        (url, id)
    }

    fn take_back(&self, url: &str) -> Answer {
        let request = Request::delete(url).header("tus-resumable", "1.0.0");
        self.send(request.body(Vec::new()).unwrap())
    }

    /// When a listed upload is to be deleted.
    #[track_caller]
    fn expires(&self, id: &str) -> Value {
        let list = self.admin(Method::GET, "/uploads").is(200).json();
        let mut all = list["uploads"].as_array().unwrap().iter();
        all.find(|upload| upload["id"] == id).unwrap()["expires"].clone()
    }
}

/// How long it is until a time that an answer tells.
#[track_caller]
fn until(time: &Value) -> Duration {
    let time = humantime::parse_rfc3339(&text(time)).unwrap();
    time.duration_since(SystemTime::now()).unwrap_or_default()
}

#[test]
fn the_shortest_time_holds_and_is_told() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--keep", "1h"]);
    let minutes = |time: &Value| until(time).as_secs().div_ceil(60);
    let receipt = server.put("/uploads/x", "hello").receipt();
    assert_eq!(minutes(&receipt["expires"]), 60);
    let receipt = server.put_kept("120").receipt();
    assert_eq!(minutes(&receipt["expires"]), 2);
    assert_eq!(server.expires(&text(&receipt["id"])), receipt["expires"]);
    let receipt = server.put_kept("315360000").receipt();
    assert_eq!(minutes(&receipt["expires"]), 60);
    let (url, id) = server.resumed(&[(KEEP, "180")]);
    assert_eq!(minutes(&server.expires(&id)), 3);
    let receipt = server.get(&url).is(200).json();
    assert_eq!(receipt["expires"], server.expires(&id));
    for malformed in ["0", "-1", "1h", "315360001", ""] {
        server.put_kept(malformed).refused(400, "malformed-keep");
    }
    // Without anybody's saying so, for ever.
    drop(server);
    let server = Server::sealing(&bench, &[]);
    let receipt = server.put("/uploads/x", "hello").receipt();
    assert!(receipt.get("expires").is_none());
}

#[test]
fn what_expires_is_deleted_also_by_the_next_run_of_the_server() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let stays = server.put("/uploads/x", "hello").receipt();
    let goes = text(&server.put_kept("1").receipt()["id"]);
    wait_until("it is deleted", || !server.listed().contains(&goes));
    let (_, later) = server.resumed(&[(KEEP, "10")]);
    // Killed before its time.
    drop(server);
    let folder = bench.upload_folder(&later);
    assert!(folder.exists());
    let manifest = bench.path("held");
    fs::hard_link(folder.join("meta.age"), &manifest).unwrap();
    let server = Server::sealing(&bench, &[]);
    wait_until("it is deleted", || !folder.exists());
    assert_eq!(server.listed(), [text(&stays["id"])]);
    wait_until("nothing is left of it", || {
        bench.names("data/staging").is_empty()
    });
    let left = fs::read(manifest).unwrap();
    assert!(!left.is_empty() && left.iter().all(|byte| *byte == 0));
}

#[test]
fn a_finished_upload_is_taken_back_within_the_time_for_it_and_not_after() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--withdraw-for", "1h"]);
    let (url, id) = server.resumed(&[]);
    server.take_back(&url).is(204);
    assert!(!server.listed().contains(&id) && !bench.upload_folder(&id).exists());
    server.take_back(&url).refused(404, "no-such-upload");
    drop(server);

    let server = Server::sealing(&bench, &["--withdraw-for", "1s"]);
    let (url, id) = server.resumed(&[]);
    std::thread::sleep(Duration::from_millis(1100));
    server.take_back(&url).refused(403, "withdrawal-over");
    assert!(server.listed().contains(&id));
    assert_eq!(server.get(&url).is(200).json()["id"], *id);
    // What is not finished can always be cancelled.
    let create = Request::post("/uploads").header("tus-resumable", "1.0.0");
    let create = create.header("upload-length", "4").body(Vec::new());
    let created = server.send(create.unwrap()).is(201);
    std::thread::sleep(Duration::from_millis(1100));
    server.take_back(created.header("location")).is(204);
}
