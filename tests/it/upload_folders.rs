//! `open` on uploads as the server stores them: whole ones, and what a hostile host could make of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use sealslot::keys::NamedRecipient;
use sealslot::seal;
use sealslot::store::{LocalStore, StoreError};
use sealslot::upload::{ClientName, Kind, NewUpload, Receiver, SessionLimits, Terms, Uploads};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::program::Bench;
use crate::server::wait_until;

const CONTENT: &[u8] = b"what somebody handed in";

/// Puts an upload into the store in `data`, and gives its folder relative to the bench.
pub(crate) fn upload(
    bench: &Bench,
    kind: Kind,
    name: Option<&[u8]>,
    media_type: &str,
    content: &[u8],
) -> PathBuf {
    let data = bench.path("data");
    // Whoever had the store before may not have let go of it yet.
    let mut store = LocalStore::open(&data);
    wait_until("the lock is free", || {
        if let Err(StoreError::Locked { .. }) = store {
            store = LocalStore::open(&data);
        }
        !matches!(store, Err(StoreError::Locked { .. }))
    });
    let store = store.unwrap();
    let recipient = NamedRecipient::new(Bench::recipient(), "");
    let uploads = Uploads::new(
        Arc::new(store),
        vec![recipient],
        Vec::new(),
        SessionLimits::default(),
    );
    let new = NewUpload {
        submission: None,
        kind,
        name: name.map(ClientName::new),
        media_type: Some(media_type.to_owned()),
        length: None,
        terms: Terms::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let received = runtime.block_on(async {
        let mut receiver = Receiver::begin(&uploads, new, false).await.unwrap();
        receiver.write(content).await.unwrap();
        receiver.finish().await.unwrap()
    });
    let receipt = uploads.publish(vec![received]).unwrap().remove(0);
    let day = receipt.id.day().to_string();
    Path::new("data/uploads")
        .join(day)
        .join(receipt.id.to_string())
}

fn file(bench: &Bench, name: &str, content: &[u8]) -> PathBuf {
    upload(
        bench,
        Kind::File,
        Some(name.as_bytes()),
        "text/plain",
        content,
    )
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn open(bench: &Bench, folder: &Path) -> Vec<u8> {
    bench
        .run(&["open", "-i", "key", "-o", "out", text(folder)])
        .ok()
}

/// The upload does not open, and leaves nothing behind; gives what is said about it.
#[track_caller]
fn refused(bench: &Bench, folder: &Path) -> String {
    let line = bench
        .run(&["open", "-i", "key", "-o", "out", text(folder)])
        .failed(65);
    assert!(line.starts_with(text(folder)), "{line}");
    let out = bench.path("out");
    assert!(!out.exists() || bench.names("out").is_empty());
    line
}

#[test]
fn an_upload_comes_back_under_its_name() {
    let bench = Bench::new();
    for content in [CONTENT, b"", &vec![7; 300_000]] {
        let folder = file(&bench, "Größe.txt", content);
        let printed = open(&bench, &folder);
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(fs::read(bench.path(printed.trim_end())).unwrap(), content);
    }
    // Nothing was overwritten: the second and third got numbers.
    assert_eq!(
        bench.names("out"),
        ["Größe (2).txt", "Größe (3).txt", "Größe.txt"]
    );
    assert_eq!(bench.read("out/Größe.txt"), CONTENT);
}

#[test]
fn force_replaces_what_was_there_but_not_what_was_just_made() {
    let bench = Bench::new();
    let (one, two) = (file(&bench, "a", b"1"), file(&bench, "a", b"2"));
    fs::create_dir(bench.path("out")).unwrap();
    bench.write("out/a", "old");
    let args = [
        "open",
        "-i",
        "key",
        "-o",
        "out",
        "--force",
        "--json",
        text(&one),
        text(&two),
    ];
    let printed = String::from_utf8(bench.run(&args).ok()).unwrap();
    let lines: Vec<serde_json::Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["output"], &lines[1]["output"]),
        (&json!("out/a"), &json!("out/a (2)"))
    );
    assert_eq!(lines[0]["name"], "a");
    assert_eq!(lines[0]["sha256"], HEXLOWER.encode(&Sha256::digest(b"1")));
    assert_eq!(bench.read("out/a"), b"1");
    assert_eq!(bench.read("out/a (2)"), b"2");
}

/// Every file below `out`, relative to it, sorted.
fn files_in_out(bench: &Bench) -> Vec<String> {
    let out = bench.path("out");
    let files = bench.files().into_iter();
    let mut below: Vec<_> = files
        .filter_map(|(path, _)| Some(path.strip_prefix(&out).ok()?.to_str().unwrap().to_owned()))
        .collect();
    below.sort();
    below
}

#[test]
fn a_hostile_name_stays_inside_the_folder() {
    let bench = Bench::new();
    let long = "x".repeat(5000);
    let (deep, up) = ("d/".repeat(5000), "../".repeat(5000) + "escaped");
    let long_folders = format!("{long}/").repeat(40);
    let names: &[&[u8]] = &[
        b"../../escaped",
        b"/etc/escaped",
        b"a/../../../escaped",
        b"./..//./../escaped",
        b"..",
        b"../",
        b"",
        b"/",
        b"C:\\x",
        b"C:\\x\\..\\y",
        b"a\0b",
        b"a\0/../b",
        b"\x1b[2J/\x1b[2J",
        b"\xff\xfe\xfd/\xff",
        "\u{202e}gpj.exe/\u{202e}x".as_bytes(),
        long.as_bytes(),
        long_folders.as_bytes(),
        deep.as_bytes(),
        up.as_bytes(),
        b".sealslot-x.part",
        b".ssh/authorized_keys",
        b"con/con.txt",
        b"-rf",
    ];
    for name in names {
        let folder = upload(&bench, Kind::File, Some(name), "x/y", CONTENT);
        open(&bench, &folder);
    }
    let restored = files_in_out(&bench);
    assert_eq!(restored.len(), names.len(), "{restored:?}");
    for path in &restored {
        for name in path.split('/') {
            assert!(name.len() <= 255 && !name.starts_with('.'), "{path:?}");
        }
        assert!(
            path.split('/').count() <= 32 && path.len() < 2500,
            "{path:?}"
        );
        assert!(
            !path.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{path:?}"
        );
        assert_eq!(bench.read(Path::new("out").join(path)), CONTENT);
    }
    assert_eq!(bench.names("."), ["data", "key", "out", "stranger"]);
}

/// Opens uploads in one run; gives where they went.
#[track_caller]
fn opened(bench: &Bench, args: &[&str], folders: &[&Path]) -> Vec<String> {
    let folders: Vec<_> = folders.iter().map(|folder| text(folder)).collect();
    let args = [
        &["open", "-i", "key", "-o", "out", "--json"],
        args,
        &folders,
    ]
    .concat();
    let printed = String::from_utf8(bench.run(&args).ok()).unwrap();
    let lines = printed.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        crate::server::text(&line["output"])
    });
    lines.collect()
}

#[test]
fn folders_come_back_as_they_were_sent() {
    let bench = Bench::new();
    let names = [
        "photos/2026/a.jpg",
        "photos/2026/b.jpg",
        "photos/Größe/a.jpg",
        "photos/a.jpg",
        "C:\\x\\y",
    ];
    let folders = names.map(|name| file(&bench, name, name.as_bytes()));
    let folders: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
    let went = opened(&bench, &[], &folders);
    let plain = [
        "out/photos/2026/a.jpg",
        "out/photos/2026/b.jpg",
        "out/photos/Größe/a.jpg",
        "out/photos/a.jpg",
        "out/C__x_y",
    ];
    assert_eq!(went, plain);
    for (path, name) in plain.iter().zip(names) {
        assert_eq!(bench.read(path), name.as_bytes());
    }
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        bench.path(path).metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("out/photos"), 0o700);
    assert_eq!(mode("out/photos/2026"), 0o700);
    assert_eq!(mode("out/photos/2026/a.jpg"), 0o600);
    // Once more, nothing is overwritten, and what is there already is shared.
    let again = opened(&bench, &[], &folders[..1]);
    assert_eq!(again, ["out/photos/2026/a (2).jpg"]);
    // Replaced where that is asked for, but for what the same run made.
    let newer = file(&bench, names[0], b"newer");
    let forced = opened(&bench, &["--force"], &[&newer, folders[0]]);
    assert_eq!(
        forced,
        ["out/photos/2026/a.jpg", "out/photos/2026/a (3).jpg"]
    );
    assert_eq!(bench.read("out/photos/2026/a.jpg"), b"newer");
    assert_eq!(files_in_out(&bench).len(), names.len() + 2);
}

#[test]
fn without_a_folder_of_its_own_a_run_joins_no_folder_that_is_there() {
    let bench = Bench::new();
    let names = [
        "bin/ls",
        "bin/deep/cat",
        "Library/LaunchAgents/x.plist",
        "new/a",
        "new/b",
        "top",
    ];
    let folders = names.map(|name| file(&bench, name, name.as_bytes()));
    let folders = folders.each_ref().map(|folder| text(folder));
    for folder in ["bin/deep", "Library/LaunchAgents"] {
        fs::create_dir_all(bench.path(folder)).unwrap();
    }
    let printed = |args: &[&str]| {
        let args = [&["open", "-i", "key"], args, &folders].concat();
        String::from_utf8(bench.run(&args).ok()).unwrap()
    };
    let expected = [
        "./bin (2)/ls",
        "./bin (2)/deep/cat",
        "./Library (2)/LaunchAgents/x.plist",
        "./new/a",
        "./new/b",
        "./top",
    ];
    assert_eq!(printed(&[]).lines().collect::<Vec<_>>(), expected);
    // Nor what a run before it made, and nothing in them is replaced.
    let again = [
        "./bin (3)/ls",
        "./bin (3)/deep/cat",
        "./Library (3)/LaunchAgents/x.plist",
        "./new (2)/a",
        "./new (2)/b",
        "./top",
    ];
    assert_eq!(printed(&["--force"]).lines().collect::<Vec<_>>(), again);
    assert!(bench.names("bin/deep").is_empty() && bench.names("Library/LaunchAgents").is_empty());
    // Whoever names the folder means it.
    let joined = printed(&["-o", "."]);
    assert!(joined.starts_with("./bin/ls\n./bin/deep/cat\n"), "{joined}");
}

#[test]
fn a_folder_and_a_file_of_one_name_stand_side_by_side() {
    let bench = Bench::new();
    let names = ["a", "a/b", "a/c", "c/d", "c", "c"];
    let folders = names.map(|name| file(&bench, name, name.as_bytes()));
    let folders: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
    let expected = [
        "out/a",
        "out/a (2)/b",
        "out/a (2)/c",
        "out/c/d",
        "out/c (2)",
        "out/c (3)",
    ];
    assert_eq!(opened(&bench, &[], &folders), expected);
    for (path, name) in expected.iter().zip(names) {
        assert_eq!(bench.read(path), name.as_bytes());
    }
    // A folder is not replaced either, and keeps nobody from the rest.
    let forced = opened(&bench, &["--force"], &folders[3..5]);
    assert_eq!(forced, ["out/c/d", "out/c (4)"]);
}

#[test]
fn a_link_in_place_of_a_folder_is_not_followed() {
    let bench = Bench::new();
    let names = ["photos/a.jpg", "photos/deep/b.jpg", "in/deep/c.jpg"];
    let folders = names.map(|name| file(&bench, name, CONTENT));
    let folders: Vec<_> = folders.iter().map(PathBuf::as_path).collect();
    fs::create_dir_all(bench.path("out/in")).unwrap();
    fs::create_dir(bench.path("elsewhere")).unwrap();
    bench.write("elsewhere/a.jpg", "old");
    for (link, to) in [
        ("out/photos", "../elsewhere"),
        ("out/in/deep", "../../elsewhere"),
    ] {
        std::os::unix::fs::symlink(to, bench.path(link)).unwrap();
    }
    let expected = [
        "out/photos (2)/a.jpg",
        "out/photos (2)/deep/b.jpg",
        "out/in/deep (2)/c.jpg",
    ];
    assert_eq!(opened(&bench, &["--force"], &folders), expected);
    assert_eq!(bench.names("elsewhere"), ["a.jpg"]);
    assert_eq!(bench.read("elsewhere/a.jpg"), b"old");
    assert!(bench.path("out/photos").is_symlink());
}

#[test]
fn a_path_that_is_too_long_in_its_place_fails_alone() {
    let bench = Bench::new();
    let out = format!("out{}", format!("/{}", "o".repeat(250)).repeat(10));
    let long = format!("{}name", format!("{}/", "x".repeat(250)).repeat(8));
    let (long, short) = (file(&bench, &long, CONTENT), file(&bench, "name", CONTENT));
    let ran = bench.run(&["open", "-i", "key", "-o", &out, text(&long), text(&short)]);
    assert_eq!(ran.code(), Some(1));
    let stderr = ran.stderr();
    assert!(
        stderr.starts_with("sealslot: cannot make the folder"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert_eq!(bench.read(format!("{out}/name")), CONTENT);
}

#[test]
fn what_the_sender_sealed_keeps_its_folders_too() {
    let bench = Bench::new();
    let inner = seal::seal(&[Bench::recipient()], &[], CONTENT).unwrap();
    let sealed = |name: &str| {
        let name = Some(name.as_bytes());
        upload(&bench, Kind::File, name, "application/age", &inner)
    };
    let (scan, bare) = (sealed("scans/1.pdf.age"), sealed("scans/.age"));
    let id = bare.file_name().unwrap().to_str().unwrap();
    let went = opened(&bench, &[], &[&scan, &bare]);
    assert_eq!(went, ["out/scans/1.pdf", &format!("out/scans/{id}")]);
    assert_eq!(bench.read("out/scans/1.pdf"), CONTENT);
}

#[test]
fn an_upload_without_a_name_goes_by_its_id_and_fields_are_json() {
    let bench = Bench::new();
    let unnamed = upload(&bench, Kind::File, None, "x/y", CONTENT);
    let fields = upload(&bench, Kind::Fields, None, "application/json", b"{}");
    open(&bench, &unnamed);
    open(&bench, &fields);
    let id = |folder: &Path| folder.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(bench.read(format!("out/{}", id(&unnamed))), CONTENT);
    assert_eq!(
        bench.read(format!("out/fields-{}.json", id(&fields))),
        b"{}"
    );
}

#[test]
fn a_link_in_the_way_is_not_followed() {
    let bench = Bench::new();
    let folder = file(&bench, "name", CONTENT);
    fs::create_dir(bench.path("out")).unwrap();
    bench.write("victim", "old");
    std::os::unix::fs::symlink("../victim", bench.path("out/name")).unwrap();
    open(&bench, &folder);
    assert_eq!(bench.read("victim"), b"old");
    assert_eq!(bench.read("out/name (2)"), CONTENT);
    bench
        .run(&["open", "-i", "key", "-o", "out", "--force", text(&folder)])
        .ok();
    assert_eq!(bench.read("victim"), b"old");
    assert_eq!(bench.read("out/name"), CONTENT);
}

#[test]
fn a_folder_under_another_name_opens_unless_that_is_an_id() {
    let bench = Bench::new();
    let (one, two) = (file(&bench, "one", b"1"), file(&bench, "two", b"2"));
    fs::rename(bench.path(&one), bench.path("copy")).unwrap();
    open(&bench, Path::new("copy"));
    assert_eq!(bench.read("out/one"), b"1");
    fs::remove_file(bench.path("out/one")).unwrap();
    fs::remove_dir_all(bench.path(&two)).unwrap();
    fs::rename(bench.path("copy"), bench.path(&two)).unwrap();
    assert!(refused(&bench, &two).contains("another upload"));
}

#[test]
fn the_wrong_key_opens_nothing() {
    let bench = Bench::new();
    let folder = file(&bench, "a", CONTENT);
    let line = bench
        .run(&["open", "-i", "stranger", "-o", "out", text(&folder)])
        .failed(65);
    assert!(
        line.contains("meta.age") && line.contains("no identity matches"),
        "{line}"
    );
    assert!(!bench.path("out").exists());
}

#[test]
fn swapped_missing_and_added_segments_are_errors() {
    let bench = Bench::new();
    let (one, two) = (
        file(&bench, "one", b"same size 1"),
        file(&bench, "two", b"same size 2"),
    );
    let segment = |folder: &Path| bench.path(folder.join("0000.age"));
    let genuine = fs::read(segment(&one)).unwrap();
    fs::copy(segment(&two), segment(&one)).unwrap();
    assert!(refused(&bench, &one).contains("0000.age does not open"));
    fs::remove_file(segment(&one)).unwrap();
    assert!(refused(&bench, &one).contains("0000.age is missing"));
    fs::write(segment(&one), genuine).unwrap();
    fs::copy(segment(&two), bench.path(one.join("0001.age"))).unwrap();
    assert!(refused(&bench, &one).contains("0001.age does not belong"));
    fs::rename(
        bench.path(one.join("0001.age")),
        bench.path(one.join("foreign")),
    )
    .unwrap();
    assert!(refused(&bench, &one).contains("foreign does not belong"));
    fs::remove_file(bench.path(one.join("foreign"))).unwrap();
    open(&bench, &one);
    assert_eq!(bench.read("out/one"), b"same size 1");
}

#[test]
fn damage_anywhere_in_an_upload_leaves_no_file() {
    let bench = Bench::new();
    let folder = file(&bench, "a", &vec![1; 200_000]);
    for name in ["meta.age", "0000.age"] {
        let path = bench.path(folder.join(name));
        let genuine = fs::read(&path).unwrap();
        let size = genuine.len();
        for position in [0, 30, size / 2, size - 1] {
            let mut damaged = genuine.clone();
            damaged[position] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(refused(&bench, &folder).contains(name));
            fs::write(&path, &genuine[..position]).unwrap();
            assert!(refused(&bench, &folder).contains(name));
        }
        fs::write(&path, &genuine).unwrap();
    }
    fs::remove_file(bench.path(folder.join("meta.age"))).unwrap();
    assert!(refused(&bench, &folder).contains("no meta.age"));
}

/// Whoever has the public key can seal a manifest, and lacks the file key of any genuine segment.
#[test]
fn a_forged_manifest_cannot_claim_a_genuine_segment() {
    let bench = Bench::new();
    let genuine = file(&bench, "genuine", CONTENT);
    let id = genuine.file_name().unwrap().to_str().unwrap();
    let manifest = json!({
        "v": 1, "id": id, "submission": id, "kind": "file", "name": "forged", "type": null,
        "size": CONTENT.len(),
        "sha256": HEXLOWER.encode(&Sha256::digest(CONTENT)),
        "time": "2026-11-23T12:00:00Z",
        "segments": [{ "size": CONTENT.len(), "key": BASE64.encode(&[7; 16]) }],
    });
    let mut manifest = manifest;
    let mut forge = |segments: Option<serde_json::Value>, sha256: &str| {
        if let Some(segments) = segments {
            manifest["size"] = json!(0);
            manifest["segments"] = segments;
        }
        manifest["sha256"] = json!(sha256);
        let plain = serde_json::to_vec(&manifest).unwrap();
        let meta = seal::seal(&[Bench::recipient()], &[], &plain).unwrap();
        fs::write(bench.path(genuine.join("meta.age")), meta).unwrap();
    };
    let digest = HEXLOWER.encode(&Sha256::digest(CONTENT));
    forge(None, &digest);
    assert!(refused(&bench, &genuine).contains("0000.age does not open"));
    // Nor can it leave the segment out, and a digest that is not that of the content is noticed.
    forge(Some(json!([])), &digest);
    assert!(refused(&bench, &genuine).contains("0000.age does not belong"));
    fs::remove_file(bench.path(genuine.join("0000.age"))).unwrap();
    assert!(refused(&bench, &genuine).contains("digest"));
    forge(None, &HEXLOWER.encode(&Sha256::digest(b"")));
    open(&bench, &genuine);
    assert_eq!(bench.read("out/forged"), b"");
}

#[test]
fn what_the_sender_sealed_is_opened_to_the_core() {
    let bench = Bench::new();
    let content = vec![3; 150_000];
    let inner = seal::seal(&[Bench::recipient()], &[], &content).unwrap();
    let upload = |name: &str, inner: &[u8]| {
        upload(
            &bench,
            Kind::File,
            Some(name.as_bytes()),
            "application/age",
            inner,
        )
    };
    let folder = upload("scan.pdf.age", &inner);
    open(&bench, &folder);
    assert_eq!(bench.read("out/scan.pdf"), content);
    bench
        .run(&[
            "open",
            "-i",
            "key",
            "-o",
            "sealed",
            "--outer",
            text(&folder),
        ])
        .ok();
    assert_eq!(bench.read("sealed/scan.pdf.age"), inner);

    fs::remove_dir_all(bench.path("out")).unwrap();
    let stranger = fs::read_to_string(bench.path("stranger")).unwrap();
    let stranger: seal::x25519::Identity = stranger.trim().parse().unwrap();
    let stranger = seal::Recipient::X25519(stranger.to_recipient());
    let foreign = upload("f.age", &seal::seal(&[stranger], &[], &content).unwrap());
    let line = refused(&bench, &foreign);
    assert!(
        line.contains("inner layer") && line.contains("--outer"),
        "{line}"
    );
    let cut = upload("cut.age", &inner[..inner.len() - 1]);
    assert!(refused(&bench, &cut).contains("inner layer"));
    // Damage to the outer layer is told as such.
    let segment = bench.path(folder.join("0000.age"));
    let mut damaged = fs::read(&segment).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&segment, damaged).unwrap();
    let line = refused(&bench, &folder);
    assert!(
        line.contains("0000.age") && !line.contains("inner layer"),
        "{line}"
    );
}
