//! `sealslot upload`: files, folders and standard input, sent to a Sealslot server so that neither a broken connection nor a
//! restart begins them anew.
//!
//! | module | owns |
//! |---|---|
//! | `options` | the command line |
//! | `inputs`, `walk` | what it names, file by file |
//! | `sender` | what happens with each file, several at a time |
//! | `transfer` | one upload from creation to receipt; what is tried again |
//! | `resumable`, `answers` | the draft's requests, and what their answers mean |
//! | `source` | what is sent |
//! | `submission`, `journal` | what the files of one command line have in common, and which of them have arrived |
//! | `state` | what a later run goes on with |
//! | `whom`, `pins` | whose keys to seal to, and how they are known again |
//! | `sealing` | sealed copies |

mod answers;
mod inputs;
mod journal;
mod options;
mod pins;
mod resumable;
mod sealing;
mod sender;
mod source;
mod state;
mod submission;
mod transfer;
mod walk;
mod whom;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::client::Access;
use super::client::endpoint::Endpoint;
use super::client::rate::Rate;
use super::progress::Bars;
use super::{Exit, Failure};
use inputs::{Inputs, is_dash};
use journal::Journal;
use options::SealOptions;
pub(super) use options::UploadArgs;
use sealing::{Sealing, SealingError};
use sender::{Sender, send_all};
use source::SourceError;
use state::{StateError, StateFolder};
use submission::Submission;
use transfer::TransferError;

pub(super) fn run(args: &UploadArgs) -> Result<(), Failure> {
    let access = Access::at(args.endpoint()?, &args.access)?;
    args.check()?;
    let states = if args.no_resume {
        None
    } else {
        Some(StateFolder::of_user()?)
    };
    let runtime = super::runtime()?;
    runtime.block_on(async {
        let sealing = match &args.sealing {
            options if options.seal => Some(sealing(args, &access, states.as_ref()).await?),
            _ => None,
        };
        let way = UploadArgs::way(sealing.as_ref());
        let submission = Submission::new(
            !args.separate && args.may_be_several(),
            journal(args, access.endpoint(), states.as_ref(), &way)?,
        );
        let mut own = Vec::new();
        own.extend(state::folder_of_user().ok());
        own.extend(sealing.as_ref().map(|sealing| sealing.folder().to_owned()));
        let name = args.name.as_ref().map(|name| name.as_bytes().to_vec());
        let inputs = Inputs::new(args.files.clone(), name, own);
        let sender = Sender {
            access,
            states,
            sealing,
            way,
            submission: Arc::new(submission),
            rate: args
                .limit_rate
                .map(|rate| Arc::new(Rate::per_second(rate.0))),
            patience: args.retry_for.0,
            json: args.json,
            bars: Bars::new(),
            idle: std::sync::Mutex::default(),
        };
        send_all(Arc::new(sender), inputs, usize::from(args.parallel)).await
    })
}

/// Finds out whom to seal to, and where copies go.
async fn sealing(
    args: &UploadArgs,
    access: &Access,
    states: Option<&StateFolder>,
) -> Result<Sealing, Failure> {
    let SealOptions { spool, .. } = &args.sealing;
    // Whoever answers is not to be one of the files.
    let may_ask = !args.files.iter().any(|file| is_dash(file)) && whom::has_terminal();
    let named = whom::recipients(&args.sealing, access, args.retry_for.0, may_ask).await?;
    let state = match states {
        Some(states) => states.path().to_owned(),
        None => state::folder_of_user().unwrap_or_default(),
    };
    let folder = match spool {
        Some(spool) => Sealing::folder_below(spool, &state),
        None => state::folder_of_user()?.join("spool"),
    };
    let sealing = Sealing::new(named, folder, states);
    sealing.map_err(|error| TransferError::Sealing(error).into())
}

/// The memory of this command line, where it names more than one file.
fn journal(
    args: &UploadArgs,
    endpoint: &Endpoint,
    states: Option<&StateFolder>,
    way: &[Vec<u8>],
) -> Result<Option<Journal>, Failure> {
    let Some(states) = states.filter(|_| args.may_be_several()) else {
        return Ok(None);
    };
    let mut digest = Sha256::new();
    let url = endpoint.url();
    let fixed = [url.as_bytes(), &[u8::from(args.separate)]];
    let paths: Vec<_> = args.files.iter().map(|path| absolute(path)).collect();
    let paths = paths.iter().map(|path| path.as_os_str().as_bytes());
    let way = way.iter().map(Vec::as_slice);
    for text in fixed.into_iter().chain(way).chain(paths) {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    let name = HEXLOWER.encode(&digest.finalize());
    let claimed = Journal::claim(states, &name);
    let claimed = claimed.map_err(|error| match error {
        StateError::Busy => Failure::new(
            Exit::Other,
            "the same command is running already: wait for that, or give --no-resume",
        ),
        error => error.into(),
    });
    claimed.map(Some)
}

/// Where an argument leads from the root on, whether something is there or not.
fn absolute(path: &Path) -> PathBuf {
    let real = path.canonicalize().or_else(|_| std::path::absolute(path));
    real.unwrap_or_else(|_| path.to_owned())
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let exit = match &error {
            TransferError::Mismatch { .. } => Exit::Data,
            TransferError::GaveUp { .. } => Exit::Later,
            TransferError::Request(error) => error.exit(),
            TransferError::Source(_) | TransferError::State(_) | TransferError::Sealing(_) => {
                Exit::Other
            }
        };
        Self::from_error(exit, &error)
    }
}

impl From<SealingError> for TransferError {
    fn from(error: SealingError) -> Self {
        match error {
            SealingError::Source(error) => Self::Source(error),
            SealingError::State(error) => Self::State(error),
            error => Self::Sealing(error),
        }
    }
}
