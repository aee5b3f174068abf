//! `sealslot token`: by itself, and beside a running server.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use sealslot::grant::{Scope, Scopes, Token, TokenSecret, Tokens};
use serde_json::Value;

use crate::program::{Bench, Ran};
use crate::server::Server;
use crate::store::only_in_a_folder;

const DAY: Duration = Duration::from_hours(24);

fn text(stdout: &[u8]) -> &str {
    let line = str::from_utf8(stdout).unwrap();
    line.strip_suffix('\n').unwrap()
}

/// The token that a secret lets in by, as a server that opens this data folder sees it.
fn find(bench: &Bench, secret: &str, now: SystemTime) -> Option<Token> {
    let secret: TokenSecret = secret.parse().unwrap();
    Tokens::new(bench.records()).find(&secret, now).unwrap()
}

fn list(bench: &Bench) -> Vec<Value> {
    let said = bench.run(&["token", "list", "--json"]).ok();
    let lines = serde_json::Deserializer::from_slice(&said).into_iter();
    lines.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_token_is_made_before_the_first_start() {
    let bench = Bench::new();
    let began = SystemTime::now();
    let made = bench.run(&["token", "create", "ci"]);
    assert!(made.stderr().contains("token ci ("), "{}", made.stderr());
    let made = made.ok();
    let secret = text(&made);
    assert!(secret.starts_with("sst_") && secret.len() == 36);
    let token = find(&bench, secret, began).unwrap();
    assert_eq!(token.scopes, Scope::Upload.into());
    let lifetime = token.expires.unwrap().duration_since(began).unwrap();
    assert!((89 * DAY..=91 * DAY).contains(&lifetime));
    assert_eq!(find(&bench, secret, began + 91 * DAY), None);

    // Nobody else reads the record, and who does finds no secret in it.
    for (path, contents) in bench.files() {
        let inside = path.strip_prefix(bench.path("data")).is_ok();
        let contents = String::from_utf8_lossy(&contents).into_owned();
        assert!(!contents.contains(&secret[4..]), "{}", path.display());
        let permissions = fs::metadata(&path).unwrap().permissions();
        assert!(
            !inside || permissions.mode().trailing_zeros() >= 6,
            "{}",
            path.display()
        );
    }
    // And a server takes the folder as its own.
    let server = Server::sealing(&bench, &[]);
    assert_eq!(list(&bench).len(), 1);
    drop(server);
}

#[test]
fn tokens_are_made_and_ended_beside_a_running_server() {
    let bench = Bench::new();
    let _server = Server::sealing(&bench, &[]);
    let create = |args: &[&str]| {
        let made = bench.run(&[&["token", "create"], args].concat()).ok();
        text(&made).to_owned()
    };
    let reader = create(&["reader", "--scope", "read"]);
    let both = create(&["both", "--scope", "upload", "--scope", "read"]);
    let admin = create(&["admin", "--scope", "upload,admin", "--expires", "never"]);
    let now = SystemTime::now();
    let scopes = |secret: &str| find(&bench, secret, now).unwrap().scopes.to_string();
    assert_eq!(scopes(&reader), "read");
    assert_eq!(scopes(&both), "upload,read");
    assert_eq!(scopes(&admin), "admin");
    assert!(
        find(&bench, &admin, now)
            .unwrap()
            .scopes
            .contains(Scope::Read)
    );

    let revoked = bench.run(&["token", "revoke", "reader"]).ok();
    assert_eq!(find(&bench, &reader, now), None);
    let listed = list(&bench);
    let field = |name: &str, key: &str| {
        let token = listed.iter().find(|token| token["name"] == name);
        token.unwrap()[key].clone()
    };
    assert_eq!(field("reader", "state"), "revoked");
    assert_eq!(field("reader", "id"), text(&revoked));
    assert!(field("reader", "revoked").is_string());
    assert_eq!(
        field("both", "scopes"),
        serde_json::json!(["upload", "read"])
    );
    assert_eq!(field("admin", "expires"), Value::Null);
    let id = field("both", "id");
    bench.run(&["token", "revoke", id.as_str().unwrap()]).ok();
    assert_eq!(find(&bench, &both, now), None);

    // The table says the same, and neither shows a secret.
    let table = bench.run(&["token", "list"]).ok();
    let table = String::from_utf8(table).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("NAME ") && lines.len() == 4, "{table}");
    let words: Vec<_> = lines[1].split_whitespace().collect();
    assert_eq!(words[..4], ["admin", "admin", "live", "never"]);
    assert_eq!(words[4], field("admin", "id").as_str().unwrap());
    for secret in [&reader, &both, &admin] {
        assert!(!table.contains(&secret[4..]) && !format!("{listed:?}").contains(&secret[4..]));
    }
    // A name that is free again.
    create(&["reader"]);
}

#[test]
fn a_token_is_rotated() {
    let bench = Bench::new();
    let made = bench
        .run(&[
            "token",
            "create",
            "ci",
            "--scope",
            "admin",
            "--expires",
            "never",
        ])
        .ok();
    let old = text(&made);
    let before = SystemTime::now();
    let made = bench
        .run(&["token", "rotate", "ci", "--overlap", "2h"])
        .ok();
    let new = text(&made);
    let hours = |hours| before + Duration::from_hours(hours);
    assert_eq!(
        find(&bench, new, hours(1000)).unwrap().scopes,
        Scopes::from(Scope::Admin)
    );
    assert!(find(&bench, old, hours(1)).is_some());
    assert_eq!(find(&bench, old, hours(3)), None);
    let made = bench
        .run(&["token", "rotate", "ci", "--overlap", "0s"])
        .ok();
    for ended in [old, new] {
        assert_eq!(find(&bench, ended, SystemTime::now()), None);
    }
    assert!(find(&bench, text(&made), hours(1000)).is_some());
    bench.run(&["token", "revoke", "ci"]).ok();
    let nothing = bench.run(&["token", "rotate", "ci"]);
    assert!(nothing.failed(1).contains("no such token"));
}

#[test]
fn a_token_goes_to_a_file_alone() {
    let bench = Bench::new();
    let run = |name: &str, mode: u32| {
        let path = bench.path(name);
        let file = File::create(&path).unwrap();
        file.set_permissions(fs::Permissions::from_mode(mode))
            .unwrap();
        let mut command = bench.command(["token", "create", name]);
        let output = command.stdout(file).output().unwrap();
        assert!(output.status.success());
        let token = fs::read_to_string(path).unwrap();
        assert!(find(&bench, text(token.as_bytes()), SystemTime::now()).is_some());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run("open", 0o644).contains("chmod 600"));
    assert!(!run("closed", 0o600).contains("chmod"));

    // One that nobody has seen is good for nothing.
    let mut command = bench.command(["token", "create", "lost"]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    Ran::of(command).failed(1);
    let lost = list(&bench)
        .into_iter()
        .find(|token| token["name"] == "lost");
    assert_eq!(lost.unwrap()["state"], "revoked");
}

#[test]
fn what_makes_no_sense_is_refused() {
    // A bucket is there before anything is in it.
    only_in_a_folder();
    let bench = Bench::new();
    for args in [
        &["create"][..],
        &["create", ""],
        &["create", "a name"],
        &["create", "name/../x"],
        &["create", "00000000000000000000000000000000"],
        &["create", "ci", "--scope", "everything"],
        &["create", "ci", "--scope", ""],
        &["create", "ci", "--expires", "0s"],
        &["create", "ci", "--expires", "soon"],
        &["create", "ci", "--expires", "9000years"],
        &["rotate", "ci", "--overlap", "-1h"],
        &["revoke"],
    ] {
        bench.run(&[&["token"], args].concat()).failed(64);
    }
    assert!(!bench.path("data").exists());
    for args in [&["list"][..], &["revoke", "ci"], &["rotate", "ci"]] {
        let refused = bench.run(&[&["token"], args].concat());
        assert!(refused.failed(1).contains("is not there"));
    }
    assert!(!bench.path("data").exists());

    bench.run(&["token", "create", "ci"]).ok();
    let again = bench.run(&["token", "create", "ci"]);
    assert!(again.failed(1).contains("of this name already"));
    assert_eq!(list(&bench).len(), 1);
    let unknown = bench.run(&["token", "revoke", "other"]);
    assert!(unknown.failed(1).contains("no such token"));
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    only_in_a_folder();
    let bench = Bench::new();
    fs::create_dir(bench.path("photos")).unwrap();
    bench.write("photos/1.jpg", "x");
    bench.write("file", "x");
    for folder in ["photos", "file"] {
        let refused = bench.run(&["token", "create", "ci", "--data", folder]);
        assert!(refused.failed(1).contains("--data DIR"));
    }
    assert_eq!(bench.names("photos"), ["1.jpg"]);
    // An empty one may be meant to become the data folder.
    fs::create_dir(bench.path("empty")).unwrap();
    bench
        .run(&["token", "create", "ci", "--data", "empty"])
        .ok();
    assert_eq!(bench.names("empty"), ["records"]);
}

#[test]
fn the_settings_file_says_where_the_data_is() {
    only_in_a_folder();
    let bench = Bench::new();
    bench.write("sealslot.toml", "data = \"elsewhere\"\n");
    bench.run(&["token", "create", "ci"]).ok();
    assert!(bench.path("elsewhere/records/tokens").exists() && !bench.path("data").exists());
    bench.write("other.toml", "data = \"third\"\n");
    bench
        .run(&["token", "create", "ci", "--config", "other.toml"])
        .ok();
    assert!(bench.path("third/records/tokens").exists());
}

#[test]
fn a_damaged_record_is_named() {
    only_in_a_folder();
    let bench = Bench::new();
    bench.run(&["token", "create", "ci"]).ok();
    let id = list(&bench)[0]["id"].as_str().unwrap().to_owned();
    let path = bench.path("data/records/tokens").join(&id);
    let record = fs::read(&path).unwrap();
    fs::write(&path, &record[..record.len() / 2]).unwrap();
    for args in [&["revoke", "ci"][..], &["revoke", &id], &["rotate", "ci"]] {
        let refused = bench.run(&[&["token"], args].concat());
        assert!(refused.failed(65).contains(&format!("tokens/{id}")));
    }
    // The others are made, shown and ended as ever.
    bench.run(&["token", "create", "other"]).ok();
    bench.run(&["token", "rotate", "other"]).ok();
    for json in [None, Some("--json")] {
        let args: Vec<_> = ["token", "list"].into_iter().chain(json).collect();
        let listed = bench.run(&args);
        let shown = String::from_utf8_lossy(listed.stdout()).into_owned();
        assert_eq!(shown.matches("other").count(), 2, "{shown}");
        assert!(listed.stderr().contains(&format!("tokens/{id}")));
        assert_eq!(listed.code(), Some(65));
    }
    bench.run(&["token", "revoke", "other"]).ok();
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    let bench = Bench::new();
    let names: Vec<_> = (0..6).map(|number| format!("machine-{number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let bench = &bench;
            scope.spawn(move || bench.run(&["token", "create", name]).ok());
        }
    });
    let listed = list(&bench);
    let listed = listed.iter().map(|token| token["name"].as_str().unwrap());
    assert_eq!(
        listed.collect::<BTreeSet<_>>(),
        names.iter().map(String::as_str).collect()
    );
}
