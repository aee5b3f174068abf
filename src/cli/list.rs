//! `sealslot list`: what has arrived on a server, and with a key, what it is called.

pub(super) mod table;

use clap::Args;
use serde::Serialize;

use super::Failure;
use super::catalog::{self, Catalog, Description, Entry, Gathered};
use super::client::Access;
use super::client::listing::{Listed, ListedMeta};
use super::client::patient_server::PatientServer;
use super::filters::ChoiceArgs;
use super::results::{print, print_json};
use crate::store::UploadId;
use table::Table;

/// Uploads that are opened and printed before the next are.
const BATCH: usize = 500;

/// List what has arrived on a server, the newest first
///
/// Without a key, what the server knows: id, time, sealed size, link, and when it is to be deleted. With one, also names, sizes
/// and media types: only the manifests are fetched and opened. What they tell is kept in $XDG_CACHE_HOME/sealslot/lists
/// (~/.cache), sealed to the public half of your own key.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot list https://drop.example.com/
  sealslot list https://drop.example.com/ -i identity.pem --since 7d --text invoice
  sealslot list https://drop.example.com/ -i identity.pem --json")]
pub(super) struct ListArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// The oldest first
    #[arg(long)]
    reverse: bool,

    /// Neither read nor write the cache
    #[arg(long, env = "SEALSLOT_NO_CACHE", value_parser = clap::builder::BoolishValueParser::new())]
    no_cache: bool,

    /// Print a JSON object for each, on a line
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &ListArgs) -> Result<(), Failure> {
    args.choice.check()?;
    let identities = args.choice.identity.read()?;
    let access = Access::of(&args.choice.server)?;
    let server = catalog::connect(access.clone());
    let catalog = (!identities.is_empty()).then(|| {
        let url = access.endpoint().url();
        Catalog::new(server.clone(), identities, &url, !args.no_cache)
    });
    let runtime = super::runtime()?;
    runtime.block_on(list(args, &server, catalog))
}

async fn list(
    args: &ListArgs,
    server: &PatientServer,
    mut catalog: Option<Catalog>,
) -> Result<(), Failure> {
    let Gathered { mut uploads, ids } = catalog::gather(server, &args.choice.filters).await?;
    // Times are to the second; ids tell those of one second apart.
    uploads.sort_by_key(|listed| (listed.received(), listed.id));
    if !args.reverse {
        uploads.reverse();
    }
    let mut printer = Printer {
        args,
        table: Table::of(&uploads, catalog.is_some()),
        left: args.limit.unwrap_or(usize::MAX),
        text: args.choice.text.as_deref().map(str::to_lowercase),
    };
    printer.heading()?;
    let ended = printer.print_all(uploads, catalog.as_mut()).await;
    if let Some(catalog) = catalog {
        catalog.keep(ids.as_deref());
    }
    ended
}

/// Prints as many as are asked for.
struct Printer<'a> {
    args: &'a ListArgs,
    table: Table,
    left: usize,
    /// In lower case.
    text: Option<String>,
}

impl Printer<'_> {
    fn heading(&self) -> Result<(), Failure> {
        if self.args.json {
            return Ok(());
        }
        print(self.table.heading())
    }

    async fn print_all(
        &mut self,
        uploads: Vec<Listed>,
        mut catalog: Option<&mut Catalog>,
    ) -> Result<(), Failure> {
        let mut uploads = uploads.into_iter();
        while self.left > 0 {
            // No more manifests than are shown, where no text decides.
            let size = match self.text {
                Some(_) => BATCH,
                None => BATCH.min(self.left),
            };
            let batch: Vec<_> = uploads.by_ref().take(size).collect();
            if batch.is_empty() {
                return Ok(());
            }
            let entries = match &mut catalog {
                Some(catalog) => catalog.describe(batch).await?,
                None => batch.into_iter().map(Entry::not_opened).collect(),
            };
            for entry in entries {
                self.print(&entry)?;
            }
        }
        Ok(())
    }

    fn print(&mut self, entry: &Entry) -> Result<(), Failure> {
        let fits = self.text.as_ref().is_none_or(|text| entry.is_named(text));
        if self.left == 0 || !fits {
            return Ok(());
        }
        self.left -= 1;
        if self.args.json {
            print_json(&Item::of(entry, self.args.choice.identity.any()))
        } else {
            print(self.table.line(entry))
        }
    }
}

/// An upload in JSON.
#[derive(Serialize)]
struct Item<'a> {
    id: UploadId,
    received: &'a str,
    sealed_size: u64,
    link: Option<&'a str>,
    expires: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a ListedMeta>,
    /// Whether it opens, where that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    opens: Option<bool>,
    #[serde(flatten)]
    described: Option<&'a Description>,
}

impl<'a> Item<'a> {
    fn of(entry: &'a Entry, tried: bool) -> Self {
        let Entry { listed, described } = entry;
        Self {
            id: listed.id,
            received: &listed.time,
            sealed_size: listed.sealed_size,
            link: listed.link.as_deref(),
            expires: listed.expires.as_deref(),
            meta: listed.meta.as_ref(),
            opens: tried.then_some(described.is_some()),
            described: described.as_ref(),
        }
    }
}
