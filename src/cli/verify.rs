//! `sealslot verify`: finds what is damaged of all that is stored.

mod report;

use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::filters::FilterArgs;
use super::identity::OptionalIdentityArgs;
use super::progress::Bars;
use super::rate::Rate;
use super::stored::{Found, Place, PlaceArgs, as_listed, in_parallel};
use super::{Exit, Failure};
use crate::config::Amount;
use crate::upload::Verifier;
use report::Report;

/// Read everything that is stored, and find any damage, without a key
///
/// Compares every segment with its checksum in the record, and every meta.age with the checksum that the server noted beside
/// it in an extended attribute, or with the object; where there is none any more (after a copy without attributes), its form is all that can be
/// checked without a key, and it counts as unchecked. Files that are missing or do not belong are found too. With -i
/// everything is opened to its end, and what somebody changed on purpose is found as well.
///
/// --data works beside a running server: what is deleted or sealed anew meanwhile is no damage. It reads what lies on the disk,
/// past the system's cache, and leaves nothing in that. --store reads the bucket of servers, beside them too. A URL fetches
/// everything; what the server does not list any more, because the record cannot be read, and files that do not belong are found by
/// --data and --store alone. Unfinished uploads are not looked at.
///
/// Prints a line for each damaged file, and exits with 65 where there is one.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot verify --data /var/lib/sealslot --rate 50MiB
  sealslot verify --store s3://uploads/sealslot --since 7d -i identity.pem
  sealslot verify --json --token-file admin.token https://files.example.org/")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    place: PlaceArgs,

    #[command(flatten)]
    identities: OptionalIdentityArgs,

    #[command(flatten)]
    filter: FilterArgs,

    /// Read at most so much in a second, in all
    #[arg(long, value_name = "SIZE")]
    rate: Option<Amount>,

    /// How many uploads are read at a time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,

    /// Print a JSON object for each file that is damaged or was not checked (id, file, problem), and at the end one with
    /// uploads, files, bytes, damaged, unchecked, seconds
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,

    /// The server, as https://HOST/ or https://HOST:PORT/
    #[arg(
        value_name = "URL",
        required_unless_present_any = ["data", "store"],
        conflicts_with_all = ["data", "store"]
    )]
    url: Option<String>,
}

pub(super) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let place = args.place.open(args.url.as_deref())?;
    let identities = args.identities.read()?;
    let bars = Bars::new();
    let rate = Arc::new(Rate::new(
        args.rate.map(|Amount(bytes)| bytes),
        bars.add("verifying", None),
    ));
    let verifier = Verifier::new(identities, Arc::clone(&rate) as _);
    let report = Report::new(args.json, bars, Instant::now());
    let looked = in_parallel(usize::from(args.parallel), place.uploads(), |found| {
        look(args, &place, &verifier, &report, &found)
    });
    rate.clear();
    // A summary speaks of everything. What was found before it ended early has been told.
    looked?;
    let damaged = report.end()?;
    if damaged > 0 {
        return Err(Failure::reported(Exit::Data));
    }
    Ok(())
}

fn look(
    args: &VerifyArgs,
    place: &Place,
    verifier: &Verifier,
    report: &Report,
    found: &Found,
) -> Result<(), Failure> {
    if found
        .listed
        .as_ref()
        .is_some_and(|listed| !args.filter.takes(listed))
        || args.filter.ends_before(found.id.time())
    {
        return Ok(());
    }
    let mut is_first = true;
    let open = || place.open(found, std::mem::take(&mut is_first));
    let looked = verifier.verify(&found.id, open, |record| {
        args.filter.takes(&as_listed(record))
    });
    match looked.map_err(|error| Failure::from(error).about(found.id))? {
        Some(result) => report.tell(&found.id, &result),
        None => Ok(()),
    }
}
