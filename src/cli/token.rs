//! `sealslot token`: what machines show to be let in. It works on the data folder or the bucket itself, beside running servers or
//! before there is one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::results::{note, print, print_json};
use super::{Exit, Failure, stdout};
use crate::config::{self, BucketArgs, DataPlace, Span, Term};
use crate::grant::{Listing, Scopes, Token, TokenName, TokenSecret, Tokens};
use crate::store::{LocalRecords, S3Url};

/// Make, list, rotate and revoke the tokens of machines
///
/// A running server knows of every change at once. Run it as the user that the server runs as.
#[derive(Subcommand, Debug)]
#[command(after_long_help = "Examples:
  sealslot token create backup
  sealslot token list")]
pub(super) enum TokenCommand {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
    Rotate(RotateArgs),
}

/// Where the server keeps its data.
#[derive(Args, Debug)]
struct DataArgs {
    /// The data folder of the server [default: what the settings file says, else data]
    #[arg(long, env = "SEALSLOT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// The server's settings file [default: sealslot.toml, where it exists]
    #[arg(long, env = "SEALSLOT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// The bucket of the servers, and the prefix in it, in place of a data folder [default: what the settings file says]
    #[arg(long, env = "SEALSLOT_STORE", value_name = "s3://BUCKET/PREFIX")]
    store: Option<S3Url>,

    #[command(flatten)]
    bucket: BucketArgs,
}

/// Make a token and print it
///
/// It is printed this once, and only a hash of it is kept: `(umask 077; sealslot token create backup > backup.token)`.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot token create backup --data /var/lib/sealslot > backup.token
  sealslot token create auditor --scope read --expires 7d
  sealslot token create backup --store s3://uploads/sealslot --store-endpoint https://s3.example.org:8333")]
pub(super) struct CreateArgs {
    /// What to call it, in lists and in the audit log: letters, digits, `.`, `_` and `-`
    name: TokenName,

    /// What it lets do: `upload`, `read` (list, and fetch sealed files) or `admin` (everything); may be repeated, or
    /// separated by commas
    #[arg(long = "scope", value_name = "SCOPE", default_value = "upload")]
    scopes: Vec<Scopes>,

    /// How long it is good for, like `90d`, or `never` for one that does not expire
    #[arg(
        long,
        value_name = "TIME",
        default_value = "90d",
        allow_hyphen_values = true
    )]
    expires: Term,

    #[command(flatten)]
    data: DataArgs,
}

/// List the tokens, also those that are over
///
/// A token that has been over for 30 days may be gone from the list. Exits with 65 where a record is damaged, and names it.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot token list --data /var/lib/sealslot
  sealslot token list --json")]
pub(super) struct ListArgs {
    #[command(flatten)]
    data: DataArgs,

    /// Print a JSON object for each, on a line: id, name, scopes, state, created, expires and revoked
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

/// Revoke a token: it is good for nothing at once
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot token revoke backup")]
pub(super) struct RevokeArgs {
    /// Its name or its id, as the list shows them; a name stands for every token of that name
    #[arg(value_name = "NAME|ID")]
    token: String,

    #[command(flatten)]
    data: DataArgs,
}

/// Make a new token of the same name and scopes, and print it
///
/// It is good for as long as the one before was when it was made. That one stays good for a while, so that whoever has it
/// can change over.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot token rotate backup --overlap 1d > backup.token")]
pub(super) struct RotateArgs {
    /// The name of the token
    name: TokenName,

    /// How long the token before stays good
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1h",
        allow_hyphen_values = true
    )]
    overlap: Span,

    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => create(args),
        TokenCommand::List(args) => list(args),
        TokenCommand::Revoke(args) => revoke(args),
        TokenCommand::Rotate(args) => rotate(args),
    }
}

fn create(args: CreateArgs) -> Result<(), Failure> {
    let now = SystemTime::now();
    let expires = args.expires.end(now);
    let expires =
        expires.map_err(|error| Failure::from_error(Exit::Usage, &error).about("--expires"))?;
    let scopes = args.scopes.into_iter().fold(Scopes::NONE, Scopes::union);
    let tokens = open(args.data, IfMissing::Make)?;
    let (secret, token) = tokens.create(args.name, scopes, expires, now)?;
    hand_over(&tokens, &secret, &token)
}

fn rotate(args: RotateArgs) -> Result<(), Failure> {
    let tokens = open(args.data, IfMissing::Fail)?;
    let Span(overlap) = args.overlap;
    let (secret, token) = tokens.rotate(&args.name, overlap, SystemTime::now())?;
    hand_over(&tokens, &secret, &token)?;
    note(format_args!(
        "sealslot: the one before stays good for {}",
        humantime::format_duration(overlap)
    ));
    Ok(())
}

/// Prints a new token. One that nobody has seen is ended again.
fn hand_over(tokens: &Tokens, secret: &TokenSecret, token: &Token) -> Result<(), Failure> {
    if let Err(failure) = print(&*secret.to_text()) {
        tokens.revoke(&token.id().to_string(), SystemTime::now())?;
        return Err(failure);
    }
    note(format_args!(
        "sealslot: token {} ({}) lets {} and expires: {}",
        token.name,
        token.id(),
        token.scopes,
        time(token.expires, "never")
    ));
    if stdout_is_open_to_others() {
        note(
            "sealslot: warning: others can read the file that it was written to: run `chmod 600` on it",
        );
    }
    Ok(())
}

fn stdout_is_open_to_others() -> bool {
    let metadata = stdout::unbuffered().map(|file| file.metadata());
    matches!(metadata, Ok(Ok(file)) if file.is_file() && file.mode() & 0o077 != 0)
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let Listing { grants, damaged } = open(args.data, IfMissing::Fail)?.list()?;
    let now = SystemTime::now();
    if args.json {
        let mut tokens = grants.iter().map(|token| to_json(token, now));
        tokens.try_for_each(|token| print_json(&token))?;
    } else if !grants.is_empty() {
        print_table(&grants, now)?;
    } else if damaged.is_empty() {
        note("sealslot: there are no tokens: `sealslot token create NAME` makes one");
    }
    if damaged.is_empty() {
        return Ok(());
    }
    for error in damaged {
        Failure::from(error).report();
    }
    Err(Failure::reported(Exit::Data))
}

fn print_table(tokens: &[Token], now: SystemTime) -> Result<(), Failure> {
    let head = ["NAME", "SCOPES", "STATE", "EXPIRES", "ID"].map(str::to_owned);
    let rows = tokens.iter().map(|token| {
        [
            token.name.to_string(),
            token.scopes.to_string(),
            token.state(now).name().to_owned(),
            time(token.expires, "never"),
            token.id().to_string(),
        ]
    });
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [name, scopes, state, expires] = [0, 1, 2, 3].map(width);
    for [a, b, c, d, id] in &rows {
        print(format_args!(
            "{a:name$}  {b:scopes$}  {c:state$}  {d:expires$}  {id}"
        ))?;
    }
    Ok(())
}

fn to_json(token: &Token, now: SystemTime) -> Value {
    let optional = |time: Option<SystemTime>| time.map(rfc3339);
    json!({
        "id": token.id(),
        "name": token.name,
        "scopes": token.scopes.to_string().split(',').collect::<Vec<_>>(),
        "state": token.state(now).name(),
        "created": rfc3339(token.created),
        "expires": optional(token.expires),
        "revoked": optional(token.revoked),
    })
}

fn revoke(args: RevokeArgs) -> Result<(), Failure> {
    let tokens = open(args.data, IfMissing::Fail)?;
    let revoked = tokens.revoke(&args.token, SystemTime::now())?;
    revoked.iter().try_for_each(|token| print(token.id()))
}

fn time(time: Option<SystemTime>, without: &str) -> String {
    time.map_or_else(|| without.to_owned(), rfc3339)
}

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// What to do where there is no data folder.
#[derive(Clone, Copy)]
enum IfMissing {
    Make,
    Fail,
}

fn open(args: DataArgs, if_missing: IfMissing) -> Result<Tokens, Failure> {
    let config = args.config.as_deref();
    let data = match config::data_place(args.data, args.store, args.bucket, config)? {
        DataPlace::Folder(data) => data,
        DataPlace::Bucket(bucket) => {
            let about = |error| Failure::from(error).about(bucket.location());
            return Ok(Tokens::new(Arc::new(bucket.open_beside().map_err(about)?)));
        }
    };
    check(&data, if_missing)?;
    let records = LocalRecords::open(&data);
    let records = records.map_err(|error| Failure::from_error(Exit::Other, &error))?;
    Ok(Tokens::new(Arc::new(records)))
}

/// What a data folder has in it, whatever was there first: a server, or a token.
const DATA: [&str; 4] = ["lock", "uploads", "records", "keys"];

/// Refuses what would leave tokens where no server finds them, or where it could not read them.
fn check(data: &Path, if_missing: IfMissing) -> Result<(), Failure> {
    let refuse = |message: &str| {
        let line = format_args!("{} {message}", data.display());
        Err(Failure::new(Exit::Other, line))
    };
    let failed = |error: &io::Error| Failure::io("read", data, error);
    let metadata = match fs::metadata(data) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match if_missing {
                IfMissing::Make => Ok(()),
                IfMissing::Fail => {
                    refuse("is not there: name the server's data folder with --data DIR")
                }
            };
        }
        Err(error) => return Err(failed(&error)),
    };
    if !metadata.is_dir() {
        return refuse("is no folder: name the server's data folder with --data DIR");
    }
    // Files are for their owner alone: a server of another user could not read them.
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return refuse("belongs to another user: run this as the user that the server runs as");
    }
    let empty = fs::read_dir(data)
        .map_err(|error| failed(&error))?
        .next()
        .is_none();
    if !empty && !DATA.iter().any(|name| data.join(name).exists()) {
        return refuse("is no data folder: name that of the server with --data DIR");
    }
    Ok(())
}
