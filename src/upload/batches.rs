//! Opened plaintext on its way out.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use crate::memory::Erased;

/// Buffers of one reader. Each comes back when the last piece of what it held has gone out, and is used again; in the end all are
/// erased.
#[derive(Clone, Default)]
pub(super) struct Batches(Arc<Mutex<Vec<Erased>>>);

/// One of them, while it is away.
pub(super) struct Batch {
    bytes: Erased,
    /// So much of it is asked for.
    size: usize,
    home: Weak<Mutex<Vec<Erased>>>,
}

impl Batches {
    /// A buffer of this size. What is in it is whatever was.
    pub(super) fn take(&self, size: usize) -> Batch {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = spare.unwrap_or_default();
        if bytes.0.len() < size {
            // It is not grown: what it held would stay behind.
            bytes = Erased(vec![0; size]);
        }
        let home = Arc::downgrade(&self.0);
        Batch { bytes, size, home }
    }
}

impl Batch {
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes.0[..self.size]
    }

    /// The same, to be sent in pieces.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Batch {
    fn as_ref(&self) -> &[u8] {
        &self.bytes.0[..self.size]
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            let bytes = std::mem::take(&mut self.bytes);
            let mut home = home.lock().unwrap_or_else(PoisonError::into_inner);
            home.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_used_again_when_its_last_piece_is_gone() {
        let batches = Batches::default();
        let mut first = batches.take(100);
        first.bytes_mut().fill(7);
        let at = first.as_ref().as_ptr();
        let whole = first.freeze();
        let piece = whole.slice(10..20);
        drop(whole);
        assert_ne!(batches.take(100).as_ref().as_ptr(), at);
        assert_eq!(*piece, [7; 10]);
        drop(piece);

        let again = batches.take(60);
        assert_eq!(again.as_ref().len(), 60);
        assert_eq!(again.as_ref().as_ptr(), at);
        drop(again);
        // What is too small is let go, not grown.
        assert_eq!(batches.take(101).as_ref().len(), 101);
    }

    #[test]
    fn a_batch_outlives_its_reader() {
        let batches = Batches::default();
        let mut batch = batches.take(3);
        batch.bytes_mut().fill(7);
        let piece = batch.freeze();
        drop(batches);
        assert_eq!(*piece, [7; 3]);
    }
}
