//! Who gets in with what, and what becomes of those who guess.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use std::{fs, thread};

use http::Request;
use rustix::process::Signal;
use rustls::version::TLS13;

use crate::client::{Answer, Protocol, Wire};
use crate::client_certificates::Authority;
use crate::flight::Flight;
use crate::program::Bench;
use crate::server::{Server, text, wait_until};

/// A token that nobody was given, of the same shape as those that somebody was.
const UNKNOWN: &str = "sst_00000000000000000000000000000000";

fn token(bench: &Bench, name: &str, scope: &str) -> String {
    let printed = bench.run(&["token", "create", name, "--scope", scope]).ok();
    String::from_utf8(printed).unwrap().trim_end().to_owned()
}

fn with_token(
    server: &Server<'_>,
    protocol: Protocol,
    (method, path): (&str, &str),
    token: &str,
) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("authorization", format!("Bearer {token}"));
    server.send_over(protocol, &TLS13, request.body(Vec::new()).unwrap())
}

#[test]
fn a_token_lets_do_what_its_scopes_say() {
    let bench = Bench::new();
    let upload = token(&bench, "scanner", "upload");
    let read = token(&bench, "archive", "read");
    let admin = token(&bench, "operator", "admin");
    let server = Server::opening(&bench, &[]);
    // That there are tokens is a decision about who may upload, on loopback too.
    server.put("/uploads/x", "x").refused(401, "unauthorized");
    assert!(server.log().contains("--allow-anonymous"));
    let put = with_token(&server, Protocol::Http1, ("PUT", "/uploads/x"), &upload);
    let id = text(&put.receipt()["id"]);
    for protocol in Protocol::ALL {
        // The second lets upload, the third read; nobody but the last may do all.
        for (method, path, may_upload, may_read) in [
            ("PUT", "/uploads/x".to_owned(), true, false),
            ("GET", "/".to_owned(), true, false),
            ("GET", "/uploads".to_owned(), false, true),
            ("GET", format!("/uploads/{id}/meta.age"), false, true),
            ("HEAD", format!("/uploads/{id}/meta.age"), false, true),
            ("GET", format!("/uploads/{id}"), false, false),
            ("GET", "/metrics".to_owned(), false, false),
            ("POST", "/decrypt".to_owned(), false, false),
            (
                "DELETE",
                "/uploads/00000000000000000000000000000000".to_owned(),
                false,
                false,
            ),
        ] {
            for (token, may) in [(&upload, may_upload), (&read, may_read), (&admin, true)] {
                let answer = with_token(&server, protocol, (method, &path), token);
                assert_eq!(answer.status != 403, may, "{method} {path}: {answer:?}");
                assert_ne!(answer.status, 401, "{method} {path}");
            }
            let answer = with_token(&server, protocol, (method, &path), UNKNOWN);
            assert_eq!(answer.status, 401, "{method} {path}");
        }
    }
}

#[test]
fn a_token_is_good_until_it_is_revoked_or_expires() {
    let bench = Bench::new();
    let revoked = token(&bench, "revoked", "upload");
    let printed = bench.run(&[
        "token",
        "create",
        "short",
        "--scope",
        "upload",
        "--expires",
        "2s",
    ]);
    let short = String::from_utf8(printed.ok()).unwrap();
    let server = Server::sealing(&bench, &[]);
    let put =
        |token: &str| with_token(&server, Protocol::Http1, ("PUT", "/uploads/x"), token).status;
    assert_eq!(put(&revoked), 201);
    bench.run(&["token", "revoke", "revoked"]).ok();
    assert_eq!(put(&revoked), 401);
    wait_until("the token expires", || put(short.trim_end()) == 401);
    // Those that come later are known at once.
    assert_eq!(put(&token(&bench, "later", "upload")), 201);
}

#[test]
fn token_files_are_read_again_when_they_change() {
    let bench = Bench::new();
    bench.write_private("admins", "the-first-admins-long-token");
    bench.write_private("uploaders", "the-first-uploaders-long-token");
    let files = [
        "--admin-token-file",
        "admins",
        "--upload-token-file",
        "uploaders",
    ];
    let server = Server::sealing(&bench, &files);
    let admin = |token: &str| {
        with_token(&server, Protocol::Http1, ("GET", "/uploads"), token).status == 200
    };
    let put = |token: &str| {
        with_token(&server, Protocol::Http1, ("PUT", "/uploads/x"), token).status == 201
    };
    let replace = |name: &str, token: &str, mode: u32| {
        let next = bench.write("next", token);
        fs::set_permissions(&next, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(next, bench.path(name)).unwrap();
    };
    assert!(admin("the-first-admins-long-token") && put("the-first-uploaders-long-token"));
    replace("admins", "the-second-admins-long-token", 0o600);
    replace("uploaders", "the-second-uploaders-long-token", 0o600);
    wait_until("the new tokens are good", || {
        admin("the-second-admins-long-token") && put("the-second-uploaders-long-token")
    });
    assert!(!admin("the-first-admins-long-token") && !put("the-first-uploaders-long-token"));
    // What is no file of tokens, or one that others can read, changes nothing.
    for (token, mode) in [
        ("short", 0o600),
        ("# none\n", 0o600),
        ("the-third-admins-long-token", 0o644),
    ] {
        let said = server.log().matches("cannot be used").count();
        replace("admins", token, mode);
        wait_until("it is told", || {
            server.log().matches("cannot be used").count() > said
        });
        assert!(admin("the-second-admins-long-token"));
    }
    assert!(!server.log().contains("-long-token"));
}

#[test]
fn another_site_cannot_use_the_browsers_certificate() {
    let bench = Bench::new();
    let authority = Authority::new("clients");
    bench.write("clients.pem", authority.pem());
    let scope = ["--client-ca", "clients.pem", "--client-scope", "*=upload"];
    let server = Server::sealing(&bench, &scope);
    let known = authority.issue("browser", 1);
    let put = |headers: &[&str]| {
        let config = known.config(&server.ca(), &TLS13);
        let mut wire = Wire::connect(server.address, config).unwrap();
        let first = format!("PUT /uploads/x HTTP/1.1\r\nHost: {}", server.address);
        let lines = [&[&first[..]], headers, &["Content-Length: 1", "\r\n"]].concat();
        wire.send(lines.join("\r\n"));
        let _ = wire.try_send("x");
        wire.answer()
    };
    server.put("/uploads/x", "x").refused(401, "unauthorized");
    put(&[]).receipt();
    put(&["Sec-Fetch-Site: same-origin"]).receipt();
    put(&["Sec-Fetch-Site: cross-site"]).refused(403, "cross-site");
    put(&["Origin: https://elsewhere.example"]).refused(403, "cross-site");
    // Of a token and a certificate, the token speaks.
    let unknown = format!("Authorization: Bearer {UNKNOWN}");
    put(&[&unknown]).refused(401, "unauthorized");
    let admin = format!("Authorization: Bearer {}", server.token());
    put(&[&admin]).receipt();
}

/// How long a request with this token takes to be answered, and its status.
fn timed(server: &Server<'_>, token: &str) -> (Duration, u16) {
    let began = Instant::now();
    let answer = with_token(server, Protocol::Http1, ("GET", "/uploads"), token);
    (began.elapsed(), answer.status)
}

#[test]
fn who_guesses_waits_and_nobody_else_does() {
    let bench = Bench::new();
    let admin = token(&bench, "operator", "admin");
    let args = ["--failure-delay", "700ms", "--max-uploads", "1"];
    let server = Server::sealing(&bench, &args);
    let at_least = |delay: u64, (took, status): (Duration, u16)| {
        assert!(
            took >= Duration::from_millis(delay) && status == 401,
            "{took:?} {status}"
        );
    };
    at_least(700, timed(&server, UNKNOWN));
    at_least(1400, timed(&server, UNKNOWN));
    // No credential at all is no guess, nor is an upload that is over; a link that does not exist is one.
    let missing = |path: String| server.send(Request::head(path).body(Vec::new()).unwrap());
    let zeros = "0".repeat(32);
    let no_guesses = (0..3).map(|_| {
        let began = Instant::now();
        server.get("/uploads").refused(401, "unauthorized");
        assert_eq!(missing(format!("/uploads/{zeros}.{zeros}")).status, 404);
        began.elapsed()
    });
    // The others may have waited for the machine.
    let no_guesses = no_guesses.min().unwrap();
    let began = Instant::now();
    assert_eq!(missing(format!("/d/{zeros}")).status, 404);
    let guess = began.elapsed();
    assert!(guess >= Duration::from_millis(2800));
    assert!(no_guesses < guess, "{no_guesses:?} {guess:?}");
    // Where the machine stands still, the guesses may be over in one round before all is asked.
    assert!((0..3).any(|_| known_pass_beside_guesses(&server, &admin)));
    let refused = |code: &str| server.count(&format!("sealslot_refusals_total{{code=\"{code}\"}}"));
    // Three showed nothing, and one guess was for a link.
    assert_eq!(
        refused("unauthorized") + refused("too-many-requests"),
        server.count("sealslot_credentials_failed_total") + 3 - 1
    );
}

/// Whether, while guesses wait, whoever is known passes, and one guess too many is refused: they hold nothing that others need.
fn known_pass_beside_guesses(server: &Server<'_>, admin: &str) -> bool {
    let guesses = || server.count("sealslot_credentials_failed_total");
    let before = guesses();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    with_token(server, Protocol::Http1, ("PUT", "/uploads/x"), UNKNOWN).status
                })
            })
            .collect();
        wait_until("all of them wait", || guesses() >= before + 16);
        let began = Instant::now();
        with_token(server, Protocol::Http1, ("PUT", "/uploads/x"), admin).receipt();
        let answer = with_token(server, Protocol::Http1, ("GET", "/uploads"), UNKNOWN);
        // A guess that waits does so for five seconds.
        let passed = began.elapsed() < Duration::from_secs(4);
        if passed {
            answer.refused(429, "too-many-requests");
            assert_eq!(answer.header("retry-after"), "5");
        }
        for answer in waiting {
            assert_eq!(answer.join().unwrap(), 401);
        }
        passed
    })
}

#[test]
fn a_guess_that_waits_does_not_hold_up_the_end() {
    let bench = Bench::new();
    token(&bench, "operator", "admin");
    let token = format!("Authorization: Bearer {UNKNOWN}");
    let ends_in_time = || {
        let mut server = Server::sealing(&bench, &["--failure-delay", "5s"]);
        let mut guess = server.begin("GET", "/uploads", &[&token]);
        wait_until("it waits", || {
            server.count("sealslot_credentials_failed_total") == 1
        });
        let began = Instant::now();
        server.signal(Signal::TERM);
        guess.answer().refused(401, "unauthorized");
        assert!(server.ended().success());
        began.elapsed() < Duration::from_secs(4)
    };
    // Where the machine stands still, one round takes as long for another reason.
    assert!((0..3).any(|_| ends_in_time()));
}

#[test]
fn what_is_refused_is_not_asked_for_its_body() {
    let bench = Bench::new();
    let read = token(&bench, "archive", "read");
    let server = Server::sealing(&bench, &[]);
    for (token, status, code) in [
        (&read[..], 403, "forbidden"),
        (UNKNOWN, 401, "unauthorized"),
    ] {
        let token = format!("Bearer {token}");
        let headers = [
            &format!("Authorization: {token}")[..],
            "Expect: 100-continue",
            "Content-Length: 5",
        ];
        let mut wire = server.begin("PUT", "/uploads/x", &headers);
        wire.answer_at_once().refused(status, code);
        let headers = [("authorization", &token[..]), ("content-length", "5")];
        let put = ("PUT", "/uploads/x");
        let flight = Flight::begin(&server, Protocol::Http2, put, &headers);
        flight.answer().unwrap().refused(status, code);
    }
}
