//! The commands on keys, certificates and single files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::program::Bench;
use sealslot::seal;

const CHUNK: usize = seal::CHUNK_SIZE;

fn bytes(size: usize) -> Vec<u8> {
    // A period that fits into no chunk: a chunk in the wrong place is noticed.
    (0..=250).cycle().take(size).collect()
}

#[test]
fn files_of_every_size_come_back() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    for size in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 1 << 20] {
        let plain = bytes(size);
        bench.write("plain", &plain);
        for armor in ["", "-a"] {
            let mut args = vec!["seal", "-r", &recipient, "-o", "x.age", "--force", "plain"];
            args.extend((!armor.is_empty()).then_some(armor));
            bench.run(&args).ok();
            assert_eq!(
                bench.read("x.age").starts_with(b"-----BEGIN AGE"),
                !armor.is_empty()
            );
            // File to file, file to stdout, stdin to stdout.
            bench
                .run(&["open", "-i", "key", "-o", "out", "--force", "x.age"])
                .ok();
            assert!(bench.read("out") == plain, "{size} {armor}");
            assert!(bench.run(&["open", "-i", "key", "x.age"]).ok() == plain);
            let sealed = bench.read("x.age");
            let streamed = bench.run_with_stdin(&["open", "-i", "key", "-"], &sealed);
            assert!(streamed.ok() == plain);
        }
    }
    let mode = |name: &str| fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("x.age"), mode("out")), (0o600, 0o600));
}

#[test]
fn a_pipe_is_sealed_and_opened() {
    let bench = Bench::new();
    let plain = bytes(200_000);
    let sealed = bench
        .run_with_stdin(&["seal", "-r", &Bench::recipient_text()], &plain)
        .ok();
    assert_eq!(*seal::open(&sealed, &[Bench::identity()]).unwrap(), plain);
    bench
        .run_with_stdin(&["open", "-i", "key", "-o", "out", "-"], &sealed)
        .ok();
    assert_eq!(bench.read("out"), plain);
}

#[test]
fn a_new_key_seals_and_opens() {
    let bench = Bench::new();
    let line = bench
        .run(&["keygen", "-o", "k.pem", "--bits", "2048", "--comment", "me"])
        .ok();
    assert_eq!(line, bench.read("k.pem.pub"));
    let line = String::from_utf8(line).unwrap();
    assert!(line.starts_with("ssh-rsa AAAA") && line.ends_with(" me\n"));
    let sealed = bench.run_with_stdin(&["seal", "-r", "k.pem.pub"], b"hello");
    assert!(sealed.stderr().contains("warning"), "2048 bits are few");
    bench.write("x.age", sealed.ok());
    assert_eq!(bench.run(&["open", "-i", "k.pem", "x.age"]).ok(), b"hello");
    // Any of several identities will do.
    let both = ["open", "-i", "stranger", "-i", "k.pem", "x.age"];
    assert_eq!(bench.run(&both).ok(), b"hello");
    let again = bench.run(&["keygen", "-o", "k.pem", "--bits", "2048"]);
    assert!(again.failed(1).contains("exists already"));
}

#[test]
fn a_passphrase_comes_from_a_file_or_the_environment() {
    let bench = Bench::new();
    bench.write("pass", "correct horse\n");
    let json = bench
        .run(&[
            "keygen",
            "-o",
            "k",
            "--bits=2048",
            "--passphrase-file=pass",
            "--json",
        ])
        .ok();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["bits"], 2048);
    assert_eq!(json["private"], "k");
    assert!(
        String::from_utf8(bench.read("k"))
            .unwrap()
            .contains("OPENSSH PRIVATE KEY")
    );
    let sealed = bench.run_with_stdin(&["seal", "-r", "k.pub"], b"x").ok();
    bench.write("x.age", sealed);
    let args = ["open", "-i", "k", "x.age"];
    let with_file = ["open", "-i", "k", "--passphrase-file", "pass", "x.age"];
    assert_eq!(bench.run(&with_file).ok(), b"x");
    let by_variable = |value: &str| {
        let mut command = bench.command(args);
        command.env("SEALSLOT_PASSPHRASE", value).output().unwrap()
    };
    assert_eq!(by_variable("correct horse").stdout, b"x");
    let wrong = by_variable("wrong");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        String::from_utf8(wrong.stderr)
            .unwrap()
            .contains("passphrase does not open k")
    );
    // There is no terminal here to ask on.
    assert!(bench.run(&args).failed(1).contains("SEALSLOT_PASSPHRASE"));
}

#[test]
fn certificates_are_made_once() {
    let bench = Bench::new();
    let printed = bench
        .run(&["certs", "--dir", "c", "--host", "a.example,127.0.0.1"])
        .ok();
    let printed = String::from_utf8(printed).unwrap();
    assert!(printed.contains("a.example, 127.0.0.1"));
    assert_eq!(
        bench.names("c"),
        ["ca.key", "ca.pem", "server.key", "server.pem"]
    );
    let before = bench.read("c/server.pem");
    assert!(
        bench
            .run(&["certs", "--dir", "c"])
            .failed(1)
            .contains("--force")
    );
    assert_eq!(bench.read("c/server.pem"), before);
    let json = bench
        .run(&["certs", "--dir", "c", "--force", "--json"])
        .ok();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["hosts"][0], "localhost");
    assert!(printed.contains("fingerprint: "));
    assert_ne!(bench.read("c/server.pem"), before);
}

/// Opens a damaged file in both ways, and sees that nothing of it came out.
#[track_caller]
fn refuse(bench: &Bench, damaged: &[u8], what: &str) {
    bench.write("bad.age", damaged);
    let line = bench.run(&["open", "-i", "key", "bad.age"]).failed(65);
    assert!(line.starts_with("bad.age: "), "{what}: {line}");
}

/// The library's tests flip every bit; here is what the program makes of it, at some of them.
#[test]
fn a_flipped_bit_lets_nothing_out() {
    let bench = Bench::new();
    let sealed = seal::seal(&[Bench::recipient()], &[], b"attack at dawn").unwrap();
    let mac = sealed.windows(4).position(|at| at == b"--- ").unwrap();
    let stanza = (0..mac * 8).step_by(7);
    for bit in stanza.chain(mac * 8..sealed.len() * 8) {
        let mut damaged = sealed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        refuse(&bench, &damaged, &format!("bit {bit}"));
    }
}

#[test]
fn a_cut_off_or_lengthened_file_lets_nothing_out() {
    let bench = Bench::new();
    let sealed = seal::seal(&[Bench::recipient()], &[], b"attack at dawn").unwrap();
    for size in 0..sealed.len() {
        refuse(&bench, &sealed[..size], &format!("{size} bytes"));
    }
    refuse(&bench, &[&sealed[..], b"x"].concat(), "a byte more");
}

#[test]
fn damage_in_a_later_chunk_shows_nothing_of_the_first() {
    let bench = Bench::new();
    let mut sealed = seal::seal(&[Bench::recipient()], &[], &bytes(3 * CHUNK)).unwrap();
    let last = sealed.len() - 1;
    for cut in [last, last - seal::SEALED_CHUNK_SIZE] {
        refuse(&bench, &sealed[..cut], "cut off");
    }
    sealed[last] ^= 1;
    refuse(&bench, &sealed, "the last chunk");
    bench
        .run(&["open", "-i", "key", "-o", "out", "bad.age"])
        .failed(65);
    // From a pipe, what was verified is shown, and the exit code says that it is not all.
    let streamed = bench.run_with_stdin(&["open", "-i", "key", "-"], &sealed);
    assert_eq!(streamed.code(), Some(65));
    assert!(bytes(3 * CHUNK).starts_with(streamed.stdout()));
    assert_eq!(bench.names("."), ["bad.age", "key", "stranger"]);
}

#[test]
fn outputs_are_replaced_only_with_force() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    bench.write("in", "new");
    bench.write("out", "old");
    let refused = bench.run(&["seal", "-r", &recipient, "-o", "out", "in"]);
    assert!(refused.failed(1).contains("--force"));
    bench
        .run(&["seal", "-r", &recipient, "-o", "x.age", "in"])
        .ok();
    let refused = bench.run(&["open", "-i", "key", "-o", "out", "x.age"]);
    assert!(refused.failed(1).contains("--force"));
    assert_eq!(bench.read("out"), b"old");
    // A file that does not open replaces nothing, force or not.
    bench
        .run(&["open", "-i", "stranger", "-o", "out", "--force", "x.age"])
        .failed(65);
    assert_eq!(bench.read("out"), b"old");
    symlink("out", bench.path("link")).unwrap();
    bench
        .run(&["open", "-i", "key", "-o", "link", "x.age"])
        .failed(1);
    bench
        .run(&["open", "-i", "key", "-o", "link", "--force", "x.age"])
        .ok();
    assert_eq!(
        (bench.read("out"), bench.read("link")),
        (b"old".to_vec(), b"new".to_vec())
    );
    bench
        .run(&["open", "-i", "key", "-o", "out", "--force", "x.age"])
        .ok();
    assert_eq!(bench.read("out"), b"new");
    assert_eq!(
        bench.names("."),
        ["in", "key", "link", "out", "stranger", "x.age"]
    );
}

#[test]
fn several_files_go_into_a_folder_and_one_failure_stops_no_other() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    for name in ["a", "b", "c"] {
        bench.write(name, name);
        bench
            .run(&["seal", "-r", &recipient, "-o", &format!("{name}.age"), name])
            .ok();
    }
    let mut damaged = bench.read("b.age");
    *damaged.last_mut().unwrap() ^= 1;
    bench.write("b.age", damaged);
    let args = [
        "open", "-i", "key", "-o", "new/out", "a.age", "b.age", "gone", "c.age",
    ];
    let ran = bench.run(&args);
    assert_eq!(ran.code(), Some(65));
    let stderr = ran.stderr();
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("sealslot: b.age: ") && lines[1].contains("gone"));
    assert_eq!(bench.names("new/out"), ["a", "c"]);
    assert_eq!(bench.read("new/out/c"), b"c");
    let missing = bench.run(&["open", "-i", "key", "-o", "new/out", "gone", "gone2"]);
    assert_eq!(missing.code(), Some(1));
    // With --force too, one input does not replace what another one has just become.
    fs::create_dir(bench.path("other")).unwrap();
    fs::copy(bench.path("c.age"), bench.path("other/a.age")).unwrap();
    let ran = bench.run(&[
        "open",
        "-i",
        "key",
        "-o",
        "f",
        "--force",
        "a.age",
        "other/a.age",
    ]);
    assert_eq!(ran.code(), Some(1));
    assert_eq!(bench.read("f/a"), b"a");
}

#[test]
fn json_is_one_object_a_line() {
    let bench = Bench::new();
    bench.write("in", "12345");
    let recipient = Bench::recipient_text();
    let json = bench
        .run(&["seal", "--json", "-r", &recipient, "-o", "x.age", "in"])
        .ok();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"output": "x.age", "size": 5, "recipients": [recipient]})
    );
    let mut open = bench.command(["open", "-o", "out", "x.age"]);
    let ran = open
        .env("SEALSLOT_JSON", "true")
        .env("SEALSLOT_IDENTITY", "key")
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"input": "x.age", "output": "out", "size": 5})
    );
}

#[test]
fn bad_input_is_one_line_and_the_right_code() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    let r = recipient.as_str();
    bench.write("in", "x");
    bench.write("junk", "junk\n");
    bench.write("binary", b"\xff\xfe\x00");
    bench.write("exposed", "AGE-SECRET-KEY-1");
    bench.write("big", vec![b'x'; 2 << 20]);
    fs::create_dir(bench.path("folder")).unwrap();
    bench.run(&["seal", "-r", r, "-o", "x.age", "in"]).ok();
    let cases: &[(i32, &[&str])] = &[
        (64, &[]),
        (64, &["frobnicate"]),
        (64, &["--frobnicate"]),
        (64, &["keygen", "extra"]),
        (64, &["keygen", "--bits", "1024"]),
        (64, &["keygen", "--bits", "9000"]),
        (64, &["keygen", "--bits", "99999999999999999999"]),
        (64, &["keygen", "--bits", "many"]),
        (64, &["keygen", "--bits"]),
        (1, &["keygen", "--bits", "2048", "-o", "no/such/key"]),
        (1, &["keygen", "--bits", "2048", "-o", "key"]),
        (1, &["keygen", "--passphrase-file", "gone"]),
        (1, &["keygen", "--passphrase-file", "big"]),
        (64, &["keygen", "--passphrase-file", "/dev/null"]),
        (1, &["keygen", "--passphrase", "--bits", "2048"]),
        (64, &["certs", "--host", ""]),
        (64, &["certs", "--host", "https://x"]),
        (64, &["certs", "--host", "0.0.0.0"]),
        (1, &["certs", "--dir", "in"]),
        (64, &["seal", "in"]),
        (1, &["seal", "-r", "gone", "in"]),
        (1, &["seal", "-r", "", "in"]),
        (1, &["seal", "-r", "age1junk", "in"]),
        (1, &["seal", "-r", "ssh-rsa AAAA", "in"]),
        (1, &["seal", "-r", "junk", "in"]),
        (1, &["seal", "-r", "binary", "in"]),
        (1, &["seal", "-r", "big", "in"]),
        (1, &["seal", "-r", "folder", "in"]),
        (1, &["seal", "-r", "key", "in"]),
        (1, &["seal", "-r", r, "gone"]),
        (64, &["seal", "-r", r, "folder"]),
        (64, &["seal", "-r", r, "in", "in"]),
        (64, &["seal", "-r", r, "-o", "folder", "in"]),
        (64, &["seal", "-r", r, "-o", "..", "in"]),
        (64, &["seal", "-r", r, "-o", "/dev/null", "--force", "in"]),
        (1, &["seal", "-r", r, "-o", "no/such/out", "in"]),
        (1, &["seal", "-r", r, "-o", "in/out", "in"]),
        (64, &["seal", "-r", r, "--json", "in"]),
        (64, &["open", "x.age"]),
        (64, &["open", "-i", "key"]),
        (1, &["open", "-i", "gone", "x.age"]),
        (64, &["open", "-i", "AGE-SECRET-KEY-1XYZ", "x.age"]),
        (64, &["open", "--identiti", "key", "x.age"]),
        (1, &["open", "-i", "folder", "x.age"]),
        (1, &["open", "-i", "exposed", "x.age"]),
        (1, &["open", "-i", "/dev/null", "x.age"]),
        (1, &["open", "-i", "key", "gone"]),
        (65, &["open", "-i", "stranger", "x.age"]),
        (65, &["open", "-i", "key", "junk"]),
        (65, &["open", "-i", "key", "binary"]),
        (65, &["open", "-i", "key", "big"]),
        (65, &["open", "-i", "key", "/dev/null"]),
        (65, &["open", "-i", "key", "-"]),
        (65, &["open", "-i", "key", "folder"]),
        (64, &["open", "-i", "key", "-o", "-", "folder"]),
        (64, &["open", "-i", "key", "-o", "in", "folder"]),
        (64, &["open", "-i", "key", "x.age", "x.age"]),
        (64, &["open", "-i", "key", "-o", "in", "x.age", "x.age"]),
        (64, &["open", "-i", "key", "-o", "folder", "x.age", "-"]),
        (64, &["open", "-i", "key", "-o", "folder", "-"]),
        (64, &["open", "-i", "key", "--json", "x.age"]),
        (1, &["open", "-i", "key", "-o", "no/such/out", "x.age"]),
        (
            1,
            &["open", "-i", "key", "--passphrase-file", "gone", "x.age"],
        ),
    ];
    let before = bench.names(".");
    for (code, args) in cases {
        let ran = bench.run(args);
        assert_eq!(ran.code(), Some(*code), "{args:?}: {}", ran.stderr());
        let line = ran.failed(*code);
        assert!(line.len() < 400, "{args:?}: {line}");
        assert!(!line.contains("SECRET"), "{line}");
    }
    assert_eq!(bench.names("."), before);
    assert!(bench.names("folder").is_empty());
}

#[test]
fn a_bad_variable_is_a_usage_error() {
    let bench = Bench::new();
    for (name, value, command) in [
        ("SEALSLOT_BITS", "12", "keygen"),
        ("SEALSLOT_JSON", "perhaps", "keygen"),
        ("SEALSLOT_HOST", "*", "certs"),
    ] {
        let ran = bench.command([command]).env(name, value).output().unwrap();
        assert_eq!(ran.status.code(), Some(64), "{name}");
        assert_eq!(String::from_utf8(ran.stderr).unwrap().lines().count(), 1);
    }
}

#[test]
fn a_hostile_path_stays_on_its_line() {
    let bench = Bench::new();
    let line = bench.run(&["open", "-i", "key", "a\nb\x1b[31m"]).failed(1);
    assert!(line.contains("a b [31m"));
}

#[test]
fn help_and_version_are_results() {
    let bench = Bench::new();
    let version = bench.run(&["--version"]).ok();
    assert!(version.starts_with(b"sealslot "));
    for command in ["serve", "keygen", "certs", "seal", "open", "upload"] {
        assert!(!bench.run(&[command, "--help"]).ok().is_empty());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let bench = Bench::new();
    let sealed = seal::seal(&[Bench::recipient()], &[], &bytes(1 << 20)).unwrap();
    bench.write("x.age", sealed);
    let mut command = bench.command(["open", "-i", "key", "x.age"]);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty());
}
