//! Post-quantum keys on the command line and on a server, and identities for plugins. What really opens with other
//! implementations and plugins is in `tests/e2e/age_keys`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::program::{Bench, Ran};

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

#[test]
fn a_post_quantum_key_is_made_sealed_to_and_opens_with_a_passphrase_too() {
    let bench = Bench::new();
    bench.write("words", "correct horse\n");
    for (key, locks) in [
        ("plain", &[][..]),
        ("locked", &["--passphrase-file", "words"]),
    ] {
        let mut args = vec!["keygen", "--post-quantum", "-o", key];
        args.extend(locks);
        let line = text(bench.run(&args).ok());
        let public = format!("{key}.pub");
        assert_eq!(line, text(bench.read(&public)));
        let sealed = bench
            .run_with_stdin(&["seal", "-r", &line], b"for years")
            .ok();
        let mut args = vec!["open", "-i", key, "-"];
        args.extend(locks);
        assert_eq!(bench.run_with_stdin(&args, &sealed).ok(), b"for years");
        bench
            .run_with_stdin(&["open", "-i", "key", "-"], &sealed)
            .failed(65);
    }
}

#[test]
fn post_quantum_and_other_keys_are_refused_together() {
    let bench = Bench::new();
    let line = text(bench.run(&["keygen", "--post-quantum", "-o", "pq"]).ok());
    let other = Bench::recipient_text();
    let said = bench
        .run_with_stdin(&["seal", "-r", &line, "-r", &other], b"")
        .failed(64);
    assert!(said.contains("age1pq1"), "{said}");
    let serve = ["--recipient", "pq.pub", "--recipient", &other];
    let said = bench.refuses_to_serve(&serve, &[]).failed(64);
    assert!(said.contains("age1pq1"), "{said}");
}

#[test]
fn a_plugin_is_found_by_its_name_and_its_refusal_told() {
    const PLUGIN: &str = "#!/bin/sh
while read -r line; do [ \"$line\" = '-> done' ] && break; done
[ -z \"$SEALSLOT_PASSPHRASE\" ] || exit 1
printf -- '-> error internal\\n%s\\n-> done\\n\\n' \"$(printf 'no card' | base64 | tr -d =)\"
cat >/dev/null
";
    let bench = Bench::new();
    let sealed = bench
        .run_with_stdin(&["seal", "-r", &Bench::recipient_text()], b"x")
        .ok();
    bench.write("x.age", sealed);
    bench.write_private("card", &format!("{}\n", plugin_line()));
    fs::create_dir(bench.path("programs")).unwrap();
    let program = bench.write("programs/age-plugin-it", PLUGIN);
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    let open = |path: String| {
        let mut command = bench.command(["open", "-i", "card", "x.age"]);
        command
            .env("PATH", path)
            .env("SEALSLOT_PASSPHRASE", "secret");
        Ran::of(command).failed(1)
    };
    let path = std::env::var("PATH").unwrap();
    let programs = bench.path("programs");
    let said = open(format!("{}:{path}", programs.display()));
    assert!(said.contains("age-plugin-it reports: no card"), "{said}");
    // A folder that depends on where the command runs is not looked into.
    let said = open(format!("programs::{path}"));
    assert!(said.contains("in no folder of PATH"), "{said}");
    let said = bench
        .refuses_to_serve(&["--identity", "card"], &[])
        .failed(1);
    assert!(said.contains("not on a server"), "{said}");
}

/// An identity for the plugin `it`, without data.
fn plugin_line() -> String {
    let hrp = bech32::Hrp::parse("age-plugin-it-").unwrap();
    bech32::encode_upper::<bech32::Bech32>(hrp, &[]).unwrap()
}
