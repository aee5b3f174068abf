//! How much is kept in all.

use http::{Method, Request};
use rustix::process::Signal;
use rustls::version::TLS13;

use crate::client::{Answer, Multipart, Protocol};
use crate::flight::Flight;
use crate::program::Bench;
use crate::resumable::over_both;
use crate::server::{Server, content, text, wait_until};

const KIB: usize = 1024;

fn put(server: &Server<'_>, protocol: Protocol, size: usize) -> Answer {
    let put = Request::put("/uploads/x").body(content(size)).unwrap();
    server.send_over(protocol, &TLS13, put)
}

/// Bytes of all sealed files.
fn stored(bench: &Bench) -> usize {
    let (staged, published) = (bench.path("data/staging"), bench.path("data/uploads"));
    let files = bench.files();
    let sealed = files
        .iter()
        .filter(|(path, _)| path.starts_with(&staged) || path.starts_with(&published));
    sealed.map(|(_, bytes)| bytes.len()).sum()
}

/// That a body of this length is refused before it is asked for, over both versions of HTTP.
#[track_caller]
fn refused_early(server: &Server<'_>, length: usize, code: &str) {
    let length = length.to_string();
    let line = format!("Content-Length: {length}");
    let headers = ["Expect: 100-continue", &line];
    let mut wire = server.begin("PUT", "/uploads/x", &headers);
    wire.answer_at_once().refused(507, code);
    let headers = [("content-length", &length[..])];
    let flight = Flight::begin(server, Protocol::Http2, ("PUT", "/uploads/x"), &headers);
    flight.answer().unwrap().refused(507, code);
}

#[test]
fn no_more_is_kept_than_the_quota() {
    let bench = Bench::new();
    let quota = ["--quota", "1MiB"];
    let mut server = Server::sealing(&bench, &quota);
    let id = text(&put(&server, Protocol::Http1, 600 * KIB).receipt()["id"]);
    refused_early(&server, 600 * KIB, "quota-reached");
    // However large they are told to be, or not told at all.
    let unknown = |server: &Server<'_>, protocol| {
        let mut flight = Flight::begin(server, protocol, ("PUT", "/uploads/x"), &[]);
        flight.send(&content(600 * KIB));
        flight.finish()
    };
    for protocol in Protocol::ALL {
        unknown(&server, protocol).refused(507, "quota-reached");
    }
    let tus = Request::post("/uploads").header("tus-resumable", "1.0.0");
    let tus = tus.header("upload-length", "600000").body(Vec::new());
    server.send(tus.unwrap()).refused(507, "quota-reached");
    // What came of those that were refused goes when they have their answers.
    wait_until("what was refused is removed", || {
        !bench.is_anything_staged()
    });
    put(&server, Protocol::Http2, 100 * KIB).receipt();
    assert!(stored(&bench) <= 1 << 20);
    // The same after a restart.
    server.signal(Signal::KILL);
    server.ended();
    drop(server);
    let server = Server::sealing(&bench, &quota);
    refused_early(&server, 400 * KIB, "quota-reached");
    server
        .admin(Method::DELETE, &format!("/uploads/{id}"))
        .is(204);
    put(&server, Protocol::Http1, 800 * KIB).receipt();
    refused_early(&server, 400 * KIB, "quota-reached");
    assert!(stored(&bench) <= 1 << 20);
    // It still serves.
    server.get("/readyz").is(200);
    assert_eq!(server.listed().len(), 2);
    let metrics = server.admin(Method::GET, "/metrics").text();
    let counted = "sealslot_refusals_total{code=\"quota-reached\"} 4\n";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn what_breaks_off_gives_its_room_back() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--quota", "2MiB"]);
    for protocol in Protocol::ALL {
        for _ in 0..4 {
            let headers = [("content-length", "1900000")];
            let put = ("PUT", "/uploads/x");
            let mut flight = Flight::begin(&server, protocol, put, &headers);
            flight.send(&content(1200 * KIB));
            // Else it might begin only when the next one has.
            wait_until("a part is staged", || bench.is_anything_staged());
            flight.break_off(crate::flight::Break::Close);
            server.kept_nothing();
        }
    }
    put(&server, Protocol::Http1, 1900 * KIB).receipt();
}

#[test]
fn what_is_announced_takes_no_room_from_others() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--quota", "1MiB"]);
    let first = server.begin_admitted("/uploads/x", &["Content-Length: 900000"]);
    // Of no upload at all, and more than there is.
    let missing = format!("/uploads/{0}.{0}", "0".repeat(32));
    let huge = ["Content-Length: 18446744073709551000"];
    let mut patch = server.begin("PATCH", &missing, &huge);
    assert!(patch.answer_at_once().status >= 400);
    put(&server, Protocol::Http1, 600_000).receipt();
    refused_early(&server, 600_000, "quota-reached");
    drop(first);
}

#[test]
fn what_was_acknowledged_stays_when_the_quota_is_reached() {
    over_both(&["--quota", "2MiB"], |client| {
        let content = content(1200 * KIB);
        // The second half comes when others have taken the room.
        let url = client.tus_new(content.len());
        client.tus_patch(&url, 0, &content[..600 * KIB]).is(204);
        let other = put(&client.server, client.protocol, 1200 * KIB).receipt();
        let full = client.tus_patch(&url, 600 * KIB, &content[600 * KIB..]);
        full.refused(507, "quota-reached");
        let told = full.json()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains("What was acknowledged is kept"), "{told}");
        assert_eq!(client.tus_offset(&url), 600 * KIB);
        let id = text(&other["id"]);
        let delete = format!("/uploads/{id}");
        client.server.admin(Method::DELETE, &delete).is(204);
        client
            .tus_patch(&url, 600 * KIB, &content[600 * KIB..])
            .is(204);
        assert!(client.opened(&url).content == content);
        let id = crate::resumable::id_of(&url);
        let delete = format!("/uploads/{id}");
        client.server.admin(Method::DELETE, &delete).is(204);
        assert_eq!(stored(client.bench), 0);
    });
}

#[test]
fn a_browser_reads_that_there_is_no_room() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--quota", "1MiB"]);
    let form = Multipart::new().file("film.mkv", "a/b", content(20 << 20));
    let request = Request::post("/uploads")
        .header("content-type", Multipart::TYPE)
        .header("accept", "text/html,*/*;q=0.8");
    // As browsers do, it reads only when it has written everything.
    let answer = server.send(request.body(form.finish()).unwrap()).is(507);
    assert!(answer.text().contains("<h1>No room left</h1>"));
    server.kept_nothing();
}

#[test]
fn some_of_the_disk_stays_free() {
    let bench = Bench::new();
    // More than any disk has.
    let server = Server::sealing(&bench, &["--min-free", "1EiB"]);
    refused_early(&server, 1, "store-full");
    server.get("/readyz").refused(507, "store-full");
    drop(server);
    let server = Server::sealing(&bench, &["--min-free", "0"]);
    put(&server, Protocol::Http1, 1).receipt();
    refused_early(&server, 90 << 30, "store-full");
}
