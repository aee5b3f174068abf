//! `sealslot pull` against the real server.

mod hostile;
mod interrupted;
mod lies;
mod sealed;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use http::{Method, Request};
use rustix::process::{Pid, Signal, kill_process};
use sealslot::seal::{Identity, x25519};
use sealslot::upload::rewrap_headers;
use serde_json::Value;

use crate::client::{Multipart, percent_encoded};
use crate::program::{Bench, Ran};
use crate::proxy::Proxy;
use crate::server::{Server, content, text, wait_until};

impl Bench {
    /// `sealslot pull --into in` with the bench's key, from a server at this address.
    pub(super) fn pull_from(&self, address: SocketAddr, args: &[&str]) -> Command {
        self.bare_pull(address, &[&["-i", "key"], args].concat())
    }

    fn bare_pull(&self, address: SocketAddr, args: &[&str]) -> Command {
        let url = format!("https://{address}/");
        let fixed = ["pull", "--cacert", "certs/ca.pem", "--into", "in", &url];
        let mut command = self.command([&fixed[..], args].concat());
        command.env("SEALSLOT_TOKEN_FILE", self.path("data/admin.token"));
        command
    }

    #[track_caller]
    pub(super) fn pull(&self, server: &Server<'_>, args: &[&str]) -> Ran {
        Ran::of(self.pull_from(server.address, args))
    }

    /// Every file below `in` but those of `pull` itself, by its path.
    fn pulled(&self) -> BTreeMap<String, Vec<u8>> {
        let into = self.path("in");
        let own = into.join(".sealslot");
        let files = self.files().into_iter();
        let ours = files.filter(|(path, _)| path.starts_with(&into) && !path.starts_with(&own));
        let below = |path: PathBuf| {
            path.strip_prefix(&into)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        ours.map(|(path, contents)| (below(path), contents))
            .collect()
    }

    fn receipt_of(&self, id: &str) -> Value {
        let path = format!("in/.sealslot/receipts/{id}.json");
        serde_json::from_slice(&self.read(path)).unwrap()
    }

    /// What `pull` keeps of the server's uploads that are not complete.
    fn partial(&self, server: &Server<'_>) -> PathBuf {
        let address = server.address.to_string().replace(':', "_");
        self.path(format!("in/.sealslot/{address}.opened/partial"))
    }
}

fn lines(stdout: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = String::from_utf8(stdout.to_vec())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

fn put(server: &Server<'_>, name: &str, content: &[u8]) -> String {
    let name = percent_encoded(name.as_bytes());
    let receipt = server.put(&format!("/uploads/{name}"), content).receipt();
    text(&receipt["id"])
}

/// A running pull; killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// The same, with its stderr in a file of the bench.
    fn start_saying(mut command: Command, said: &Path) -> Self {
        command
            .stdout(Stdio::null())
            .stderr(File::create(said).unwrap());
        Self(command.spawn().unwrap())
    }

    /// Its exit code.
    fn ended_with(mut self) -> Option<i32> {
        wait_until("pull ends", || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap().code()
    }

    /// Its exit code, and what it said on stderr.
    fn ended(mut self) -> (Option<i32>, String) {
        wait_until("pull ends", || self.0.try_wait().unwrap().is_some());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.0.stderr.take().unwrap(), &mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_has_arrived_is_fetched_once() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let large = content(3_000_000);
    let a = put(&server, "a.txt", b"first");
    put(&server, "empty", b"");
    put(&server, "large.bin", &large);
    let form =
        Multipart::new()
            .text("who", "me")
            .file("photos/2026/a.jpg", "image/jpeg", "picture");
    server.post_form(form).is(201);
    let printed = lines(&bench.pull(&server, &[]).ok());
    let pulled = bench.pulled();
    assert_eq!(pulled.len(), 5);
    assert_eq!(pulled["a.txt"], b"first");
    assert_eq!(pulled["empty"], b"");
    assert!(pulled["large.bin"] == large);
    assert_eq!(pulled["photos/2026/a.jpg"], b"picture");
    let fields = pulled
        .keys()
        .find(|name| name.starts_with("fields-"))
        .unwrap();
    let value: Value = serde_json::from_slice(&pulled[fields]).unwrap();
    assert_eq!(value["fields"][0]["value"], "me");
    let paths: Vec<_> = pulled.keys().map(|path| format!("in/{path}")).collect();
    assert_eq!(printed, paths);
    let receipt = bench.receipt_of(&a);
    assert_eq!(receipt["path"], "a.txt");
    assert_eq!(receipt["name"], "a.txt");
    assert_eq!(receipt["size"], 5);
    assert_eq!(receipt["content"]["sha256"], receipt["sha256"]);
    assert_eq!(receipt["server"], server.address.to_string());
    assert_eq!(receipt["files"][0]["name"], "0000.age");
    for time in ["received", "fetched"] {
        assert!(text(&receipt[time]).ends_with('Z'));
    }
    // Known by what it is, wherever it went.
    fs::remove_file(bench.path("in/a.txt")).unwrap();
    fs::rename(bench.path("in/empty"), bench.path("in/full")).unwrap();
    assert!(bench.pull(&server, &[]).ok().is_empty());
    assert!(!bench.path("in/a.txt").exists());
    let again = bench.pull(&server, &["--again", &a]).ok();
    assert_eq!(again, b"in/a.txt\n");
    assert!(bench.pull(&server, &[]).ok().is_empty());
    assert_eq!(bench.names("in/.sealslot/receipts").len(), 5);
    assert!(
        fs::read_dir(bench.partial(&server))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn only_its_owner_can_read_what_is_fetched() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    put(&server, "d/a.txt", b"first");
    bench.pull(&server, &[]).ok();
    let mode = |path: &str| bench.path(path).symlink_metadata().unwrap().mode() & 0o777;
    let own = format!(
        "in/.sealslot/{}.opened",
        server.address.to_string().replace(':', "_")
    );
    for folder in ["in/.sealslot", "in/.sealslot/receipts", &own] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    let ledger = format!("{own}/ledger.jsonl");
    let name = lines(&bench.pull(&server, &["--json"]).ok());
    assert!(name.is_empty());
    assert_eq!(mode(&ledger), 0o600);
    for path in bench.pulled().keys() {
        assert_eq!(mode(&format!("in/{path}")), 0o600, "{path}");
    }
}

#[test]
fn several_of_one_name_are_told_apart_and_nothing_is_replaced() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    fs::create_dir(bench.path("in")).unwrap();
    bench.write("in/a.txt", "mine");
    for number in 0..8 {
        put(&server, "a.txt", format!("{number}").as_bytes());
    }
    bench.pull(&server, &["--parallel", "8"]).ok();
    let pulled = bench.pulled();
    assert_eq!(pulled["a.txt"], b"mine");
    let mut contents: Vec<_> = pulled.values().cloned().collect();
    contents.sort();
    let expected: Vec<_> = (0..8)
        .map(|number| format!("{number}").into_bytes())
        .collect();
    assert_eq!(contents[..8], expected);
    for number in 2..10 {
        assert!(
            pulled.contains_key(&format!("a ({number}).txt")),
            "{number}"
        );
    }
}

#[test]
fn what_does_not_open_is_told_once_and_keeps_nobody_from_the_others() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = put(&server, "a.txt", b"first");
    let ran = Ran::of(bench.bare_pull(server.address, &["-i", "stranger"]));
    let said = ran.failed(65);
    assert!(
        said.contains(&id) && said.contains("no identity matches"),
        "{said}"
    );
    assert!(
        Ran::of(bench.bare_pull(server.address, &["-i", "stranger"]))
            .ok()
            .is_empty()
    );
    assert!(bench.pulled().is_empty());
    // Other keys are another matter.
    assert_eq!(bench.pull(&server, &[]).ok(), b"in/a.txt\n");
    let said = Ran::of(bench.bare_pull(server.address, &[])).failed(64);
    assert!(said.contains("--sealed"), "{said}");
}

#[test]
fn what_was_sealed_anew_is_tried_again() {
    let bench = Bench::new();
    let stranger = bench.read("stranger");
    let stranger: x25519::Identity = std::str::from_utf8(&stranger)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let recipient = stranger.to_recipient().to_string();
    let server = Server::start(&bench, &["--recipient", &recipient], &[]);
    let id = put(&server, "a.txt", b"first");
    bench.pull(&server, &[]).failed(65);
    assert!(bench.pull(&server, &[]).ok().is_empty());
    // As `rewrap` leaves it: another file, in place of the old one.
    let path = bench.upload_folder(&id).join("meta.age");
    let old = fs::read(&path).unwrap();
    let identities = [Identity::X25519(stranger)];
    let new = rewrap_headers(
        &old,
        None,
        &id.parse().unwrap(),
        &identities,
        &[Bench::recipient()],
    );
    fs::remove_file(&path).unwrap();
    fs::write(&path, new.unwrap().meta).unwrap();
    assert_eq!(bench.pull(&server, &[]).ok(), b"in/a.txt\n");
}

#[test]
fn what_is_damaged_has_no_file() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let damaged = put(&server, "damaged.bin", &content(300_000));
    put(&server, "whole.bin", b"whole");
    let segment = bench.upload_folder(&damaged).join("0000.age");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = bench.pull(&server, &[]);
    assert_eq!(
        (ran.code(), ran.stdout()),
        (Some(65), &b"in/whole.bin\n"[..])
    );
    assert!(ran.stderr().contains(&damaged), "{}", ran.stderr());
    assert_eq!(bench.pulled().len(), 1);
    assert!(
        fs::read_dir(bench.partial(&server))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn what_was_fetched_is_removed_on_the_server_where_that_is_asked_for() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    put(&server, "before.txt", b"before");
    bench.pull(&server, &[]).ok();
    put(&server, "after.txt", b"after");
    assert_eq!(bench.pull(&server, &["--delete"]).ok(), b"in/after.txt\n");
    assert!(server.listed().is_empty());
    assert_eq!(bench.pulled().len(), 2);
    assert!(bench.pull(&server, &["--delete"]).ok().is_empty());
}

#[test]
fn a_token_that_may_not_delete_is_told_and_nothing_is_fetched_twice() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = put(&server, "a.txt", b"first");
    let made = bench.run(&["token", "create", "reader", "--scope", "read"]);
    let token = String::from_utf8(made.ok()).unwrap();
    bench.write_private("reader.token", token.trim());
    let pull = |args: &[&str]| {
        let mut command = bench.pull_from(server.address, args);
        command.env("SEALSLOT_TOKEN_FILE", bench.path("reader.token"));
        Ran::of(command)
    };
    let ran = pull(&["--delete"]);
    assert_eq!((ran.code(), ran.stdout()), (Some(77), &b"in/a.txt\n"[..]));
    assert!(ran.stderr().contains("admin"), "{}", ran.stderr());
    let said = pull(&["--delete"]).failed(77);
    assert!(said.contains("not fetched again"), "{said}");
    assert!(pull(&[]).ok().is_empty());
    assert_eq!(server.listed(), [id]);
    let said = {
        let mut command = bench.pull_from(server.address, &[]);
        command.env_remove("SEALSLOT_TOKEN_FILE");
        Ran::of(command).failed(77)
    };
    assert!(said.contains("token"), "{said}");
}

#[test]
fn filters_choose() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let request = server.as_admin(Method::POST, "/links");
    let request = request.header("content-type", "application/json");
    let link = server.send(request.body(br#"{"label":"x"}"#.to_vec()).unwrap());
    let link = link.is(201).json();
    put(&server, "direct.txt", b"direct");
    let path = format!("{}/linked.txt", text(&link["link"]));
    server
        .send(Request::put(path).body(b"linked".to_vec()).unwrap())
        .is(201);
    assert!(bench.pull(&server, &["--until", "1h"]).ok().is_empty());
    assert!(
        bench
            .pull(&server, &["--since", "2999-01-01"])
            .ok()
            .is_empty()
    );
    let id = text(&link["id"]);
    let pulled = bench.pull(&server, &["--link", &id, "--json"]).ok();
    let receipt: Value = serde_json::from_slice(&pulled).unwrap();
    assert_eq!(
        (&receipt["path"], &receipt["link"]),
        (&"linked.txt".into(), &link["id"])
    );
    assert_eq!(
        bench.pull(&server, &["--since", "1h"]).ok(),
        b"in/direct.txt\n"
    );
}

#[test]
fn two_pulls_do_not_share_a_folder() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let first = Running::start(bench.pull_from(server.address, &["--watch"]));
    wait_until("it is at work", || bench.partial(&server).exists());
    let said = bench.pull(&server, &[]).failed(75);
    assert!(said.contains("another pull"), "{said}");
    first.signal(Signal::TERM);
    assert_eq!(first.ended().0, Some(0));
    assert!(bench.pull(&server, &[]).ok().is_empty());
}

#[test]
fn watching_sees_what_comes_and_survives_a_restart_of_the_server() {
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &[]);
    // It keeps its port, which the server could find taken when it comes back.
    let proxy = Proxy::before(server.address, &[]);
    let log = bench.path("pull.log");
    let pull = bench.pull_from(proxy.address, &["--watch=100ms"]);
    let watching = Running::start_saying(pull, &log);
    put(&server, "a.txt", b"first");
    wait_until("the first comes", || bench.path("in/a.txt").exists());
    proxy.lose_server();
    server.signal(Signal::KILL);
    server.ended();
    let said = || fs::read_to_string(&log).unwrap();
    wait_until("the server is missed", || said().ends_with('\n'));
    let server = Server::sealing(&bench, &[]);
    proxy.release_to(server.address);
    put(&server, "b.txt", b"second");
    wait_until("the second comes", || bench.path("in/b.txt").exists());
    watching.signal(Signal::INT);
    let (code, said) = (watching.ended_with(), said());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("the server is lost") && said.contains("the server is back"),
        "{said}"
    );
}

#[test]
fn an_upload_that_took_long_is_seen_among_older_ones() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let mut slow = server.begin_admitted("/uploads/slow.txt", &["Content-Length: 4"]);
    let watching = Running::start(bench.pull_from(server.address, &["--watch=100ms"]));
    put(&server, "quick.txt", b"quick");
    wait_until("the quick one comes", || {
        bench.path("in/quick.txt").exists()
    });
    slow.send("slow");
    slow.answer().is(201);
    wait_until("the slow one comes", || bench.path("in/slow.txt").exists());
    watching.signal(Signal::TERM);
    assert_eq!(watching.ended().0, Some(0));
}

#[test]
fn what_a_sender_had_sealed_is_opened_too() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    bench.write("plain", content(200_000));
    let recipient = Bench::recipient_text();
    bench
        .run(&["seal", "-r", &recipient, "plain", "-o", "plain.age"])
        .ok();
    let request = Request::put("/uploads/report.pdf.age").header("content-type", "application/age");
    let id = server
        .send(request.body(bench.read("plain.age")).unwrap())
        .receipt();
    bench.pull(&server, &[]).ok();
    assert!(bench.pulled()["report.pdf"] == content(200_000));
    let receipt = bench.receipt_of(&text(&id["id"]));
    assert_eq!(receipt["size"], bench.read("plain.age").len());
    assert_eq!(receipt["content"]["size"], 200_000);
    assert_eq!(receipt["name"], "report.pdf.age");
}
