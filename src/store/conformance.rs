//! What every store must do. A store's own tests call [`run`].

mod published;
mod records;
mod rewrap;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use super::{
    Change, Collection, ENTRY_SIZE, EntryBytes, MAX_SEGMENTS, Publication, RecordName, RecordStore,
    SealedFile, SegmentName, SegmentWriter, Store, StoreError, UploadId,
};

pub(crate) use records::count;

/// A place that holds one store, empty at first. Opened again, after the store was dropped, it holds what it held.
pub(crate) trait Place {
    /// Opens the store.
    fn open(&self) -> Box<dyn Store>;

    /// Opens it again when everybody is dead who had it open: nothing is staged any more but what a session record goes on with.
    fn reopen(&self) -> Box<dyn Store> {
        self.open()
    }
}

type Case = fn(&dyn Place);

/// Runs every case, each in a new place.
pub(crate) fn run<P: Place>(new_place: impl Fn() -> P) {
    let cases = [
        published::CASES,
        sessions::CASES,
        records::CASES,
        rewrap::CASES,
    ];
    for (name, case) in cases.concat() {
        // Shown when the case fails.
        println!("conformance: {name}");
        case(&new_place());
    }
}

/// 2026-11-23T12:00:00Z
pub(crate) const NOON: Duration = Duration::from_hours(498_732);
const DAY: Duration = Duration::from_hours(24);

fn id() -> UploadId {
    id_at(NOON)
}

fn id_at(since_epoch: Duration) -> UploadId {
    UploadId::generate(UNIX_EPOCH + since_epoch)
}

/// The names of what is staged, by upload: whoever uses a store remembers them.
fn names() -> MutexGuard<'static, BTreeMap<(UploadId, u32), SegmentName>> {
    static NAMES: Mutex<BTreeMap<(UploadId, u32), SegmentName>> = Mutex::new(BTreeMap::new());
    NAMES.lock().unwrap()
}

/// The name of a segment, which stays until it is discarded.
fn name_of(store: &dyn Store, id: &UploadId, segment: u32) -> SegmentName {
    let new = || store.name_segment(segment).unwrap();
    *names().entry((*id, segment)).or_insert_with(new)
}

fn all_names(id: &UploadId) -> Vec<SegmentName> {
    let range = (*id, 0)..=(*id, MAX_SEGMENTS);
    names().range(range).map(|(_, name)| *name).collect()
}

pub(crate) fn publication(id: &UploadId, meta: &[u8]) -> Publication {
    Publication {
        id: *id,
        meta: meta.to_vec(),
        segments: all_names(id),
        expires: None,
    }
}

fn create(
    store: &dyn Store,
    id: &UploadId,
    segment: u32,
) -> Result<Box<dyn SegmentWriter>, StoreError> {
    store.create_segment(id, &name_of(store, id, segment))
}

fn discard(store: &dyn Store, id: &UploadId) {
    store.discard(id).unwrap();
    names().retain(|(named, _), _| named != id);
}

fn remove(store: &dyn Store, id: &UploadId, segment: u32) {
    store
        .remove_segment(id, &name_of(store, id, segment))
        .unwrap();
    names().remove(&(*id, segment));
}

fn mend(store: &dyn Store, id: &UploadId, segment: u32, at: u64, tail: &[u8]) {
    let name = name_of(store, id, segment);
    store.mend_segment(id, &name, at, tail).unwrap();
}

fn link(store: &dyn Store, from: (&UploadId, u32), to: (&UploadId, u32)) -> Result<(), StoreError> {
    let names = [from, to].map(|(id, segment)| name_of(store, id, segment));
    store.link_segment((from.0, &names[0]), (to.0, &names[1]))
}

fn secure(store: &dyn Store, id: &UploadId, segment: u32) {
    store
        .secure_segment(id, &name_of(store, id, segment))
        .unwrap();
}

fn open_staged(
    store: &dyn Store,
    id: &UploadId,
) -> Result<Box<dyn super::SealedUpload>, StoreError> {
    store.open_staged(id, &all_names(id))
}

fn stage(store: &dyn Store, id: &UploadId, segment: u32, bytes: &[u8]) {
    let mut writer = create(store, id, segment).unwrap();
    // In pieces, to show that they follow each other.
    let (head, tail) = bytes.split_at(bytes.len() / 3);
    writer.write(head).unwrap();
    writer.write(tail).unwrap();
    writer.finish().unwrap();
}

fn publish(store: &dyn Store, id: &UploadId, meta: &[u8]) {
    store.publish(&[publication(id, meta)]).unwrap();
}

fn read(store: &dyn Store, id: &UploadId, file: SealedFile) -> Vec<u8> {
    let file = store.open(id).unwrap().open(file).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn list(store: &dyn Store) -> Vec<UploadId> {
    store.list(None, usize::MAX).unwrap()
}

fn is_missing(store: &dyn Store, id: &UploadId) -> bool {
    matches!(store.open(id), Err(StoreError::NotFound))
}

fn read_staged(store: &dyn Store, id: &UploadId, segment: u32) -> Vec<u8> {
    let staged = open_staged(store, id).unwrap();
    let file = staged.open(SealedFile::Segment(segment)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}
