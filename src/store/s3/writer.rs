//! Writing a segment: one request where it is small, in parts where it is not.

use std::sync::Arc;

use super::bucket::{Bucket, Notes, Parts};
use super::budget::Budget;
use super::buffer::{Buffer, UnderWay};
use super::chores::Chores;
use super::keys;
use super::limits::S3Limits;
use super::quota::Quota;
use super::store::S3Store;
use crate::store::{SegmentName, SegmentWriter, StoreError, UploadId};

/// After so many parts they become twice as large.
const GROW_EVERY: u32 = 1000;

/// A segment that is being written. Nothing of it is there before it is finished.
///
/// It holds one part in memory, and so many more as there is memory for that nobody else uses: with some it goes on while they
/// are on their way, without it waits for its own part.
pub(super) struct S3Writer {
    bucket: Bucket,
    quota: Arc<Quota>,
    chores: Chores,
    memory: Budget,
    part_size: u64,
    key: String,
    /// Where it is remembered what the engine calls it, so that another node can drop it when this one dies.
    marker: String,
    buffer: Buffer,
    under_way: UnderWay,
    parts: Option<Parts>,
    sent: u32,
    /// Bytes that it counts for in the quota.
    size: u64,
    /// Whether it may be there: then it counts, until somebody finds and removes it.
    may_be_there: bool,
}

impl S3Writer {
    pub(super) fn new(store: &S3Store, id: &UploadId, segment: &SegmentName) -> Self {
        Self {
            bucket: store.bucket.clone(),
            quota: Arc::clone(&store.quota),
            chores: store.chores.clone(),
            memory: store.memory.clone(),
            part_size: store.part_size(),
            key: keys::segment(id, segment),
            marker: keys::parts(id, segment),
            buffer: Buffer::default(),
            under_way: UnderWay::default(),
            parts: None,
            sent: 0,
            size: 0,
            may_be_there: false,
        }
    }

    fn part_size(&self) -> u64 {
        part_size(self.part_size, self.sent)
    }

    fn send_part(&mut self) -> Result<(), StoreError> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            begun => begun.insert(begin(&self.bucket, &self.key, &self.marker)?),
        };
        // Asked for and never waited for: whoever waits holds nothing that another one waits for.
        let held = self.memory.try_take(self.buffer.size());
        let waits = held.is_none();
        let body = self.buffer.take(&self.under_way, held);
        parts.send(body).map_err(overtaken)?;
        self.sent += 1;
        if waits {
            self.under_way.wait()?;
        }
        Ok(())
    }

    /// Says beside it whether that is certain, as [`Bucket::put_surely`] does. What certainly failed is kept, to be dropped.
    fn complete(&mut self, mut parts: Parts) -> (Result<(), StoreError>, bool) {
        let sent = if self.buffer.size() > 0 {
            parts.send(self.buffer.take(&self.under_way, None))
        } else {
            Ok(())
        };
        let (completed, is_certain) = match sent {
            Ok(()) => {
                let (completed, is_certain) = parts.complete();
                let completed = completed.or_else(|error| self.check_complete(error));
                (completed, is_certain)
            }
            Err(error) => (Err(overtaken(error)), true),
        };
        match &completed {
            Ok(()) => self.chores.delete(std::mem::take(&mut self.marker)),
            Err(_) if is_certain => self.parts = Some(parts),
            Err(_) => {}
        }
        (completed, is_certain)
    }

    /// Looks what became of a segment that could not be completed: the answer to an earlier try may have been lost, or somebody may
    /// have taken the upload over and dropped what was sent.
    fn check_complete(&self, error: StoreError) -> Result<(), StoreError> {
        if matches!(error, StoreError::Unavailable { .. }) {
            return Err(error);
        }
        match self.bucket.head(&self.key) {
            Ok(head) if head.size == self.size => return Ok(()),
            Ok(_) | Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
        match self.bucket.head(&self.marker) {
            Err(StoreError::NotFound) => Err(StoreError::Overtaken),
            _ => Err(error),
        }
    }
}

/// Bytes of the part behind so many others. An engine takes 10,000 of them: where segments end, none has so many, but what comes from
/// another store may be so large that they have to grow.
fn part_size(first: u64, sent: u32) -> u64 {
    let doublings = (sent / GROW_EVERY).min(3);
    let most = first.max(S3Limits::MAX_PART_SIZE);
    (first << doublings).min(most)
}

/// Only who takes the upload over drops what is sent in parts.
fn overtaken(error: StoreError) -> StoreError {
    match error {
        StoreError::NotFound => StoreError::Overtaken,
        error => error,
    }
}

fn begin(bucket: &Bucket, key: &str, marker: &str) -> Result<Parts, StoreError> {
    let parts = bucket.begin_parts(key)?;
    let name = parts.id().as_bytes().to_vec();
    match bucket.put(marker, name, &Notes::default()) {
        Ok(()) => Ok(parts),
        Err(error) => {
            parts.abort();
            Err(error)
        }
    }
}

impl SegmentWriter for S3Writer {
    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, mut sealed: &[u8]) -> Result<(), StoreError> {
        self.quota.take(sealed.len() as u64)?;
        self.size += sealed.len() as u64;
        while !sealed.is_empty() {
            // A full part goes off only now, when more follows: what is no larger than one part is one request.
            if self.buffer.size() >= self.part_size() {
                self.send_part()?;
            }
            let room = usize::try_from(self.part_size() - self.buffer.size()).unwrap_or(usize::MAX);
            let (now, later) = sealed.split_at(room.min(sealed.len()));
            self.buffer.push(now);
            sealed = later;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let (finished, is_certain) = match self.parts.take() {
            None => {
                let body = self.buffer.take(&self.under_way, None);
                (self.bucket).put_surely(&self.key, body, &Notes::default())
            }
            Some(parts) => self.complete(parts),
        };
        self.may_be_there = finished.is_ok() || !is_certain;
        finished
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        if !self.may_be_there {
            // Whoever drops it may be a thread of a runtime.
            self.quota.regain(self.size);
        }
        if let Some(parts) = self.parts.take() {
            self.chores.abort(parts, std::mem::take(&mut self.marker));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_so_that_large_segments_have_few_enough() {
        for first in [S3Limits::MIN_PART_SIZE, S3Limits::MAX_PART_SIZE] {
            let sizes = (0..10_000).map(|sent| part_size(first, sent));
            assert!(sizes.clone().is_sorted());
            assert!(sizes.clone().all(|size| size <= S3Limits::MAX_PART_SIZE));
            assert!(sizes.clone().take(1000).all(|size| size == first));
            assert!(sizes.sum::<u64>() > 450 << 30);
        }
    }
}
