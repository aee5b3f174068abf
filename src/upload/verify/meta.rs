//! `meta.age`, as far as it can be checked without a key.

use super::super::manifest::{RECORD_STANZA, Record};
use super::super::open::MAX_META_SIZE;
use super::reading::{Reading, checksum};
use super::{Problem, problem_of};
use crate::seal::{Header, PayloadLayout};
use crate::store::{SealedFile, SealedUpload, StoreError, UploadId};

/// What was read of a `meta.age`.
#[derive(Default)]
pub(in crate::upload) struct Meta {
    pub(in crate::upload) bytes: Option<Vec<u8>>,
    pub(in crate::upload) record: Option<Record>,
    pub(in crate::upload) problem: Option<Problem>,
}

/// What the record says of a segment.
pub(in crate::upload) struct Entry {
    pub(in crate::upload) size: u64,
    pub(in crate::upload) checksum: u64,
}

impl Meta {
    /// Whether what the record says may be held against others.
    pub(in crate::upload) fn is_sound(&self) -> bool {
        !self.problem.is_some_and(Problem::is_damage)
    }

    /// The segments that the record lists. Its names were looked at where it is sound.
    pub(in crate::upload) fn segments(&self) -> Vec<(SealedFile, Entry)> {
        let files = self.record.iter().flat_map(|record| &record.files);
        let entry = |file: &super::super::manifest::FileEntry| {
            let entry = Entry {
                size: file.size,
                checksum: u64::from_str_radix(&file.crc64nvme, 16).ok()?,
            };
            Some((file.name.parse().ok()?, entry))
        };
        files
            .filter_map(entry)
            .filter(|(file, _)| *file != SealedFile::Meta)
            .collect()
    }
}

/// Reads it, whole.
pub(in crate::upload) fn read_meta(
    reading: &Reading,
    id: &UploadId,
    noted: Option<u64>,
) -> Result<Meta, StoreError> {
    let mut meta = Meta::default();
    let bytes = match read(reading) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            meta.problem = Some(Problem::Size);
            return Ok(meta);
        }
        Err(error) => {
            meta.problem = Some(problem_of(error)?);
            return Ok(meta);
        }
    };
    let form = check_form(&bytes, id, &mut meta.record);
    let whole = match noted {
        Some(noted) if noted == checksum(&bytes) => None,
        Some(_) => Some(Problem::Checksum),
        None => Some(Problem::Unchecked),
    };
    // What is known of the bytes says more than what they seem to be; nothing to check them against says least.
    meta.problem = match whole {
        Some(Problem::Checksum) => whole,
        whole => form.err().or(whole),
    };
    meta.bytes = Some(bytes);
    Ok(meta)
}

/// `None`: it is longer than any can be.
fn read(reading: &Reading) -> Result<Option<Vec<u8>>, StoreError> {
    let file = reading.open(SealedFile::Meta)?;
    if file.len() > MAX_META_SIZE {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or(0)];
    let size = file.read_at(&mut bytes, 0)?;
    bytes.truncate(size);
    Ok(Some(bytes))
}

fn check_form(bytes: &[u8], id: &UploadId, record: &mut Option<Record>) -> Result<(), Problem> {
    let parsed = Header::parse(bytes).map_err(|_| Problem::Header)?;
    let (header, prefix) = parsed.ok_or(Problem::Header)?;
    *record = Record::in_header(&header);
    let stanzas = header.stanzas().iter();
    let is_one = stanzas
        .filter(|stanza| stanza.args[0] == RECORD_STANZA)
        .count()
        == 1;
    let is_sound = record
        .as_ref()
        .is_some_and(|record| is_one && record.id == *id && names_segments(record));
    if !is_sound {
        return Err(Problem::Record);
    }
    let payload = (bytes.len() - prefix) as u64;
    PayloadLayout::of_sealed(payload).map_err(|_| Problem::Size)?;
    Ok(())
}

/// Whether the record lists the segments in order, each with a checksum.
fn names_segments(record: &Record) -> bool {
    let is_hex = |text: &str| {
        text.len() == 16
            && text
                .bytes()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    };
    (0..).zip(&record.files).all(|(number, file)| {
        file.name.parse() == Ok(SealedFile::Segment(number)) && is_hex(&file.crc64nvme)
    })
}
