//! `sealslot seal`: one file or stdin, sealed as an age file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Failure;
use super::progress::Progress;
use super::results::{note, print_json};
use super::staged::{self, Staged};
use super::stdout;
use crate::keys::{self, NamedRecipient};
use crate::upload::seal_stream;

/// Seal a file or stdin, as an age file that only the recipients can open
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot seal -r identity.pem.pub -o report.pdf.age report.pdf
  tar -c photos | sealslot seal -r age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p > photos.tar.age
  sealslot seal -r keys.txt --armor note.txt")]
pub(super) struct SealArgs {
    /// Whom to seal to: an `ssh-rsa`, `age1...` or `age1pq1...` public key, or a file of them; may be repeated.
    /// Post-quantum keys (`age1pq1...`) and others do not go together
    #[arg(
        short,
        long = "recipient",
        value_name = "RECIPIENT",
        env = "SEALSLOT_RECIPIENT",
        required = true
    )]
    recipients: Vec<String>,

    /// Write text that can be pasted (ASCII armor)
    #[arg(short, long, env = "SEALSLOT_ARMOR", value_parser = clap::builder::BoolishValueParser::new())]
    armor: bool,

    /// Where the sealed file goes, complete or not at all (mode 0600); `-` is stdout [default: stdout]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// Replace OUT where it exists
    #[arg(long)]
    force: bool,

    /// Print one JSON object: output, size, recipients. Needs -o OUT
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,

    /// The file to seal; `-` is stdin
    #[arg(value_name = "IN", default_value = "-")]
    input: PathBuf,
}

pub(super) fn run(args: &SealArgs) -> Result<(), Failure> {
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    check_output(args, output)?;
    let named = recipients(&args.recipients)?;
    let recipients: Vec<_> = named.iter().map(|named| named.recipient.clone()).collect();
    let (input, size) = open_input(&args.input)?;
    let progress = Progress::new(&args.input.to_string_lossy(), size);
    let input = progress.watch(input);

    let about = |failure: Failure| failure.about(args.input.display());
    let Some(path) = output else {
        let stdout = stdout::unbuffered()?;
        return seal_stream(input, stdout, &recipients, args.armor)
            .map(|_| ())
            .map_err(|error| about(error.into()));
    };
    let (folder, name) = staged::split(path)?;
    let staged = Staged::in_folder(folder)?;
    let sealed =
        seal_stream(input, staged, &recipients, args.armor).map_err(|error| about(error.into()))?;
    sealed.output.publish(name, args.force)?;
    if args.json {
        let fingerprints: Vec<_> = named.iter().map(NamedRecipient::fingerprint).collect();
        print_json(&json!({
            "output": path.to_string_lossy(),
            "size": sealed.size,
            "recipients": fingerprints,
        }))?;
    }
    Ok(())
}

/// Refuses what could not be written in the end before anything is read.
fn check_output(args: &SealArgs, output: Option<&Path>) -> Result<(), Failure> {
    match output {
        Some(path) => staged::check_target(path, args.force),
        None if args.json => Err(Failure::usage(
            "--json would mix with the sealed data on stdout: give -o OUT",
        )),
        None if !args.armor && args.output.is_none() && stdout::is_terminal() => {
            Err(Failure::usage(
                "sealed data is binary and would confuse your terminal: give -o OUT, or -a for text",
            ))
        }
        None => Ok(()),
    }
}

/// Reads all recipients, and warns of weak keys.
fn recipients(arguments: &[String]) -> Result<Vec<NamedRecipient>, Failure> {
    let mut recipients = Vec::new();
    for argument in arguments {
        recipients.extend(keys::read_recipients(argument)?);
    }
    keys::check_together(&recipients)?;
    for recipient in recipients.iter().filter(|recipient| recipient.is_weak()) {
        note(format_args!(
            "sealslot: warning: {} has fewer than {} bits: make a stronger key with `sealslot keygen`",
            recipient.fingerprint(),
            keys::DEFAULT_BITS
        ));
    }
    Ok(recipients)
}

/// Opens what is to be sealed, and says how long it is where that is known.
fn open_input(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let read = |error| Failure::io("read", path, &error);
    let file = File::open(path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format_args!(
            "{} is a folder: pack it first, as in `tar c {0} | sealslot seal ...`",
            path.display()
        )));
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), size))
}
