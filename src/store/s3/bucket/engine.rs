//! What an engine was found to keep of what S3 promises.

use serde::Serialize;

/// What the engine was found to keep when the store was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a promise of its own"
)]
pub struct Engine {
    /// Whether an object is created only where there is none, and replaced only where it is the one that was meant.
    pub conditional_writes: bool,
    /// Whether it compares what is to be replaced only where its `ETag` comes without quotation marks.
    pub bare_etags: bool,
    /// How damage on the way is noticed.
    pub checksum: Checksum,
    /// Whether the bucket keeps what is deleted.
    pub versioned: bool,
    /// Whether one request deletes many objects.
    pub bulk_delete: bool,
}

/// How the engine notices that an object was damaged on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// CRC-64/NVME, announced with every object.
    Crc64Nvme,
    /// SHA-256, which is signed with the request.
    Sha256,
    /// It does not.
    None,
}

impl Checksum {
    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha256 => "sha256",
            Self::None => "none",
        }
    }
}

impl Engine {
    /// Writes to the log what was found, and what it means where that is less than S3 promises.
    pub(super) fn log(&self, engine: &str, place: &str) {
        tracing::info!(
            engine,
            place,
            conditional_writes = self.conditional_writes,
            bare_etags = self.bare_etags,
            checksum = self.checksum.name(),
            versioned = self.versioned,
            bulk_delete = self.bulk_delete,
            "the store is open"
        );
        if !self.conditional_writes {
            tracing::warn!(
                "the engine has no conditional writes: servers that write the same record take turns by tickets, and one that stands still for more than half a minute in its turn, or a write that the engine does so late, may go over what another wrote"
            );
        }
        if self.checksum == Checksum::None {
            tracing::warn!(
                "the engine does not notice when an object is damaged on its way; run sealslot verify to find what was"
            );
        }
        if self.versioned {
            tracing::warn!(
                "the bucket keeps old versions: what is deleted stays there until its lifecycle rules remove it; suspend versioning, or let noncurrent versions expire soon"
            );
        }
    }
}
