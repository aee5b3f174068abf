//! Bytes of memory that all uploads and downloads of a node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Memory that is given out and comes back. Nobody ever waits for it: whoever gets none goes on more slowly, with what it has.
#[derive(Clone)]
pub(super) struct Budget(Arc<Shared>);

struct Shared {
    all: u64,
    left: AtomicU64,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(Shared {
            all: bytes,
            left: AtomicU64::new(bytes),
        }))
    }

    /// So many bytes, where they are left.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Held> {
        self.take_leaving(bytes, 0)
    }

    /// The same, but only as long as half of all memory stays: for what may be held for as long as somebody far away is slow.
    pub(super) fn try_take_spare(&self, bytes: u64) -> Option<Held> {
        self.take_leaving(bytes, self.0.all / 2)
    }

    fn take_leaving(&self, bytes: u64, rest: u64) -> Option<Held> {
        let less = |left: u64| left.checked_sub(bytes).filter(|left| *left >= rest);
        self.0.left.fetch_update(Relaxed, Relaxed, less).ok()?;
        Some(Held {
            budget: self.clone(),
            bytes,
        })
    }
}

/// Bytes that go back when this is dropped.
pub(super) struct Held {
    budget: Budget,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.left.fetch_add(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_given_out_than_there_is() {
        let budget = Budget::new(10);
        let six = budget.try_take(6).unwrap();
        assert!(budget.try_take(5).is_none());
        let four = budget.try_take(4).unwrap();
        drop(six);
        assert!(budget.try_take(7).is_none());
        drop(four);
        assert!(budget.try_take_spare(6).is_none());
        let five = budget.try_take_spare(5).unwrap();
        assert!(budget.try_take_spare(1).is_none());
        drop(five);
        assert!(budget.try_take(10).is_some());
    }
}
