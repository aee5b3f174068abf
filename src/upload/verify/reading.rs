//! Reading an upload once, in order, at a pace, with the checksum of each file taken on the way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crc_fast::{CrcAlgorithm, Digest as CrcDigest};

use crate::store::{ReadAt, SealedFile, SealedUpload, StoreError};

/// Read at a time: large enough for a disk, small enough for a pace.
const PIECE: usize = 1 << 20;
/// What has been read is let go of in steps of so many bytes.
const STEP: u64 = 8 << 20;

/// Says when something may be read, and sees how much was.
pub trait Pace: Send + Sync {
    /// Waits until `bytes` more may be read.
    fn wait(&self, bytes: usize);

    /// So many bytes were read.
    fn read(&self, bytes: usize);
}

/// CRC-64/NVME over bytes in memory.
pub(in crate::upload) fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// An upload as it is read. Its clones are the same.
#[derive(Clone)]
pub(in crate::upload) struct Reading(Arc<Inner>);

struct Inner {
    upload: Box<dyn SealedUpload>,
    pace: Arc<dyn Pace>,
    /// Of files that were read from their beginning.
    sums: Mutex<HashMap<SealedFile, Sum>>,
    bytes: AtomicU64,
}

/// The checksum of a file's beginning.
struct Sum {
    /// How long that is.
    end: u64,
    crc: CrcDigest,
}

impl Reading {
    pub(in crate::upload) fn new(upload: Box<dyn SealedUpload>, pace: Arc<dyn Pace>) -> Self {
        Self(Arc::new(Inner {
            upload,
            pace,
            sums: Mutex::default(),
            bytes: AtomicU64::new(0),
        }))
    }

    /// Bytes that were read so far. What was read twice counts twice.
    pub(in crate::upload) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The checksum of a whole file, which is read as far as it was not. `None`: it ends before its own size.
    pub(in crate::upload) fn checksum(
        &self,
        file: SealedFile,
        opened: &dyn ReadAt,
    ) -> Result<Option<u64>, StoreError> {
        let mut at = self.0.summed(file);
        let size = opened.len();
        let mut piece =
            vec![0; usize::try_from(size - at.min(size)).map_or(PIECE, |left| left.min(PIECE))];
        while at < size {
            let read = opened.read_at(&mut piece, at)?;
            if read == 0 {
                return Ok(None);
            }
            at += read as u64;
        }
        let sums = self.0.sums.lock().unwrap_or_else(PoisonError::into_inner);
        // An empty file has none.
        let sum = sums.get(&file).filter(|sum| sum.end == size);
        Ok(sum.map(|sum| sum.crc.clone().finalize()))
    }
}

impl Inner {
    fn summed(&self, file: SealedFile) -> u64 {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.get(&file).map_or(0, |sum| sum.end)
    }

    /// Takes in what is new of a piece. Gives how much of the file is known then.
    fn sum(&self, file: SealedFile, piece: &[u8], offset: u64) -> u64 {
        // One upload is read by one thread: the lock waits for nobody.
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry(file).or_insert_with(|| Sum {
            end: 0,
            crc: CrcDigest::new(CrcAlgorithm::Crc64Nvme),
        });
        let known = sum
            .end
            .checked_sub(offset)
            .and_then(|known| usize::try_from(known).ok());
        if let Some(new) = known.and_then(|known| piece.get(known..)) {
            sum.crc.update(new);
            sum.end += new.len() as u64;
        }
        sum.end
    }
}

impl SealedUpload for Reading {
    fn files(&self) -> Result<Vec<SealedFile>, StoreError> {
        self.0.upload.files()
    }

    fn open(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, StoreError> {
        let opened = self.0.upload.open(file)?;
        opened.read_once(0);
        Ok(Box::new(PacedFile {
            opened,
            file,
            reading: Arc::clone(&self.0),
            behind: AtomicU64::new(0),
        }))
    }
}

/// One of its files.
struct PacedFile {
    opened: Box<dyn ReadAt>,
    file: SealedFile,
    reading: Arc<Inner>,
    /// Before this, all was let go of.
    behind: AtomicU64,
}

impl ReadAt for PacedFile {
    fn len(&self) -> u64 {
        self.opened.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let left = self.opened.len().saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.reading.pace.wait(wanted);
        let read = self.opened.read_at(&mut buf[..wanted], offset)?;
        self.reading.pace.read(read);
        self.reading.bytes.fetch_add(read as u64, Ordering::Relaxed);
        let known = self.reading.sum(self.file, &buf[..read], offset);
        let end = offset + read as u64;
        if end <= known && end >= self.behind.load(Ordering::Relaxed) + STEP {
            self.opened.read_once(end);
            self.behind.store(end, Ordering::Relaxed);
        }
        Ok(read)
    }
}

impl Drop for PacedFile {
    fn drop(&mut self) {
        self.opened.read_once(self.opened.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory(Vec<u8>);

    impl ReadAt for Memory {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
            let from = usize::try_from(offset).unwrap();
            let rest = self.0.get(from..).unwrap_or_default();
            let size = rest.len().min(buf.len());
            buf[..size].copy_from_slice(&rest[..size]);
            Ok(size)
        }
    }

    struct One(Vec<u8>);

    impl SealedUpload for One {
        fn files(&self) -> Result<Vec<SealedFile>, StoreError> {
            Ok(vec![SealedFile::Segment(0)])
        }

        fn open(&self, _: SealedFile) -> Result<Box<dyn ReadAt>, StoreError> {
            Ok(Box::new(Memory(self.0.clone())))
        }
    }

    struct AtOnce;

    impl Pace for AtOnce {
        fn wait(&self, _: usize) {}
        fn read(&self, _: usize) {}
    }

    #[test]
    fn a_checksum_is_that_of_the_file_however_it_was_read_before() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let file = SealedFile::Segment(0);
        let pieces: [&[(u64, usize)]; 5] = [
            &[],
            &[(0, 4096), (100, 300_000), (300_100, 5)],
            &[(0, 10), (2_999_000, 1000)],
            &[(0, 3_000_000)],
            &[(5, 100), (0, 20)],
        ];
        for pieces in pieces {
            let reading = Reading::new(Box::new(One(bytes.clone())), Arc::new(AtOnce));
            let opened = reading.open(file).unwrap();
            for (offset, size) in pieces {
                opened.read_at(&mut vec![0; *size], *offset).unwrap();
            }
            assert_eq!(
                reading.checksum(file, &*opened).unwrap(),
                Some(checksum(&bytes)),
                "{pieces:?}"
            );
        }
    }
}
