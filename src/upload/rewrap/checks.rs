//! What is checked of new headers, without a key.

use serde_json::Value;

use super::checksum::replaced_header;
use super::{RewrapError, RewrapRule};
use crate::seal::{Header, PayloadLayout};
use crate::store::{SealedFile, SealedUpload, SegmentHeader};
use crate::upload::manifest::{RECORD_STANZA, Record};
use crate::upload::open::{ReadError, read_header};

/// The record as it is to be, made from the stored one. All that it holds beside sizes and checksums stays, also what this
/// version does not know.
pub(super) struct NewRecord {
    text: Vec<u8>,
    value: Value,
    changed: bool,
    /// Bytes behind the header that it stood in: as many as the same manifest has, sealed anew.
    payload: usize,
}

impl NewRecord {
    /// Takes the one in a stored `meta.age`.
    pub(super) fn of_stored(meta: &[u8]) -> Result<Self, ReadError> {
        let header = Header::parse(meta).ok().flatten();
        let (header, size) = header.ok_or(ReadError::Record)?;
        // As whoever reads it later will.
        Record::in_header(&header).ok_or(ReadError::Record)?;
        let text = record_of(&header).ok_or(ReadError::Record)?;
        Ok(Self {
            value: serde_json::from_slice(text).map_err(|_| ReadError::Record)?,
            text: text.to_vec(),
            changed: false,
            payload: meta.len() - size,
        })
    }

    /// Segment `number` gets another header.
    pub(super) fn replace_header(
        &mut self,
        number: u32,
        old: &[u8],
        new: &[u8],
    ) -> Result<(), ReadError> {
        let index = usize::try_from(number).map_err(|_| ReadError::Record)?;
        let files = self.value.get_mut("files");
        let entry = files.and_then(|files| files.get_mut(index)?.as_object_mut());
        let entry = entry.ok_or(ReadError::Record)?;
        let size = entry.get("size").and_then(Value::as_u64);
        let payload = size.and_then(|size| size.checked_sub(old.len() as u64));
        let payload = payload.ok_or(ReadError::Size(SealedFile::Segment(number)))?;
        let checksum = entry.get("crc64nvme").and_then(Value::as_str);
        let checksum = checksum.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let checksum = replaced_header(checksum.ok_or(ReadError::Record)?, old, new, payload);
        let size = payload.checked_add(new.len() as u64);
        let size = size.ok_or(ReadError::Record)?;
        entry.insert("size".to_owned(), size.into());
        entry.insert("crc64nvme".to_owned(), format!("{checksum:016x}").into());
        self.changed = true;
        Ok(())
    }

    /// How many files it lists.
    pub(super) fn count(&self) -> usize {
        self.value
            .get("files")
            .and_then(Value::as_array)
            .map_or(0, Vec::len)
    }

    /// Fails where it lists another number of files.
    pub(super) fn check_count(&self, segments: usize) -> Result<(), ReadError> {
        if self.count() == segments {
            Ok(())
        } else {
            Err(ReadError::Record)
        }
    }

    /// The body of its stanza. The stored one's, byte by byte, where nothing has changed.
    pub(super) fn into_body(self) -> Vec<u8> {
        if self.changed {
            serde_json::to_vec(&self.value).expect("JSON that was read can be written")
        } else {
            self.text
        }
    }
}

fn record_of(header: &Header) -> Option<&[u8]> {
    let mut records = header
        .stanzas()
        .iter()
        .filter(|stanza| stanza.args[0] == RECORD_STANZA);
    let record = records.next()?;
    records.next().is_none().then_some(&record.body[..])
}

/// Checks the new headers of all segments, and gives what the store needs to put them in place.
pub(super) fn check_segments<'a>(
    upload: &dyn SealedUpload,
    record: &mut NewRecord,
    segments: &'a [Vec<u8>],
) -> Result<Vec<SegmentHeader<'a>>, RewrapError> {
    if segments.len() != record.count() {
        return Err(RewrapRule::Count {
            headers: segments.len(),
            segments: record.count(),
        }
        .into());
    }
    let mut headers = Vec::with_capacity(segments.len());
    for (number, new) in (0..).zip(segments) {
        let name = SealedFile::Segment(number);
        let header = match Header::parse(new) {
            Ok(Some((header, size))) if size == new.len() => header,
            _ => return Err(RewrapRule::Header(name).into()),
        };
        check_recipients(name, &header)?;
        let file = upload.open(name)?;
        let (stored, old_size) = read_header(&*file, name)?;
        if stored.nonce() != header.nonce() {
            return Err(RewrapRule::Nonce(name).into());
        }
        let mut old = vec![0; usize::try_from(old_size).map_err(|_| ReadError::Size(name))?];
        if file.read_at(&mut old, 0)? < old.len() {
            return Err(ReadError::Size(name).into());
        }
        record.replace_header(number, &old, new)?;
        headers.push(SegmentHeader { old_size, new });
    }
    Ok(headers)
}

/// Checks a new `meta.age` against the record that it must have.
pub(super) fn check_meta(meta: &[u8], expected: &NewRecord) -> Result<(), RewrapRule> {
    let parsed = Header::parse(meta).ok().flatten();
    let (header, size) = parsed.ok_or(RewrapRule::Header(SealedFile::Meta))?;
    check_recipients(SealedFile::Meta, &header)?;
    PayloadLayout::of_sealed((meta.len() - size) as u64).map_err(|_| RewrapRule::Meta)?;
    let record = record_of(&header).ok_or(RewrapRule::NoRecord)?;
    // Whoever reads it must find one, and what a lenient reader takes for the same may not be.
    Record::in_header(&header).ok_or(RewrapRule::NoRecord)?;
    let record: Value = serde_json::from_slice(record).map_err(|_| RewrapRule::NoRecord)?;
    if record != expected.value {
        return Err(RewrapRule::Record);
    }
    // The manifest stays byte for byte. One that lost its end on the way would take the keys of all segments with it.
    if meta.len() - size == expected.payload {
        Ok(())
    } else {
        Err(RewrapRule::Meta)
    }
}

/// A passphrase is for one person's files. A stanza of a type that is not known may be a plugin's.
fn check_recipients(name: SealedFile, header: &Header) -> Result<(), RewrapRule> {
    let mut wrapped = header
        .stanzas()
        .iter()
        .filter(|stanza| stanza.args[0] != RECORD_STANZA)
        .peekable();
    if wrapped.peek().is_none() || wrapped.any(|stanza| stanza.args[0] == "scrypt") {
        return Err(RewrapRule::Recipients(name));
    }
    Ok(())
}
