//! The settings of `serve`: where they come from, what is refused, and what is made on loopback.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use http::{Method, Request};

use crate::program::{Bench, Ran};
use crate::server::{Server, content};

/// Settings with values that they cannot have.
const BAD: [(&str, &str); 80] = [
    ("listen", "localhost"),
    ("listen", "127.0.0.1"),
    ("metrics-listen", "nowhere:1"),
    ("log", "loud"),
    ("max-size", "much"),
    ("max-size", "0"),
    ("max-parts", "-1"),
    ("max-parts", "0"),
    ("max-part-headers", "x"),
    ("max-part-headers", "0"),
    ("max-name", "0B"),
    ("max-fields", "1 parsec"),
    ("max-data", "0"),
    ("max-uploads", "0"),
    ("max-uploads", "1.5"),
    ("max-uploads-per-address", "0"),
    ("max-uploads-per-address", "-1"),
    ("max-uploads-per-token", "0"),
    ("max-uploads-per-token", "all"),
    ("address-rate", "60"),
    ("address-rate", "0/1m"),
    ("address-rate", "-1/1m"),
    ("address-rate", "60/0s"),
    ("address-rate", "60/minute"),
    ("token-rate", "1.5/1m"),
    ("token-rate", "60/1m/1m"),
    ("token-rate", "1m/60"),
    ("token-rate", ""),
    ("failure-delay", "50"),
    ("failure-delay", "-1s"),
    ("min-speed", "-1KiB"),
    ("min-speed", "fast"),
    ("quota", "0"),
    ("quota", "-1GiB"),
    ("quota", "half"),
    ("min-free", "-16MiB"),
    ("min-free", "10%"),
    ("min-free", "1s"),
    ("max-connections", "0"),
    ("max-handshakes", "0"),
    ("max-handshakes", "-1"),
    ("handshake-timeout", "10"),
    ("handshake-timeout", "0s"),
    ("header-timeout", "soon"),
    ("body-timeout", "0s"),
    ("request-timeout", "-1s"),
    ("write-timeout", "0s"),
    ("grace", "for ever"),
    ("allow-anonymous", "perhaps"),
    ("ca-page", "perhaps"),
    ("page-title", " "),
    ("page-text", ""),
    ("page-colour", "green"),
    ("page-colour", "#1f5f4"),
    ("page-field", "file"),
    ("trusted-proxy", "proxy.example.org"),
    ("trusted-proxy", "192.0.2.0/33"),
    ("trusted-proxy", ""),
    ("proxy-protocol", "v2"),
    ("http3", "3"),
    ("forwarded", "x-real-ip"),
    ("client-certificates", "perhaps"),
    ("client-scope", "scanner.example.org"),
    ("client-scope", "scanner.example.org=write"),
    ("client-scope", "*.example.org=upload"),
    ("client-scope", "sha256:00=upload"),
    ("client-scope", "=upload"),
    ("server-name", "*.example.org"),
    ("server-name", "https://example.org"),
    ("server-name", "example.org:8443"),
    ("acme-domain", "*.example.org"),
    ("acme-domain", "https://files.example.org"),
    ("acme-email", "admin"),
    ("acme-email", "a@example.org,b@example.org"),
    ("acme-directory", "http://ca.example.org/dir"),
    ("acme-directory", "ca.example.org"),
    ("acme-profile", "short lived"),
    ("acme-challenge", "dns-01"),
    ("acme-terms-agreed", "perhaps"),
    ("http-listen", "80"),
];

/// Settings that are lists, and in the file stand in brackets.
const LISTS: [&str; 4] = [
    "trusted-proxy",
    "client-scope",
    "server-name",
    "acme-domain",
];

fn variable(setting: &str) -> String {
    format!("SEALSLOT_{}", setting.replace('-', "_").to_uppercase())
}

/// Nothing was made: neither data nor certificates.
#[track_caller]
fn made_nothing(bench: &Bench) {
    assert!(!bench.path("data").exists() && !bench.path("certs").exists());
}

#[test]
fn a_bad_value_is_refused_in_one_line_wherever_it_stands() {
    let bench = Bench::new();
    for (setting, value) in BAD {
        let flag = format!("--{setting}={value}");
        let line = bench.refuses_to_serve(&[&flag], &[]).failed(64);
        assert!(line.contains(setting), "{line}");

        let variable = variable(setting);
        let line = bench
            .refuses_to_serve(&[], &[(&variable, value)])
            .failed(64);
        assert!(line.contains(setting), "{line}");

        let value = if LISTS.contains(&setting) {
            format!("[\"{value}\"]")
        } else {
            format!("\"{value}\"")
        };
        bench.write("bad.toml", format!("# a comment\n{setting} = {value}\n"));
        let line = bench
            .refuses_to_serve(&["--config", "bad.toml"], &[])
            .failed(64);
        // A value that can be read and makes no sense is told by its name alone.
        let zero = line.contains(&format!("{setting} must be more than zero"));
        assert!(zero || line.contains("bad.toml: line 2"), "{line}");
    }
    made_nothing(&bench);
}

#[test]
fn a_size_or_time_that_is_none_is_told_what_one_is() {
    let bench = Bench::new();
    let to_link = ["link", "create", "https://127.0.0.1:1/"];
    let token = ["token", "create", "ci"];
    let upload = ["upload", "https://127.0.0.1:1/", "file"];
    let size = "give a size like 5GiB";
    let time = "give a time like ";
    for (command, flag, value, word) in [
        (&["serve"][..], "--quota", "-1", size),
        (&["serve"], "--quota", "-1GiB", size),
        (&["serve"], "--max-size", "XB", size),
        (&["serve"], "--max-size", "", size),
        (&["serve"], "--keep", "x", time),
        (&["serve"], "--keep", "-1d", time),
        (&to_link, "--max-bytes", "-1", size),
        (&to_link, "--max-file", "XB", size),
        (&to_link, "--keep", "x", time),
        (&to_link, "--expires", "-7d", time),
        (&token, "--expires", "-90d", time),
        (&token, "--expires", "90", time),
        (&["token", "rotate", "ci"], "--overlap", "-1h", time),
        (&upload, "--retry-for", "soon", time),
        (&upload, "--retry-for", "-1s", time),
    ] {
        let line = bench.run(&[command, &[flag, value]].concat()).failed(64);
        assert!(line.contains(flag) && line.contains(word), "{line}");
    }
    bench.write("sealslot.toml", "quota = -1\n");
    let line = bench.refuses_to_serve(&[], &[]).failed(64);
    assert!(line.contains("line 1") && line.contains(size), "{line}");
    made_nothing(&bench);
}

#[test]
fn an_unknown_setting_is_refused() {
    let bench = Bench::new();
    bench.refuses_to_serve(&["--max-siz", "1"], &[]).failed(64);
    bench.write("sealslot.toml", "max-parts = 3\nmax-siz = \"1KiB\"\n");
    let line = bench.refuses_to_serve(&[], &[]).failed(64);
    assert!(
        line.contains("sealslot.toml: line 2") && line.contains("max-siz"),
        "{line}"
    );
    bench.write("sealslot.toml", "max-parts = = 3\n");
    let line = bench.refuses_to_serve(&[], &[]).failed(64);
    assert!(line.contains("sealslot.toml: line 1"), "{line}");
    bench.write("sealslot.toml", "config = \"other.toml\"\n");
    bench.refuses_to_serve(&[], &[]).failed(64);
    fs::remove_file(bench.path("sealslot.toml")).unwrap();
    // The one that is named must be there.
    let line = bench
        .refuses_to_serve(&["--config", "none.toml"], &[])
        .failed(1);
    assert!(line.contains("none.toml"), "{line}");
    made_nothing(&bench);
}

/// How much the server takes in one upload.
fn max_size(bench: &Bench, args: &[&str], environment: &[(&str, &str)]) -> usize {
    let recipient = Bench::recipient_text();
    let args = [&["--recipient", &recipient], args].concat();
    let server = Server::start(bench, &args, environment);
    let takes = |size: usize| match server.put("/uploads/x", content(size)).status {
        201 => true,
        413 => false,
        other => panic!("{other}"),
    };
    let largest = [10, 20, 30, 40].into_iter().rev().find(|size| takes(*size));
    largest.unwrap()
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let bench = Bench::new();
    assert_eq!(max_size(&bench, &[], &[]), 40);
    bench.write("sealslot.toml", "max-size = \"10B\"\n");
    bench.write("other.toml", "max-size = \"20B\"\n");
    let variable = ("SEALSLOT_MAX_SIZE", "30B");
    assert_eq!(max_size(&bench, &[], &[]), 10);
    assert_eq!(max_size(&bench, &["--config", "other.toml"], &[]), 20);
    assert_eq!(
        max_size(&bench, &[], &[("SEALSLOT_CONFIG", "other.toml")]),
        20
    );
    assert_eq!(max_size(&bench, &[], &[variable]), 30);
    assert_eq!(max_size(&bench, &["--max-size", "20"], &[variable]), 20);
}

#[test]
fn a_server_can_be_set_up_from_its_file_alone() {
    let bench = Bench::new();
    bench.write_private("tokens", "# who\n\n  an-upload-token-that-is-long  \n");
    let recipient = Bench::recipient_text();
    let settings = format!(
        "data = \"elsewhere/data\"\ncerts = \"elsewhere/certs\"\nrecipient = [\"{recipient}\"]\n\
         upload-token-file = \"tokens\"\nmax-fields = \"1KiB\"\nbody-timeout = \"1m 30s\"\nmax-uploads = 7\n\
         allow-anonymous = true\nlog = \"debug\"\nmetrics-listen = \"127.0.0.1:0\"\n"
    );
    bench.write("sealslot.toml", settings);
    bench.run(&["certs", "--dir", "elsewhere/certs"]).ok();
    fs::create_dir(bench.path("certs")).unwrap();
    fs::copy(
        bench.path("elsewhere/certs/ca.pem"),
        bench.path("certs/ca.pem"),
    )
    .unwrap();
    let server = Server::start(&bench, &[], &[]);
    server.put("/uploads/x", "x").receipt();
    assert!(!bench.path("data").exists());
    assert_eq!(bench.names("elsewhere/data/uploads").len(), 1);
    assert!(server.log().contains("DEBUG"));
}

#[test]
fn recipients_come_from_the_environment_too() {
    let bench = Bench::new();
    let own = Bench::recipient_text();
    bench.run(&["keygen", "-o", "rsa", "--bits", "2048"]).ok();
    let both = format!("{own}\nrsa.pub");
    let server = Server::start(&bench, &[], &[("SEALSLOT_RECIPIENT", &both)]);
    let receipt = server.put("/uploads/x", "for both").receipt();
    assert_eq!(receipt["recipients"].as_array().unwrap().len(), 2);
    assert_eq!(bench.open_stored(&receipt["id"]).content, b"for both");
    let folder = bench.upload_folder(receipt["id"].as_str().unwrap());
    bench
        .run(&["open", "-i", "rsa", "-o", "out", folder.to_str().unwrap()])
        .ok();
    assert_eq!(bench.read("out/x"), b"for both");
    assert_eq!(server.get("/recipients").text().lines().count(), 2);
}

#[test]
fn what_others_can_reach_is_not_made_up() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    let reachable = |args: &[&str]| {
        let args = [&["--listen", "0.0.0.0:0"], args].concat();
        bench.refuses_to_serve(&args, &[])
    };
    let line = reachable(&[]).failed(64);
    for missing in ["certs/server.pem", "--recipient", "--allow-anonymous"] {
        assert!(line.contains(missing), "{missing}: {line}");
    }
    let line = reachable(&["--recipient", &recipient]).failed(64);
    assert!(
        line.contains("certs/server.pem") && !line.contains("--recipient"),
        "{line}"
    );
    let line = reachable(&["--recipient", &recipient, "--allow-anonymous"]).failed(64);
    assert!(
        line.contains("certs/server.pem") && !line.contains("--allow-anonymous"),
        "{line}"
    );
    let line = bench
        .refuses_to_serve(&["--listen", "[::]:0"], &[])
        .failed(64);
    assert!(line.contains("--recipient"), "{line}");
    made_nothing(&bench);

    bench.run(&["certs"]).ok();
    let line = reachable(&["--recipient", &recipient]).failed(64);
    assert!(
        line.contains("who may upload") && !line.contains("server.pem"),
        "{line}"
    );
    let line = reachable(&["--allow-anonymous"]).failed(64);
    assert!(
        line.contains("--recipient") && !line.contains("who may"),
        "{line}"
    );
    assert!(!bench.path("data").exists());
}

#[test]
fn what_is_missing_is_made_on_loopback_for_this_user_alone() {
    let bench = Bench::new();
    let mut server = Server::start(&bench, &[], &[]);
    let mode = |name: &str| {
        let metadata = fs::metadata(bench.path(name)).unwrap();
        format!("{name} {:03o}", metadata.permissions().mode() & 0o777)
    };
    let modes = [
        "data",
        "data/keys",
        "data/keys/identity.pem",
        "data/admin.token",
        "data/staging",
        "data/uploads",
        "certs",
        "certs/ca.key",
        "certs/server.key",
    ]
    .map(mode);
    let expected = [
        "data 700",
        "data/keys 700",
        "data/keys/identity.pem 600",
        "data/admin.token 600",
        "data/staging 700",
        "data/uploads 700",
        "certs 700",
        "certs/ca.key 600",
        "certs/server.key 600",
    ];
    assert_eq!(modes, expected);
    let receipt = server.put("/uploads/x", "sealed and opened").receipt();
    let id = receipt["id"].as_str().unwrap();
    let folder = bench.upload_folder(id);
    for file in ["meta.age", "0000.age"] {
        let metadata = fs::metadata(folder.join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }
    let path = format!("/uploads/{id}");
    assert_eq!(
        server.admin(Method::GET, &path).is(200).body,
        b"sealed and opened"
    );
    let folder = folder.to_str().unwrap();
    bench
        .run(&["open", "-i", "data/keys/identity.pem", "-o", "out", folder])
        .ok();
    assert_eq!(bench.read("out/x"), b"sealed and opened");

    // It says where everything is, and no secret.
    let said = server.log();
    let address = server.address.to_string();
    for told in [
        &format!("https://{address}/")[..],
        "data/admin.token",
        "curl --cacert",
        "data/keys/identity.pem",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    assert!(!said.contains(&server.token()));
    assert!(!said.contains("PRIVATE"));

    // The next start takes what is there.
    let secrets = || {
        let names = [
            "data/keys/identity.pem",
            "data/admin.token",
            "certs/server.pem",
        ];
        names.map(|name| bench.read(name))
    };
    let first = secrets();
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().success());
    drop(server);
    let server = Server::start(&bench, &[], &[]);
    assert_eq!(
        server.admin(Method::GET, &path).is(200).body,
        b"sealed and opened"
    );
    assert!(secrets() == first);
}

fn with_mode(bench: &Bench, name: &str, mode: u32) {
    fs::set_permissions(bench.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn says(ran: Ran, code: i32, words: &[&str]) {
    let line = ran.failed(code);
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(
        !line.contains("AGE-SECRET-KEY") && !line.contains("long-token"),
        "{line}"
    );
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    bench.write_private("token", "a-long-token-of-many-characters");
    for mode in [0o640, 0o604, 0o660] {
        with_mode(&bench, "key", mode);
        says(
            bench.refuses_to_serve(&["--identity", "key"], &[]),
            1,
            &["key", "chmod 600"],
        );
        with_mode(&bench, "token", mode);
        for setting in ["--admin-token-file", "--upload-token-file"] {
            let args = ["--recipient", &recipient, setting, "token"];
            says(
                bench.refuses_to_serve(&args, &[]),
                1,
                &["token", "chmod 600"],
            );
        }
    }
    bench.run(&["certs", "--force"]).ok();
    with_mode(&bench, "certs/server.key", 0o644);
    let args = ["--recipient", &recipient];
    says(
        bench.refuses_to_serve(&args, &[]),
        1,
        &["server.key", "chmod 600"],
    );
}

#[test]
fn keys_and_tokens_that_cannot_be_used_are_refused() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    let refused = |args: &[&str], code: i32, words: &[&str]| {
        says(bench.refuses_to_serve(args, &[]), code, words);
    };
    refused(&["--recipient", "nowhere.pub"], 1, &["nowhere.pub"]);
    refused(&["--recipient", "age1qqqq"], 1, &[]);
    refused(&["--recipient", "key"], 1, &["private"]);
    let secret = String::from_utf8(bench.read("key")).unwrap();
    refused(&["--recipient", secret.trim_end()], 1, &["private"]);
    refused(&["--identity", "nowhere"], 1, &["nowhere"]);
    bench.write("public", &recipient);
    with_mode(&bench, "public", 0o600);
    refused(&["--identity", "public"], 1, &["public"]);
    for (name, contents) in [
        ("empty", ""),
        ("comments", "# nothing\n"),
        ("short", "long-token"),
        ("binary", "\u{fffd}"),
    ] {
        bench.write_private(name, contents);
        refused(
            &["--recipient", &recipient, "--admin-token-file", name],
            1,
            &[name],
        );
    }
    refused(
        &["--recipient", &recipient, "--admin-token-file", "none"],
        1,
        &["none"],
    );
    bench.write("folder-is-a-file", "");
    refused(
        &["--recipient", &recipient, "--data", "folder-is-a-file"],
        1,
        &["folder-is-a-file"],
    );
    let dir = bench.path("half");
    fs::create_dir(&dir).unwrap();
    bench.write("half/server.pem", "x");
    refused(
        &["--recipient", &recipient, "--certs", "half"],
        1,
        &["half/server.key"],
    );
}

#[test]
fn a_key_with_a_passphrase_needs_it() {
    let bench = Bench::new();
    bench.write_private("phrase", "correct horse");
    bench
        .run(&[
            "keygen",
            "-o",
            "locked",
            "--bits",
            "2048",
            "--passphrase-file",
            "phrase",
        ])
        .ok();
    let server = Server::start(
        &bench,
        &["--identity", "locked", "--passphrase-file", "phrase"],
        &[],
    );
    let receipt = server.put("/uploads/x", "x").receipt();
    let path = format!("/uploads/{}", receipt["id"].as_str().unwrap());
    assert_eq!(server.admin(Method::GET, &path).is(200).body, b"x");
    drop(server);
    bench.write_private("wrong", "incorrect");
    let line = bench.refuses_to_serve(&["--identity", "locked", "--passphrase-file", "wrong"], &[]);
    assert!(!line.failed(1).contains("incorrect"));
}

#[test]
fn what_clients_certificates_are_held_to_has_to_be_readable() {
    let bench = Bench::new();
    let recipient = Bench::recipient_text();
    bench.run(&["certs"]).ok();
    let authority = ["--recipient", &recipient, "--client-ca", "certs/ca.pem"];
    let refused = |args: &[&str], words: &[&str]| {
        says(bench.refuses_to_serve(args, &[]), 64, words);
    };
    refused(
        &["--recipient", &recipient, "--client-ca", "none.pem"],
        &["--client-ca: name a PEM file", "none.pem"],
    );
    bench.write("empty.pem", "");
    refused(
        &["--recipient", &recipient, "--client-ca", "empty.pem"],
        &["empty.pem", "CERTIFICATE"],
    );
    let block = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    bench.write("bad.pem", block("CERTIFICATE"));
    refused(
        &["--recipient", &recipient, "--client-ca", "bad.pem"],
        &["bad.pem", "authorities"],
    );
    bench.write("bad-crl.pem", block("X509 CRL"));
    bench.write("empty.der", "");
    for list in ["none.crl", "bad-crl.pem", "bad.pem", "empty.der", "certs"] {
        let args = [&authority[..], &["--client-crl", list]].concat();
        refused(&args, &["--client-crl: name a revocation list", list]);
    }
    for (args, words) in [
        (&["--client-scope", "*=upload"][..], "client-ca"),
        (&["--client-crl", "bad-crl.pem"], "client-ca"),
        (&["--forwarded", "forwarded"], "trusted-proxy"),
        (&["--certificate", "certs/server.pem"], "private-key"),
        (&["--private-key", "certs/server.key"], "needs certificate"),
        (
            &["--http3", "--proxy-protocol", "--trusted-proxy=::1"],
            "http3 does not go together with proxy-protocol",
        ),
    ] {
        let args = [&["--recipient", &recipient], args].concat();
        says(bench.refuses_to_serve(&args, &[]), 64, &[words]);
    }
}

#[test]
fn a_taken_port_is_told_apart() {
    let bench = Bench::new();
    let other = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let address = server.address.to_string();
    let recipient = Bench::recipient_text();
    let line = other.refuses_to_serve(&["--listen", &address, "--recipient", &recipient], &[]);
    assert!(line.failed(1).contains(&address));
}

#[test]
fn a_token_file_shuts_out_the_others() {
    let bench = Bench::new();
    bench.write_private(
        "admins",
        "an-admin-token-from-a-file\nand-another-one-of-them\n",
    );
    let server = Server::sealing(
        &bench,
        &["--admin-token-file", "admins", "--allow-anonymous=false"],
    );
    assert!(!Path::new(&bench.path("data/admin.token")).exists());
    let list = |token: &str| {
        let request = Request::get("/uploads").header("authorization", format!("Bearer {token}"));
        server.send(request.body(Vec::new()).unwrap())
    };
    list("an-admin-token-from-a-file").is(200);
    list("and-another-one-of-them").is(200);
    list("an-admin-token-from-a-file\tand-another-one-of-them").refused(401, "unauthorized");
    server.put("/uploads/x", "x").refused(401, "unauthorized");
}
