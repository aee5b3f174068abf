//! Writing past the page cache (`O_DIRECT`).
//!
//! A sealed file is written once, synced before it is acknowledged, and seldom read soon. A copy of it in the page cache serves
//! nobody, and making it costs more than sealing does: pages have to be found, filled, written back and let go. Past the cache the
//! disk takes the bytes from where they were sealed, and a sync in the end waits for the disk's own cache, the size of the file and the
//! end that fills no block.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::memory::Block;

/// Place in memory, place in the file and length have to be multiples of this, in bytes. No disk has larger blocks; one that has is
/// written to through the cache.
const ALIGNMENT: usize = 4096;

/// A file that is written past the page cache, and what of it waits until it fills a block.
///
/// Dropped, it leaves out what still waits.
pub(super) struct Direct {
    /// From `start` on it is aligned.
    bytes: Block,
    start: usize,
    /// Bytes that wait, from `start` on.
    waiting: usize,
    /// Where in the file they belong: a multiple of [`ALIGNMENT`].
    at: u64,
    /// How many of them are in the file nevertheless, since it was flushed.
    flushed: usize,
    /// Bytes behind them that were asked for.
    asked: usize,
    /// Whether the file was told to go past the cache, as all are but in tests where the file system refuses.
    past_cache: bool,
}

impl Direct {
    /// Sets an empty file to be written past the cache, or `None` where its file system knows no such thing.
    pub(super) fn begin(file: &File) -> Option<Self> {
        set_direct(file, true).ok()?;
        Some(Self::new(true))
    }

    fn new(past_cache: bool) -> Self {
        Self {
            bytes: Block::default(),
            start: 0,
            waiting: 0,
            at: 0,
            flushed: 0,
            asked: 0,
            past_cache,
        }
    }

    /// Bytes that were taken in and are not in the file.
    pub(super) fn unwritten(&self) -> u64 {
        (self.waiting - self.flushed) as u64
    }

    /// Room for the next `size` bytes, behind those that wait.
    pub(super) fn place(&mut self, size: usize) -> &mut [u8] {
        if self.start + self.waiting + size > self.bytes.len() {
            // Whatever waits between two pieces fills no block.
            let larger = Block::zeroed(size + self.waiting + 2 * ALIGNMENT);
            let start = larger.as_ptr().align_offset(ALIGNMENT);
            let smaller = std::mem::replace(&mut self.bytes, larger);
            let held = self.start..self.start + self.waiting;
            self.bytes[start..start + self.waiting].copy_from_slice(&smaller[held]);
            self.start = start;
        }
        self.asked = size;
        let place = self.start + self.waiting;
        &mut self.bytes[place..place + size]
    }

    /// Takes in what was put into the place, and writes all of it but an end that fills no block.
    ///
    /// `EINVAL` says that this file has to be written to through the cache after all: go on with [`end`](Self::end).
    pub(super) fn write(&mut self, file: &File) -> io::Result<()> {
        self.waiting += std::mem::take(&mut self.asked);
        let rest = self.waiting % ALIGNMENT;
        let mut done = 0;
        while self.waiting - done > rest {
            let blocks = &self.held()[done..self.waiting - rest];
            let written = match file.write_at(blocks, self.at + done as u64) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                // On a full disk it may be less than asked for; what follows has to be aligned all the same.
                Ok(written) if written < ALIGNMENT => Err(Errno::INVAL.into()),
                written => written,
            };
            match written {
                Ok(written) => done += written - written % ALIGNMENT,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.pass(done);
                    return Err(error);
                }
            }
        }
        self.pass(done);
        Ok(())
    }

    /// Writes all that waits, so that the file is whole up to here, and can go on.
    pub(super) fn flush(&mut self, file: &File) -> io::Result<()> {
        if self.waiting > self.flushed {
            // It fills no block: it goes through the cache, and once more with the block that it becomes a part of.
            set_direct(file, false)?;
            file.write_all_at(self.held(), self.at)?;
            set_direct(file, self.past_cache)?;
            self.flushed = self.waiting;
        }
        Ok(())
    }

    /// Writes all that waits, through the cache, where the file goes on from here.
    pub(super) fn end(&self, mut file: &File) -> io::Result<()> {
        set_direct(file, false)?;
        file.write_all_at(self.held(), self.at)?;
        file.seek(SeekFrom::Start(self.at + self.waiting as u64))?;
        Ok(())
    }

    fn held(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.waiting]
    }

    /// So many of the bytes that wait are in the file.
    fn pass(&mut self, written: usize) {
        let held = self.start..self.start + self.waiting;
        self.bytes
            .copy_within(held.start + written..held.end, self.start);
        self.waiting -= written;
        self.flushed = self.flushed.saturating_sub(written);
        self.at += written as u64;
    }
}

fn set_direct(file: &File, direct: bool) -> rustix::io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    fcntl_setfl(file, flags)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn written(pieces: &[usize], flushed: impl Fn(usize) -> bool) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut direct = Direct::begin(file.as_file()).unwrap_or_else(|| Direct::new(false));
        let mut all = Vec::new();
        for (number, size) in pieces.iter().enumerate() {
            let piece: Vec<u8> = (0..=250).cycle().skip(number).take(*size).collect();
            direct.place(piece.len()).copy_from_slice(&piece);
            direct.write(file.as_file()).unwrap();
            assert!(direct.unwritten() < ALIGNMENT as u64);
            all.extend(piece);
            if flushed(number) {
                direct.flush(file.as_file()).unwrap();
                assert_eq!(direct.unwritten(), 0);
                assert!(std::fs::read(file.path()).unwrap() == all);
            }
        }
        direct.end(file.as_file()).unwrap();
        assert!(std::fs::read(file.path()).unwrap() == all);
        let size = file.as_file().metadata().unwrap().size();
        assert_eq!(size, all.len() as u64);
        // Where it goes on.
        assert_eq!(file.as_file().stream_position().unwrap(), size);
    }

    #[test]
    fn a_file_is_what_was_written_to_it_in_whatever_pieces() {
        let pieces = [524_416, 1, 4095, 4096, 524_416, 524_415, 3 << 19, 0, 70_000];
        written(&pieces, |_| false);
        written(&pieces, |_| true);
        written(&pieces, |number| number % 3 == 1);
        written(&[], |_| true);
        written(&[1 << 19], |_| true);
    }

    #[test]
    fn what_a_flush_wrote_of_a_block_is_written_again_with_the_block() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut direct = Direct::begin(file.as_file()).unwrap_or_else(|| Direct::new(false));
        let all: Vec<u8> = (0..=240).cycle().take(20_000).collect();
        for (number, byte) in all.iter().enumerate() {
            direct.place(1)[0] = *byte;
            direct.write(file.as_file()).unwrap();
            if number % 777 == 0 {
                direct.flush(file.as_file()).unwrap();
                assert!(direct.waiting < ALIGNMENT);
            }
        }
        direct.end(file.as_file()).unwrap();
        assert!(std::fs::read(file.path()).unwrap() == all);
    }
}
