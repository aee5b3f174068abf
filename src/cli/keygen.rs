//! `sealslot keygen`: a new key pair.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use serde_json::json;
use zeroize::Zeroizing;

use super::passphrase::{PassphraseArgs, ask_new};
use super::results::{note, print, print_json};
use super::{Exit, Failure};
use crate::keys::{self, DEFAULT_BITS, KeypairFiles, MAX_BITS, MIN_BITS, NamedRecipient};
use crate::seal::{Recipient, mlkem768x25519, ssh_rsa};

/// Make a key pair, RSA or post-quantum, that age reads too
///
/// rage and ssh-keygen read an RSA key as well. The private key goes to FILE (mode 0600), the public key to FILE.pub and to
/// stdout, as one line: that is what `sealslot seal -r`, `sealslot serve --recipient` and `age -R` take. Neither file is
/// ever overwritten.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot keygen
  sealslot keygen -o backup.pem --comment \"backup of the shop\" --passphrase")]
pub(super) struct KeygenArgs {
    /// Where the private key goes [default: identity.pem, or identity.txt with --post-quantum]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Make a post-quantum key (age's `mlkem768x25519`), which age reads from version 1.3 on. What is sealed to it stays
    /// sealed when RSA is broken; it does not go together with other keys
    #[arg(long, env = "SEALSLOT_POST_QUANTUM", value_parser = clap::builder::BoolishValueParser::new())]
    post_quantum: bool,

    /// Size of an RSA key
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

    /// A comment for an RSA public key, visible to all who see it
    #[arg(
        long,
        value_name = "TEXT",
        env = "SEALSLOT_COMMENT",
        default_value = "sealslot"
    )]
    comment: String,

    /// Print one JSON object: private, public, bits (of an RSA key), fingerprint, recipient
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &KeygenArgs) -> Result<(), Failure> {
    let passphrase = new_passphrase(args)?;
    let passphrase = passphrase.as_ref().map(|text| text.as_str());
    let (files, recipient) = if args.post_quantum {
        make_post_quantum(args, passphrase)?
    } else {
        make_rsa(args, passphrase)?
    };
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

fn make_rsa(
    args: &KeygenArgs,
    passphrase: Option<&str>,
) -> Result<(KeypairFiles, NamedRecipient), Failure> {
    let bits = usize::try_from(args.bits).map_err(Failure::usage)?;
    let key = keys::generate(bits)?;
    let recipient = ssh_rsa::Recipient::new(rsa::PublicKey::from(&key))
        .map_err(|error| Failure::from_error(Exit::Other, &error))?;
    let path = args.output.as_deref().unwrap_or(Path::new("identity.pem"));
    let files = keys::write_keypair(path, &key, passphrase, &args.comment)?;
    let recipient = NamedRecipient::new(Recipient::SshRsa(recipient), &args.comment);
    Ok((files, recipient))
}

fn make_post_quantum(
    args: &KeygenArgs,
    passphrase: Option<&str>,
) -> Result<(KeypairFiles, NamedRecipient), Failure> {
    let identity = mlkem768x25519::Identity::generate()
        .map_err(|error| Failure::from_error(Exit::Other, &error))?;
    let path = args.output.as_deref().unwrap_or(Path::new("identity.txt"));
    let files = keys::write_identity(path, &identity, passphrase, SystemTime::now())?;
    let recipient = Recipient::MlKem768X25519(identity.to_recipient());
    Ok((files, NamedRecipient::new(recipient, "")))
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
