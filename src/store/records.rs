//! Small records that several may change at once: what upload links and tokens say, and what has been used of them.

use std::fmt;
use std::str::FromStr;

use super::{NameError, StoreError};

/// Bytes of the largest record that a store keeps.
pub const MAX_RECORD: usize = 4 << 20;

/// What a record is about. Each collection has names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Collection {
    /// Upload links.
    Links,
    /// Tokens of machines.
    Tokens,
    /// What is still to be told to webhooks.
    Outbox,
    /// What one server at a time does for all that share the store.
    Leases,
    /// The servers that share the store.
    Nodes,
    /// How much is stored.
    Usage,
}

impl Collection {
    /// Every collection, in the order in which they are declared.
    pub const ALL: [Self; 6] = [
        Self::Links,
        Self::Tokens,
        Self::Outbox,
        Self::Leases,
        Self::Nodes,
        Self::Usage,
    ];

    /// Its name, which is also that of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Links => "links",
            Self::Tokens => "tokens",
            Self::Outbox => "outbox",
            Self::Leases => "leases",
            Self::Nodes => "nodes",
            Self::Usage => "usage",
        }
    }
}

/// Names a record in its collection: 1 to 64 characters of `0-9`, `a-z` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordName(String);

impl RecordName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RecordName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Record)
        }
    }
}

impl From<&super::UploadId> for RecordName {
    fn from(id: &super::UploadId) -> Self {
        Self(id.to_string())
    }
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is, or absent. Nothing is written.
    Keep,
    /// It is these bytes from now on, at most [`MAX_RECORD`] of them.
    Put(Vec<u8>),
    /// It is gone from now on.
    Remove,
}

/// Keeps small records that several threads, processes and machines may change at once. All calls may block.
pub trait RecordStore: Send + Sync + 'static {
    /// The record as it is now, or [`StoreError::NotFound`].
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError>;

    /// Reads a record, lets `change` decide, and does what it says: nobody else, in this process or another, changes the
    /// record in between (but for a shared store whose engine has no conditional writes, where a turn can be lost). Durable when this returns; after an error it may have been done or not, but never in part.
    ///
    /// `change` sees `None` where there is no record. It may be called more than once (a store without locks tries again), the last
    /// call counts, and it must not change records itself.
    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError>;

    /// The names of all records of a collection, in no order.
    fn records(&self, collection: Collection) -> Result<Vec<RecordName>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_collection_has_its_place_and_name() {
        for (place, collection) in Collection::ALL.into_iter().enumerate() {
            assert_eq!(collection as usize, place);
            let name = collection.name();
            assert!(name.parse::<RecordName>().is_ok(), "{name}");
            let same = Collection::ALL.iter().filter(|one| one.name() == name);
            assert_eq!(same.count(), 1, "{name}");
        }
    }

    #[test]
    fn names_are_strict() {
        let longest = "z".repeat(64);
        for text in ["a", "0", "-", "a-0", &longest] {
            assert_eq!(text.parse::<RecordName>().unwrap().as_str(), text);
        }
        let too_long = "z".repeat(65);
        for text in [
            "", "A", "a.b", "a/b", "..", ".", "a b", "a_b", "ä", "a\0", &too_long,
        ] {
            assert_eq!(
                text.parse::<RecordName>(),
                Err(NameError::Record),
                "{text:?}"
            );
        }
    }
}
