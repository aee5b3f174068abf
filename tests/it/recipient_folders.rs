//! `--recipient FOLDER`: keys that come and go while the server runs.

use std::fs;

use http::Method;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sealslot::keys::{NamedRecipient, read_identities};
use serde_json::Value;

use crate::program::Bench;
use crate::server::{Server, text, wait_until};

fn line_of(bench: &Bench, key: &str) -> (String, String) {
    let identities = read_identities(&bench.path(key), &mut |_| unreachable!());
    let recipient = identities.unwrap()[0].to_recipient().unwrap();
    let named = NamedRecipient::new(recipient, "");
    (named.to_line() + "\n", named.fingerprint())
}

/// Put in place whole, as whoever changes keys should.
fn put(bench: &Bench, name: &str, contents: &str) {
    let new = bench.write("new", contents);
    fs::rename(new, bench.path("keys").join(name)).unwrap();
}

fn fingerprints(receipt: &Value) -> Vec<String> {
    let all = receipt["recipients"].as_array().unwrap().iter();
    all.map(text).collect()
}

fn warnings(server: &Server<'_>) -> usize {
    server
        .log()
        .matches("changed recipients cannot be used")
        .count()
}

#[test]
fn keys_are_added_and_removed_while_uploads_run() {
    let bench = Bench::new();
    let (first, first_print) = line_of(&bench, "key");
    let (second, second_print) = line_of(&bench, "stranger");
    fs::create_dir(bench.path("keys")).unwrap();
    put(&bench, "a.pub", &first);
    // What is no *.pub file is nobody's business.
    put(&bench, "README", "who may read");
    put(&bench, ".hidden.pub", "half written");
    let server = Server::start(&bench, &["--recipient", "keys"], &[]);
    let upload = || server.put("/uploads/report.txt", "content").receipt();
    let lines = || server.get("/recipients").is(200).text();
    assert_eq!(fingerprints(&upload()), [&first_print[..]]);

    // One that began before, and ends after.
    let creation = server.send(
        http::Request::post("/uploads")
            .header("tus-resumable", "1.0.0")
            .header("upload-length", "8")
            .header("content-type", "application/offset+octet-stream")
            .body(b"half".to_vec())
            .unwrap(),
    );
    let url = creation.is(201).header("location").to_owned();

    put(&bench, "b.pub", &second);
    wait_until("the key is taken up", || {
        lines() == format!("{first}{second}")
    });
    let both = upload();
    assert_eq!(fingerprints(&both), [&first_print[..], &second_print]);
    for key in ["key", "stranger"] {
        let folder = bench.upload_folder(&text(&both["id"]));
        let folder = folder.to_str().unwrap();
        bench
            .run(&["open", "-i", key, "-o", &format!("out-{key}"), folder])
            .ok();
    }
    assert!(server.log().contains(&second_print));

    fs::remove_file(bench.path("keys/a.pub")).unwrap();
    wait_until("the key is gone", || lines() == second);
    assert_eq!(fingerprints(&upload()), [&second_print[..]]);
    let page = server.get("/").is(200).text();
    assert!(page.contains(&second_print) && !page.contains(&first_print));
    // The manifest of what began before goes to the keys of its end; its first segment still has the key that was.
    let rest = server.send(
        http::Request::patch(&url)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", "4")
            .header("content-type", "application/offset+octet-stream")
            .body(b"rest".to_vec())
            .unwrap(),
    );
    rest.is(204);
    let (id, _) = url.rsplit_once('/').unwrap().1.split_once('.').unwrap();
    let folder = bench.upload_folder(id);
    let open = |key: &str, file: &str| {
        let file = folder.join(file);
        bench.run(&["open", "-i", key, "-o", "-", file.to_str().unwrap()])
    };
    open("stranger", "meta.age").ok();
    open("key", "meta.age").failed(65);
    assert_eq!(open("key", "0000.age").ok(), b"half");
    assert_eq!(open("stranger", "0001.age").ok(), b"rest");
    let whole = folder.to_str().unwrap();
    bench
        .run(&["open", "-i", "stranger", "-o", "whole", whole])
        .ok();
}

#[test]
fn what_cannot_be_used_keeps_the_keys_before_and_is_said() {
    let bench = Bench::new();
    let (first, first_print) = line_of(&bench, "key");
    let (second, _) = line_of(&bench, "stranger");
    fs::create_dir(bench.path("keys")).unwrap();
    put(&bench, "a.pub", &first);
    let server = Server::start(&bench, &["--recipient", "keys"], &[]);
    let still_first = |warned| {
        wait_until("it is said", || warnings(&server) >= warned);
        assert_eq!(server.get("/recipients").is(200).text(), first);
        let receipt = server.put("/uploads/x", "content").receipt();
        assert_eq!(fingerprints(&receipt), [&first_print[..]]);
    };
    // One that is right beside one that is not: none is taken, so that none is left out.
    put(&bench, "b.pub", "age1 this is no key\n");
    still_first(1);
    put(&bench, "c.pub", &second);
    still_first(2);
    fs::remove_file(bench.path("keys/c.pub")).unwrap();
    still_first(3);
    // A private key in the wrong place is neither taken nor told.
    let private = String::from_utf8(bench.read("stranger")).unwrap();
    put(&bench, "b.pub", &private);
    still_first(4);
    assert!(!server.log().contains(private.trim()));
    for name in ["a.pub", "b.pub"] {
        fs::remove_file(bench.path("keys").join(name)).unwrap();
    }
    wait_until("that there is none is said", || warnings(&server) >= 5);
    assert_eq!(server.get("/recipients").is(200).text(), first);
    fs::rename(bench.path("keys"), bench.path("elsewhere")).unwrap();
    wait_until("that the folder is gone is said", || warnings(&server) >= 6);
    // Put right, it is taken up.
    fs::rename(bench.path("elsewhere"), bench.path("keys")).unwrap();
    put(&bench, "d.pub", &second);
    wait_until("the new key is taken up", || {
        server.get("/recipients").text() == second
    });
    server.admin(Method::GET, "/uploads").is(200);
}

#[test]
fn an_empty_folder_does_not_start() {
    let bench = Bench::new();
    fs::create_dir(bench.path("keys")).unwrap();
    let said = bench.refuses_to_serve(&["--recipient", "keys"], &[]);
    assert!(said.stderr().contains("*.pub"), "{}", said.stderr());
}

#[test]
fn a_file_of_keys_is_watched_too() {
    let bench = Bench::new();
    let (first, _) = line_of(&bench, "key");
    let (second, second_print) = line_of(&bench, "stranger");
    bench.write("team.pub", &first);
    let server = Server::start(&bench, &["--recipient", "team.pub"], &[]);
    let new = bench.write("new", format!("{second}{first}"));
    fs::rename(new, bench.path("team.pub")).unwrap();
    wait_until("the file is taken up", || {
        server.get("/recipients").text() == format!("{second}{first}")
    });
    wait_until("it is said", || server.log().contains(&second_print));
}

#[test]
fn nobody_waits_for_a_pipe() {
    let bench = Bench::new();
    let (first, _) = line_of(&bench, "key");
    let (second, _) = line_of(&bench, "stranger");
    fs::create_dir(bench.path("keys")).unwrap();
    put(&bench, "a.pub", &first);
    let server = Server::start(&bench, &["--recipient", "keys"], &[]);
    let pipe = bench.path("keys/p.pub");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
    wait_until("it is said", || warnings(&server) >= 1);
    // What comes later is seen all the same.
    fs::remove_file(pipe).unwrap();
    put(&bench, "b.pub", &second);
    wait_until("the new key is taken up", || {
        server.get("/recipients").text() == format!("{first}{second}")
    });
}

#[test]
fn a_pipe_in_a_folder_does_not_start() {
    let bench = Bench::new();
    let (first, _) = line_of(&bench, "key");
    fs::create_dir(bench.path("keys")).unwrap();
    put(&bench, "a.pub", &first);
    mknodat(CWD, bench.path("keys/p.pub"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let said = bench.refuses_to_serve(&["--recipient", "keys"], &[]);
    assert!(
        said.stderr().contains("not a regular file"),
        "{}",
        said.stderr()
    );
}

#[test]
fn more_keys_than_a_header_has_room_for_do_not_start() {
    let bench = Bench::new();
    let (first, _) = line_of(&bench, "key");
    bench.write("team.pub", first.repeat(1001));
    let said = bench.refuses_to_serve(&["--recipient", "team.pub"], &[]);
    assert!(
        said.stderr().contains("1001 recipients"),
        "{}",
        said.stderr()
    );
}
