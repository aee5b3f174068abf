//! Writes down what every nonce sealed, for a test that looks for one that sealed two plaintexts. Only in builds with the
//! feature `audit-seals`, which are not for use: hashes of plaintext reach a disk.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Names the file that is written to.
const VARIABLE: &str = "SEALSLOT_AUDIT_SEALS";

#[derive(Clone)]
pub(super) struct Audit(Zeroizing<[u8; 32]>);

impl Audit {
    pub(super) fn new(payload_key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*payload_key))
    }

    /// One line: what was sealed with, and what was sealed, both hashed.
    pub(super) fn record(&self, nonce: &[u8], plaintext: &[u8]) {
        let Some(mut file) = file() else {
            return;
        };
        let with = Sha256::new().chain_update(*self.0).chain_update(nonce);
        let with = HEXLOWER.encode(&with.finalize());
        let what = HEXLOWER.encode(&Sha256::digest(plaintext));
        // In one call: lines of several threads must not mix.
        file.write_all(format!("{with} {what}\n").as_bytes())
            .expect("the audit must be complete");
    }
}

fn file() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    FILE.get_or_init(|| {
        let path = std::env::var_os(VARIABLE)?;
        let file = OpenOptions::new().create(true).append(true).open(path);
        Some(file.expect("the audit must be complete"))
    })
    .as_ref()
}
