//! `sealslot rewrap` against the real server and on a data folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::program::{Bench, Ran};
use crate::server::{Server, content};

impl Bench {
    fn rewrap(&self, server: Option<&Server<'_>>, args: &[&str]) -> Ran {
        self.at_place("rewrap", server, args)
    }

    /// What it counts in the end, without what is 0.
    #[track_caller]
    fn rewrapped(&self, server: Option<&Server<'_>>, args: &[&str], code: i32) -> Value {
        let ran = self.rewrap(server, &[&["--json"], args].concat());
        assert_eq!(ran.code(), Some(code), "{}", ran.stderr());
        let last = ran.stdout().trim_ascii_end().rsplit(|b| *b == b'\n').next();
        let mut summary: Value = serde_json::from_slice(last.unwrap()).unwrap();
        let counts = summary.as_object_mut().unwrap();
        counts.retain(|key, value| key != "seconds" && *value != 0);
        summary
    }

    fn opens(&self, path: &Path, key: &str) -> bool {
        let ran = self.run(&[
            "open",
            "--force",
            "-i",
            key,
            "-o",
            "opened",
            path.to_str().unwrap(),
        ]);
        ran.code() == Some(0)
    }
}

fn upload(server: &Server<'_>, size: usize) -> PathBuf {
    let receipt = server.put("/uploads/a.bin", content(size)).receipt();
    server.bench.upload_folder(receipt["id"].as_str().unwrap())
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn other_keys_open_what_is_stored_and_the_old_one_does_not() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let paths: Vec<_> = [0, 1, 200_000]
        .iter()
        .map(|size| upload(&server, *size))
        .collect();
    let before: Vec<_> = paths.iter().map(|path| files(path)).collect();
    let new = bench.stranger();
    let words = ["-i", "key", "-r", &new];
    let unconfirmed = bench.rewrap(Some(&server), &words);
    assert_eq!(unconfirmed.code(), Some(64));
    assert!(unconfirmed.stderr().contains("--yes"));
    let dry = [&words[..], &["--dry-run"]].concat();
    assert_eq!(
        bench.rewrapped(Some(&server), &dry, 0),
        json!({"uploads": 3, "rewrapped": 3})
    );
    assert!(
        paths
            .iter()
            .zip(&before)
            .all(|(path, before)| files(path) == *before)
    );

    let sure = [&words[..], &["--yes"]].concat();
    assert_eq!(
        bench.rewrapped(Some(&server), &sure, 0),
        json!({"uploads": 3, "rewrapped": 3})
    );
    for (path, before) in paths.iter().zip(&before) {
        assert!(!bench.opens(path, "key") && bench.opens(path, "stranger"));
        let after = files(path);
        // The manifest is sealed anew, and no segment has changed.
        assert_ne!(after.last(), before.last());
        assert_eq!(after[..after.len() - 1], before[..before.len() - 1]);
    }
    let segment = paths[2].join("0000.age");
    assert!(bench.opens(&segment, "key"));
    // Whose they are now, the new private key tells.
    assert_eq!(
        bench.rewrapped(Some(&server), &sure, 65),
        json!({"uploads": 3, "unopened": 3})
    );
    let both = ["-i", "key", "-i", "stranger", "-r", &new];
    assert_eq!(
        bench.rewrapped(Some(&server), &both, 0),
        json!({"uploads": 3, "already": 3})
    );

    let full = [&both[..], &["--full"]].concat();
    assert_eq!(
        bench.rewrapped(Some(&server), &full, 0),
        json!({"uploads": 3, "rewrapped": 2, "already": 1})
    );
    assert!(!bench.opens(&segment, "key") && bench.opens(&segment, "stranger"));
    assert_eq!(
        bench.rewrapped(Some(&server), &full, 0),
        json!({"uploads": 3, "already": 3})
    );
    for path in &paths {
        assert!(!bench.opens(path, "key") && bench.opens(path, "stranger"));
    }
    bench
        .run(&["verify", "--data", "data", "-i", "stranger"])
        .ok();
}

#[test]
fn a_folder_is_rewrapped_where_no_server_is_at_work_in_it() {
    let bench = Bench::new();
    bench
        .run(&["keygen", "-o", "new.pem", "--bits", "2048"])
        .ok();
    let words = ["-i", "key", "-r", "new.pem.pub", "--yes"];
    // Nothing is made for a folder that is not there.
    bench.rewrap(None, &words).failed(1);
    assert!(!bench.path("data").exists());

    let server = Server::sealing(&bench, &[]);
    let (one, other) = (upload(&server, 10), upload(&server, 200_000));
    let said = bench.rewrap(None, &words).failed(1);
    assert!(said.contains("URL"), "{said}");
    drop(server);
    let id = one.file_name().unwrap().to_str().unwrap();
    let only = [&words[..], &[id]].concat();
    assert_eq!(
        bench.rewrapped(None, &only, 0),
        json!({"uploads": 1, "rewrapped": 1})
    );
    assert!(bench.opens(&one, "new.pem") && bench.opens(&other, "key"));
    let full = [&words[..], &["--full"]].concat();
    // That one has the new key in its manifest, and so the old one does not open it any more.
    assert_eq!(
        bench.rewrapped(None, &full, 65),
        json!({"uploads": 2, "rewrapped": 1, "unopened": 1})
    );
    let both = [&full[..], &["-i", "new.pem"]].concat();
    assert_eq!(
        bench.rewrapped(None, &both, 0),
        json!({"uploads": 2, "rewrapped": 1, "already": 1})
    );
    for path in [&one, &other] {
        assert!(bench.opens(path, "new.pem") && !bench.opens(path, "key"));
        assert!(!bench.opens(&path.join("0000.age"), "key"));
    }
    // An ssh-rsa stanza names its key: whose it is, is seen without any.
    assert_eq!(
        bench.rewrapped(None, &words, 0),
        json!({"uploads": 2, "already": 2})
    );
    let unknown = [&words[..], &["06f1c8v5g8p2kq3m7t9d4n6r2s5u1v0g"]].concat();
    assert_eq!(
        bench.rewrapped(None, &unknown, 0),
        json!({"uploads": 1, "gone": 1})
    );
    bench
        .rewrap(None, &[&words[..], &["x"]].concat())
        .failed(64);
}

#[test]
fn what_the_keys_do_not_open_and_what_is_damaged_is_left_as_it_is() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let (fine, damaged) = (upload(&server, 10), upload(&server, 10));
    let new = bench.stranger();
    let url = format!("https://{}/", server.address);
    let mut link = bench.command([
        "link",
        "create",
        "--cacert",
        "certs/ca.pem",
        "-r",
        &new,
        &url,
    ]);
    link.env("SEALSLOT_TOKEN_FILE", bench.path("data/admin.token"));
    let link = String::from_utf8(Ran::of(link).ok()).unwrap();
    let page = link.trim().strip_prefix(url.trim_end_matches('/')).unwrap();
    let receipt = server
        .put(&format!("{page}/own.bin"), content(10))
        .receipt();
    let own = server.bench.upload_folder(receipt["id"].as_str().unwrap());
    let meta = damaged.join("meta.age");
    let mut bytes = fs::read(&meta).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&meta, &bytes).unwrap();
    let before = (files(&own), files(&damaged));

    bench
        .run(&["keygen", "-o", "new.pem", "--bits", "2048"])
        .ok();
    let words = ["-i", "key", "-r", "new.pem.pub", "--yes"];
    assert_eq!(
        bench.rewrapped(Some(&server), &words, 65),
        json!({"uploads": 3, "rewrapped": 1, "unopened": 1, "refused": 1})
    );
    assert!(bench.opens(&fine, "new.pem"));
    assert_eq!((files(&own), files(&damaged)), before);
    let ran = bench.rewrap(Some(&server), &words);
    let said = ran.stderr();
    for path in [&own, &damaged] {
        let id = path.file_name().unwrap().to_str().unwrap();
        assert!(said.contains(&format!("{id}: left as it is: ")), "{said}");
    }
    let of_link = receipt_link(&own);
    let filtered = [&words[..], &["--link", &of_link]].concat();
    assert_eq!(
        bench.rewrapped(Some(&server), &filtered, 65),
        json!({"uploads": 1, "unopened": 1})
    );
}

/// The link that the record of an upload names.
fn receipt_link(folder: &Path) -> String {
    let meta = fs::read(folder.join("meta.age")).unwrap();
    let (header, _) = sealslot::seal::Header::parse(&meta).unwrap().unwrap();
    let record = sealslot::upload::Record::in_header(&header).unwrap();
    record.link.unwrap()
}

#[test]
fn keys_that_make_no_sense_together_are_refused_before_anything_is_asked() {
    let bench = Bench::new();
    let nowhere = "https://127.0.0.1:1/";
    let none = ["rewrap", "-i", "key", nowhere];
    bench.run(&none).failed(64);
    let private = ["rewrap", "-i", "key", "-r", "key", "--yes", nowhere];
    bench.run(&private).failed(1);
    let new = bench.stranger();
    let nothing = ["rewrap", "-i", "key", "-r", &new, "--yes"];
    bench.run(&nothing).failed(64);
}
