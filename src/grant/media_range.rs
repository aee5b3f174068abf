//! The media types that a link takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A media type or a range of them (RFC 9110 section 12.5.1, without parameters): `application/pdf`, `image/*`, `*/*`.
/// Kept in lowercase.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaRange(String);

/// A text that is no [`MediaRange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a media type: expected one like application/pdf, or a range like image/*")]
pub struct MediaRangeError;

impl MediaRange {
    /// As it is written, in lowercase.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a media type is in the range, whatever parameters it has.
    pub fn contains(&self, media_type: &str) -> bool {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let Some((kind, subtype)) = essence.split_once('/') else {
            return false;
        };
        let (own_kind, own_subtype) = self.0.split_once('/').unwrap_or_default();
        let fits = |own: &str, given: &str| own == "*" || own.eq_ignore_ascii_case(given);
        is_token(kind) && is_token(subtype) && fits(own_kind, kind) && fits(own_subtype, subtype)
    }
}

/// A token of RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=127).contains(&text.len()) && text.bytes().all(fits)
}

impl FromStr for MediaRange {
    type Err = MediaRangeError;

    fn from_str(text: &str) -> Result<Self, MediaRangeError> {
        let (kind, subtype) = text.split_once('/').ok_or(MediaRangeError)?;
        let name = |text: &str| is_token(text) && !text.contains('*');
        let sound = match (kind, subtype) {
            ("*", "*") => true,
            (kind, "*") => name(kind),
            (kind, subtype) => name(kind) && name(subtype),
        };
        if sound {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(MediaRangeError)
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for MediaRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaRange {
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
    fn a_range_contains_its_types_alone() {
        for (range, media_type, contained) in [
            ("image/*", "image/png", true),
            ("image/*", "IMAGE/SVG+xml; charset=utf-8", true),
            ("image/*", "imagex/png", false),
            ("image/*", "image/", false),
            ("image/*", "image", false),
            ("image/*", "image/a/b", false),
            ("Application/PDF", "application/pdf", true),
            ("application/pdf", "application/pdf2", false),
            ("application/pdf", "application/*", false),
            ("*/*", "a/b", true),
            ("*/*", "", false),
        ] {
            let range: MediaRange = range.parse().unwrap();
            assert_eq!(
                range.contains(media_type),
                contained,
                "{range} {media_type}"
            );
        }
    }

    #[test]
    fn anything_else_is_no_range() {
        let long = format!("a/{}", "b".repeat(128));
        for text in [
            "", "/", "image", "image/", "/png", "*", "*/png", "image/p*", "a/b/c", "a/b;q=1",
            "a /b", "ä/b", &long,
        ] {
            assert_eq!(text.parse::<MediaRange>(), Err(MediaRangeError), "{text:?}");
        }
    }
}
