//! `--store`: what is asked for before there is a server, and what such a server leaves on its own disk.

use std::env;
use std::fs;
use std::process::Command;

use crate::program::{Bench, Ran};
use crate::server::{Server, content, text};
use crate::store::new_bucket;

/// What a command says that is run where nothing names credentials.
fn run_without_credentials(bench: &Bench, args: &[&str]) -> Ran {
    let mut command = bench.command(args);
    without_credentials(bench, &mut command);
    Ran::of(command)
}

fn without_credentials(bench: &Bench, command: &mut Command) {
    command
        .env_remove("SEALSLOT_STORE")
        .env("HOME", bench.path(""));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
}

#[test]
fn without_credentials_it_says_what_to_set_and_makes_nothing() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    let store = [
        "--store",
        "s3://uploads/here",
        "--store-endpoint",
        "http://127.0.0.1:1",
    ];
    for (command, rest) in [
        (&["serve", "--recipient", &recipient][..], &store[..]),
        (&["token", "list"], &store),
        (&["token", "create", "ci"], &store),
        (&["verify"], &store),
        (&["rewrap", "-i", "key", "-r", &recipient], &store),
        (
            &["migrate", "--from", "s3://uploads/here", "--to", "other"],
            &store[2..],
        ),
    ] {
        let args = [command, rest].concat();
        let line = run_without_credentials(&bench, &args).failed(64);
        assert!(line.contains("AWS_ACCESS_KEY_ID"), "{command:?}: {line}");
    }
    assert_eq!(bench.names("."), ["key", "stranger"]);
}

#[test]
fn what_names_no_place_or_two_is_refused() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    for args in [
        &["serve", "--store", "https://127.0.0.1/uploads"][..],
        &["serve", "--store", "s3://uploads/../x"],
        &["serve", "--store", "s3://uploads", "--min-free", "1GiB"],
        &["serve", "--store-region", "here"],
        &["verify", "--store", "s3://uploads", "--data", "data"],
        &["verify", "--store", "s3://uploads", "https://127.0.0.1/"],
        &[
            "rewrap",
            "--store",
            "s3://uploads",
            "--data",
            "data",
            "-i",
            "key",
            "-r",
            &recipient,
        ],
        &["token", "list", "--store", "s3://uploads", "--data", "data"],
        &["verify"],
    ] {
        let ran = run_without_credentials(&bench, args);
        assert_eq!(ran.code(), Some(64), "{args:?}: {}", ran.stderr());
    }
    assert_eq!(bench.names("."), ["key", "stranger"]);
}

#[test]
fn a_bucket_goes_before_a_folder_that_only_the_environment_names() {
    let bench = Bench::new();
    let create = |name: &str, value: &str| {
        let mut command = bench.command(["token", "create", "ci"]);
        without_credentials(&bench, &mut command);
        command
            .env("SEALSLOT_STORE_ENDPOINT", "http://127.0.0.1:1")
            .env("SEALSLOT_DATA", "data")
            .env(name, value);
        Ran::of(command)
    };
    // Else the token would be made in a folder of which no server knows.
    let line = create("SEALSLOT_STORE", "s3://uploads/here").failed(64);
    assert!(line.contains("AWS_ACCESS_KEY_ID"), "{line}");
    let settings = bench.path("other.toml");
    fs::write(&settings, "store = \"s3://uploads/here\"\n").unwrap();
    let line = create("SEALSLOT_CONFIG", "other.toml").failed(64);
    assert!(line.contains("AWS_ACCESS_KEY_ID"), "{line}");
    assert!(!bench.path("data").exists());
    // Where no bucket is named, it is the folder.
    fs::write(&settings, "data = \"of-the-file\"\n").unwrap();
    create("SEALSLOT_CONFIG", "other.toml").ok();
    assert!(bench.path("data").exists() && !bench.path("of-the-file").exists());
}

#[test]
#[ignore = "needs an S3-compatible engine: tests/e2e/bucket_tests runs it"]
fn a_server_of_a_bucket_keeps_nothing_on_its_own_disk() {
    let bench = Bench::new();
    bench.run(&["certs", "--dir", "certs"]).ok();
    bench.write_private("admin", &"a".repeat(32));
    let store = new_bucket().unwrap();
    let before = bench.files();
    let mut server = Server::sealing(
        &bench,
        &[
            "--listen",
            "0.0.0.0:0",
            "--store",
            &store,
            "--admin-token-file",
            "admin",
            "--allow-anonymous",
        ],
    );
    server.address.set_ip([127, 0, 0, 1].into());
    let sent = content(9 << 20);
    let receipt = server.put("/uploads/x", sent).receipt();
    drop(server);
    let mut after = bench.files();
    after.retain(|(path, _)| !path.ends_with("server.log"));
    assert_eq!(after.len(), before.len());
    assert!(after.iter().all(|file| before.contains(file)));
    assert!(fs::read_dir(bench.path("data")).is_err());

    // Another one, of which the first knows nothing, has it.
    let ran = bench.run(&["verify", "--store", &store, "-i", "key", "--json"]);
    assert_eq!(ran.code(), Some(0), "{}", ran.stderr());
    assert!(String::from_utf8_lossy(ran.stdout()).contains("\"uploads\":1"));
    assert_eq!(text(&receipt["name"]), "x");
}
