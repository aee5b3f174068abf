//! Records in a bucket.

use super::bucket::Bucket;

/// Records in a bucket.
#[derive(Clone)]
#[expect(dead_code)]
pub(super) struct Records {
    bucket: Bucket,
}

impl Records {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }
}
