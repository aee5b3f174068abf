//! Which session records there are.

use std::ops::Range;
use std::time::SystemTime;

use super::names::{FOLDER, NewestFirst, split};
use super::{PAGE, Sessions};
use crate::store::s3::walk::Walk;
use crate::store::{StoreError, UploadId};

/// Objects of all session records of a store.
const MOST: usize = 20_000_000;

impl Sessions {
    /// Those of uploads that began in this time, in order. Lists nothing else.
    pub(super) fn begun(&self, within: &Range<SystemTime>) -> Result<Vec<UploadId>, StoreError> {
        let before = UploadId::before_all_since(within.start);
        self.heads(Some(format!("{FOLDER}{before}")), |id| {
            id.time() >= within.end
        })
    }

    pub(super) fn all(&self) -> Result<Vec<UploadId>, StoreError> {
        self.heads(None, |_| false)
    }

    /// Whose heads there are. Not whose folders: some engines show one for a while after everything in it is gone.
    fn heads(
        &self,
        mut after: Option<String>,
        is_past: impl Fn(&UploadId) -> bool,
    ) -> Result<Vec<UploadId>, StoreError> {
        let mut ids = Vec::new();
        let mut walk = Walk::through(FOLDER, MOST);
        loop {
            let page = self.bucket.list(FOLDER, after.as_deref(), PAGE)?;
            for object in &page.objects {
                // Whatever else lies there is none of ours.
                let Some((id, name)) = split(&object.key) else {
                    walk.stranger()?;
                    continue;
                };
                walk.ours()?;
                if is_past(&id) {
                    return Ok(ids);
                }
                if NewestFirst::parse(name) == NewestFirst::Head {
                    ids.push(id);
                }
            }
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
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
        let mut walk = Walk::through(FOLDER, MOST);
        // Whose entries were seen last, and no head behind them yet.
        let mut open: Option<UploadId> = None;
        'pages: loop {
            let page = self.bucket.list(FOLDER, after.as_deref(), PAGE)?;
            for object in &page.objects {
                let Some((id, name)) = split(&object.key) else {
                    walk.stranger()?;
                    continue;
                };
                walk.ours()?;
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
