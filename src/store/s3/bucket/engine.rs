//! What an engine was found to keep of what S3 promises.

use serde::Serialize;

/// What the engine was found to keep when the store was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Engine {
    /// Whether an object is created only where there is none, and replaced only where it is the one that was meant.
    pub conditional_writes: bool,
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
