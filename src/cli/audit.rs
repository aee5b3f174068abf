//! `sealslot audit`: reading the audit log again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::results::{note, print, print_json};
use super::{Exit, Failure};
use crate::audit::{Hash, Verified, Verifier, VerifyError};

/// Check the audit log
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot audit verify audit.log")]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand, Debug)]
enum AuditCommand {
    Verify(VerifyArgs),
}

/// Check that no line of an audit log was changed, removed, added or moved
///
/// Every line holds the hash of the one before. Prints the number of lines, the times of the first and the last, and
/// the head: the hash of the last line. What was cut off at the end, or written anew from some line on, is found only
/// by a head that was kept elsewhere: the server logs it when it starts and stops, and every hour. Exits with 65 where
/// the log is damaged, and names the first line that is wrong.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot audit verify audit.log.1 audit.log
  sealslot audit verify --json /var/log/sealslot/audit.log")]
struct VerifyArgs {
    /// The files of one log, oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The hash of a line that must be there
    #[arg(long, value_name = "HASH")]
    head: Option<Hash>,

    /// Print one JSON object: lines, from, first, last, head
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

/// Runs `audit`.
pub(super) fn run(args: &AuditArgs) -> Result<(), Failure> {
    match &args.command {
        AuditCommand::Verify(args) => verify(args),
    }
}

fn verify(args: &VerifyArgs) -> Result<(), Failure> {
    let mut reader = Verifier::new(args.head);
    for path in &args.files {
        let about = |error: VerifyError| Failure::from(error).about(path.display());
        let file = File::open(path).map_err(|error| Failure::io("read", path, &error))?;
        let mut file = BufReader::with_capacity(1 << 20, file);
        reader.read(&mut file).map_err(about)?;
    }
    // What is missing at the end is missing in the last one.
    let last = args.files.last().map(|path| path.display().to_string());
    let verified = reader.finish();
    let verified =
        verified.map_err(|error| Failure::from(error).about(last.unwrap_or_default()))?;
    show(&verified, args.json)
}

fn show(verified: &Verified, as_json: bool) -> Result<(), Failure> {
    let Verified { lines, from, .. } = verified;
    let first = humantime::format_rfc3339_millis(verified.first);
    let last = humantime::format_rfc3339_millis(verified.last);
    if as_json {
        print_json(&json!({
            "lines": lines,
            "from": from,
            "first": first.to_string(),
            "last": last.to_string(),
            "head": verified.head.to_string(),
        }))?;
    } else {
        print(format_args!("lines: {lines}"))?;
        print(format_args!("first: {first}"))?;
        print(format_args!("last:  {last}"))?;
        print(format_args!("head:  {}", verified.head))?;
    }
    if *from > 1 {
        note(format_args!(
            "sealslot: it begins with line number {from}: what came before is in an earlier file"
        ));
    }
    Ok(())
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        let exit = match error {
            VerifyError::Read(_) => Exit::Other,
            VerifyError::Damaged { .. } => Exit::Data,
        };
        Self::from_error(exit, &error)
    }
}
