//! Everything that one command line names, sent several files at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet, block_in_place};

use super::answers::{Receipt, RequestError};
use super::inputs::{Found, Input, Inputs};
use super::journal::Arrived;
use super::resumable::{Creation, Resumable};
use super::sealing::{SUFFIX, Sealed, Sealing};
use super::source::{Opened, Source};
use super::state::{self, State, StateFolder};
use super::submission::Submission;
use super::transfer::{Notice, Transfer, TransferError};
use crate::cli::client::Access;
use crate::cli::client::rate::Rate;
use crate::cli::progress::Bars;
use crate::cli::restored_name::printable;
use crate::cli::results::{note, print};
use crate::cli::{Exit, Failure};

/// What all files of one command line are sent with.
pub(super) struct Sender {
    pub(super) access: Access,
    /// `None`: nothing is kept.
    pub(super) states: Option<StateFolder>,
    /// `None`: files are sent as they are.
    pub(super) sealing: Option<Sealing>,
    /// What is the same for all files, and makes each another upload where it is not.
    pub(super) way: Vec<Vec<u8>>,
    pub(super) submission: Arc<Submission>,
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) patience: Duration,
    pub(super) json: bool,
    pub(super) bars: Bars,
    /// Connections that nobody uses now.
    pub(super) idle: Mutex<Vec<Resumable>>,
}

/// What came of a file.
enum Sent {
    Now,
    /// By an earlier run of the same command line.
    Before,
}

/// How many files there were of each kind.
#[derive(Default)]
struct Counts {
    sent: u64,
    before: u64,
    skipped: u64,
    failed: u64,
}

/// Sends all files, so many at a time. One that fails keeps nobody from the others, unless it would be the same with them.
pub(super) async fn send_all(
    sender: Arc<Sender>,
    mut inputs: Inputs,
    parallel: usize,
) -> Result<(), Failure> {
    let mut running = JoinSet::new();
    let mut counts = Counts::default();
    let mut worst: Option<Exit> = None;
    let mut is_held = false;
    loop {
        while running.len() < parallel && !is_held {
            let failure = match block_in_place(|| inputs.next()) {
                None => break,
                Some(Found::File(input)) => {
                    let sender = Arc::clone(&sender);
                    running.spawn(async move { sender.send(&input).await });
                    continue;
                }
                Some(Found::Skipped(line)) => {
                    counts.skipped += 1;
                    sender.bars.aside(|| note(format_args!("sealslot: {line}")));
                    continue;
                }
                Some(Found::Failed(failure)) => failure,
            };
            counts.failed += 1;
            sender.bars.aside(|| failure.report());
            worst = worst.max(Some(failure.exit()));
        }
        let Some(ended) = running.join_next().await else {
            break;
        };
        match ended.unwrap_or_else(|error| Err(panicked(&error))) {
            Ok(Sent::Now) => counts.sent += 1,
            Ok(Sent::Before) => counts.before += 1,
            Err(failure) => {
                counts.failed += 1;
                sender.bars.aside(|| failure.report());
                worst = worst.max(Some(failure.exit()));
                // Nothing would be different with the next one.
                is_held |= matches!(failure.exit(), Exit::Later | Exit::Refused);
            }
        }
    }
    let is_left = is_held && block_in_place(|| inputs.next()).is_some();
    counts.say(is_left);
    match worst {
        None => {
            sender.submission.is_complete();
            Ok(())
        }
        Some(exit) => Err(Failure::reported(exit)),
    }
}

impl Counts {
    /// Says how it went, where not every file is accounted for by a line of its own or by what was asked.
    fn say(&self, is_left: bool) {
        let Self {
            sent,
            before,
            skipped,
            failed,
        } = self;
        if is_left {
            note(
                "sealslot: the files that follow were not tried; the same command goes on with them",
            );
        }
        if *skipped > 0 || *before > 0 || (*failed > 0 && sent + failed > 1) {
            note(format_args!(
                "sealslot: {sent} sent, {before} had arrived before, {skipped} passed over, {failed} failed"
            ));
        }
    }
}

fn panicked(error: &JoinError) -> Failure {
    Failure::new(
        Exit::Other,
        format_args!("a defect in Sealslot, please report it: {error}"),
    )
}

/// A file on its way to become a [`Transfer`].
enum Prepared {
    Before(Arrived),
    Transfer(Box<Transfer>),
}

impl Sender {
    async fn send(&self, input: &Input) -> Result<Sent, Failure> {
        let about = |error: TransferError| Failure::from(error).about(&input.shown);
        // Opening a pipe waits for who writes to it, and sealing takes its time.
        let prepared = block_in_place(|| self.prepare(input)).map_err(about)?;
        let (arrived, sent) = match prepared {
            Prepared::Before(arrived) => (arrived, Sent::Before),
            Prepared::Transfer(transfer) => {
                let (ended, server) = transfer.run().await;
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                idle.push(server);
                drop(idle);
                (ended.map_err(about)?, Sent::Now)
            }
        };
        self.bars.aside(|| print(self.line(&arrived)))?;
        Ok(sent)
    }

    /// What is printed of a file that has arrived.
    fn line(&self, arrived: &Arrived) -> String {
        if self.json {
            return arrived.to_json();
        }
        let receipt = Receipt::read(arrived.receipt.as_bytes());
        receipt.map_or_else(
            || arrived.to_json(),
            |receipt| line(&receipt, arrived.plaintext.as_ref()),
        )
    }

    fn prepare(&self, input: &Input) -> Result<Prepared, TransferError> {
        let opened = input.open()?;
        let mut state = None;
        if let (Some(states), Opened::File(_, identity), Some(path)) =
            (&self.states, &opened, &input.path)
        {
            let called = input.name.as_deref().unwrap_or_default();
            let way: Vec<_> = self.way.iter().map(Vec::as_slice).chain([called]).collect();
            let name = state::name(self.access.endpoint(), path, identity, &way);
            if let Some(arrived) = self.submission.arrived(&name) {
                // A crash may have left it.
                states.remove(&name);
                return Ok(Prepared::Before(arrived));
            }
            state = Some(states.claim(&name)?);
        }
        let (opened, plaintext) = self.sealed(input, opened, state.as_mut())?;
        let mut name = input.name.clone();
        if let Some(name) = name.as_mut().filter(|_| plaintext.is_some()) {
            name.extend_from_slice(SUFFIX.as_bytes());
        }
        let source = Source::of(opened);
        let bar = self.bars.add(&input.shown, source.size());
        Ok(Prepared::Transfer(Box::new(Transfer {
            server: self.connection()?,
            submission: Arc::clone(&self.submission),
            rate: self.rate.clone(),
            creation: Creation {
                name,
                size: source.size(),
                sealed: plaintext.is_some(),
                authorization: self.access.authorization().cloned(),
            },
            plaintext,
            source,
            state,
            patience: self.patience,
            bar,
            notice: self.notice(input),
        })))
    }

    /// What is to be sent: what was opened, or its sealed copy.
    fn sealed(
        &self,
        input: &Input,
        opened: Opened,
        state: Option<&mut State>,
    ) -> Result<(Opened, Option<(u64, String)>), TransferError> {
        let Some(sealing) = &self.sealing else {
            return Ok((opened, None));
        };
        let size = match &opened {
            Opened::File(_, identity) => Some(identity.size),
            Opened::Stream(_) => None,
        };
        let bar = self.bars.add(&format!("sealing {}", input.shown), size);
        let sealed = sealing.copy_of(opened, state, &bar);
        bar.clear();
        let Sealed { opened, copy } = sealed?;
        Ok((opened, Some(copy.plaintext)))
    }

    /// One that is idle, or a new one.
    fn connection(&self) -> Result<Resumable, RequestError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(idle) = idle {
            return Ok(idle);
        }
        let endpoint = self.access.endpoint().clone();
        Ok(Resumable::new(endpoint, self.access.client()?))
    }

    /// Prints a line for each attempt that failed.
    fn notice(&self, input: &Input) -> Notice {
        let (bars, shown) = (self.bars.clone(), input.shown.clone());
        Box::new(move |error, wait| {
            let wait = format!("{:.1} s", wait.as_secs_f64());
            let subject = format_args!("{shown}: trying again in {wait}");
            let failure = Failure::from_error(Exit::Other, error).about(subject);
            bars.aside(|| failure.report());
        })
    }
}

impl Arrived {
    /// The receipt, and of what was sealed here what it cannot know.
    fn to_json(&self) -> String {
        let receipt = self.receipt.trim_end();
        match (receipt.strip_suffix('}'), &self.plaintext) {
            (Some(rest), Some((size, sha256))) => {
                format!(r#"{rest},"plaintext":{{"size":{size},"sha256":"{sha256}"}}}}"#)
            }
            _ => receipt.to_owned(),
        }
    }
}

/// An upload for people: what it is called here and there, and what it holds.
fn line(receipt: &Receipt, plaintext: Option<&(u64, String)>) -> String {
    let name = receipt.name.as_deref().unwrap_or("-");
    // All of it comes from the server.
    let [id, sha256, name] = [&receipt.id, &receipt.sha256, name].map(printable);
    let size = receipt.size;
    let sealed = plaintext.map(|(size, sha256)| format!("  (sealed from {size}  {sha256})"));
    let sealed = sealed.unwrap_or_default();
    format!("{id}  {size}  {sha256}  {name}{sealed}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_line_shows_what_the_server_says_and_nothing_else() {
        let mut receipt = Receipt {
            json: String::new(),
            id: "0a".to_owned(),
            size: 5,
            sha256: "beef".to_owned(),
            name: Some("a\nb\u{202e}.txt".to_owned()),
        };
        assert_eq!(line(&receipt, None), r"0a  5  beef  a\u{a}b\u{202e}.txt");
        receipt.name = None;
        receipt.id = "\x1b[2J".to_owned();
        assert_eq!(line(&receipt, None), r"\u{1b}[2J  5  beef  -");
        let plaintext = (3, "cafe".to_owned());
        assert!(line(&receipt, Some(&plaintext)).ends_with("  -  (sealed from 3  cafe)"));
    }

    #[test]
    fn what_was_sealed_is_told_beside_the_receipt() {
        let mut arrived = Arrived {
            receipt: r#"{"id":"a","size":200}"#.to_owned(),
            plaintext: None,
        };
        assert_eq!(arrived.to_json(), arrived.receipt);
        arrived.plaintext = Some((5, "beef".to_owned()));
        let json: Value = serde_json::from_str(&arrived.to_json()).unwrap();
        assert_eq!(json["plaintext"]["sha256"], "beef");
        assert_eq!(
            (&json["size"], &json["plaintext"]["size"]),
            (&200.into(), &5.into())
        );
    }
}
