//! Sizes and times as they are given.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;

use crate::config::Span;

/// The first day of the year 10000, which no time that is written down reaches.
pub(super) fn latest() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(24 * 2_932_897)
}

/// A number of bytes above 0, as people write it: `5GiB`, `1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amount(pub(super) u64);

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ByteSize>()?.as_u64() {
            0 => Err("nothing could be handed in: give a size above 0".to_owned()),
            bytes => Ok(Self(bytes)),
        }
    }
}

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// `never`: without an end.
    Never,
    /// For a time of a second or more.
    After(Duration),
}

impl FromStr for Term {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self::Never);
        }
        let time = text.parse::<Span>();
        let Span(time) =
            time.map_err(|error| format!("{error}: give a time like 12h or 7d, or `never`"))?;
        if time < Duration::from_secs(1) {
            return Err("give at least a second".to_owned());
        }
        Ok(Self::After(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, bytes) in [("5GiB", 5 << 30), ("5GB", 5_000_000_000), ("1", 1)] {
            assert_eq!(text.parse(), Ok(Amount(bytes)), "{text}");
        }
        assert_eq!("never".parse(), Ok(Term::Never));
        let week = Duration::from_hours(7 * 24);
        assert_eq!("7d".parse(), Ok(Term::After(week)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "0GiB", "-1", "5GiBB", "x", "NaN"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
        for text in ["", "0s", "0", "-1d", "soon", "7", "Never", "10ms"] {
            assert!(text.parse::<Term>().is_err(), "{text}");
        }
    }
}
