//! Uploads whose names were made to lead elsewhere, and a folder in which traps were laid.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use sealslot::upload::Kind;

use crate::program::Bench;
use crate::server::Server;
use crate::upload_folders::upload;

/// Names, each of which is uploaded with itself as content.
fn hostile_names() -> Vec<Vec<u8>> {
    let texts = [
        "../up",
        "../../../../../../tmp/up",
        "/etc/passwd",
        "//host/share",
        r"C:\Windows\system.ini",
        r"..\..\up",
        "a\0b",
        "nul.txt",
        ".",
        "..",
        "",
        "/",
        "a/../../../up",
        ".sealslot",
        ".sealslot/lock",
        ".sealslot/receipts/x.json",
        ".sealslot/../.sealslot/receipts/y.json",
        "./.sealslot/ledger.jsonl",
        "\u{200b}.sealslot/receipts/z.json",
        "invoice\u{202e}fdp.exe",
        "\x1b[2J",
        "line\nbreak",
        "link/below",
        "link",
        "dangling",
        "dangling/below",
        "mine.txt",
        "mine.txt/below",
        "file (2)",
        "-rf",
        "~/.ssh/authorized_keys",
    ];
    let mut names: Vec<_> = texts.map(|text| text.as_bytes().to_vec()).into();
    names.push(vec![b'x'; 5000]);
    names.push("d/".repeat(3000).into_bytes());
    names.push(b"\xff\xfe/\x80".to_vec());
    names
}

/// Everything below a folder, with what files hold and where links lead.
fn all_below(folder: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            let there = path.symlink_metadata().unwrap();
            let contents = if there.is_symlink() {
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes()
            } else if there.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            found.insert((path.to_str().unwrap().to_owned(), contents));
        }
    }
    found
}

#[test]
fn no_name_leads_out_or_replaces_anything() {
    let bench = Bench::new();
    let names = hostile_names();
    for (number, name) in names.iter().enumerate() {
        let content = format!("hostile {number}");
        upload(
            &bench,
            Kind::File,
            Some(name),
            "text/plain",
            content.as_bytes(),
        );
    }
    upload(
        &bench,
        Kind::Fields,
        Some(b"../fields"),
        "application/json",
        b"{}",
    );
    let server = Server::sealing(&bench, &[]);
    fs::create_dir_all(bench.path("in")).unwrap();
    fs::create_dir(bench.path("outside")).unwrap();
    bench.write("outside/victim", "old");
    symlink(bench.path("outside"), bench.path("in/link")).unwrap();
    symlink(bench.path("outside/new"), bench.path("in/dangling")).unwrap();
    bench.write("in/mine.txt", "mine");
    let outside_of = || {
        let into = bench.path("in").to_str().unwrap().to_owned();
        let noise =
            ["server.log", "data"].map(|name| bench.path(name).to_str().unwrap().to_owned());
        let mut all = all_below(&bench.path(""));
        all.retain(|(path, _)| {
            !path.starts_with(&into) && !noise.iter().any(|noise| path.starts_with(noise))
        });
        all
    };
    let (before, planted) = (outside_of(), all_below(&bench.path("in")));
    let printed = String::from_utf8(bench.pull(&server, &[]).ok()).unwrap();
    assert_eq!(printed.lines().count(), names.len() + 1);
    assert!(
        !printed.chars().any(|c| c.is_control() && c != '\n'),
        "{printed:?}"
    );
    assert_eq!(outside_of(), before);
    let after = all_below(&bench.path("in"));
    assert!(planted.is_subset(&after), "something was replaced");
    let pulled = bench.pulled();
    let mut contents: Vec<_> = pulled
        .values()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .collect();
    contents.sort();
    let mut expected: Vec<_> = (0..names.len())
        .map(|number| format!("hostile {number}"))
        .collect();
    expected.extend(["mine", "{}", "old"].map(str::to_owned));
    expected.sort();
    // Through the link that was there, the old file is seen too.
    assert_eq!(contents, expected);
    // What `pull` keeps for itself holds receipts of these uploads and nothing that a name brought there.
    let receipts = bench.names("in/.sealslot/receipts");
    let own: BTreeSet<_> = server
        .listed()
        .iter()
        .map(|id| format!("{id}.json"))
        .collect();
    assert_eq!(receipts.into_iter().collect::<BTreeSet<_>>(), own);
    assert_eq!(bench.names("in/.sealslot").len(), 3);
    assert!(bench.pull(&server, &[]).ok().is_empty());
}

#[test]
fn traps_in_the_place_of_its_own_folder_are_refused() {
    for trap in ["link", "open", "file"] {
        let bench = Bench::new();
        let server = Server::sealing(&bench, &[]);
        super::put(&server, "a.txt", b"first");
        fs::create_dir_all(bench.path("in")).unwrap();
        fs::create_dir(bench.path("outside")).unwrap();
        let own = bench.path("in/.sealslot");
        match trap {
            "link" => symlink(bench.path("outside"), &own).unwrap(),
            "open" => {
                use std::os::unix::fs::PermissionsExt;
                fs::create_dir(&own).unwrap();
                fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
            }
            _ => fs::write(&own, "x").unwrap(),
        }
        let said = bench.pull(&server, &[]).failed(1);
        assert!(said.contains("move it away"), "{trap}: {said}");
        assert!(bench.names("outside").is_empty());
    }
}

#[test]
fn a_link_in_the_place_of_what_is_not_complete_is_not_followed() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = super::put(&server, "a.txt", b"first");
    bench.pull(&server, &["--until", "1h"]).ok();
    let victim = bench.write("victim", "old");
    symlink(&victim, bench.partial(&server).join(&id)).unwrap();
    let ran = bench.pull(&server, &[]);
    assert_eq!(ran.code(), Some(1), "{}", ran.stderr());
    assert_eq!(bench.read("victim"), b"old");
}
