//! What is under `uploads/`: found and listed, never changed here.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::directory::Directory;
use crate::store::{Day, StoreError, UploadId};

/// The folder `uploads/`.
pub(super) struct Published {
    uploads: Directory,
    warned_of_strangers: AtomicBool,
}

impl Published {
    pub(super) fn new(uploads: Directory) -> Self {
        Self {
            uploads,
            warned_of_strangers: AtomicBool::new(false),
        }
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> &Directory {
        &self.uploads
    }

    #[cfg(test)]
    pub(super) fn has_warned(&self) -> bool {
        self.warned_of_strangers.load(Ordering::Relaxed)
    }

    /// The folder of a day, if there is one.
    pub(super) fn day(&self, day: Day) -> Result<Option<Directory>, StoreError> {
        open_if_there(&self.uploads, &day.to_string())
    }

    /// Ids in order, those after `after` only, at most `limit`.
    pub(super) fn list(
        &self,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadId>, StoreError> {
        let mut listed = Vec::new();
        for day in self.days(after.map(UploadId::day))? {
            let room = limit - listed.len();
            if room == 0 {
                break;
            }
            listed.extend(self.ids(day, after, room)?);
        }
        Ok(listed)
    }

    /// Hands the name of every folder in `parent` to `take`, which says whether it belongs there. Strangers are reported
    /// once.
    fn each_folder(
        &self,
        parent: &Directory,
        mut take: impl FnMut(&str) -> bool,
    ) -> Result<(), StoreError> {
        let unreadable = |errno| StoreError::io("read", parent.path(), errno);
        let mut strangers = 0_usize;
        for entry in parent.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry
                .name
                .to_str()
                .filter(|_| entry.kind == FileType::Directory);
            if !name.is_some_and(&mut take) {
                strangers += 1;
            }
        }
        if strangers > 0 && !self.warned_of_strangers.swap(true, Ordering::Relaxed) {
            let folder = parent.path().display();
            tracing::warn!(%folder, strangers, "ignoring what is no upload of this store; look where it came from");
        }
        Ok(())
    }

    /// The days from `first` on that have a folder, in order.
    fn days(&self, first: Option<Day>) -> Result<Vec<Day>, StoreError> {
        let mut days = Vec::new();
        self.each_folder(&self.uploads, |name| {
            let day = name.parse::<Day>();
            days.extend(
                day.ok()
                    .filter(|day| first.is_none_or(|first| *day >= first)),
            );
            day.is_ok()
        })?;
        days.sort_unstable();
        Ok(days)
    }

    /// The first `limit` ids of a day after `after`, in order. No more than these are kept, however many there are.
    fn ids(
        &self,
        day: Day,
        after: Option<&UploadId>,
        limit: usize,
    ) -> Result<BTreeSet<UploadId>, StoreError> {
        let mut ids = BTreeSet::new();
        let Some(folder) = open_if_there(&self.uploads, &day.to_string())? else {
            return Ok(ids);
        };
        self.each_folder(&folder, |name| {
            let id = name.parse::<UploadId>().ok().filter(|id| id.day() == day);
            ids.extend(id.filter(|id| after.is_none_or(|after| id > after)));
            if ids.len() > limit {
                ids.pop_last();
            }
            id.is_some()
        })?;
        Ok(ids)
    }
}

/// Opens a folder in `parent` if there is one. A link or a file in its place is an error: nothing is read through it.
pub(super) fn open_if_there(
    parent: &Directory,
    name: &str,
) -> Result<Option<Directory>, StoreError> {
    match parent.open_folder(name) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NOTDIR | Errno::LOOP) => Err(StoreError::UnexpectedFile {
            path: parent.path().join(name),
        }),
        Err(errno) => Err(parent.error("open", name, errno)),
    }
}
