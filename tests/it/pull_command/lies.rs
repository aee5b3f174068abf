//! What a server that means no good says, and what comes of it here.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::put;
use crate::lying_server::lie;
use crate::program::{Bench, Ran};
use crate::server::{Server, content};

fn is_segment(path: &str) -> bool {
    path.ends_with("/0000.age")
}

#[test]
fn an_answer_that_ends_early_is_no_upload_that_was_fetched() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    put(&server, "large", &content(500_000));
    let address = lie(&bench, server.address, |path, told| {
        if is_segment(path) {
            // Its end is where the server says it is.
            told.head.push_str("transfer-encoding: chunked\r\n");
            told.body.truncate(told.body.len() / 2);
        }
    });
    // It goes on from half to half, down to the last bytes, and gives up where nothing comes.
    let pull = bench.pull_from(address, &["--retry-for", "1s"]);
    let ran = Ran::of(pull);
    assert_eq!(ran.code(), Some(75), "{}", ran.stderr());
    assert!(ran.stderr().contains("ended before"), "{}", ran.stderr());
    assert!(bench.pulled().is_empty());
    // With the server itself it goes on.
    bench.pull(&server, &[]).ok();
    assert_eq!(bench.pulled().values().next().unwrap().len(), 500_000);
}

#[test]
fn heads_without_bodies_are_no_progress() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    put(&server, "large", &content(500_000));
    let address = lie(&bench, server.address, |path, told| {
        if is_segment(path) {
            told.cut = Some(0);
        }
    });
    let pull = bench.pull_from(address, &["--retry-for", "1s"]);
    let ran = Ran::of(pull);
    assert_eq!(ran.code(), Some(75), "{}", ran.stderr());
    assert!(
        ran.stderr().contains("gave up after 1s"),
        "{}",
        ran.stderr()
    );
}

#[test]
fn more_than_was_asked_for_is_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    put(&server, "large", &content(500_000));
    let address = lie(&bench, server.address, |path, told| {
        if is_segment(path) {
            told.head.push_str("transfer-encoding: chunked\r\n");
            told.body.extend_from_slice(&[0; 1000]);
        }
    });
    let complaint = Ran::of(bench.pull_from(address, &[])).failed(1);
    assert!(complaint.contains("makes no sense"), "{complaint}");
    assert!(bench.pulled().is_empty());
}

#[test]
fn lists_that_no_server_gives_end() {
    let lists: [fn(&mut Value); 4] = [
        |page| page["uploads"][0]["link"] = "x".repeat(70_000).into(),
        |page| page["uploads"][0]["expires"] = "x".repeat(70_000).into(),
        // Behind the page lies what was on it.
        |page| page["next"] = page["uploads"][0]["id"].clone(),
        |page| {
            let again = page["uploads"][0].clone();
            page["uploads"].as_array_mut().unwrap().push(again);
        },
    ];
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    put(&server, "a", b"a");
    put(&server, "b", b"b");
    for (number, change) in lists.into_iter().enumerate() {
        let asked = AtomicUsize::new(0);
        let address = lie(&bench, server.address, move |path, told| {
            if path.starts_with("/uploads?") {
                assert!(asked.fetch_add(1, Ordering::Relaxed) < 9);
                let mut page = serde_json::from_slice(&told.body).unwrap();
                change(&mut page);
                told.body = page.to_string().into();
            }
        });
        for command in [
            &["list"][..],
            &["rm", "--all", "--yes"],
            &["pull", "--into", "in", "-i", "key"],
        ] {
            let url = format!("https://{address}/");
            let fixed = ["--cacert", "certs/ca.pem", &url];
            let mut command = bench.command([command, &fixed].concat());
            command.env("SEALSLOT_TOKEN_FILE", bench.path("data/admin.token"));
            let complaint = Ran::of(command).failed(1);
            assert!(
                complaint.contains("makes no sense"),
                "{number}: {complaint}"
            );
        }
    }
    assert!(bench.pulled().is_empty());
}
