//! The keys of session records.

use crate::store::{StoreError, UploadId};

pub(super) const FOLDER: &str = "sessions/";
/// Entries of one record.
pub(super) const MAX_ENTRIES: u32 = 1_000_000;

const HEAD: &str = "head";

pub(super) fn folder(id: &UploadId) -> String {
    format!("{FOLDER}{id}/")
}

pub(super) fn head_key(id: &UploadId) -> String {
    format!("{FOLDER}{id}/{HEAD}")
}

/// Whose object it is, and its name in the folder of that record.
pub(super) fn split(key: &str) -> Option<(UploadId, &str)> {
    let (id, name) = key.strip_prefix(FOLDER)?.split_once('/')?;
    Some((id.parse().ok()?, name))
}

/// Names an entry. The newest one sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryName {
    generation: u8,
    number: u32,
}

impl EntryName {
    pub(super) fn new(generation: u8, number: u32) -> Result<Self, StoreError> {
        if number >= MAX_ENTRIES {
            return Err(StoreError::TooManySegments);
        }
        Ok(Self { generation, number })
    }

    pub(super) fn generation(self) -> u8 {
        self.generation
    }

    pub(super) fn number(self) -> u32 {
        self.number
    }

    /// An earlier one of the same generation, or a later one as far as there can be one.
    pub(super) fn with_number(self, number: u32) -> Self {
        Self {
            number: number.min(MAX_ENTRIES - 1),
            ..self
        }
    }

    /// The entry that the next generation begins with; `None` after the last generation that there can be.
    pub(super) fn begins_next(self) -> Option<Self> {
        let generation = self.generation.checked_add(1)?;
        Some(Self {
            generation,
            number: 0,
        })
    }

    pub(super) fn key(self, id: &UploadId) -> String {
        let generation = u8::MAX - self.generation;
        let number = MAX_ENTRIES - 1 - self.number;
        format!("{FOLDER}{id}/{generation:02x}-{number:06}")
    }

    fn parse(name: &str) -> Option<Self> {
        let (generation, number) = name.split_once('-')?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let written_so = generation.len() == 2
            && generation.bytes().all(hexadecimal)
            && number.len() == 6
            && number.bytes().all(|byte| byte.is_ascii_digit());
        if !written_so {
            return None;
        }
        Some(Self {
            generation: u8::MAX - u8::from_str_radix(generation, 16).ok()?,
            number: MAX_ENTRIES - 1 - number.parse::<u32>().ok()?,
        })
    }
}

/// What is in the folder of a record, in the order in which it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewestFirst {
    Entry(EntryName),
    Head,
    Other,
}

impl NewestFirst {
    /// What an object is by its name in the folder.
    pub(super) fn parse(name: &str) -> Self {
        if name == HEAD {
            return Self::Head;
        }
        EntryName::parse(name).map_or(Self::Other, Self::Entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn keys_are_as_documented() {
        let id = UploadId::generate(UNIX_EPOCH);
        let key = |generation, number| EntryName::new(generation, number).unwrap().key(&id);
        assert_eq!(key(0, 0), format!("sessions/{id}/ff-999999"));
        assert_eq!(key(255, 999_999), format!("sessions/{id}/00-000000"));
        assert_eq!(key(1, 41), format!("sessions/{id}/fe-999958"));
        assert_eq!(head_key(&id), format!("sessions/{id}/head"));
        // What is listed first tells where a record stands.
        assert!(key(0, 0) < head_key(&id));
        let past = EntryName::new(0, MAX_ENTRIES);
        assert!(matches!(past, Err(StoreError::TooManySegments)));
        let last = EntryName::new(255, 0).unwrap();
        assert_eq!(last.begins_next(), None);
        assert_eq!(split(&key(0, 0)), Some((id, "ff-999999")));
        for key in ["", "sessions/", "sessions/x/head", "uploads/x/head"] {
            assert_eq!(split(key), None, "{key}");
        }
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "",
            "Head",
            "ff-99999",
            "ff-9999999",
            "FF-999999",
            "ff-+99999",
            "f-999999",
            "+f-999999",
            "ff999999",
            "ff-999999.x",
        ] {
            assert_eq!(NewestFirst::parse(name), NewestFirst::Other, "{name}");
        }
    }

    proptest! {
        #[test]
        fn the_newest_sorts_first(a: u8, b: u8, m in 0..MAX_ENTRIES, n in 0..MAX_ENTRIES) {
            let id = UploadId::generate(UNIX_EPOCH);
            let [x, y] = [(a, m), (b, n)].map(|(g, n)| EntryName::new(g, n).unwrap());
            prop_assert_eq!(x.key(&id).cmp(&y.key(&id)), (b, n).cmp(&(a, m)));
            let key = x.key(&id);
            let (_, name) = split(&key).unwrap();
            prop_assert_eq!(NewestFirst::parse(name), NewestFirst::Entry(x));
        }

        #[test]
        fn no_name_makes_parsing_panic(name in ".{0,12}") {
            let _ = NewestFirst::parse(&name);
            let _ = split(&name);
        }
    }
}
