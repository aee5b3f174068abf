//! The admin's side: lists, sealed files, plaintext where the server holds the key, deletion.

use std::fs;

use data_encoding::BASE64;
use http::{Method, Request};
use rustls::version::TLS13;
use sealslot::seal;
use serde_json::Value;

use crate::client::{Answer, Protocol};
use crate::program::Bench;
use crate::server::{Server, content, text};
use crate::store::{in_bucket, only_in_a_folder};

/// Ends within a chunk.
const SIZE: usize = 262_144 + 1000;

fn uploaded(server: &Server<'_>, sent: &[u8]) -> String {
    let request =
        Request::put("/uploads/pl%c3%a4n%22.pdf").header("content-type", "application/pdf");
    let receipt = server.send(request.body(sent.to_vec()).unwrap()).receipt();
    text(&receipt["id"])
}

fn ranged(server: &Server<'_>, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = server.as_admin(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Vec::new()).unwrap())
}

#[test]
fn the_plaintext_comes_back_whole() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let sent = content((3 << 20) + 5);
    let path = format!("/uploads/{}", uploaded(&server, &sent));
    for protocol in Protocol::ALL {
        let request = server
            .as_admin(Method::GET, &path)
            .body(Vec::new())
            .unwrap();
        let answer = server.send_over(protocol, &TLS13, request).is(200);
        assert!(answer.body == sent, "{protocol:?}");
        assert_eq!(answer.header("content-type"), "application/pdf");
        assert_eq!(answer.header("content-length"), sent.len().to_string());
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(
            answer.header("content-disposition"),
            "attachment; filename=\"pl_n_.pdf\"; filename*=UTF-8''pl%C3%A4n%22.pdf"
        );
        let head = server
            .as_admin(Method::HEAD, &path)
            .body(Vec::new())
            .unwrap();
        let head = server.send_over(protocol, &TLS13, head).is(200);
        assert!(head.body.is_empty());
        for name in [
            "content-type",
            "content-length",
            "content-disposition",
            "etag",
        ] {
            assert_eq!(head.header(name), answer.header(name));
        }
    }
    let empty = format!("/uploads/{}", uploaded(&server, b""));
    let answer = server.admin(Method::GET, &empty).is(200);
    assert!(answer.body.is_empty());
}

#[test]
fn ranges_are_cut_exactly() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let sent = content(SIZE);
    let path = format!("/uploads/{}", uploaded(&server, &sent));
    let edges = [
        0,
        1,
        65_535,
        65_536,
        65_537,
        131_072,
        262_143,
        262_144,
        SIZE - 1,
    ];
    for first in edges {
        for last in edges.into_iter().filter(|last| *last >= first) {
            let range = format!("bytes={first}-{last}");
            let answer = ranged(&server, &path, &[("range", &range)]).is(206);
            assert!(answer.body == sent[first..=last], "{range}");
            let expected = format!("bytes {first}-{last}/{SIZE}");
            assert_eq!(answer.header("content-range"), expected);
        }
    }
    for (range, expected) in [
        ("bytes=-1", &sent[SIZE - 1..]),
        ("bytes=-1001", &sent[SIZE - 1001..]),
        ("bytes=-999999999", &sent[..]),
        ("bytes=262144-", &sent[262_144..]),
        ("bytes=262144-999999999", &sent[262_144..]),
    ] {
        let answer = ranged(&server, &path, &[("range", range)]).is(206);
        assert!(answer.body == expected, "{range}");
    }
    for range in [
        &format!("bytes={SIZE}-")[..],
        "bytes=-0",
        "bytes=99999999999999999999-",
    ] {
        let answer = ranged(&server, &path, &[("range", range)]);
        answer.refused(416, "range-not-satisfiable");
        assert_eq!(answer.header("content-range"), format!("bytes */{SIZE}"));
    }
    for range in ["bytes=5-4", "pages=1-2", "bytes=x"] {
        let answer = ranged(&server, &path, &[("range", range)]).is(200);
        assert!(answer.body == sent, "{range}");
    }
    let tag = ranged(&server, &path, &[]).header("etag").to_owned();
    let same = ranged(
        &server,
        &path,
        &[("range", "bytes=0-9"), ("if-range", &tag)],
    );
    assert_eq!(same.is(206).body, sent[..10]);
    let other = ranged(
        &server,
        &path,
        &[("range", "bytes=0-9"), ("if-range", "\"x\"")],
    );
    assert!(other.is(200).body == sent);
}

#[test]
fn sealed_files_are_served_as_they_are_stored() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = uploaded(&server, &content(SIZE));
    for name in ["meta.age", "0000.age"] {
        let stored = bench.sealed_file(&id, name);
        let path = format!("/uploads/{id}/{name}");
        let answer = server.admin(Method::GET, &path).is(200);
        assert!(answer.body == stored);
        assert_eq!(answer.header("content-type"), "application/age");
        assert!(
            answer
                .header("content-disposition")
                .starts_with("attachment")
        );
        let part = ranged(&server, &path, &[("range", "bytes=10-20")]).is(206);
        assert_eq!(part.body, stored[10..=20]);
        let suffix = ranged(&server, &path, &[("range", "bytes=-7")]).is(206);
        assert_eq!(suffix.body, stored[stored.len() - 7..]);
        assert_eq!(
            server.admin(Method::HEAD, &path).header("content-length"),
            stored.len().to_string()
        );
        server.get(&path).refused(401, "unauthorized");
    }
    let meta = server
        .admin(Method::GET, &format!("/uploads/{id}/meta.age"))
        .body;
    let manifest = seal::open(&meta, &[Bench::identity()]).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["id"], *id);
    for name in [
        "0001.age",
        "lock",
        "..%2flock",
        "meta.age%00",
        "9999.age",
        "meta.age/",
    ] {
        let answer = server.admin(Method::GET, &format!("/uploads/{id}/{name}"));
        answer.refused(404, "not-found");
    }
}

#[test]
fn the_list_comes_in_pages_and_order() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    assert!(server.listed().is_empty());
    let mut ids: Vec<_> = (0..7).map(|_| uploaded(&server, b"x")).collect();
    // Made within one millisecond, they are ordered by chance.
    ids.sort();
    assert_eq!(server.listed(), ids);
    let mut seen = Vec::new();
    let mut path = "/uploads?limit=3".to_owned();
    loop {
        let page = server.admin(Method::GET, &path).is(200).json();
        let uploads = page["uploads"].as_array().unwrap();
        assert!(uploads.len() <= 3);
        seen.extend(uploads.iter().map(|upload| text(&upload["id"])));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/uploads?limit=3&after={next}");
    }
    assert_eq!(seen, ids);
    let first = &server.admin(Method::GET, "/uploads?limit=1").json()["uploads"][0];
    let sealed = bench.sealed_file(&ids[0], "0000.age");
    assert_eq!(first["sealed_size"], sealed.len());
    // An id may hold any three letters.
    for told in [".pdf", "application"] {
        assert!(!first.to_string().contains(told), "{first}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=x",
        "x=y",
        "limit",
    ] {
        let answer = server.admin(Method::GET, &format!("/uploads?{query}"));
        answer.refused(400, "malformed-query");
    }
}

#[test]
fn what_is_deleted_is_gone() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let (one, two) = (uploaded(&server, b"1"), uploaded(&server, b"2"));
    let path = format!("/uploads/{one}");
    server
        .send(Request::delete(&path).body(Vec::new()).unwrap())
        .refused(401, "unauthorized");
    let answer = server.admin(Method::DELETE, &path).is(204);
    assert!(answer.body.is_empty());
    for (method, path) in [
        (Method::DELETE, path.clone()),
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/meta.age")),
        (Method::GET, format!("{path}/0000.age")),
    ] {
        server.admin(method, &path).refused(404, "not-found");
    }
    assert_eq!(server.listed(), [two]);
    assert!(!bench.is_stored(&one));
    assert!(!bench.is_anything_staged());
}

#[test]
fn only_the_admin_gets_in() {
    let bench = Bench::new();
    bench.write_private("uploaders", "an-upload-token-that-is-long");
    let server = Server::opening(&bench, &["--upload-token-file", "uploaders"]);
    let token = server.token();
    let with = |method: &str, path: &str, value: Option<String>| {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        server.send(request.body(Vec::new()).unwrap())
    };
    let basic = |password: &str| {
        let pair = BASE64.encode(format!("anyone:{password}").as_bytes());
        Some(format!("Basic {pair}"))
    };
    let put = |value| with("PUT", "/uploads/x", value);
    let id = text(&put(Some("Bearer an-upload-token-that-is-long".into())).receipt()["id"]);
    put(basic("an-upload-token-that-is-long")).receipt();
    put(Some(format!("Bearer {token}"))).receipt();
    put(None).refused(401, "unauthorized");
    put(basic("wrong")).refused(401, "unauthorized");
    for (method, path) in [
        ("GET", "/uploads".to_owned()),
        ("GET", format!("/uploads/{id}")),
        ("GET", format!("/uploads/{id}/meta.age")),
        ("HEAD", format!("/uploads/{id}/meta.age")),
        ("DELETE", format!("/uploads/{id}")),
        ("GET", "/metrics".to_owned()),
        ("POST", "/decrypt".to_owned()),
        // That it is not there is the admin's to know.
        (
            "GET",
            "/uploads/00000000000000000000000000000000".to_owned(),
        ),
    ] {
        let uploader = Some("Bearer an-upload-token-that-is-long".to_owned());
        assert_eq!(with(method, &path, uploader).status, 403, "{method} {path}");
        for value in [
            None,
            Some(format!("Bearer {token}x")),
            Some(format!("Bearer {}", &token[1..])),
            Some(format!("Digest {token}")),
            basic(""),
            basic(&token[1..]),
        ] {
            let answer = with(method, &path, value);
            assert_eq!(answer.status, 401, "{method} {path}");
            assert!(answer.header("www-authenticate").starts_with("Basic "));
            assert!(method == "HEAD" || answer.json()["code"] == "unauthorized");
        }
    }
    for value in [Some(format!("bearer {token}")), basic(&token)] {
        with("GET", "/uploads", value.clone()).is(200);
        with("GET", &format!("/uploads/{id}"), value).is(200);
    }
}

#[test]
fn another_site_cannot_use_the_browsers_password() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let id = uploaded(&server, b"x");
    for (method, path) in [
        (Method::POST, "/uploads".to_owned()),
        (Method::PUT, "/uploads/x".to_owned()),
        (Method::POST, "/decrypt".to_owned()),
        (Method::DELETE, format!("/uploads/{id}")),
    ] {
        let request = server
            .as_admin(method.clone(), &path)
            .header("sec-fetch-site", "cross-site");
        let answer = server.send(request.body(Vec::new()).unwrap());
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
}

/// As browsers do that have no `Sec-Fetch-Site` yet.
#[test]
fn another_origin_cannot_either() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let basic = BASE64.encode(format!("me:{}", server.token()).as_bytes());
    let own = format!("https://{}", server.address);
    for protocol in Protocol::ALL {
        for (method, path) in [(Method::PUT, "/uploads/x"), (Method::POST, "/decrypt")] {
            let from = |origin: &str| {
                let request = Request::builder().method(method.clone()).uri(path);
                let request = request.header("authorization", format!("Basic {basic}"));
                let request = request.header("origin", origin).body(b"x".to_vec());
                server.send_over(protocol, &TLS13, request.unwrap())
            };
            for origin in ["null", "https://evil.example"] {
                from(origin).refused(403, "cross-site");
            }
            assert_ne!(from(&own).status, 403, "{method} {path}");
        }
    }
}

#[test]
fn damage_cuts_the_download() {
    only_in_a_folder();
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let sent = content(4 << 20);
    let id = uploaded(&server, &sent);
    let path = format!("/uploads/{id}");
    let segment = bench.upload_folder(&id).join("0000.age");
    let whole = fs::read(&segment).unwrap();
    for at in [
        whole.len() - 3 * 65_552,
        whole.len() - 1,
        whole.len() - (4 << 20),
    ] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&segment, damaged).unwrap();
        for protocol in Protocol::ALL {
            let request = server
                .as_admin(Method::GET, &path)
                .body(Vec::new())
                .unwrap();
            let cut = server.try_send_over(protocol, &TLS13, request).unwrap_err();
            assert!(
                cut.len() < sent.len() && sent.starts_with(&cut),
                "{protocol:?} {at}"
            );
        }
    }
    // Parts without damage can still be had, as long as the end proves that there is one.
    let part = |stored: &[u8]| {
        fs::write(&segment, stored).unwrap();
        let request = server
            .as_admin(Method::GET, &path)
            .header("range", "bytes=100-200");
        let request = request.body(Vec::new()).unwrap();
        server.try_send_over(Protocol::Http1, &TLS13, request)
    };
    let damaged_at = |at: usize| {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        damaged
    };
    let damaged_end = damaged_at(whole.len() - 1);
    assert!(part(&damaged_end).unwrap_err().is_empty());
    let damaged_elsewhere = damaged_at(whole.len() - 3 * 65_552);
    let undamaged = part(&damaged_elsewhere).unwrap().is(206);
    assert_eq!(undamaged.body, sent[100..=200]);
    // The end was seen then. What is cut off after that is noticed all the same.
    assert!(part(&whole[..whole.len() - 1]).unwrap_err().is_empty());
    let cut = &whole[..whole.len() - 65_552];
    assert!(part(cut).unwrap_err().is_empty());
    assert_eq!(part(&whole).unwrap().is(206).body, sent[100..=200]);
}

#[test]
fn what_does_not_fit_together_is_not_served() {
    only_in_a_folder();
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let (one, two) = (
        uploaded(&server, &content(SIZE)),
        uploaded(&server, &content(SIZE)),
    );
    let (folder, other) = (bench.upload_folder(&one), bench.upload_folder(&two));
    let path = format!("/uploads/{one}");
    let get = || {
        let request = server
            .as_admin(Method::GET, &path)
            .body(Vec::new())
            .unwrap();
        server.try_send_over(Protocol::Http1, &TLS13, request)
    };
    let whole = fs::read(folder.join("0000.age")).unwrap();
    let others = fs::read(other.join("0000.age")).unwrap();
    for exchanged in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() - 1016],
        &others,
        b"",
    ] {
        fs::write(folder.join("0000.age"), exchanged).unwrap();
        assert!(get().unwrap_err().is_empty());
    }
    fs::write(folder.join("0000.age"), &whole).unwrap();
    let refused = |what: &str| {
        let answer = get().unwrap();
        assert_eq!(answer.status, 422, "{what}: {}", answer.text());
        answer.refused(422, "does-not-open");
    };
    let meta = fs::read(folder.join("meta.age")).unwrap();
    fs::copy(other.join("meta.age"), folder.join("meta.age")).unwrap();
    refused("another upload's manifest");
    let mut damaged = meta.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(folder.join("meta.age"), &damaged).unwrap();
    refused("a damaged manifest");
    fs::write(folder.join("meta.age"), &meta).unwrap();
    fs::write(folder.join("0001.age"), &whole).unwrap();
    refused("a segment too many");
    fs::remove_file(folder.join("0001.age")).unwrap();
    fs::rename(folder.join("0000.age"), bench.path("0000.age")).unwrap();
    refused("a segment too few");
    fs::rename(bench.path("0000.age"), folder.join("0000.age")).unwrap();
    server.admin(Method::GET, &path).is(200);
}

#[test]
fn with_the_public_key_alone_nothing_is_opened() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = uploaded(&server, &content(SIZE));
    server
        .admin(Method::GET, &format!("/uploads/{id}"))
        .refused(501, "no-private-key");
    server
        .admin(Method::POST, "/decrypt")
        .refused(501, "no-private-key");
    assert_eq!(server.listed(), std::slice::from_ref(&id));
    let names = bench.names("data");
    if in_bucket() {
        assert_eq!(names, ["admin.token"]);
    } else {
        assert_eq!(
            names,
            [
                "admin.token",
                "lock",
                "records",
                "sessions",
                "staging",
                "uploads"
            ]
        );
    }
    for (path, contents) in bench.files() {
        let inside = path.starts_with(bench.path("data")) || path.ends_with("server.log");
        let text = String::from_utf8_lossy(&contents);
        let private = text.contains("PRIVATE KEY") || text.contains("AGE-SECRET-KEY");
        assert!(!(inside && private), "{}", path.display());
    }
    server
        .admin(Method::DELETE, &format!("/uploads/{id}"))
        .is(204);
}
