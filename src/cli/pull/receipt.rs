//! What stays here of an upload that was fetched: proof of what arrived, and of what became of it.

use serde::{Deserialize, Serialize};

use crate::cli::client::listing::{Listed, ListedMeta};
use crate::store::UploadId;
use crate::upload::{FileEntry, Kind, Manifest, MetadataEntry, to_rfc3339};

/// The version of receipts that is written.
const VERSION: u32 = 1;

/// What is known of a fetched upload. Without `Debug`: it holds names.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Receipt {
    v: u32,
    pub(super) id: UploadId,
    /// The server, as host and port.
    server: String,
    /// Where it lies, below the output folder.
    pub(super) path: String,
    /// What lies there, where that is one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Content>,
    /// When the last byte had arrived at the server.
    received: String,
    /// When it had arrived here.
    fetched: String,
    link: Option<String>,
    /// What the manifest says, where it was opened.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    opened: Option<Opened>,
    /// `meta.age`, as the server listed it.
    meta: Option<ListedMeta>,
    /// The sealed segments on the server.
    files: Vec<FileEntry>,
}

/// A file's size and SHA-256.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// What a manifest says without its keys.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Opened {
    submission: UploadId,
    kind: Kind,
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name_bytes: Option<String>,
    #[serde(rename = "type")]
    media_type: Option<String>,
    /// Of what was uploaded. Where the sender had sealed that, `content` is what was in it.
    size: u64,
    sha256: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<MetadataEntry>,
}

impl From<&Manifest> for Opened {
    fn from(manifest: &Manifest) -> Self {
        Self {
            submission: manifest.submission,
            kind: manifest.kind,
            name: manifest.name.clone(),
            name_bytes: manifest.name_bytes.clone(),
            media_type: manifest.media_type.clone(),
            size: manifest.size,
            sha256: manifest.sha256.clone(),
            metadata: manifest.metadata.clone(),
        }
    }
}

impl Receipt {
    /// Of an upload of `server` that has just been fetched. It has no place yet.
    pub(super) fn new(server: String, listed: &Listed, opened: Option<Opened>) -> Self {
        Self {
            v: VERSION,
            id: listed.id,
            server,
            path: String::new(),
            content: None,
            received: listed.time.clone(),
            fetched: to_rfc3339(std::time::SystemTime::now()),
            link: listed.link.clone(),
            opened,
            meta: listed.meta.clone(),
            files: listed.files.clone(),
        }
    }
}
