//! Which uploads are published.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::keys::{self, Entry};
use super::store::S3Store;
use super::walk::Walk;
use crate::store::{StoreError, UploadId};

/// Objects asked for at once, at least and at most.
const PAGES: (usize, usize) = (100, 1000);

/// How long to look for uploads among what is not published.
const PATIENCE: Duration = Duration::from_mins(1);

/// An engine lists on and on, and no upload.
#[derive(Debug, thiserror::Error)]
#[error("the engine was listing for a minute and more, and is not done; try again")]
struct Endless;

impl S3Store {
    /// Reads through the keys of all uploads, which come in the order of their ids. Of an upload with many segments it asks for
    /// no more than one page: its manifest comes behind them.
    pub(super) fn list_published(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadId>, StoreError> {
        let mut ids = Vec::new();
        let mut from = after.map(keys::behind);
        let mut walk = Walk::through(keys::UPLOADS, usize::MAX);
        let until = Instant::now() + PATIENCE;
        while ids.len() < limit {
            // Most uploads have one segment, so that each of them is two objects.
            let most = (limit - ids.len()).saturating_mul(2).saturating_add(2);
            let most = most.clamp(PAGES.0, PAGES.1);
            let page = self.bucket.list(keys::UPLOADS, from.as_deref(), most)?;
            for object in &page.objects {
                let entry = keys::in_folder(&object.key)
                    .and_then(|(id, name)| Some((id, Entry::of(name)?)));
                walk.met(entry.is_some())?;
                match entry {
                    Some((id, Entry::Meta)) => ids.push(id),
                    Some(_) => {}
                    None => self.warn_of_stranger(&object.key),
                }
            }
            if Instant::now() > until {
                let source = Endless.into();
                return Err(StoreError::Unavailable { source });
            }
            let last = page.objects.last().filter(|_| page.more);
            let Some(last) = last.map(|last| &last.key) else {
                break;
            };
            from = Some(behind(last));
        }
        ids.truncate(limit);
        Ok(ids)
    }

    fn warn_of_stranger(&self, key: &str) {
        if !self.warned_of_strangers.swap(true, Relaxed) {
            tracing::warn!(
                key,
                "ignoring what is no upload of this store; look where it came from"
            );
        }
    }
}

/// Where to go on behind a key without missing a manifest.
fn behind(key: &str) -> String {
    match keys::in_folder(key) {
        Some((id, name))
            if matches!(Entry::of(name), Some(Entry::Segment(_) | Entry::Parts(_))) =>
        {
            keys::behind_segments(&id)
        }
        Some((id, name)) if Entry::of(name).is_some() => keys::behind(&id),
        _ => key.to_owned(),
    }
}
