//! The plaintext of an upload, from wherever it is asked for: only the chunks that hold it are read, and of a segment that
//! is left before its end the last one.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use zeroize::Zeroizing;

use super::batches::Batches;
use super::open::{OpenUpload, ReadError, read_header};
use super::payload::SeekablePayload;
use crate::store::{ReadAt, SealedFile, StoreError};

/// One segment, ready to give any of its plaintext.
struct Segment {
    number: u32,
    name: SealedFile,
    payload: SeekablePayload,
    /// Where its plaintext begins and ends in that of the upload.
    place: Range<u64>,
}

impl Segment {
    fn open(upload: &OpenUpload, number: u32, place: Range<u64>) -> Result<Self, ReadError> {
        let name = SealedFile::Segment(number);
        let file = upload.sealed(name)?;
        let (header, start) = read_header(&*file, name)?;
        let key = &upload.manifest().segments[number as usize].key;
        header.verify(key).map_err(ReadError::open(name))?;
        let mut payload = SeekablePayload::new(file, start, key, header.nonce())
            .map_err(|error| ReadError::of(name, error))?;
        if payload.size() != place.end - place.start {
            return Err(ReadError::Size(name));
        }
        if upload.opened().has_seen_end_of(number) {
            payload.trust_end();
        }
        Ok(Self {
            number,
            name,
            payload,
            place,
        })
    }
}

/// A part of an upload's plaintext, read as it is asked for.
pub struct Plaintext {
    upload: Arc<OpenUpload>,
    /// What is still to be given.
    range: Range<u64>,
    segment: Option<Segment>,
    batches: Batches,
}

impl Plaintext {
    pub(super) fn new(upload: Arc<OpenUpload>, range: Range<u64>) -> Self {
        let mut plaintext = Self {
            upload,
            range: 0..0,
            segment: None,
            batches: Batches::default(),
        };
        plaintext.seek(range);
        plaintext
    }

    /// Goes on with another part, in bytes, cut to what there is. The manifest is not opened again, nor the segment where
    /// it is the same.
    pub fn seek(&mut self, range: Range<u64>) {
        let end = range.end.min(self.upload.manifest().size);
        self.range = range.start.min(end)..end;
    }

    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The next piece, at most a chunk; `None` at the end. Blocks. After an error there is nothing more to get.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let (segment, within) = self.take_segment()?;
        let segment = self.segment.insert(segment);
        let name = segment.name;
        let piece = segment.payload.piece(within);
        let piece = piece.map_err(|error| ReadError::of(name, error))?;
        self.range.start += piece.len() as u64;
        Ok(Some(piece))
    }

    /// What comes next, in the pieces of at most `most` chunks of one segment; none at the end. Blocks. After an error there is
    /// nothing more to get.
    pub fn next_pieces(&mut self, most: usize) -> Result<Vec<Bytes>, ReadError> {
        if self.range.is_empty() {
            return Ok(Vec::new());
        }
        let (segment, within) = self.take_segment()?;
        let segment = self.segment.insert(segment);
        let name = segment.name;
        let pieces = segment.payload.pieces(within, most, &self.batches);
        let pieces = pieces.map_err(|error| ReadError::of(name, error))?;
        self.range.start += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        Ok(pieces)
    }

    /// The segment in which the next byte lies, and where what is to be given of it lies in it. That the
    /// segment ends where it should is known then. It has to be put back.
    fn take_segment(&mut self) -> Result<(Segment, Range<u64>), ReadError> {
        let mut segment = match self.segment.take() {
            Some(segment) if segment.place.contains(&self.range.start) => segment,
            _ => self.enter_segment()?,
        };
        let Range { start, end } = segment.place;
        let within = self.range.start - start..self.range.end.min(end) - start;
        let ended = segment.payload.verify_end_for(&within);
        ended.map_err(|error| ReadError::of(segment.name, error))?;
        if segment.payload.has_seen_end() {
            self.upload.opened().saw_end_of(segment.number);
        }
        Ok((segment, within))
    }

    /// Opens the segment in which the next byte lies.
    fn enter_segment(&self) -> Result<Segment, ReadError> {
        let mut start = 0;
        for (number, entry) in (0..).zip(&self.upload.manifest().segments) {
            let place = start..start + entry.size;
            if place.contains(&self.range.start) {
                return Segment::open(&self.upload, number, place);
            }
            start = place.end;
        }
        Err(ReadError::Manifest)
    }
}

/// For what reads at any offset: the inner layer of a client-sealed upload, in part.
pub struct PlaintextAt {
    plaintext: Mutex<Plaintext>,
    size: u64,
}

impl From<Plaintext> for PlaintextAt {
    fn from(plaintext: Plaintext) -> Self {
        Self {
            size: plaintext.upload.manifest().size,
            plaintext: Mutex::new(plaintext),
        }
    }
}

impl ReadAt for PlaintextAt {
    fn len(&self) -> u64 {
        self.size
    }

    /// What does not open is an error whose source is the [`ReadError`].
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let mut plaintext = self
            .plaintext
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        plaintext.seek(offset..offset.saturating_add(buf.len() as u64));
        let mut filled = 0;
        loop {
            match plaintext.next_piece() {
                Ok(Some(piece)) => {
                    buf[filled..filled + piece.len()].copy_from_slice(piece);
                    filled += piece.len();
                }
                Ok(None) => return Ok(filled),
                Err(ReadError::Store(error)) => return Err(error),
                Err(error) => {
                    // Whoever reports it looks at the source first.
                    return Err(StoreError::io(
                        "open",
                        "the payload",
                        io::Error::other(error),
                    ));
                }
            }
        }
    }
}

/// For what reads from a reader: the inner layer of a client-sealed upload.
pub struct PlaintextRead {
    plaintext: Plaintext,
    piece: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl From<Plaintext> for PlaintextRead {
    fn from(plaintext: Plaintext) -> Self {
        Self {
            plaintext,
            piece: Zeroizing::new(Vec::new()),
            taken: 0,
        }
    }
}

impl io::Read for PlaintextRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            let Some(piece) = self.plaintext.next_piece().map_err(io::Error::other)? else {
                return Ok(0);
            };
            self.piece.clear();
            self.piece.extend_from_slice(piece);
            self.taken = 0;
        }
        let size = into.len().min(self.piece.len() - self.taken);
        into[..size].copy_from_slice(&self.piece[self.taken..self.taken + size]);
        self.taken += size;
        Ok(size)
    }
}

#[cfg(test)]
mod tests;
