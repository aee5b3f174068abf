//! `sealslot upload --seal`: what leaves the machine is sealed, to keys that are known.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use sealslot::keys::{NamedRecipient, read_identities};
use serde_json::Value;

use crate::program::{Bench, Ran};
use crate::proxy::{Proxy, Stop};
use crate::server::{Server, content, text, wait_until};
use crate::upload_command::receipts;

const PINS: &str = "state/sealslot/known_recipients";

impl Bench {
    fn seal(&self, address: SocketAddr, args: &[&str]) -> Command {
        self.upload(address, &[&["--seal"], args].concat())
    }

    #[track_caller]
    fn sealed(&self, address: SocketAddr, args: &[&str]) -> Vec<Value> {
        receipts(&Ran::of(self.seal(address, args)).ok())
    }

    /// What is spooled, in the usual place.
    fn spooled(&self) -> Vec<String> {
        let folder = "state/sealslot/spool";
        if self.path(folder).exists() {
            self.names(folder)
        } else {
            Vec::new()
        }
    }

    /// The key in `stranger`.
    pub(crate) fn stranger(&self) -> String {
        let identities = read_identities(&self.path("stranger"), &mut |_| unreachable!());
        let recipient = identities.unwrap()[0].to_recipient().unwrap();
        NamedRecipient::new(recipient, "").to_line()
    }

    /// Opens both layers of a stored upload with `key`, and gives what is inside.
    #[track_caller]
    fn opened(&self, receipt: &Value, key: &str) -> Vec<u8> {
        let folder = self.upload_folder(&text(&receipt["id"]));
        let args = [
            "open",
            "-i",
            key,
            "-o",
            "out",
            "--force",
            "--json",
            folder.to_str().unwrap(),
        ];
        let opened: Value = serde_json::from_slice(&self.run(&args).ok()).unwrap();
        self.read(text(&opened["output"]))
    }
}

#[test]
fn what_is_sealed_here_opens_there_and_the_server_has_ciphertext() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    fs::create_dir(bench.path("tree")).unwrap();
    for (name, size) in [("tree/a.txt", 0), ("tree/b.txt", 200_000)] {
        bench.write(name, content(size));
    }
    let receipts = bench.sealed(server.address, &["--accept-new", "tree"]);
    assert_eq!(receipts.len(), 2);
    for receipt in &receipts {
        let name = text(&receipt["name"]);
        let plain = bench.read(name.strip_suffix(".age").unwrap());
        let stored = bench.open_stored(&receipt["id"]);
        assert!(stored.content.starts_with(b"age-encryption.org/v1\n"));
        assert_eq!(stored.manifest["type"], "application/age");
        assert_eq!(receipt["size"], stored.content.len());
        assert_eq!(receipt["plaintext"]["size"], plain.len());
        assert_ne!(receipt["plaintext"]["sha256"], receipt["sha256"]);
        assert!(bench.opened(receipt, "key") == plain);
    }
    let url = format!("https://{}/", server.address);
    let args = [
        "upload",
        "--cacert",
        "certs/ca.pem",
        "--seal",
        "--name",
        "x",
        &url,
        "-",
    ];
    let ran = bench.run_with_stdin(&args, b"hello");
    let line = String::from_utf8(ran.ok()).unwrap();
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert!(
        line.ends_with(&format!("  x.age  (sealed from 5  {digest})\n")),
        "{line}"
    );
    assert!(bench.spooled().is_empty() && bench.kept().is_empty());
}

#[test]
fn keys_are_shown_known_again_and_no_others_taken() {
    let bench = Bench::new();
    bench.write("file", "hello");
    let (ours, theirs) = (Bench::recipient_text(), bench.stranger());
    let server = Server::sealing(&bench, &[]);
    let proxy = Proxy::before(server.address, &[]);
    let seal = |args: &[&str]| Ran::of(bench.seal(proxy.address, args));

    let ran = seal(&["file"]);
    assert_eq!(ran.code(), Some(77));
    assert!(
        ran.stderr().contains(&format!("--accept-keys '{ours}'")),
        "{}",
        ran.stderr()
    );
    assert_eq!(seal(&["--accept-keys", &theirs, "file"]).code(), Some(77));
    assert!(!bench.path(PINS).exists() && server.listed().is_empty());
    let ran = seal(&["--accept-keys", &ours, "file"]);
    assert!(ran.stderr().contains(&ours));
    ran.ok();
    seal(&["file"]).ok();
    let mode = bench.path(PINS).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pinned = String::from_utf8(bench.read(PINS)).unwrap();
    assert_eq!(pinned, format!("{} {ours}\n", proxy.address));
    drop(server);

    // Another key, one more, and then the first alone again.
    let both = format!("{ours} {theirs}");
    for (keys, accepted) in [
        (vec![&theirs], &theirs),
        (vec![&theirs, &ours], &both),
        (vec![&ours], &ours),
    ] {
        let args: Vec<_> = keys
            .iter()
            .flat_map(|key| ["--recipient", key.as_str()])
            .collect();
        let server = Server::start(&bench, &args, &[]);
        proxy.release_to(server.address);
        let before = server.listed().len();
        for args in [&["file"][..], &["--accept-new", "file"]] {
            let ran = seal(args);
            assert_eq!(ran.code(), Some(77));
            let stderr = ran.stderr();
            assert!(stderr.contains("NOT THOSE THAT THEY WERE"), "{stderr}");
            assert!(
                stderr.contains(&ours) && stderr.contains(&theirs),
                "{stderr}"
            );
            assert!(ran.stdout().is_empty());
        }
        assert_eq!(server.listed().len(), before);
        let ran = seal(&["--accept-keys", accepted, "file"]);
        assert!(ran.code() == Some(0), "{}", ran.stderr());
        seal(&["file"]).ok();
        assert_eq!(server.listed().len(), before + 2);
    }
}

#[test]
fn a_link_has_keys_of_its_own_and_stands_nowhere() {
    let bench = Bench::new();
    bench.write("file", "hello");
    let theirs = bench.stranger();
    let server = Server::sealing(&bench, &[]);
    let proxy = Proxy::before(server.address, &[]);
    let url = format!("https://{}/", server.address);
    let admin = [
        "--cacert",
        "certs/ca.pem",
        "--token-file",
        "data/admin.token",
    ];
    let create = |args: &[&str]| {
        let fixed = [&["link", "create"], &admin[..], args, &[&url]].concat();
        let link = String::from_utf8(bench.run(&fixed).ok()).unwrap();
        link.trim().rsplit('/').next().unwrap().to_owned()
    };
    let (own, shared) = (create(&["-r", &theirs]), create(&[]));
    let seal = |token: &str, args: &[&str]| {
        let link = format!("https://{}/d/{token}", proxy.address);
        let fixed = ["upload", "--cacert", "certs/ca.pem", "--json", "--seal"];
        bench.run(&[&fixed, args, &[&link[..], "file"]].concat())
    };
    let ran = seal(&own, &["--accept-keys", &theirs]);
    let receipt = receipts(&ran.ok()).remove(0);
    assert_eq!(bench.opened(&receipt, "stranger"), b"hello");
    seal(&own, &[]).ok();
    // Each link is a place of its own.
    assert_eq!(seal(&shared, &[]).code(), Some(77));
    seal(&shared, &["--accept-new"]).ok();
    let pinned = String::from_utf8(bench.read(PINS)).unwrap();
    assert_eq!(pinned.lines().count(), 2);
    assert!(
        !pinned.contains(&own) && !pinned.contains(&shared),
        "{pinned}"
    );
    drop(server);

    let server = Server::start(&bench, &["--recipient", &theirs], &[]);
    proxy.release_to(server.address);
    let ran = seal(&shared, &[]);
    assert_eq!(ran.code(), Some(77));
    assert!(!ran.stderr().contains(&shared), "{}", ran.stderr());
    assert!(ran.stderr().contains(&theirs) && ran.stderr().contains(&Bench::recipient_text()));
    seal(&own, &[]).ok();
}

#[test]
fn post_quantum_keys_are_known_by_their_fingerprint() {
    let bench = Bench::new();
    bench.write("file", "hello");
    bench
        .run(&["keygen", "--post-quantum", "-o", "pq.txt"])
        .ok();
    let server = Server::start(&bench, &["--recipient", "pq.txt.pub"], &[]);
    let ran = Ran::of(bench.seal(server.address, &["file"]));
    assert_eq!(ran.code(), Some(77));
    let said = ran.stderr();
    let fingerprint = said.split("--accept-keys '").nth(1).unwrap();
    let fingerprint = fingerprint.split('\'').next().unwrap();
    assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
    bench.sealed(server.address, &["--accept-keys", fingerprint, "file"]);
    let receipt = bench.sealed(server.address, &["file"]).remove(0);
    assert_eq!(bench.opened(&receipt, "pq.txt"), b"hello");
}

#[test]
fn pins_that_are_damaged_or_not_ones_own_stop_everything() {
    let bench = Bench::new();
    bench.write("file", "hello");
    let server = Server::sealing(&bench, &[]);
    bench.sealed(server.address, &["--accept-new", "file"]);
    let sound = bench.read(PINS);
    let set_mode = |mode| {
        fs::set_permissions(bench.path(PINS), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o644);
    let line = Ran::of(bench.seal(server.address, &["file"])).failed(1);
    assert!(line.contains("chmod 600"), "{line}");
    set_mode(0o600);
    for damaged in [&sound[..sound.len() - 5], b"nonsense\n"] {
        bench.write(PINS, damaged);
        for args in [&["file"][..], &["--accept-new", "file"]] {
            let line = Ran::of(bench.seal(server.address, args)).failed(1);
            assert!(line.contains("known_recipients, line 1, "), "{line}");
        }
    }
    assert_eq!(server.listed().len(), 1);
    // Keys that are given need no pins.
    let recipient = Bench::recipient_text();
    bench.sealed(server.address, &["-r", &recipient, "file"]);
    let foreign = Ran::of(bench.seal(server.address, &["-r", &bench.stranger(), "file"]));
    // The server cannot tell X25519 keys apart.
    assert_eq!(foreign.code(), Some(0));
    bench.run(&["keygen", "-o", "rsa", "--bits", "2048"]).ok();
    let foreign = Ran::of(bench.seal(server.address, &["-r", "rsa.pub", "file"]));
    assert_eq!(foreign.code(), Some(1));
    assert!(foreign.stderr().contains("422"), "{}", foreign.stderr());
    assert!(bench.spooled().is_empty(), "{:?}", bench.spooled());
}

#[test]
fn a_killed_upload_goes_on_with_the_same_sealed_copy() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let bytes = content(20_000_000);
    bench.write("large", &bytes);
    let held = 8_000_000;
    let proxy = Proxy::before(server.address, &[Stop::Cut(5000), Stop::Hold(held)]);
    // The first connection asks for the keys.
    let args = ["--accept-new", "--spool", "elsewhere", "large"];
    let mut command = bench.seal(proxy.address, &args);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the server has most of it", || bench.staged() > 6_000_000);
    child.kill().unwrap();
    child.wait().unwrap();
    let [folder] = &bench.names("elsewhere")[..] else {
        panic!("{:?}", bench.names("elsewhere"));
    };
    let folder = format!("elsewhere/{folder}");
    let [spooled] = &bench.names(&folder)[..] else {
        panic!("{:?}", bench.names(&folder));
    };
    let path = bench.path(format!("{folder}/{spooled}"));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let spool = fs::read(&path).unwrap();
    proxy.release();
    let sent = proxy.sent();

    let receipts = bench.sealed(proxy.address, &args);
    assert!(bench.open_stored(&receipts[0]["id"]).content == spool);
    assert!(bench.opened(&receipts[0], "key") == bytes);
    let again = proxy.sent() - sent;
    assert!(again < 14_600_000, "{again}");
    assert!(bench.names(&folder).is_empty() && bench.kept().is_empty());
    assert_eq!(server.listed().len(), 1);
}
