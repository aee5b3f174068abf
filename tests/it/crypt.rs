//! `/encrypt` and `/decrypt`.

use data_encoding::BASE64;
use http::{Method, Request};

use crate::client::{Answer, Multipart, percent_encoded};
use crate::program::Bench;
use crate::server::{Server, text};

const URLENCODED: &str = "application/x-www-form-urlencoded";

fn decrypt(server: &Server<'_>, accept: &str, content_type: &str, body: &[u8]) -> Answer {
    let request = server
        .as_admin(Method::POST, "/decrypt")
        .header("content-type", content_type)
        .header("accept", accept);
    server.send(request.body(body.to_vec()).unwrap())
}

#[test]
fn what_was_encrypted_is_decrypted_again() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let all_bytes: Vec<u8> = (0..=255).collect();
    let long = "Grüße & = + %41\r\n".repeat(10_000);
    for data in [b"", &b"hello world"[..], &all_bytes, long.as_bytes()] {
        let urlencoded = format!("other=x&data={}", percent_encoded(data)).into_bytes();
        let multipart = Multipart::new()
            .text("other", "x")
            .text("data", data)
            .finish();
        let file = Multipart::new().part(
            "Content-Disposition: form-data; name=data; filename=f",
            data,
        );
        for (content_type, body) in [
            (URLENCODED, urlencoded),
            (Multipart::TYPE, multipart),
            (Multipart::TYPE, file.finish()),
        ] {
            let sealed = server.post("/encrypt", content_type, body).is(200);
            assert_eq!(sealed.header("content-type"), "text/plain; charset=utf-8");
            let armored = sealed.text();
            assert!(armored.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
            // The key's holder needs no server for it.
            let opened = bench
                .run_with_stdin(&["open", "-i", "key", "-"], armored.as_bytes())
                .ok();
            assert_eq!(opened, data);
            for (content_type, body) in [
                (
                    URLENCODED,
                    format!("data={}", percent_encoded(armored.as_bytes())).into_bytes(),
                ),
                (
                    Multipart::TYPE,
                    Multipart::new().text("data", &armored).finish(),
                ),
            ] {
                let opened = decrypt(&server, "*/*", content_type, &body).is(200);
                assert_eq!(opened.body, data);
                let json = decrypt(&server, "application/json", content_type, &body)
                    .is(200)
                    .json();
                let value = text(&json["data"]);
                match text(&json["encoding"]).as_str() {
                    "utf-8" => assert_eq!(value.as_bytes(), data),
                    encoding => {
                        assert_eq!(encoding, "base64");
                        assert_eq!(BASE64.decode(value.as_bytes()).unwrap(), data);
                        assert!(std::str::from_utf8(data).is_err());
                    }
                }
            }
        }
    }
}

#[test]
fn plus_is_a_space_in_a_urlencoded_form() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let request = Request::post("/encrypt")
        .header("content-type", URLENCODED)
        .header("accept", "application/json");
    let sealed = server
        .send(request.body(b"data=a+b%2Bc".to_vec()).unwrap())
        .is(200)
        .json();
    let body = Multipart::new()
        .text("data", text(&sealed["data"]))
        .finish();
    assert_eq!(
        decrypt(&server, "*/*", Multipart::TYPE, &body).body,
        b"a b+c"
    );
}

#[test]
fn all_that_does_not_open_gets_one_answer() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    let binary = sealslot::seal::seal(&[Bench::recipient()], &[], b"secret").unwrap();
    let stranger = bench
        .run_with_stdin(
            &[
                "seal",
                "-r",
                "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg",
            ],
            b"x",
        )
        .ok();
    let mut flipped = binary.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut wrong_mac = binary.clone();
    let mac = wrong_mac
        .windows(4)
        .position(|bytes| bytes == b"--- ")
        .unwrap();
    wrong_mac[mac + 5] ^= 1;
    let cases: [(&str, &[u8]); 8] = [
        ("empty", b""),
        ("text", b"not an age file"),
        ("a damaged payload", &flipped),
        ("a damaged header", &wrong_mac),
        ("cut short", &binary[..binary.len() - 1]),
        ("a header alone", &binary[..mac]),
        ("another's", &stranger),
        (
            "broken armor",
            b"-----BEGIN AGE ENCRYPTED FILE-----\n!\n-----END AGE ENCRYPTED FILE-----\n",
        ),
    ];
    let mut bodies = Vec::new();
    for (what, data) in cases {
        let body = Multipart::new().text("data", data).finish();
        let answer = decrypt(&server, "*/*", Multipart::TYPE, &body);
        assert_eq!(answer.status, 422, "{what}");
        answer.refused(422, "does-not-open");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // Binary opens as armored text does.
    let body = Multipart::new().text("data", &binary).finish();
    assert_eq!(
        decrypt(&server, "*/*", Multipart::TYPE, &body).is(200).body,
        b"secret"
    );
}

#[test]
fn what_is_no_such_form_is_refused() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &["--max-data", "1000"]);
    for (content_type, body, status, code) in [
        (
            "text/plain",
            b"data=x".to_vec(),
            415,
            "unsupported-media-type",
        ),
        (
            "application/json",
            b"{\"data\":\"x\"}".to_vec(),
            415,
            "unsupported-media-type",
        ),
        (URLENCODED, b"date=x".to_vec(), 400, "missing-field"),
        (URLENCODED, b"".to_vec(), 400, "missing-field"),
        (URLENCODED, b"data=%zz".to_vec(), 400, "malformed-form"),
        (URLENCODED, b"data=1&data=2".to_vec(), 400, "malformed-form"),
        (
            URLENCODED,
            [&b"data="[..], &[b'x'; 1001]].concat(),
            413,
            "too-large",
        ),
        (
            URLENCODED,
            [&b"data="[..], &[b'x'; 5000]].concat(),
            413,
            "too-large",
        ),
        (
            Multipart::TYPE,
            Multipart::new().text("date", "x").finish(),
            400,
            "missing-field",
        ),
        (
            Multipart::TYPE,
            Multipart::new().text("data", "x").unfinished(),
            400,
            "truncated-form",
        ),
        ("multipart/form-data", b"".to_vec(), 400, "missing-boundary"),
    ] {
        server
            .post("/encrypt", content_type, body.clone())
            .refused(status, code);
        decrypt(&server, "*/*", content_type, &body).refused(status, code);
    }
    let most = [&b"data="[..], &[b'x'; 1000]].concat();
    server.post("/encrypt", URLENCODED, most).is(200);
}

#[test]
fn decrypting_is_the_admins() {
    let bench = Bench::new();
    let server = Server::opening(&bench, &[]);
    server
        .post("/decrypt", URLENCODED, "data=x")
        .refused(401, "unauthorized");
    server.get("/decrypt").refused(405, "method-not-allowed");
    drop(server);
    bench.write_private("uploaders", "an-upload-token-that-is-long");
    let server = Server::opening(&bench, &["--upload-token-file", "uploaders"]);
    server
        .post("/encrypt", URLENCODED, "data=x")
        .refused(401, "unauthorized");
    let with_token = |path: &str| {
        let request = Request::post(path).header("content-type", URLENCODED);
        let request = request.header("authorization", "Bearer an-upload-token-that-is-long");
        server.send(request.body(b"data=x".to_vec()).unwrap())
    };
    with_token("/encrypt").is(200);
    with_token("/decrypt").refused(403, "forbidden");
}
