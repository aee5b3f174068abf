//! A budget of bytes in a second, for all threads together.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::progress::Bar;
use crate::upload::Pace;

/// Reading that keeps to a rate, and moves a bar on.
pub(super) struct Rate {
    /// Bytes in a second.
    limit: Option<u64>,
    /// Until when what may be read is spoken for.
    taken: Mutex<Instant>,
    bar: Bar,
}

impl Rate {
    pub(super) fn new(limit: Option<u64>, bar: Bar) -> Self {
        Self {
            limit,
            taken: Mutex::new(Instant::now()),
            bar,
        }
    }

    pub(super) fn clear(&self) {
        self.bar.clear();
    }

    /// From when on so much more may have been read. What was not read in time is not made up for.
    fn reserve(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let limit = self.limit?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is no more exact than that"
        )]
        let time = Duration::from_secs_f64(bytes as f64 / limit as f64);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = (*taken).max(now) + time;
        Some(*taken)
    }
}

impl Pace for Rate {
    fn wait(&self, bytes: usize) {
        let now = Instant::now();
        if let Some(until) = self.reserve(bytes, now) {
            thread::sleep(until - now);
        }
    }

    fn read(&self, bytes: usize) {
        self.bar.advance(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::Bars;

    #[test]
    fn a_rate_is_kept_by_all_together_and_an_idle_time_is_lost() {
        let rate = Rate::new(Some(1000), Bars::new().add("x", None));
        let start = Instant::now() + Duration::from_secs(1);
        let second = Duration::from_secs(1);
        for turn in 1..=5 {
            assert_eq!(rate.reserve(1000, start), Some(start + second * turn));
        }
        let later = start + second * 100;
        assert_eq!(rate.reserve(500, later), Some(later + second / 2));
        let free = Rate::new(None, Bars::new().add("x", None));
        assert_eq!(free.reserve(usize::MAX, start), None);
    }
}
