//! The payload of one age file, from wherever in it is asked for (specification, "Payload").

use std::ops::Range;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::batches::Batches;
use crate::seal::{
    CHUNK_SIZE, FileKey, Header, HeaderError, MAX_HEADER_SIZE, NONCE_SIZE, OpenError, PayloadError,
    PayloadLayout, PayloadOpener, SEALED_CHUNK_SIZE, TAG_SIZE,
};
use crate::store::{ReadAt, StoreError};

/// Chunks that are read at a time, where so many are needed.
const READ_CHUNKS: u64 = 4;

/// Why a file could not be read at some place.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeekError {
    /// The store could not read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was read does not open.
    #[error(transparent)]
    Open(OpenError),
}

impl From<PayloadError> for SeekError {
    fn from(error: PayloadError) -> Self {
        Self::Open(OpenError::Payload(error))
    }
}

/// Reads as much of a file as its header takes. Gives the header and its size with the nonce.
pub(super) fn read_header(file: &dyn ReadAt) -> Result<(Header, u64), SeekError> {
    let malformed = |error| SeekError::Open(OpenError::Header(error));
    let mut start = Vec::new();
    let mut wanted = 4096;
    loop {
        let before = start.len();
        start.resize(wanted, 0);
        let size = file.read_at(&mut start[before..], before as u64)?;
        start.truncate(before + size);
        if let Some((header, size)) = Header::parse(&start).map_err(malformed)? {
            return Ok((header, size as u64));
        }
        if start.len() < wanted || wanted > MAX_HEADER_SIZE + NONCE_SIZE {
            return Err(malformed(HeaderError::Truncated));
        }
        wanted *= 4;
    }
}

/// A payload that gives its plaintext from any place on.
///
/// It reads the chunks that hold what is asked for. Where it is asked for less than all that follows, it reads the last
/// chunk first: only that one says that the payload ends where it seems to.
pub(super) struct SeekablePayload {
    file: Box<dyn ReadAt>,
    /// Where the sealed chunks begin in the file.
    start: u64,
    layout: PayloadLayout,
    opener: PayloadOpener,
    end_verified: bool,
    /// Some chunks in a row, most of them still sealed.
    held: Zeroizing<Vec<u8>>,
    /// Their numbers.
    numbers: Range<u64>,
    /// The one of them that lies open. Those before it are no longer what they were.
    open: Option<u64>,
}

impl SeekablePayload {
    /// The payload that begins at `start` in `file`, behind a header that was found genuine with this key.
    pub(super) fn new(
        file: Box<dyn ReadAt>,
        start: u64,
        key: &FileKey,
        nonce: &[u8; NONCE_SIZE],
    ) -> Result<Self, SeekError> {
        let sealed = file.len().checked_sub(start);
        let layout = PayloadLayout::of_sealed(sealed.ok_or(PayloadError::Truncated)?)?;
        Ok(Self {
            file,
            start,
            layout,
            opener: PayloadOpener::new(key, nonce),
            end_verified: false,
            held: Zeroizing::new(Vec::new()),
            numbers: 0..0,
            open: None,
        })
    }

    /// Whether the last chunk was opened as the last one.
    pub(super) fn has_seen_end(&self) -> bool {
        self.end_verified
    }

    /// Takes it from the caller that the last chunk of a payload of this size was opened as the last one.
    pub(super) fn trust_end(&mut self) {
        self.end_verified = true;
    }

    /// Bytes of plaintext, as far as the length of the file says.
    pub(super) fn size(&self) -> u64 {
        self.layout.plaintext_size()
    }

    /// The beginning of what lies at `range`, which is not empty and ends within the payload: as much of it as one chunk
    /// holds.
    pub(super) fn piece(&mut self, range: Range<u64>) -> Result<&[u8], SeekError> {
        self.verify_end_for(&range)?;
        let wanted = chunks_of(&range);
        let within = within_chunk(&range);
        let chunk = self.chunk(wanted)?;
        Ok(&chunk[within.start..chunk.len().min(within.end)])
    }

    /// The beginning of what lies at `range`, as [`SeekablePayload::piece`] gives it, but as much of it as `most` chunks hold,
    /// and in one of `batches`: it is opened where it was read to, and nothing of it is moved.
    pub(super) fn pieces(
        &mut self,
        mut range: Range<u64>,
        most: usize,
        batches: &Batches,
    ) -> Result<Vec<Bytes>, SeekError> {
        self.verify_end_for(&range)?;
        let wanted = chunks_of(&range);
        let numbers = wanted.start..wanted.end.min(wanted.start.saturating_add(most as u64));
        let last = self.layout.chunks() - 1;
        let (at, size) = self.place_of(&numbers)?;
        let mut batch = batches.take(size);
        let sealed = batch.bytes_mut();
        read_all(&*self.file, at, sealed)?;
        for (number, chunk) in numbers.zip(sealed.chunks_mut(SEALED_CHUNK_SIZE)) {
            self.opener.open(number, number == last, chunk)?;
            self.end_verified |= number == last;
        }
        let opened = batch.freeze();
        let mut pieces = Vec::with_capacity(opened.len().div_ceil(SEALED_CHUNK_SIZE));
        for start in (0..opened.len()).step_by(SEALED_CHUNK_SIZE) {
            let end = opened.len().min(start + SEALED_CHUNK_SIZE) - TAG_SIZE;
            let within = within_chunk(&range);
            let piece =
                opened.slice(start + within.start..end.min(start.saturating_add(within.end)));
            range.start += piece.len() as u64;
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Opens the last chunk as the last one, unless it is among those that hold `range`.
    pub(super) fn verify_end_for(&mut self, range: &Range<u64>) -> Result<(), SeekError> {
        if chunks_of(range).end < self.layout.chunks() {
            self.verify_end()?;
        }
        Ok(())
    }

    /// Opens the last chunk as the last one.
    pub(super) fn verify_end(&mut self) -> Result<(), SeekError> {
        if !self.end_verified {
            let last = self.layout.chunks() - 1;
            self.chunk(last..last + 1)?;
        }
        Ok(())
    }

    /// The plaintext of chunk `wanted.start`. The others will be asked for next.
    fn chunk(&mut self, wanted: Range<u64>) -> Result<&[u8], SeekError> {
        let number = wanted.start;
        let opened_before = self.open.is_some_and(|open| number < open);
        if !self.numbers.contains(&number) || opened_before {
            self.read(number..wanted.end.min(number + READ_CHUNKS))?;
        }
        let from = usize::try_from(number - self.numbers.start).unwrap_or(0) * SEALED_CHUNK_SIZE;
        let to = (from + SEALED_CHUNK_SIZE).min(self.held.len());
        let chunk = &mut self.held[from..to];
        if self.open == Some(number) {
            let size = chunk.len() - TAG_SIZE;
            return Ok(&chunk[..size]);
        }
        let is_last = number + 1 == self.layout.chunks();
        let chunk = self.opener.open(number, is_last, chunk)?;
        self.open = Some(number);
        self.end_verified |= is_last;
        Ok(chunk)
    }

    fn read(&mut self, numbers: Range<u64>) -> Result<(), SeekError> {
        // What fails leaves nothing that could be taken for a chunk.
        self.numbers = 0..0;
        self.open = None;
        let (at, size) = self.place_of(&numbers)?;
        self.held.resize(size, 0);
        read_all(&*self.file, at, &mut self.held)?;
        self.numbers = numbers;
        Ok(())
    }

    /// Where the chunks with these numbers begin in the file, and their size together.
    fn place_of(&self, numbers: &Range<u64>) -> Result<(u64, usize), SeekError> {
        let first = self.layout.sealed_range(numbers.start).start;
        let end = self.layout.sealed_range(numbers.end - 1).end;
        let size = usize::try_from(end - first).map_err(|_| PayloadError::Length)?;
        Ok((self.start + first, size))
    }
}

/// Fills `into` with what lies at `at`, or says that the payload is cut off.
fn read_all(file: &dyn ReadAt, at: u64, into: &mut [u8]) -> Result<(), SeekError> {
    if file.read_at(into, at)? < into.len() {
        return Err(PayloadError::Truncated.into());
    }
    Ok(())
}

/// The numbers of the chunks that hold a range, which is not empty.
fn chunks_of(range: &Range<u64>) -> Range<u64> {
    let chunk_size = CHUNK_SIZE as u64;
    range.start / chunk_size..(range.end - 1) / chunk_size + 1
}

/// Where a range that begins in a chunk lies in it, if the chunk is long enough.
fn within_chunk(range: &Range<u64>) -> Range<usize> {
    let skip = usize::try_from(range.start % CHUNK_SIZE as u64).unwrap_or(0);
    let size = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    skip..skip.saturating_add(size)
}
