//! The first page of a server that runs for development.

use http::Request;
use rustls::version::TLS13;

use crate::client::Protocol;
use crate::program::Bench;
use crate::server::Server;

#[test]
fn whoever_tries_it_out_is_told_how_to_go_on() {
    let bench = Bench::new();
    let server = Server::start(&bench, &[], &[]);
    let address = server.address;
    server.put("/uploads/x", "a payload").receipt();
    let folder = bench.path(".").canonicalize().unwrap();
    let folder = folder.display();
    for (language, title) in [
        ("en", "Your mail slot is open"),
        ("ko", "우편 투입구가 열렸습니다"),
    ] {
        let page = server.get(&format!("/welcome?lang={language}")).is(200);
        assert_eq!(page.header("content-language"), language);
        let page = page.text();
        for part in [
            title,
            &format!("href=\"/?lang={language}\""),
            &format!("-T - https://{address}/uploads/hello.txt</code>"),
            &format!(
                "open -i {folder}/data/keys/identity.pem -o inbox {folder}/data/uploads/*/*</code>"
            ),
            &format!("age -d -i {folder}/data/keys/identity.pem "),
            &format!("<code>{folder}/data/admin.token</code>"),
            &format!("<code>{folder}/certs/ca.pem</code>"),
            "role=\"img\" aria-label=\"",
            "fill=\"#000\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        // What the files hold is in none of it.
        let key = String::from_utf8(bench.read("data/keys/identity.pem")).unwrap();
        let secret_lines = key.lines().filter(|line| line.len() > 40);
        assert!(secret_lines.clone().count() > 5);
        assert!(secret_lines.clone().all(|line| !page.contains(line)));
        assert!(!page.contains(&server.token()) && !page.contains("PRIVATE"));
    }
    // The page of those who send leads there, and so does what was said at start.
    let page = server.get("/?lang=en").text();
    assert!(page.contains("<p class=\"development\"><a href=\"/welcome?lang=en\">"));
    assert!(server.log().contains(&format!("https://{address}/welcome")));
}

#[test]
fn others_see_none_of_it() {
    let bench = Bench::new();
    let server = Server::start(&bench, &[], &[]);
    // As it comes in through a tunnel or a proxy, or from a page whose name was made to lead here.
    for host in ["drop.example", "127.evil.example:8443", "192.0.2.1"] {
        let mut wire = server.wire();
        wire.send(format!("GET /welcome HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        wire.answer().refused(404, "not-found");
        wire.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert!(!wire.answer().is(200).text().contains("/welcome"));
    }
    // As it comes in through one that changes the name.
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-anything",
        "x-real-ip",
        "via",
    ] {
        for protocol in Protocol::ALL {
            let asking = |path: &str| {
                let request = Request::get(path).header(name, "1.1 a-proxy");
                server.send_over(protocol, &TLS13, request.body(Vec::new()).unwrap())
            };
            asking("/welcome").refused(404, "not-found");
            assert!(!asking("/").is(200).text().contains("/welcome"));
        }
    }
    drop(server);
    bench.write_private("token", "an-admin-token-that-is-long");
    let recipient = Bench::recipient_text();
    for args in [
        &["--recipient", &recipient][..],
        &["--identity", "key"],
        &["--admin-token-file", "token", "--allow-anonymous"],
        &["--upload-token-file", "token", "--allow-anonymous"],
        &["--allow-anonymous"],
        &["--allow-anonymous", "false"],
    ] {
        let server = Server::start(&bench, args, &[]);
        server.get("/welcome").refused(404, "not-found");
        let request =
            Request::get("/").header("authorization", "Bearer an-admin-token-that-is-long");
        let page = server.send(request.body(Vec::new()).unwrap()).text();
        assert!(!page.contains("/welcome"), "{page}");
    }
}
