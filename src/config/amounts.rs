//! Sizes and times as people write them.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};

/// A number of bytes: `5GiB`, `1000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A text that is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a size like 5GiB")]
pub struct SizeError;

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let size = text.parse::<ByteSize>().map_err(|_| SizeError)?;
        Ok(Self(size.as_u64()))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size like \"5GiB\"")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes)
                    .map(Size)
                    .map_err(|_| E::custom(SizeError))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A number of bytes above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub u64);

/// A text that is no [`Amount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a size like 5GiB, above 0")]
pub struct AmountError;

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        match text.parse() {
            Ok(Size(bytes)) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(AmountError),
        }
    }
}

/// A length of time: `30s`, `5m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A text that is no length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a time like 30s, 12h or 7d")]
pub struct SpanError;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let time = humantime::parse_duration(text);
        time.map(Self).map_err(|_| SpanError)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// For how long something is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// `never`: it does not end.
    Never,
    /// For a time of a second or more.
    After(Duration),
}

/// A text that is no [`Term`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a time like 12h or 7d, at least 1s, or `never`")]
pub struct TermError;

/// An end after the year 9999, which no record can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is later than the year 9999: give `never`")]
pub struct TooFarError;

impl FromStr for Term {
    type Err = TermError;

    fn from_str(text: &str) -> Result<Self, TermError> {
        if text == "never" {
            return Ok(Self::Never);
        }
        match text.parse() {
            Ok(Span(time)) if time >= Duration::from_secs(1) => Ok(Self::After(time)),
            _ => Err(TermError),
        }
    }
}

impl Term {
    /// When it ends, where it does.
    pub fn end(self, now: SystemTime) -> Result<Option<SystemTime>, TooFarError> {
        let Self::After(time) = self else {
            return Ok(None);
        };
        // The first day of the year 10000.
        let latest = UNIX_EPOCH + Duration::from_hours(24 * 2_932_897);
        let end = now.checked_add(time).filter(|end| *end < latest);
        end.map(Some).ok_or(TooFarError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, bytes) in [("5GiB", 5 << 30), ("5GB", 5_000_000_000), ("1", 1)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
            assert_eq!(text.parse(), Ok(Amount(bytes)), "{text}");
        }
        assert_eq!("0".parse(), Ok(Size(0)));
        assert_eq!("never".parse(), Ok(Term::Never));
        let week = Duration::from_hours(7 * 24);
        assert_eq!("7d".parse(), Ok(Span(week)));
        assert_eq!("7d".parse(), Ok(Term::After(week)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "-1", "-1GiB", "5GiBB", "XB", "x", "NaN"] {
            assert_eq!(text.parse::<Size>(), Err(SizeError), "{text}");
            assert_eq!(text.parse::<Amount>(), Err(AmountError), "{text}");
        }
        for text in ["0", "0GiB"] {
            assert_eq!(text.parse::<Amount>(), Err(AmountError), "{text}");
        }
        for text in ["", "-1d", "soon", "7", "Never"] {
            assert_eq!(text.parse::<Span>(), Err(SpanError), "{text}");
            assert_eq!(text.parse::<Term>(), Err(TermError), "{text}");
        }
        for text in ["0s", "0", "10ms"] {
            assert_eq!(text.parse::<Term>(), Err(TermError), "{text}");
        }
    }

    #[test]
    fn an_end_can_be_written_down() {
        let end = |text: &str| text.parse::<Term>().unwrap().end(UNIX_EPOCH);
        assert_eq!(end("never"), Ok(None));
        assert_eq!(end("1s"), Ok(Some(UNIX_EPOCH + Duration::from_secs(1))));
        assert_eq!(end("9000years"), Err(TooFarError));
    }
}
