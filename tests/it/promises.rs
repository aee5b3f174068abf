//! Promise 1: nothing of what clients send is ever written in the clear, whatever becomes of it.

use std::cell::Cell;
use std::fs;

use data_encoding::{BASE64, BASE64URL, HEXLOWER, HEXUPPER};
use http::{Method, Request};
use rustls::version::TLS13;

use crate::client::{Multipart, Protocol, percent_encoded};
use crate::program::Bench;
use crate::server::{Server, text, wait_until};
use crate::store::{in_bucket, only_in_a_folder};

/// More than an upload holds in memory.
const LARGE: usize = 1 << 20;

/// What must not be found anywhere. Each has a number, so that the one that is found tells where it came from.
#[derive(Default)]
struct Marks(Cell<u32>);

impl Marks {
    const STEM: &str = "QwLeakageMarkZx";

    fn next(&self, what: &str) -> String {
        self.0.set(self.0.get() + 1);
        format!("{}{:03}{what}", Self::STEM, self.0.get())
    }

    /// A payload that is all marks, so that any piece of it would be seen.
    fn payload(&self, what: &str, size: usize) -> Vec<u8> {
        let mark = self.next(what) + "\n";
        mark.repeat(size / mark.len() + 1).into_bytes()
    }
}

/// The encodings in which a mark could be written out, as far as its stem goes.
fn disguises() -> Vec<Vec<u8>> {
    let stem = Marks::STEM.as_bytes();
    let percent = percent_encoded(stem);
    let bytes: Vec<_> = stem.iter().map(u8::to_string).collect();
    let mut disguises = vec![
        stem.to_vec(),
        HEXLOWER.encode(stem).into_bytes(),
        HEXUPPER.encode(stem).into_bytes(),
        percent.to_ascii_lowercase().into_bytes(),
        percent.into_bytes(),
        bytes.join(", ").into_bytes(),
        bytes.join(",").into_bytes(),
        stem.iter().rev().copied().collect(),
    ];
    for encoding in [&BASE64, &BASE64URL] {
        for before in 0..3 {
            // Whatever stands around it, these characters are the same.
            let encoded = encoding.encode(&[&vec![0; before][..], stem].concat());
            let inner = &encoded[4..encoded.len() - 4];
            disguises.push(inner.as_bytes().to_vec());
        }
    }
    disguises
}

/// Searches everything in the bench, file names too: the data, the certificates, what the server said.
fn leaks(bench: &Bench) -> Vec<String> {
    let disguises = disguises();
    let shows = |bytes: &[u8]| {
        let shown = |disguise: &&Vec<u8>| memchr::memmem::find(bytes, disguise).is_some();
        disguises
            .iter()
            .find(shown)
            .map(|disguise| String::from_utf8_lossy(disguise).into_owned())
    };
    let files = bench.files();
    let leaks = files.iter().filter_map(|(path, contents)| {
        let name = path.to_string_lossy();
        let found = shows(name.as_bytes()).or_else(|| shows(contents))?;
        let line = String::from_utf8_lossy(contents);
        let line = line
            .lines()
            .find(|line| line.contains(&found))
            .unwrap_or_default();
        Some(format!(
            "{found} in {name}: {}",
            line.chars().take(500).collect::<String>()
        ))
    });
    leaks.collect()
}

#[test]
fn the_search_finds_what_it_is_to_find() {
    for encode in [
        |mark: &[u8]| mark.to_vec(),
        |mark: &[u8]| HEXLOWER.encode(mark).into_bytes(),
        |mark: &[u8]| BASE64.encode(mark).into_bytes(),
        |mark: &[u8]| BASE64.encode(&[b"x", mark].concat()).into_bytes(),
        |mark: &[u8]| BASE64.encode(&[b"xy", mark, b"z"].concat()).into_bytes(),
        |mark: &[u8]| format!("{mark:?}").into_bytes(),
    ] {
        let bench = Bench::new();
        assert!(leaks(&bench).is_empty());
        fs::create_dir_all(bench.path("a/b")).unwrap();
        let mark = Marks::default().next("x");
        bench.write(
            "a/b/c",
            [b"before ", &encode(mark.as_bytes())[..], b" after"].concat(),
        );
        assert_eq!(leaks(&bench).len(), 1);
    }
}

/// One request with marks in every place that a client can fill.
fn marked(marks: &Marks, method: &str, path: &str) -> http::request::Builder {
    let query = if path.contains('?') { "&" } else { "?" };
    let path = format!(
        "{path}{query}{}={}",
        marks.next("query"),
        marks.next("value")
    );
    Request::builder()
        .method(method)
        .uri(path)
        .header("user-agent", marks.next("agent"))
        .header("referer", format!("https://{}/", marks.next("referer")))
        .header("cookie", marks.next("cookie"))
        .header(
            format!("x-{}", marks.next("header").to_ascii_lowercase()),
            marks.next("header"),
        )
}

/// Sends it over both protocols.
fn send(server: &Server<'_>, expected: u16, request: http::request::Builder, body: &[u8]) {
    let request = request.body(body.to_vec()).unwrap();
    for protocol in Protocol::ALL {
        let answer = server.send_over(protocol, &TLS13, request.clone());
        let uri = request.uri();
        assert_eq!(
            answer.status,
            expected,
            "{protocol:?} {uri}: {}",
            answer.text()
        );
    }
}

fn uploads(server: &Server<'_>, marks: &Marks) {
    for size in [10, 100_000, LARGE] {
        let path = format!("/uploads/{}", marks.next("put"));
        let body = marks.payload("payload", size);
        let request =
            marked(marks, "PUT", &path).header("content-type", format!("x/{}", marks.next("type")));
        send(server, 201, request, &body);

        let disposition = format!("attachment; filename=\"{}\"", marks.next("raw"));
        let request = marked(marks, "POST", "/uploads")
            .header("content-type", format!("x/{}", marks.next("type")))
            .header("content-disposition", disposition);
        send(server, 201, request, &body);

        let form = form(marks, size).finish();
        for accept in ["text/html", "application/json"] {
            let request = marked(marks, "POST", "/uploads")
                .header("content-type", Multipart::TYPE)
                .header("accept", accept);
            send(server, 201, request, &form);
        }
    }
    let inner = marks.payload("inner", 1000);
    let sealed = sealslot::seal::seal(&[Bench::recipient()], &[], &inner).unwrap();
    let path = format!("/uploads/{}.age", marks.next("sealed"));
    let request = marked(marks, "PUT", &path);
    let request = request.header(
        "content-type",
        format!("application/age; x={}", marks.next("type")),
    );
    send(server, 201, request, &sealed);
}

fn form(marks: &Marks, size: usize) -> Multipart {
    let payload = marks.payload("file", size);
    let media_type = format!("x/{}", marks.next("type"));
    Multipart::new()
        .file(&marks.next("filename"), &media_type, payload)
        .text(&marks.next("field"), marks.next("text"))
        .part(
            &format!(
                "Content-Disposition: form-data; name={}; filename*=UTF-8''{}",
                marks.next("field"),
                marks.next("extended")
            ),
            marks.next("file"),
        )
}

fn refusals(server: &Server<'_>, marks: &Marks) {
    let body = marks.payload("refused", LARGE);
    let path = |marks: &Marks| format!("/uploads/{}", marks.next("path"));
    let media_type = |marks: &Marks| format!("application/age; x={}", marks.next("type"));

    let wrong = format!("Bearer {}", marks.next("token"));
    let path_401 = path(marks);
    let request = marked(marks, "GET", "/uploads").header("authorization", wrong);
    send(server, 401, request, b"");
    let request = marked(marks, "GET", &format!("/uploads/{}", "0".repeat(32)));
    send(server, 401, request, b"");
    let request = marked(marks, "POST", "/decrypt");
    send(server, 401, request, &body);
    let request = marked(marks, "PATCH", &path_401);
    send(server, 405, request, &body);

    let too_large = marks.payload("large", 3 * LARGE);
    let request = marked(marks, "PUT", &path(marks));
    send(server, 413, request, &too_large);
    let request = marked(marks, "PUT", &path(marks)).header("content-type", media_type(marks));
    send(server, 422, request, &body);
    let not_a_form = format!("multipart/form-data; boundary=\"{}", marks.next("boundary"));
    let request = marked(marks, "POST", "/uploads").header("content-type", not_a_form);
    send(server, 400, request, &body);
    let other = format!("multipart/form-data; boundary={}", marks.next("boundary"));
    let request = marked(marks, "POST", "/uploads").header("content-type", other);
    send(server, 400, request, &body);
    for broken in [
        form(marks, LARGE).unfinished(),
        form(marks, LARGE).part(&marks.next("headers"), "").finish(),
        form(marks, LARGE)
            .part(
                &format!("{}: {}", marks.next("header"), marks.next("value")),
                "",
            )
            .finish(),
        form(marks, LARGE)
            .part(
                &format!(
                    "Content-Disposition: form-data; name=\"{}",
                    marks.next("name")
                ),
                "",
            )
            .finish(),
    ] {
        let request = marked(marks, "POST", "/uploads").header("content-type", Multipart::TYPE);
        send(server, 400, request, &broken);
    }
    for nowhere in ["/", "/uploads/x/", "/d/", "/healthz/", "/%2e%2e/"] {
        let path = format!("{nowhere}{}", marks.next("nowhere"));
        send(server, 404, marked(marks, "GET", &path), b"");
        send(server, 404, marked(marks, "PUT", &path), &body);
    }
    let path_400 = format!("/uploads/{}%zz", marks.next("path"));
    send(server, 400, marked(marks, "PUT", &path_400), &body);
    let method = marks.next("METHOD");
    send(server, 405, marked(marks, &method, &path(marks)), &body);
    send(server, 204, marked(marks, "OPTIONS", &path(marks)), &body);
    for page in [
        "/",
        "/upload.js",
        "/icon.svg",
        "/recipients",
        "/healthz",
        "/readyz",
    ] {
        send(server, 200, marked(marks, "GET", page), b"");
    }
}

fn encrypting(server: &Server<'_>, marks: &Marks) {
    let bearer = format!("Bearer {}", server.token());
    let body = form(marks, 1000).text("data", marks.next("data")).finish();
    let request = marked(marks, "POST", "/encrypt").header("content-type", Multipart::TYPE);
    send(server, 200, request, &body);
    let urlencoded = format!(
        "{}={}&data={}",
        marks.next("field"),
        marks.next("value"),
        marks.next("data")
    );
    let media_type = "application/x-www-form-urlencoded";
    let request = marked(marks, "POST", "/encrypt").header("content-type", media_type);
    send(server, 200, request, urlencoded.as_bytes());
    let secret = marks.next("secret");
    let sealed = sealslot::seal::seal(&[Bench::recipient()], &[], secret.as_bytes()).unwrap();
    for (data, expected) in [
        (&sealed[..], 200),
        (marks.next("not-sealed").as_bytes(), 422),
    ] {
        for accept in ["*/*", "application/json", "text/html"] {
            let body = Multipart::new().text("data", data).finish();
            let request = marked(marks, "POST", "/decrypt")
                .header("content-type", Multipart::TYPE)
                .header("accept", accept)
                .header("authorization", &bearer);
            send(server, expected, request, &body);
        }
    }
}

fn downloads(server: &Server<'_>) {
    for id in server.listed() {
        for path in [format!("/uploads/{id}"), format!("/uploads/{id}/meta.age")] {
            for method in [Method::GET, Method::HEAD] {
                server.admin(method, &path).is(200);
            }
        }
    }
    server.admin(Method::GET, "/metrics").is(200);
    let id = server.listed().remove(0);
    server
        .admin(Method::DELETE, &format!("/uploads/{id}"))
        .is(204);
}

#[test]
fn nothing_is_written_in_the_clear_on_any_path() {
    let bench = Bench::new();
    let marks = Marks::default();
    let limits = [
        "--log",
        "trace",
        "--max-size",
        "2MiB",
        "--body-timeout",
        "30s",
    ];
    let server = Server::opening(&bench, &limits);
    uploads(&server, &marks);
    refusals(&server, &marks);
    encrypting(&server, &marks);
    downloads(&server);
    assert_eq!(leaks(&bench), [""; 0]);

    // In the middle of their bodies, with much of them on disk.
    let payload = marks.payload("half", LARGE);
    let half_form = form(&marks, LARGE).unfinished();
    let form_type = format!("Content-Type: {}", Multipart::TYPE);
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let path = format!("/uploads/{}", marks.next("half"));
        let media_type = format!("Content-Type: x/{}", marks.next("type"));
        let mut wire = server.begin("PUT", &path, &["Content-Length: 2000000", &media_type]);
        wire.send(&payload);
        under_way.push(wire);
        let mut wire = server.begin("POST", "/uploads", &["Content-Length: 2000000", &form_type]);
        wire.send(&half_form);
        under_way.push(wire);
    }
    if !in_bucket() {
        let staged = || bench.names("data/staging").len();
        wait_until("all are staged", || staged() >= under_way.len());
    }
    assert_eq!(leaks(&bench), [""; 0]);

    // Cut, and reset.
    for (number, wire) in under_way.into_iter().enumerate() {
        if number % 2 == 0 {
            drop(wire);
        } else {
            wire.reset();
        }
    }
    let path = format!("/uploads/{}", marks.next("short"));
    let short = marked(&marks, "PUT", &path).header("content-length", "2000000");
    let short = short.body(payload).unwrap();
    if let Ok(answer) = server.try_send_over(Protocol::Http2, &TLS13, short) {
        answer.refused(400, "body-incomplete");
    }
    wait_until("all are removed", || !bench.is_anything_staged());

    // What is no HTTP, or no proper one.
    for nonsense in [
        format!("{} / HTTP/1.1\r\n\r\n", marks.next("verb ")),
        format!("GET /{} HTTP/9.9\r\n\r\n", marks.next("path")),
        format!("GET / HTTP/1.1\r\n{}\r\n\r\n", marks.next("header")),
        format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\0\r\n\r\n",
            marks.next("value")
        ),
        format!(
            "PUT /uploads/{} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{}\r\n",
            marks.next("x"),
            marks.next("chunk")
        ),
        format!(
            "PUT /uploads/{0} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {0}\r\n\r\n",
            marks.next("x")
        ),
    ] {
        let mut wire = server.wire();
        wire.send(nonsense);
        wire.end_sending();
        assert!(wire.is_ended());
    }
    let log = server.log();
    assert!(log.contains("answered"), "the log is on: {log}");
    assert!(!log.contains(&server.token()));
    assert_eq!(leaks(&bench), [""; 0]);
}

#[test]
fn not_even_where_the_disk_fails() {
    only_in_a_folder();
    let bench = Bench::new();
    let marks = Marks::default();
    let server = Server::sealing(&bench, &["--log", "trace"]);
    // A file where the folder of staged uploads was: nothing can be stored.
    fs::remove_dir(bench.path("data/staging")).unwrap();
    let name = marks.next("name");
    let body = marks.payload("payload", LARGE);
    let request = marked(&marks, "PUT", &format!("/uploads/{name}"));
    send(&server, 500, request, &body);
    let form = form(&marks, LARGE).finish();
    let request = marked(&marks, "POST", "/uploads").header("content-type", Multipart::TYPE);
    send(&server, 500, request, &form);
    assert!(
        server.log().contains("a request failed"),
        "{}",
        server.log()
    );
    assert_eq!(leaks(&bench), [""; 0]);
    assert!(server.listed().is_empty());
}

#[test]
fn a_receipt_shows_its_own_upload_and_no_other() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let first = server.put("/uploads/first", "1").receipt();
    let second = server.put("/uploads/second", "2").receipt();
    assert!(!second.to_string().contains(&text(&first["id"])));
    assert_eq!(first["name"], "first");
}
