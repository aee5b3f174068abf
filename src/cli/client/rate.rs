//! How fast bodies go out at most, all that one command sends together.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So much of a second's worth goes out at once, so that little is enough to be smooth.
const PIECES_A_SECOND: u64 = 16;
/// The smallest piece, in bytes: smaller ones would be mostly TLS records.
const SMALLEST: u64 = 512;

/// A limit in bytes a second. What was not used is not saved up: after a pause it goes on at the same speed.
pub(in crate::cli) struct Rate {
    per_second: u64,
    /// When the next bytes may go out.
    free: Mutex<Instant>,
}

impl Rate {
    /// At most so many bytes a second, and at least one.
    pub(in crate::cli) fn per_second(bytes: u64) -> Self {
        Self {
            per_second: bytes.max(1),
            free: Mutex::new(Instant::now()),
        }
    }

    /// The most that goes out at once, in bytes.
    pub(super) fn piece(&self) -> usize {
        let piece = (self.per_second / PIECES_A_SECOND).max(SMALLEST);
        usize::try_from(piece).unwrap_or(usize::MAX)
    }

    /// Takes the next `bytes`: from when on they may go out. Whoever comes later waits for them, sent or not.
    pub(super) fn take(&self, bytes: usize, now: Instant) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (*free).max(now);
        let nanoseconds = bytes as u128 * 1_000_000_000 / u128::from(self.per_second);
        // A piece is a fraction of a second, or at the lowest rate some minutes.
        let takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        *free = from.checked_add(takes).unwrap_or(from);
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_stay_below_the_rate_whatever_comes_when() {
        let rate = Rate::per_second(1000);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate.take(500, start), start);
        assert_eq!(rate.take(500, start), start + Duration::from_millis(500));
        assert_eq!(rate.take(2000, start), at(1));
        assert_eq!(rate.take(1, start), at(3));
        // A pause saves nothing up.
        assert_eq!(rate.take(1000, at(60)), at(60));
        assert_eq!(rate.take(1000, at(60)), at(61));
    }

    #[test]
    fn pieces_are_small_and_not_too_small() {
        assert_eq!(Rate::per_second(16 << 20).piece(), 1 << 20);
        assert_eq!(Rate::per_second(1).piece(), 512);
        assert_eq!(Rate::per_second(0).piece(), 512);
    }
}
