//! Manifests that were opened a moment ago, for a server that has a private key: whoever fetches an upload in many parts asks for the
//! same one each time, and to open it anew takes an operation with a private key, which is a millisecond with RSA.
//!
//! A manifest is found by the digest of its sealed bytes, which are read each time all the same. So what is given is always what these
//! bytes open to, whatever has become of the upload since. Manifests hold the file keys of their uploads, which the private key
//! beside them opens anyway; they are few, and are let go after a minute.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use super::open::{ReadError, open_meta};
use crate::seal::Identity;

/// How long a manifest is kept after it was opened.
const KEPT: Duration = Duration::from_mins(1);
/// How many are kept: downloads at the same time are few.
const MOST: usize = 16;
/// The longest `meta.age` that is kept, in bytes. Longer ones are of uploads with many segments.
const LONGEST: usize = 64 * 1024;

/// What a `meta.age` opened to, and when.
struct Opened {
    digest: [u8; 32],
    manifest: Arc<Manifest>,
    at: Instant,
}

/// The manifests that one set of private keys has opened.
#[derive(Default)]
pub(super) struct OpenedManifests(Mutex<Vec<Opened>>);

impl OpenedManifests {
    /// Opens the bytes of a `meta.age`. `identities` must be the same in every call. Blocks.
    pub(super) fn open(
        &self,
        meta: &[u8],
        identities: &[Identity],
    ) -> Result<Arc<Manifest>, ReadError> {
        if meta.len() > LONGEST {
            return Ok(Arc::new(open_meta(meta, identities)?.0));
        }
        let digest: [u8; 32] = Sha256::digest(meta).into();
        if let Some(manifest) = self.find(&digest) {
            return Ok(manifest);
        }
        let manifest = Arc::new(open_meta(meta, identities)?.0);
        let opened = Opened {
            digest,
            manifest: Arc::clone(&manifest),
            at: Instant::now(),
        };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            kept.remove(0);
        }
        kept.push(opened);
        Ok(manifest)
    }

    /// Lets go what has been kept for long, too.
    fn find(&self, digest: &[u8; 32]) -> Option<Arc<Manifest>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|opened| opened.at.elapsed() < KEPT);
        let found = kept.iter().find(|opened| opened.digest == *digest)?;
        Some(Arc::clone(&found.manifest))
    }
}
