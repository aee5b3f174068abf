//! Uploads whose bytes or names the disk did not take.
//!
//! The system tells once that a sync failed; the next one may succeed, with what was lost then in memory alone. So nothing of such
//! an upload is told before the next start, which syncs everything and looks at what the disk has.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::writer::LocalWriter;
use crate::store::{SegmentWriter, StoreError, UploadId};

#[derive(Default)]
pub(super) struct Suspects(Mutex<BTreeSet<UploadId>>);

impl Suspects {
    /// Takes note where the disk failed. That it is full, or that something is not there, is no failure.
    pub(super) fn note<T>(
        &self,
        id: &UploadId,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Err(StoreError::Io { .. }) = result {
            self.lock().insert(*id);
        }
        result
    }

    /// What the disk has of it nobody knows.
    pub(super) fn suspect(&self, id: &UploadId) {
        self.lock().insert(*id);
    }

    pub(super) fn contains(&self, id: &UploadId) -> bool {
        self.lock().contains(id)
    }

    /// Nothing is left of the upload.
    pub(super) fn forget(&self, id: &UploadId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<UploadId>> {
        // Whole at any time, so a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a segment, and takes note where the disk fails.
pub(super) struct NotingWriter {
    pub(super) writer: Box<LocalWriter>,
    pub(super) id: UploadId,
    pub(super) suspects: Arc<Suspects>,
}

impl SegmentWriter for NotingWriter {
    fn sync(&mut self) -> Result<(), StoreError> {
        self.suspects.note(&self.id, self.writer.sync())
    }

    fn write(&mut self, sealed: &[u8]) -> Result<(), StoreError> {
        self.suspects.note(&self.id, self.writer.write(sealed))
    }

    fn place(&mut self, size: usize) -> Result<Option<&mut [u8]>, StoreError> {
        // Nothing is written by it.
        self.writer.place(size)
    }

    fn placed(&mut self) -> Result<(), StoreError> {
        self.suspects.note(&self.id, self.writer.placed())
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.suspects.note(&self.id, self.writer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::SystemTime;

    #[test]
    fn a_disk_that_fails_is_noted_and_one_that_is_full_is_not() {
        let suspects = Suspects::default();
        let id = UploadId::generate(SystemTime::now());
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let full = suspects.note::<()>(&id, Err(StoreError::io("write", "x", kind)));
            assert!(full.is_err() && !suspects.contains(&id));
        }
        assert!(suspects.note(&id, Ok(())).is_ok() && !suspects.contains(&id));
        let failed = StoreError::io("sync", "x", rustix::io::Errno::IO);
        assert!(suspects.note::<()>(&id, Err(failed)).is_err() && suspects.contains(&id));
        suspects.forget(&id);
        assert!(!suspects.contains(&id));
    }
}
