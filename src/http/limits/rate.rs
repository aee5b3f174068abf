//! How often.

use std::fmt;
use std::hash::Hash;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::recent::Recent;

/// Keys that are remembered. Who has more addresses than this is not held back by their rate.
const MOST_KEYS: usize = 10_000;
/// The most that can be allowed in a time, and the longest time.
const MAX_NUMBER: u32 = 1_000_000;
const MAX_TIME: Duration = Duration::from_hours(366 * 24);

/// So many in so long a time, like `60/1m`: all of them at once if need be, and then as they are earned back, evenly over the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    number: u32,
    time: Duration,
}

/// A text that is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a rate: write how many in how long a time, like 60/1m")]
pub struct RateError;

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (number, time) = text.split_once('/').ok_or(RateError)?;
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RateError);
        }
        let number = number.parse().map_err(|_| RateError)?;
        let time = humantime::parse_duration(time).map_err(|_| RateError)?;
        let rate = Self { number, time };
        let sound = (1..=MAX_NUMBER).contains(&number)
            && time <= MAX_TIME
            && rate.interval() > Duration::ZERO;
        sound.then_some(rate).ok_or(RateError)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = humantime::format_duration(self.time);
        write!(f, "{}/{}", self.number, time.to_string().replace(' ', ""))
    }
}

impl Rate {
    /// How long it takes to earn one back.
    fn interval(self) -> Duration {
        self.time / self.number
    }
}

/// A token bucket for each key, kept as the time at which it is full again (GCRA): nothing has to be refilled.
pub(super) struct Rates<K> {
    rate: Rate,
    full_at: Mutex<Recent<K, Option<Instant>>>,
}

impl<K: Hash + Eq + Clone> Rates<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: Mutex::new(Recent::new(MOST_KEYS)),
        }
    }

    /// Takes one, or says how long it takes until there is one again. What is refused costs nothing.
    pub(super) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = all.touch(key);
        let taken = full_at.unwrap_or(now).max(now) + self.rate.interval();
        let over = taken.duration_since(now).saturating_sub(self.rate.time);
        if over > Duration::ZERO {
            return Err(over);
        }
        *full_at = Some(taken);
        Ok(())
    }

    /// Gives back one that was taken.
    pub(super) fn give_back(&self, key: K) {
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = all.touch(key);
        *full_at = full_at.and_then(|full_at| full_at.checked_sub(self.rate.interval()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(rate: &str) -> Rates<&'static str> {
        Rates::new(rate.parse().unwrap())
    }

    #[test]
    fn so_many_at_once_and_then_one_by_one() {
        let (rates, begin) = (rates("3/1m"), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        for _ in 0..3 {
            assert_eq!(rates.take("a", at(0)), Ok(()));
        }
        assert_eq!(rates.take("a", at(0)), Err(Duration::from_secs(20)));
        assert_eq!(rates.take("a", at(15)), Err(Duration::from_secs(5)));
        // Others have their own.
        assert_eq!(rates.take("b", at(15)), Ok(()));
        assert_eq!(rates.take("a", at(20)), Ok(()));
        assert_eq!(rates.take("a", at(20)), Err(Duration::from_secs(20)));
        // However long nothing came: no more than three at once.
        for _ in 0..3 {
            assert_eq!(rates.take("a", at(10_000)), Ok(()));
        }
        assert!(rates.take("a", at(10_000)).is_err());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (rates, now) = (rates("2/1m"), Instant::now());
        for _ in 0..5 {
            assert_eq!(rates.take("a", now), Ok(()));
            rates.give_back("a");
        }
        assert_eq!(rates.take("a", now), Ok(()));
        assert_eq!(rates.take("a", now), Ok(()));
        assert!(rates.take("a", now).is_err());
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        let bad = [
            "",
            "60",
            "/",
            "60/",
            "/1m",
            "0/1m",
            "-1/1m",
            "+1/1m",
            " 1/1m",
            "1.5/1m",
            "1/0s",
            "1/1",
            "1/1m/1m",
            "1000001/1m",
            "4294967297/1m",
            "1/-1m",
            "1000/1ns",
            "1/10years",
            "x/1m",
        ];
        for text in bad {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text}");
        }
        for text in ["60/1m", "1/1s", "1000000/366d", "5/100ms"] {
            assert!(text.parse::<Rate>().is_ok(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_rate_or_none(text in ".{0,20}") {
            let _ = text.parse::<Rate>();
        }

        #[test]
        fn a_rate_is_read_as_it_is_written(number in 1..=MAX_NUMBER, seconds in 1..10_000_000_u64) {
            let rate = Rate { number, time: Duration::from_secs(seconds) };
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        /// In any stretch of time there are never more than the rate has at once and earns in it.
        #[test]
        fn never_more_than_the_rate(
            number in 1..20_u32,
            pauses in proptest::collection::vec(0..5_000_u64, 1..200),
        ) {
            let time = Duration::from_secs(10);
            let rates = Rates::new(Rate { number, time });
            let begin = Instant::now();
            let (mut now, mut taken) = (begin, Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause);
                if rates.take("a", now).is_ok() {
                    taken.push(now);
                }
            }
            for (index, first) in taken.iter().enumerate() {
                for (count, last) in (1_u32..).zip(&taken[index..]) {
                    let earned = (*last - *first).as_nanos() / (time / number).as_nanos();
                    prop_assert!(u128::from(count) <= u128::from(number) + earned);
                }
            }
        }
    }
}
