//! Browsers on other origins, where they are let in.

use http::Method;

use crate::client::Answer;
use crate::program::Bench;
use crate::resumable::{Client, over_both};
use crate::server::{Server, text};

const ORIGIN: (&str, &str) = ("origin", "https://app.example");
const OTHER: (&str, &str) = ("origin", "https://evil.example");

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

fn preflight(client: &Client<'_>, path: &str, origin: (&str, &str), method: &str) -> Answer {
    let headers = [
        origin,
        ("access-control-request-method", method),
        (
            "access-control-request-headers",
            "content-type,tus-resumable,upload-offset",
        ),
    ];
    let answer = client.request("OPTIONS", path, &headers, b"");
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    answer
}

/// Whether a comma-separated list has a member, in whatever case.
fn names(answer: &Answer, header: &str, member: &str) -> bool {
    let members = answer.header(header).split(',');
    let mut members = members.map(str::trim);
    members.any(|found| found.eq_ignore_ascii_case(member))
}

fn assert_closed(answer: &Answer) {
    let mut names = answer.headers.keys();
    let found = names.find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(found, None, "{answer:?}");
}

#[test]
fn nobody_is_let_in_by_default() {
    over_both(&[], |client| {
        let url = client.tus_new(10);
        for path in ["/uploads", &url] {
            assert_closed(&preflight(client, path, ORIGIN, "PATCH"));
        }
        let headers = [ORIGIN, ("upload-length", "10")];
        assert_closed(&client.tus("POST", "/uploads", &headers, b"").is(201));
        assert_closed(&client.tus("HEAD", &url, &[ORIGIN], b"").is(200));
    });
}

#[test]
fn a_preflight_allows_what_clients_send() {
    over_both(&["--cors-origin", "https://app.example"], |client| {
        let url = client.tus_new(10);
        for path in ["/uploads", "/uploads/", "/uploads/name", &url] {
            for method in ["POST", "PUT", "HEAD", "GET", "PATCH", "DELETE"] {
                let answer = preflight(client, path, ORIGIN, method);
                assert_eq!(answer.header(ALLOW_ORIGIN), ORIGIN.1);
                assert!(names(&answer, "access-control-allow-methods", method));
                assert!(names(&answer, "vary", "origin"), "{answer:?}");
            }
            let answer = preflight(client, path, ORIGIN, "PATCH");
            for header in [
                "Authorization",
                "Content-Type",
                "Content-Disposition",
                "Tus-Resumable",
                "Upload-Length",
                "Upload-Defer-Length",
                "Upload-Metadata",
                "Upload-Offset",
                "Upload-Concat",
                "Upload-Checksum",
                "Upload-Complete",
                "Upload-Incomplete",
                "Upload-Draft-Interop-Version",
                "Content-Digest",
                "Repr-Digest",
                "Want-Repr-Digest",
                "X-HTTP-Method-Override",
                "X-Requested-With",
                "X-Request-ID",
                "Sealslot-Submission",
                "Sealslot-Keep",
                "Sealslot-Kind",
            ] {
                assert!(
                    names(&answer, "access-control-allow-headers", header),
                    "{header}"
                );
            }
        }
    });
}

#[test]
fn answers_are_readable_errors_too() {
    over_both(&["--cors-origin", "https://app.example"], |client| {
        let headers = [ORIGIN, ("upload-length", "10")];
        let created = client.tus("POST", "/uploads", &headers, b"").is(201);
        let url = created.header("location").to_owned();
        let answers = [
            client.tus("HEAD", &url, &[ORIGIN], b"").is(200),
            client.tus_patch_with(&url, 0, &[ORIGIN], b"01234").is(204),
            client.tus_patch_with(&url, 0, &[ORIGIN], b"01234").is(409),
            client.tus("POST", "/uploads", &[ORIGIN], b"").is(400),
            client.draft("HEAD", &url, &[ORIGIN], b"").is(204),
            client.tus("DELETE", &url, &[ORIGIN], b"").is(204),
            client.tus("HEAD", &url, &[ORIGIN], b"").is(404),
            client
                .request("PUT", "/uploads/plain", &[ORIGIN], b"x")
                .is(201),
            created,
        ];
        for answer in answers {
            assert_eq!(answer.header(ALLOW_ORIGIN), ORIGIN.1);
            assert!(names(&answer, "vary", "origin"), "{answer:?}");
            assert!(
                !answer
                    .headers
                    .contains_key("access-control-allow-credentials")
            );
            for header in [
                "Location",
                "Content-Location",
                "Upload-Offset",
                "Upload-Length",
                "Upload-Defer-Length",
                "Upload-Metadata",
                "Upload-Concat",
                "Upload-Expires",
                "Upload-Complete",
                "Upload-Limit",
                "Repr-Digest",
                "Tus-Resumable",
                "Tus-Version",
                "Tus-Extension",
                "Tus-Max-Size",
                "Tus-Checksum-Algorithm",
            ] {
                assert!(
                    names(&answer, "access-control-expose-headers", header),
                    "{header}"
                );
            }
        }
    });
}

/// What is not for uploading stays with those who open it, even where everybody's pages may upload.
#[test]
fn pages_lists_and_what_arrived_are_not_for_other_origins() {
    let bench = Bench::new();
    let server = Server::start(&bench, &["--cors-origin", "*"], &[]);
    let id = text(&server.put("/uploads/x", "a payload").receipt()["id"]);
    let upload = format!("/uploads/{id}");
    let asking = |method: Method, path: &str| {
        let request = server.as_admin(method, path).header(ORIGIN.0, ORIGIN.1);
        server.send(request.body(Vec::new()).unwrap())
    };
    for path in [
        "/",
        "/welcome",
        "/upload.js",
        "/noble-hashes/sha2.js",
        "/icon.svg",
        "/uploads",
        &upload,
        &format!("{upload}/0000.age"),
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        for method in [Method::GET, Method::HEAD] {
            assert_closed(&asking(method, path).is(200));
        }
    }
    for path in ["/logo", "/nowhere"] {
        assert_closed(&asking(Method::GET, path).is(404));
    }
    assert_closed(&asking(Method::DELETE, &upload).is(204));
    for path in ["/encrypt", "/decrypt"] {
        assert_closed(&asking(Method::POST, path));
    }
    // The keys are public, and whoever seals before sending needs them; of what is refused the page learns why.
    for (answer, status) in [
        (asking(Method::GET, "/recipients"), 200),
        (asking(Method::PUT, "/uploads/%zz"), 400),
        (asking(Method::PATCH, "/uploads/no-url"), 405),
        (asking(Method::PUT, &upload), 201),
    ] {
        assert_eq!(answer.is(status).header(ALLOW_ORIGIN), ORIGIN.1);
    }
}

#[test]
fn another_origin_is_not_let_in() {
    over_both(&["--cors-origin", "https://app.example"], |client| {
        let url = client.tus_new(10);
        let answers = [
            preflight(client, &url, OTHER, "PATCH"),
            client.tus("HEAD", &url, &[OTHER], b"").is(200),
            preflight(client, &url, ("origin", "null"), "PATCH"),
            preflight(client, &url, ("origin", "http://app.example"), "PATCH"),
            preflight(client, &url, ("origin", "https://app.example.org"), "PATCH"),
        ];
        for answer in answers {
            assert!(!answer.headers.contains_key(ALLOW_ORIGIN), "{answer:?}");
            // A cache must not give it to somebody else.
            assert!(names(&answer, "vary", "origin"), "{answer:?}");
        }
    });
}

#[test]
fn several_origins_may_be_let_in() {
    let origins = [
        "--cors-origin",
        "https://app.example",
        "--cors-origin",
        "https://evil.example",
    ];
    over_both(&origins, |client| {
        for origin in [ORIGIN, OTHER] {
            let answer = preflight(client, "/uploads", origin, "POST");
            assert_eq!(answer.header(ALLOW_ORIGIN), origin.1);
        }
    });
}

#[test]
fn a_star_lets_everybody_in() {
    over_both(&["--cors-origin", "*"], |client| {
        for origin in [ORIGIN, OTHER] {
            let allowed = preflight(client, "/uploads", origin, "POST");
            let allowed = allowed.header(ALLOW_ORIGIN);
            assert!(allowed == "*" || allowed == origin.1, "{allowed}");
        }
    });
}
