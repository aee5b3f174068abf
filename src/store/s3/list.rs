//! Which uploads are published.

use std::sync::atomic::Ordering::Relaxed;

use super::keys::{self, Entry};
use super::store::S3Store;
use crate::store::{StoreError, UploadId};

/// Objects asked for at once, at least and at most.
const PAGES: (usize, usize) = (100, 1000);

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
        while ids.len() < limit {
            // Most uploads have one segment, so that each of them is two objects.
            let most = (limit - ids.len()).saturating_mul(2).saturating_add(2);
            let most = most.clamp(PAGES.0, PAGES.1);
            let page = self.bucket.list(keys::UPLOADS, from.as_deref(), most)?;
            for object in &page.objects {
                match keys::in_folder(&object.key) {
                    Some((id, name)) if Entry::of(name) == Some(Entry::Meta) => ids.push(id),
                    Some((_, name)) if Entry::of(name).is_some() => {}
                    _ => self.warn_of_stranger(&object.key),
                }
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
