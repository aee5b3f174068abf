//! What can be done with staged segments while more of their upload is to come.

use super::{SealedUpload, SegmentName, StoreError, UploadId};

/// Segments that are staged and stay so from one request to the next. All calls may block.
pub trait Staging {
    /// Makes the name of a staged segment durable. Its bytes are when its writer has finished.
    fn secure_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError>;

    /// Opens these staged segments of an upload for reading, or says [`StoreError::NotFound`] where nothing is staged for it, or,
    /// where the store can tell, none of these.
    fn open_staged(
        &self,
        id: &UploadId,
        segments: &[SegmentName],
    ) -> Result<Box<dyn SealedUpload>, StoreError>;

    /// Whether anything is staged for an upload.
    fn is_staged(&self, id: &UploadId) -> Result<bool, StoreError>;

    /// Has a staged segment read from the disk itself next time, and not from memory. None there is fine.
    fn forget_cached(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError>;

    /// Removes one staged segment. None there is fine.
    fn remove_segment(&self, id: &UploadId, segment: &SegmentName) -> Result<(), StoreError>;

    /// Replaces everything in a staged segment from byte `at` on by `tail`. Durable when this returns.
    ///
    /// Whatever interrupts it, the segment is later found either as it was or as it is to be: what was begun is
    /// completed by the next [`open_staged`](Self::open_staged).
    fn mend_segment(
        &self,
        id: &UploadId,
        segment: &SegmentName,
        at: u64,
        tail: &[u8],
    ) -> Result<(), StoreError>;

    /// Makes a staged segment of one upload a staged segment of another one too, without copying its bytes where that
    /// can be helped. A segment that is there already is [`StoreError::Exists`].
    fn link_segment(
        &self,
        from: (&UploadId, &SegmentName),
        to: (&UploadId, &SegmentName),
    ) -> Result<(), StoreError>;
}
