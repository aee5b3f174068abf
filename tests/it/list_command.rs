//! `sealslot list` and `sealslot rm` against the real server.

use std::fs;

use http::Method;
use serde_json::Value;

use crate::program::{Bench, Ran};
use crate::server::{Server, text};

impl Bench {
    /// `sealslot COMMAND URL` with the admin's token.
    fn receive(&self, server: &Server<'_>, command: &str, args: &[&str]) -> Ran {
        let url = format!("https://{}/", server.address);
        let fixed = [command, "--cacert", "certs/ca.pem", &url];
        let mut command = self.command([&fixed[..], args].concat());
        command.env("SEALSLOT_TOKEN_FILE", self.path("data/admin.token"));
        command.env("XDG_CACHE_HOME", self.path("cache"));
        Ran::of(command)
    }

    #[track_caller]
    fn listed(&self, server: &Server<'_>, args: &[&str]) -> Vec<Value> {
        let stdout = self
            .receive(server, "list", &[&["--json"], args].concat())
            .ok();
        let lines = std::str::from_utf8(&stdout).unwrap().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn cache(&self) -> Vec<String> {
        if self.path("cache/sealslot/lists").exists() {
            self.names("cache/sealslot/lists")
        } else {
            Vec::new()
        }
    }
}

fn put(server: &Server<'_>, name: &str, content: &[u8]) -> String {
    let receipt = server.put(&format!("/uploads/{name}"), content).receipt();
    text(&receipt["id"])
}

fn names(listed: &[Value]) -> Vec<&str> {
    listed
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

#[test]
fn names_are_seen_with_a_key_only() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    assert_eq!(
        bench
            .receive(&server, "list", &[])
            .ok()
            .split(|b| *b == b'\n')
            .count(),
        2
    );
    let ids = [
        put(&server, "a.txt", b"first"),
        put(&server, "b%0A.bin", b"second!"),
    ];
    let table = String::from_utf8(bench.receive(&server, "list", &[]).ok()).unwrap();
    assert_eq!(table.lines().count(), 3);
    assert!(ids.iter().all(|id| table.contains(id)));
    assert!(!table.contains("a.txt"));
    let listed = bench.listed(&server, &[]);
    assert!(listed[0].get("name").is_none() && listed[0].get("opens").is_none());
    assert!(bench.cache().is_empty());
    let table = String::from_utf8(bench.receive(&server, "list", &["-i", "key"]).ok()).unwrap();
    assert!(table.contains("a.txt") && table.contains("5 B"), "{table}");
    assert!(table.contains("b\\u{a}.bin"), "{table}");
    let listed = bench.listed(&server, &["-i", "key"]);
    assert_eq!(names(&listed), ["b\n.bin", "a.txt"]);
    assert_eq!(
        (&listed[1]["size"], &listed[1]["opens"]),
        (&5.into(), &true.into())
    );
    assert_eq!(listed[1]["kind"], "file");
    let oldest = bench.listed(&server, &["-i", "key", "--reverse", "--limit", "1"]);
    assert_eq!(names(&oldest), ["a.txt"]);
    let named = bench.listed(&server, &["-i", "key", "--text", "A.T"]);
    assert_eq!(names(&named), ["a.txt"]);
    assert!(bench.listed(&server, &["--until", "1d"]).is_empty());
    assert_eq!(bench.listed(&server, &["--since", "1d"]).len(), 2);
    let said = bench.receive(&server, "list", &["--text", "a"]).failed(64);
    assert!(said.contains("-i FILE"), "{said}");
    let strange = bench.listed(&server, &["-i", "stranger"]);
    assert!(strange.iter().all(|item| item["opens"] == false));
}

#[test]
fn what_manifests_told_is_kept_for_this_user_alone() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let secret = put(&server, "very-secret-name.txt", b"first");
    put(&server, "b.txt", b"second");
    let list = |args: &[&str]| {
        let mut listed = bench.listed(&server, &[&["-i", "key", "--reverse"], args].concat());
        listed.retain(|item| item["opens"] == true);
        listed
            .iter()
            .map(|item| text(&item["name"]))
            .collect::<Vec<_>>()
    };
    let both = ["very-secret-name.txt", "b.txt"];
    assert_eq!(list(&["--no-cache"]), both);
    assert!(bench.cache().is_empty());
    assert_eq!(list(&[]), both);
    let [name] = &bench.cache()[..] else {
        panic!("{:?}", bench.cache());
    };
    let path = bench.path(format!("cache/sealslot/lists/{name}"));
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    let sealed = fs::read(&path).unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    assert!(!sealed.windows(11).any(|window| window == b"secret-name"));
    // A file that age opens, without file keys.
    let opened = bench
        .run(&["open", "-i", "key", path.to_str().unwrap()])
        .ok();
    let opened = String::from_utf8(opened).unwrap();
    assert!(
        opened.contains("very-secret-name.txt") && !opened.contains("\"key\""),
        "{opened}"
    );
    // It is used: what no longer opens on the server is still known.
    let meta = bench.upload_folder(&secret).join("meta.age");
    let whole = fs::read(&meta).unwrap();
    let mut broken = whole.clone();
    let end = broken.len() - 1;
    broken[end] ^= 1;
    fs::write(&meta, &broken).unwrap();
    assert_eq!(list(&[]), both);
    assert_eq!(list(&["--no-cache"]), ["b.txt"]);
    fs::write(&meta, &whole).unwrap();
    // Whatever is wrong with it, it is made anew.
    for damaged in [&b""[..], b"not age", &sealed[..sealed.len() - 1]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(list(&[]), both);
        let opened = bench
            .run(&["open", "-i", "key", path.to_str().unwrap()])
            .ok();
        assert!(opened.windows(11).any(|window| window == b"secret-name"));
    }
    // What is gone is forgotten.
    server
        .admin(Method::DELETE, &format!("/uploads/{secret}"))
        .is(204);
    assert_eq!(list(&[]), ["b.txt"]);
    let opened = bench
        .run(&["open", "-i", "key", path.to_str().unwrap()])
        .ok();
    assert!(!opened.windows(11).any(|window| window == b"secret-name"));
}

#[test]
fn more_than_a_page_is_listed() {
    let bench = Bench::in_memory();
    let server = Server::sealing(&bench, &[]);
    put(&server, "a.txt", b"first");
    let id = server.listed().remove(0);
    // The server looks at names and records only.
    let folder = bench.upload_folder(&id);
    let day = folder.parent().unwrap();
    for number in 0..2100 {
        let copy = day.join(format!("{}{number:08}", &id[..24]));
        fs::create_dir(&copy).unwrap();
        fs::copy(folder.join("meta.age"), copy.join("meta.age")).unwrap();
    }
    let listed = bench.listed(&server, &[]);
    assert_eq!(listed.len(), 2101);
    let newest = bench.listed(&server, &["-i", "key", "--limit", "3"]);
    assert_eq!(newest.len(), 3);
}

#[test]
fn what_is_chosen_is_deleted() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let ids: Vec<_> = (0..5)
        .map(|number| put(&server, &format!("draft-{number}.txt"), b"x"))
        .collect();
    let keep = put(&server, "final.txt", b"y");
    for (args, says) in [
        (&["--yes"][..], "--all"),
        (&["--all", "--yes", "--since", "1d"], "--all"),
        (&["--text", "draft", "--yes"], "-i FILE"),
        (&["--all"], "--yes"),
        (&[&ids[0]], "--yes"),
    ] {
        let said = bench.receive(&server, "rm", args).failed(64);
        assert!(said.contains(says), "{args:?}: {said}");
    }
    assert_eq!(server.listed().len(), 6);
    let deleted = bench.receive(&server, "rm", &["--yes", &ids[0]]).ok();
    assert_eq!(deleted, format!("{}\n", ids[0]).into_bytes());
    // Gone already is as good.
    bench.receive(&server, "rm", &["--yes", &ids[0]]).ok();
    assert!(
        bench
            .receive(&server, "rm", &["--yes", "--until", "1d"])
            .ok()
            .is_empty()
    );
    let args = ["--yes", "-i", "key", "--text", "DRAFT", "--json"];
    let deleted = bench.receive(&server, "rm", &args).ok();
    assert_eq!(String::from_utf8(deleted).unwrap().lines().count(), 4);
    assert_eq!(server.listed(), [keep]);
    bench.receive(&server, "rm", &["--yes", "--all"]).ok();
    assert!(server.listed().is_empty());
}

#[test]
fn a_token_that_may_not_delete_deletes_nothing() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let id = put(&server, "a.txt", b"x");
    let token = bench
        .run(&["token", "create", "reader", "--scope", "read"])
        .ok();
    bench.write_private("reader.token", std::str::from_utf8(&token).unwrap().trim());
    let args = ["--yes", "--all", "--token-file", "reader.token"];
    let said = bench.receive(&server, "rm", &args).failed(77);
    assert!(said.contains("admin"), "{said}");
    assert_eq!(server.listed(), [id]);
}
