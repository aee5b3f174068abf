//! Upload links over HTTP: who has one hands in, in every way that there is, as much as it takes, and sees nothing.

use std::time::{Duration, SystemTime};

use http::{Method, Request};
use rustls::version::TLS13;
use sealslot::seal;
use serde_json::{Value, json};

use crate::client::{Answer, Multipart, Protocol};
use crate::flight::Flight;
use crate::page::{BROWSER, asking, between};
use crate::program::Bench;
use crate::server::{Server, content, text, wait_until};

const PROTOCOLS: [Protocol; 3] = Protocol::ALL;

impl Server<'_> {
    #[track_caller]
    fn post_link(&self, document: &Value) -> Answer {
        let request = self.as_admin(Method::POST, "/links");
        let request = request.header("content-type", "application/json");
        self.send(request.body(document.to_string().into_bytes()).unwrap())
    }

    /// Makes a link; gives what the answer says of it.
    #[track_caller]
    pub(crate) fn link(&self, document: &Value) -> Value {
        let answer = self.post_link(document).is(201);
        let link = answer.json();
        assert_eq!(
            answer.header("location"),
            format!("/links/{}", text(&link["id"]))
        );
        link
    }

    /// Makes a link; gives where it is: `/d/{token}`.
    #[track_caller]
    fn link_at(&self, document: &Value) -> String {
        text(&self.link(document)["link"])
    }

    /// What the list says of the newest link.
    #[track_caller]
    pub(crate) fn newest_link(&self) -> Value {
        let list = self.admin(Method::GET, "/links").is(200).json();
        list["links"][0].clone()
    }

    /// Puts something by a link, from a program.
    #[track_caller]
    fn put_at(&self, link: &str, name: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::put(format!("{link}/{name}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.to_vec()).unwrap())
    }

    /// An upload that says how large it is and waits to be asked for it: the answer that comes instead.
    #[track_caller]
    fn refused_early(&self, path: &str, headers: &[&str]) -> Answer {
        let headers = [headers, &["Expect: 100-continue"]].concat();
        self.begin("PUT", path, &headers).answer_at_once()
    }
}

impl Bench {
    /// The key that the server does not know, as links name it.
    fn strangers_key(&self) -> String {
        let identity = String::from_utf8(self.read("stranger")).unwrap();
        let identity: seal::x25519::Identity = identity.trim().parse().unwrap();
        identity.to_recipient().to_string()
    }
}

fn token(link: &str) -> &str {
    link.strip_prefix("/d/").unwrap()
}

#[test]
fn links_are_made_listed_and_revoked() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let first = server.link(&json!({}));
    let link = server.link(&json!({
        "label": "Case 117", "expires": "never", "max_uploads": 2, "max_bytes": 1000, "max_file": 500,
        "types": ["image/*"], "extensions": ["pdf"], "keep": 60, "recipients": [bench.strangers_key()],
    }));
    let (id, at) = (text(&link["id"]), text(&link["link"]));
    assert_eq!(token(&at).len(), 32);
    assert_ne!(token(&at), id);
    let mut item = link.clone();
    item.as_object_mut().unwrap().remove("link");
    assert!(text(&item["created"]).ends_with('Z'));
    item["created"] = Value::Null;
    assert_eq!(
        item,
        json!({
            "id": id, "label": "Case 117", "created": null, "expires": null, "state": "open", "max_uploads": 2,
            "max_bytes": 1000, "max_file": 500, "types": ["image/*"], "extensions": ["pdf"], "keep": 60,
            "recipients": [bench.strangers_key()], "used": { "uploads": 0, "bytes": 0 },
            "reserved": { "uploads": 0, "bytes": 0 },
        })
    );
    // Seven days where nothing is said.
    let expires = humantime_of(&first["expires"]);
    let week = Duration::from_hours(7 * 24);
    let about = SystemTime::now() + week - Duration::from_mins(1);
    assert!(expires > about && expires <= SystemTime::now() + week);

    server.put_at(&at, "a.pdf", &[], b"12345").is(201);
    for protocol in PROTOCOLS {
        let request = server.as_admin(Method::GET, "/links").body(Vec::new());
        let list = server
            .send_over(protocol, &TLS13, request.unwrap())
            .is(200)
            .json();
        let ids: Vec<_> = list["links"]
            .as_array()
            .unwrap()
            .iter()
            .map(|link| text(&link["id"]))
            .collect();
        assert_eq!(ids, [id.clone(), text(&first["id"])]);
        assert_eq!(
            list["links"][0]["used"],
            json!({ "uploads": 1, "bytes": 5 })
        );
        assert!(list["links"][0].get("link").is_none());
    }
    let one = format!("/links/{id}");
    assert_eq!(
        server.admin(Method::GET, &one).is(200).json()["state"],
        "open"
    );
    for _ in 0..2 {
        let answer = server.admin(Method::DELETE, &one).is(204);
        assert!(answer.body.is_empty());
    }
    assert_eq!(
        server.admin(Method::GET, &one).is(200).json()["state"],
        "revoked"
    );
    server
        .put_at(&at, "a.pdf", &[], b"x")
        .refused(410, "link-revoked");
    asking(&server, &at, &[]).refused(410, "link-revoked");
    let nobodys = format!("/links/{}", "0".repeat(32));
    server
        .admin(Method::DELETE, &nobodys)
        .refused(404, "no-such-link");
    server
        .admin(Method::GET, &nobodys)
        .refused(404, "no-such-link");
    server
        .admin(Method::GET, "/links/1")
        .refused(404, "not-found");

    // Nobody but who made it was told, and only a hash is kept.
    assert!(!server.log().contains(token(&at)));
    let told = bench.files().into_iter().find(|(_, contents)| {
        contents
            .windows(32)
            .any(|window| window == token(&at).as_bytes())
    });
    assert!(told.is_none(), "{told:?}");
}

fn humantime_of(time: &Value) -> SystemTime {
    let time = text(time);
    let seconds = |text: &str| text.parse::<u64>().unwrap();
    // Days since 1970 (the days from civil algorithm).
    let (y, m, d) = (
        seconds(&time[..4]),
        seconds(&time[5..7]),
        seconds(&time[8..10]),
    );
    let (y, m) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let era = y / 400;
    let of_era = (y - era * 400) * 365 + (y - era * 400) / 4 - (y - era * 400) / 100;
    let days = era * 146_097 + of_era + (153 * m + 2) / 5 + d - 1 - 719_468;
    let time = seconds(&time[11..13]) * 3600 + seconds(&time[14..16]) * 60 + seconds(&time[17..19]);
    SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86400 + time)
}

#[test]
fn every_way_in_leads_through_a_link() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    for protocol in PROTOCOLS {
        let at = server.link_at(&json!({ "max_uploads": 10, "max_bytes": 1_000_000 }));
        let bytes = content(5000);
        let send = |method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]| {
            let mut request = Request::builder().method(method).uri(path);
            // A token beside it, even a wrong one, changes nothing.
            for (name, value) in [headers, &[("authorization", "Bearer wrong")]].concat() {
                request = request.header(name, value);
            }
            server.send_over(protocol, &TLS13, request.body(body.to_vec()).unwrap())
        };
        let raw = [("content-disposition", "attachment; filename=\"raw\"")];
        let mut receipts = vec![
            send(Method::POST, &at, &raw, &bytes).receipt(),
            send(Method::POST, &format!("{at}/"), &raw, &bytes).receipt(),
            send(Method::PUT, &format!("{at}/a%20name"), &[], &bytes).receipt(),
            send(Method::PUT, &format!("{at}/"), &[], &bytes).receipt(),
            send(Method::PUT, &format!("{at}/recipients"), &[], &bytes).receipt(),
        ];
        let names: Vec<_> = receipts
            .iter()
            .map(|receipt| receipt["name"].clone())
            .collect();
        assert_eq!(
            json!(names),
            json!(["raw", "raw", "a name", null, "recipients"])
        );
        let form = Multipart::new()
            .file("f", "a/b", &bytes)
            .text("note", "hello")
            .finish();
        let form = send(
            Method::POST,
            &at,
            &[("content-type", Multipart::TYPE)],
            &form,
        )
        .receipt();
        assert_eq!(form["uploads"].as_array().unwrap().len(), 2);
        receipts.push(form["uploads"][0].clone());
        let tus = ("tus-resumable", "1.0.0");
        let created = send(Method::POST, &at, &[tus, ("upload-length", "5000")], b"").is(201);
        let url = upload_url(&created, &at);
        let patch = [
            tus,
            ("content-type", "application/offset+octet-stream"),
            ("upload-offset", "0"),
        ];
        let patched = send(Method::PATCH, &url, &patch, &bytes).is(204);
        receipts.push(json!({ "id": id_of(&patched) }));
        // The draft as it is now, and an older one.
        for (version, incomplete, complete) in [
            ("8", ("upload-complete", "?0"), ("upload-complete", "?1")),
            (
                "3",
                ("upload-incomplete", "?1"),
                ("upload-incomplete", "?0"),
            ),
        ] {
            let version = ("upload-draft-interop-version", version);
            let created = send(Method::POST, &at, &[version, incomplete], b"").is(201);
            let url = upload_url(&created, &at);
            let patch = [
                version,
                complete,
                ("content-type", "application/partial-upload"),
                ("upload-offset", "0"),
            ];
            receipts.push(send(Method::PATCH, &url, &patch, &bytes).receipt());
        }
        for receipt in &receipts {
            assert!(bench.open_stored(&receipt["id"]).content == bytes);
        }
        let link = server.newest_link();
        assert_eq!(link["used"]["uploads"], receipts.len());
        assert_eq!(link["reserved"], json!({ "uploads": 0, "bytes": 0 }));
        let listed = server
            .admin(Method::GET, "/uploads?limit=1000")
            .is(200)
            .json();
        let through = |receipt: &&Value| {
            let all = listed["uploads"].as_array().unwrap();
            let found = all.iter().find(|upload| upload["id"] == receipt["id"]);
            found.is_some_and(|upload| upload["link"] == link["id"])
        };
        assert_eq!(receipts.iter().filter(through).count(), receipts.len());
    }
}

/// Where an upload goes on that was created through a link: nowhere near it.
#[track_caller]
fn upload_url(created: &Answer, link: &str) -> String {
    let location = created.header("location").to_owned();
    assert!(location.starts_with("/uploads/"), "{location}");
    for (name, value) in &created.headers {
        assert!(!value.to_str().unwrap().contains(token(link)), "{name}");
    }
    location
}

fn id_of(finished: &Answer) -> String {
    let location = finished.header("content-location");
    location.strip_prefix("/uploads/").unwrap().to_owned()
}

#[test]
fn what_a_link_does_not_take_is_refused_before_it_is_sent() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--max-size", "1MiB"]);
    let at = server.link_at(&json!({ "max_file": 1000, "max_bytes": 2000, "types": ["image/*"], "extensions": ["pdf", "tar.gz"] }));
    let pdf = format!("{at}/a.pdf");
    let large = server.refused_early(&pdf, &["Content-Length: 1001"]);
    large.refused(413, "too-large");
    assert_eq!(large.header("upload-limit"), "max-size=1000");
    for (name, media_type, taken) in [
        ("a.PDF", None, true),
        ("a.tar.gz", None, true),
        ("pdf", None, false),
        ("a.gz", None, false),
        ("a.exe", None, false),
        ("a.exe", Some("image/png"), true),
        ("a.exe", Some("IMAGE/png; x=y"), true),
        ("a.pdf.exe", Some("text/plain"), false),
        ("a.exe", Some("image/"), false),
    ] {
        let path = format!("{at}/{name}");
        let media_type = media_type.map(|media_type| format!("Content-Type: {media_type}"));
        let headers: Vec<_> = media_type
            .iter()
            .map(String::as_str)
            .chain(["Content-Length: 10"])
            .collect();
        if taken {
            server.begin_admitted(&path, &headers);
        } else {
            server
                .refused_early(&path, &headers)
                .refused(415, "type-not-accepted");
        }
    }
    wait_until("what was begun and not sent is given back", || {
        server.newest_link()["reserved"]["uploads"] == 0
    });
    // Two of three fit.
    for _ in 0..2 {
        server.put_at(&at, "a.pdf", &[], &content(900)).is(201);
    }
    let full = server.refused_early(&pdf, &["Content-Length: 900"]);
    full.refused(413, "link-bytes-used-up");
    assert_eq!(full.header("upload-limit"), "max-size=200");
    server.put_at(&at, "a.pdf", &[], &content(200)).is(201);
    server
        .refused_early(&pdf, &["Content-Length: 1"])
        .refused(403, "link-used-up");

    let at = server.link_at(&json!({ "max_uploads": 1 }));
    let mut first = server.begin_admitted(&format!("{at}/a"), &["Content-Length: 5"]);
    server
        .refused_early(&format!("{at}/b"), &["Content-Length: 5"])
        .refused(403, "link-used-up");
    first.send("hello");
    first.answer().receipt();
    server
        .refused_early(&format!("{at}/b"), &["Content-Length: 5"])
        .refused(403, "link-used-up");

    let soon = SystemTime::now() + Duration::from_secs(5);
    let at = server.link_at(&json!({ "expires": sealslot::upload::to_rfc3339(soon) }));
    let path = format!("{at}/a");
    server.begin_admitted(&path, &["Content-Length: 5"]);
    wait_until("the link expires", || {
        asking(&server, &at, &[]).status == 410
    });
    server
        .refused_early(&path, &["Content-Length: 5"])
        .refused(410, "link-expired");
    for other in [
        format!("/d/{}", "0".repeat(32)),
        "/d/x".to_owned(),
        "/d/".to_owned(),
    ] {
        let path = format!("{other}/a");
        server
            .refused_early(&path, &["Content-Length: 5"])
            .refused(404, "no-such-link");
    }
    server
        .put_at(&at, "%zz", &[], b"x")
        .refused(400, "malformed-path");
}

#[test]
fn what_a_link_does_not_take_is_refused_over_http2_and_in_every_protocol() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let at = server.link_at(&json!({ "max_file": 1000, "max_bytes": 1500, "extensions": ["pdf"] }));
    server.put_at(&at, "a.pdf", &[], &content(600)).is(201);
    let name = |name: &str| format!("attachment; filename=\"{name}\"");
    let tus_name =
        |name: &str| format!("filename {}", data_encoding::BASE64.encode(name.as_bytes()));
    for protocol in PROTOCOLS {
        for (length, file, status, code) in [
            ("1001", "a.pdf", 413, "too-large"),
            ("901", "a.pdf", 413, "link-bytes-used-up"),
            ("10", "a.exe", 415, "type-not-accepted"),
        ] {
            let tus = Request::post(&at)
                .header("tus-resumable", "1.0.0")
                .header("upload-length", length)
                .header("upload-metadata", tus_name(file));
            let draft = Request::post(&at)
                .header("upload-complete", "?0")
                .header("upload-length", length)
                .header("content-disposition", name(file));
            let whole = Request::post(&at).header("content-disposition", name(file));
            let body = content(length.parse().unwrap());
            for (request, body) in [(tus, vec![]), (draft, vec![]), (whole, body)] {
                let request = request.body(body).unwrap();
                let answer = server.send_over(protocol, &TLS13, request);
                answer.refused(status, code);
            }
        }
    }
    // What does not say how long it is.
    for (length, code) in [(1001, "too-large"), (950, "link-bytes-used-up")] {
        let mut wire = server.begin(
            "PUT",
            &format!("{at}/a.pdf"),
            &["Transfer-Encoding: chunked"],
        );
        wire.send(format!("{length:x}\r\n"));
        wire.send(content(length));
        wire.send("\r\n0\r\n\r\n");
        wire.answer().refused(413, code);
    }
    wait_until("nothing is left of it", || {
        server.newest_link()["reserved"] == json!({ "uploads": 0, "bytes": 0 })
    });
    assert_eq!(
        server.newest_link()["used"],
        json!({ "uploads": 1, "bytes": 600 })
    );
    assert_eq!(server.listed().len(), 1);
}

#[test]
fn each_file_of_a_form_is_held_to_what_a_link_takes() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let at = server.link_at(&json!({ "max_file": 1000, "extensions": ["pdf"], "max_uploads": 2 }));
    let post = |form: Multipart| server.post(&at, Multipart::TYPE, form.finish());
    let pdf = || Multipart::new().file("a.pdf", "application/pdf", content(900));
    post(pdf().file("b.exe", "a/b", "x")).refused(415, "type-not-accepted");
    let large = post(pdf().file("b.pdf", "a/b", content(1001)));
    large.refused(413, "too-large");
    assert_eq!(large.header("upload-limit"), "max-size=1000");
    post(pdf().file("b.pdf", "a/b", "x").file("c.pdf", "a/b", "x")).refused(403, "link-used-up");
    server.kept_nothing();
    assert_eq!(server.newest_link()["used"]["uploads"], 0);
    // An empty field and texts are no files.
    let form = pdf()
        .file("", "application/octet-stream", "")
        .text("note", "x");
    post(form.file("b.pdf", "a/b", "x")).receipt();
    assert_eq!(server.newest_link()["used"]["uploads"], 2);
    assert_eq!(server.newest_link()["state"], "used-up");
}

#[test]
fn a_revoked_link_takes_not_even_the_rest() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let link = server.link(&json!({}));
    let at = text(&link["link"]);
    let create = || {
        let request = Request::post(&at)
            .header("upload-complete", "?0")
            .header("upload-length", "10");
        upload_url(&server.send(request.body(Vec::new()).unwrap()).is(201), &at)
    };
    let url = create();
    server
        .admin(Method::DELETE, &format!("/links/{}", text(&link["id"])))
        .is(204);
    let patch = Request::patch(&url)
        .header("content-type", "application/partial-upload")
        .header("upload-offset", "0")
        .header("upload-complete", "?1");
    let answer = server.send(patch.body(b"0123456789".to_vec()).unwrap());
    answer.refused(410, "link-revoked");
    assert!(server.listed().is_empty());
}

#[test]
fn a_body_under_way_ends_with_its_link() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for protocol in Protocol::ALL {
        let link = server.link(&json!({}));
        let at = text(&link["link"]);
        let tus = ("tus-resumable", "1.0.0");
        let create = Request::post(&at)
            .header(tus.0, tus.1)
            .header("upload-length", "10");
        let created = server.send(create.body(Vec::new()).unwrap()).is(201);
        let url = upload_url(&created, &at);
        let headers = [
            tus,
            ("upload-offset", "0"),
            ("content-type", "application/offset+octet-stream"),
            ("content-length", "8"),
        ];
        let mut patch = Flight::begin(&server, protocol, ("PATCH", &url), &headers);
        patch.send(b"half");
        let by_id = format!("/links/{}", text(&link["id"]));
        server.admin(Method::DELETE, &by_id).is(204);
        patch.send(b"more");
        patch.finish().refused(410, "link-revoked");
    }
    assert!(server.listed().is_empty());
}

#[test]
fn a_link_seals_to_its_own_recipients_alone() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let key = bench.strangers_key();
    let at = server.link_at(&json!({ "recipients": [key] }));
    assert_eq!(
        server.get(&format!("{at}/recipients")).is(200).text(),
        format!("{key}\n")
    );
    let page = server.get(&format!("{at}?lang=en")).is(200).text();
    let own = Bench::recipient_text();
    assert!(page.contains(&key) && !page.contains(&own));
    // It is not the server's key that opens it.
    assert!(
        page.contains("neither can this server") && !page.contains("This server holds the key")
    );

    let receipt = server.put_at(&at, "a.txt", &[], b"for her alone").receipt();
    assert_eq!(receipt["recipients"], json!([key]));
    let folder = bench.upload_folder(&text(&receipt["id"]));
    let folder = folder.to_str().unwrap();
    bench
        .run(&["open", "-i", "key", "-o", "out", folder])
        .failed(65);
    bench
        .run(&["open", "-i", "stranger", "-o", "out", folder])
        .ok();
    assert_eq!(bench.read("out/a.txt"), b"for her alone");
    server
        .admin(Method::GET, &format!("/uploads/{}", text(&receipt["id"])))
        .refused(422, "does-not-open");

    let accept = [("accept", BROWSER)];
    let page = server.put_at(&at, "b.txt", &accept, b"x").is(201).text();
    assert!(between(&page, "class=\"recipients\"", "</dd>").contains(&key));
    // One without recipients of its own has those of the server.
    let at = server.link_at(&json!({}));
    assert_eq!(
        server.get(&format!("{at}/recipients")).is(200).text(),
        format!("{own}\n")
    );
}

#[test]
fn a_link_opens_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let at = server.link_at(&json!({}));
    let receipt = server.put_at(&at, "a.txt", &[], b"x").receipt();
    let id = text(&receipt["id"]);
    let bearer = format!("Bearer {}", token(&at));
    let shown = [("authorization", &*bearer)];
    for path in [
        "/uploads",
        &format!("/uploads/{id}"),
        &format!("/uploads/{id}/0000.age"),
        "/links",
        "/metrics",
    ] {
        asking(&server, path, &shown).refused(401, "unauthorized");
    }
    for below in ["0000.age", &id, "uploads"] {
        asking(&server, &format!("{at}/{below}"), &[]).refused(405, "method-not-allowed");
    }
    let delete = Request::delete(format!("/uploads/{id}")).header("authorization", &bearer);
    server
        .send(delete.body(Vec::new()).unwrap())
        .refused(401, "unauthorized");
    let delete = Request::delete(&at).body(Vec::new()).unwrap();
    server.send(delete).refused(405, "method-not-allowed");
    // Nor does its public name, or one that is nearly right.
    let link = server.newest_link();
    let last = if at.ends_with('0') { '1' } else { '0' };
    for other in [
        text(&link["id"]),
        format!("{}{last}", &token(&at)[..31]),
        token(&at).to_uppercase(),
    ] {
        server
            .put(&format!("/d/{other}/a"), "x")
            .refused(404, "no-such-link");
    }
    let unknown = server.get(&format!("/d/{}", "0".repeat(32)));
    let malformed = server.get("/d/not-a-token");
    assert_eq!(unknown.body, malformed.body);
    assert_eq!(unknown.headers.len(), malformed.headers.len());
}

#[test]
fn only_the_admin_makes_links_and_says_what_is_meant() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    server
        .post("/links", "application/json", "{}")
        .refused(401, "unauthorized");
    server.get("/links").refused(401, "unauthorized");
    let known = [("authorization", "Bearer an-upload-token-that-is-long")];
    asking(&server, "/links", &known).refused(403, "forbidden");
    for document in [
        json!([]),
        json!({ "max_upload": 1 }),
        json!({ "max_bytes": "5GiB" }),
        json!({ "max_file": 0 }),
    ] {
        server.post_link(&document).refused(400, "malformed-link");
    }
    let answer = server.post_link(&json!({ "title": { "xx": "a" } }));
    answer.refused(400, "malformed-link");
    assert!(
        answer.text().contains("title: there is no page in `xx`"),
        "{}",
        answer.text()
    );
    server
        .post_link(&json!({ "label": "x".repeat(200_000) }))
        .refused(413, "too-large");
    let request = server.as_admin(Method::POST, "/links").body(b"{}".to_vec());
    server
        .send(request.unwrap())
        .refused(415, "unsupported-media-type");
    let put = server.as_admin(Method::PUT, "/links").body(b"{}".to_vec());
    let answer = server.send(put.unwrap());
    answer.refused(405, "method-not-allowed");
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
    assert_eq!(
        server.admin(Method::GET, "/links").json(),
        json!({ "links": [] })
    );
}

#[test]
fn the_page_of_a_link_is_its_own() {
    let bench = Bench::new();
    let server = Server::sealing(
        &bench,
        &["--page-title", "Drop of Acme", "--page-field", "message"],
    );
    let at = server.link_at(&json!({
        "title": { "en": "Kim & <b>", "ko": "김앤파트너스" }, "text": "Only <what> we asked for.",
        "fields": ["case=Case number"], "max_uploads": 3, "max_bytes": 2_000_000, "max_file": 1_500_000,
        "types": ["image/*", "application/pdf"], "extensions": ["hwp"], "expires": "never",
    }));
    server.put_at(&at, "a.hwp", &[], &content(500_000)).is(201);
    for (tag, title, kinds, left) in [
        (
            "en",
            "Send files to Kim &amp; &lt;b&gt;",
            "Only pictures, PDF and .hwp.",
            "Files that can still be sent: 2",
        ),
        (
            "ko",
            "김앤파트너스에 파일 보내기",
            "받는 파일: 사진·그림, PDF, .hwp",
            "더 보낼 수 있는 파일: 2개",
        ),
    ] {
        let answer = server.get(&format!("{at}?lang={tag}")).is(200);
        assert_eq!(answer.header("content-language"), tag);
        // Not even to this server: what stands in front of it may log where its pages were asked for from.
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let page = answer.text();
        for part in [
            &format!("<h1>{title}</h1>"),
            "Only &lt;what&gt; we asked for.",
            &format!("action=\"{at}?lang={tag}\""),
            "accept=\"image/*,application/pdf,.hwp\"",
            kinds,
            left,
            "1.5 MB",
            "name=\"case\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("name=\"message\"") && !page.contains("Drop of Acme"));
        let other = if tag == "en" { "ko" } else { "en" };
        assert!(page.contains(&format!("<a href=\"{at}?lang={other}\"")));
        let data = between(&page, "id=\"page-data\">", "</script>");
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["endpoint"], at);
        assert_eq!(data["maxSize"], 1_500_000);
        assert_eq!(
            (&data["mostFiles"], &data["mostBytes"]),
            (&json!(2), &json!(1_500_000))
        );
        assert_eq!(
            data["accept"],
            json!(["image/*", "application/pdf", ".hwp"])
        );
    }
    let head = Request::head(&at).body(Vec::new()).unwrap();
    let head = server.send_over(Protocol::Http2, &TLS13, head).is(200);
    assert!(head.body.is_empty());
    assert!(
        server
            .get(&format!("{at}/"))
            .is(200)
            .text()
            .contains("id=\"form\"")
    );
    // One that says nothing of itself is as the server's.
    let plain = server.link_at(&json!({}));
    let page = server.get(&plain).is(200).text();
    assert!(page.contains("Drop of Acme") && page.contains("name=\"message\""));
    let data: Value =
        serde_json::from_str(between(&page, "id=\"page-data\">", "</script>")).unwrap();
    assert_eq!(
        (&data["mostFiles"], &data["accept"]),
        (&Value::Null, &json!([]))
    );
    // Nothing of any link is anywhere else.
    let home = asking(&server, "/", &[]).is(200);
    assert_eq!(home.header("referrer-policy"), "same-origin");
    assert!(!home.text().contains("/d/"));
}

#[test]
fn receipts_and_problems_lead_back_to_the_link() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let at = server.link_at(&json!({ "max_uploads": 1, "extensions": ["pdf"] }));
    let post = |lang: &str, form: Multipart| {
        let request = Request::post(format!("{at}?lang={lang}"));
        let request = request
            .header("content-type", Multipart::TYPE)
            .header("accept", BROWSER);
        // A form of a page without a referrer comes from nowhere.
        let request = request
            .header("origin", "null")
            .header("authorization", "Basic eDp5");
        server.send(request.body(form.finish()).unwrap())
    };
    let problem = post("ko", Multipart::new().file("a.exe", "a/b", "x"))
        .is(415)
        .text();
    assert!(
        problem.contains(&format!("<a class=\"button\" href=\"{at}?lang=ko\"")),
        "{problem}"
    );
    assert!(problem.contains("받지 않는 종류의 파일입니다"));
    let receipt = post("ko", Multipart::new().file("a.pdf", "a/b", "x")).is(201);
    assert_eq!(receipt.header("referrer-policy"), "no-referrer");
    assert!(
        receipt
            .text()
            .contains(&format!("href=\"{at}?lang=ko\">더 보내기")),
        "{}",
        receipt.text()
    );

    // A link that leads nowhere, or nowhere any more, says what to do, and leads to no form.
    let revoked = server.link(&json!({}));
    server
        .admin(Method::DELETE, &format!("/links/{}", text(&revoked["id"])))
        .is(204);
    for (path, status, code, en, ko) in [
        (
            at.clone(),
            403,
            "link-used-up",
            "This link is used up",
            "다 쓴 링크입니다",
        ),
        (
            text(&revoked["link"]),
            410,
            "link-revoked",
            "This link is closed",
            "닫힌 링크입니다",
        ),
        (
            "/d/typo".to_owned(),
            404,
            "no-such-link",
            "This link leads nowhere",
            "없는 링크입니다",
        ),
    ] {
        for (lang, heading) in [("en", en), ("ko", ko)] {
            let path = format!("{path}?lang={lang}");
            let page = asking(&server, &path, &[("accept", BROWSER)]).is(status);
            let page = page.text();
            assert!(page.contains(&format!("<h1>{heading}</h1>")), "{page}");
            assert!(page.contains(&format!("<code>{code}</code>")));
            assert!(
                !page.contains("class=\"button\"") && !page.contains("/d/"),
                "{page}"
            );
            assert!(page.contains("<a href=\"?lang="));
        }
    }
}

#[test]
fn options_tell_what_a_link_takes() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &["--cors-origin", "https://app.example"]);
    let at = server.link_at(&json!({ "max_file": 1000 }));
    for path in [at.clone(), format!("{at}/"), format!("{at}/name")] {
        let request = Request::options(&path)
            .header("origin", "https://app.example")
            .header("access-control-request-method", "POST");
        let answer = server.send(request.body(Vec::new()).unwrap()).is(204);
        assert_eq!(answer.header("tus-max-size"), "1000");
        assert_eq!(answer.header("upload-limit"), "max-size=1000");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "https://app.example"
        );
    }
    // The page is for who opens it.
    let page = asking(&server, &at, &[("origin", "https://app.example")]).is(200);
    assert!(page.headers.get("access-control-allow-origin").is_none());
    let request = Request::options("/d/none").body(Vec::new()).unwrap();
    server.send(request).refused(404, "no-such-link");
}
