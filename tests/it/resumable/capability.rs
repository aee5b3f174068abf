//! An upload URL is a capability: it alone is enough, nothing less is, and nobody else learns it.

use crate::draft::{LAST, MORE};
use crate::resumable::{id_of, over_both};
use crate::server::content;
use crate::tus::metadata;

fn secret_of(url: &str) -> &str {
    url.split_once('.').unwrap().1
}

#[test]
fn a_wrong_secret_is_404_and_changes_nothing() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let other = client.draft_new();
        let first = if secret_of(&url).starts_with('0') {
            '1'
        } else {
            '0'
        };
        let nearly = format!("/uploads/{}.{first}{}", id_of(&url), &secret_of(&url)[1..]);
        let swapped = format!("/uploads/{}.{}", id_of(&url), secret_of(&other));
        for wrong in [nearly, swapped] {
            client.draft("HEAD", &wrong, &[], b"").is(404);
            client.draft("GET", &wrong, &[], b"").is(404);
            client.append(&wrong, 5, LAST, b"x").is(404);
            client.draft("DELETE", &wrong, &[], b"").is(404);
            client.tus("HEAD", &wrong, &[], b"").is(404);
            client.tus_patch(&wrong, 5, b"x").is(404);
            client.tus("DELETE", &wrong, &[], b"").is(404);
        }
        client.is_at(&url, 5);
    });
}

#[test]
fn what_only_looks_like_an_upload_url_is_none() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let (id, secret) = (id_of(&url), secret_of(&url));
        for wrong in [
            format!("/uploads/{id}"),
            format!("/uploads/{id}."),
            format!("/uploads/{id}.{}", &secret[1..]),
            format!("/uploads/{id}.{secret}0"),
            format!("/uploads/{id}.{}", secret.to_uppercase()),
            format!("/uploads/{id}.{secret}.{secret}"),
            format!("/uploads/{id}{secret}"),
            format!("/uploads/{secret}.{id}"),
        ] {
            for method in ["HEAD", "PATCH", "DELETE"] {
                let headers = [crate::draft::PARTIAL_UPLOAD, ("upload-offset", "5"), LAST];
                let body: &[u8] = if method == "PATCH" { b"x" } else { b"" };
                let answer = client.draft(method, &wrong, &headers, body);
                let status = answer.status;
                assert!(
                    matches!(status, 401 | 404 | 405),
                    "{method} {wrong} {status}"
                );
            }
        }
        client.is_at(&url, 5);
    });
}

#[test]
fn creating_needs_what_uploading_needs_and_the_rest_the_url_alone() {
    // Here `over_both` has no file of tokens to give, so the bench is its own.
    let bench = crate::program::Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = crate::server::Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    let bearer = ("authorization", "Bearer an-upload-token-that-is-long");
    for protocol in [
        crate::client::Protocol::Http1,
        crate::client::Protocol::Http2,
    ] {
        let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
            let mut request = http::Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(body.to_vec()).unwrap();
            server.send_over(protocol, &rustls::version::TLS13, request)
        };
        let tus = ("tus-resumable", "1.0.0");
        let length = ("upload-length", "5");
        let answer = send("POST", "/uploads", &[tus, length], b"").is(401);
        assert_eq!(answer.header("tus-resumable"), "1.0.0");
        send("POST", "/uploads", &[MORE], b"").is(401);
        send("PUT", "/uploads/x", &[MORE], b"").is(401);
        // What a server can do is no secret.
        send("OPTIONS", "/uploads", &[], b"").is(204);
        let created = send("POST", "/uploads", &[tus, length, bearer], b"").is(201);
        let url = created.header("location");
        send("HEAD", url, &[tus], b"").is(200);
        let offset = ("upload-offset", "0");
        send("PATCH", url, &[tus, crate::tus::OCTETS, offset], b"01234").is(204);
        send("DELETE", url, &[tus], b"").is(204);
    }
}

#[test]
fn neither_log_nor_disk_has_the_url_or_what_it_opens() {
    over_both(&["--log", "trace"], |client| {
        let name = "a name that nobody shall read";
        let note = b"a note that nobody shall read";
        let mark = b"content that nobody shall read";
        let content = [&content(200_000), &mark[..]].concat();
        let given = metadata(&[("filename", name.as_bytes()), ("note", note)]);
        let length = (content.len() + 1).to_string();
        let headers = [("upload-length", &length[..]), ("upload-metadata", &given)];
        let tus = client.tus_create(&headers);
        client.tus_patch(&tus, 0, &content).is(204);
        let disposition = format!("inline; filename=\"{name}\"");
        let headers = [("content-disposition", &disposition[..])];
        let draft = client.draft_create(&headers, &content);
        client.tus_head(&tus);
        client.draft_head(&draft);
        client.tus_patch(&tus, 7, &content).is(409);
        client.append(&draft, 7, MORE, &content).is(409);
        let gives_away = |client: &crate::resumable::Client<'_>| {
            let secrets = [
                secret_of(&tus).as_bytes(),
                secret_of(&draft).as_bytes(),
                name.as_bytes(),
                note,
                given.as_bytes(),
                mark,
            ];
            for (path, found) in client.bench.files() {
                for secret in secrets {
                    let has = memchr::memmem::find(&found, secret).is_some();
                    assert!(!has, "{} has {secret:?}", path.display());
                }
            }
        };
        gives_away(client);
        client.tus_patch(&tus, content.len(), b"x").is(204);
        client.append(&draft, content.len(), LAST, b"").is(201);
        client.request("GET", &tus, &[], b"").is(200);
        client.tus("DELETE", &tus, &[], b"").is(204);
        client.tus("HEAD", &tus, &[], b"").is(404);
        gives_away(client);
        client.restart(rustix::process::Signal::KILL);
        client.draft_head(&draft);
        gives_away(client);
    });
}

#[test]
fn no_other_answer_gives_an_upload_url_away() {
    over_both(&[], |client| {
        let url = client.draft_create(&[], b"01234");
        let listed = client
            .server
            .admin(http::Method::GET, "/uploads")
            .is(200)
            .text();
        assert!(!listed.contains(secret_of(&url)) && !listed.contains(id_of(&url)));
        let receipt = client.append(&url, 5, LAST, b"56789").receipt().to_string();
        assert!(!receipt.contains(secret_of(&url)));
        let listed = client
            .server
            .admin(http::Method::GET, "/uploads")
            .is(200)
            .text();
        assert!(!listed.contains(secret_of(&url)) && listed.contains(id_of(&url)));
        let metrics = client
            .server
            .admin(http::Method::GET, "/metrics")
            .is(200)
            .text();
        assert!(!metrics.contains(secret_of(&url)));
    });
}
