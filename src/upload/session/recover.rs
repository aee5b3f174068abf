//! Ends a segment that was cut off by a crash, a full disk or a power cut.
//!
//! From its last checkpoint on, the segment is read to its last whole chunk that opens. That chunk is sealed anew as the
//! last one *with the same plaintext*, so that whatever interrupts this, or however often it is done, and on whichever copy of
//! the disk, no nonce ever seals anything else. What lies behind was never acknowledged; it comes again, in a segment of
//! its own.

use crc_fast::{CrcAlgorithm, Digest as CrcDigest};

use super::record::{Event, OpenSegment};
use super::state::Phase;
use super::{Session, SessionError};
use zeroize::Zeroizing;

use crate::seal::{
    CHUNK_SIZE, FileKey, NONCE_SIZE, PayloadOpener, SEALED_CHUNK_SIZE, TAG_SIZE, reseal_as_last,
};
use crate::store::{ReadAt, SealedFile, SegmentName, StoreError};
use crate::upload::digest::Digests;
use crate::upload::open::{ReadError, read_header};
use crate::upload::receive::ReceiveError;
use crate::upload::segment::SealedSegment;

impl Session {
    /// Closes a segment that has no end. Where there is none, there is nothing to do. Blocks.
    ///
    /// On a full disk it stays as it is: what was acknowledged can still be asked for, and more cannot be taken.
    pub(super) fn recover(&mut self) -> Result<(), SessionError> {
        let Phase::Interrupted(open) = &self.state.phase else {
            return Ok(());
        };
        let name = open
            .name
            .map_or_else(|| SegmentName::plain(self.state.segments), Ok)?;
        let recovered = match self.close_interrupted(open, &name) {
            Ok(Some((segment, digests))) => self.count(segment, digests),
            Ok(None) => self.pass_over(&name),
            Err(error) => Err(error),
        };
        match recovered {
            Ok(()) => self.state.phase = Phase::Open,
            Err(SessionError::Receive(ReceiveError::Store(full @ StoreError::Full { .. }))) => {
                self.unrecovered = Some(full);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Fails where recovery had no room.
    pub fn ready(&mut self) -> Result<(), SessionError> {
        match self.unrecovered.take() {
            Some(full) => Err(full.into()),
            None => Ok(()),
        }
    }

    /// Leaves out a segment that holds nothing. Blocks.
    fn pass_over(&mut self, name: &SegmentName) -> Result<(), SessionError> {
        if self.store.is_shared() {
            // The server that began it may be alive, and about to end it: it must not count any more before it is removed.
            self.put(Event::Length)?;
        }
        Ok(self.store.remove_segment(self.url.id(), name)?)
    }

    /// `None`: the segment holds nothing.
    fn close_interrupted(
        &self,
        open: &OpenSegment,
        name: &SegmentName,
    ) -> Result<Option<Recovered>, SessionError> {
        let number = self.state.segments;
        // After a sync that failed, memory may hold what the disk does not. What counts is what the disk gives.
        self.store.forget_cached(self.url.id(), name)?;
        let file = match self.store.open_staged(self.url.id(), &[*name]) {
            Ok(staged) => staged.open(SealedFile::Segment(number)),
            Err(error) => Err(error),
        };
        let cut = match file {
            Ok(file) => Cut::find(&*file, open, self.state.digests.clone())?,
            Err(StoreError::NotFound) => None,
            Err(error) => return Err(error.into()),
        };
        let Some(cut) = cut else {
            // What a checkpoint counted cannot be gone.
            if open.size > 0 {
                return Err(self.lost("a checkpoint is gone"));
            }
            return Ok(None);
        };
        // Where it had its end already, the same bytes are put there again: nobody knows whether they were synced.
        self.store
            .mend_segment(self.url.id(), name, cut.at, &cut.tail)?;
        self.store.secure_segment(self.url.id(), name)?;
        tracing::info!(id = %self.url.id(), segment = number, bytes = cut.size, "recovered a segment that was cut off");
        let segment = SealedSegment {
            key: open.key.duplicate(),
            name: open.name,
            size: cut.size,
            sealed_size: cut.sealed_size,
            crc: cut.crc,
        };
        Ok(Some((segment, cut.digests)))
    }
}

/// A segment that has its end now, and the digests of the upload behind it.
type Recovered = (SealedSegment, Digests);

/// Where a segment is to end.
struct Cut {
    /// Bytes of plaintext up to there.
    size: u64,
    sealed_size: u64,
    crc: u64,
    digests: Digests,
    /// The last chunk, sealed as such, and where it stands in the file.
    at: u64,
    tail: Vec<u8>,
}

impl Cut {
    /// Looks for the end of what can be kept. `None`: not even one chunk is whole.
    fn find(
        file: &dyn ReadAt,
        open: &OpenSegment,
        digests: Digests,
    ) -> Result<Option<Self>, SessionError> {
        let header = match read_header(file, SealedFile::Segment(0)) {
            Err(ReadError::Store(error)) => return Err(error.into()),
            header => header.ok(),
        };
        let Some((header, payload)) = header.filter(|(header, _)| header.verify(&open.key).is_ok())
        else {
            return Ok(None);
        };
        let mut scan = Scan {
            file,
            opener: PayloadOpener::new(&open.key, header.nonce()),
            payload,
            number: open.size / CHUNK_SIZE as u64,
            digests,
            crc: CrcDigest::new(CrcAlgorithm::Crc64Nvme),
            before_last: 0,
            last: Vec::new(),
        };
        let ended = if open.size == 0 {
            scan.begin()?
        } else {
            scan.begin_at_checkpoint(open)?
        };
        if !ended && !scan.run()? {
            if scan.number == 0 {
                return Ok(None);
            }
            scan.reseal(&open.key, header.nonce())?;
        }
        Ok(Some(scan.into_cut()))
    }
}

/// A segment as it is read from its last checkpoint on.
struct Scan<'a> {
    file: &'a dyn ReadAt,
    opener: PayloadOpener,
    /// Where the first chunk begins.
    payload: u64,
    /// How many chunks are whole.
    number: u64,
    digests: Digests,
    /// Over the sealed bytes up to here, and its state in front of the last chunk.
    crc: CrcDigest,
    before_last: u64,
    /// The last chunk as it stands in the file.
    last: Vec<u8>,
}

impl Scan<'_> {
    /// The checksum covers the header too.
    fn begin(&mut self) -> Result<bool, SessionError> {
        let mut header = vec![0; usize::try_from(self.payload).unwrap_or(0)];
        self.file.read_at(&mut header, 0)?;
        self.crc.update(&header);
        Ok(false)
    }

    /// What was there at the checkpoint was synced, and must be there. `true`: it was made the end already.
    fn begin_at_checkpoint(&mut self, open: &OpenSegment) -> Result<bool, SessionError> {
        let chunk = self.read(self.number - 1)?;
        let ends = self.ends_with(self.number - 1, &chunk);
        let is = |last| self.opens(self.number - 1, last, &chunk).is_some();
        let ended = match (is(false), ends) {
            (true, _) => false,
            (false, true) if is(true) => true,
            _ => return Err(SessionError::Lost),
        };
        self.crc = CrcDigest::new_with_init_state(CrcAlgorithm::Crc64Nvme, open.crc_before_last);
        self.before_last = open.crc_before_last;
        self.crc.update(&chunk);
        self.last = chunk;
        Ok(ended)
    }

    /// Takes whole chunks in. `true`: the last of them is sealed as the last one, and nothing follows it.
    fn run(&mut self) -> Result<bool, SessionError> {
        loop {
            let chunk = self.read(self.number)?;
            let whole = chunk.len() == SEALED_CHUNK_SIZE;
            let middle = whole
                .then(|| self.opens(self.number, false, &chunk))
                .flatten();
            let (plaintext, ended) = match middle {
                Some(plaintext) => (plaintext, false),
                None if self.ends_with(self.number, &chunk) => {
                    match self.opens(self.number, true, &chunk) {
                        Some(plaintext) if !plaintext.is_empty() => (plaintext, true),
                        _ => return Ok(false),
                    }
                }
                None => return Ok(false),
            };
            self.digests.update(&plaintext);
            self.before_last = self.crc.get_state();
            self.crc.update(&chunk);
            self.last = chunk;
            self.number += 1;
            if ended {
                return Ok(true);
            }
        }
    }

    fn reseal(&mut self, key: &FileKey, nonce: &[u8; NONCE_SIZE]) -> Result<(), SessionError> {
        let chunk = self.last.as_mut_array().ok_or(SessionError::Lost)?;
        reseal_as_last(key, nonce, self.number - 1, chunk).map_err(|_| SessionError::Lost)?;
        self.crc = CrcDigest::new_with_init_state(CrcAlgorithm::Crc64Nvme, self.before_last);
        self.crc.update(&self.last);
        Ok(())
    }

    fn into_cut(self) -> Cut {
        let at = self.place(self.number - 1);
        let last = (self.last.len() - TAG_SIZE) as u64;
        Cut {
            size: (self.number - 1) * CHUNK_SIZE as u64 + last,
            sealed_size: at + self.last.len() as u64,
            crc: self.crc.finalize(),
            digests: self.digests,
            at,
            tail: self.last,
        }
    }

    fn place(&self, number: u64) -> u64 {
        self.payload + number * SEALED_CHUNK_SIZE as u64
    }

    fn read(&self, number: u64) -> Result<Vec<u8>, SessionError> {
        let mut chunk = vec![0; SEALED_CHUNK_SIZE];
        let size = self.file.read_at(&mut chunk, self.place(number))?;
        chunk.truncate(size);
        Ok(chunk)
    }

    fn ends_with(&self, number: u64, chunk: &[u8]) -> bool {
        self.place(number) + chunk.len() as u64 == self.file.len()
    }

    fn opens(&self, number: u64, last: bool, chunk: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plaintext = Zeroizing::new(chunk.to_vec());
        let size = self.opener.open(number, last, &mut plaintext).ok()?.len();
        plaintext.truncate(size);
        Some(plaintext)
    }
}
