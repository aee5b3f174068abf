//! Where plaintext waits until it is sealed.

use zeroize::Zeroize;

use super::{CHUNK_SIZE, PayloadSealer, SEALED_CHUNK_SIZE, TAG_SIZE};
use crate::memory::Block;
use crate::seal::SealError;

/// Collects plaintext in the places where its chunks are sealed, so that it is copied once and never moved.
///
/// It holds up to a number of chunks and starts small: a slow or short upload holds little. A full buffer is not
/// sealed before more plaintext is known to follow, because the last chunk is sealed in another way than the others
/// and must not be empty. Plaintext that was not sealed in place is erased when the buffer is dropped or grows.
pub struct ChunkBuffer {
    bytes: Block,
    chunks: usize,
    filled: usize,
    /// Whether plaintext is left from what was sealed to another place.
    stained: bool,
}

/// What a buffer holds at first: enough for a small upload, little for a slow one.
const FIRST_CAPACITY: usize = 8 * 1024;

impl ChunkBuffer {
    /// An empty buffer for up to `chunks` chunks, at least one. Allocates nothing yet.
    pub fn new(chunks: usize) -> Self {
        Self {
            bytes: Block::default(),
            chunks: chunks.max(1),
            filled: 0,
            stained: false,
        }
    }

    /// Bytes of plaintext held.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether no plaintext is held.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Whether every chunk is full.
    pub fn is_full(&self) -> bool {
        self.filled == self.chunks * CHUNK_SIZE
    }

    /// Copies as much of `data` as fits, and moves `data` past it.
    pub fn fill(&mut self, data: &mut &[u8]) {
        while !data.is_empty() && !self.is_full() {
            let wanted = data.len();
            let spare = self.spare(wanted);
            let size = spare.len().min(wanted);
            spare[..size].copy_from_slice(&data[..size]);
            self.advance(size);
            *data = &data[size..];
        }
    }

    /// Where plaintext may be written to next, empty only in a full buffer. `wanted` says how much may come, so that
    /// the buffer grows no further than it must. Follow it with [`ChunkBuffer::advance`].
    pub fn spare(&mut self, wanted: usize) -> &mut [u8] {
        if self.is_full() {
            return &mut [];
        }
        let start = place(self.filled);
        self.reserve(start, wanted);
        // The room for the tag stays free: the plaintext may end here, in a chunk that is the last one.
        let end = (start - start % SEALED_CHUNK_SIZE + CHUNK_SIZE).min(self.bytes.len() - TAG_SIZE);
        &mut self.bytes[start..end]
    }

    /// Counts `size` bytes that were written to [`ChunkBuffer::spare`] as held.
    ///
    /// # Panics
    /// Where that is more than there was room for.
    pub fn advance(&mut self, size: usize) {
        assert!(
            self.filled % CHUNK_SIZE + size <= CHUNK_SIZE,
            "more than there was room for in the chunk"
        );
        self.filled += size;
    }

    /// The plaintext held, in order, a chunk at a time.
    pub fn plaintext(&self) -> impl Iterator<Item = &[u8]> {
        let full = self.filled / CHUNK_SIZE;
        let rest = self.filled % CHUNK_SIZE;
        (0..full)
            .map(|_| CHUNK_SIZE)
            .chain((rest > 0).then_some(rest))
            .enumerate()
            .map(|(chunk, size)| {
                let start = chunk * SEALED_CHUNK_SIZE;
                &self.bytes[start..start + size]
            })
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(in crate::seal) fn room(&self) -> usize {
        self.bytes.len()
    }

    /// The whole chunks of what is held, in order.
    pub fn whole_chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.plaintext().filter(|chunk| chunk.len() == CHUNK_SIZE)
    }

    /// Whether a whole chunk is held, and perhaps more.
    pub fn has_whole_chunk(&self) -> bool {
        self.filled >= CHUNK_SIZE
    }

    /// Moves what follows the last whole chunk to an empty buffer.
    ///
    /// # Panics
    /// Where the other buffer is not empty.
    pub fn move_rest(&mut self, next: &mut Self) {
        assert!(next.is_empty(), "the rest comes first in the next buffer");
        let start = place(self.filled - self.filled % CHUNK_SIZE);
        let rest = &mut self.bytes[start..place(self.filled)];
        next.fill(&mut &*rest);
        rest.zeroize();
        self.filled -= next.filled;
    }

    /// Seals whole chunks, none of which is the last one, and gives the sealed bytes. The buffer is empty then.
    ///
    /// # Panics
    /// Where the last chunk held is not whole: a short chunk can only be the last.
    pub fn seal(&mut self, sealer: &mut PayloadSealer) -> Result<&[u8], SealError> {
        let end = self.sealed_len();
        for chunk in self.bytes[..end].as_chunks_mut().0 {
            sealer.seal_chunk(chunk)?;
        }
        self.filled = 0;
        Ok(&self.bytes[..end])
    }

    /// Bytes that the chunks held take when they are sealed.
    ///
    /// # Panics
    /// As [`seal`](Self::seal).
    pub fn sealed_len(&self) -> usize {
        assert!(
            self.filled.is_multiple_of(CHUNK_SIZE),
            "only the last chunk may be short"
        );
        place(self.filled)
    }

    /// Seals whole chunks as [`seal`](Self::seal) does, to another place of [`sealed_len`](Self::sealed_len) bytes.
    ///
    /// # Panics
    /// Where the place has another size, and as `seal`.
    pub fn seal_to(
        &mut self,
        sealer: &mut PayloadSealer,
        place: &mut [u8],
    ) -> Result<(), SealError> {
        assert_eq!(place.len(), self.sealed_len(), "it has to fit");
        let texts = self.bytes.as_chunks::<SEALED_CHUNK_SIZE>().0;
        for (text, chunk) in texts.iter().zip(place.as_chunks_mut().0) {
            let text = text.first_chunk().expect("it is as long without its tag");
            sealer.seal_chunk_to(text, chunk)?;
        }
        self.filled = 0;
        self.stained = true;
        Ok(())
    }

    /// Seals what is held as the end of the payload and gives the sealed bytes. The buffer is empty then.
    pub fn seal_last(&mut self, mut sealer: PayloadSealer) -> Result<&[u8], SealError> {
        // A full chunk at the end is the last chunk: there is no empty one behind it.
        let before = self.filled.saturating_sub(1) / CHUNK_SIZE;
        let last = before * SEALED_CHUNK_SIZE;
        let end = last + (self.filled - before * CHUNK_SIZE) + TAG_SIZE;
        self.reserve(last, end - last);
        let (full, last) = self.bytes[..end].split_at_mut(last);
        for chunk in full.as_chunks_mut().0 {
            sealer.seal_chunk(chunk)?;
        }
        sealer.seal_last(last);
        self.filled = 0;
        Ok(&self.bytes[..end])
    }

    /// Makes room for `wanted` bytes of plaintext from `start` on, with their tags, in steps, up to the limit.
    fn reserve(&mut self, start: usize, wanted: usize) {
        let limit = self.chunks * SEALED_CHUNK_SIZE;
        // With room for the tag of the chunk that is being filled.
        let needed = (start + 1 + TAG_SIZE).min(limit);
        let chunks = (start % SEALED_CHUNK_SIZE + wanted) / CHUNK_SIZE + 1;
        let aim = (start + wanted + chunks * TAG_SIZE).clamp(needed, limit);
        if self.bytes.len() >= needed {
            return;
        }
        let size = aim.max(self.bytes.len() * 4).max(FIRST_CAPACITY).min(limit);
        // A slow upload never needs more than the chunk that it is at.
        let size = if aim > SEALED_CHUNK_SIZE {
            size
        } else {
            size.min(SEALED_CHUNK_SIZE)
        };
        let mut grown = Block::zeroed(size);
        grown[..self.bytes.len()].copy_from_slice(&self.bytes);
        self.bytes.zeroize();
        self.bytes = grown;
    }
}

impl Drop for ChunkBuffer {
    fn drop(&mut self) {
        if self.filled > 0 || self.stained {
            self.bytes.zeroize();
        }
    }
}

/// Where the byte of plaintext with this number stands among the sealed chunks.
fn place(plaintext: usize) -> usize {
    plaintext / CHUNK_SIZE * SEALED_CHUNK_SIZE + plaintext % CHUNK_SIZE
}
