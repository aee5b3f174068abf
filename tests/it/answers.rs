//! What every answer has in common.

use http::{Method, Request};
use rustls::version::TLS13;

use crate::client::{Answer, Protocol};
use crate::program::Bench;
use crate::server::{Server, text, wait_until};

fn is_safe(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"));
    let is_page = answer
        .headers
        .get("content-type")
        .is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/html"));
    // What is no page of ours may do nothing, whatever it holds.
    assert_eq!(policy.ends_with("; sandbox"), !is_page, "{policy}");
    for of_pages in ["cross-origin-opener-policy", "permissions-policy"] {
        assert_eq!(answer.headers.contains_key(of_pages), is_page);
    }
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    // Nothing is kept but what is the same for everybody.
    let kept = answer.header("cache-control");
    let is_form = kept == "private, no-cache";
    let referrer = if is_form {
        "same-origin"
    } else {
        "no-referrer"
    };
    assert_eq!(answer.header("referrer-policy"), referrer);
    assert!(
        ["no-store", "no-cache", "private, no-cache"].contains(&kept),
        "{kept}"
    );
    assert!(!answer.headers.contains_key("set-cookie"));
    assert!(!answer.headers.contains_key("server"));
    for origin in [
        "access-control-allow-origin",
        "access-control-allow-credentials",
    ] {
        assert!(!answer.headers.contains_key(origin));
    }
}

/// Requests for every kind of answer, with its status.
fn every_kind(server: &Server<'_>) -> Vec<(u16, Request<Vec<u8>>)> {
    let id = text(&server.put("/uploads/x", "x").receipt()["id"]);
    let plain = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        request.body(Vec::new()).unwrap()
    };
    let admin = |path: &str| server.as_admin(Method::GET, path).body(Vec::new()).unwrap();
    let ranged = |range: &str| {
        let request = server.as_admin(Method::GET, &format!("/uploads/{id}"));
        request.header("range", range).body(Vec::new()).unwrap()
    };
    let page = Request::get("/nowhere").header("accept", "text/html");
    vec![
        (200, plain("GET", "/")),
        (200, plain("HEAD", "/")),
        (200, plain("GET", "/upload.js")),
        (200, plain("GET", "/icon.svg")),
        (200, plain("GET", "/recipients")),
        (200, plain("GET", "/healthz")),
        (200, plain("GET", "/readyz")),
        (201, plain("PUT", "/uploads/x")),
        (200, admin("/metrics")),
        (200, admin("/uploads")),
        (200, admin(&format!("/uploads/{id}"))),
        (200, admin(&format!("/uploads/{id}/meta.age"))),
        (206, ranged("bytes=0-0")),
        (416, ranged("bytes=9-")),
        (400, admin("/uploads?x=y")),
        (401, plain("GET", "/uploads")),
        (404, plain("GET", "/nowhere")),
        (404, page.body(Vec::new()).unwrap()),
        (405, plain("PUT", "/")),
        (415, plain("POST", "/encrypt")),
    ]
}

#[test]
fn every_answer_carries_the_security_headers() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    for (status, request) in every_kind(&server) {
        for protocol in Protocol::ALL {
            let answer = server.send_over(protocol, &TLS13, request.clone());
            assert_eq!(
                answer.status,
                status,
                "{} {}",
                request.method(),
                request.uri()
            );
            is_safe(&answer);
            assert!(!answer.headers.contains_key("strict-transport-security"));
        }
    }
}

#[test]
fn browsers_are_told_to_insist_on_tls_outside_development() {
    let bench = Bench::new();
    bench.run(&["certs"]).ok();
    let recipient = Bench::recipient_text();
    let reachable = [
        "--listen",
        "0.0.0.0:0",
        "--recipient",
        &recipient,
        "--allow-anonymous",
    ];
    let mut server = Server::start(&bench, &reachable, &[]);
    server.address.set_ip([127, 0, 0, 1].into());
    for path in ["/", "/healthz", "/nowhere", "/uploads"] {
        let answer = server.get(path);
        is_safe(&answer);
        assert_eq!(
            answer.header("strict-transport-security"),
            "max-age=31536000"
        );
    }
    server.put("/uploads/x", "x").receipt();
    // Nobody was made admin.
    assert!(!bench.path("data/admin.token").exists());
    server.get("/uploads").refused(401, "unauthorized");
}

#[test]
fn what_is_not_there_and_what_does_not_answer() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for path in [
        "/x",
        "/uploads/a/b",
        "/favicon.ico",
        "/.env",
        "//",
        "/uploads//",
        "/UPLOADS",
        "/healthz/",
        "/style.css",
    ] {
        server.get(path).refused(404, "not-found");
    }
    let id = "0".repeat(32);
    for (path, allowed) in [
        ("/", "GET, HEAD"),
        ("/upload.js", "GET, HEAD"),
        ("/icon.svg", "GET, HEAD"),
        ("/uploads", "GET, HEAD, POST, OPTIONS"),
        ("/uploads/x", "PUT, OPTIONS"),
        ("/uploads/", "POST, PUT, OPTIONS"),
        (&format!("/uploads/{id}"), "GET, HEAD, PUT, DELETE, OPTIONS"),
        (&format!("/uploads/{id}/meta.age"), "GET, HEAD, PUT"),
        (&format!("/uploads/{id}/0000.age"), "GET, HEAD"),
        ("/encrypt", "POST"),
        ("/decrypt", "POST"),
        ("/recipients", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
    ] {
        for method in [
            "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FROB",
        ] {
            if allowed.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let request = Request::builder().method(method).uri(path);
            let answer = server.send(request.body(Vec::new()).unwrap());
            assert_eq!(answer.header("allow"), allowed);
            if method == "HEAD" {
                answer.is(405);
            } else {
                answer.refused(405, "method-not-allowed");
            }
        }
    }
}

#[test]
fn errors_are_a_page_for_browsers() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let request = Request::get("/nowhere").header("accept", "text/html,*/*;q=0.8");
    let page = server.send(request.body(Vec::new()).unwrap()).is(404);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text().contains("There is nothing at this address."));
    // The page asks nobody else for anything.
    let form = server.get("/").text();
    assert!(
        !form.contains("http:") && !form.contains("https:") && !form.contains("=\"//"),
        "{form}"
    );
    assert!(form.contains("enctype=\"multipart/form-data\"") && form.contains("type=\"file\""));
}

#[test]
fn metrics_count_and_name_nobody() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    server.put("/uploads/a-name-in-metrics", "12345").receipt();
    server.get("/nowhere").refused(404, "not-found");
    let metrics = || server.admin(Method::GET, "/metrics").is(200).text();
    let has = |line| metrics().lines().any(|found| found == line);
    for line in [
        "sealslot_uploads_total 1",
        "sealslot_upload_bytes_total 5",
        "sealslot_answers_total{class=\"4xx\"} 1",
    ] {
        assert!(has(line), "{line}: {}", metrics());
    }
    // The one that asks; the others end a moment after their answers.
    wait_until("the other connections are closed", || {
        has("sealslot_connections 1")
    });
    let metrics = metrics();
    assert!(!metrics.contains("a-name-in-metrics"));
}

#[test]
fn operations_have_a_listener_of_their_own() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--metrics-listen", "127.0.0.1:0"]);
    let address = server.operations();
    let mut operations = server;
    operations.address = address;
    for path in ["/healthz", "/readyz", "/metrics"] {
        is_safe(&operations.get(path).is(200));
    }
    for path in ["/", "/uploads", "/recipients"] {
        operations.get(path).refused(404, "not-found");
    }
    operations.put("/uploads/x", "x").refused(404, "not-found");
}
