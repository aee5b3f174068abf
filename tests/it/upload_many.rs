//! `sealslot upload` with folders, patterns and several files, as one submission.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Bench, Ran};
use crate::proxy::{Proxy, Stop};
use crate::server::{Server, content, text, wait_until};
use crate::upload_command::receipts;

impl Bench {
    /// A folder with so many files of this size, some of them in folders of their own.
    fn tree(&self, name: &str, files: usize, size: usize) {
        for file in 0..files {
            let folder = self.path(format!("{name}/sub-{}", file % 7));
            fs::create_dir_all(&folder).unwrap();
            let mut bytes = content(size);
            bytes.extend_from_slice(&file.to_be_bytes());
            fs::write(folder.join(format!("file-{file:04}")), bytes).unwrap();
        }
    }
}

fn submissions(receipts: &[Value]) -> BTreeSet<String> {
    let of = |receipt: &Value| text(&receipt["submission"]);
    receipts.iter().map(of).collect()
}

fn names(receipts: &[Value]) -> Vec<String> {
    let mut names: Vec<_> = receipts
        .iter()
        .map(|receipt| text(&receipt["name"]))
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_arrives_whole_and_comes_back() {
    let bench = Bench::in_memory();
    let server = Server::sealing(&bench, &[]);
    bench.tree("tree", 490, 100);
    let odd: [&[u8]; 10] = [
        b"-rf",
        b"a\nb",
        b".hidden",
        b"with space",
        "\u{202e}gnp.exe".as_bytes(),
        "Gr\u{fc}\u{df}e".as_bytes(),
        b"\xff\xfe",
        b"100%",
        b"\"quoted\\\"",
        b"*",
    ];
    for name in odd {
        fs::write(bench.path("tree").join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir(bench.path("tree/empty")).unwrap();
    symlink("/etc/passwd", bench.path("tree/link")).unwrap();
    let ran = Ran::of(bench.upload(server.address, &["--parallel", "8", "tree"]));
    let stderr = ran.stderr();
    for line in [
        "tree/empty: an empty folder",
        "tree/link: a symbolic link",
        "500 sent, ",
    ] {
        assert!(stderr.contains(line), "{stderr}");
    }
    let receipts = receipts(&ran.ok());
    assert_eq!((receipts.len(), submissions(&receipts).len()), (500, 1));
    let mut contents = BTreeSet::new();
    for receipt in &receipts {
        let opened = bench.open_stored(&receipt["id"]);
        assert!(text(&opened.manifest["name"]).starts_with("tree/"));
        contents.insert(opened.content);
    }
    assert!(odd.iter().all(|name| contents.contains(*name)));
    assert_eq!(contents.len(), 500);
    let names = names(&receipts);
    for name in [
        "tree/-rf",
        "tree/a\nb",
        "tree/.hidden",
        "tree/sub-3/file-0003",
        "tree/*",
    ] {
        assert!(names.iter().any(|found| found == name), "{name:?}");
    }
    assert!(bench.kept().is_empty(), "{:?}", bench.kept());

    let folders: Vec<_> = receipts
        .iter()
        .map(|receipt| bench.upload_folder(&text(&receipt["id"])))
        .collect();
    let open = ["open", "-i", "key", "-o", "out"].map(OsStr::new);
    let open = open
        .into_iter()
        .chain(folders.iter().map(|folder| folder.as_os_str()));
    Ran::of(bench.command(open)).ok();
    for file in ["sub-0/file-0007", "sub-6/file-0489", "with space", "-rf"] {
        let path = format!("tree/{file}");
        assert_eq!(
            bench.read(format!("out/{path}")),
            bench.read(&path),
            "{file}"
        );
    }
}

#[test]
fn a_killed_folder_goes_on_and_nothing_arrives_twice() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    bench.tree("tree", 20, 100_000);
    bench.write("tree/a-large-one", content(6_000_000));
    let held = 7_000_000;
    let proxy = Proxy::before(server.address, &[Stop::Hold(held)]);
    let args = ["--parallel", "1", "tree"];
    let mut command = bench.upload(proxy.address, &args);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the proxy holds", || proxy.sent() == held);
    let before = server.listed().len();
    assert!(before > 3 && before < 20, "{before}");
    child.kill().unwrap();
    child.wait().unwrap();
    proxy.release();

    let ran = Ran::of(bench.upload(proxy.address, &args));
    let stderr = ran.stderr();
    assert!(stderr.contains(" had arrived before"), "{stderr}");
    let receipts = receipts(&ran.ok());
    assert_eq!((receipts.len(), submissions(&receipts).len()), (21, 1));
    let listed: BTreeSet<_> = server.listed().into_iter().collect();
    let ids: BTreeSet<_> = receipts
        .iter()
        .map(|receipt| text(&receipt["id"]))
        .collect();
    assert_eq!(listed, ids);
    let again = proxy.sent() - held;
    assert!(again < 1_900_000, "{again}");
    assert!(bench.kept().is_empty(), "{:?}", bench.kept());

    // What has arrived as a whole is sent anew.
    fs::remove_file(bench.path("tree/a-large-one")).unwrap();
    for times in 1..=2 {
        let receipts = bench.uploaded(server.address, &["tree"]);
        assert_eq!(receipts.len(), 20);
        assert_eq!(server.listed().len(), 21 + 20 * times);
    }
}

#[test]
fn where_the_first_upload_is_not_known_any_more_the_rest_joins_another() {
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &[]);
    bench.tree("tree", 20, 100_000);
    let held = 1_000_000;
    let proxy = Proxy::before(server.address, &[Stop::Hold(held)]);
    let mut command = bench.upload(proxy.address, &["--parallel", "1", "tree"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the proxy holds", || proxy.sent() == held);
    child.kill().unwrap();
    child.wait().unwrap();
    let before = server.listed().len();
    server.signal(Signal::KILL);
    server.ended();
    for session in bench.names("data/sessions") {
        let path = bench.path("data/sessions").join(session);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    let server = Server::sealing(&bench, &[]);
    proxy.release_to(server.address);

    let receipts = bench.uploaded(proxy.address, &["--parallel", "3", "tree"]);
    assert_eq!(receipts.len(), 20);
    assert_eq!(server.listed().len(), 20);
    let arrived = receipts.iter().map(|receipt| text(&receipt["submission"]));
    let mut count = std::collections::BTreeMap::new();
    for submission in arrived {
        *count.entry(submission).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = count.into_values().collect();
    counts.sort_unstable();
    let mut expected = [before, 20 - before];
    expected.sort_unstable();
    assert_eq!(counts, expected);
}

#[test]
fn where_nobody_answers_the_rest_is_for_later() {
    let bench = Bench::new();
    // For its certificates.
    drop(Server::sealing(&bench, &[]));
    // Bound and not listening: connections are refused, and nobody else gets the port.
    let runtime = crate::client::runtime();
    let _inside = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    bench.tree("tree", 30, 10);
    let ran = Ran::of(bench.upload(address, &["--retry-for", "0s", "tree"]));
    assert_eq!(ran.code(), Some(75));
    let stderr = ran.stderr();
    assert!(stderr.matches("gave up after").count() <= 2, "{stderr}");
    assert!(stderr.contains("were not tried"), "{stderr}");
    assert!(bench.kept().is_empty(), "{:?}", bench.kept());
}

#[test]
fn only_what_failed_is_sent_by_the_next_run() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-size", "1000"]);
    for (name, size) in [("a", 10), ("b", 2000), ("c", 20)] {
        bench.write(name, content(size));
    }
    let upload = || Ran::of(bench.upload(server.address, &["a", "b", "c", "gone"]));
    let ran = upload();
    assert_eq!(ran.code(), Some(1));
    assert_eq!(names(&receipts(ran.stdout())), ["a", "c"]);
    assert!(
        ran.stderr()
            .contains("2 sent, 0 had arrived before, 0 passed over, 2 failed")
    );
    bench.write("b", content(500));
    bench.write("gone", "");
    let ran = upload();
    assert!(
        ran.stderr().contains("2 sent, 2 had arrived before"),
        "{}",
        ran.stderr()
    );
    let receipts = receipts(&ran.ok());
    assert_eq!(names(&receipts), ["a", "b", "c", "gone"]);
    assert_eq!(submissions(&receipts).len(), 1);
    assert_eq!(server.listed().len(), 4);
    assert!(bench.kept().is_empty());
}

#[test]
fn patterns_names_and_separate_submissions() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for name in ["a.txt", "b.txt", "c.bin", ".d.txt"] {
        bench.write(name, name);
    }
    let sent = |args: &[&str]| bench.uploaded(server.address, args);
    let together = sent(&["*.txt", "c.bin"]);
    assert_eq!(names(&together), ["a.txt", "b.txt", "c.bin"]);
    assert_eq!(submissions(&together).len(), 1);
    assert_eq!(submissions(&sent(&["--separate", "?.txt"])).len(), 2);
    assert_eq!(
        names(&sent(&["--name", "report.txt", "a.txt"])),
        ["report.txt"]
    );
    let url = format!("https://{}/", server.address);
    let fixed = [
        "upload",
        "--cacert",
        "certs/ca.pem",
        "--json",
        "--name",
        "dump.sql",
        &url,
        "-",
    ];
    let ran = bench.run_with_stdin(&fixed, b"hello");
    bench.stored_equal(&receipts(&ran.ok())[0], Some("dump.sql"), b"hello");

    let line = Ran::of(bench.upload(server.address, &["*.gz"])).failed(1);
    assert!(line.starts_with("*.gz: there is no such file"), "{line}");
    for args in [
        &["--name", "x", "a.txt", "b.txt"][..],
        &["--name", "x", "*.txt"],
        &["--name", "", "a.txt"],
    ] {
        Ran::of(bench.upload(server.address, args)).failed(64);
    }
}

#[test]
fn what_cannot_be_sent_is_counted_and_the_rest_arrives() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    bench.write("file", "x");
    let deep = "d/".repeat(201);
    fs::create_dir_all(bench.path(format!("tree/{deep}"))).unwrap();
    fs::write(bench.path("tree/z"), "last").unwrap();
    let fifo = Ran::of({
        let mut command = std::process::Command::new("mkfifo");
        command.arg(bench.path("tree/pipe"));
        command
    });
    fifo.ok();
    let ran = Ran::of(bench.upload(server.address, &["tree", "file"]));
    assert_eq!(ran.code(), Some(1));
    let stderr = ran.stderr();
    for line in [
        "folders deep",
        "tree/pipe: neither a file nor a folder",
        "2 sent",
        "1 failed",
    ] {
        assert!(stderr.contains(line), "{stderr}");
    }
    assert_eq!(names(&receipts(ran.stdout())), ["file", "tree/z"]);
    // Our own state is in the bench's folder, and no part of it is sent.
    let ran = Ran::of(bench.upload(server.address, &["state"]));
    assert!(ran.stderr().contains("Sealslot itself"), "{}", ran.stderr());
    assert!(receipts(&ran.ok()).is_empty());
}

#[test]
fn where_the_server_lets_nobody_in_the_rest_is_not_tried() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    bench.tree("tree", 50, 10);
    let ran = Ran::of(bench.upload(server.address, &["tree"]));
    assert_eq!(ran.code(), Some(77));
    let stderr = ran.stderr();
    assert!(stderr.matches("(401)").count() <= 2, "{stderr}");
    assert!(stderr.contains("were not tried"), "{stderr}");
    let receipts = bench.uploaded(server.address, &["--token-file", "tokens", "tree"]);
    assert_eq!(receipts.len(), 50);
}

#[test]
fn a_link_can_stand_in_a_file_or_in_the_environment() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let url = format!("https://{}/", server.address);
    let fixed = [
        "link",
        "create",
        "--cacert",
        "certs/ca.pem",
        "--token-file",
        "data/admin.token",
        &url,
    ];
    let link = String::from_utf8(bench.run(&fixed).ok()).unwrap();
    let token = link.trim().rsplit('/').next().unwrap();
    bench.write_private("link", link.trim());
    bench.write_private("token-of-link", token);
    bench.write("exposed", link.trim());
    for name in ["a", "b"] {
        bench.write(name, name);
    }
    for file in ["link", "token-of-link"] {
        let receipts = bench.uploaded(server.address, &["--link-file", file, "a", "b"]);
        assert_eq!(submissions(&receipts).len(), 1);
    }
    for value in [link.trim(), token] {
        let mut command = bench.upload(server.address, &["a"]);
        command.env("SEALSLOT_LINK", value);
        Ran::of(command).ok();
    }
    let list = [
        "link",
        "list",
        "--json",
        "--cacert",
        "certs/ca.pem",
        "--token-file",
        "data/admin.token",
        &url,
    ];
    let listed: Value = serde_json::from_slice(&bench.run(&list).ok()).unwrap();
    assert_eq!(listed["used"]["uploads"], 6, "{listed}");
    let refused = Ran::of(bench.upload(server.address, &["--link-file", "exposed", "a"])).failed(1);
    assert!(
        refused.contains("chmod 600") && !refused.contains(token),
        "{refused}"
    );
    let fixed = [
        "upload",
        "--cacert",
        "certs/ca.pem",
        "--link-file",
        "link",
        link.trim(),
        "a",
    ];
    let refused = bench.run(&fixed).failed(64);
    assert!(!refused.contains(token), "{refused}");
}

#[test]
fn all_transfers_together_keep_to_the_rate() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for name in ["a", "b"] {
        bench.write(name, content(200_000));
    }
    let began = Instant::now();
    let receipts = bench.uploaded(server.address, &["--limit-rate", "200KiB", "a", "b"]);
    let took = began.elapsed();
    assert_eq!(receipts.len(), 2);
    // 400,000 bytes but for one piece of a sixteenth of a second.
    assert!(took >= Duration::from_millis(1850), "{took:?}");
}
