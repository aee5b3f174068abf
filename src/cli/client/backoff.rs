//! How long to wait before the next attempt, and when there has been enough of them.

use std::time::{Duration, Instant};

/// The longest wait after a first failure. Doubled with each that follows.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer than this, unless the server asks for it.
const LONGEST: Duration = Duration::from_secs(30);

/// Randomised exponential backoff that begins anew with every progress.
pub(in crate::cli) struct Backoff {
    patience: Duration,
    failures: u32,
    /// When the first failure was that no progress followed.
    since: Option<Instant>,
}

impl Backoff {
    /// Gives up after `patience` without progress. With none, the first failure is the last.
    pub(in crate::cli) fn new(patience: Duration) -> Self {
        Self {
            patience,
            failures: 0,
            since: None,
        }
    }

    /// Something more has been achieved.
    pub(in crate::cli) fn progress(&mut self) {
        self.failures = 0;
        self.since = None;
    }

    /// Something failed: how long to wait, at least as long as the server asked for. `None`: it is time to give up.
    pub(in crate::cli) fn after_failure(
        &mut self,
        now: Instant,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let left = self.patience.saturating_sub(now.duration_since(since));
        if left.is_zero() || asked.is_some_and(|asked| asked > left) {
            return None;
        }
        let longest = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures += 1;
        // Half of it is random, so that many clients of one server do not come back at the same moment.
        let wait = longest.mul_f64(0.5 + 0.5 * random());
        // What is left of the patience ends with an attempt.
        Some(wait.max(asked.unwrap_or_default()).min(left))
    }
}

/// A number from 0 to 1. Without randomness the longest wait is as good as any.
fn random() -> f64 {
    getrandom::u32().map_or(1.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn waits_grow_within_their_bounds() {
        let now = Instant::now();
        let mut backoff = Backoff::new(60 * MINUTE);
        let mut longest = FIRST;
        for _ in 0..100 {
            let wait = backoff.after_failure(now, None).unwrap();
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?}");
            longest = (longest * 2).min(LONGEST);
        }
        backoff.progress();
        assert!(backoff.after_failure(now, None).unwrap() <= FIRST);
    }

    #[test]
    fn patience_ends_and_progress_renews_it() {
        let began = Instant::now();
        let mut backoff = Backoff::new(MINUTE);
        assert!(backoff.after_failure(began, None).is_some());
        let late = began + Duration::from_millis(59_999);
        assert_eq!(
            backoff.after_failure(late, None),
            Some(Duration::from_millis(1))
        );
        assert_eq!(backoff.after_failure(began + MINUTE, None), None);
        backoff.progress();
        assert!(backoff.after_failure(began + MINUTE, None).is_some());
        assert_eq!(
            Backoff::new(Duration::ZERO).after_failure(began, None),
            None
        );
    }

    #[test]
    fn the_server_may_ask_for_more_but_not_for_too_much() {
        let now = Instant::now();
        let mut backoff = Backoff::new(MINUTE);
        let asked = Duration::from_secs(40);
        assert_eq!(backoff.after_failure(now, Some(asked)), Some(asked));
        assert_eq!(backoff.after_failure(now, Some(2 * MINUTE)), None);
    }
}
