//! `sealslot verify` on a data folder and against the real server.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::program::{Bench, Ran};
use crate::server::{Server, content};

impl Bench {
    fn verify(&self, server: Option<&Server<'_>>, args: &[&str]) -> Ran {
        self.at_place("verify", server, args)
    }

    /// What it finds, `file: problem` in order, and the summary.
    #[track_caller]
    fn found(&self, server: Option<&Server<'_>>, args: &[&str], code: i32) -> (Vec<String>, Value) {
        let ran = self.verify(server, &[&["--json"], args].concat());
        assert_eq!(ran.code(), Some(code), "{}", ran.stderr());
        let lines = std::str::from_utf8(ran.stdout()).unwrap().lines();
        let mut lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let summary = lines.pop().unwrap();
        let found = lines.iter().map(|line| {
            assert_eq!(line["id"].as_str().unwrap().len(), 32);
            let of = |key: &str| line[key].as_str().unwrap().to_owned();
            format!("{}: {}", of("file"), of("problem"))
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        (found, summary)
    }

    /// An upload's folder.
    fn stored(&self, server: &Server<'_>, size: usize) -> PathBuf {
        let receipt = server.put("/uploads/a.bin", content(size)).receipt();
        self.upload_folder(receipt["id"].as_str().unwrap())
    }
}

fn change(path: &Path, at: usize) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at as u64).unwrap();
}

#[test]
fn a_clean_store_has_no_damage_from_wherever_it_is_looked_at() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for size in [0, 1, 100_000, 3_000_000] {
        bench.stored(&server, size);
    }
    let on_disk: u64 = bench
        .files()
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|age| age == "age"))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    for (server, args) in [
        (None, &[][..]),
        (None, &["-i", "key", "--parallel", "3"]),
        (Some(&server), &[]),
        (Some(&server), &["-i", "key"]),
        (None, &["--rate", "100MiB"]),
    ] {
        let (found, summary) = bench.found(server, args, 0);
        assert_eq!(found, [""; 0]);
        assert_eq!(
            (&summary["uploads"], &summary["files"]),
            (&json!(4), &json!(7))
        );
        assert_eq!(
            (&summary["damaged"], &summary["unchecked"]),
            (&json!(0), &json!(0))
        );
        // With the key, manifests and headers are read twice.
        let bytes = summary["bytes"].as_u64().unwrap();
        assert!((on_disk..on_disk + 100_000).contains(&bytes), "{bytes}");
        assert!(args.contains(&"-i") || bytes == on_disk);
    }
    let said = String::from_utf8(bench.verify(None, &[]).ok()).unwrap();
    assert!(said.starts_with("4 uploads, 7 files, "), "{said}");
    assert!(said.ends_with("no damage\n"), "{said}");
    assert_eq!(
        bench.found(None, &["--until", "1d"], 0).1["uploads"],
        json!(0)
    );
}

#[test]
fn damage_is_told_by_file_and_by_kind() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let paths: Vec<_> = (0..6).map(|_| bench.stored(&server, 70_000)).collect();
    change(&paths[0].join("0000.age"), 69_000);
    let short = fs::File::options()
        .write(true)
        .open(paths[1].join("0000.age"))
        .unwrap();
    short.set_len(1).unwrap();
    fs::remove_file(paths[2].join("0000.age")).unwrap();
    fs::write(paths[3].join("0001.age"), "mine").unwrap();
    fs::write(paths[4].join("\u{1b}[31m"), "mine").unwrap();
    change(&paths[5].join("meta.age"), 0);
    let expected = [
        "\u{1b}[31m: unexpected",
        "0000.age: checksum",
        "0000.age: missing",
        "0000.age: size",
        "0000.age: unchecked",
        "0001.age: unexpected",
        "meta.age: checksum",
    ];
    for args in [&[][..], &["-i", "key"]] {
        let (found, summary) = bench.found(None, args, 65);
        assert_eq!(found, expected);
        assert_eq!(
            (&summary["damaged"], &summary["unchecked"]),
            (&json!(6), &json!(1))
        );
    }
    // Segments alone, and nothing that the record does not tell of.
    let (found, summary) = bench.found(Some(&server), &[], 65);
    assert_eq!(found, expected[1..4]);
    assert_eq!(summary["uploads"], json!(5));
    let ran = bench.verify(None, &[]);
    let said = std::str::from_utf8(ran.stdout()).unwrap();
    assert_eq!(ran.code(), Some(65));
    let id = paths[0].file_name().unwrap().to_str().unwrap();
    assert!(
        said.contains(&format!("{id}/0000.age: damaged: its checksum")),
        "{said}"
    );
    assert!(
        !said.contains('\u{1b}') && said.ends_with("6 files are damaged\n"),
        "{said}"
    );
}

#[test]
fn a_manifest_whose_checksum_was_lost_is_checked_in_form_or_with_a_key() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let meta = bench.stored(&server, 10).join("meta.age");
    let bytes = fs::read(&meta).unwrap();
    fs::remove_file(&meta).unwrap();
    let write = |bytes: &[u8]| fs::write(&meta, bytes).unwrap();
    write(&bytes);
    let (found, summary) = bench.found(None, &[], 0);
    assert_eq!(found, ["meta.age: unchecked"]);
    assert_eq!(
        (&summary["damaged"], &summary["unchecked"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(bench.found(None, &["-i", "key"], 0).0, [""; 0]);
    // The last byte says nothing without the key.
    let last = bytes.len() - 1;
    change(&meta, last);
    assert_eq!(bench.found(None, &[], 0).0, ["meta.age: unchecked"]);
    assert_eq!(
        bench.found(None, &["-i", "key"], 65).0,
        ["meta.age: does-not-open"]
    );
    for (bytes, problem) in [
        (&b"age-encryption.org/v2\n"[..], "header"),
        (&bytes[..last - 4000.min(last - 100)], "header"),
        (b"", "header"),
    ] {
        write(bytes);
        let expected = ["0000.age: unchecked", &format!("meta.age: {problem}")];
        assert_eq!(bench.found(None, &[], 65).0, expected);
    }
}

#[test]
fn folders_that_were_exchanged_are_told_apart() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let (a, b) = (bench.stored(&server, 10), bench.stored(&server, 10));
    for file in ["meta.age", "0000.age"] {
        fs::rename(b.join(file), a.join(file)).unwrap();
    }
    fs::remove_dir(&b).unwrap();
    assert_eq!(
        bench.found(None, &[], 65).0,
        ["0000.age: unchecked", "meta.age: record"]
            .iter()
            .filter(|found| !found.starts_with("0000"))
            .copied()
            .collect::<Vec<_>>()
    );
}

#[test]
fn what_cannot_be_looked_at_is_no_damage() {
    let bench = Bench::new();
    assert!(bench.verify(None, &[]).failed(1).contains("cannot open"));
    assert!(!bench.path("data").exists());
    let both = ["verify", "--data", "data", "https://127.0.0.1:1/"];
    bench.run(&both).failed(64);
    bench.run(&["verify"]).failed(64);
    let server = Server::sealing(&bench, &[]);
    bench.stored(&server, 10);
    let url = format!("https://{}/", server.address);
    let unknown = ["verify", "--cacert", "certs/ca.pem", &url];
    bench.run(&unknown).failed(77);
    let (found, _) = bench.found(None, &["-i", "stranger"], 65);
    assert_eq!(found, ["meta.age: does-not-open"]);
}
