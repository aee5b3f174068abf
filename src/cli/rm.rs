//! `sealslot rm`: uploads deleted on a server.

use std::collections::HashSet;
use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use http::{Method, StatusCode};
use serde_json::json;

use super::catalog::{self, Catalog, Entry};
use super::client::patient_server::PatientServer;
use super::client::{Access, ServerError};
use super::filters::ChoiceArgs;
use super::list::table::{Table, human};
use super::results::{note, print, print_json};
use super::{Exit, Failure};
use crate::store::UploadId;

/// Uploads that are shown before they are deleted. Of more, the number says it.
const SHOWN: usize = 20;

/// Delete uploads on a server
///
/// Shows what is to be deleted, with names where a key is given, and asks. What is gone already is as good as deleted. Takes
/// a token with the scope admin.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot rm https://drop.example.com/ 068p1t0p1uqs1svh54q5t6jqg2k1v3c8
  sealslot rm https://drop.example.com/ -i identity.pem --text draft
  sealslot rm https://drop.example.com/ --until 90d --yes")]
pub(super) struct RmArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Everything, where neither an ID nor a filter says what
    #[arg(long)]
    all: bool,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print a JSON object for each that is deleted, on a line
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,

    /// Which, as the list shows them; the filters then choose among these
    #[arg(value_name = "ID")]
    ids: Vec<UploadId>,
}

impl RmArgs {
    fn has_filter(&self) -> bool {
        self.choice.filters.any() || self.choice.text.is_some()
    }
}

pub(super) fn run(args: &RmArgs) -> Result<(), Failure> {
    check(args)?;
    let access = Access::of(&args.choice.server)?;
    let server = catalog::connect(access.clone());
    // Without a question, a name is needed for --text only.
    let identities = if args.yes && args.choice.text.is_none() {
        Vec::new()
    } else {
        args.choice.identity.read()?
    };
    let catalog = (!identities.is_empty()).then(|| {
        let url = access.endpoint().url();
        Catalog::new(server.clone(), identities, &url, true)
    });
    let runtime = super::runtime()?;
    runtime.block_on(async {
        let ids = if args.yes && !args.ids.is_empty() && !args.has_filter() {
            args.ids.clone()
        } else {
            chosen(args, &server, catalog).await?
        };
        delete(args, &server, &ids).await
    })
}

/// Finds what makes no sense before anything is asked for.
fn check(args: &RmArgs) -> Result<(), Failure> {
    if args.ids.is_empty() && !args.has_filter() && !args.all {
        return Err(Failure::usage(
            "that would delete everything: name IDs or a filter, or say --all",
        ));
    }
    if args.all && (!args.ids.is_empty() || args.has_filter()) {
        return Err(Failure::usage(
            "--all is everything: leave IDs and filters out, or leave it out",
        ));
    }
    args.choice.check()?;
    if !args.yes && !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "there is nobody to ask whether to delete: say --yes",
        ));
    }
    Ok(())
}

/// Finds what it is about, shows it, and asks.
async fn chosen(
    args: &RmArgs,
    server: &PatientServer,
    catalog: Option<Catalog>,
) -> Result<Vec<UploadId>, Failure> {
    let gathered = catalog::gather(server, &args.choice.filters).await?;
    let named: HashSet<_> = args.ids.iter().collect();
    let mut uploads = gathered.uploads;
    uploads.retain(|listed| named.is_empty() || named.contains(&listed.id));
    let opened = catalog.is_some();
    let mut entries = match catalog {
        Some(mut catalog) => {
            let entries = catalog.describe(uploads).await?;
            catalog.keep(gathered.ids.as_deref());
            entries
        }
        None => uploads.into_iter().map(Entry::not_opened).collect(),
    };
    if let Some(text) = &args.choice.text {
        let text = text.to_lowercase();
        entries.retain(|entry| entry.is_named(&text));
    }
    let sure =
        args.yes || entries.is_empty() || tokio::task::block_in_place(|| ask(&entries, opened))?;
    if !sure {
        return Err(Failure::new(Exit::Other, "nothing was deleted"));
    }
    Ok(entries.iter().map(|entry| entry.listed.id).collect())
}

/// Shows what is to be deleted, and asks whether it is.
fn ask(entries: &[Entry], opened: bool) -> Result<bool, Failure> {
    let listed: Vec<_> = entries.iter().map(|entry| entry.listed.clone()).collect();
    let table = Table::of(&listed, opened);
    note(table.heading());
    for entry in entries.iter().take(SHOWN) {
        note(table.line(entry));
    }
    if entries.len() > SHOWN {
        note(format_args!("and {} more", entries.len() - SHOWN));
    }
    // Whatever the server says.
    let sizes = listed.iter().map(|listed| listed.sealed_size);
    let size = sizes.fold(0, u64::saturating_add);
    let what = match entries.len() {
        1 => "this upload".to_owned(),
        number => format!("these {number} uploads"),
    };
    let mut stderr = io::stderr();
    let _ = write!(stderr, "Delete {what} ({} sealed)? [y/N] ", human(size));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| {
        Failure::new(Exit::Other, format_args!("cannot read the answer: {error}"))
    })?;
    Ok(matches!(
        answer.trim().to_ascii_lowercase().as_str(),
        "y" | "yes"
    ))
}

/// One after another: one that fails keeps nobody from the others.
async fn delete(args: &RmArgs, server: &PatientServer, ids: &[UploadId]) -> Result<(), Failure> {
    let mut worst = None;
    for id in ids {
        let path = format!("/uploads/{id}");
        match server.ask(Method::DELETE, &path, None).await {
            Ok(_) => {}
            Err(error) => match error.server_error().and_then(ServerError::status) {
                // Gone already, perhaps by what was asked before the connection broke.
                Some(StatusCode::NOT_FOUND | StatusCode::GONE) => {}
                status => {
                    let failure = Failure::from(error);
                    if matches!(
                        status,
                        Some(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED)
                    ) {
                        return Err(failure.about("deleting takes a token with the scope admin"));
                    }
                    let failure = failure.about(id);
                    failure.report();
                    worst = worst.max(Some(failure.exit()));
                    continue;
                }
            },
        }
        if args.json {
            print_json(&json!({ "id": id, "deleted": true }))?;
        } else {
            print(id)?;
        }
    }
    worst.map_or(Ok(()), |exit| Err(Failure::reported(exit)))
}
