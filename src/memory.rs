//! Memory that goes back to the system as soon as it is let go, and memory that is erased then.
//!
//! glibc maps an allocation of 128 KiB or more by itself, but only until the first one is freed: from then on it takes all that are no larger
//! from its arenas, which keep what was freed. Buffers of uploads that became slow would stay resident there.

use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;
use zeroize::Zeroize;

/// What is smaller is left to the allocator: it is the rule, and belongs to what is short.
const MAPPED_FROM: usize = 32 * 1024;

/// Bytes, all zero at first. Large ones are mapped: the system gives them page by page as they are written, and has all of them back when
/// this is dropped.
pub(crate) struct Block(Source);

enum Source {
    Mapped(MmapMut),
    Allocated(Vec<u8>),
}

impl Block {
    pub(crate) fn zeroed(size: usize) -> Self {
        let mapped = (size >= MAPPED_FROM).then(|| MmapMut::map_anon(size));
        Self(match mapped {
            Some(Ok(mapped)) => Source::Mapped(mapped),
            // Also where a process may have no more mappings.
            _ => Source::Allocated(vec![0; size]),
        })
    }
}

impl Default for Block {
    fn default() -> Self {
        Self(Source::Allocated(Vec::new()))
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Mapped(bytes) => bytes,
            Source::Allocated(bytes) => bytes,
        }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Source::Mapped(bytes) => bytes,
            Source::Allocated(bytes) => bytes,
        }
    }
}

/// Bytes that are erased when this is dropped: as a slice, which takes a tenth of what `Zeroizing<Vec<u8>>` does, byte by byte.
///
/// Where it grows, what it held before stays behind.
#[derive(Default)]
pub(crate) struct Erased(pub(crate) Vec<u8>);

impl AsRef<[u8]> for Erased {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_as_long_as_asked_for_and_zero() {
        for size in [0, 1, MAPPED_FROM - 1, MAPPED_FROM, 5 * MAPPED_FROM + 1] {
            for _ in 0..3 {
                let mut block = Block::zeroed(size);
                assert_eq!(block.len(), size);
                assert!(block.iter().all(|byte| *byte == 0));
                block.fill(1);
                assert!(block.iter().all(|byte| *byte == 1));
            }
        }
        assert!(Block::default().is_empty());
    }

    #[test]
    fn what_is_large_comes_from_the_system() {
        let mapped = |size| matches!(Block::zeroed(size).0, Source::Mapped(_));
        assert!(mapped(MAPPED_FROM) && !mapped(MAPPED_FROM - 1));
    }
}
