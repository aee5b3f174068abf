//! The names of the files that make up an upload (DESIGN.md section 4.2).

use std::fmt;
use std::str::FromStr;

use super::error::NameError;

/// How many segments an upload can have; they are numbered from 0 (DESIGN.md section 4.3).
pub const MAX_SEGMENTS: u32 = 10_000;

/// One file of an upload. Sorts as `meta.age` first, then the segments in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealedFile {
    /// `meta.age`, the manifest.
    Meta,
    /// `0000.age` to `9999.age`, the payload. Numbers from [`MAX_SEGMENTS`] on name no file.
    Segment(u32),
}

const META: &str = "meta.age";

impl fmt::Display for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str(META),
            Self::Segment(number) => write!(f, "{number:04}.age"),
        }
    }
}

impl FromStr for SealedFile {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == META {
            return Ok(Self::Meta);
        }
        let digits = text.strip_suffix(".age").ok_or(NameError::File)?;
        // `parse` alone would take a sign and any number of leading zeros.
        if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NameError::File);
        }
        digits
            .parse()
            .map(Self::Segment)
            .map_err(|_| NameError::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (file, name) in [
            (SealedFile::Meta, "meta.age"),
            (SealedFile::Segment(0), "0000.age"),
            (SealedFile::Segment(42), "0042.age"),
            (SealedFile::Segment(MAX_SEGMENTS - 1), "9999.age"),
        ] {
            assert_eq!(file.to_string(), name);
            assert_eq!(name.parse(), Ok(file));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            ".age",
            "meta",
            "Meta.age",
            "meta.age ",
            "0.age",
            "00000.age",
            "10000.age",
            "+001.age",
            "-001.age",
        ] {
            assert_eq!(name.parse::<SealedFile>(), Err(NameError::File), "{name:?}");
        }
        for name in [
            "000a.age",
            "٠٠.age",
            "0000.AGE",
            "0000.age.age",
            "0000",
            "../0000.age",
            "0000.age\0",
        ] {
            assert_eq!(name.parse::<SealedFile>(), Err(NameError::File), "{name:?}");
        }
    }

    #[test]
    fn the_manifest_sorts_first() {
        assert!(SealedFile::Meta < SealedFile::Segment(0));
        assert!(SealedFile::Segment(0) < SealedFile::Segment(1));
    }
}
