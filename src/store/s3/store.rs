//! The store in a bucket.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use super::bucket::{Bucket, Checksum};
use super::budget::Budget;
use super::chores::Chores;
use super::expiry::Expiries;
use super::keys;
use super::limits::S3Limits;
use super::publish::PATIENCE;
use super::published::S3Upload;
use super::quota::Quota;
use super::recent::Recent;
use super::records::Records;
use super::sessions::Sessions;
use super::settings::S3Settings;
use crate::store::{
    Day, EngineStatus, Expiring, LogStore, Publication, SealedUpload, SegmentHeader, SegmentName,
    SegmentWriter, Shelf, Store, StoreError, UploadId,
};

/// Bytes of the largest manifest that is read; the largest that is written is smaller.
const MAX_META: u64 = 64 << 20;
/// Bytes of a manifest that is read together with others: that of an upload with thousands of segments is longer.
const MAX_META_OF_MANY: u64 = 1 << 20;

/// The store in a bucket, which any number of processes may have open at once.
///
/// ```text
/// uploads/{day}/{id}/meta.age             a published upload: put last; its notes name its segments
/// uploads/{day}/{id}/{nnnn}-{tag}.age     a segment, staged or published
/// uploads/{day}/{id}/{nnnn}-{tag}.parts   what the engine calls a segment that is being sent in parts
/// uploads/{day}/{id}/segments-{tag}       the names of the segments, where they do not fit into notes
/// unfinished/{id}                         somebody removes or replaces something of that upload
/// sessions/ records/ expiry/ audit/       see there
/// ```
///
/// Segments have random tags, so that no name is ever written twice, and belong to an upload only where its manifest's notes, or
/// its session record, name them. Whatever else is there is rubbish, and is swept. What is kept of a segment is kept when it has ended:
/// nothing of it is there before, and [`SegmentWriter::sync`] makes nothing durable.
pub struct S3Store {
    pub(super) bucket: Bucket,
    pub(super) sessions: Sessions,
    pub(super) records: Records,
    pub(super) quota: Arc<Quota>,
    pub(super) expiries: Expiries,
    pub(super) limits: S3Limits,
    pub(super) memory: Budget,
    pub(super) chores: Chores,
    /// Segments that this process has written of late.
    pub(super) written: Recent<(UploadId, SegmentName)>,
    /// Uploads whose publishing came to no answer: the engine may yet do it.
    pub(super) unsettled: Recent<UploadId>,
    /// Uploads with an old id that this process is writing.
    pub(super) staging_old: Recent<UploadId>,
    pub(super) warned_of_strangers: AtomicBool,
    /// How long to ask again where the engine does not say whether it has published.
    pub(super) patience: Duration,
}

impl S3Store {
    /// Connects to the bucket, and tries what the engine behind it keeps. May block.
    pub fn open(settings: &S3Settings, limits: S3Limits) -> Result<Self, StoreError> {
        Self::over(Bucket::connect(settings)?, limits)
    }

    /// The same for a command beside servers: what they count for their quota it counts too, and is not held to. May block.
    pub fn open_beside(settings: &S3Settings, limits: S3Limits) -> Result<Self, StoreError> {
        let bucket = Bucket::connect(settings)?;
        let records = Records::new(bucket.clone());
        let quota = Quota::join(bucket.clone(), records.clone())?;
        Self::of(bucket, records, quota, limits)
    }

    /// The same for a command that only reads: what the engine keeps of what is written is not tried. May block.
    pub fn open_to_read(
        settings: &S3Settings,
        limits: S3Limits,
    ) -> Result<Box<dyn Shelf>, StoreError> {
        let bucket = Bucket::connect_to_read(settings)?;
        let records = Records::new(bucket.clone());
        let quota = Quota::uncounted(bucket.clone());
        Ok(Box::new(Self::of(bucket, records, quota, limits)?))
    }

    /// The store in a bucket that is connected to already.
    pub(super) fn over(bucket: Bucket, limits: S3Limits) -> Result<Self, StoreError> {
        let records = Records::new(bucket.clone());
        let quota = Quota::open(bucket.clone(), records.clone(), limits.quota)?;
        Self::of(bucket, records, quota, limits)
    }

    fn of(
        bucket: Bucket,
        records: Records,
        quota: Quota,
        limits: S3Limits,
    ) -> Result<Self, StoreError> {
        let chores = Chores::start(bucket.clone())
            .map_err(|source| StoreError::io("start a thread for", "the bucket", source))?;
        Ok(Self {
            sessions: Sessions::new(bucket.clone()),
            records,
            quota: Arc::new(quota),
            expiries: Expiries::new(bucket.clone()),
            memory: Budget::new(limits.memory),
            chores,
            written: Recent::new(),
            unsettled: Recent::new(),
            staging_old: Recent::new(),
            warned_of_strangers: AtomicBool::new(false),
            patience: PATIENCE,
            limits,
            bucket,
        })
    }

    /// Bytes of the first parts of a large segment.
    pub(super) fn part_size(&self) -> u64 {
        let bounds = (S3Limits::MIN_PART_SIZE, S3Limits::MAX_PART_SIZE);
        self.limits.part_size.clamp(bounds.0, bounds.1)
    }

    pub(super) fn open_upload(&self, id: &UploadId) -> Result<S3Upload, StoreError> {
        let meta = self.bucket.get(&keys::meta(id), MAX_META)?;
        Ok(S3Upload::new(&self.bucket, &self.memory, id, meta))
    }
}

impl Drop for S3Store {
    fn drop(&mut self) {
        self.quota.close();
    }
}

impl Store for S3Store {
    fn name_segment(&self, number: u32) -> Result<SegmentName, StoreError> {
        SegmentName::tagged(number)
    }

    fn segment_limit(&self) -> Option<u64> {
        Some(self.limits.segment_limit)
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn create_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
    ) -> Result<Box<dyn SegmentWriter>, StoreError> {
        Ok(Box::new(self.begin_segment(id, segment)?))
    }

    fn publish(&self, uploads: &[Publication]) -> Result<(), StoreError> {
        self.publish_all(uploads)
    }

    /// What the engine has answered, it keeps: there is nothing to do but to look.
    fn settle(&self, id: &UploadId) -> Result<(), StoreError> {
        self.bucket.head(&keys::meta(id)).map(drop)
    }

    fn discard(&self, id: &UploadId) -> Result<(), StoreError> {
        self.discard_staged(id)
    }

    fn open(&self, id: &UploadId) -> Result<Box<dyn SealedUpload>, StoreError> {
        Ok(Box::new(self.open_upload(id)?))
    }

    fn open_all(&self, ids: &[UploadId]) -> Vec<Result<Box<dyn SealedUpload>, StoreError>> {
        let keys: Vec<String> = ids.iter().map(keys::meta).collect();
        let metas = self.bucket.get_all(&keys, MAX_META_OF_MANY);
        let opened = ids.iter().zip(metas).map(|(id, meta)| {
            let upload = S3Upload::new(&self.bucket, &self.memory, id, meta?);
            Ok(Box::new(upload) as Box<dyn SealedUpload>)
        });
        opened.collect()
    }

    fn list(&self, after: Option<&UploadId>, limit: usize) -> Result<Vec<UploadId>, StoreError> {
        self.list_published(after, limit)
    }

    fn delete(&self, id: &UploadId) -> Result<(), StoreError> {
        self.delete_published(id)
    }

    fn is_kept(&self, id: &UploadId) -> Result<bool, StoreError> {
        self.is_kept_whole(id)
    }

    fn rewrap(
        &self,
        id: &UploadId,
        old_meta: &[u8],
        meta: &[u8],
        headers: Option<&[SegmentHeader<'_>]>,
    ) -> Result<(), StoreError> {
        self.rewrap_published(id, old_meta, meta, headers)
    }

    fn expiring(
        &self,
        until: SystemTime,
        limit: usize,
    ) -> Result<Option<Vec<Expiring>>, StoreError> {
        self.expiries.expiring(until, limit).map(Some)
    }

    fn expired(&self, expiring: &[Expiring]) -> Result<(), StoreError> {
        self.expiries.remove(expiring)
    }

    fn sweep_staged(
        &self,
        lifetime: Duration,
        after: Option<Day>,
        now: SystemTime,
    ) -> Result<(usize, Option<Day>), StoreError> {
        self.sweep_all(lifetime, after, now)
    }

    fn logs(self: Arc<Self>) -> Option<Arc<dyn LogStore>> {
        Some(self)
    }

    fn engine(&self) -> Option<EngineStatus> {
        let engine = self.bucket.engine();
        let counts = self.bucket.requests();
        Some(EngineStatus {
            conditional_writes: engine.conditional_writes,
            bare_etags: engine.bare_etags,
            checksum: match engine.checksum {
                Checksum::Crc64Nvme => "crc64nvme",
                Checksum::Sha256 => "sha256",
                Checksum::None => "none",
            },
            keeps_versions: engine.versioned,
            requests: vec![
                ("put", counts.put),
                ("get", counts.get),
                ("head", counts.head),
                ("list", counts.list),
                ("delete", counts.delete),
                ("part", counts.part),
                ("other", counts.other),
            ],
            failures: counts.failed,
            bytes: (counts.bytes_out, counts.bytes_in),
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        self.has_room(0)
    }

    fn has_room(&self, bytes: u64) -> Result<(), StoreError> {
        self.bucket.check()?;
        self.quota.check(bytes)
    }

    fn stored(&self) -> Result<u64, StoreError> {
        self.quota.stored()
    }
}
