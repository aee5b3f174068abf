//! Whether an engine answers. One that has not for a while is asked only now and then, so that nobody waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often an engine that does not answer is asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// As many requests must have failed one after the other.
const FAILURES: u32 = 5;

/// Whether an engine answers, as its requests find it.
#[derive(Debug)]
pub(super) struct Health {
    rest_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    answered: Option<Instant>,
    /// The first failure after the last answer.
    failing_since: Option<Instant>,
    failures: u32,
    asked: Option<Instant>,
}

impl Health {
    /// `rest_after`: how long requests fail before most are not even sent.
    pub(super) fn new(rest_after: Duration) -> Self {
        Self {
            rest_after,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a request is to be sent now.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        let long = (state.failing_since)
            .is_some_and(|since| now.saturating_duration_since(since) >= self.rest_after);
        if !long || state.failures < FAILURES {
            return true;
        }
        let due =
            (state.asked).is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
        if due {
            state.asked = Some(now);
        }
        due
    }

    /// The engine answered, whatever it said.
    pub(super) fn answered(&self, now: Instant) {
        let mut state = self.state();
        state.answered = Some(now);
        state.failing_since = None;
        state.failures = 0;
    }

    /// It did not, or said that it cannot at the moment.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failing_since.get_or_insert(now);
        state.failures = state.failures.saturating_add(1);
    }

    /// Whether it answered so lately, and has not failed since.
    pub(super) fn answers(&self, now: Instant, lately: Duration) -> bool {
        let state = self.state();
        let answered = state
            .answered
            .is_some_and(|at| now.saturating_duration_since(at) < lately);
        answered && state.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_fails_for_long_is_asked_once_a_second() {
        let second = Duration::from_secs(1);
        let health = Health::new(10 * second);
        let start = Instant::now();
        for failure in 0..8 {
            assert!(health.admits(start + failure * second));
            health.failed(start + failure * second);
        }
        assert!(health.admits(start + 9 * second), "not for long yet");
        let late = start + 10 * second;
        assert!(health.admits(late) && !health.admits(late));
        assert!(!health.admits(late + second / 2));
        assert!(health.admits(late + second) && !health.admits(late + second));
        health.answered(late + second);
        assert!(health.admits(late + second) && health.admits(late + second));
    }

    #[test]
    fn few_failures_are_no_outage() {
        let health = Health::new(Duration::from_secs(10));
        let start = Instant::now();
        for _ in 0..FAILURES - 1 {
            health.failed(start);
        }
        let late = start + Duration::from_mins(10);
        assert!(health.admits(late) && health.admits(late));
    }

    #[test]
    fn an_answer_counts_for_a_while_and_until_something_fails() {
        let health = Health::new(Duration::from_secs(10));
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert!(!health.answers(start, second));
        health.answered(start);
        assert!(health.answers(start + second / 2, second));
        assert!(!health.answers(start + second, second));
        health.failed(start);
        assert!(!health.answers(start, second));
    }
}
