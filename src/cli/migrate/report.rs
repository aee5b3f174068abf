//! What `migrate` says.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use indicatif::BinaryBytes;
use serde_json::json;

use super::super::Failure;
use super::super::progress::Bars;
use super::super::results::{note, print, print_json};
use crate::store::{Collection, RecordName, UploadId};
use crate::upload::{Carried, RecordCarried};

/// Tells as it goes, and counts.
pub(super) struct Report {
    as_json: bool,
    bars: Bars,
    began: Instant,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    copied: AtomicU64,
    already: AtomicU64,
    gone: AtomicU64,
    differs: AtomicU64,
    damaged: AtomicU64,
    deleted: AtomicU64,
    bytes: AtomicU64,
    records: AtomicU64,
    other_records: AtomicU64,
    unfinished: AtomicUsize,
}

impl Report {
    pub(super) fn new(as_json: bool, bars: Bars, began: Instant) -> Self {
        Self {
            as_json,
            bars,
            began,
            counts: Counts::default(),
        }
    }

    /// What became of one upload, and whether it was deleted where it came from.
    pub(super) fn tell(
        &self,
        id: &UploadId,
        carried: &Carried,
        is_deleted: bool,
    ) -> Result<(), Failure> {
        let counts = &self.counts;
        let (word, count, why) = match carried {
            Carried::Copied { bytes } => {
                counts.bytes.fetch_add(*bytes, Ordering::Relaxed);
                ("copied", &counts.copied, None)
            }
            Carried::Already => ("already", &counts.already, None),
            Carried::Gone => ("gone", &counts.gone, None),
            Carried::Differs { file } => {
                let why = format!("{file} is another one at the target");
                ("differs", &counts.differs, Some(why))
            }
            Carried::Damaged(found) => {
                let why = format!("it is damaged: {}: {}", found.file, found.problem);
                ("damaged", &counts.damaged, Some(why))
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        counts
            .deleted
            .fetch_add(u64::from(is_deleted), Ordering::Relaxed);
        if self.as_json {
            let mut line = json!({"id": id, "outcome": word, "deleted": is_deleted});
            if let Some(why) = why {
                line["why"] = why.into();
            }
            return self.bars.aside(|| print_json(&line));
        }
        if let Some(why) = why {
            self.bars
                .aside(|| note(format_args!("sealslot: {id}: not copied: {why}")));
        }
        Ok(())
    }

    /// What became of a link or token.
    pub(super) fn tell_record(
        &self,
        collection: Collection,
        name: &RecordName,
        carried: RecordCarried,
    ) -> Result<(), Failure> {
        let counts = &self.counts;
        let word = match carried {
            RecordCarried::Copied => "copied",
            RecordCarried::Already => "already",
            RecordCarried::Gone => "gone",
            RecordCarried::Differs => "differs",
        };
        let count = match carried {
            RecordCarried::Copied => &counts.records,
            RecordCarried::Differs => &counts.other_records,
            RecordCarried::Already | RecordCarried::Gone => &AtomicU64::new(0),
        };
        count.fetch_add(1, Ordering::Relaxed);
        let kind = match collection {
            Collection::Links => "link",
            _ => "token",
        };
        if self.as_json {
            let line = json!({kind: name.as_str(), "outcome": word});
            return self.bars.aside(|| print_json(&line));
        }
        if carried == RecordCarried::Differs {
            self.bars.aside(|| {
                note(format_args!(
                    "sealslot: {kind} {name}: not copied: it differs at the target; --replace-records takes the one from here"
                ));
            });
        }
        Ok(())
    }

    /// So many uploads have not come to their end.
    pub(super) fn unfinished(&self, count: usize) {
        self.counts.unfinished.store(count, Ordering::Relaxed);
    }

    /// Whether nothing has stayed where it was.
    pub(super) fn all_is_moved(&self) -> bool {
        self.is_whole() && self.counts.unfinished.load(Ordering::Relaxed) == 0
    }

    fn is_whole(&self) -> bool {
        let counts = [
            &self.counts.differs,
            &self.counts.damaged,
            &self.counts.other_records,
        ];
        counts
            .iter()
            .all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// The end. Gives whether all that could be carried is at the target now.
    pub(super) fn end(&self) -> Result<bool, Failure> {
        let counts = &self.counts;
        let all = [
            &counts.copied,
            &counts.already,
            &counts.gone,
            &counts.differs,
            &counts.damaged,
            &counts.deleted,
            &counts.bytes,
            &counts.records,
            &counts.other_records,
        ];
        let [
            copied,
            already,
            gone,
            differs,
            damaged,
            deleted,
            bytes,
            records,
            other,
        ] = all.map(|count| count.load(Ordering::Relaxed));
        let unfinished = counts.unfinished.load(Ordering::Relaxed);
        let uploads = copied + already + gone + differs + damaged;
        let seconds = self.began.elapsed().as_secs_f64();
        if self.as_json {
            print_json(&json!({
                "uploads": uploads, "copied": copied, "already": already, "gone": gone, "differs": differs,
                "damaged": damaged, "deleted": deleted, "bytes": bytes, "records": records,
                "records_differ": other, "unfinished": unfinished, "seconds": seconds,
            }))?;
            return Ok(self.is_whole());
        }
        let mut parts = vec![format!(
            "{copied} of {uploads} uploads copied ({})",
            BinaryBytes(bytes)
        )];
        for (number, what) in [
            (already, "there before"),
            (gone, "deleted meanwhile"),
            (differs, "other ones at the target"),
            (damaged, "damaged"),
            (deleted, "deleted where they were"),
            (records, "links and tokens copied"),
            (other, "links and tokens that differ"),
            (unfinished as u64, "unfinished and left where they are"),
        ] {
            if number > 0 {
                parts.push(format!("{number} {what}"));
            }
        }
        let line = parts.join(", ");
        print(format_args!("{line}; {seconds:.1} s"))?;
        Ok(self.is_whole())
    }
}
