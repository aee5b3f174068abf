//! `sealslot upload`: files and standard input, sent to a Sealslot server so that neither a broken connection nor a
//! restart begins them anew.
//!
//! | module | owns |
//! |---|---|
//! | `resumable`, `answers` | the draft's requests, and what their answers mean |
//! | `source` | what is sent |
//! | `transfer` | one upload from creation to receipt; what is tried again |
//! | `state` | what a later run goes on with |

mod answers;
mod resumable;
mod source;
mod state;
mod transfer;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::HeaderValue;
use rustls::ClientConfig;
use tokio::task::{JoinError, JoinSet};

use super::client::authorization;
use super::client::endpoint::Endpoint;
use super::client::http_client::HttpClient;
use super::progress::Bars;
use super::restored_name::printable;
use super::results::print;
use super::{Exit, Failure};
use crate::config::Span;
use crate::tls;
use answers::{Receipt, RequestError};
use resumable::{Creation, Resumable};
use source::{Source, SourceError};
use state::{StateError, StateFolder};
use transfer::{Transfer, TransferError};

/// More would not make it faster.
const MAX_PARALLEL: u16 = 64;

/// Send files to a Sealslot server
///
/// A connection that breaks is made again and the upload goes on. So it does where this command was ended and is
/// started again for the same file, unchanged: what that takes is kept in $XDG_STATE_HOME/sealslot/uploads
/// (~/.local/state), and as long as it is there, whoever can read it can finish the upload. Standard input and pipes
/// survive a broken connection only.
///
/// For each upload, its id, size, SHA-256 and name are printed. By then the server has it sealed and synced to disk,
/// and the SHA-256 is that of what was read here.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot upload https://files.example.org/ report.pdf photos.zip
  pg_dump shop | sealslot upload --token-file backup.token https://files.example.org/ -")]
pub(super) struct UploadArgs {
    /// Trust the certificate authorities in FILE (PEM) instead of the system's
    #[arg(long, value_name = "FILE", env = "SEALSLOT_CACERT")]
    cacert: Option<PathBuf>,

    /// Show the first token in FILE, which nobody else may read. Without it, SEALSLOT_TOKEN holds the
    /// token, or none is shown
    #[arg(long, value_name = "FILE", env = "SEALSLOT_TOKEN_FILE")]
    token_file: Option<PathBuf>,

    /// How many files to send at the same time
    #[arg(
        long,
        value_name = "N",
        env = "SEALSLOT_PARALLEL",
        default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PARALLEL))
    )]
    parallel: u16,

    /// Give an upload up after so much time without progress
    #[arg(
        long,
        value_name = "TIME",
        env = "SEALSLOT_RETRY_FOR",
        default_value = "10m",
        allow_hyphen_values = true
    )]
    retry_for: Span,

    /// Begin anew, and keep nothing for a later run
    #[arg(long, env = "SEALSLOT_NO_RESUME", value_parser = clap::builder::BoolishValueParser::new())]
    no_resume: bool,

    /// Print the server's receipt of each upload, a JSON object on a line
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,

    /// The server, as https://HOST/ or https://HOST:PORT/, or the link that you were sent
    #[arg(value_name = "URL")]
    url: String,

    /// Files to send; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// What all files of one command line are sent with.
struct Sender {
    endpoint: Endpoint,
    tls: Arc<ClientConfig>,
    authorization: Option<HeaderValue>,
    /// `None`: nothing is kept.
    states: Option<StateFolder>,
    patience: Duration,
    json: bool,
    bars: Bars,
}

pub(super) fn run(args: &UploadArgs) -> Result<(), Failure> {
    let endpoint = args.url.parse()?;
    if args.files.iter().filter(|file| is_dash(file)).count() > 1 {
        return Err(Failure::usage("standard input (`-`) can be sent once only"));
    }
    let sender = Sender {
        endpoint,
        tls: tls::client_config(args.cacert.as_deref())?,
        authorization: authorization(args.token_file.as_deref())?,
        states: if args.no_resume {
            None
        } else {
            Some(StateFolder::of_user()?)
        },
        patience: args.retry_for.0,
        json: args.json,
        bars: Bars::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, format_args!("cannot start: {error}")))?;
    let parallel = usize::from(args.parallel);
    runtime.block_on(send_all(Arc::new(sender), &args.files, parallel))
}

/// Sends all files, so many at a time. One that fails keeps nobody from the others.
async fn send_all(sender: Arc<Sender>, files: &[PathBuf], parallel: usize) -> Result<(), Failure> {
    let mut waiting = files.iter();
    let mut running = JoinSet::new();
    let mut worst = None;
    loop {
        while running.len() < parallel
            && let Some(file) = waiting.next()
        {
            let (sender, file) = (Arc::clone(&sender), file.clone());
            running.spawn(async move { sender.send(&file).await });
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        if let Err(failure) = ended.unwrap_or_else(|error| Err(panicked(&error))) {
            sender.bars.aside(|| failure.report());
            worst = worst.max(Some(failure.exit()));
        }
    }
    worst.map_or(Ok(()), |exit| Err(Failure::reported(exit)))
}

fn panicked(error: &JoinError) -> Failure {
    Failure::new(
        Exit::Other,
        format_args!("a defect in Sealslot, please report it: {error}"),
    )
}

impl Sender {
    async fn send(&self, path: &Path) -> Result<(), Failure> {
        let about = |error: TransferError| Failure::from(error).about(shown(path));
        // Opening a pipe waits for who writes to it.
        let transfer = tokio::task::block_in_place(|| self.transfer(path)).map_err(about)?;
        let receipt = transfer.run().await.map_err(about)?;
        let line = if self.json {
            receipt.json
        } else {
            line(&receipt)
        };
        self.bars.aside(|| print(line))
    }

    fn transfer(&self, path: &Path) -> Result<Transfer, TransferError> {
        let source = Source::open(path)?;
        let state = match (&self.states, source.identity()) {
            (Some(states), Some(identity)) => {
                let path = path.canonicalize().map_err(SourceError::Read)?;
                Some(states.claim(&self.endpoint, &path, identity)?)
            }
            _ => None,
        };
        let client = HttpClient::new(self.endpoint.clone(), Arc::clone(&self.tls));
        let client = client.map_err(RequestError::from)?;
        let name = path.file_name().filter(|_| !is_dash(path));
        let creation = Creation {
            name: name.map(|name| name.as_bytes().to_vec()),
            size: source.size(),
            authorization: self.authorization.clone(),
        };
        let bar = self.bars.add(&shown(path), source.size());
        Ok(Transfer {
            server: Resumable::new(self.endpoint.clone(), client),
            source,
            creation,
            state,
            patience: self.patience,
            bar,
            notice: self.notice(path),
        })
    }

    /// Prints a line for each attempt that failed.
    fn notice(&self, path: &Path) -> transfer::Notice {
        let (bars, path) = (self.bars.clone(), shown(path));
        Box::new(move |error, wait| {
            let wait = format!("{:.1} s", wait.as_secs_f64());
            let subject = format_args!("{path}: trying again in {wait}");
            let failure = Failure::from_error(Exit::Other, error).about(subject);
            bars.aside(|| failure.report());
        })
    }
}

/// An upload for people: what it is called here and there, and what it holds.
fn line(receipt: &Receipt) -> String {
    let name = receipt.name.as_deref().unwrap_or("-");
    // All of it comes from the server.
    let [id, sha256, name] = [&receipt.id, &receipt.sha256, name].map(printable);
    let size = receipt.size;
    format!("{id}  {size}  {sha256}  {name}")
}

fn shown(path: &Path) -> String {
    if is_dash(path) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let exit = match &error {
            TransferError::Mismatch { .. } => Exit::Data,
            TransferError::GaveUp { .. } => Exit::Later,
            TransferError::Request(error) => error.exit(),
            TransferError::Source(SourceError::Folder) => Exit::Usage,
            _ => Exit::Other,
        };
        Self::from_error(exit, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_the_server_says_and_nothing_else() {
        let mut receipt = Receipt {
            json: String::new(),
            id: "0a".to_owned(),
            size: 5,
            sha256: "beef".to_owned(),
            name: Some("a\nb\u{202e}.txt".to_owned()),
        };
        assert_eq!(line(&receipt), r"0a  5  beef  a\u{a}b\u{202e}.txt");
        receipt.name = None;
        receipt.id = "\x1b[2J".to_owned();
        assert_eq!(line(&receipt), r"\u{1b}[2J  5  beef  -");
    }
}
