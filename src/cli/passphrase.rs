//! Where passphrases come from: a file, the environment, or the terminal.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::Failure;
use crate::keys::KeyError;

/// The passphrase itself. Not an argument: those are visible to everyone on the machine.
const VARIABLE: &str = "SEALSLOT_PASSPHRASE";
/// Far more than anybody types; what is longer is another kind of file.
const MAX_SIZE: u16 = 4096;

#[derive(Args, Debug)]
pub(super) struct PassphraseArgs {
    /// Read the private key's passphrase from the first line of FILE. Without it, SEALSLOT_PASSPHRASE holds the
    /// passphrase, or it is asked for on the terminal
    #[arg(long, value_name = "FILE", env = "SEALSLOT_PASSPHRASE_FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase that was given in a file or in the environment.
    pub(super) fn given(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(path) = &self.passphrase_file {
            let read = read_file(path);
            return read
                .map(Some)
                .map_err(|error| Failure::io("read the passphrase from", path, &error));
        }
        match env::var(VARIABLE) {
            Ok(passphrase) => Ok(Some(Zeroizing::new(passphrase))),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format_args!("{VARIABLE} is not UTF-8")))
            }
        }
    }

    /// Answers for a private key file that needs a passphrase: with the one given, or by asking.
    pub(super) fn ask(
        given: Option<&Zeroizing<String>>,
        key: &Path,
    ) -> Result<Zeroizing<String>, KeyError> {
        match given {
            Some(passphrase) => Ok(passphrase.clone()),
            None => prompt(&format!("Passphrase for {}: ", key.display())).map_err(|source| {
                KeyError::PassphraseUnavailable {
                    path: key.to_owned(),
                    source,
                }
            }),
        }
    }
}

/// Asks twice for a new passphrase on the terminal.
pub(super) fn ask_new() -> Result<Zeroizing<String>, Failure> {
    let ask = |text| {
        prompt(text).map_err(|error| {
            Failure::new(
                super::Exit::Other,
                format_args!("cannot ask for a passphrase: {error}"),
            )
        })
    };
    let passphrase = ask("New passphrase: ")?;
    if passphrase.is_empty() {
        return Err(KeyError::EmptyPassphrase.into());
    }
    if ask("The same again: ")? != passphrase {
        return Err(Failure::usage(
            "the two passphrases differ: nothing was written; start again",
        ));
    }
    Ok(passphrase)
}

/// Whether somebody seems to be there who can be asked. Prompts go to the terminal itself; where stderr is not one
/// either, a person is hardly there to read them.
pub(super) fn is_attended() -> bool {
    io::stdin().is_terminal() || io::stderr().is_terminal()
}

/// Asks for a secret on the terminal, which does not show what is typed.
pub(super) fn prompt(text: &str) -> io::Result<Zeroizing<String>> {
    if !is_attended() {
        return Err(no_terminal());
    }
    rpassword::prompt_password(text)
        .map(Zeroizing::new)
        .map_err(|_| no_terminal())
}

fn no_terminal() -> io::Error {
    io::Error::other(format!(
        "there is no terminal; give --passphrase-file FILE or set {VARIABLE}"
    ))
}

fn read_file(path: &Path) -> io::Result<Zeroizing<String>> {
    // Of the right size at once, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(usize::from(MAX_SIZE) + 2));
    File::open(path)?
        .take(u64::from(MAX_SIZE) + 1)
        .read_to_string(&mut text)?;
    if text.len() > usize::from(MAX_SIZE) {
        return Err(io::Error::other(format!(
            "it is longer than {MAX_SIZE} bytes"
        )));
    }
    Ok(Zeroizing::new(
        text.lines().next().unwrap_or_default().to_owned(),
    ))
}
