//! `sealslot upload` against the real server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Bench, Ran};
use crate::proxy::{Proxy, Stop};
use crate::server::{Server, content, text, wait_until};

/// More than buffers anywhere hold.
const LARGE: usize = 20_000_000;
const TOKEN: &str = "an-upload-token-that-is-long";

impl Bench {
    /// `sealslot upload --json` to a server at this address.
    pub(crate) fn upload(&self, address: SocketAddr, args: &[&str]) -> Command {
        let url = format!("https://{address}/");
        let fixed = ["upload", "--cacert", "certs/ca.pem", "--json", &url];
        self.command([&fixed[..], args].concat())
    }

    /// Runs it, and gives the receipts.
    #[track_caller]
    pub(crate) fn uploaded(&self, address: SocketAddr, args: &[&str]) -> Vec<Value> {
        receipts(&Ran::of(self.upload(address, args)).ok())
    }

    /// What is kept for resuming.
    pub(crate) fn kept(&self) -> Vec<String> {
        let folder = "state/sealslot/uploads";
        if self.path(folder).exists() {
            self.names(folder)
        } else {
            Vec::new()
        }
    }

    /// How many bytes the server has on disk of what is not finished.
    pub(crate) fn staged(&self) -> u64 {
        let folder = self.path("data/staging");
        let files = self.files().into_iter();
        let staged = files.filter(|(path, _)| path.starts_with(&folder));
        staged.map(|(_, contents)| contents.len() as u64).sum()
    }

    #[track_caller]
    pub(crate) fn stored_equal(&self, receipt: &Value, name: Option<&str>, content: &[u8]) {
        let opened = self.open_stored(&receipt["id"]);
        assert!(opened.content == content, "{receipt}");
        assert_eq!(opened.manifest["name"].as_str(), name);
        assert_eq!(receipt["name"].as_str(), name);
        assert_eq!(opened.manifest["sha256"], receipt["sha256"]);
        assert_eq!(receipt["size"], content.len());
    }
}

pub(crate) fn receipts(stdout: &[u8]) -> Vec<Value> {
    let lines = std::str::from_utf8(stdout).unwrap().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_file_arrives_as_it_is() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let bytes = content(300_000);
    bench.write("Grüße & more.bin", &bytes);
    let receipts = bench.uploaded(server.address, &["./Grüße & more.bin"]);
    let [receipt] = &receipts[..] else {
        panic!("{receipts:?}");
    };
    bench.stored_equal(receipt, Some("Grüße & more.bin"), &bytes);
    assert_eq!(server.listed(), [text(&receipt["id"])]);
    assert!(bench.kept().is_empty());
}

#[test]
fn an_upload_for_people_is_a_line() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    bench.write("a\nb", "hello");
    let url = format!("https://{}/uploads", server.address);
    let ran = bench.run(&["upload", "--cacert", "certs/ca.pem", &url, "a\nb"]);
    assert_eq!(ran.stderr(), "");
    let line = String::from_utf8(ran.ok()).unwrap();
    let [id] = &server.listed()[..] else {
        panic!("{line}");
    };
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(line, format!("{id}  5  {digest}  a\\u{{a}}b\n"));
}

#[test]
fn several_files_and_an_empty_one() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let sizes = [0, 1, 70_000, 200_000, 0];
    let names: Vec<_> = (0..sizes.len()).map(|n| format!("file-{n}")).collect();
    for (name, size) in names.iter().zip(sizes) {
        bench.write(name, content(size));
    }
    let args: Vec<_> = names.iter().map(String::as_str).collect();
    for parallel in ["1", "3"] {
        let receipts = bench.uploaded(
            server.address,
            &[&["--parallel", parallel][..], &args].concat(),
        );
        assert_eq!(receipts.len(), sizes.len());
        for (name, size) in names.iter().zip(sizes) {
            let mut found = receipts.iter().filter(|receipt| receipt["name"] == **name);
            bench.stored_equal(found.next().unwrap(), Some(name), &content(size));
            assert!(found.next().is_none());
        }
    }
    assert_eq!(server.listed().len(), 2 * sizes.len());
}

#[test]
fn standard_input_of_any_length_arrives() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let url = format!("https://{}/", server.address);
    // A piece is 8 MiB.
    for size in [0, 5, 8 << 20, (17 << 20) + 3] {
        let bytes = content(size);
        let args = ["upload", "--cacert", "certs/ca.pem", "--json", &url, "-"];
        let receipts = receipts(&bench.run_with_stdin(&args, &bytes).ok());
        bench.stored_equal(&receipts[0], None, &bytes);
    }
    assert!(bench.kept().is_empty());
}

#[test]
fn a_missing_file_keeps_nobody_from_the_others() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    bench.write("there", "hello");
    let ran = Ran::of(bench.upload(server.address, &["gone", "there"]));
    assert_eq!(ran.code(), Some(1));
    assert!(
        ran.stderr().starts_with("sealslot: gone: "),
        "{}",
        ran.stderr()
    );
    let receipts = receipts(ran.stdout());
    bench.stored_equal(&receipts[0], Some("there"), b"hello");
}

#[test]
fn a_connection_that_is_cut_is_made_again_and_nothing_is_sent_twice() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let bytes = content(LARGE);
    bench.write("large", &bytes);
    let stops = [3_000_000, 200, 5_000_000, 4_000_000].map(Stop::Cut);
    let proxy = Proxy::before(server.address, &stops);
    let ran = Ran::of(bench.upload(proxy.address, &["large"]));
    let retries = ran.stderr();
    assert_eq!(retries.lines().count(), stops.len(), "{retries}");
    assert!(
        retries
            .lines()
            .all(|line| line.starts_with("sealslot: large: trying again in "))
    );
    let receipts = receipts(&ran.ok());
    bench.stored_equal(&receipts[0], Some("large"), &bytes);
    // Begun anew every time, it would be 32 MB.
    let sent = proxy.sent();
    assert!(sent < LARGE as u64 + 6_000_000, "{sent}");
    assert!(bench.kept().is_empty());
}

#[test]
fn standard_input_survives_a_cut() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let bytes = content(LARGE);
    let stops = [3_000_000, 9_000_000].map(Stop::Cut);
    let proxy = Proxy::before(server.address, &stops);
    let url = format!("https://{}/", proxy.address);
    let args = ["upload", "--cacert", "certs/ca.pem", "--json", &url, "-"];
    let receipts = receipts(&bench.run_with_stdin(&args, &bytes).ok());
    bench.stored_equal(&receipts[0], None, &bytes);
}

#[test]
fn a_killed_upload_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let bytes = content(LARGE);
    bench.write("large", &bytes);
    let held = 8_000_000;
    let proxy = Proxy::before(server.address, &[Stop::Hold(held)]);
    let mut command = bench.upload(proxy.address, &["large"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the proxy holds", || proxy.sent() == held);
    let staged = 6_000_000;
    wait_until("the server has most of it", || bench.staged() > staged);
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = bench.kept();
    assert_eq!(kept.len(), 1, "{kept:?}");
    proxy.release();

    let receipts = bench.uploaded(proxy.address, &["large"]);
    bench.stored_equal(&receipts[0], Some("large"), &bytes);
    let again = proxy.sent() - held;
    assert!(again < LARGE as u64 - staged + 500_000, "{again}");
    assert!(bench.kept().is_empty());
    assert_eq!(server.listed().len(), 1);
}

#[test]
fn a_server_that_is_killed_and_started_again_gets_the_rest() {
    let bench = Bench::new();
    let mut server = Server::sealing(&bench, &["--checkpoint", "1MiB"]);
    let bytes = content(LARGE);
    bench.write("large", &bytes);
    let held = 8_000_000;
    let proxy = Proxy::before(server.address, &[Stop::Hold(held)]);
    let mut command = bench.upload(proxy.address, &["large"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    wait_until("the server has most of it", || bench.staged() > 6_000_000);
    proxy.lose_server();
    server.signal(Signal::KILL);
    server.ended();
    let server = Server::sealing(&bench, &[]);
    proxy.release_to(server.address);

    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    bench.stored_equal(&receipts(&output.stdout)[0], Some("large"), &bytes);
    let again = proxy.sent() - held;
    assert!(again < LARGE as u64 - 3_000_000, "{again}");
    assert_eq!(server.listed().len(), 1);
}

#[test]
fn a_changed_file_and_no_resume_begin_anew() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let mut bytes = content(LARGE / 2);
    bench.write("large", &bytes);
    let held = 4_000_000;
    let stops = [Stop::Hold(held)];
    let proxy = Proxy::before(server.address, &stops);
    let mut command = bench.upload(proxy.address, &["large"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    wait_until("the proxy holds", || proxy.sent() == held);
    child.kill().unwrap();
    child.wait().unwrap();
    proxy.release();

    for args in [&["--no-resume", "large"][..], &["large"]] {
        if args.len() == 1 {
            bytes[0] ^= 1;
            bench.write("large", &bytes);
        }
        let before = proxy.sent();
        let receipts = bench.uploaded(proxy.address, args);
        bench.stored_equal(&receipts[0], Some("large"), &bytes);
        assert!(proxy.sent() - before > bytes.len() as u64);
        // That of the first version stays until it is too old.
        assert_eq!(bench.kept().len(), 1);
    }
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    bench.run(&["certs", "--dir", "other"]).ok();
    bench.write("file", "hello");
    let url = format!("https://{}/", server.address);
    for trusted in [&[][..], &["--cacert", "other/ca.pem"]] {
        let args = [&["upload"], trusted, &[&url, "file"]].concat();
        let line = bench.run(&args).failed(1);
        assert!(line.contains("--cacert FILE"), "{line}");
    }
    // A loopback certificate is not for other names.
    let url = format!("https://127.0.0.2:{}/", server.address.port());
    let line = bench
        .run(&["upload", "--cacert", "gone", &url, "file"])
        .failed(1);
    assert!(line.contains("gone"), "{line}");
    server.kept_nothing();
    assert!(bench.kept().is_empty());
}

#[test]
fn creating_takes_the_token_of_a_private_file_or_the_environment() {
    let bench = Bench::new();
    bench.write_private("tokens", &format!("# for uploads\n\n{TOKEN}"));
    let path: PathBuf = bench.write("exposed", TOKEN);
    let server = Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    bench.write("file", "hello");
    let upload = |args: &[&str]| bench.upload(server.address, args);

    let line = Ran::of(upload(&["file"])).failed(77);
    assert!(line.contains("--token-file FILE"), "{line}");
    let mut wrong = upload(&["file"]);
    wrong.env("SEALSLOT_TOKEN", "a-token-that-is-quite-wrong");
    let line = Ran::of(wrong).failed(77);
    assert!(
        line.contains("401") && !line.contains("quite-wrong"),
        "{line}"
    );
    let line = Ran::of(upload(&["--token-file", "exposed", "file"])).failed(1);
    let hint = format!("chmod 600 {}", path.file_name().unwrap().display());
    assert!(line.contains(&hint) && !line.contains(TOKEN), "{line}");
    assert!(bench.kept().is_empty());

    let receipts = bench.uploaded(server.address, &["--token-file", "tokens", "file"]);
    bench.stored_equal(&receipts[0], Some("file"), b"hello");
    let mut with_variable = upload(&["file"]);
    with_variable.env("SEALSLOT_TOKEN", TOKEN);
    Ran::of(with_variable).ok();
    assert_eq!(server.log().matches(TOKEN).count(), 0);
}
