//! What has been announced and is still on its way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The bytes of all bodies that were admitted and have not arrived yet.
#[derive(Clone, Default)]
pub(in crate::http) struct Arrivals(Arc<AtomicU64>);

impl Arrivals {
    /// A body, of which nothing is counted yet.
    pub(in crate::http) fn body(&self) -> Arriving {
        Arriving {
            all: self.clone(),
            left: AtomicU64::new(0),
        }
    }
}

/// The share that one body has in it. Dropped, it is given back.
pub(in crate::http) struct Arriving {
    all: Arrivals,
    left: AtomicU64,
}

impl Arriving {
    /// Counts what is announced. Gives what all others still bring.
    pub(in crate::http) fn announce(&self, bytes: u64) -> u64 {
        self.left.fetch_add(bytes, Relaxed);
        self.all.0.fetch_add(bytes, Relaxed)
    }

    /// So much of it has arrived, or is not going to.
    pub(in crate::http) fn arrived(&self, bytes: u64) {
        let left = self.left.load(Relaxed);
        let bytes = bytes.min(left);
        self.left.store(left - bytes, Relaxed);
        self.all.0.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.arrived(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrived_and_what_will_not_is_counted_no_more() {
        let all = Arrivals::default();
        let (one, other) = (all.body(), all.body());
        assert_eq!(one.announce(100), 0);
        assert_eq!(other.announce(50), 100);
        one.arrived(30);
        assert_eq!(all.0.load(Relaxed), 120);
        other.arrived(51);
        assert_eq!(all.0.load(Relaxed), 70);
        drop(one);
        assert_eq!(all.0.load(Relaxed), 0);
    }
}
