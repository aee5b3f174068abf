//! Removing what servers left that died.

use std::time::{Duration, SystemTime};

use super::bucket::Listed;
use super::folder::Folder;
use super::keys;
use super::store::S3Store;
use super::unfinished;
use super::walk::Walk;
use crate::store::{Day, StoreError, UploadId};

const PAGE: usize = 1000;

/// Days that are looked at in one call at most.
const MOST_DAYS: usize = 31;

/// An upload that comes in one body has no session record, and its bytes may come this slowly.
const LONGEST_REQUEST: Duration = Duration::from_hours(48);

/// So much older is what is removed: clocks differ, and what began just before midnight ends after it.
const MARGIN: Duration = Duration::from_hours(24);

/// What was written before this, for an upload that is staged for so long at most, is nobody's any more.
pub(super) fn given_up_before(lifetime: Duration, now: SystemTime) -> Option<SystemTime> {
    now.checked_sub(lifetime.max(LONGEST_REQUEST) + MARGIN)
}

/// What is done with a day.
struct DaySweep<'a> {
    store: &'a S3Store,
    /// What was written after this may still be somebody's.
    before: SystemTime,
    removed: usize,
    /// Whether something was found that is too young to be removed.
    has_young: bool,
}

impl S3Store {
    pub(super) fn sweep_all(
        &self,
        lifetime: Duration,
        after: Option<Day>,
        now: SystemTime,
    ) -> Result<(usize, Option<Day>), StoreError> {
        let mut removed = unfinished::sweep(self, lifetime, now)?;
        let mut done = after;
        let Some(before) = given_up_before(lifetime, now) else {
            return Ok((removed, done));
        };
        removed += self.sessions.sweep_headless(before)?;
        let last = Day::of(before);
        let after = after.map(|day| day.to_string());
        let days = self
            .bucket
            .folders(keys::UPLOADS, after.as_deref(), MOST_DAYS)?;
        for day in days.names {
            let Ok(day) = day.parse::<Day>() else {
                continue;
            };
            // All of the day has to be over.
            if day >= last {
                break;
            }
            let mut sweep = DaySweep {
                store: self,
                before,
                removed: 0,
                has_young: false,
            };
            sweep.run(day)?;
            removed += sweep.removed;
            if sweep.has_young {
                break;
            }
            done = Some(day);
        }
        Ok((removed, done))
    }
}

impl DaySweep<'_> {
    fn run(&mut self, day: Day) -> Result<(), StoreError> {
        let prefix = keys::day(day);
        let mut after: Option<String> = None;
        let mut walk = Walk::through(&prefix, usize::MAX);
        let mut current: Option<(UploadId, Folder)> = None;
        loop {
            let bucket = &self.store.bucket;
            let page = bucket.list(&prefix, after.as_deref(), PAGE)?;
            after = page.objects.last().map(|last| last.key.clone());
            for object in page.objects {
                self.add(&mut walk, &mut current, object)?;
            }
            if !page.more || after.is_none() {
                break;
            }
        }
        current.map_or(Ok(()), |(id, folder)| self.look(&id, &folder))
    }

    /// Puts an object to the others of its upload; the upload before it is complete then.
    fn add(
        &mut self,
        walk: &mut Walk<'_>,
        current: &mut Option<(UploadId, Folder)>,
        object: Listed,
    ) -> Result<(), StoreError> {
        let Some((id, name)) = keys::in_folder(&object.key) else {
            return walk.stranger();
        };
        walk.ours()?;
        let name = name.to_owned();
        if current.as_ref().is_none_or(|(before, _)| *before != id)
            && let Some((before, folder)) = current.replace((id, Folder::default()))
        {
            self.look(&before, &folder)?;
        }
        if let Some((_, folder)) = current {
            folder.add(&name, object);
        }
        Ok(())
    }

    fn look(&mut self, id: &UploadId, folder: &Folder) -> Result<(), StoreError> {
        let young = |object: &Listed| object.modified >= self.before;
        if folder.meta.is_some() {
            if is_tidy(folder) {
                return Ok(());
            }
            let before = self.before;
            let old = |modified| modified < before;
            let (rest, _) = unfinished::unnamed(self.store, id, folder, old)?;
            if rest.len() > 0 {
                let store = self.store;
                self.removed += store.clear(id, |folder| {
                    unfinished::unnamed(store, id, &folder, old).map(|(rest, _)| rest)
                })?;
            }
            return Ok(());
        }
        if unfinished::has_session(self.store, id)? {
            return Ok(());
        }
        if folder.all().any(young) {
            self.has_young = true;
            return Ok(());
        }
        // Published in the meantime it is not: nothing of it has changed for longer than anybody works on an upload.
        self.removed += self.store.clear_unpublished(id)?;
        Ok(())
    }
}

/// Whether there is nothing beside a manifest but what looks like its one segment: with more of them, only the notes beside the
/// manifest tell which ones are its own.
fn is_tidy(folder: &Folder) -> bool {
    folder.segments.len() <= 1 && folder.parts.is_empty() && folder.names.is_empty()
}
