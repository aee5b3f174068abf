//! Which session records there are.

use std::ops::Range;
use std::time::SystemTime;

use super::names::{FOLDER, NewestFirst, split};
use super::{PAGE, Sessions};
use crate::store::{StoreError, UploadId};

impl Sessions {
    /// Those of uploads that began in this time, in order. Lists nothing else.
    pub(super) fn begun(&self, within: &Range<SystemTime>) -> Result<Vec<UploadId>, StoreError> {
        let after = UploadId::before_all_since(within.start);
        self.folders(Some(after.to_string()), |id| id.time() >= within.end)
    }

    pub(super) fn all(&self) -> Result<Vec<UploadId>, StoreError> {
        self.folders(None, |_| false)
    }

    fn folders(
        &self,
        mut after: Option<String>,
        is_past: impl Fn(&UploadId) -> bool,
    ) -> Result<Vec<UploadId>, StoreError> {
        let mut ids = Vec::new();
        loop {
            let page = self.bucket.folders(FOLDER, after.as_deref(), PAGE)?;
            for name in &page.names {
                match name.parse() {
                    Ok(id) if is_past(&id) => return Ok(ids),
                    Ok(id) => ids.push(id),
                    // Nothing of ours.
                    Err(_) => {}
                }
            }
            match page.names.last() {
                Some(last) if page.more => after = Some(last.clone()),
                _ => return Ok(ids),
            }
        }
    }

    /// Removes entries whose record has no head any more, of uploads that began before this time, and gives of how many: a server
    /// put them while another one removed the record. It lists all that began before, so choose a time by which most are over.
    pub(in crate::store::s3) fn sweep_headless(
        &self,
        before: SystemTime,
    ) -> Result<usize, StoreError> {
        let mut swept = 0;
        let mut after: Option<String> = None;
        // Whose entries were seen last, and no head behind them yet.
        let mut open: Option<UploadId> = None;
        'pages: loop {
            let page = self.bucket.list(FOLDER, after.as_deref(), PAGE)?;
            for object in &page.objects {
                let Some((id, name)) = split(&object.key) else {
                    continue;
                };
                if open.is_some_and(|open| open != id) {
                    swept += self.sweep_one(open.take())?;
                }
                if id.time() >= before {
                    break 'pages;
                }
                match NewestFirst::parse(name) {
                    NewestFirst::Entry(_) => open = Some(id),
                    NewestFirst::Head => open = None,
                    NewestFirst::Other => {}
                }
            }
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => break,
            }
        }
        Ok(swept + self.sweep_one(open)?)
    }

    fn sweep_one(&self, id: Option<UploadId>) -> Result<usize, StoreError> {
        let Some(id) = id else {
            return Ok(0);
        };
        self.remove(&id)?;
        Ok(1)
    }
}
