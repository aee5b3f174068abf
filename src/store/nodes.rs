//! The servers that share a store, and which of them are alive.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Change, Collection, NameError, RecordName, RecordStore, StoreError};

/// A server that was not heard of for so long is dead. A clock that is wrong by so much makes it look so.
const DEAD_AFTER: Duration = Duration::from_mins(1);
/// How long what is known of a dead server is kept.
const KEEP_DEAD: Duration = Duration::from_hours(1);
/// Bytes of the largest record that is read.
const MAX_NODE: usize = 1024;

const ID_BYTES: usize = 10;
const ID_TEXT: usize = 16;

/// Names a server for as long as it runs: 80 random bits, as 16 characters of lowercase base32hex (RFC 4648 section 7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; ID_BYTES]);

impl NodeId {
    /// A new one, for a server that starts.
    ///
    /// # Panics
    /// Where the operating system has no randomness to give: no two servers may have the same name.
    pub fn generate() -> Self {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id).expect("the operating system has randomness");
        Self(id)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE32_DNSSEC.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        // The decoder takes uppercase too, which would give one server several names.
        if text.len() != ID_TEXT || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NameError::Node);
        }
        let bytes = BASE32_DNSSEC.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(NameError::Node)
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl From<&NodeId> for RecordName {
    fn from(id: &NodeId) -> Self {
        let name = id.to_string().parse();
        name.expect("base32hex in lowercase names a record")
    }
}

/// The servers that share a store: each says every ten seconds or so that it is alive. All calls may block.
///
/// The clocks of all of them are compared, so they must be set by NTP: one that is a minute off looks dead to the others.
#[derive(Clone)]
pub struct Nodes {
    records: Arc<dyn RecordStore>,
}

/// When a server last said that it is alive.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Milliseconds of Unix time.
    seen: u64,
}

impl Nodes {
    /// The servers that share the store of these records.
    pub fn new(records: Arc<dyn RecordStore>) -> Self {
        Self { records }
    }

    /// Says that a server is alive.
    pub fn refresh(&self, id: &NodeId, now: SystemTime) -> Result<(), StoreError> {
        let seen = serde_json::json!({ "seen": unix(now) });
        let bytes = seen.to_string().into_bytes();
        self.records
            .update_record(Collection::Nodes, &id.into(), &mut |_| {
                Change::Put(bytes.clone())
            })
    }

    /// Says that a server is at its end. It counts as dead from now on.
    pub fn leave(&self, id: &NodeId) -> Result<(), StoreError> {
        self.records
            .update_record(Collection::Nodes, &id.into(), &mut |_| Change::Remove)
    }

    /// Whether a server said within the last minute that it is alive.
    pub fn is_alive(&self, id: &NodeId, now: SystemTime) -> Result<bool, StoreError> {
        let seen = self.seen(&id.into())?;
        Ok(seen.is_some_and(|seen| is_recent(seen, now)))
    }

    /// Removes what is known of servers that have been dead for an hour, and gives how many.
    pub fn sweep(&self, now: SystemTime) -> Result<usize, StoreError> {
        let mut swept = 0;
        for name in self.records.records(Collection::Nodes)? {
            // What cannot be read says nothing of anybody who is alive.
            let is_past = |seen: Option<SystemTime>| {
                seen.is_none_or(|seen| now.duration_since(seen).is_ok_and(|age| age >= KEEP_DEAD))
            };
            if !is_past(self.seen(&name)?) {
                continue;
            }
            let mut removed = false;
            self.records
                .update_record(Collection::Nodes, &name, &mut |bytes| {
                    removed = bytes.is_some() && is_past(bytes.and_then(read));
                    if removed {
                        Change::Remove
                    } else {
                        Change::Keep
                    }
                })?;
            swept += usize::from(removed);
        }
        Ok(swept)
    }

    fn seen(&self, name: &RecordName) -> Result<Option<SystemTime>, StoreError> {
        match self.records.record(Collection::Nodes, name) {
            Ok(bytes) => Ok(read(&bytes)),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a record says; `None` where it cannot be understood.
fn read(bytes: &[u8]) -> Option<SystemTime> {
    let bytes = bytes.get(..MAX_NODE.min(bytes.len()))?;
    let seen: Seen = serde_json::from_slice(bytes).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_millis(seen.seen))
}

fn is_recent(seen: SystemTime, now: SystemTime) -> bool {
    let apart = now.duration_since(seen);
    apart.unwrap_or_else(|ahead| ahead.duration()) < DEAD_AFTER
}

/// Milliseconds of Unix time; those before 1970 count as 0.
pub(super) fn unix(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LocalRecords;
    use proptest::prelude::*;
    use tempfile::TempDir;

    #[test]
    fn who_was_heard_of_is_alive_for_a_minute() {
        let place = TempDir::new().unwrap();
        let records: Arc<dyn RecordStore> = Arc::new(LocalRecords::open(place.path()).unwrap());
        let nodes = Nodes::new(Arc::clone(&records));
        let now = SystemTime::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let [one, two, unknown] = [(); 3].map(|()| NodeId::generate());
        nodes.refresh(&one, now).unwrap();
        nodes.refresh(&two, after(50)).unwrap();
        assert!(!nodes.is_alive(&unknown, now).unwrap());
        for (seconds, alive) in [(0, [true, true]), (59, [true, true]), (60, [false, true])] {
            let found = [one, two].map(|id| nodes.is_alive(&id, after(seconds)).unwrap());
            assert_eq!(found, alive, "{seconds}");
        }
        // A clock that is far off is not believed.
        assert!(!nodes.is_alive(&one, now - Duration::from_secs(61)).unwrap());

        let garbage: RecordName = "garbage".parse().unwrap();
        let put = &mut |_: Option<&[u8]>| Change::Put(b"not JSON".to_vec());
        records
            .update_record(Collection::Nodes, &garbage, put)
            .unwrap();
        assert_eq!(nodes.sweep(after(3599)).unwrap(), 1);
        assert_eq!(nodes.sweep(after(3600)).unwrap(), 1);
        let left = records.records(Collection::Nodes).unwrap();
        assert_eq!(left, [RecordName::from(&two)]);
        nodes.leave(&two).unwrap();
        nodes.leave(&two).unwrap();
        assert!(!nodes.is_alive(&two, after(50)).unwrap());
    }

    proptest! {
        #[test]
        fn an_id_is_written_one_way(bytes: [u8; ID_BYTES], other in ".{0,20}") {
            let id = NodeId(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().len(), ID_TEXT);
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<NodeId>(&json).unwrap(), id);
            if let Ok(id) = other.parse::<NodeId>() {
                prop_assert_eq!(id.to_string(), other);
            }
        }
    }
}
