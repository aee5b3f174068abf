//! macOS and Windows, whose stores are changed by commands of theirs. Sealslot is built for Linux alone so far: these are written
//! down and tested as plans, and have run nowhere.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Found, Looked, Place, run};
use crate::tls::dev::{CertificateFacts, OUR_AUTHORITIES, read_facts_of};

const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

/// How such a system is asked and told.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::certs) struct OtherSystem {
    os: &'static str,
    /// What its store is called.
    pub(in crate::cli::certs) store: &'static str,
    /// Its program, which is in one place.
    program: &'static str,
    /// Whether it asks for an administrator. Windows changes the store of the user.
    pub(in crate::cli::certs) needs_root: bool,
}

const SYSTEMS: [OtherSystem; 2] = [
    OtherSystem {
        os: "macos",
        store: "the system's keychain",
        program: "/usr/bin/security",
        needs_root: true,
    },
    OtherSystem {
        os: "windows",
        store: "the user's Root store",
        program: r"C:\Windows\System32\certutil.exe",
        needs_root: false,
    },
];

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

impl OtherSystem {
    pub(super) fn of(os: &str) -> Option<&'static Self> {
        SYSTEMS.iter().find(|system| system.os == os)
    }

    pub(in crate::cli::certs) fn program(&self) -> PathBuf {
        self.program.into()
    }

    /// Whether what is in the store cannot be told from what its program prints.
    pub(in crate::cli::certs) fn cannot_be_read(&self) -> bool {
        !self.is_macos()
    }

    fn is_macos(&self) -> bool {
        self.os == "macos"
    }

    /// What puts the authority in a file, which comes behind it, into the store.
    pub(in crate::cli::certs) fn add(&self) -> Vec<OsString> {
        if self.is_macos() {
            words(&["add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN])
        } else {
            words(&["-user", "-addstore", "Root"])
        }
    }

    /// What takes an authority out again. The trust settings of macOS go with the certificate (`-t`).
    pub(in crate::cli::certs) fn remove(&self, certificate: &CertificateFacts) -> Vec<OsString> {
        let sha1 = certificate.sha1();
        if self.is_macos() {
            words(&["delete-certificate", "-Z", &sha1, "-t", KEYCHAIN])
        } else {
            words(&["-user", "-delstore", "Root", &sha1])
        }
    }

    /// What prints the certificates that there are.
    pub(in crate::cli::certs) fn list(&self) -> Vec<OsString> {
        if self.is_macos() {
            words(&[
                "find-certificate",
                "-a",
                "-p",
                "-c",
                OUR_AUTHORITIES.trim_end(),
                KEYCHAIN,
            ])
        } else {
            // With `-v` it prints each certificate whole, as a dump; without, its subject and SHA-1.
            words(&["-user", "-store", "Root"])
        }
    }

    pub(super) fn look(&self, looked: &mut Looked) {
        match run(self.program.as_ref(), &self.list(), b"") {
            Ok(ran) => {
                let all = read_facts_of(ran.stdout.as_bytes()).into_iter();
                let ours = all.filter(|certificate| certificate.our_name().is_some());
                looked.found.extend(ours.map(|certificate| Found {
                    place: Place::Entry(self.store),
                    certificate,
                    namesakes: 1,
                }));
                if !self.is_macos() {
                    looked
                        .unseen
                        .push(format!("{}: what is in it is not read", self.store));
                }
            }
            Err(error) => looked
                .unseen
                .push(format!("{}: {}: {error}", self.store, self.program)),
        }
    }
}
