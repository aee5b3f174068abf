//! How much may still be stored.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, fstatvfs, statat};
use rustix::io::Errno;

use super::directory::Directory;
use crate::store::StoreError;

/// After how many bytes of one file it is looked whether the disk has enough left.
const LOOK_EVERY: u64 = 64 << 20;

/// For how long a look at the disk tells enough, where it had [`AMPLE`] bytes more than are asked for: no disk takes so much in
/// that time. It spares each of many small uploads the way to a thread that may block.
const LOOK_LASTS: Duration = Duration::from_millis(50);
const AMPLE: u64 = 2 << 30;

/// How much a store may take.
#[derive(Debug, Clone)]
pub struct StoreLimits {
    /// Bytes of sealed files in all, staged and published; `None`: as many as there is room for. With it the files are measured
    /// when the store is opened.
    pub quota: Option<u64>,
    /// Bytes of the file system that stay free.
    pub min_free: u64,
}

impl Default for StoreLimits {
    /// No quota, and 16 MiB.
    fn default() -> Self {
        Self {
            quota: None,
            min_free: 16 << 20,
        }
    }
}

/// The limits, with what has been taken of the quota. What is on the disk counts: each file once, whatever names it has.
pub(super) struct Room {
    limits: StoreLimits,
    stored: AtomicU64,
    /// When the disk was last looked at, and how many bytes it had free then.
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Room {
    pub(super) fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            stored: AtomicU64::new(0),
            seen: Mutex::new(None),
        }
    }

    /// Bytes that are stored, where they are counted.
    pub(super) fn counted(&self) -> Option<u64> {
        self.limits.quota.map(|_| self.stored.load(Relaxed))
    }

    /// Counts bytes that are about to be written, where they fit.
    pub(super) fn take(&self, bytes: u64) -> Result<(), StoreError> {
        let Some(quota) = self.limits.quota else {
            return Ok(());
        };
        let more = |stored: u64| stored.checked_add(bytes).filter(|sum| *sum <= quota);
        let taken = self.stored.fetch_update(Relaxed, Relaxed, more);
        taken.map(drop).map_err(|_| StoreError::QuotaReached)
    }

    /// A file has another size now, which is not asked about.
    pub(super) fn resized(&self, before: u64, after: u64) {
        if self.limits.quota.is_some() {
            let change = |stored: u64| Some((stored + after).saturating_sub(before));
            let _ = self.stored.fetch_update(Relaxed, Relaxed, change);
        }
    }

    /// Whether so many more bytes would fit.
    pub(super) fn check(&self, bytes: u64, disk: impl AsFd) -> Result<(), StoreError> {
        self.check_quota(bytes)?;
        let disk = fstatvfs(disk);
        let disk = disk.map_err(|errno| StoreError::io("look at", "the disk", errno))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        *self.seen() = Some((Instant::now(), free));
        if free < self.limits.min_free.saturating_add(bytes) {
            return Err(StoreError::Full {
                source: Errno::NOSPC.into(),
            });
        }
        Ok(())
    }

    /// The same without a look at the disk, where the last one tells it.
    pub(super) fn check_now(&self, bytes: u64) -> Option<Result<(), StoreError>> {
        if let Err(reached) = self.check_quota(bytes) {
            return Some(Err(reached));
        }
        let (looked, free) = (*self.seen())?;
        let wanted = self.limits.min_free.saturating_add(bytes);
        let tells = looked.elapsed() < LOOK_LASTS && free >= wanted.saturating_add(AMPLE);
        tells.then_some(Ok(()))
    }

    fn check_quota(&self, bytes: u64) -> Result<(), StoreError> {
        let quota = self.limits.quota.unwrap_or(u64::MAX);
        if self.stored.load(Relaxed).saturating_add(bytes) > quota {
            return Err(StoreError::QuotaReached);
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Option<(Instant, u64)>> {
        // Replaced as a whole, so a panic elsewhere cannot have left it half done.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same while a file is written, every so often. `since`: bytes of it since the last look.
    pub(super) fn look(&self, since: &mut u64, file: &File) -> Result<(), StoreError> {
        if *since < LOOK_EVERY {
            return Ok(());
        }
        *since = 0;
        self.check(0, file)
    }

    /// Bytes that the disk gives back when this name goes, where they are counted.
    pub(super) fn given_back(&self, folder: &Directory, name: &std::ffi::OsStr) -> u64 {
        if self.limits.quota.is_none() {
            return 0;
        }
        match statat(folder.handle(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_file(&stat) && stat.st_nlink == 1 => {
                u64::try_from(stat.st_size).unwrap_or(0)
            }
            _ => 0,
        }
    }
}

fn is_file(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Bytes of all files in a folder, however deep. A file with two names counts half at each.
pub(super) fn measure(folder: &Directory) -> Result<u64, StoreError> {
    let unreadable = |errno| StoreError::io("read", folder.path(), errno);
    let mut bytes = 0;
    for entry in folder.entries().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.kind == FileType::Directory {
            match folder.open_folder(&entry.name) {
                Ok(inner) => bytes += measure(&inner)?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(folder.error("open", &entry.name, errno)),
            }
            continue;
        }
        match statat(folder.handle(), &entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_file(&stat) => {
                bytes += u64::try_from(stat.st_size).unwrap_or(0) / stat.st_nlink.max(1);
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(folder.error("measure", &entry.name, errno)),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(quota: Option<u64>) -> Room {
        Room::new(StoreLimits { quota, min_free: 0 })
    }

    #[test]
    fn what_was_just_seen_tells_of_a_disk_with_ample_room_alone() {
        let room = room(None);
        assert!(room.check_now(0).is_none(), "nobody has looked");
        let now = Instant::now();
        let seen = |when, free| *room.seen() = Some((when, free));
        // As of a moment that does not pass while this looks.
        seen(now + Duration::from_mins(1), AMPLE + 10);
        assert!(matches!(room.check_now(10), Some(Ok(()))));
        assert!(room.check_now(11).is_none());
        assert!(room.check_now(u64::MAX).is_none());
        if let Some(earlier) = now.checked_sub(LOOK_LASTS) {
            seen(earlier, u64::MAX);
            assert!(room.check_now(0).is_none(), "that was too long ago");
        }
    }

    #[test]
    fn a_quota_is_told_at_once() {
        let room = room(Some(10));
        assert!(matches!(
            room.check_now(11),
            Some(Err(StoreError::QuotaReached))
        ));
        assert!(room.check_now(10).is_none());
    }
}
