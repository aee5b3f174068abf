//! What is written down before something of an upload is removed or replaced, so that somebody goes on with it where whoever began
//! dies.

use std::time::{Duration, SystemTime};

use super::bucket::{ETag, Notes};
use super::folder::Folder;
use super::keys;
use super::notes::{self, Named};
use super::removal::Removal;
use super::store::S3Store;
use super::sweep::given_up_before;
use crate::store::{SessionStore, StoreError, UploadId};

/// What somebody is doing with an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Removing it: its manifest first.
    Deleting,
    /// Putting other segments in the place of its own.
    Rewrapping,
    /// Removing what was staged or written for nothing.
    Clearing,
    /// Writing it, though its id is an old one: it comes from another store. Sweeping, which looks at each day once, has been there.
    Staging,
}

/// Bytes of the longest note: the word for it, and what tells notes apart where that matters.
pub(super) const LONGEST: u64 = 64;

/// Nobody is at work on one segment, nor on removing an upload, for as long as that.
const LONGEST_WORK: Duration = Duration::from_hours(24);

/// So many are gone on with at once; more wait for the next time.
const AT_ONCE: usize = 1000;

/// From this age on an id may have been swept past.
const OLD: Duration = Duration::from_hours(48);

impl Doing {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Clearing => "clearing",
            Self::Deleting => "deleting",
            Self::Rewrapping => "rewrapping",
            Self::Staging => "staging",
        }
    }

    pub(super) fn of(note: &[u8]) -> Option<Self> {
        let word = note.split(|byte| *byte == b' ').next()?;
        let all = [
            Self::Deleting,
            Self::Rewrapping,
            Self::Clearing,
            Self::Staging,
        ];
        all.into_iter()
            .find(|doing| doing.word().as_bytes() == word)
    }
}

/// Writes down that something begins, whatever was noted before.
pub(super) fn begin(store: &S3Store, id: &UploadId, doing: Doing) -> Result<(), StoreError> {
    let word = doing.word().as_bytes();
    store
        .bucket
        .put(&keys::unfinished(id), word.to_vec(), &Notes::default())
}

/// It has come to its end.
pub(super) fn end(store: &S3Store, id: &UploadId) -> Result<(), StoreError> {
    store.bucket.delete(&keys::unfinished(id))
}

/// What somebody began with an upload, and has not come to the end of.
pub(super) fn doing(store: &S3Store, id: &UploadId) -> Result<Option<Doing>, StoreError> {
    Ok(note(store, id)?.and_then(|(doing, _)| doing))
}

/// The same, and which note says so, also where it cannot be understood.
pub(super) fn note(
    store: &S3Store,
    id: &UploadId,
) -> Result<Option<(Option<Doing>, ETag)>, StoreError> {
    match store.bucket.get(&keys::unfinished(id), LONGEST) {
        Ok(object) => Ok(Some((Doing::of(&object.bytes), object.etag))),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// To be called before something is staged for an upload.
pub(super) fn staging(store: &S3Store, id: &UploadId) -> Result<(), StoreError> {
    if is_old(id) && !store.staging_old.contains(id) {
        begin(store, id, Doing::Staging)?;
        store.staging_old.insert(*id);
    }
    Ok(())
}

/// To be called when nothing is staged for an upload any more.
pub(super) fn staged_no_more(store: &S3Store, id: &UploadId) {
    if !store.staging_old.contains(id) {
        return;
    }
    match end(store, id) {
        Ok(()) => store.staging_old.remove(id),
        // Sweeping finds the upload as it is to be.
        Err(error) => tracing::debug!(%id, %error, "the note of what was staged stays"),
    }
}

fn is_old(id: &UploadId) -> bool {
    let age = SystemTime::now().duration_since(id.time());
    age.is_ok_and(|age| age > OLD)
}

/// Goes on with what others left; `lifetime`: for how long an upload may be staged. Gives how many objects were removed.
pub(super) fn sweep(
    store: &S3Store,
    lifetime: Duration,
    now: SystemTime,
) -> Result<usize, StoreError> {
    let page = store.bucket.list(keys::UNFINISHED, None, AT_ONCE)?;
    let mut removed = 0;
    for object in page.objects {
        let id = object.key.strip_prefix(keys::UNFINISHED).unwrap_or("");
        let Ok(id) = id.parse::<UploadId>() else {
            continue;
        };
        let age = now.duration_since(object.modified).unwrap_or_default();
        if age < LONGEST_WORK {
            continue;
        }
        let Some((Some(doing), etag)) = note(store, &id)? else {
            continue;
        };
        let is_given_up =
            given_up_before(lifetime, now).is_some_and(|before| object.modified < before);
        if doing == Doing::Staging && !is_given_up {
            continue;
        }
        // Whoever rewraps and only stood still is told so by that: what it wrote may be gone now.
        let own = match doing {
            Doing::Rewrapping => Doing::Clearing,
            doing => doing,
        };
        let Some(removal) = Removal::take_up(store, &id, own, &etag)? else {
            continue;
        };
        removed += go_on(store, &id, doing, &removal, now)?;
    }
    Ok(removed)
}

/// Gives how many objects were removed.
fn go_on(
    store: &S3Store,
    id: &UploadId,
    doing: Doing,
    removal: &Removal<'_>,
    now: SystemTime,
) -> Result<usize, StoreError> {
    let folder = Folder::list(&store.bucket, id)?;
    if folder.meta.is_some() {
        let before = now.checked_sub(LONGEST_WORK);
        let old = |modified| before.is_some_and(|before| modified < before);
        let (rest, young) = unnamed(store, id, &folder, old)?;
        removal.remove(&rest, young == 0)?;
        return Ok(rest.len());
    }
    let may_come = matches!(doing, Doing::Staging | Doing::Clearing);
    let folder = if may_come && has_session(store, id)? {
        Folder::default()
    } else {
        folder
    };
    removal.remove(&folder, true)?;
    Ok(folder.len())
}

/// Whether more of a staged upload may come.
pub(super) fn has_session(store: &S3Store, id: &UploadId) -> Result<bool, StoreError> {
    match store.session_head(id) {
        Ok(_) => Ok(true),
        Err(StoreError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What lies beside a published upload and is not part of it, where it is `old`, and how many there are that are not.
///
/// `folder` was looked at before this looks what the upload has: what was there then, and is not the upload's now, never will be.
pub(super) fn unnamed(
    store: &S3Store,
    id: &UploadId,
    folder: &Folder,
    old: impl Fn(SystemTime) -> bool,
) -> Result<(Folder, usize), StoreError> {
    let mut rest = Folder::default();
    let upload = match store.open_upload(id) {
        Err(StoreError::NotFound) => return Ok((rest, 0)),
        upload => upload?,
    };
    // Where it says nothing of its segments, all of them may be its own.
    let named = match notes::named(&upload.meta().notes) {
        Named::Lost => return Ok((rest, 0)),
        named => named,
    };
    let segments = upload.segments()?;
    for (name, object) in &folder.segments {
        if segments.binary_search(name).is_err() {
            rest.segments.push((*name, object.clone()));
        }
    }
    for (tag, object) in &folder.names {
        if named != Named::Listed(tag.clone()) {
            rest.names.push((tag.clone(), object.clone()));
        }
    }
    rest.parts.clone_from(&folder.parts);
    let all = rest.len();
    rest.segments.retain(|(_, object)| old(object.modified));
    rest.parts.retain(|object| old(object.modified));
    rest.names.retain(|(_, object)| old(object.modified));
    let young = all - rest.len();
    Ok((rest, young))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        let all = [
            Doing::Deleting,
            Doing::Rewrapping,
            Doing::Clearing,
            Doing::Staging,
        ];
        for doing in all {
            assert_eq!(Doing::of(doing.word().as_bytes()), Some(doing));
            let told_apart = format!("{} {}", doing.word(), keys::tag());
            assert_eq!(Doing::of(told_apart.as_bytes()), Some(doing));
            assert!(told_apart.len() as u64 <= LONGEST);
        }
        assert_eq!(Doing::of(b""), None);
    }
}
