//! Upload ids, which sort by time and cannot be guessed (DESIGN.md section 3.2), and the days that name folders.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::NameError;

/// Names an upload: 48 bits of Unix milliseconds, big-endian, then 112 random bits.
///
/// Written as 32 characters of lowercase base32hex (RFC 4648 section 7) without padding, whose alphabet keeps the
/// order of the bytes: ids, their texts and their times all sort alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId([u8; 20]);

const TIME_BYTES: usize = 6;
const TEXT_LEN: usize = 32;

/// The last millisecond of the year 9999. A later day would need a wider name and sort before the earlier ones.
const MAX_MILLIS: u64 = 253_402_300_799_999;
const MILLIS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

impl UploadId {
    /// Makes a new id for an upload that begins at `now`; a time outside the years 1970 to 9999 counts as the nearest
    /// one inside.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give: an id that can be guessed must not exist.
    pub fn generate(now: SystemTime) -> Self {
        let mut id = Self::of_millis(millis_of(now, 0));
        getrandom::fill(&mut id.0[TIME_BYTES..]).expect("the operating system has randomness");
        id
    }

    /// What sorts right before the ids of all uploads that began at `time` or later. No upload has it.
    pub(in crate::store) fn before_all_since(time: SystemTime) -> Self {
        // An id's time is in whole milliseconds: what began in the one that `time` is in began before it.
        Self::of_millis(millis_of(time, 999_999))
    }

    fn of_millis(millis: u64) -> Self {
        let mut bytes = [0; 20];
        bytes[..TIME_BYTES].copy_from_slice(&millis.to_be_bytes()[8 - TIME_BYTES..]);
        Self(bytes)
    }

    /// When the upload began, to the millisecond.
    pub fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.millis())
    }

    /// The UTC day on which the upload began.
    pub fn day(&self) -> Day {
        Day(self.millis() / MILLIS_PER_DAY)
    }

    fn millis(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[8 - TIME_BYTES..].copy_from_slice(&self.0[..TIME_BYTES]);
        u64::from_be_bytes(bytes)
    }
}

/// Unix milliseconds, whole with so many nanoseconds more, as near as ids have them.
fn millis_of(time: SystemTime, nanos: u64) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let since_epoch = since_epoch.saturating_add(Duration::from_nanos(nanos));
    u64::try_from(since_epoch.as_millis())
        .unwrap_or(MAX_MILLIS)
        .min(MAX_MILLIS)
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The DNSSEC variant of RFC 5155 is base32hex in lowercase without padding.
        f.pad(&BASE32_DNSSEC.encode(&self.0))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UploadId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // The decoder takes uppercase too, which would give one upload several names.
        if text.len() != TEXT_LEN || text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(NameError::Id);
        }
        let bytes = BASE32_DNSSEC
            .decode(text.as_bytes())
            .map_err(|_| NameError::Id)?;
        let id = Self(bytes.try_into().map_err(|_| NameError::Id)?);
        if id.millis() > MAX_MILLIS {
            Err(NameError::Id)
        } else {
            Ok(id)
        }
    }
}

impl Serialize for UploadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UploadId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A UTC day, written like `2026-11-23`: the folder that an upload of that day is in. Days and their texts sort alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u64); // whole days since 1970-01-01; at most the last day of 9999

impl Day {
    /// The day that a time is in; one outside the years 1970 to 9999 counts as the nearest one inside.
    pub(in crate::store) fn of(time: SystemTime) -> Self {
        Self(millis_of(time, 0) / MILLIS_PER_DAY)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let midnight = UNIX_EPOCH + Duration::from_millis(self.0 * MILLIS_PER_DAY);
        let timestamp = humantime::format_rfc3339_seconds(midnight).to_string();
        f.pad(&timestamp[.."YYYY-MM-DD".len()])
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Day {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() != "YYYY-MM-DD".len() {
            return Err(NameError::Day);
        }
        let midnight =
            humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).map_err(|_| NameError::Day)?;
        let since_epoch = midnight
            .duration_since(UNIX_EPOCH)
            .map_err(|_| NameError::Day)?;
        let day = Self(since_epoch.as_secs() / (MILLIS_PER_DAY / 1000));
        // Whatever the parser forgives (a 31st of April, say) does not come out as it went in.
        if day.to_string() == text {
            Ok(day)
        } else {
            Err(NameError::Day)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn an_id_keeps_its_time() {
        // 2026-11-23T13:39:00.123Z
        let id = UploadId::generate(at(1_795_441_140_123));
        assert_eq!(id.time(), at(1_795_441_140_123));
        assert_eq!(id.day().to_string(), "2026-11-23");
        assert_eq!(id.to_string().len(), TEXT_LEN);
        assert_eq!(format!("{id:?}"), id.to_string());
        assert_ne!(id, UploadId::generate(at(1_795_441_140_123)));
    }

    #[test]
    fn times_out_of_range_count_as_the_nearest_inside() {
        assert_eq!(
            UploadId::generate(UNIX_EPOCH - Duration::from_secs(1)).time(),
            UNIX_EPOCH
        );
        let last = UploadId::generate(at(MAX_MILLIS + 1));
        assert_eq!(last.time(), at(MAX_MILLIS));
        assert_eq!(last.day().to_string(), "9999-12-31");
        assert_eq!(last.to_string().parse(), Ok(last));
    }

    #[test]
    fn ids_are_found_by_when_they_began() {
        let bound = UploadId::before_all_since(at(5));
        for (millis, after) in [(4, false), (5, true), (6, true), (MAX_MILLIS, true)] {
            assert_eq!(bound < UploadId::generate(at(millis)), after, "{millis}");
        }
        let between = UploadId::before_all_since(at(5) + Duration::from_nanos(1));
        assert!(UploadId::generate(at(5)) < between);
        assert!(between < UploadId::generate(at(6)));
        assert!(UploadId::generate(at(MAX_MILLIS - 1)) < UploadId::before_all_since(at(u64::MAX)));
        assert_eq!(Day::of(at(1_795_441_140_123)).to_string(), "2026-11-23");
        assert_eq!(Day::of(at(MAX_MILLIS + 1)).to_string(), "9999-12-31");
    }

    #[test]
    fn texts_that_are_no_ids_are_refused() {
        let zeros = "0".repeat(32);
        assert!(zeros.parse::<UploadId>().is_ok());
        let past_9999 = "v".repeat(32);
        let uppercase = format!("A{}", &zeros[1..]);
        let not_base32hex = format!("w{}", &zeros[1..]);
        let not_ascii = format!("ä{}", &zeros[2..]);
        for text in [
            "",
            &zeros[1..],
            &format!("{zeros}0"),
            &past_9999,
            &uppercase,
            &not_base32hex,
            &not_ascii,
        ] {
            assert_eq!(text.parse::<UploadId>(), Err(NameError::Id), "{text:?}");
        }
        for text in [
            "../../../../../../../../etc/shadow",
            "0000000000000000000000000000000=",
            &" ".repeat(32),
        ] {
            assert_eq!(text.parse::<UploadId>(), Err(NameError::Id), "{text:?}");
        }
    }

    #[test]
    fn an_id_is_a_string_in_json() {
        let id = UploadId::generate(at(1));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<UploadId>(&json).unwrap(), id);
        assert!(serde_json::from_str::<UploadId>("\"x\"").is_err());
    }

    #[test]
    fn texts_that_are_no_days_are_refused() {
        assert_eq!(
            "2028-02-29".parse::<Day>().unwrap().to_string(),
            "2028-02-29"
        );
        for text in [
            "",
            "2026-1-23",
            "2026-11-31",
            "2027-02-29",
            "2026-13-01",
            "2026-00-10",
            "1969-12-31",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NameError::Day), "{text:?}");
        }
        for text in [
            "2026/11/23",
            "2026-11-2３",
            "lost+found",
            "+026-11-23",
            "10000-01-01",
            "2026-11-23Z",
        ] {
            assert_eq!(text.parse::<Day>(), Err(NameError::Day), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ids_texts_and_days_sort_alike(a in 0..=MAX_MILLIS, b in 0..=MAX_MILLIS) {
            let (x, y) = (UploadId::generate(at(a)), UploadId::generate(at(b)));
            prop_assert_eq!(x.cmp(&y), x.to_string().cmp(&y.to_string()));
            if a != b {
                prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            }
            prop_assert_eq!(x.day().cmp(&y.day()), x.day().to_string().cmp(&y.day().to_string()));
            prop_assert_eq!(x.to_string().parse(), Ok(x));
            prop_assert_eq!(x.day().to_string().parse(), Ok(x.day()));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,40}") {
            let _ = text.parse::<UploadId>();
            let _ = text.parse::<Day>();
        }
    }
}
