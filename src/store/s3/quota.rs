//! What is stored in a bucket, held to a quota over all nodes.

use super::bucket::Bucket;
use super::records::Records;
use crate::store::StoreError;

/// What this node may still store.
#[expect(dead_code)]
pub(super) struct Quota {
    bucket: Bucket,
    records: Records,
    quota: Option<u64>,
}

impl Quota {
    #[expect(clippy::unnecessary_wraps)]
    pub(super) fn open(
        bucket: Bucket,
        records: Records,
        quota: Option<u64>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            bucket,
            records,
            quota,
        })
    }
}
