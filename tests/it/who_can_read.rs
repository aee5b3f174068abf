//! What the page says of who can read what is sent: the sentence that people decide by.

use data_encoding::BASE64;

use crate::program::Bench;
use crate::server::Server;

/// An RSA key of its own for each number. Nobody has the private one, and nothing here is sealed to it.
fn key(number: u8, name: &str) -> String {
    let mut modulus = vec![0x5a; 257];
    modulus[0] = 0;
    modulus[1] = 0xc0 + number;
    modulus[256] = 0x5b;
    let mut wire = Vec::new();
    for part in [b"ssh-rsa".as_slice(), &[1, 0, 1], &modulus] {
        wire.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        wire.extend(part);
    }
    format!("ssh-rsa {} {name}", BASE64.encode(&wire))
}

/// The whole of it, between its tags.
fn promise(server: &Server<'_>, language: &str) -> String {
    let page = server.get(&format!("/?lang={language}")).is(200).text();
    let (_, section) = page.split_once("<section class=\"promise\"").unwrap();
    let (_, sentence) = section.split_once("<p>").unwrap();
    sentence.split_once("</p>").unwrap().0.to_owned()
}

const UNNAMED: [&str; 2] = [
    "Everything is sealed while it arrives. After that only those who hold a key listed below can open it. Nobody else can, \
     and neither can this server.",
    "보내신 내용은 도착하는 대로 곧바로 봉인됩니다. 그 뒤에는 아래 키를 가진 사람만 열어 볼 수 있습니다. 다른 누구도, 이 \
     서버도 열 수 없습니다.",
];
const SERVER: [&str; 2] = [
    "Everything is sealed while it arrives. This server holds the key: whoever runs it can open what you send.",
    "보내신 내용은 도착하는 대로 곧바로 봉인됩니다. 이 서버에 키가 있으므로 서버를 운영하는 사람은 열어 볼 수 있습니다.",
];

fn named(english: &str, korean: &str) -> [String; 2] {
    [
        format!(
            "Everything is sealed while it arrives. After that only {english} can open it. Nobody else can, and neither can \
             this server."
        ),
        format!(
            "보내신 내용은 도착하는 대로 곧바로 봉인됩니다. 그 뒤에는 {korean}만 열어 볼 수 있습니다. 다른 누구도, 이 서버도 \
             열 수 없습니다."
        ),
    ]
}

#[track_caller]
fn promises(names: &[&str], args: &[&str], expected: [impl AsRef<str>; 2]) {
    let bench = Bench::new();
    let keys: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| key(n, name))
        .collect();
    let mut all = args.to_vec();
    for key in &keys {
        all.extend(["--recipient", key]);
    }
    let server = Server::start(&bench, &all, &[]);
    for (language, expected) in ["en", "ko"].into_iter().zip(expected) {
        assert_eq!(promise(&server, language), expected.as_ref(), "{names:?}");
    }
}

#[test]
fn keys_that_all_have_names_are_those_people() {
    promises(&["Kim"], &[], named("Kim", "Kim"));
    promises(&["Kim", "Lee"], &[], named("Kim and Lee", "Kim, Lee"));
    promises(
        &["Kim", "Lee", "Park"],
        &[],
        named("Kim, Lee and Park", "Kim, Lee, Park"),
    );
    promises(&["<b>&"], &[], named("&lt;b&gt;&amp;", "&lt;b&gt;&amp;"));
}

#[test]
fn who_has_several_keys_is_named_once() {
    promises(&["Kim", "Kim"], &[], named("Kim", "Kim"));
    promises(
        &["Kim", "Lee", "Kim"],
        &[],
        named("Kim and Lee", "Kim, Lee"),
    );
}

#[test]
fn where_one_key_has_no_name_nobody_is_named() {
    promises(&[""], &[], UNNAMED);
    promises(&["Kim", ""], &[], UNNAMED);
    promises(&["", "Kim"], &[], UNNAMED);
}

#[test]
fn a_server_says_that_it_opens_what_is_sent_where_it_does() {
    let identity = ["--identity", "key"];
    promises(&[], &identity, SERVER);
    let own = Bench::recipient_text();
    let with_its_own = ["--identity", "key", "--recipient", &own];
    promises(&["Kim"], &with_its_own, SERVER);
    // Its key opens other things.
    promises(&["Kim"], &identity, named("Kim", "Kim"));
}
