//! Lines, and how they hang together.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::entry::{Entry, Event};

/// The longest line, in bytes with its end. Ours are far shorter.
pub const MAX_LINE: usize = 4096;
/// The longest that torn lines are looked at: a crash may leave more than one of them.
pub(super) const MAX_TORN: usize = 64 * MAX_LINE;

/// The hash of a line, or of all lines up to it: each holds that of the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub(super) [u8; 32]);

impl Hash {
    /// What the first line of all holds.
    pub(super) const NONE: Self = Self([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 characters of lowercase hex")]
pub struct HashError;

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| HashError)?;
        Ok(Self(bytes.try_into().map_err(|_| HashError)?))
    }
}

/// Where a chain is: what the next line must hold.
#[derive(Clone)]
pub(super) struct Chain {
    /// The number of the last line.
    pub(super) seq: u64,
    /// Of all bytes since the last whole line began.
    since: Sha256,
    /// Whether there are any.
    begun: bool,
    /// Bytes behind the last whole line.
    pub(super) torn: u64,
}

impl Chain {
    /// Before the first line.
    pub(super) fn new() -> Self {
        Self {
            seq: 0,
            since: Sha256::new(),
            begun: false,
            torn: 0,
        }
    }

    /// Behind a whole line with this number; `line` has its end.
    pub(super) fn after(seq: u64, line: &[u8]) -> Self {
        Self {
            seq,
            since: Sha256::new_with_prefix(line),
            begun: true,
            torn: 0,
        }
    }

    /// These bytes follow and are no whole line.
    pub(super) fn tear(&mut self, bytes: &[u8]) {
        self.since.update(bytes);
        self.begun |= !bytes.is_empty();
        self.torn += bytes.len() as u64;
    }

    /// What the next line must hold, and what a chain is known by.
    pub(super) fn head(&self) -> Hash {
        if self.begun {
            Hash(self.since.clone().finalize().into())
        } else {
            Hash::NONE
        }
    }

    /// Writes the next line into `buffer`, and is behind it then.
    pub(super) fn extend(&mut self, time: SystemTime, entry: &Entry, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        let line = Written {
            seq: self.seq + 1,
            time: humantime::format_rfc3339_millis(time).to_string(),
            entry,
            prev: self.head().to_string(),
        };
        serde_json::to_writer(&mut *buffer, &line).expect("an entry is plain data");
        buffer.push(b'\n');
        *self = Self::after(line.seq, &buffer[start..]);
    }
}

/// A line as it is written.
#[derive(Serialize)]
struct Written<'a> {
    seq: u64,
    time: String,
    #[serde(flatten)]
    entry: &'a Entry,
    prev: String,
}

/// What of a line makes it one; the rest of it is covered by the hash in the next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) seq: u64,
    pub(super) time: SystemTime,
    /// Where it is one of those that the log writes of itself.
    pub(super) event: Option<Event>,
    pub(super) prev: Hash,
}

impl Line {
    /// Reads a line, with its end. `None`: it is not one.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            seq: u64,
            time: &'a str,
            event: &'a str,
            prev: &'a str,
        }
        let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        // Nothing but the object: no space around it, no line inside.
        if line.len() > MAX_LINE || !text.starts_with('{') || text.contains(['\n', '\r']) {
            return None;
        }
        let raw: Raw<'_> = serde_json::from_str(text).ok()?;
        Some(Self {
            seq: raw.seq,
            time: humantime::parse_rfc3339(raw.time).ok()?,
            event: match raw.event {
                "resumed" => Some(Event::Resumed),
                "rotated" => Some(Event::Rotated),
                _ => None,
            },
            prev: raw.prev.parse().ok()?,
        })
    }
}
