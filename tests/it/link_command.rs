//! `sealslot link` against the real server, and `sealslot upload` to what it prints.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::program::{Bench, Ran};
use crate::server::{Server, text, wait_until};

impl Bench {
    /// Runs `sealslot link ACTION` with the admin's token.
    fn link(&self, server: &Server<'_>, action: &str, args: &[&str]) -> Ran {
        let url = format!("https://{}/", server.address);
        let fixed = [
            "link",
            action,
            "--cacert",
            "certs/ca.pem",
            "--token-file",
            "data/admin.token",
            &url,
        ];
        self.run(&[&fixed[..], args].concat())
    }
}

#[track_caller]
fn line(ran: Ran) -> String {
    let stdout = String::from_utf8(ran.ok()).unwrap();
    let line = stdout.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{line}");
    line.to_owned()
}

#[test]
fn a_link_is_printed_alone_and_takes_what_was_said() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let url = line(bench.link(
        &server,
        "create",
        &[
            "--label",
            "Case 117",
            "--max-uploads",
            "2",
            "--max-bytes",
            "1KiB",
            "--max-file",
            "600",
            "--type",
            "image/*",
            "--extension",
            "txt",
            "--title",
            "Kim",
            "--text",
            "Only this.",
            "--field",
            "case=Case",
            "--expires",
            "2d",
            "--keep",
            "30d",
            "-r",
            &Bench::recipient_text(),
        ],
    ));
    assert!(
        url.starts_with(&format!("https://{}/d/", server.address)),
        "{url}"
    );
    bench.write("a.txt", "hello");
    let upload =
        |file: &str| bench.run(&["upload", "--cacert", "certs/ca.pem", "--json", &url, file]);
    let receipt: Value = serde_json::from_str(&line(upload("a.txt"))).unwrap();
    assert_eq!(bench.open_stored(&receipt["id"]).content, b"hello");
    bench.write("b.bin", "hello");
    let refused = upload("b.bin").failed(1);
    assert!(
        refused.contains("415") && refused.contains(".txt"),
        "{refused}"
    );
    bench.write("large.txt", "x".repeat(601));
    let refused = upload("large.txt").failed(1);
    assert!(refused.contains("413"), "{refused}");

    let table = String::from_utf8(bench.link(&server, "list", &[]).ok()).unwrap();
    let [headings, row] = table.lines().collect::<Vec<_>>()[..] else {
        panic!("{table}");
    };
    assert!(headings.starts_with("ID "), "{headings}");
    assert!(
        row.contains("  open  ") && row.contains("  1 of 2  ") && row.ends_with("  Case 117"),
        "{row}"
    );
    let listed: Value =
        serde_json::from_str(&line(bench.link(&server, "list", &["--json"]))).unwrap();
    assert_eq!(listed["max_bytes"], 1024);
    assert_eq!(listed["keep"], 30 * 24 * 3600);
    assert_eq!(listed["types"][0], "image/*");
    let id = text(&listed["id"]);
    assert!(row.starts_with(&id));

    assert_eq!(line(bench.link(&server, "revoke", &[&id])), id);
    let refused = upload("a.txt").failed(77);
    assert!(
        refused.contains("410") && refused.contains("revoked"),
        "{refused}"
    );
    let token = url.rsplit('/').next().unwrap();
    assert!(!refused.contains(token) && !server.log().contains(token));
}

#[test]
fn a_link_is_drawn_where_that_is_asked_for() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let ran = bench.link(&server, "create", &["--qr", "--svg", "link.svg", "--json"]);
    let shown = ran.stderr();
    let made: Value = serde_json::from_str(&line(ran)).unwrap();
    let url = text(&made["url"]);
    assert!(url.ends_with(&text(&made["link"])));
    let rows: Vec<_> = shown.lines().collect();
    assert!(
        rows.len() > 10
            && rows
                .iter()
                .all(|row| row.starts_with("\x1b[38;5;16;48;5;231m") && row.ends_with("\x1b[0m")),
        "{shown}"
    );
    let svg = String::from_utf8(bench.read("link.svg")).unwrap();
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox="),
        "{svg}"
    );
    let permissions = bench
        .path("link.svg")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(permissions & 0o777, 0o600);
    // What is there is kept, and no link is made that nobody sees.
    let line = bench
        .link(&server, "create", &["--svg", "link.svg"])
        .failed(1);
    assert!(line.contains("link.svg"), "{line}");
    let list = String::from_utf8(bench.link(&server, "list", &["--json"]).ok());
    assert_eq!(list.unwrap().lines().count(), 1);
}

#[test]
fn nonsense_is_refused_before_anything_is_asked() {
    let bench = Bench::new();
    // Nobody answers there.
    let url = "https://127.0.0.1:1/";
    bench.write("empty", "");
    for args in [
        &["create", url, "--max-uploads", "0"][..],
        &["create", url, "--max-uploads", "-1"],
        &["create", url, "--max-bytes", "0"],
        &["create", url, "--max-bytes", "5GiBB"],
        &["create", url, "--max-file", "-5"],
        &["create", url, "--expires", "soon"],
        &["create", url, "--expires", "0s"],
        &["create", url, "--expires", "9000years"],
        &["create", url, "--keep", "900years"],
        &["create", url, "--type", "pdf"],
        &["create", url, "--extension", "a/b"],
        &["create", url, "--title", ""],
        &["create", url, "--title", "a\nb"],
        &["create", url, "--field", "file"],
        &["create", url, "--field", "a", "--field", "a"],
        &["create", url, "--label", "a\nb"],
        &[
            "create",
            "https://127.0.0.1:1/d/0123456789abcdefghijklmnopqrstuv",
        ],
        &["create", "http://127.0.0.1:1/"],
        &["list", "127.0.0.1"],
        &["revoke", url],
        &["revoke", url, "nonsense"],
    ] {
        let line = bench.run(&[&["link"], args].concat()).failed(64);
        assert!(!line.contains("0123456789abcdef"), "{line}");
    }
    for recipient in ["gone", "empty"] {
        bench
            .run(&["link", "create", url, "-r", recipient])
            .failed(1);
    }
    // What makes sense asks.
    let line = bench
        .run(&["link", "create", url, "--cacert", "gone"])
        .failed(1);
    assert!(line.contains("gone"), "{line}");
}

#[test]
fn what_a_server_refuses_is_said() {
    let bench = Bench::new();
    bench.write_private("tokens", "an-upload-token-that-is-long");
    let server = Server::sealing(&bench, &["--upload-token-file", "tokens"]);
    let url = format!("https://{}/", server.address);
    let fixed = ["--cacert", "certs/ca.pem", &url];
    let line = bench
        .run(&[&["link", "list"][..], &fixed].concat())
        .failed(77);
    assert!(line.contains("--token-file FILE"), "{line}");
    let with = [&["link", "list", "--token-file", "tokens"][..], &fixed].concat();
    let line = bench.run(&with).failed(77);
    assert!(
        line.contains("403") && line.contains("may not do that"),
        "{line}"
    );
    let (one, nobodys) = ("1".repeat(32), "0".repeat(32));
    let ran = bench.link(&server, "revoke", &[&one, &nobodys]);
    assert_eq!(ran.code(), Some(1));
    let lines: Vec<_> = ran.stderr().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with(&format!("sealslot: {one}: ")) && lines[0].contains("404"),
        "{lines:?}"
    );
    bench.write("file", "x");
    let dead = format!("{url}d/0123456789abcdefghijklmnopqrstuv");
    let line = bench
        .run(&["upload", "--cacert", "certs/ca.pem", &dead, "file"])
        .failed(1);
    assert!(
        line.contains("404") && line.contains("no such link") && !line.contains("0123456789"),
        "{line}"
    );
}

#[test]
fn a_damaged_link_keeps_nobody_from_the_others() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    for label in ["one", "other"] {
        bench.link(&server, "create", &["--label", label]).ok();
    }
    let list = || String::from_utf8(bench.link(&server, "list", &[]).ok()).unwrap();
    let shown = list();
    let row = shown.lines().find(|row| row.ends_with("one")).unwrap();
    let id = row.split(' ').next().unwrap();
    bench.write(&format!("data/records/links/{id}"), "{");
    let shown = list();
    assert!(
        shown.lines().count() == 2 && shown.contains("other"),
        "{shown}"
    );
    let told = format!("links/{id} is damaged");
    wait_until("it is told", || server.log().contains(&told));
}
