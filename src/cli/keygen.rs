//! `sealslot keygen`: a new RSA key pair.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::Failure;
use super::passphrase::{PassphraseArgs, ask_new};
use super::results::{note, print, print_json};
use crate::keys::{self, DEFAULT_BITS, MAX_BITS, MIN_BITS};

/// Make an RSA key that age, rage and ssh-keygen read too
///
/// The private key goes to FILE (mode 0600), the public key to FILE.pub and to stdout, as an `ssh-rsa` line: that is
/// what `sealslot seal -r`, `sealslot serve --recipient` and `age -R` take. Neither file is ever overwritten.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot keygen
  sealslot keygen -o backup.pem --comment \"backup of the shop\" --passphrase")]
pub(super) struct KeygenArgs {
    /// Where the private key goes
    #[arg(short, long, value_name = "FILE", default_value = "identity.pem")]
    output: PathBuf,

    /// Size of the key
    #[arg(
        long,
        env = "SEALSLOT_BITS",
        default_value_t = DEFAULT_BITS,
        value_parser = clap::value_parser!(u32).range(i64::from(MIN_BITS)..=i64::from(MAX_BITS))
    )]
    bits: u32,

    /// Encrypt the private key with a passphrase, asked for on the terminal. A passphrase given by
    /// --passphrase-file or SEALSLOT_PASSPHRASE is used without this flag too
    #[arg(long)]
    passphrase: bool,

    #[command(flatten)]
    given: PassphraseArgs,

    /// A comment for the public key, visible to all who see it
    #[arg(
        long,
        value_name = "TEXT",
        env = "SEALSLOT_COMMENT",
        default_value = "sealslot"
    )]
    comment: String,

    /// Print one JSON object: private, public, bits, fingerprint, recipient
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let passphrase = new_passphrase(args)?;
    let bits = usize::try_from(args.bits).map_err(Failure::usage)?;
    let key = keys::generate(bits)?;
    let passphrase = passphrase.as_ref().map(|text| text.as_str());
    let files = keys::write_keypair(&args.output, &key, passphrase, &args.comment)?;

    let recipient = crate::seal::ssh_rsa::Recipient::new(rsa::PublicKey::from(&key));
    let recipient = crate::seal::Recipient::SshRsa(recipient);
    let recipient = keys::NamedRecipient::new(recipient, &args.comment);
    if args.json {
        return print_json(&json!({
            "private": files.private.to_string_lossy(),
            "public": files.public.to_string_lossy(),
            "bits": recipient.bits(),
            "fingerprint": recipient.fingerprint(),
            "recipient": recipient.to_line(),
        }));
    }
    note(format_args!(
        "private key: {} (whoever has it can open everything; back it up)",
        files.private.display()
    ));
    note(format_args!("public key:  {}", files.public.display()));
    note(format_args!("fingerprint: {}", recipient.fingerprint()));
    print(recipient.to_line())
}

/// The passphrase for the new key, where it is to have one. Known before the key is made, which takes a while.
fn new_passphrase(args: &KeygenArgs) -> Result<Option<Zeroizing<String>>, Failure> {
    match args.given.given()? {
        Some(passphrase) if passphrase.is_empty() => Err(keys::KeyError::EmptyPassphrase.into()),
        Some(passphrase) => Ok(Some(passphrase)),
        None if args.passphrase => ask_new().map(Some),
        None => Ok(None),
    }
}
