//! What `verify` says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytesize::ByteSize;
use serde::Serialize;

use super::super::Failure;
use super::super::progress::Bars;
use super::super::restored_name::printable;
use super::super::results::{note, print, print_json};
use crate::store::UploadId;
use crate::upload::{Finding, Problem, Verified};

/// Tells as it goes, and counts.
pub(super) struct Report {
    as_json: bool,
    bars: Bars,
    began: Instant,
    uploads: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    damaged: AtomicU64,
    unchecked: AtomicU64,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a UploadId,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Serialize)]
struct Summary {
    uploads: u64,
    files: u64,
    bytes: u64,
    damaged: u64,
    unchecked: u64,
    seconds: f64,
}

impl Report {
    pub(super) fn new(as_json: bool, bars: Bars, began: Instant) -> Self {
        Self {
            as_json,
            bars,
            began,
            uploads: 0.into(),
            files: 0.into(),
            bytes: 0.into(),
            damaged: 0.into(),
            unchecked: 0.into(),
        }
    }

    /// What was found of one upload.
    pub(super) fn tell(&self, id: &UploadId, verified: &Verified) -> Result<(), Failure> {
        let add = |to: &AtomicU64, number: u64| to.fetch_add(number, Ordering::Relaxed);
        add(&self.uploads, 1);
        add(&self.files, verified.files);
        add(&self.bytes, verified.bytes);
        // Where something is damaged, people want to know what else could not be told because of that.
        let is_damaged = verified
            .findings
            .iter()
            .any(|found| found.problem.is_damage());
        for finding in &verified.findings {
            let counted = if finding.problem.is_damage() {
                &self.damaged
            } else {
                &self.unchecked
            };
            add(counted, 1);
            if self.as_json {
                self.bars.aside(|| print_json(&Line { id, finding }))?;
            } else if is_damaged {
                let file = printable(&finding.file);
                let says = explained(finding.problem);
                self.bars
                    .aside(|| print(format_args!("{id}/{file}: {says}")))?;
            }
        }
        Ok(())
    }

    /// The end. Gives how many files are damaged.
    pub(super) fn end(self) -> Result<u64, Failure> {
        let summary = Summary {
            uploads: self.uploads.into_inner(),
            files: self.files.into_inner(),
            bytes: self.bytes.into_inner(),
            damaged: self.damaged.into_inner(),
            unchecked: self.unchecked.into_inner(),
            seconds: self.began.elapsed().as_secs_f64(),
        };
        if self.as_json {
            print_json(&summary)?;
            return Ok(summary.damaged);
        }
        let Summary { uploads, files, .. } = summary;
        let bytes = ByteSize::b(summary.bytes).display().iec();
        let found = match summary.damaged {
            0 => "no damage".to_owned(),
            1 => "1 file is damaged".to_owned(),
            several => format!("{several} files are damaged"),
        };
        let seconds = summary.seconds;
        print(format_args!(
            "{uploads} uploads, {files} files, {bytes} in {seconds:.1} s: {found}"
        ))?;
        if summary.unchecked > 0 {
            note(format_args!(
                "sealslot: {} files could be checked in their form only: their checksum was lost on a copy, or the file that holds \
                 it is damaged; -i IDENTITY checks all of it",
                summary.unchecked
            ));
        }
        Ok(summary.damaged)
    }
}

fn explained(problem: Problem) -> &'static str {
    match problem {
        Problem::Checksum => "damaged: its checksum does not fit",
        Problem::Size => "damaged: it has not the size that it should have",
        Problem::Missing => "missing",
        Problem::Unexpected => {
            "does not belong to the upload; look where it came from and move it away"
        }
        Problem::Header => "damaged: it does not begin as an age file does",
        Problem::Record => {
            "damaged: it holds no record that can be read, or that of another upload"
        }
        Problem::Unreadable => "the system does not read it; look after the disk",
        Problem::DoesNotOpen => "no key that was given opens it",
        Problem::Digest => "the content is not what it says",
        Problem::Unchecked => "not checked",
    }
}
