//! `sealslot pull`: what has arrived on a server, fetched and opened here.
//!
//! | module | owns |
//! |---|---|
//! | `looks` | when a server is looked at, and how much of it |
//! | `fetch`, `sealed` | one upload, opened or as it is |
//! | `inbox`, `partial` | the output folder: names, receipts, what is not complete |
//! | `ledger` | what was fetched, for good |
//! | `receipt` | what stays here of an upload beside its content |

mod fetch;
mod inbox;
mod ledger;
mod looks;
mod partial;
mod receipt;
mod sealed;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::client::listing::Listed;
use super::client::patient_server::{Contact, PatienceError, PatientServer};
use super::client::{Access, ServerArgs};
use super::filters::FilterArgs;
use super::identity::OptionalIdentityArgs;
use super::progress::Bars;
use super::results::note;
use super::{Exit, Failure};
use crate::config::Span;
use crate::keys::NamedRecipient;
use crate::seal::Identity;
use crate::store::UploadId;
use fetch::{FetchError, Fetcher};
use inbox::{Form, Inbox};
use ledger::Standing;
use looks::{Look, Looks};

/// More would not make it faster.
const MAX_PARALLEL: u16 = 64;
/// How long `--watch` lets an upload be that could not be fetched.
const SET_ASIDE: Duration = Duration::from_mins(1);

/// Fetch what has arrived on a server, and open it here
///
/// Every upload goes into DIR under the name that its sender gave, made safe, in folders below DIR where the name has some,
/// and with a number where that name is taken. It is opened while it streams in, and nothing appears under its name before all
/// of it has been verified. DIR/.sealslot keeps what was fetched, by id: the next run fetches what is new, whatever became of
/// the files, and goes on where one was interrupted. For each upload there is a receipt in DIR/.sealslot/receipts.
///
/// What does not open with the keys given is told once, and tried again with other keys or when it was sealed anew.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot pull https://drop.example.com/ --into received -i identity.pem
  sealslot pull https://drop.example.com/ --into received -i identity.pem --watch --delete
  sealslot pull https://drop.example.com/ --into sealed --sealed --since 7d")]
pub(super) struct PullArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// The folder for what is fetched, made where it is missing
    #[arg(long, value_name = "DIR")]
    into: PathBuf,

    #[command(flatten)]
    identity: OptionalIdentityArgs,

    #[command(flatten)]
    filters: FilterArgs,

    /// Fetch the age files as they are, into DIR/DAY/ID, without a key: `sealslot open` takes these folders
    #[arg(long)]
    sealed: bool,

    /// Keep running, and look for more every TIME
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "2s")]
    watch: Option<Span>,

    /// Delete on the server what is here, verified and safe on disk. Takes a token with the scope admin
    #[arg(long)]
    delete: bool,

    /// Fetch this upload once more; may be repeated
    #[arg(long, value_name = "ID")]
    again: Vec<UploadId>,

    /// How many uploads to fetch at the same time
    #[arg(
        long,
        value_name = "N",
        env = "SEALSLOT_PARALLEL",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PARALLEL))
    )]
    parallel: u16,

    /// Give up after so much time without progress; with --watch, leave an upload for later
    #[arg(
        long,
        value_name = "TIME",
        env = "SEALSLOT_RETRY_FOR",
        default_value = "10m",
        allow_hyphen_values = true
    )]
    retry_for: Span,

    /// Print the receipt of each upload, a JSON object on a line
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &PullArgs) -> Result<(), Failure> {
    if !args.sealed && !args.identity.any() {
        return Err(Failure::usage(
            "uploads open with a private key: give it with -i FILE, or fetch them as they are with --sealed",
        ));
    }
    let access = Access::of(&args.server)?;
    let authority = access.endpoint().authority();
    let identities = if args.sealed {
        Vec::new()
    } else {
        args.identity.read()?
    };
    let form = if args.sealed {
        Form::Sealed
    } else {
        Form::Opened
    };
    let runtime = super::runtime()?;
    let stop = CancellationToken::new();
    // Nobody is asked for a passphrase any more, and from the first trace on disk a signal ends it in order.
    runtime.block_on(async { end_on_signals(stop.clone()) })?;
    let inbox = Inbox::open(&args.into, &authority, form)?;
    let bars = Bars::new();
    let server = {
        let bars = bars.clone();
        PatientServer::new(access, args.retry_for.0, stop, move |contact| {
            bars.aside(|| tell(&contact));
        })
    };
    let fetcher = Arc::new(Fetcher {
        server,
        authority,
        keys: keys_of(&identities, args.identity.files()),
        identities,
        inbox,
        bars,
        sealed: args.sealed,
        delete: args.delete,
        json: args.json,
    });
    runtime.block_on(Pull::new(args, fetcher).run())
}

/// Which keys these are. Of one whose public key only somebody else knows, the file says it.
fn keys_of(identities: &[Identity], files: &[PathBuf]) -> String {
    let mut names: Vec<_> = identities
        .iter()
        .filter_map(Identity::to_recipient)
        .map(|recipient| NamedRecipient::new(recipient, "").fingerprint())
        .collect();
    if names.len() < identities.len() {
        names.extend(files.iter().map(|path| path.display().to_string()));
    }
    names.sort();
    HEXLOWER.encode(&Sha256::digest(names.join("\n")))
}

fn tell(contact: &Contact<'_>) {
    match contact {
        Contact::Lost(error) => {
            Failure::from_error(Exit::Later, *error)
                .about("the server is lost and asked again")
                .report();
        }
        Contact::Regained => note("sealslot: the server is back"),
    }
}

/// How an upload ended.
type Ended = (Listed, Result<(), FetchError>);

/// One run.
struct Pull<'a> {
    args: &'a PullArgs,
    fetcher: Arc<Fetcher>,
    queue: VecDeque<Listed>,
    running: JoinSet<Ended>,
    /// What is in the queue or running.
    under_way: HashSet<UploadId>,
    /// What failed, and until when it is let be.
    set_aside: HashMap<UploadId, Instant>,
    worst: Option<Exit>,
    fatal: bool,
}

impl<'a> Pull<'a> {
    fn new(args: &'a PullArgs, fetcher: Arc<Fetcher>) -> Self {
        Self {
            args,
            fetcher,
            queue: VecDeque::new(),
            running: JoinSet::new(),
            under_way: HashSet::new(),
            set_aside: HashMap::new(),
            worst: None,
            fatal: false,
        }
    }

    async fn run(mut self) -> Result<(), Failure> {
        let stop = self.fetcher.server.stop().clone();
        tokio::task::block_in_place(|| self.begin())?;
        let ended = self.work(&stop).await;
        let interrupted = stop.is_cancelled() && !self.fatal;
        stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            self.ended(ended);
        }
        ended?;
        match self.worst {
            // To watch ends this way only.
            _ if interrupted && self.args.watch.is_some() => Ok(()),
            _ if interrupted => Err(Failure::new(
                Exit::Later,
                "interrupted: the same command goes on where this one stopped",
            )),
            Some(worst) => Err(Failure::reported(worst)),
            None => Ok(()),
        }
    }

    /// What can be done before the server is asked.
    fn begin(&mut self) -> Result<(), Failure> {
        for id in &self.args.again {
            self.fetcher.inbox.ledger().put(*id, Standing::Wanted)?;
        }
        let publishing = self.fetcher.inbox.ledger().publishing();
        for id in publishing {
            if let Some(receipt) = self.fetcher.inbox.recover(&id)? {
                self.fetcher.print(&receipt)?;
            }
        }
        // Of uploads that are here, a crash may have left something.
        self.fetcher.inbox.sweep(|_| true, |_| false);
        Ok(())
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        let watch = self.args.watch.map(|every| every.0);
        let mut looks = Looks::new(&self.fetcher.server, watch);
        loop {
            self.spawn_more();
            // No more is listed than is soon fetched.
            let listing = self.queue.len() < looks::ENOUGH;
            if looks.ended() && self.running.is_empty() {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = self.running.join_next() => {
                    self.ended(ended);
                    if self.fatal {
                        return Ok(());
                    }
                }
                look = looks.next(), if listing && !looks.ended() => self.see(look)?,
            }
        }
    }

    fn see(&mut self, look: Result<Look, PatienceError>) -> Result<(), Failure> {
        match look {
            Ok(Look::Page(page)) => self.see_page(page),
            Ok(Look::All(ids)) => {
                let inbox = &self.fetcher.inbox;
                let under_way = &self.under_way;
                inbox.sweep(|id| ids.contains(id), |id| under_way.contains(id));
            }
            Err(PatienceError::Stopped) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn see_page(&mut self, page: Vec<Listed>) {
        let now = Instant::now();
        self.set_aside.retain(|_, until| *until > now);
        for listed in page {
            let wanted = self.args.filters.takes(&listed)
                && !self.set_aside.contains_key(&listed.id)
                && !self.under_way.contains(&listed.id)
                && self.fetcher.wants(&listed);
            if wanted {
                self.under_way.insert(listed.id);
                self.queue.push_back(listed);
            }
        }
    }

    fn spawn_more(&mut self) {
        while self.running.len() < usize::from(self.args.parallel)
            && let Some(listed) = self.queue.pop_front()
        {
            let fetcher = Arc::clone(&self.fetcher);
            self.running.spawn_blocking(move || {
                let ended = fetcher.fetch(&listed);
                (listed, ended)
            });
        }
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        let (listed, fetched) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let message = format_args!("a defect in Sealslot, please report it: {error}");
                self.report(&Failure::new(Exit::Other, message));
                self.fatal = true;
                return;
            }
        };
        self.under_way.remove(&listed.id);
        match fetched {
            Ok(()) | Err(FetchError::Gone | FetchError::Stopped) => {}
            Err(FetchError::Unopened(failure)) => {
                self.report(&failure.about(listed.id));
                if let Err(failure) = self.fetcher.put_aside(&listed) {
                    self.report(&failure);
                }
            }
            Err(FetchError::Fatal(failure)) => {
                // Several may have met it at once.
                if !self.fatal {
                    self.report(&failure);
                }
                self.fatal = true;
            }
            Err(FetchError::Failed(failure)) => {
                self.report(&failure.about(listed.id));
                self.set_aside.insert(listed.id, Instant::now() + SET_ASIDE);
            }
        }
    }

    fn report(&mut self, failure: &Failure) {
        self.fetcher.bars.aside(|| failure.report());
        self.worst = self.worst.max(Some(failure.exit()));
    }
}

/// Asks for the end at the first SIGTERM or SIGINT.
fn end_on_signals(stop: CancellationToken) -> Result<(), Failure> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| Failure::new(Exit::Other, format_args!("cannot start: {error}")))
    };
    let (mut terminate, mut interrupt) = (
        listen(SignalKind::terminate())?,
        listen(SignalKind::interrupt())?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
