//! How often, how many at a time, and how slowly.

use std::time::Duration;

use http::Request;
use rustls::version::TLS13;

use crate::client::{Answer, PATIENCE, Protocol};
use crate::flight::Flight;
use crate::program::Bench;
use crate::resumable::{PART, over_both};
use crate::server::{Server, content, wait_until};

/// What tells one client from another where they all come from this machine.
const PROXY: [&str; 4] = [
    "--trusted-proxy",
    "127.0.0.1",
    "--forwarded",
    "x-forwarded-for",
];
const ONE: (&str, &str) = ("x-forwarded-for", "192.0.2.1");
const OTHER: (&str, &str) = ("x-forwarded-for", "192.0.2.2");
const TOKEN: (&str, &str) = ("authorization", "Bearer an-upload-token-that-is-long");

fn serve<'a>(bench: &'a Bench, args: &[&str]) -> Server<'a> {
    let args = [&PROXY[..], &["--allow-anonymous"], args].concat();
    Server::sealing(bench, &args)
}

fn put(server: &Server<'_>, protocol: Protocol, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::put("/uploads/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send_over(protocol, &TLS13, request.body(b"x".to_vec()).unwrap())
}

/// An upload that the server has admitted and whose body it waits for.
fn begin(server: &Server<'_>, headers: &[(&str, &str)]) -> crate::client::Wire {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let lines: Vec<_> = lines.collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    server.begin_admitted("/uploads/x", &[&lines[..], &["Content-Length: 1"]].concat())
}

/// That a request like this is refused before its body is asked for, over both versions of HTTP.
#[track_caller]
fn refused_early(server: &Server<'_>, headers: &[(&str, &str)], code: &str) {
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let mut lines: Vec<_> = lines.collect();
    lines.extend(["Expect: 100-continue", "Content-Length: 5"].map(str::to_owned));
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let answer = server.begin("PUT", "/uploads/x", &lines).answer_at_once();
    answer.refused(429, code);
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
    let headers = [headers, &[("content-length", "5")]].concat();
    let flight = Flight::begin(server, Protocol::Http2, ("PUT", "/uploads/x"), &headers);
    flight.answer().unwrap().refused(429, code);
}

#[test]
fn an_address_creates_so_many_uploads_in_a_time() {
    let bench = Bench::new();
    let server = serve(&bench, &["--address-rate", "4/1h"]);
    let tus = |offset: &str| {
        let request = Request::post("/uploads").header("tus-resumable", "1.0.0");
        let request = request.header("upload-length", offset).header(ONE.0, ONE.1);
        server.send(request.body(Vec::new()).unwrap())
    };
    put(&server, Protocol::Http1, &[ONE]).receipt();
    put(&server, Protocol::Http2, &[ONE]).receipt();
    let url = tus("5").is(201).header("location").to_owned();
    tus("1").is(201);
    refused_early(&server, &[ONE], "too-many-requests");
    tus("1").refused(429, "too-many-requests");
    // What was begun goes on, and others are others.
    let patch = Request::patch(url).header("tus-resumable", "1.0.0");
    let patch = patch.header("upload-offset", "0").header(ONE.0, ONE.1);
    let patch = patch.header("content-type", "application/offset+octet-stream");
    server.send(patch.body(b"hello".to_vec()).unwrap()).is(204);
    put(&server, Protocol::Http1, &[OTHER]).receipt();
    let request = Request::put("/uploads/x").header(ONE.0, ONE.1);
    let request = request.header("accept", "text/html");
    let page = server.send(request.body(vec![0; 1 << 20]).unwrap()).is(429);
    assert!(
        page.text().contains("<h1>Too often</h1>"),
        "{}",
        page.text()
    );
    let metrics = server.admin(http::Method::GET, "/metrics").text();
    let counted = "sealslot_refusals_total{code=\"too-many-requests\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_rate_is_earned_back() {
    let bench = Bench::new();
    let server = serve(&bench, &["--address-rate", "1/10s"]);
    put(&server, Protocol::Http1, &[ONE]).receipt();
    put(&server, Protocol::Http1, &[ONE]).refused(429, "too-many-requests");
    wait_until("there is another one", || {
        put(&server, Protocol::Http1, &[ONE]).status == 201
    });
}

#[test]
fn a_token_creates_so_many_uploads_in_a_time() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = serve(
        &bench,
        &["--upload-token-file", "tokens", "--token-rate", "2/1h"],
    );
    put(&server, Protocol::Http1, &[ONE, TOKEN]).receipt();
    put(&server, Protocol::Http2, &[OTHER, TOKEN]).receipt();
    // Wherever it is used.
    refused_early(&server, &[ONE, TOKEN], "too-many-requests");
    refused_early(&server, &[OTHER, TOKEN], "too-many-requests");
    for _ in 0..3 {
        put(&server, Protocol::Http1, &[ONE]).receipt();
    }
}

#[test]
fn what_is_refused_costs_nothing() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let args = ["--upload-token-file", "tokens", "--max-size", "10"];
    let rates = ["--token-rate", "1/1h", "--address-rate", "2/1h"];
    let server = serve(&bench, &[args, rates].concat());
    for _ in 0..4 {
        let request = Request::post("/uploads").header("tus-resumable", "1.0.0");
        let request = request.header("upload-length", "11").header(ONE.0, ONE.1);
        let answer = server.send(request.body(Vec::new()).unwrap());
        answer.refused(413, "too-large");
    }
    put(&server, Protocol::Http1, &[ONE, TOKEN]).receipt();
    // What the token may not, the address still may.
    for _ in 0..3 {
        put(&server, Protocol::Http1, &[ONE, TOKEN]).refused(429, "too-many-requests");
    }
    put(&server, Protocol::Http1, &[ONE]).receipt();
    put(&server, Protocol::Http1, &[ONE]).refused(429, "too-many-requests");
}

#[test]
fn an_address_has_so_many_uploads_at_a_time() {
    let bench = Bench::new();
    let server = serve(&bench, &["--max-uploads-per-address", "2"]);
    let url = {
        let request = Request::post("/uploads").header("tus-resumable", "1.0.0");
        let request = request.header("upload-length", "5");
        let created = server.send(request.body(Vec::new()).unwrap()).is(201);
        created.header("location").to_owned()
    };
    let patch = || {
        let patch = Request::patch(&url).header("tus-resumable", "1.0.0");
        let patch = patch.header("upload-offset", "0").header(ONE.0, ONE.1);
        let patch = patch.header("content-type", "application/offset+octet-stream");
        server.send(patch.body(b"hello".to_vec()).unwrap())
    };
    let (mut first, second) = (begin(&server, &[ONE]), begin(&server, &[ONE]));
    refused_early(&server, &[ONE], "too-many-uploads");
    patch().refused(429, "too-many-uploads");
    put(&server, Protocol::Http1, &[OTHER]).receipt();
    // One that has ended, however it ended, gives its place back.
    first.send("x");
    first.answer().receipt();
    patch().is(204);
    put(&server, Protocol::Http2, &[ONE]).receipt();
    let _third = begin(&server, &[ONE]);
    refused_early(&server, &[ONE], "too-many-uploads");
    drop(second);
    wait_until("the place is free", || {
        put(&server, Protocol::Http1, &[ONE]).status == 201
    });
}

#[test]
fn a_token_has_so_many_uploads_at_a_time_over_all_its_requests() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let args = [
        "--upload-token-file",
        "tokens",
        "--max-uploads-per-token",
        "1",
    ];
    let server = serve(&bench, &args);
    let create = |headers: &[(&str, &str)]| {
        let mut request = Request::post("/uploads").header("tus-resumable", "1.0.0");
        request = request.header("upload-length", "5");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        server.send(request.body(Vec::new()).unwrap())
    };
    let (own, foreign) = (create(&[TOKEN]).is(201), create(&[]).is(201));
    // A request that goes on with an upload shows no token: it counts as that of whoever began it.
    let patch = |url: &str| {
        let patch = Request::patch(url).header("tus-resumable", "1.0.0");
        let patch = patch.header("upload-offset", "0");
        let patch = patch.header("content-type", "application/offset+octet-stream");
        server.send(patch.body(b"hello".to_vec()).unwrap())
    };
    let mut first = begin(&server, &[ONE, TOKEN]);
    refused_early(&server, &[OTHER, TOKEN], "too-many-uploads");
    patch(own.header("location")).refused(429, "too-many-uploads");
    patch(foreign.header("location")).is(204);
    first.send("x");
    first.answer().receipt();
    patch(own.header("location")).is(204);
}

#[test]
fn a_body_that_trickles_is_given_up_and_what_came_of_it_is_kept() {
    // Where nothing at all came for so long, it would be another answer.
    let speed = ["--min-speed", "1MiB", "--body-timeout", "4s"];
    over_both(&speed, |client| {
        let content = content(2 * PART);
        let url = client.tus_new(content.len());
        let mut patch = client.tus_begin(&url, 0, &[]);
        let given_up = || {
            let metrics = client.server.admin(http::Method::GET, "/metrics").text();
            let line = "sealslot_refusals_total{code=\"too-slow\"} ";
            let count = metrics.split_once(line).unwrap().1;
            count.lines().next().unwrap().parse::<u32>().unwrap()
        };
        let before = given_up();
        // It is judged when a piece has come, and so never while one is on its way.
        for piece in content[..PART].chunks(PART / 40) {
            patch.send(piece);
            std::thread::sleep(Duration::from_millis(400));
            if given_up() > before {
                break;
            }
        }
        assert_eq!(given_up(), before + 1);
        if let Some(answer) = patch.answer() {
            answer.refused(408, "too-slow");
        }
        let offset = client.tus_offset(&url);
        assert!(offset > 0 && offset <= PART, "{offset}");
        client.tus_patch(&url, offset, &content[offset..]).is(204);
        assert!(client.opened(&url).content == content);
    });
}

#[test]
fn a_body_may_trickle_where_any_speed_will_do() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--min-speed", "0", "--body-timeout", "4s"]);
    let mut wire = server.begin_admitted("/uploads/x", &["Content-Length: 6"]);
    for byte in ["h", "e", "l", "l", "o", "!"] {
        std::thread::sleep(Duration::from_millis(800));
        wire.send(byte);
    }
    wire.answer().receipt();
}

#[test]
fn a_body_that_trickles_is_told_so_in_a_browser_too() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--body-timeout", "4s"]);
    let headers = ["Content-Length: 4000000", "Accept: text/html"];
    let mut wire = server.begin("PUT", "/uploads/x", &headers);
    wire.set_read_timeout(Duration::from_millis(300));
    let mut head = None;
    wait_until("the server has had enough", || {
        let _ = wire.try_send("x");
        head = wire.try_head().ok();
        head.is_some()
    });
    wire.set_read_timeout(PATIENCE);
    let answer = wire.try_rest(head.unwrap(), &http::Method::PUT).unwrap();
    assert!(answer.is(408).text().contains("<h1>Too slow</h1>"));
    server.kept_nothing();
}
