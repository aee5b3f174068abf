//! Bodies that the sender sealed, sent as `application/age`.

use std::sync::LazyLock;

use http::Request;
use sealslot::seal::{self, ArmorEncoder, Identity, Recipient};

use crate::client::Multipart;
use crate::program::Bench;
use crate::server::{Server, content, text};

/// A key of the kind that a stanza names.
static RSA: LazyLock<Identity> = LazyLock::new(|| {
    let bench = Bench::new();
    bench.run(&["keygen", "-o", "rsa", "--bits", "2048"]).ok();
    let path = bench.path("rsa");
    sealslot::keys::read_identities(&path, &mut |_| unreachable!())
        .unwrap()
        .remove(0)
});

fn sealed_to(recipient: Recipient, plaintext: &[u8]) -> Vec<u8> {
    seal::seal(&[recipient], &[], plaintext).unwrap()
}

fn armored(binary: &[u8]) -> Vec<u8> {
    let (mut text, mut encoder) = (Vec::new(), ArmorEncoder::new());
    encoder.push(binary, &mut text);
    encoder.finish(&mut text);
    text
}

#[test]
fn what_is_sealed_to_us_is_taken_and_opens_through_both_layers() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let inner = content(200_000);
    let sealed = sealed_to(Bench::recipient(), &inner);
    for body in [sealed.clone(), armored(&sealed)] {
        let receipt = server
            .post("/uploads", "Application/Age; x=y", body.clone())
            .receipt();
        assert_eq!(bench.open_stored(&receipt["id"]).content, body);
        let folder = bench.upload_folder(&text(&receipt["id"]));
        let folder = folder.to_str().unwrap();
        let printed = bench
            .run(&["open", "-i", "key", "-o", "out", "--json", folder])
            .ok();
        let printed: serde_json::Value = serde_json::from_slice(&printed).unwrap();
        assert_eq!(bench.read(text(&printed["output"])), inner);
    }
    // The same in a form, and not a word about what is inside.
    let form = Multipart::new().file("x.age", "application/age", &sealed);
    server.post_form(form).receipt();
}

#[test]
fn a_start_in_single_bytes_is_understood() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let sealed = sealed_to(Bench::recipient(), b"hello");
    for body in [armored(&sealed), sealed] {
        let length = format!("Content-Length: {}", body.len());
        let headers = [&length[..], "Content-Type: application/age"];
        let mut wire = server.begin("PUT", "/uploads/x.age", &headers);
        for byte in &body {
            wire.send([*byte]);
        }
        let receipt = wire.answer().receipt();
        assert_eq!(bench.open_stored(&receipt["id"]).content, body);
    }
}

#[test]
fn what_is_no_age_file_or_not_for_us_is_refused() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let sealed = sealed_to(Bench::recipient(), &content(600_000));
    let header_end = sealed
        .windows(5)
        .position(|bytes| bytes == b"\n--- ")
        .unwrap();
    let mut broken = sealed.clone();
    broken[30] = b'\n';
    let foreign = sealed_to(RSA.to_recipient().unwrap(), &content(600_000));
    for (body, code) in [
        (Vec::new(), "not-age"),
        (b"age".to_vec(), "not-age"),
        (content(600_000), "not-age"),
        (b"age-encryption.org/v2\n".to_vec(), "not-age"),
        (sealed[..header_end].to_vec(), "not-age"),
        (sealed[..header_end + 10].to_vec(), "not-age"),
        (armored(&sealed)[..100].to_vec(), "not-age"),
        (broken, "not-age"),
        (foreign.clone(), "not-sealed-to-us"),
        (armored(&foreign), "not-sealed-to-us"),
    ] {
        server
            .post("/uploads", "application/age", body.clone())
            .refused(422, code);
        let form = Multipart::new()
            .file("fine", "text/plain", content(300_000))
            .file("x.age", "application/age", body);
        server.post_form(form).refused(422, code);
    }
    server.kept_nothing();
    // Nobody claimed that these were sealed.
    server.put("/uploads/x.age", "not an age file").receipt();
}

#[test]
fn an_rsa_stanza_must_name_our_key() {
    let bench = Bench::new();
    let line = sealslot::keys::NamedRecipient::new(RSA.to_recipient().unwrap(), "").to_line();
    let server = Server::start(&bench, &["--recipient", &line], &[]);
    let ours = sealed_to(RSA.to_recipient().unwrap(), b"x");
    server.post("/uploads", "application/age", ours).receipt();
    bench.run(&["keygen", "-o", "other", "--bits", "2048"]).ok();
    let other = sealslot::keys::read_recipients(bench.path("other.pub").to_str().unwrap());
    let foreign = sealed_to(other.unwrap().remove(0).recipient, b"x");
    let answer = server.post("/uploads", "application/age", foreign);
    answer.refused(422, "not-sealed-to-us");
}

#[test]
fn a_refused_start_is_refused_before_the_rest_arrives() {
    let bench = Bench::new();
    let server = Server::sealing(&bench, &[]);
    let request = Request::post("/uploads").header("content-type", "application/age");
    let request = request.body(content(32 << 20)).unwrap();
    // All is written before the answer is read: no reset may swallow it.
    server.send(request).refused(422, "not-age");
    server.kept_nothing();
}
