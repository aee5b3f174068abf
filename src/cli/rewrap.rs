//! `sealslot rewrap`: other keys for what is stored.

mod place;
mod report;
mod sealed_to;
mod work;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use clap::Args;

use super::filters::FilterArgs;
use super::identity::IdentityArgs;
use super::progress::Bars;
use super::results::note;
use super::stored::{NO_PLACE, PlaceArgs, in_parallel};
use super::{Exit, Failure};
use crate::keys::{NamedRecipient, check_together, read_recipients};
use crate::store::UploadId;
use place::Target;
use report::Report;
use work::{Keys, Work};

/// Seal what is stored to other keys, without touching what is in it
///
/// Opens each manifest (meta.age) with the old private key, on this machine, and seals it anew to the keys that -r names, and to no
/// others. No payload is read, here or on the server, which gets no private key. Then the old key opens no upload any more; it still opens a
/// segment by itself, with age, until --full writes the segments' headers anew too.
///
/// It can be interrupted at any time, and run again: what is sealed to these keys already is passed over. For keys of other types
/// than ssh-rsa that can be told only with their private key: give it with -i as well. Nothing in between is unopenable. What the given keys do
/// not open is named and left as it is, and the command exits with 65 then.
///
/// --data is for a folder that no server is at work in: it takes the server's lock. --store works beside the servers of a bucket: of two
/// that seal one upload anew at the same time, one is told so and begins again. A bucket that keeps old versions keeps the old
/// headers with them.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot rewrap --token-file admin.token -i old.pem -i new.pem -r new.pem.pub https://files.example.org/
  sealslot rewrap --full --since 30d -i old.pem -r new.pem.pub --yes https://files.example.org/
  sealslot rewrap --store s3://uploads/sealslot -i old.pem -r new.pem.pub --dry-run")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(super) struct RewrapArgs {
    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    identities: IdentityArgs,

    /// Seal to this key: a public key, or a file of them; may be repeated. Only these keys open it then
    // Not from the environment: there it is meant for `seal` and `serve`.
    #[arg(short, long = "recipient", value_name = "RECIPIENT", required = true)]
    recipients: Vec<String>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Write the headers of the segments anew too. On the server that takes a copy of each upload, and room for it
    #[arg(long)]
    full: bool,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask where no private key of those in -r was given with -i
    #[arg(short, long)]
    yes: bool,

    /// How many uploads are worked on at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,

    /// Print a JSON object for each upload (id, outcome), and at the end one with uploads, rewrapped, already, gone, unopened,
    /// refused, seconds
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,

    /// The server, as https://HOST/ or https://HOST:PORT/, unless --data or --store is given; then the uploads, where it is not about all
    #[arg(value_name = "URL|ID")]
    words: Vec<String>,
}

pub(super) fn run(args: &RewrapArgs) -> Result<(), Failure> {
    let (url, ids) = words(args)?;
    let mut to = Vec::new();
    for recipient in &args.recipients {
        to.extend(read_recipients(recipient)?);
    }
    distinct(&mut to);
    check_together(&to)?;
    let keys = Keys::new(args.identities.read()?, &to);
    if !args.dry_run && !args.yes && !keys.has_private_half() {
        confirm(&to)?;
    }
    let target = Target::open(&args.place, url, &to)?;
    let bars = Bars::new();
    let report = Report::new(args.json, args.dry_run, bars, Instant::now());
    let work = Work {
        target: &target,
        keys: &keys,
        filter: &args.filter,
        full: args.full,
        dry_run: args.dry_run,
    };
    let found = target.uploads(&ids);
    let worked = in_parallel(usize::from(args.parallel), found, |found| {
        let id = found.id;
        match work.on(&found).map_err(|failure| failure.about(id))? {
            Some(outcome) => report.tell(&id, &outcome),
            None => Ok(()),
        }
    });
    // How far it came is told also where it ends early.
    let is_whole = report.end()?;
    worked?;
    if !args.dry_run {
        say_what_is_left(args.full);
    }
    if is_whole {
        Ok(())
    } else {
        Err(Failure::reported(Exit::Data))
    }
}

/// The URL, where there is to be one, and the ids.
fn words(args: &RewrapArgs) -> Result<(Option<&str>, BTreeSet<UploadId>), Failure> {
    let (url, ids) = match &args.words[..] {
        ids if args.place.is_named() => (None, ids),
        [url, ids @ ..] => (Some(url.as_str()), ids),
        [] => return Err(Failure::usage(NO_PLACE)),
    };
    let ids = ids.iter().map(|id| {
        let id: Result<UploadId, _> = id.parse();
        id.map_err(|error| Failure::from_error(Exit::Usage, &error))
    });
    Ok((url, ids.collect::<Result<_, _>>()?))
}

/// A key that is named twice is one.
fn distinct(keys: &mut Vec<NamedRecipient>) {
    let mut seen = BTreeSet::new();
    keys.retain(|key| seen.insert(key.fingerprint()));
}

/// Asks whether somebody has the private keys: nobody could open anything otherwise.
fn confirm(to: &[NamedRecipient]) -> Result<(), Failure> {
    note("sealslot: after this, nothing but these keys opens what is rewrapped:");
    for key in to {
        let comment = key.comment().map(|comment| format!(" {comment}"));
        note(format_args!(
            "  {}{}",
            key.fingerprint(),
            comment.unwrap_or_default()
        ));
    }
    note("None of their private keys was given with -i, so nothing shows that anybody has one.");
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is no terminal to ask on: give one of the new private keys with -i as well, or --yes",
        ));
    }
    let mut stderr = io::stderr();
    let _ = write!(stderr, "Go on? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let _ = io::stdin().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(Failure::new(Exit::Other, "nothing was changed"))
    }
}

fn say_what_is_left(full: bool) {
    note(
        "sealslot: what arrives from now on is sealed to the keys that the server's --recipient names: change these too.",
    );
    if !full {
        note("sealslot: the old key still opens segments by themselves (age -d), until --full.");
    }
    note("sealslot: copies and backups made before still open with the old key.");
}
