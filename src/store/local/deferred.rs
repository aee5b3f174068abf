//! Short segments whose sync is left to publishing.
//!
//! An upload that comes in one body is published as soon as it is whole, and until then nothing of it was promised. Where its
//! segment is short, finishing it only sets the disk to work; `publish` waits for that together with `meta.age`, and the
//! file system has both in one commit of its journal.
//!
//! The files stay open until then: an error of writing them back is told to whoever had them open, and might be told to nobody
//! after they were closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::durable;
use super::writer::LocalWriter;
use crate::store::{SegmentWriter, StoreError, UploadId};

/// The longest segment that is left. More has something for the disk to do, which then begins at once.
const SHORT: u64 = 256 * 1024;

/// So many are left at the same time, and no more: each keeps a file open.
pub(super) const MOST: usize = 256;

/// What is left to be synced when its upload is published.
#[derive(Default)]
pub(super) struct Deferred(Mutex<Left>);

#[derive(Default)]
struct Left {
    uploads: BTreeMap<UploadId, Segments>,
    files: usize,
}

#[derive(Default)]
struct Segments {
    writers: Vec<LocalWriter>,
    /// A sync has failed, and the next one may seem to succeed with the data lost.
    lost: bool,
}

impl Deferred {
    /// Takes a segment in, or gives it back where it is one too many.
    pub(super) fn leave(&self, id: &UploadId, writer: LocalWriter) -> Option<LocalWriter> {
        let mut left = self.lock();
        if left.files >= MOST {
            return Some(writer);
        }
        left.files += 1;
        left.uploads.entry(*id).or_default().writers.push(writer);
        None
    }

    /// Finishes what is left of an upload. Where that failed once, it fails until the upload is discarded. Blocks.
    pub(super) fn finish(&self, id: &UploadId) -> Result<(), StoreError> {
        let Some(Segments { writers, lost }) = self.take(id) else {
            return Ok(());
        };
        let finished = if lost {
            let source = Errno::IO;
            Err(StoreError::io("sync a segment of", id.to_string(), source))
        } else {
            writers
                .into_iter()
                .try_for_each(|writer| Box::new(writer).finish())
        };
        if finished.is_err() {
            let writers = Vec::new();
            let lost = Segments {
                writers,
                lost: true,
            };
            self.lock().uploads.insert(*id, lost);
        }
        finished
    }

    /// Nothing of the upload is to be published.
    pub(super) fn forget(&self, id: &UploadId) {
        drop(self.take(id));
    }

    /// Files that are open because of it.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().files
    }

    fn take(&self, id: &UploadId) -> Option<Segments> {
        let mut left = self.lock();
        let segments = left.uploads.remove(id)?;
        left.files -= segments.writers.len();
        Some(segments)
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        // Whole at any time, so a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a segment, and leaves its sync where it is short.
pub(super) struct DeferringWriter {
    writer: LocalWriter,
    id: UploadId,
    written: u64,
    deferred: Arc<Deferred>,
}

impl DeferringWriter {
    pub(super) fn new(writer: LocalWriter, id: UploadId, deferred: &Arc<Deferred>) -> Self {
        Self {
            writer,
            id,
            written: 0,
            deferred: Arc::clone(deferred),
        }
    }
}

impl SegmentWriter for DeferringWriter {
    fn sync(&mut self) -> Result<(), StoreError> {
        self.writer.sync()
    }

    fn write(&mut self, sealed: &[u8]) -> Result<(), StoreError> {
        self.written += sealed.len() as u64;
        self.writer.write(sealed)
    }

    fn place(&mut self, size: usize) -> Result<Option<&mut [u8]>, StoreError> {
        let place = self.writer.place(size)?;
        if place.is_some() {
            self.written += size as u64;
        }
        Ok(place)
    }

    fn placed(&mut self) -> Result<(), StoreError> {
        self.writer.placed()
    }

    fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self {
            writer,
            id,
            written,
            deferred,
        } = *self;
        if written > SHORT {
            return Box::new(writer).finish();
        }
        durable::begin_sync(writer.file());
        match deferred.leave(&id, writer) {
            Some(one_too_many) => Box::new(one_too_many).finish(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::time::SystemTime;

    use super::*;

    fn sound() -> LocalWriter {
        let file = tempfile::tempfile().unwrap();
        LocalWriter::new(file, "x".into())
    }

    /// One that cannot be synced.
    fn broken() -> LocalWriter {
        let file = OpenOptions::new().write(true).open("/dev/null").unwrap();
        LocalWriter::new(file, "x".into())
    }

    fn id() -> UploadId {
        UploadId::generate(SystemTime::now())
    }

    #[test]
    fn what_is_left_is_finished_once_and_bounded() {
        let (deferred, first, second) = (Deferred::default(), id(), id());
        for _ in 0..MOST {
            assert!(deferred.leave(&first, sound()).is_none());
        }
        assert!(deferred.leave(&second, sound()).is_some());
        deferred.finish(&second).unwrap();
        deferred.finish(&first).unwrap();
        assert!(deferred.lock().uploads.is_empty());
        assert!(deferred.leave(&second, sound()).is_none());
        deferred.forget(&second);
        assert_eq!(deferred.count(), 0);
    }

    #[test]
    fn a_sync_that_failed_does_not_succeed_later_and_is_nobody_elses() {
        let (deferred, first, second) = (Deferred::default(), id(), id());
        assert!(deferred.leave(&first, broken()).is_none());
        assert!(deferred.leave(&first, sound()).is_none());
        assert!(deferred.leave(&second, sound()).is_none());
        for _ in 0..3 {
            let failed = deferred.finish(&first);
            assert!(matches!(failed, Err(StoreError::Io { .. })));
        }
        deferred.finish(&second).unwrap();
        deferred.forget(&first);
        deferred.finish(&first).unwrap();
        assert_eq!(deferred.count(), 0);
    }
}
