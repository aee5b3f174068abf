//! How much a node takes and holds at once.

/// How a node uses the bucket.
#[derive(Debug, Clone)]
pub struct S3Limits {
    /// Bytes of sealed files in all, of all nodes; `None`: as many as there is room for.
    pub quota: Option<u64>,
    /// Bytes of a part of a large segment. Every upload under way holds one in memory.
    pub part_size: u64,
    /// Bytes of plaintext after which a segment ends: what is lost of an upload with the node that took it in.
    pub segment_limit: u64,
    /// Bytes that all uploads and downloads together hold beside that one part, to send and read while more comes.
    pub memory: u64,
}

impl S3Limits {
    /// The smallest part: engines refuse less than 5 MiB.
    pub const MIN_PART_SIZE: u64 = 8 << 20;
    /// The largest part.
    pub const MAX_PART_SIZE: u64 = 64 << 20;
}

impl Default for S3Limits {
    /// No quota, parts of 8 MiB, segments of 256 MiB, and 256 MiB of memory beside the parts.
    fn default() -> Self {
        Self {
            quota: None,
            part_size: Self::MIN_PART_SIZE,
            segment_limit: 256 << 20,
            memory: 256 << 20,
        }
    }
}
