//! How values stand in the JSON of records.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The last second of the year 9999, as RFC 3339 can write it.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The nearest time that records can hold, which have milliseconds and the years 1970 to 9999.
pub(super) fn recorded(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let millis = since.min(LAST).as_millis();
    UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The last time that records can hold.
pub(super) fn last() -> SystemTime {
    UNIX_EPOCH + LAST
}

/// Which form a record has. Only the one form is read: a later one may limit what this version would not know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version1;

impl Serialize for Version1 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Version1 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match u64::deserialize(from)? {
            1 => Ok(Self),
            _ => Err(de::Error::custom("a record of another version")),
        }
    }
}

/// A time in the form of RFC 3339, UTC, to the millisecond.
pub(super) mod time {
    use super::{Deserialize, Deserializer, Serializer, SystemTime, de, recorded};

    pub(in crate::grant) fn serialize<S: Serializer>(
        time: &SystemTime,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_rfc3339_millis(recorded(*time)))
    }

    pub(in crate::grant) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        let time = humantime::parse_rfc3339(&text);
        time.map_err(|_| de::Error::custom("not an RFC 3339 time in UTC"))
    }
}

/// The same, where there may be none.
pub(super) mod optional_time {
    use super::{Deserialize, Deserializer, Serializer, SystemTime, time};

    #[expect(clippy::ref_option, reason = "serde hands it over like this")]
    pub(in crate::grant) fn serialize<S: Serializer>(
        value: &Option<SystemTime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => time::serialize(value, to),
            None => to.serialize_none(),
        }
    }

    pub(in crate::grant) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        #[derive(Deserialize)]
        struct Time(#[serde(with = "time")] SystemTime);
        Ok(Option::<Time>::deserialize(from)?.map(|Time(time)| time))
    }
}

/// A length of time in whole seconds, where there may be none.
pub(super) mod optional_seconds {
    use super::{Deserialize, Deserializer, Duration, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands it over like this")]
    pub(in crate::grant) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.map(|value| value.as_secs()).serialize(to)
    }

    pub(in crate::grant) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(from)?.map(Duration::from_secs))
    }
}

/// A SHA-256 as 64 hexadecimal digits.
pub(super) mod hash {
    use super::{Deserialize, Deserializer, Serializer, de};
    use crate::grant::secret::Hash;
    use data_encoding::HEXLOWER;

    pub(in crate::grant) fn serialize<S: Serializer>(
        hash: &Hash,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&HEXLOWER.encode(hash))
    }

    pub(in crate::grant) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Hash, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = HEXLOWER.decode(text.as_bytes()).ok();
        let hash = bytes.and_then(|bytes| bytes.try_into().ok());
        hash.ok_or_else(|| de::Error::custom("not a SHA-256 in hexadecimal digits"))
    }
}
