//! The public names of links and tokens.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::secret::Hash;
use crate::store::RecordName;

/// Names a link or a token in lists, in the audit log and in the records of uploads, without letting anybody in: the
/// first 160 bits of its secret's hash, as 32 characters of lowercase base32hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; 20]);

const TEXT: usize = 32;

/// A text that is no [`GrantId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected 32 characters of lowercase base32hex, as the list shows them")]
pub struct GrantIdError;

impl GrantId {
    pub(super) fn of(hash: &Hash) -> Self {
        let (first, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        Self(*first)
    }

    pub(super) fn to_record_name(self) -> RecordName {
        let name = self.to_string().parse();
        name.expect("base32hex in lowercase names a record")
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE32_DNSSEC.encode(&self.0))
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for GrantId {
    type Err = GrantIdError;

    fn from_str(text: &str) -> Result<Self, GrantIdError> {
        // The decoder takes uppercase too, which would give one grant several names.
        if text.len() != TEXT || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(GrantIdError);
        }
        let bytes = BASE32_DNSSEC.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| GrantIdError)?.try_into();
        bytes.map(Self).map_err(|_| GrantIdError)
    }
}

impl Serialize for GrantId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GrantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
