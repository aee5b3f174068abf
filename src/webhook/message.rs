//! What is told, and how it waits in the outbox.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::store::UploadId;
use crate::upload::{Finished, Kind, Record, to_rfc3339};

/// A message, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    r#type: String,
    timestamp: String,
    data: Data,
}

/// What happened to an upload. Where a crash kept the server from writing it down, what only the manifest knows is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Data {
    id: UploadId,
    submission: Option<UploadId>,
    kind: Option<Kind>,
    size: Option<u64>,
    sealed_size: u64,
    link: Option<String>,
    expires: Option<String>,
}

const FINISHED: &str = "upload.finished";

impl Message {
    pub(super) fn finished(upload: &Finished) -> Self {
        Self {
            r#type: FINISHED.to_owned(),
            timestamp: to_rfc3339(upload.time),
            data: Data {
                id: upload.id,
                submission: Some(upload.submission),
                kind: Some(upload.kind),
                size: Some(upload.size),
                sealed_size: upload.sealed_size,
                link: upload.link.clone(),
                expires: upload.expires.map(to_rfc3339),
            },
        }
    }

    /// Of an upload of which only the record in `meta.age` can be read.
    pub(super) fn found(record: &Record) -> Self {
        Self {
            r#type: FINISHED.to_owned(),
            timestamp: to_rfc3339(record.time),
            data: Data {
                id: record.id,
                submission: None,
                kind: None,
                size: None,
                sealed_size: record.files.iter().map(|file| file.size).sum(),
                link: record.link.clone(),
                expires: record.expires.clone(),
            },
        }
    }

    /// What it is known by, the same at every try.
    pub(super) fn id(&self) -> String {
        format!("msg_{}", self.data.id)
    }

    /// The body of the request.
    pub(super) fn body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a message is plain data")
    }
}

/// A record in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(super) enum Waiting {
    /// The upload is being published, or was when the server ended.
    Publishing,
    /// It is to be told.
    Finished {
        message: Message,
        /// Since when, in Unix seconds.
        since: u64,
        /// The names of the endpoints that were not told yet.
        left: BTreeSet<String>,
    },
}

impl Waiting {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record is plain data")
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Whole seconds since 1970.
pub(super) fn unix(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.as_ref().map_or(0, Duration::as_secs)
}
