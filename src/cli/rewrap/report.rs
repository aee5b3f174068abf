//! What `rewrap` says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde_json::json;

use super::super::Failure;
use super::super::progress::{Bar, Bars};
use super::super::results::{note, print, print_json};
use crate::store::UploadId;

/// What became of an upload.
pub(super) enum Outcome {
    /// It is sealed to the new keys.
    Rewrapped,
    /// It was so before.
    Already,
    /// It was deleted meanwhile.
    Gone,
    /// No key that was given opens it, for this reason.
    Unopened(String),
    /// It is damaged, or the server does not take the new headers, for this reason.
    Refused(String),
}

/// Tells as it goes, and counts.
pub(super) struct Report {
    as_json: bool,
    dry_run: bool,
    bars: Bars,
    bar: Bar,
    began: Instant,
    counts: [AtomicU64; 5],
}

impl Outcome {
    fn index(&self) -> usize {
        match self {
            Self::Rewrapped => 0,
            Self::Already => 1,
            Self::Gone => 2,
            Self::Unopened(_) => 3,
            Self::Refused(_) => 4,
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Unopened(why) | Self::Refused(why) => Some(why),
            _ => None,
        }
    }
}

impl Report {
    pub(super) fn new(as_json: bool, dry_run: bool, bars: Bars, began: Instant) -> Self {
        Self {
            as_json,
            dry_run,
            bar: bars.count("rewrapping"),
            bars,
            began,
            counts: Default::default(),
        }
    }

    /// What became of one upload.
    pub(super) fn tell(&self, id: &UploadId, outcome: &Outcome) -> Result<(), Failure> {
        self.bar.advance(1);
        self.counts[outcome.index()].fetch_add(1, Ordering::Relaxed);
        if self.as_json {
            let mut line = json!({"id": id, "outcome": self.word(outcome)});
            if let Some(why) = outcome.why() {
                line["why"] = why.into();
            }
            return self.bars.aside(|| print_json(&line));
        }
        if let Some(why) = outcome.why() {
            self.bars
                .aside(|| note(format_args!("sealslot: {id}: left as it is: {why}")));
        }
        Ok(())
    }

    fn word(&self, outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Rewrapped if self.dry_run => "would-be-rewrapped",
            Outcome::Rewrapped => "rewrapped",
            Outcome::Already => "already",
            Outcome::Gone => "gone",
            Outcome::Unopened(_) => "unopened",
            Outcome::Refused(_) => "refused",
        }
    }

    /// The end. Gives whether all of them are sealed to the new keys now.
    pub(super) fn end(self) -> Result<bool, Failure> {
        self.bar.clear();
        let [rewrapped, already, gone, unopened, refused] = self.counts.map(AtomicU64::into_inner);
        let uploads = rewrapped + already + gone + unopened + refused;
        let seconds = self.began.elapsed().as_secs_f64();
        if self.as_json {
            print_json(&json!({
                "uploads": uploads, "rewrapped": rewrapped, "already": already, "gone": gone,
                "unopened": unopened, "refused": refused, "seconds": seconds,
            }))?;
        } else {
            let would = if self.dry_run { " would be" } else { "" };
            let mut parts = vec![format!("{rewrapped} of {uploads} uploads{would} rewrapped")];
            for (number, what) in [
                (already, "sealed to these keys before"),
                (gone, "deleted meanwhile"),
                (unopened, "not opened by the given keys"),
                (refused, "damaged or refused"),
            ] {
                if number > 0 {
                    parts.push(format!("{number} {what}"));
                }
            }
            let line = parts.join(", ");
            print(format_args!("{line}; {seconds:.1} s"))?;
        }
        Ok(unopened + refused == 0)
    }
}
