//! Uploads by raw bodies and `PUT`: what arrived opens again, byte for byte.

use std::path::Path;

use data_encoding::HEXLOWER;
use http::Request;
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};

use crate::client::{Protocol, percent_encoded};
use crate::program::Bench;
use crate::server::{Server, content, text};
use crate::store::in_bucket;

/// Around the sizes of a chunk and of a buffer.
const SIZES: [usize; 12] = [
    0,
    1,
    65_535,
    65_536,
    65_537,
    131_072,
    262_143,
    262_144,
    262_145,
    524_288,
    524_289,
    (1 << 20) + 7,
];

#[test]
fn every_size_comes_back_over_every_protocol() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let ways = [
        (Protocol::Http1, &TLS13),
        (Protocol::Http1, &TLS12),
        (Protocol::Http2, &TLS13),
        (Protocol::Http2, &TLS12),
        (Protocol::Http3, &TLS13),
    ];
    for (protocol, version) in ways {
        for size in SIZES {
            let sent = content(size);
            let request = Request::put("/uploads/report.bin").header("content-type", "a/b");
            let answer = server.send_over(protocol, version, request.body(sent.clone()).unwrap());
            let location = answer.header("location").to_owned();
            let receipt = answer.receipt();
            assert_eq!(location, format!("/uploads/{}", text(&receipt["id"])));
            assert_eq!(receipt["size"], size);
            assert_eq!(receipt["name"], "report.bin");
            assert_eq!(receipt["sha256"], HEXLOWER.encode(&Sha256::digest(&sent)));
            assert_eq!(receipt["submission"], receipt["id"]);
            let opened = bench.open_stored(&receipt["id"]);
            assert!(opened.content == sent, "{protocol:?} {version:?} {size}");
            assert_eq!(opened.manifest["type"], "a/b");
        }
    }
    assert_eq!(server.listed().len(), ways.len() * SIZES.len());
}

#[test]
fn the_command_opens_what_was_uploaded() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let sent = content(300_000);
    let receipt = server.put("/uploads/a%20b.txt", sent.clone()).receipt();
    let folder = bench.upload_folder(&text(&receipt["id"]));
    let folder = folder.to_str().unwrap();
    bench.run(&["open", "-i", "key", "-o", "out", folder]).ok();
    assert_eq!(bench.read("out/a b.txt"), sent);
    bench
        .run(&["open", "-i", "stranger", "-o", "out", folder])
        .failed(65);
    // The manifest is an age file like any other.
    let meta = Path::new(folder).join("meta.age");
    let meta = meta.to_str().unwrap();
    let manifest = bench.run(&["open", "-i", "key", "-o", "-", meta]).ok();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["name"], "a b.txt");
    assert_eq!(manifest["sha256"], receipt["sha256"]);
}

#[test]
fn a_chunked_body_arrives_whole_however_it_is_cut() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let sent = content(150_000);
    for piece in [1_000, 65_536, 150_000] {
        let mut wire = server.begin("POST", "/uploads", &["Transfer-Encoding: chunked"]);
        for chunk in sent.chunks(piece) {
            wire.send(format!("{:x}\r\n", chunk.len()));
            wire.send([chunk, b"\r\n"].concat());
        }
        wire.send("0\r\nX-Trailer: of no account\r\n\r\n");
        let receipt = wire.answer().receipt();
        assert!(bench.open_stored(&receipt["id"]).content == sent);
        assert_eq!(receipt["name"], serde_json::Value::Null);
    }
}

#[test]
fn a_body_in_single_bytes_arrives_whole() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let mut wire = server.begin("PUT", "/uploads/slow", &["Content-Length: 200"]);
    let sent = content(200);
    for byte in &sent {
        wire.send([*byte]);
    }
    let receipt = wire.answer().receipt();
    assert_eq!(bench.open_stored(&receipt["id"]).content, sent);
}

#[test]
fn a_raw_body_is_named_by_its_disposition() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for (disposition, name) in [
        ("attachment; filename=\"plan.pdf\"", "plan.pdf"),
        (
            "attachment; filename=x; filename*=UTF-8''%e2%82%ac.txt",
            "€.txt",
        ),
        (
            "attachment; filename=\"../../etc/passwd\"",
            "../../etc/passwd",
        ),
    ] {
        let request = Request::post("/uploads").header("content-disposition", disposition);
        let receipt = server
            .send(request.body(b"raw".to_vec()).unwrap())
            .receipt();
        assert_eq!(receipt["name"], name);
        let opened = bench.open_stored(&receipt["id"]);
        assert_eq!(opened.manifest["name"], name);
        assert_eq!(opened.content, b"raw");
    }
    let request =
        Request::post("/uploads").header("content-disposition", "attachment; filename=\"");
    let answer = server.send(request.body(b"raw".to_vec()).unwrap());
    answer.refused(400, "malformed-form");
}

#[test]
fn a_put_without_a_name_is_an_upload_without_a_name() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let receipt = server.put("/uploads/", "x").receipt();
    assert_eq!(receipt["name"], serde_json::Value::Null);
}

#[test]
fn names_are_kept_as_they_were_given() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let long = "x".repeat(5000);
    let names = [
        "../../escaped",
        "C:\\autoexec.bat",
        "a\0b",
        "\u{1b}[2J\r\n",
        "\u{202e}gpj.exe",
        "..",
        ".",
        "/etc/passwd",
        &long,
    ];
    for name in names {
        let path = format!("/uploads/{}", percent_encoded(name.as_bytes()));
        let receipt = server.put(&path, "x").receipt();
        assert_eq!(receipt["name"], name);
        let manifest = bench.open_stored(&receipt["id"]).manifest;
        assert_eq!(manifest["name"], name);
    }
    let receipt = server.put("/uploads/%ff%fe", "x").receipt();
    let manifest = bench.open_stored(&receipt["id"]).manifest;
    assert_eq!(manifest["name_bytes"], "//4=");
    server
        .put("/uploads/%zz", "x")
        .refused(400, "malformed-path");
    // No name became a path.
    assert_eq!(
        bench.names("."),
        ["certs", "data", "key", "server.log", "stranger"]
    );
    if in_bucket() {
        assert_eq!(bench.names("data"), ["admin.token"]);
        return;
    }
    assert_eq!(
        bench.names("data"),
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

#[test]
fn browsers_get_a_page_and_programs_json() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let put = || Request::put("/uploads/%3Cb%3E");
    let page = server.send(put().header("accept", browser).body(vec![1]).unwrap());
    let page = page.is(201);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(
        page.text().contains("<bdi>&lt;b&gt;</bdi>"),
        "{}",
        page.text()
    );
    let digest = HEXLOWER.encode(&Sha256::digest([1]));
    assert!(page.text().contains(&digest));
    for accept in [
        "*/*",
        "application/json",
        "text/html;q=0.1, application/json",
    ] {
        let answer = server.send(put().header("accept", accept).body(vec![1]).unwrap());
        assert_eq!(answer.receipt()["sha256"], digest);
    }
}

#[test]
fn a_receipt_tells_who_can_open_it() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let receipt = server.put("/uploads/x", "x").receipt();
    let keys = server.get("/recipients").is(200).text();
    assert_eq!(keys.trim_end(), Bench::recipient_text());
    assert_eq!(receipt["recipients"].as_array().unwrap().len(), 1);
    assert_eq!(receipt["kind"], "file");
    assert!(text(&receipt["time"]).ends_with('Z'));
}
