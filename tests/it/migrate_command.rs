//! `sealslot migrate` between data folders, and where there is one, a bucket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::{Method, Request};
use rustix::process::{Pid, Signal, kill_process};
use sealslot::store::{LocalReader, Shelf};
use serde_json::Value;

use crate::program::{Bench, Ran};
use crate::server::{Server, content, text};
use crate::store::{bucket_at, new_bucket};

impl Bench {
    fn migrate(&self, from: &str, to: &str, args: &[&str]) -> Ran {
        self.run(&[&["migrate", "--from", from, "--to", to], args].concat())
    }

    /// What it counts in the end, without what is 0.
    #[track_caller]
    fn migrated(&self, from: &str, to: &str, args: &[&str], code: i32) -> Value {
        let ran = self.migrate(from, to, &[&["--json"], args].concat());
        assert_eq!(ran.code(), Some(code), "{}", ran.stderr());
        let last = ran.stdout().trim_ascii_end().rsplit(|b| *b == b'\n').next();
        let mut summary: Value = serde_json::from_slice(last.unwrap()).unwrap();
        let counts = summary.as_object_mut().unwrap();
        counts.retain(|key, value| !["seconds", "bytes"].contains(&&key[..]) && *value != 0);
        summary
    }
}

/// Starts a server in the folder of data, wherever others would have theirs.
fn server_in<'a>(bench: &'a Bench, data: &str, args: &[&str]) -> Server<'a> {
    let mut command = bench.command(["serve"]);
    command.env_remove("SEALSLOT_STORE").args(["--data", data]);
    let recipient = Bench::recipient_text();
    let args = [&["--recipient", &recipient], args].concat();
    Server::start_command(bench, command, &args, &[])
}

/// Uploads of several sizes, a link, and one that is not finished. Gives the ids.
fn filled(server: &Server<'_>) -> Vec<String> {
    let sizes = [0, 1, 100_000, 3_000_000];
    let ids: Vec<_> = sizes
        .iter()
        .map(|size| text(&server.put("/uploads/a.bin", content(*size)).receipt()["id"]))
        .collect();
    let link = server
        .as_admin(Method::POST, "/links")
        .header("content-type", "application/json");
    server.send(link.body(b"{}".to_vec()).unwrap()).is(201);
    let unfinished = Request::post("/uploads")
        .header("tus-resumable", "1.0.0")
        .header("upload-length", "10");
    server.send(unfinished.body(Vec::new()).unwrap()).is(201);
    ids
}

/// The sealed files below a data folder, by their places.
fn sealed(bench: &Bench, data: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = bench.path(data).join("uploads");
    let mut files: Vec<_> = bench
        .files()
        .into_iter()
        .filter_map(|(path, bytes)| Some((path.strip_prefix(&root).ok()?.to_owned(), bytes)))
        .collect();
    files.sort();
    files
}

fn count(of: &[(&str, u64)]) -> Value {
    of.iter()
        .map(|(key, number)| ((*key).to_owned(), Value::from(*number)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn what_a_server_keeps_is_the_same_elsewhere() {
    let bench = Bench::new();
    let server = server_in(&bench, "data", &[]);
    let ids = filled(&server);
    bench
        .run_apart(&["token", "create", "ci", "--data", "data"])
        .ok();
    let all = [
        ("uploads", 4),
        ("copied", 4),
        ("records", 2),
        ("unfinished", 1),
    ];
    assert_eq!(bench.migrated("data", "other", &[], 0), count(&all));
    assert_eq!(sealed(&bench, "other"), sealed(&bench, "data"));
    let again = [("uploads", 4), ("already", 4), ("unfinished", 1)];
    assert_eq!(bench.migrated("data", "other", &[], 0), count(&again));

    // Somebody uses the link, and another link is made.
    let one_more = text(&server.put("/uploads/b.bin", content(1)).receipt()["id"]);
    let said = String::from_utf8(bench.migrate("data", "other", &[]).ok()).unwrap();
    assert!(
        said.contains("1 of 5 uploads copied") && said.contains("1 unfinished"),
        "{said}"
    );
    drop(server);

    let token = String::from_utf8(bench.read("data/admin.token")).unwrap();
    bench.write_private("other/admin.token", token.trim_end());
    let other = server_in(&bench, "other", &[]);
    let listed = other.listed();
    assert_eq!(listed.len(), 5);
    assert!(listed.contains(&one_more) && ids.iter().all(|id| listed.contains(id)));
    let links = other.admin(Method::GET, "/links").is(200).json();
    assert_eq!(links["links"].as_array().unwrap().len(), 1);
    let verified = bench.run_apart(&["verify", "--data", "other", "-i", "key"]);
    assert_eq!(verified.code(), Some(0), "{}", verified.stderr());
}

#[test]
fn what_is_deleted_where_it_was_is_whole_elsewhere() {
    let bench = Bench::new();
    let server = server_in(&bench, "data", &[]);
    filled(&server);
    let before = sealed(&bench, "data");
    let refused = bench.migrate("data", "other", &["--delete"]).failed(1);
    assert!(refused.contains("a server is at work"), "{refused}");
    drop(server);
    assert_eq!(sealed(&bench, "data"), before);

    bench.migrated("data", "other", &[], 0);
    let moved = [
        ("uploads", 4),
        ("already", 4),
        ("deleted", 4),
        ("unfinished", 1),
    ];
    assert_eq!(
        bench.migrated("data", "other", &["--delete"], 0),
        count(&moved)
    );
    assert_eq!(sealed(&bench, "other"), before);
    assert!(sealed(&bench, "data").is_empty());
    // What is unfinished there may have come through a link.
    assert_eq!(bench.names("data/records/links").len(), 1);
    let none = [("unfinished", 1)];
    assert_eq!(
        bench.migrated("data", "other", &["--delete"], 0),
        count(&none)
    );
    // And back, with everything.
    let back = [("uploads", 4), ("copied", 4), ("deleted", 4)];
    assert_eq!(
        bench.migrated("other", "data", &["--delete"], 0),
        count(&back)
    );
    assert_eq!(sealed(&bench, "data"), before);
    assert!(bench.names("other/records/links").is_empty());
}

#[test]
fn what_differs_or_is_damaged_is_named_and_the_rest_is_copied() {
    let bench = Bench::new();
    let ids = filled(&server_in(&bench, "data", &[]));
    let file = |data: &str, id: &str, name: &str| {
        let files = bench.files();
        let end = Path::new(id).join(name);
        let root = bench.path(data);
        let mut named = files.into_iter().map(|(path, _)| path);
        named
            .find(|path| path.starts_with(&root) && path.ends_with(&end))
            .unwrap()
    };
    let append = |path: PathBuf| {
        let bytes = [&fs::read(&path).unwrap()[..], b"x"].concat();
        fs::write(path, bytes).unwrap();
    };
    append(file("data", &ids[2], "0000.age"));
    bench.migrated("data", "other", &[], 65);
    append(file("other", &ids[3], "0000.age"));
    let link = bench.names("other/records/links").remove(0);
    append(bench.path("other/records/links").join(&link));

    let ran = bench.migrate("data", "other", &[]);
    assert_eq!(ran.code(), Some(65));
    let said = ran.stderr();
    for line in [
        format!(
            "{}: not copied: 0000.age is another one at the target",
            ids[3]
        ),
        format!("{}: not copied: it is damaged: 0000.age: size", ids[2]),
        format!("link {link}: not copied: it differs"),
    ] {
        assert!(said.contains(&line), "{said}");
    }
    let found = [
        ("uploads", 4),
        ("already", 2),
        ("differs", 1),
        ("damaged", 1),
        ("records_differ", 1),
        ("unfinished", 1),
    ];
    assert_eq!(bench.migrated("data", "other", &[], 65), count(&found));
    let found = [
        ("uploads", 4),
        ("already", 2),
        ("differs", 1),
        ("damaged", 1),
        ("records", 1),
        ("unfinished", 1),
    ];
    assert_eq!(
        bench.migrated("data", "other", &["--replace-records"], 65),
        count(&found)
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_makes_nothing() {
    let bench = Bench::new();
    let server = server_in(&bench, "data", &[]);
    for (from, to, code, says) in [
        ("data", "./data", 64, "the same place"),
        ("s3://a-bucket/x", "s3://a-bucket/x", 64, "the same place"),
        ("data", "https://127.0.0.1/", 64, "s3://"),
        ("data", "s3://A/x", 64, "bucket"),
        ("nothing", "other", 1, "nothing"),
    ] {
        let line = bench.migrate(from, to, &[]).failed(code);
        assert!(line.contains(says), "{line}");
        assert!(!bench.path("other").exists() && !bench.path("nothing").exists());
    }
    // Into the folder of a server at work.
    fs::create_dir_all(bench.path("other/uploads")).unwrap();
    let line = bench.migrate("other", "data", &[]).failed(1);
    assert!(
        line.contains("a server is at work in") && line.contains("stop it first"),
        "{line}"
    );
    server.get("/healthz").is(200);
}

#[test]
fn killed_at_any_time_it_leaves_whole_uploads_and_goes_on() {
    let bench = Bench::new();
    let mut ids = Vec::new();
    let server = server_in(&bench, "data", &[]);
    for size in 0..12 {
        ids.push(text(
            &server
                .put("/uploads/a.bin", content(size * 90_000))
                .receipt()["id"],
        ));
    }
    ids.sort();
    drop(server);
    for round in 0..6 {
        let mut command = bench.command(["migrate", "--from", "data", "--to", "other"]);
        command.args(["--rate", "8MiB"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 * (round + 1)));
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
        if !bench.path("other/uploads").exists() {
            continue;
        }
        let reader = LocalReader::open(&bench.path("other")).unwrap();
        let there = reader.ids(None, 100).unwrap();
        assert!(there.iter().all(|id| ids.contains(&id.to_string())));
        let verified = bench.run_apart(&["verify", "--data", "other"]);
        assert_eq!(verified.code(), Some(0), "{}", verified.stderr());
    }
    bench.migrate("data", "other", &[]).ok();
    assert_eq!(sealed(&bench, "other"), sealed(&bench, "data"));
    assert!(bench.names("other/staging").is_empty());
}

#[test]
#[ignore = "needs an S3-compatible engine: tests/e2e/bucket_tests runs it"]
fn into_a_bucket_and_back_nothing_changes() {
    let bench = Bench::new();
    let server = server_in(&bench, "data", &[]);
    let mut ids = filled(&server);
    ids.sort();
    drop(server);
    let before = sealed(&bench, "data");
    let url = new_bucket().unwrap();
    let all = [
        ("uploads", 4),
        ("copied", 4),
        ("records", 1),
        ("unfinished", 1),
    ];
    assert_eq!(bench.migrated("data", &url, &[], 0), count(&all));
    let again = [("uploads", 4), ("already", 4), ("unfinished", 1)];
    assert_eq!(bench.migrated("data", &url, &[], 0), count(&again));
    let bucket = bucket_at(&url);
    let there: Vec<_> = bucket.ids(None, 100).unwrap();
    assert_eq!(
        there.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ids
    );
    let verified = bench.run(&["verify", "--store", &url, "-i", "key"]);
    assert_eq!(verified.code(), Some(0), "{}", verified.stderr());

    let moved = [
        ("uploads", 4),
        ("copied", 4),
        ("deleted", 4),
        ("records", 1),
    ];
    assert_eq!(
        bench.migrated(&url, "back", &["--delete"], 0),
        count(&moved)
    );
    assert_eq!(sealed(&bench, "back"), before);
    assert!(bucket.ids(None, 100).unwrap().is_empty());
}
