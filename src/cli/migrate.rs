//! `sealslot migrate`: what is stored, from one place to another.

mod place;
mod report;

use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::progress::Bars;
use super::rate::Rate;
use super::stored::{Found, PAGE, in_parallel, pages};
use super::{Exit, Failure};
use crate::config::{Amount, BucketArgs};
use crate::store::{Collection, StoreError, UploadId};
use crate::upload::{Carried, MigrateError, Migration, Pace};
use place::{Place, Source, open_target};
use report::Report;

/// What is carried beside uploads. Everything else is of the servers at one place alone.
const RECORDS: [Collection; 2] = [Collection::Links, Collection::Tokens];

/// Copy what is stored from a data folder to a bucket, or back
///
/// Copies every finished upload as it is, under its id, sealed to the keys that it is sealed to: no key is needed. Then links and
/// tokens. What was written is read again and compared with the checksums before it is published, so an upload is at the target whole or
/// not at all. It can be interrupted at any time, and run again: what is there already is passed over. Where another upload of an id
/// is at the target, or a link or token that differs, it is named and both stay as they are, and the command exits with 65 then; the same
/// with uploads that are damaged. Uploads that have not come to their end are not copied: they are counted.
///
/// A server may go on in a data folder that is copied from, unless --delete is given; not in one that is copied to. Servers of a bucket that
/// is copied to are to be started when the copying is over. To move with a short break: copy while the old server runs, stop it, copy
/// again with --replace-records, which takes what was changed of links and tokens since, and start the new ones.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot migrate --from /var/lib/sealslot --to s3://uploads/sealslot --store-endpoint https://s3.example.org:8333
  sealslot migrate --from s3://uploads/sealslot --to /srv/sealslot --delete")]
pub(super) struct MigrateArgs {
    /// Where from: a data folder, or a bucket and the prefix in it. Credentials are those of the environment: AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    from: Place,

    /// Where to, the same
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    to: Place,

    #[command(flatten)]
    bucket: BucketArgs,

    /// Delete each upload from where it came when it was read at the target and is the same, and links and tokens at the end, where
    /// nothing else has stayed
    #[arg(long)]
    delete: bool,

    /// Let links and tokens that differ at the target be as they are where they come from
    #[arg(long)]
    replace_records: bool,

    /// Read at most so much in a second, in all, on both sides together
    #[arg(long, value_name = "SIZE")]
    rate: Option<Amount>,

    /// How many uploads are copied at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,

    /// Print a JSON object for each upload, link and token (id, outcome), and at the end one with uploads, copied, already, gone,
    /// differs, damaged, deleted, bytes, records, unfinished, seconds
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &MigrateArgs) -> Result<(), Failure> {
    if args.from.is_same(&args.to) {
        return Err(Failure::usage("--from and --to are the same place"));
    }
    let source = Source::open(&args.from, &args.bucket, args.delete)?;
    let target = open_target(&args.to, &args.bucket)?;
    let bars = Bars::new();
    let rate = Arc::new(Rate::new(
        args.rate.map(|Amount(bytes)| bytes),
        bars.add("copying", None),
    ));
    let work = Work {
        args,
        source: &source,
        migration: Migration::new(source.shelf(), &*target, Arc::clone(&rate) as Arc<dyn Pace>),
        report: Report::new(args.json, bars, Instant::now()),
    };
    let worked = work.uploads().and_then(|()| work.records());
    rate.clear();
    // How far it came is told also where it ends early.
    let is_whole = work.report.end()?;
    worked?;
    if is_whole {
        Ok(())
    } else {
        Err(Failure::reported(Exit::Data))
    }
}

struct Work<'a> {
    args: &'a MigrateArgs,
    source: &'a Source,
    migration: Migration<'a>,
    report: Report,
}

impl Work<'_> {
    fn uploads(&self) -> Result<(), Failure> {
        let from = self.source.shelf();
        let found = pages(|after| Ok(from.ids(after, PAGE).map_err(MigrateError::From)?));
        in_parallel(
            usize::from(self.args.parallel),
            found,
            |Found { id, .. }| {
                let moved = self.upload(&id);
                moved.map_err(|error| Failure::from(error).about(id))?
            },
        )
    }

    /// The inner result is that of telling what became of it.
    fn upload(&self, id: &UploadId) -> Result<Result<(), Failure>, MigrateError> {
        let carried = self.migration.carry(id)?;
        let is_new = matches!(carried, Carried::Copied { .. });
        let is_there = is_new || carried == Carried::Already;
        let is_removed = match self.source.to_delete() {
            Some(store) if is_there => self.migration.remove(store, id, is_new)?,
            _ => false,
        };
        Ok(self.report.tell(id, &carried, is_removed))
    }

    fn records(&self) -> Result<(), Failure> {
        let from = self.source.shelf();
        let unfinished = from.unfinished().map_err(MigrateError::From)?;
        self.report.unfinished(unfinished);
        let mut all = Vec::new();
        for collection in RECORDS {
            let mut names = from.record_names(collection).map_err(MigrateError::From)?;
            names.sort_unstable();
            all.extend(names.into_iter().map(|name| (collection, name)));
        }
        for (collection, name) in &all {
            let replace = self.args.replace_records;
            let carried = self.migration.carry_record(*collection, name, replace)?;
            self.report.tell_record(*collection, name, carried)?;
        }
        // What is left needs them still.
        let Some(store) = self
            .source
            .to_delete()
            .filter(|_| self.report.all_is_moved())
        else {
            return Ok(());
        };
        for (collection, name) in &all {
            self.migration.remove_record(store, *collection, name)?;
        }
        Ok(())
    }
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        let exit = match &error {
            MigrateError::From(error) | MigrateError::To(error) => match error {
                StoreError::Unavailable { .. } | StoreError::Replaced => Exit::Later,
                _ => Exit::Other,
            },
            MigrateError::NotKept { .. } => Exit::Data,
        };
        Self::from_error(exit, &error)
    }
}
