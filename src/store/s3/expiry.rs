//! When uploads in a bucket are to be looked at because their time is over.

use super::bucket::Bucket;

/// When uploads in a bucket are to be looked at because their time is over.
#[derive(Clone)]
#[expect(dead_code)]
pub(super) struct Expiries {
    bucket: Bucket,
}

impl Expiries {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }
}
