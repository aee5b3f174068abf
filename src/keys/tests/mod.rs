//! Every form there and back, and every refusal. The keys are made here: no private key is part of the project.

use super::*;
use crate::seal::{Identity, Recipient};
use bech32::{Bech32, Hrp};
use data_encoding::{BASE64, BASE64_NOPAD};
use getrandom::SysRng;
use proptest::prelude::*;
use rsa::pkcs1::{EncodeRsaPrivateKey, EncodeRsaPublicKey, LineEnding};
use rsa::pkcs8::der::asn1::OctetStringRef;
use rsa::pkcs8::pkcs5::pbes2;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, EncryptedPrivateKeyInfo, SecretDocument};
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;
use zeroize::Zeroizing;

mod generate;
mod hybrid;
mod identities;
mod recipients;

const PASSPHRASE: &str = "correct horse";

fn key() -> &'static rsa::PrivateKey {
    static KEY: OnceLock<rsa::PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| generate(2048).unwrap())
}

fn short_key() -> &'static rsa::PrivateKey {
    static KEY: OnceLock<rsa::PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| rsa::PrivateKey::new(&mut SysRng, 1024).unwrap())
}

/// `AGE-SECRET-KEY-1...` of 32 equal bytes, and its `age1...`.
fn age_pair(byte: u8) -> (String, String) {
    let secret = x25519_dalek::StaticSecret::from([byte; 32]);
    let public = x25519_dalek::PublicKey::from(&secret);
    let encode = |prefix, bytes: &[u8]| {
        bech32::encode::<Bech32>(Hrp::parse(prefix).unwrap(), bytes).unwrap()
    };
    (
        encode("age-secret-key-", secret.as_bytes()).to_uppercase(),
        encode("age", public.as_bytes()),
    )
}

/// The SSH wire encoding of RFC 4253, section 6.6, written out once more so that nothing is tested against itself.
fn wire(e: &[u8], n: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for (field, number) in [(&b"ssh-rsa"[..], false), (e, true), (n, true)] {
        let sign: &[u8] = if number && field[0] >= 0x80 {
            &[0]
        } else {
            &[]
        };
        wire.extend(
            u32::try_from(sign.len() + field.len())
                .unwrap()
                .to_be_bytes(),
        );
        wire.extend_from_slice(sign);
        wire.extend_from_slice(field);
    }
    wire
}

fn ssh_line(e: &[u8], n: &[u8]) -> String {
    format!("ssh-rsa {}", BASE64.encode(&wire(e, n)))
}

fn public_line() -> String {
    ssh_line(&key().e_bytes(), &key().n_bytes())
}

/// A file in a folder of its own, which lives as long as the first value.
fn file(contents: impl AsRef<[u8]>, mode: u32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

fn never_asked(_: &Path) -> Result<Zeroizing<String>, KeyError> {
    panic!("a passphrase was asked for")
}

fn read_with(contents: &str, passphrase: &str) -> Result<Vec<Identity>, KeyError> {
    let (_folder, path) = file(contents, 0o600);
    read_identities(&path, &mut |_| Ok(Zeroizing::new(passphrase.to_owned())))
}

fn read(contents: &str) -> Result<Vec<Identity>, KeyError> {
    let (_folder, path) = file(contents, 0o600);
    read_identities(&path, &mut never_asked)
}

fn refusal(contents: &str) -> KeyError {
    read(contents).err().expect("the identity is refused")
}

/// The recipients of identities, as lines.
#[expect(
    clippy::needless_pass_by_value,
    reason = "reads well where identities are made"
)]
fn lines(identities: Vec<Identity>) -> Vec<String> {
    let recipients = identities.iter().filter_map(Identity::to_recipient);
    recipients
        .map(|recipient| NamedRecipient::new(recipient, "").to_line())
        .collect()
}

fn recipient_refusal(text: &str) -> KeyError {
    parse_recipients(text).expect_err("the recipient is refused")
}

fn openssh(passphrase: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    write_keypair(
        &path,
        key(),
        Some(passphrase.unwrap_or(PASSPHRASE)),
        "me@here",
    )
    .unwrap();
    let text = fs::read_to_string(path).unwrap();
    if passphrase.is_some() {
        return text;
    }
    let key = ssh_key::PrivateKey::from_openssh(&text)
        .unwrap()
        .decrypt(PASSPHRASE)
        .unwrap();
    key.to_openssh(LineEnding::LF).unwrap().to_string()
}

fn encrypted_pkcs8(key: &rsa::PrivateKey, parameters: pbes2::Parameters) -> String {
    let der = key.to_pkcs8_der().unwrap();
    let info = rsa::pkcs8::PrivateKeyInfoRef::try_from(der.as_bytes()).unwrap();
    let document = info.encrypt_with_params(parameters, PASSPHRASE).unwrap();
    document
        .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
        .unwrap()
        .to_string()
}

/// An encrypted PKCS#8 file with these parameters and nothing in it.
fn unopenable_pkcs8(parameters: pbes2::Parameters) -> String {
    let info = EncryptedPrivateKeyInfo {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(&[0; 32]).unwrap(),
    };
    let document = SecretDocument::try_from(info).unwrap();
    document
        .to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF)
        .unwrap()
        .to_string()
}

fn pbkdf2(iterations: u32) -> pbes2::Parameters {
    pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(iterations, b"salt of 16 bytes", [7; 16])
        .unwrap()
}
