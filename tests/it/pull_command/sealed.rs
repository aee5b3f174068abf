//! `pull --sealed`.

use std::fs;

use super::put;
use crate::program::{Bench, Ran};
use crate::server::{Server, content};

#[test]
fn sealed_uploads_are_fetched_as_they_are_without_a_key() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let large = content(2_000_000);
    let ids = [
        put(&server, "a.txt", b"first"),
        put(&server, "large.bin", &large),
        put(&server, "none", b""),
    ];
    let pull = || Ran::of(bench.bare_pull(server.address, &["--sealed"])).ok();
    assert_eq!(super::lines(&pull()).len(), 3);
    for id in &ids {
        let stored = bench.upload_folder(id);
        let day = stored.parent().unwrap().file_name().unwrap();
        let fetched = bench.path("in").join(day).join(id);
        let mut files = 0;
        for entry in fs::read_dir(&stored).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(
                fs::read(stored.join(&name)).unwrap() == fs::read(fetched.join(&name)).unwrap()
            );
            files += 1;
        }
        assert_eq!(fs::read_dir(&fetched).unwrap().count(), files);
        bench
            .run(&["open", "-i", "key", "-o", "out", fetched.to_str().unwrap()])
            .ok();
    }
    assert!(bench.read("out/large.bin") == large);
    assert!(pull().is_empty());
    // Opened, it is another matter.
    assert_eq!(super::lines(&bench.pull(&server, &[]).ok()).len(), 3);
}

#[test]
fn damage_on_the_server_is_found_without_a_key() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let damaged = put(&server, "damaged.bin", &content(300_000));
    put(&server, "whole.bin", b"whole");
    let segment = bench.upload_folder(&damaged).join("0000.age");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[1000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = Ran::of(bench.bare_pull(server.address, &["--sealed", "--delete"]));
    assert_eq!(ran.code(), Some(65));
    let said = ran.stderr();
    assert!(
        said.contains(&damaged) && said.contains("checksum"),
        "{said}"
    );
    assert_eq!(super::lines(ran.stdout()).len(), 1);
    // What is not here is not removed there.
    assert_eq!(server.listed(), [damaged]);
}
