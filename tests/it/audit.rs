//! The audit log of a real server: what is in it, what is not, and that it holds together whatever happens.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use http::{Method, Request};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::{Answer, Multipart};
use crate::program::Bench;
use crate::server::{Server, text, wait_until};
use crate::tus::OCTETS;

/// Stands in every name, and must stand nowhere else.
const NAME: &str = "diagnosis-of-somebody";
const LOG: [&str; 2] = ["--audit-log", "audit.log"];

fn lines_of(bench: &Bench, file: &str) -> Vec<Value> {
    let log = String::from_utf8(bench.read(file)).unwrap();
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect()
}

fn lines(bench: &Bench) -> Vec<Value> {
    lines_of(bench, "audit.log")
}

/// The events about an upload, in order.
fn life(lines: &[Value], id: &str) -> Vec<String> {
    let about = lines.iter().filter(|line| line["upload"] == id);
    about.map(|line| text(&line["event"])).collect()
}

fn stop(mut server: Server<'_>) {
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code(), Some(0), "{}", server.log());
}

/// What `audit verify --json` says of files that pass.
#[track_caller]
fn verified(bench: &Bench, args: &[&str]) -> Value {
    let args = [&["audit", "verify", "--json"], args].concat();
    serde_json::from_slice(&bench.run(&args).ok()).unwrap()
}

fn tus(
    server: &Server<'_>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in [&[("tus-resumable", "1.0.0")], headers].concat() {
        request = request.header(name, value);
    }
    server.send(request.body(body.to_vec()).unwrap())
}

#[test]
fn the_whole_life_of_an_upload_is_there_and_nothing_that_a_client_wrote() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &LOG);
    let path = format!("/uploads/{NAME}");
    let id = text(&server.put(&path, "content").receipt()["id"]);
    let form = Multipart::new()
        .text("message", NAME)
        .file(NAME, "text/plain", "in a form");
    let form = server.post_form(form).is(201).json();
    let created = || tus(&server, "POST", "/uploads", &[("upload-length", "10")], b"").is(201);
    let url = created().header("location").to_owned();
    let appended = [OCTETS, ("upload-offset", "0")];
    tus(&server, "PATCH", &url, &appended, b"0123456789").is(204);
    let given_up = created().header("location").to_owned();
    tus(&server, "DELETE", &given_up, &[], b"").is(204);
    server.admin(Method::GET, "/uploads").is(200);
    server.admin(Method::GET, &format!("/uploads/{id}")).is(200);
    server
        .admin(Method::GET, &format!("/uploads/{id}/meta.age"))
        .is(200);
    server
        .admin(Method::DELETE, &format!("/uploads/{id}"))
        .is(204);
    let wrong = "Bearer not-a-token-that-anybody-has";
    let request = Request::get("/uploads").header("authorization", wrong);
    server.send(request.body(Vec::new()).unwrap()).is(401);
    // A token in the wrong place, which looks like an id.
    let misplaced = "0123456789abcdefghijklmnopqrstuv";
    server.get(&format!("/uploads/{misplaced}")).is(401);
    let (token, listed) = (server.token(), server.listed());
    stop(server);

    let lines = lines(&bench);
    let events = life(&lines, &id);
    assert_eq!(events, ["created", "finished", "read", "read", "deleted"]);
    let finished = lines
        .iter()
        .find(|line| line["event"] == "finished")
        .unwrap();
    assert_eq!(
        (&finished["upload"], &finished["size"]),
        (&id.clone().into(), &7.into())
    );
    assert_eq!(finished["by"], "anonymous");
    let created = lines
        .iter()
        .find(|line| line["event"] == "created")
        .unwrap();
    assert_eq!(created["address"], "127.0.0.1");
    let deleted = lines
        .iter()
        .find(|line| line["event"] == "deleted")
        .unwrap();
    assert_eq!(deleted["by"], "admin-token-file");
    for upload in form["uploads"].as_array().unwrap() {
        assert_eq!(life(&lines, &text(&upload["id"])), ["created", "finished"]);
    }
    for listed in listed {
        assert!(life(&lines, &listed).contains(&"finished".to_owned()));
    }
    let id_of = |url: &str| url.rsplit('/').next().unwrap()[..32].to_owned();
    assert_eq!(life(&lines, &id_of(&url)), ["created", "finished"]);
    assert_eq!(life(&lines, &id_of(&given_up)), ["created", "cancelled"]);
    let refused = lines
        .iter()
        .find(|line| line["event"] == "refused")
        .unwrap();
    assert_eq!(
        (&refused["status"], &refused["code"]),
        (&401.into(), &"unauthorized".into())
    );
    assert_eq!(lines[0]["event"], "started");
    assert_eq!(lines.last().unwrap()["event"], "stopped");

    let log = String::from_utf8(bench.read("audit.log")).unwrap();
    let secret = |url: &str| url.rsplit('.').next().unwrap().to_owned();
    for hidden in [
        NAME,
        &token,
        &secret(&url),
        &secret(&given_up),
        wrong,
        misplaced,
        "content",
    ] {
        assert!(!log.contains(hidden), "{hidden}");
    }
    let mode = std::fs::metadata(bench.path("audit.log"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let told = verified(&bench, &["audit.log"]);
    assert_eq!(told["lines"], lines.len());
    // The server has told the same head, in its own log.
    let server_log = String::from_utf8(bench.read("server.log")).unwrap();
    let head = text(&told["head"]);
    assert!(server_log.contains(&head), "{server_log}");
    verified(&bench, &["--head", &head, "audit.log"]);
}

#[test]
fn a_request_that_is_meant_as_another_reads_no_list() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &LOG);
    let meant = [("x-http-method-override", "POST"), ("upload-length", "10")];
    let created = tus(&server, "GET", "/uploads", &meant, b"").is(201);
    let url = created.header("location").to_owned();
    stop(server);
    let lines = lines(&bench);
    let id = url.rsplit('/').next().unwrap()[..32].to_owned();
    assert_eq!(life(&lines, &id), ["created"]);
    assert!(lines.iter().all(|line| line["event"] != "read"));
}

#[test]
fn a_changed_byte_and_a_cut_are_found() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &LOG);
    for _ in 0..5 {
        server.put("/uploads/x", "x").receipt();
    }
    stop(server);
    let head = text(&verified(&bench, &["audit.log"])["head"]);
    let whole = bench.read("audit.log");
    let changed = String::from_utf8(whole.clone()).unwrap();
    bench.write("changed", changed.replacen("finished", "finishes", 1));
    let verify = |args: &[&str]| bench.run(&[&["audit", "verify"], args].concat());
    let line = verify(&["changed"]).failed(65);
    assert!(line.contains("changed: line 3: changed"), "{line}");
    let cut = whole.iter().rposition(|byte| *byte == b'\n').unwrap();
    let cut = whole[..cut]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    bench.write("cut", &whole[..=cut]);
    // A chain alone does not know where it ends.
    verify(&["cut"]).ok();
    let line = verify(&["cut", "--head", &head]).failed(65);
    assert!(line.contains("cut"), "{line}");
    verify(&["none"]).failed(1);
    verify(&["cut", "--head", "short"]).failed(64);
    verify(&[]).failed(64);
}

#[test]
fn killed_and_started_again_it_goes_on() {
    let bench = Bench::new();
    let mut ids = Vec::new();
    for round in 0..3 {
        let mut server = Server::sealing(&bench, &LOG);
        std::thread::scope(|scope| {
            let uploads: Vec<_> = (0..50)
                .map(|_| scope.spawn(|| text(&server.put("/uploads/x", "x").receipt()["id"])))
                .collect();
            ids.extend(uploads.into_iter().map(|upload| upload.join().unwrap()));
        });
        // What was acknowledged is in the log, though nothing had the time to be tidied up.
        server.signal(Signal::KILL);
        server.ended();
        drop(server);
        if round == 1 {
            // A line that the crash tore.
            let log = bench.path("audit.log");
            let mut log = OpenOptions::new().append(true).open(log).unwrap();
            log.write_all(b"{\"seq\":12,\"time\":\"20").unwrap();
        }
    }
    stop(Server::sealing(&bench, &LOG));
    verified(&bench, &["audit.log"]);
    let log = String::from_utf8(bench.read("audit.log")).unwrap();
    assert!(
        log.contains("\"2026#torn\n") || log.contains("\"20#torn\n"),
        "{log}"
    );
    for id in &ids {
        let finished = |line: &str| line.contains("\"finished\"") && line.contains(id);
        assert_eq!(log.lines().filter(|line| finished(line)).count(), 1, "{id}");
    }
    assert_eq!(log.matches("\"started\"").count(), 4);
    assert_eq!(log.matches("\"resumed\"").count(), 1);
}

#[test]
fn nothing_is_taken_in_while_the_log_cannot_be_written() {
    let bench = Bench::new();
    // No file may grow past 16 KiB: the log is the only one that wants to.
    let mut limited = Command::new("sh");
    let serve = bench.command(["serve"]);
    let script = "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\"";
    limited.args(["-c", script]).arg(serve.get_program());
    limited.args(serve.get_args()).current_dir(bench.path(""));
    let recipient = Bench::recipient_text();
    let args = [&["--recipient", &recipient][..], &LOG].concat();
    let server = Server::start_command(&bench, limited, &args, &[]);
    let mut acknowledged = Vec::new();
    let refused = loop {
        let answer = server.put("/uploads/x", "x");
        if answer.status != 201 {
            break answer;
        }
        acknowledged.push(text(&answer.receipt()["id"]));
        assert!(acknowledged.len() < 1000);
    };
    assert!(acknowledged.len() > 10, "{}", server.log());
    refused.refused(503, "audit-unavailable");
    wait_until("uploads are refused before anything else", || {
        server.put("/uploads/x", "x").status == 503
    });
    server
        .put("/uploads/x", "x")
        .refused(503, "audit-unavailable");
    server.get("/readyz").refused(503, "audit-unavailable");
    server.get("/healthz").is(200);
    // Nor does the admin see or do anything.
    server
        .admin(Method::GET, "/uploads")
        .refused(503, "audit-unavailable");
    // The log is rotated, and there is room again.
    std::fs::rename(bench.path("audit.log"), bench.path("audit.log.1")).unwrap();
    wait_until("uploads are taken again", || {
        server.get("/readyz").status == 200
    });
    acknowledged.push(text(&server.put("/uploads/x", "x").receipt()["id"]));
    stop(server);
    verified(&bench, &["audit.log.1", "audit.log"]);
    let both = [bench.read("audit.log.1"), bench.read("audit.log")].concat();
    let both = String::from_utf8_lossy(&both).into_owned();
    for id in &acknowledged {
        // The line that was torn does not count.
        let finished = |line: &Value| line["event"] == "finished" && line["upload"] == *id;
        let whole = both.lines().flat_map(serde_json::from_str::<Value>);
        assert_eq!(whole.filter(finished).count(), 1, "{id}");
    }
}

#[test]
fn refusals_do_not_fill_the_disk() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[&LOG[..], &["--max-size", "10B"]].concat());
    for _ in 0..200 {
        server.put("/uploads/x", "more than ten bytes").is(413);
    }
    stop(server);
    let lines = lines(&bench);
    let refused: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "refused")
        .collect();
    assert!(refused.len() <= 6, "{refused:?}");
    // One is written at once, and those that were only counted are told.
    let times = refused
        .iter()
        .map(|line| line["times"].as_u64().unwrap_or(1));
    assert_eq!(times.sum::<u64>(), 200);
    assert_eq!(refused[0]["code"], "too-large");
    verified(&bench, &["audit.log"]);
}

#[test]
fn a_log_that_cannot_be_kept_is_refused_at_the_start() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &LOG);
    let recipient = Bench::recipient_text();
    let other = ["--data", "other", "--recipient", &recipient];
    let refuses = |log: &[&str]| {
        bench
            .refuses_to_serve(&[&other, log].concat(), &[])
            .failed(1)
    };
    let line = refuses(&LOG);
    assert!(line.contains("in use"), "{line}");
    drop(server);
    bench.write_private("foreign.log", "not a line of a log");
    for (log, said) in [
        ("foreign.log", "damaged"),
        ("no/such/folder", "open"),
        (".", "open"),
        ("/dev/full", "full"),
    ] {
        let line = refuses(&["--audit-log", log]);
        assert!(line.contains(said), "{line}");
    }
    assert_eq!(bench.read("foreign.log"), b"not a line of a log\n");
}

#[test]
fn each_line_says_who_from_where_and_through_which_link() {
    let bench = Bench::new();
    let args = [&LOG[..], &["--withdraw-for", "1h"]].concat();
    let server = Server::sealing(&bench, &args);
    let link = server.link(&json!({}));
    let (at, id) = (text(&link["link"]), text(&link["id"]));
    let create = || {
        let created = tus(&server, "POST", &at, &[("upload-length", "4")], b"").is(201);
        created.header("location").to_owned()
    };
    let patch = |url: &str, offset| {
        let headers = [OCTETS, ("upload-offset", offset)];
        tus(&server, "PATCH", url, &headers, b"four")
    };
    let (taken_back, deleted, refused) = (create(), create(), create());
    patch(&taken_back, "0").is(204);
    patch(&deleted, "0").is(204);
    tus(&server, "DELETE", &taken_back, &[], b"").is(204);
    let upload = |url: &str| url.rsplit('/').next().unwrap()[..32].to_owned();
    let published = format!("/uploads/{}", upload(&deleted));
    server.admin(Method::DELETE, &published).is(204);
    server
        .admin(Method::DELETE, &format!("/links/{id}"))
        .is(204);
    patch(&refused, "0").refused(410, "link-revoked");
    stop(server);

    let lines = lines(&bench);
    let withdrawn = ["created", "finished", "withdrawn"];
    assert_eq!(life(&lines, &upload(&taken_back)), withdrawn);
    let gone = ["created", "finished", "deleted"];
    assert_eq!(life(&lines, &upload(&deleted)), gone);
    assert_eq!(life(&lines, &upload(&refused)), ["created", "refused"]);
    for line in lines.iter().filter(|line| line["upload"].is_string()) {
        assert_eq!(line["link"], id, "{line}");
        assert_eq!(line["address"], "127.0.0.1", "{line}");
        let by = match line["event"].as_str() {
            Some("deleted") => "admin-token-file".to_owned(),
            _ => format!("link:{id}"),
        };
        assert_eq!(line["by"], by, "{line}");
    }
}
