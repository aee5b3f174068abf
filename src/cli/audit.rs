//! `sealslot audit`: reading the audit log again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;

use super::results::{note, print, print_json};
use super::stored::open_bucket;
use super::{Exit, Failure};
use crate::audit::{Hash, StoredLog, Verified, Verifier, VerifyError};
use crate::config::BucketArgs;
use crate::store::{LogStore, RecordName, S3Url};

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
/// the log is damaged, and names the first line that is wrong. With --store, the logs of all servers that wrote theirs into
/// the bucket (`serve --audit-log store`), or of one of them.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot audit verify audit.log.1 audit.log
  sealslot audit verify --json /var/log/sealslot/audit.log
  sealslot audit verify --store s3://uploads/sealslot")]
struct VerifyArgs {
    /// The files of one log, oldest first
    #[arg(required_unless_present = "store", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The bucket of servers, and the prefix in it, in place of files
    #[arg(long, value_name = "s3://BUCKET/PREFIX", conflicts_with = "files")]
    store: Option<S3Url>,

    #[command(flatten)]
    bucket: BucketArgs,

    /// The server whose log in the bucket it is
    #[arg(long, value_name = "NAME", requires = "store")]
    node: Option<RecordName>,

    /// The hash of a line that must be there; of a log in a bucket, with --node
    #[arg(long, value_name = "HASH")]
    head: Option<Hash>,

    /// Print one JSON object a log: lines, from, first, last, head, and in a bucket node
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
    match &args.store {
        Some(location) => verify_stored(location, args),
        None => verify_files(args),
    }
}

/// The logs in a bucket. What is wrong with one is told, and does not keep the others.
fn verify_stored(location: &S3Url, args: &VerifyArgs) -> Result<(), Failure> {
    if args.head.is_some() && args.node.is_none() {
        return Err(Failure::usage(
            "say with --node whose log has the line that --head names",
        ));
    }
    let logs: Arc<dyn LogStore> = Arc::new(open_bucket(location.clone(), &args.bucket)?);
    let names = match &args.node {
        Some(node) => vec![node.clone()],
        None => logs.log_names()?,
    };
    if names.is_empty() {
        let what =
            "no server has written an audit log there: `sealslot serve --audit-log store` does";
        return Err(Failure::new(Exit::Data, what));
    }
    let mut outcome = Ok(());
    for name in names {
        match verify_one(&logs, &name, args.head) {
            Ok(verified) => show(&verified, Some(&name), args.json)?,
            Err(error) => {
                let failed = Failure::from(error).about(&name);
                failed.report();
                outcome = Err(Failure::reported(failed.exit()));
            }
        }
    }
    outcome
}

fn verify_one(
    logs: &Arc<dyn LogStore>,
    name: &RecordName,
    head: Option<Hash>,
) -> Result<Verified, VerifyError> {
    let mut verifier = Verifier::new(head);
    let log = StoredLog::new(Arc::clone(logs), name.clone());
    verifier.read(&mut BufReader::with_capacity(1 << 20, log))?;
    verifier.finish()
}

fn verify_files(args: &VerifyArgs) -> Result<(), Failure> {
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
    show(&verified, None, args.json)
}

fn show(verified: &Verified, node: Option<&RecordName>, as_json: bool) -> Result<(), Failure> {
    let Verified { lines, from, .. } = verified;
    let first = humantime::format_rfc3339_millis(verified.first);
    let last = humantime::format_rfc3339_millis(verified.last);
    if as_json {
        let mut document = json!({
            "lines": lines,
            "from": from,
            "first": first.to_string(),
            "last": last.to_string(),
            "head": verified.head.to_string(),
        });
        if let Some(node) = node {
            document["node"] = node.as_str().into();
        }
        print_json(&document)?;
    } else {
        if let Some(node) = node {
            print(format_args!("node:  {node}"))?;
        }
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
