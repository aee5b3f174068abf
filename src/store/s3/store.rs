//! The store in a bucket.

use std::sync::Arc;

use super::bucket::Bucket;
use super::expiry::Expiries;
use super::limits::S3Limits;
use super::quota::Quota;
use super::records::Records;
use super::sessions::Sessions;
use super::settings::S3Settings;
use crate::store::StoreError;

/// The store in a bucket, which any number of processes may have open at once.
#[expect(dead_code)]
pub struct S3Store {
    pub(super) bucket: Bucket,
    pub(super) sessions: Sessions,
    pub(super) records: Records,
    pub(super) quota: Arc<Quota>,
    pub(super) expiries: Expiries,
    pub(super) limits: S3Limits,
}

impl S3Store {
    /// Connects to the bucket, and tries what the engine behind it keeps. May block.
    pub fn open(settings: &S3Settings, limits: S3Limits) -> Result<Self, StoreError> {
        let bucket = Bucket::connect(settings)?;
        let records = Records::new(bucket.clone());
        let quota = Quota::open(bucket.clone(), records.clone(), limits.quota)?;
        Ok(Self {
            sessions: Sessions::new(bucket.clone()),
            records,
            quota: Arc::new(quota),
            expiries: Expiries::new(bucket.clone()),
            limits,
            bucket,
        })
    }
}
