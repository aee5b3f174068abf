//! The name of a segment while its upload is staged.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::{NameError, StoreError};
use super::sealed_file::{MAX_SEGMENTS, SealedFile};

const TAG_BYTES: usize = 10;
const TAG_TEXT: usize = 16;

/// Names what is written as one segment of an upload: its number, and in a store that several servers share a random tag beside
/// it, so that none of them ever writes what another one has written.
///
/// As text `0003`, or `0003-` and the tag in 16 characters of lowercase base32hex (RFC 4648 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentName {
    number: u32,
    tag: Option<[u8; TAG_BYTES]>,
}

impl SegmentName {
    /// The segment of this number, in a store where nobody else could write it.
    ///
    /// [`MAX_SEGMENTS`] and above are [`StoreError::TooManySegments`].
    pub fn plain(number: u32) -> Result<Self, StoreError> {
        if number >= MAX_SEGMENTS {
            return Err(StoreError::TooManySegments);
        }
        Ok(Self { number, tag: None })
    }

    /// The same with a new tag.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give: two servers must never write one name.
    pub fn tagged(number: u32) -> Result<Self, StoreError> {
        let mut tag = [0; TAG_BYTES];
        getrandom::fill(&mut tag).expect("the operating system has randomness");
        Ok(Self {
            tag: Some(tag),
            ..Self::plain(number)?
        })
    }

    /// Its place among the upload's segments.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether its number says all.
    pub fn is_plain(&self) -> bool {
        self.tag.is_none()
    }

    /// The file that it is once the upload is published.
    pub fn file(&self) -> SealedFile {
        SealedFile::Segment(self.number)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number;
        match &self.tag {
            None => write!(f, "{number:04}"),
            Some(tag) => write!(f, "{number:04}-{}", BASE32_DNSSEC.encode(tag)),
        }
    }
}

impl FromStr for SegmentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (digits, tag) = match text.split_once('-') {
            Some((digits, tag)) => (digits, Some(tag)),
            None => (text, None),
        };
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NameError::Segment);
        }
        let number = digits.parse().map_err(|_| NameError::Segment)?;
        let tag = tag.map(parse_tag).transpose()?;
        Ok(Self { number, tag })
    }
}

fn parse_tag(text: &str) -> Result<[u8; TAG_BYTES], NameError> {
    // The decoder takes uppercase too, which would give one segment several names.
    if text.len() != TAG_TEXT || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(NameError::Segment);
    }
    let tag = BASE32_DNSSEC.decode(text.as_bytes()).ok();
    tag.and_then(|tag| tag.try_into().ok())
        .ok_or(NameError::Segment)
}

impl Serialize for SegmentName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let plain = SegmentName::plain(42).unwrap();
        assert_eq!(plain.to_string(), "0042");
        assert_eq!("0042".parse(), Ok(plain));
        assert_eq!(plain.file(), SealedFile::Segment(42));
        let tagged = SegmentName::tagged(9999).unwrap();
        assert_eq!(tagged.to_string().len(), 21);
        assert_eq!(tagged.to_string().parse(), Ok(tagged));
        assert_eq!(tagged.number(), 9999);
        assert_ne!(tagged, SegmentName::tagged(9999).unwrap());
        for number in [MAX_SEGMENTS, u32::MAX] {
            let named = [SegmentName::plain(number), SegmentName::tagged(number)];
            for named in named {
                assert!(matches!(named, Err(StoreError::TooManySegments)));
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        let tag = "0".repeat(16);
        for text in [
            "",
            "1",
            "00001",
            "+001",
            "0001-",
            "-0001",
            "0001.age",
            "٠٠",
            &format!("0001-{tag}0"),
            &format!("0001-{}", &tag[1..]),
            &format!("0001-A{}", &tag[1..]),
            &format!("0001-w{}", &tag[1..]),
            &format!("0001-{tag}-"),
        ] {
            assert_eq!(
                text.parse::<SegmentName>(),
                Err(NameError::Segment),
                "{text:?}"
            );
        }
    }
}
