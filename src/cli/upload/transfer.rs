//! One upload from its creation to its receipt, through whatever goes wrong on the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::time::timeout;

use super::answers::{Receipt, RequestError, Verdict};
use super::journal::Arrived;
use super::resumable::{Appended, Creation, Resumable, Standing};
use super::sealing::SealingError;
use super::source::{Source, SourceError};
use super::state::{State, StateError};
use super::submission::Submission;
use crate::cli::client::backoff::Backoff;
use crate::cli::client::endpoint::UploadUrl;
use crate::cli::client::rate::Rate;
use crate::cli::progress::Bar;

/// How long it may take to have the server forget an upload.
const CANCEL: Duration = Duration::from_secs(10);

/// Why an upload came to no good end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    /// What was to be sent.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What the server said, or that it said nothing.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What is kept for resuming.
    #[error(transparent)]
    State(#[from] StateError),
    /// What was to be sealed first.
    #[error(transparent)]
    Sealing(SealingError),
    /// There was enough of trying.
    #[error("gave up after {} without progress{}", humantime::format_duration(*.patience), hint(*.resumes))]
    GaveUp {
        /// How long that was.
        patience: Duration,
        /// What went wrong in the end.
        #[source]
        last: RequestError,
        /// Whether a later run can go on.
        resumes: bool,
    },
    /// The server has something else than what was sent.
    #[error(
        "the server's receipt is for other content (SHA-256 {theirs}, {their_size} bytes) than was read (SHA-256 \
         {ours}, {our_size} bytes): have upload {id} deleted, and send the file again"
    )]
    Mismatch {
        /// Which upload.
        id: String,
        /// Digest and size in the receipt.
        theirs: String,
        /// The size in the receipt.
        their_size: u64,
        /// The digest of what was read.
        ours: String,
        /// The size of what was read.
        our_size: u64,
    },
}

fn hint(resumes: bool) -> &'static str {
    if resumes {
        " (the same command goes on where this one stopped)"
    } else {
        ""
    }
}

impl TransferError {
    /// Whether a later run may well go on with the same upload.
    fn goes_on(&self) -> bool {
        match self {
            Self::Source(SourceError::Read(_)) | Self::State(_) | Self::GaveUp { .. } => true,
            Self::Source(_)
            | Self::Sealing(_)
            | Self::Mismatch { .. }
            | Self::Request(RequestError::Gone(_)) => false,
            // What is wrong with the upload itself will be wrong the next time too.
            Self::Request(RequestError::Refused { status, .. }) => !matches!(
                *status,
                StatusCode::BAD_REQUEST
                    | StatusCode::PAYLOAD_TOO_LARGE
                    | StatusCode::UNSUPPORTED_MEDIA_TYPE
                    | StatusCode::UNPROCESSABLE_ENTITY
            ),
            Self::Request(_) => true,
        }
    }
}

/// Says that an attempt failed and when the next one is.
pub(super) type Notice = Box<dyn Fn(&RequestError, Duration) + Send>;

/// Everything about one upload.
pub(super) struct Transfer {
    pub(super) server: Resumable,
    pub(super) submission: Arc<Submission>,
    /// How fast it may be.
    pub(super) rate: Option<Arc<Rate>>,
    /// Size and SHA-256 of what was sealed into what is sent.
    pub(super) plaintext: Option<(u64, String)>,
    pub(super) source: Source,
    pub(super) creation: Creation,
    /// Where the upload URL is kept, if it is to be kept.
    pub(super) state: Option<State>,
    pub(super) patience: Duration,
    pub(super) bar: Bar,
    pub(super) notice: Notice,
}

impl Transfer {
    /// Sends everything, and gives the receipt once it is certain that it is for the same content. The connection comes back,
    /// for what is sent next.
    pub(super) async fn run(self) -> (Result<Arrived, TransferError>, Resumable) {
        let upload = self.state.as_ref().and_then(State::upload).cloned();
        if let Some(upload) = &upload {
            self.submission.goes_on(upload);
        }
        let mut running = Running {
            backoff: Backoff::new(self.patience),
            transfer: self,
            upload,
            offset: None,
            furthest: 0,
            begun_anew: false,
        };
        let ended = running.send().await;
        let ended = ended.and_then(|receipt| running.remember(receipt));
        running.clean_up(ended.as_ref().err()).await;
        (ended, running.transfer.server)
    }
}

/// A transfer under way.
struct Running {
    transfer: Transfer,
    backoff: Backoff,
    upload: Option<UploadUrl>,
    /// How far the server is, as long as nothing has gone wrong since it said so.
    offset: Option<u64>,
    /// The furthest that it ever was.
    furthest: u64,
    begun_anew: bool,
}

impl Running {
    async fn send(&mut self) -> Result<Receipt, TransferError> {
        loop {
            let failed = match self.attempt().await {
                Ok(receipt) => return self.check(receipt).await,
                Err(TransferError::Request(failed)) => failed,
                Err(error) => return Err(error),
            };
            self.offset = None;
            match failed.verdict() {
                Verdict::Retry(asked) => self.wait(failed, asked).await?,
                Verdict::Gone if !self.begun_anew && self.transfer.source.rewinds() => {
                    self.begun_anew = true;
                    self.upload = None;
                    self.furthest = 0;
                }
                Verdict::Gone | Verdict::Final => return Err(failed.into()),
            }
        }
    }

    /// Goes as far as it goes.
    async fn attempt(&mut self) -> Result<Receipt, TransferError> {
        let upload = self.upload().await?;
        loop {
            let known = self.offset.map(|offset| Standing {
                offset,
                complete: false,
            });
            let server = &mut self.transfer.server;
            let standing = match known {
                Some(standing) => standing,
                None => server.standing(&upload).await?,
            };
            if standing.complete {
                return Ok(server.receipt(&upload).await?);
            }
            self.reached(standing.offset);
            match self.append(&upload, standing.offset).await {
                Ok(Some(receipt)) => return Ok(receipt),
                Ok(None) => {}
                // An earlier attempt may have been held up on its way, and have arrived after all.
                Err(TransferError::Request(refused)) if refused.is_about_request() => {
                    let server = &mut self.transfer.server;
                    return match server.standing(&upload).await {
                        Ok(standing) if standing.complete => Ok(server.receipt(&upload).await?),
                        _ => Err(refused.into()),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what follows `offset`: the receipt, or how far the server is now.
    async fn append(
        &mut self,
        upload: &UploadUrl,
        offset: u64,
    ) -> Result<Option<Receipt>, TransferError> {
        self.transfer.bar.jump_to(offset);
        let rest = self.transfer.source.rest(offset).await?;
        let body = rest.body.shown_on(&self.transfer.bar);
        let body = body.within(self.transfer.rate.as_ref());
        let server = &mut self.transfer.server;
        let appended = server.append(upload, offset, rest.last, body).await;
        // Where reading failed, the request failed of it.
        self.transfer.source.settle().await?;
        match appended? {
            Appended::UpTo(offset) => {
                self.offset = Some(offset);
                Ok(None)
            }
            Appended::Finished(receipt) => Ok(Some(receipt)),
        }
    }

    /// The upload to go on with, created where there is none.
    async fn upload(&mut self) -> Result<UploadUrl, TransferError> {
        if let Some(upload) = &self.upload {
            return Ok(upload.clone());
        }
        let upload = self.create().await?;
        let transfer = &mut self.transfer;
        if let Some(state) = &mut transfer.state {
            // Before anything is sent that could be lost.
            state.keep(&upload)?;
        }
        self.upload = Some(upload.clone());
        self.offset = Some(0);
        self.backoff.progress();
        Ok(upload)
    }

    /// Creates an upload in the submission of its command line.
    async fn create(&mut self) -> Result<UploadUrl, TransferError> {
        let transfer = &mut self.transfer;
        loop {
            let turn = transfer.submission.turn().await;
            let anchor = turn.anchor();
            match transfer.server.create(&transfer.creation, anchor).await {
                Ok(upload) => {
                    // Before the others have their turn.
                    transfer.submission.created(&upload)?;
                    return Ok(upload);
                }
                Err(RequestError::UnknownSubmission) if anchor.is_some() => {
                    anchor.inspect(|anchor| transfer.submission.lost(anchor));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// So that a later run of the same command line does not send it again.
    fn remember(&self, receipt: Receipt) -> Result<Arrived, TransferError> {
        let arrived = Arrived {
            receipt: receipt.json,
            plaintext: self.transfer.plaintext.clone(),
        };
        if let Some(state) = &self.transfer.state {
            self.transfer.submission.remember(state.name(), &arrived)?;
        }
        Ok(arrived)
    }

    fn reached(&mut self, offset: u64) {
        if offset > self.furthest {
            self.furthest = offset;
            self.backoff.progress();
        }
    }

    async fn wait(
        &mut self,
        failed: RequestError,
        asked: Option<Duration>,
    ) -> Result<(), TransferError> {
        let Some(wait) = self.backoff.after_failure(Instant::now(), asked) else {
            let kept = self.transfer.state.as_ref().and_then(State::upload);
            return Err(TransferError::GaveUp {
                patience: self.transfer.patience,
                last: failed,
                resumes: kept.is_some(),
            });
        };
        (self.transfer.notice)(&failed, wait);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Whether the receipt is for what was read.
    async fn check(&mut self, receipt: Receipt) -> Result<Receipt, TransferError> {
        let (our_size, ours) = self.transfer.source.digest().await?;
        if receipt.sha256 == ours && receipt.size == our_size {
            return Ok(receipt);
        }
        Err(TransferError::Mismatch {
            id: receipt.id,
            theirs: receipt.sha256,
            their_size: receipt.size,
            ours,
            our_size,
        })
    }

    /// Leaves what a later run can go on with, and nothing else.
    async fn clean_up(&mut self, error: Option<&TransferError>) {
        self.transfer.bar.clear();
        let state = self.transfer.state.as_mut();
        let kept = state.is_some() && error.is_some_and(TransferError::goes_on);
        if let Some(state) = state.filter(|_| !kept) {
            state.forget();
        }
        // What has arrived stays, and only its receipt is missing.
        let unfinished = error.is_some_and(|error| {
            !matches!(
                error,
                TransferError::Mismatch { .. } | TransferError::State(_)
            )
        });
        if let Some(upload) = self.upload.as_ref().filter(|_| unfinished && !kept) {
            // As far as that is possible. Otherwise it expires.
            let _ = timeout(CANCEL, self.transfer.server.cancel(upload)).await;
        }
    }
}
