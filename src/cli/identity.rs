//! Private keys that a command line names: files, and the passphrases of those that have one.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::passphrase::PassphraseArgs;
use super::plugin::Plugin;
use crate::keys;
use crate::seal::Identity;

/// The private keys of a command that can do nothing without one.
#[derive(Args, Debug)]
pub(super) struct IdentityArgs {
    /// A file with an RSA private key, or with lines of AGE-SECRET-KEY-1..., AGE-SECRET-KEY-PQ-1... or
    /// AGE-PLUGIN-NAME-1... (for the program age-plugin-NAME); may be repeated
    #[arg(
        short = 'i',
        long = "identity",
        value_name = "IDENTITY",
        env = "SEALSLOT_IDENTITY",
        required = true
    )]
    files: Vec<PathBuf>,

    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// The private keys of a command that also does something without them.
#[derive(Args, Debug)]
pub(super) struct OptionalIdentityArgs {
    /// A file with an RSA private key, or with lines of AGE-SECRET-KEY-1..., AGE-SECRET-KEY-PQ-1... or
    /// AGE-PLUGIN-NAME-1... (for the program age-plugin-NAME); may be repeated
    #[arg(
        short = 'i',
        long = "identity",
        value_name = "IDENTITY",
        env = "SEALSLOT_IDENTITY"
    )]
    files: Vec<PathBuf>,

    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl IdentityArgs {
    /// Reads all of them, and asks for passphrases where none was given. There is at least one.
    pub(super) fn read(&self) -> Result<Vec<Identity>, Failure> {
        read(&self.files, &self.passphrase)
    }
}

impl OptionalIdentityArgs {
    /// Whether the command line names any.
    pub(super) fn any(&self) -> bool {
        !self.files.is_empty()
    }

    /// The files that the command line names.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Reads all of them, as [`IdentityArgs::read`] does; none where none was named.
    pub(super) fn read(&self) -> Result<Vec<Identity>, Failure> {
        read(&self.files, &self.passphrase)
    }
}

fn read(files: &[PathBuf], passphrase: &PassphraseArgs) -> Result<Vec<Identity>, Failure> {
    let given = passphrase.given()?;
    let mut ask = |path: &Path| PassphraseArgs::ask(given.as_ref(), path);
    let mut plugin = |identity| Identity::External(Box::new(Plugin::new(identity)));
    let mut identities = Vec::new();
    for path in files {
        // A message about a file of that name would repeat it.
        if path
            .as_os_str()
            .as_encoded_bytes()
            .starts_with(b"AGE-SECRET-KEY-")
        {
            return Err(Failure::usage(
                "--identity takes a file: a private key on the command line is seen by everyone on this machine",
            ));
        }
        identities.extend(keys::read_identities_and_plugins(
            path,
            &mut ask,
            &mut plugin,
        )?);
    }
    Ok(identities)
}
