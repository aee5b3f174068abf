//! `sealslot open --range`.

use std::fs;

use http::Request;
use proptest::strategy::Strategy;
use sealslot::seal;

use super::{CHUNK, SIZES, in_segments, places, range, some};
use crate::program::Bench;
use crate::resumable::over_both;
use crate::server::{Server, content, text};

/// Opens a part of `input`, to stdout.
fn part(bench: &Bench, range: &str, input: &str) -> crate::program::Ran {
    bench.run(&["open", "-i", "key", "--range", range, input])
}

#[test]
fn any_part_of_an_upload_is_that_of_the_plain_bytes() {
    over_both(&[], |client| {
        let (id, plain) = in_segments(client, &SIZES);
        let folder = client.bench.upload_folder(&id);
        let folder = folder.to_str().unwrap();
        for (asked, expected) in some(12, &range(plain.len(), places(&SIZES))) {
            let ran = part(client.bench, &asked, folder);
            if expected.is_empty() {
                let line = ran.failed(64);
                assert!(
                    line.contains(&format!("there are {} bytes", plain.len())),
                    "{line}"
                );
            } else {
                assert!(ran.ok() == plain[expected], "{asked}");
            }
        }
    });
}

#[test]
fn any_part_of_an_age_file_is_that_of_the_plain_bytes() {
    let bench = Bench::new();
    let sizes = [5 * CHUNK + 1];
    let plain = content(sizes[0]);
    let sealed = seal::seal(&[Bench::recipient()], &[], &plain).unwrap();
    bench.write("x.age", sealed);
    let not_empty =
        range(plain.len(), places(&sizes)).prop_filter("", |(_, range)| !range.is_empty());
    for (asked, expected) in some(12, &not_empty) {
        assert!(
            part(&bench, &asked, "x.age").ok() == plain[expected],
            "{asked}"
        );
    }
    // Into a file, whole or not at all.
    let args = [
        "open", "-i", "key", "--range", "-7", "-o", "out", "--json", "x.age",
    ];
    let said: serde_json::Value = serde_json::from_slice(&bench.run(&args).ok()).unwrap();
    assert_eq!(bench.read("out"), plain[plain.len() - 7..]);
    let expected = serde_json::json!({
        "input": "x.age", "output": "out", "size": 7, "first": plain.len() - 7, "total": plain.len(),
    });
    assert_eq!(said, expected);
    bench.run(&args).failed(1);
    let forced = [&args[..], &["--force"]].concat();
    bench.run(&forced).ok();
}

#[test]
fn a_part_of_what_the_sender_sealed_is_taken_through_both_layers() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let plain = content(4 * CHUNK + 9);
    let sealed = seal::seal(&[Bench::recipient()], &[], &plain).unwrap();
    let request = Request::put("/uploads/x.age").header("content-type", "application/age");
    let receipt = server.send(request.body(sealed.clone()).unwrap()).receipt();
    let folder = bench.upload_folder(&text(&receipt["id"]));
    let folder = folder.to_str().unwrap();
    for (asked, expected) in [
        ("0-0", 0..1),
        ("65535-65537", CHUNK - 1..CHUNK + 2),
        ("-20", plain.len() - 20..plain.len()),
        ("100000-", 100_000..plain.len()),
    ] {
        assert!(
            part(&bench, asked, folder).ok() == plain[expected],
            "{asked}"
        );
    }
    let outer = bench.run(&["open", "-i", "key", "--outer", "--range", "100-", folder]);
    assert!(outer.ok() == sealed[100..]);
    // Damage of the outer layer is called that.
    let segment = bench.upload_folder(&text(&receipt["id"])).join("0000.age");
    let mut damaged = fs::read(&segment).unwrap();
    let at = damaged.len() - 3 * CHUNK;
    damaged[at] ^= 1;
    fs::write(&segment, damaged).unwrap();
    let line = part(&bench, "0-200000", folder).failed(65);
    assert!(
        line.contains("0000.age does not open") && !line.contains("inner"),
        "{line}"
    );
}

#[test]
fn damage_that_is_asked_for_prints_nothing_and_other_damage_does_not_matter() {
    let bench = Bench::new();
    let plain = content(10 * CHUNK);
    let sealed = seal::seal(&[Bench::recipient()], &[], &plain).unwrap();
    let payload = sealed.len() - 10 * (CHUNK + 16);
    let damage = |chunk: usize| {
        let mut damaged = sealed.clone();
        damaged[payload + chunk * (CHUNK + 16)] ^= 1;
        bench.write("x.age", damaged);
    };
    damage(5);
    assert!(part(&bench, "0-300000", "x.age").ok() == plain[..=300_000]);
    part(&bench, "0-400000", "x.age").failed(65);
    let args = [
        "open", "-i", "key", "--range", "0-400000", "-o", "out", "x.age",
    ];
    bench.run(&args).failed(65);
    assert!(!bench.path("out").exists());
    // Without its end, nobody knows where a suffix begins, or that the rest is there.
    damage(9);
    part(&bench, "0-0", "x.age").failed(65);
    bench.write("x.age", &sealed[..sealed.len() - 1000]);
    part(&bench, "0-0", "x.age").failed(65);
}

#[test]
fn what_no_part_can_be_had_of_is_refused_with_a_reason() {
    let bench = Bench::new();
    let sealed = seal::seal(&[Bench::recipient()], &[], b"hello").unwrap();
    bench.write("x.age", &sealed);
    bench.write("plain", b"hello");
    bench
        .run(&[
            "seal",
            "-a",
            "-r",
            &Bench::recipient_text(),
            "-o",
            "armored",
            "plain",
        ])
        .ok();
    fs::create_dir(bench.path("folder")).unwrap();
    for (args, said) in [
        (&["--range", "0-1", "-"][..], "stdin"),
        (&["--range", "0-1", "/dev/null"], "seek"),
        (&["--range", "0-1", "armored"], "armored"),
        (&["--range", "0-1", "x.age", "x.age"], "one IN"),
        (&["--range", "0-1", "-o", "folder", "x.age"], "is a folder"),
        (&["--range", "0-1", "--json", "x.age"], "--json"),
        (&["--range", "5-", "x.age"], "there are 5 bytes"),
        (&["--range", "-0", "x.age"], "there are 5 bytes"),
        (&["--range", "3-1", "x.age"], "not a range"),
        (&["--range", "x", "x.age"], "not a range"),
        (&["--range", "0-1,3-4", "x.age"], "not a range"),
    ] {
        let all = [&["open", "-i", "key"], args].concat();
        let line = bench.run(&all).failed(64);
        assert!(line.contains(said), "{line}");
    }
    let stranger = ["open", "-i", "stranger", "--range", "0-1", "x.age"];
    assert_eq!(bench.run(&stranger).code(), Some(65));
}
