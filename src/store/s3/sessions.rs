//! Session records in a bucket.

use super::bucket::Bucket;

/// Session records in a bucket.
#[derive(Clone)]
#[expect(dead_code)]
pub(super) struct Sessions {
    bucket: Bucket,
}

impl Sessions {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }
}
