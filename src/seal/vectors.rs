//! Public test vectors: age's own (C2SP/CCTV) and Project Wycheproof's. They are looked for where `SEALSLOT_VECTORS`
//! says, else in `../shared/vectors`; with `CI` set, their absence is a failure.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use rsa::pkcs8::DecodePrivateKey;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("SEALSLOT_VECTORS").map(PathBuf::from);
    let path = named
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"));
    if path.is_dir() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "no test vectors: set SEALSLOT_VECTORS to their folder"
    );
    eprintln!("no test vectors here: set SEALSLOT_VECTORS to their folder to run them");
    None
}

/// One file of age's test kit: header lines, an empty line, the age file.
struct Vector {
    expect: String,
    payload: Option<String>,
    identities: Vec<Identity>,
    armored: bool,
    file: Vec<u8>,
}

fn read_vector(raw: &[u8]) -> Vector {
    let split = memchr::memmem::find(raw, b"\n\n").expect("an empty line");
    let mut vector = Vector {
        expect: String::new(),
        payload: None,
        identities: Vec::new(),
        armored: false,
        file: raw[split + 2..].to_vec(),
    };
    for line in std::str::from_utf8(&raw[..split]).expect("text").lines() {
        let (key, value) = line.split_once(": ").expect("key: value");
        match key {
            "expect" => vector.expect = value.to_owned(),
            "payload" => vector.payload = Some(value.to_owned()),
            "armored" => vector.armored = value == "yes",
            "identity" if value.starts_with("AGE-SECRET-KEY-PQ-") => vector.identities.push(
                Identity::MlKem768X25519(value.parse().expect("an identity")),
            ),
            "identity" => vector
                .identities
                .push(Identity::X25519(value.parse().expect("an identity"))),
            "passphrase" => {
                let passphrase = scrypt::Identity::new(value.to_owned().into());
                vector
                    .identities
                    .push(Identity::External(Box::new(passphrase)));
            }
            "compressed" => {
                let mut plain = Vec::new();
                flate2::read::ZlibDecoder::new(&raw[split + 2..])
                    .read_to_end(&mut plain)
                    .expect("zlib");
                vector.file = plain;
            }
            _ => {}
        }
    }
    vector
}

/// Opens as a reader of streams would and gives what came out before the end, with how it ended.
fn open_vector(vector: &Vector) -> (Vec<u8>, Result<(), OpenError>) {
    let mut released = Vec::new();
    let result = open_into(vector, &mut released);
    (released, result)
}

fn open_into(vector: &Vector, released: &mut Vec<u8>) -> Result<(), OpenError> {
    let mut file = vector.file.clone();
    if vector.armored {
        let mut decoder = ArmorDecoder::new();
        let mut bytes = Vec::new();
        decoder.push(&file, &mut bytes)?;
        decoder.finish(&mut bytes)?;
        file = bytes;
    }
    let (header, size) = Header::parse(&file)?.ok_or(HeaderError::Truncated)?;
    let key = header.unwrap_file_key(&vector.identities)?;
    let mut opener = StreamOpener::new(&key, header.nonce());
    let mut rest = &mut file[size..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at_mut(rest.len().min(SEALED_CHUNK_SIZE));
        released.extend_from_slice(opener.open_next(now, later.is_empty())?);
        rest = later;
    }
    opener.finish()?;
    Ok(())
}

#[test]
fn age_vectors_give_what_they_expect() {
    let Some(folder) = vectors() else { return };
    let (mut run, mut failures) = (0, Vec::new());
    for entry in fs::read_dir(folder.join("age")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let vector = read_vector(&fs::read(&path).unwrap());
        let (released, result) = open_vector(&vector);
        let kind = match &result {
            Ok(()) => "success",
            Err(OpenError::NoMatch) => "no match",
            Err(OpenError::Mac) => "HMAC failure",
            Err(OpenError::Header(_)) => "header failure",
            Err(OpenError::Armor(_)) => "armor failure",
            Err(OpenError::Payload(_)) => "payload failure",
            Err(OpenError::External(_)) => "an identity that could not be used",
        };
        if kind != vector.expect {
            failures.push(format!("{name}: {result:?}, not {}", vector.expect));
        }
        if let Some(expected) = &vector.payload {
            let digest = HEXLOWER.encode(&Sha256::digest(&released));
            if &digest != expected {
                failures.push(format!("{name}: another payload"));
            }
        }
        run += 1;
    }
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(run >= 100, "only {run} vectors were run");
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn wycheproof(name: &str) -> Option<Value> {
    let text = fs::read_to_string(vectors()?.join(name)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

#[test]
fn wycheproof_rsa_oaep_passes_through_the_identity() {
    for name in [
        "rsa_oaep_2048_sha256_mgf1sha256_test.json",
        "rsa_oaep_3072_sha256_mgf1sha256_test.json",
    ] {
        let Some(suite) = wycheproof(name) else {
            return;
        };
        for group in suite["testGroups"].as_array().unwrap() {
            let key = rsa::PrivateKey::from_pkcs8_der(&hex(&group["privateKeyPkcs8"])).unwrap();
            let identity = ssh_rsa::Identity::new(&key).unwrap();
            for test in group["tests"].as_array().unwrap() {
                let opened = identity.decrypt(&hex(&test["ct"]), &hex(&test["label"]));
                let expected = (test["result"] == "valid").then(|| hex(&test["msg"]));
                let opened = opened.map(|plaintext| plaintext.to_vec());
                assert_eq!(opened, expected, "{name} {}", test["tcId"]);
            }
        }
    }
}

#[test]
fn wycheproof_hkdf_passes_through_the_key_derivation() {
    let Some(suite) = wycheproof("hkdf_sha256_test.json") else {
        return;
    };
    let mut run = 0;
    for group in suite["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            // age derives 32 bytes and no other number.
            if test["size"] == 32 && test["result"] == "valid" {
                let (ikm, salt, info) = (hex(&test["ikm"]), hex(&test["salt"]), hex(&test["info"]));
                let okm = file_key::hkdf_sha256(&ikm, &salt, &info);
                assert_eq!(okm.to_vec(), hex(&test["okm"]), "{}", test["tcId"]);
                run += 1;
            }
        }
    }
    assert!(run > 0);
}

#[test]
fn wycheproof_chacha20poly1305_passes_through_the_chunks() {
    let Some(suite) = wycheproof("chacha20_poly1305_test.json") else {
        return;
    };
    let run = stream::wycheproof(&suite, hex);
    assert!(run > 300, "only {run} vectors were run");
}
