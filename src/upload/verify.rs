//! Looking for damage in what is stored, without a key, or with one that opens everything.
//!
//! Without a key there are the checksums: those of the segments stand in the record, that of `meta.age` the store keeps beside
//! it. They find what a disk or a copy did, not intent. With a key every segment is opened to its end, and intent is found too.
//!
//! Somebody else may delete an upload, or write its headers anew, while it is read here. So nothing is called damaged before a
//! second look has found the same.

pub(super) mod meta;
pub(super) mod reading;

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::manifest::Record;
use super::open::{OpenUpload, ReadError};
use crate::seal::{Identity, OpenError, PayloadError};
use crate::store::{SealedFile, SealedUpload, StoreError, UploadId};
use meta::{Meta, read_meta};
pub use reading::Pace;
use reading::Reading;

/// How often an upload that changes all the time is looked at.
const MOST_LOOKS: u32 = 10;
/// Between two looks.
const BETWEEN: Duration = Duration::from_millis(100);

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Its bytes are not those of its checksum.
    Checksum,
    /// It is longer or shorter than the record says, or than an age file can be.
    Size,
    /// The record lists it and it is not there.
    Missing,
    /// It does not belong to the upload.
    Unexpected,
    /// It does not begin as an age file does.
    Header,
    /// `meta.age` holds no record that can be read, or that of another upload.
    Record,
    /// The system does not read it.
    Unreadable,
    /// It is whole as far as checksums tell, and no private key that was given opens it, or its content was changed by intent.
    DoesNotOpen,
    /// The plaintext of all segments is not what the manifest says. Named with `meta.age`, which says it.
    Digest,
    /// Nothing is known to be wrong, and there is nothing to check it against.
    Unchecked,
}

impl Problem {
    /// Whether it is damage.
    pub fn is_damage(self) -> bool {
        self != Self::Unchecked
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Checksum => "checksum",
            Self::Size => "size",
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Header => "header",
            Self::Record => "record",
            Self::Unreadable => "unreadable",
            Self::DoesNotOpen => "does-not-open",
            Self::Digest => "digest",
            Self::Unchecked => "unchecked",
        })
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A file of an upload that is damaged, or could not be checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Its name, which anybody may have given to it where it is unexpected.
    pub file: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What came of looking at an upload.
#[derive(Debug)]
pub struct Verified {
    /// Files of the upload that were looked at.
    pub files: u64,
    /// Bytes of them that were read.
    pub bytes: u64,
    /// In the order of the files' names; empty where all is well.
    pub findings: Vec<Finding>,
}

/// An upload to look at, with CRC-64/NVME over its `meta.age` where that is known.
pub type Stored = (Box<dyn SealedUpload>, Option<u64>);

/// Looks for damage.
pub struct Verifier {
    identities: Vec<Identity>,
    pace: Arc<dyn Pace>,
}

/// What one look found.
#[derive(Default)]
struct Look {
    findings: Vec<Finding>,
    files: u64,
    /// The bytes of `meta.age`: another one has been written since where they differ.
    meta: Option<Vec<u8>>,
}

impl Look {
    fn note(&mut self, file: impl fmt::Display, problem: Problem) {
        let file = file.to_string();
        self.findings.push(Finding { file, problem });
    }

    fn has(&self, file: SealedFile) -> bool {
        let name = file.to_string();
        self.findings
            .iter()
            .any(|found| found.file == name && found.problem.is_damage())
    }

    fn is_damaged(&self) -> bool {
        self.findings.iter().any(|found| found.problem.is_damage())
    }
}

impl Verifier {
    /// With private keys, everything is opened too. `pace` is asked before anything is read.
    pub fn new(identities: Vec<Identity>, pace: Arc<dyn Pace>) -> Self {
        Self { identities, pace }
    }

    /// Looks at the upload `id`, as often as it takes to know. `open` opens it anew. `None`: it is not there, was deleted since,
    /// or is not `wanted`, by its record; one whose record cannot be read is always wanted. Blocks.
    ///
    /// An error is one of whoever asks, or of the way to the store, not of the upload.
    pub fn verify(
        &self,
        id: &UploadId,
        mut open: impl FnMut() -> Result<Stored, StoreError>,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Option<Verified>, ReadError> {
        let mut before: Option<Look> = None;
        let mut looks = 0;
        loop {
            let (upload, checksum) = match open() {
                Err(StoreError::NotFound) => return Ok(None),
                opened => opened?,
            };
            let reading = Reading::new(upload, Arc::clone(&self.pace));
            let look = self.look(&reading, id, checksum, &wanted);
            looks += 1;
            // What was seen of a folder on its way out is no damage, however often it is seen.
            if is_on_its_way_out(&look, &reading) {
                if looks == MOST_LOOKS {
                    return Err(StoreError::Replaced.into());
                }
                before = None;
                thread::sleep(BETWEEN);
                continue;
            }
            let Some(look) = look? else {
                return Ok(None);
            };
            let is_sure = !look.is_damaged()
                || before.is_some_and(|before| {
                    (&before.findings, &before.meta) == (&look.findings, &look.meta)
                });
            if is_sure || looks == MOST_LOOKS {
                let mut findings = look.findings;
                findings.sort();
                let (files, bytes) = (look.files, reading.bytes());
                return Ok(Some(Verified {
                    files,
                    bytes,
                    findings,
                }));
            }
            before = Some(look);
            thread::sleep(BETWEEN);
        }
    }

    fn look(
        &self,
        reading: &Reading,
        id: &UploadId,
        checksum: Option<u64>,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Option<Look>, ReadError> {
        let mut look = Look::default();
        let meta = read_meta(reading, id, checksum)?;
        if meta.record.as_ref().is_some_and(|record| !wanted(record)) {
            return Ok(None);
        }
        look.files += u64::from(meta.bytes.is_some());
        if let Some(problem) = meta.problem {
            look.note(SealedFile::Meta, problem);
        }
        let opened = match meta.problem {
            None | Some(Problem::Unchecked) if !self.identities.is_empty() => {
                Some(self.open(reading, id))
            }
            _ => None,
        };
        if let Some(Ok(())) = opened {
            // Its key has opened it: that is more than a checksum.
            look.findings.clear();
        }
        check_segments(reading, &meta, &mut look)?;
        match opened {
            // What lies in the folder was noted by its own name.
            None | Some(Ok(()) | Err(ReadError::Store(StoreError::UnexpectedFile { .. }))) => {}
            Some(Err(error)) => {
                let (file, problem) = told(error)?;
                if !look.has(file) {
                    look.findings.retain(|found| found.file != file.to_string());
                    look.note(file, problem);
                }
            }
        }
        look.meta = meta.bytes;
        Ok(Some(look))
    }

    /// Opens everything, to its end.
    fn open(&self, reading: &Reading, id: &UploadId) -> Result<(), ReadError> {
        let upload = OpenUpload::open(Box::new(reading.clone()), Some(id), &self.identities)?;
        Arc::new(upload).copy_to(|_| Ok(()))
    }
}

/// Whether what a look found is of an upload that was deleted or sealed anew meanwhile.
fn is_on_its_way_out(look: &Result<Option<Look>, ReadError>, reading: &Reading) -> bool {
    match look {
        Ok(Some(look)) => look.is_damaged() && matches!(reading.files(), Err(StoreError::Replaced)),
        Ok(None) => false,
        Err(error) => matches!(error, ReadError::Store(StoreError::Replaced)),
    }
}

/// Compares what is there with the record.
fn check_segments(reading: &Reading, meta: &Meta, look: &mut Look) -> Result<(), StoreError> {
    let trusted = meta.is_sound();
    let present = match reading.files() {
        Ok(files) => files,
        Err(StoreError::UnexpectedFile { path }) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            look.note(name.display(), Problem::Unexpected);
            Vec::new()
        }
        // Of a server the record alone says what there is.
        Err(error) if is_of_the_way(&error) => match meta.record {
            Some(_) => return Err(error),
            None => Vec::new(),
        },
        Err(_) => {
            look.note(".", Problem::Unreadable);
            Vec::new()
        }
    };
    let listed = meta.segments();
    for (file, entry) in &listed {
        let problem = check_segment(reading, *file, entry)?;
        look.files += u64::from(problem != Some(Problem::Missing));
        match problem {
            Some(problem) if trusted => look.note(file, problem),
            // It may well be the record that is wrong.
            Some(_) => look.note(file, Problem::Unchecked),
            None => {}
        }
    }
    for file in present {
        let is_listed = listed.iter().any(|(listed, _)| *listed == file);
        if is_listed || file == SealedFile::Meta {
            continue;
        }
        look.files += 1;
        let problem = if trusted {
            Problem::Unexpected
        } else {
            Problem::Unchecked
        };
        look.note(file, problem);
    }
    Ok(())
}

/// What is wrong with a segment, of what the record says of it.
pub(super) fn check_segment(
    reading: &Reading,
    file: SealedFile,
    entry: &meta::Entry,
) -> Result<Option<Problem>, StoreError> {
    let opened = match reading.open(file) {
        Ok(opened) => opened,
        Err(error) => return problem_of(error).map(Some),
    };
    if opened.len() != entry.size {
        return Ok(Some(Problem::Size));
    }
    match reading.checksum(file, &*opened) {
        Ok(checksum) => Ok((checksum != Some(entry.checksum)).then_some(Problem::Checksum)),
        Err(error) => problem_of(error).map(Some),
    }
}

/// Whether an error is one of the way to the store, and so says nothing of an upload.
fn is_of_the_way(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Elsewhere { .. } | StoreError::Unavailable { .. }
    )
}

/// What an error of reading a file says of that file.
fn problem_of(error: StoreError) -> Result<Problem, StoreError> {
    match error {
        StoreError::NotFound => Ok(Problem::Missing),
        StoreError::UnexpectedFile { .. } => Ok(Problem::Unexpected),
        error if is_of_the_way(&error) => Err(error),
        StoreError::Replaced => Err(StoreError::Replaced),
        _ => Ok(Problem::Unreadable),
    }
}

/// What an error of opening says, and of which file.
fn told(error: ReadError) -> Result<(SealedFile, Problem), ReadError> {
    let meta = SealedFile::Meta;
    Ok(match error {
        ReadError::Store(error) => (meta, problem_of(error)?),
        ReadError::Open {
            file,
            source: OpenError::Header(_),
        } => (file, Problem::Header),
        ReadError::Open {
            file,
            source: OpenError::Payload(PayloadError::Length),
        }
        | ReadError::Size(file) => (file, Problem::Size),
        // A plugin that is not there, say.
        ReadError::Open {
            source: OpenError::External(_),
            ..
        } => return Err(error),
        ReadError::Open { file, .. } => (file, Problem::DoesNotOpen),
        ReadError::Manifest => (meta, Problem::DoesNotOpen),
        ReadError::Exchanged | ReadError::Record => (meta, Problem::Record),
        ReadError::Missing(file) => (file, Problem::Missing),
        ReadError::Foreign(file) => (file, Problem::Unexpected),
        ReadError::Digest => (meta, Problem::Digest),
    })
}
