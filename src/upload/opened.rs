//! Manifests that were opened a moment ago, for a server that has a private key: whoever fetches an upload in many parts asks for the
//! same one each time, and to open it anew takes an operation with a private key, which is a millisecond with RSA.
//!
//! A manifest is found by the digest of its sealed bytes, which are read each time all the same. So what is given is always what these
//! bytes open to, whatever has become of the upload since. With it is kept which segments were seen to end where they should, so
//! that not every part takes the last chunk as well. Manifests hold the file keys of their uploads, which the private key
//! beside them opens anyway, as long as the uploads are there. They are few, are let go after a minute, and at once when their
//! upload is deleted or sealed anew: from then on nobody shall open what may still lie on a disk. Whoever opens an upload at that very
//! moment may bring its manifest in once more, and another server may delete it: then it is the minute that counts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use super::open::{ReadError, open_meta};
use crate::seal::Identity;
use crate::store::UploadId;

/// How long a manifest is kept after it was opened.
pub(super) const KEPT: Duration = Duration::from_mins(1);
/// How many are kept: downloads at the same time are few.
pub(super) const MOST: usize = 16;
/// The longest `meta.age` that is kept, in bytes. Longer ones are of uploads with many segments.
pub(super) const LONGEST: usize = 64 * 1024;

/// A manifest that was opened, and what was found out about the segments that it lists.
pub(super) struct OpenedManifest {
    pub(super) manifest: Manifest,
    /// For each segment whether its last chunk was opened as the last one.
    ended: Box<[AtomicBool]>,
}

impl From<Manifest> for OpenedManifest {
    fn from(manifest: Manifest) -> Self {
        let ended = manifest.segments.iter().map(|_| AtomicBool::new(false));
        Self {
            ended: ended.collect(),
            manifest,
        }
    }
}

impl OpenedManifest {
    /// Whether the segment was seen to end where the manifest says. A file of that size needs no look at its end then: what is
    /// cut off has another size.
    pub(super) fn has_seen_end_of(&self, segment: u32) -> bool {
        let ended = self.ended.get(segment as usize);
        ended.is_some_and(|ended| ended.load(Ordering::Relaxed))
    }

    /// The last chunk of the segment, which has the size that the manifest says, was opened as the last one.
    pub(super) fn saw_end_of(&self, segment: u32) {
        if let Some(ended) = self.ended.get(segment as usize) {
            ended.store(true, Ordering::Relaxed);
        }
    }
}

/// What a `meta.age` opened to, and when.
struct Opened {
    digest: [u8; 32],
    manifest: Arc<OpenedManifest>,
    at: Instant,
}

/// The manifests that one set of private keys has opened.
#[derive(Default)]
pub(super) struct OpenedManifests(Mutex<Vec<Opened>>);

impl OpenedManifests {
    /// Opens the bytes of a `meta.age`. `identities` must be the same in every call; `now` is the time. Blocks.
    pub(super) fn open(
        &self,
        meta: &[u8],
        identities: &[Identity],
        now: Instant,
    ) -> Result<Arc<OpenedManifest>, ReadError> {
        let open = || open_meta(meta, identities).map(|(manifest, _)| Arc::new(manifest.into()));
        if meta.len() > LONGEST {
            return open();
        }
        let digest: [u8; 32] = Sha256::digest(meta).into();
        if let Some(manifest) = self.find(&digest, now) {
            return Ok(manifest);
        }
        let manifest = open()?;
        let opened = Opened {
            digest,
            manifest: Arc::clone(&manifest),
            at: now,
        };
        let mut kept = self.lock();
        // Somebody else may have opened the same meanwhile.
        kept.retain(|other| other.digest != digest);
        if kept.len() >= MOST {
            kept.remove(0);
        }
        kept.push(opened);
        Ok(manifest)
    }

    /// Lets go what belongs to an upload, which is deleted or sealed anew.
    pub(super) fn forget(&self, id: &UploadId) {
        self.lock()
            .retain(|opened| opened.manifest.manifest.id != *id);
    }

    /// Lets go what has been kept for long. For whoever comes by now and then: without that, what is opened last would stay.
    pub(super) fn let_old_go(&self, now: Instant) {
        self.lock()
            .retain(|opened| now.saturating_duration_since(opened.at) < KEPT);
    }

    fn find(&self, digest: &[u8; 32], now: Instant) -> Option<Arc<OpenedManifest>> {
        self.let_old_go(now);
        let kept = self.lock();
        let found = kept.iter().find(|opened| opened.digest == *digest)?;
        Some(Arc::clone(&found.manifest))
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Opened>> {
        // Whole at any time, so a panic elsewhere cannot have left it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
