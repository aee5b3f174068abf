//! What every store must do. A store's own tests call [`run`].

mod rewrap;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use super::{
    Change, Collection, ENTRY_SIZE, EntryBytes, MAX_SEGMENTS, Publication, RecordName, RecordStore,
    SealedFile, SegmentName, SegmentWriter, Store, StoreError, UploadId,
};

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
    let cases: [(&str, Case); 28] = [
        (
            "invisible before, whole after",
            invisible_before_whole_after,
        ),
        (
            "what is created to be published is there then",
            what_is_created_to_be_published_is_there_then,
        ),
        ("upload without segments", upload_without_segments),
        ("reads at every boundary", reads_at_every_boundary),
        ("list is ordered and paged", list_is_ordered_and_paged),
        ("several are published", several_are_published),
        (
            "a repeated id publishes nothing",
            a_repeated_id_publishes_nothing,
        ),
        ("an id is published once", an_id_is_published_once),
        ("a segment is created once", a_segment_is_created_once),
        ("segment numbers are bounded", segment_numbers_are_bounded),
        (
            "discard removes what is staged only",
            discard_removes_what_is_staged_only,
        ),
        (
            "delete removes what is published only",
            delete_removes_what_is_published_only,
        ),
        (
            "only what was published survives",
            only_what_was_published_survives,
        ),
        (
            "threads do not disturb each other",
            threads_do_not_disturb_each_other,
        ),
        (
            "a session keeps its head and entries",
            a_session_keeps_its_head_and_entries,
        ),
        (
            "a session keeps what is staged",
            a_session_keeps_what_is_staged,
        ),
        (
            "staged segments are read and removed",
            staged_segments_are_read_and_removed,
        ),
        ("a segment gets a new end", a_segment_gets_a_new_end),
        ("uploads share a segment", uploads_share_a_segment),
        ("what is stored is counted", what_is_stored_is_counted),
        (
            "publishing again writes the manifest anew",
            publishing_again_writes_the_manifest_anew,
        ),
        ("a record is put and removed", a_record_is_put_and_removed),
        (
            "a record that is kept is not written",
            a_record_that_is_kept_is_not_written,
        ),
        ("no change of a record is lost", no_change_is_lost),
        ("a manifest is replaced", rewrap::a_manifest_is_replaced),
        ("headers are replaced", rewrap::headers_are_replaced),
        (
            "what does not fit is not rewrapped",
            rewrap::what_does_not_fit_is_not_rewrapped,
        ),
        (
            "whoever reads finds old or new",
            rewrap::whoever_reads_finds_old_or_new,
        ),
    ];
    for (name, case) in cases {
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

fn invisible_before_whole_after(place: &dyn Place) {
    let store = place.open();
    store.check().unwrap();
    let id = id();
    assert_eq!(list(&*store), []);
    let unfinished = create(&*store, &id, 0).unwrap();
    assert!(
        is_missing(&*store, &id) && list(&*store).is_empty(),
        "while a segment is written"
    );
    unfinished.finish().unwrap();
    stage(&*store, &id, 1, b"second segment");
    assert!(
        is_missing(&*store, &id) && list(&*store).is_empty(),
        "while it is staged"
    );

    publish(&*store, &id, b"the manifest");
    assert_eq!(list(&*store), [id]);
    let files = [
        SealedFile::Meta,
        SealedFile::Segment(0),
        SealedFile::Segment(1),
    ];
    assert_eq!(store.open(&id).unwrap().files().unwrap(), files);
    assert_eq!(read(&*store, &id, SealedFile::Meta), b"the manifest");
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"");
    assert_eq!(
        read(&*store, &id, SealedFile::Segment(1)),
        b"second segment"
    );
    for missing in [2, MAX_SEGMENTS - 1, MAX_SEGMENTS, u32::MAX] {
        let opened = store.open(&id).unwrap().open(SealedFile::Segment(missing));
        assert!(
            matches!(opened, Err(StoreError::NotFound)),
            "segment {missing}"
        );
    }
}

fn what_is_created_to_be_published_is_there_then(place: &dyn Place) {
    let store = place.open();
    let (id, dropped) = (id(), id());
    for id in [&id, &dropped] {
        let name = name_of(&*store, id, 0);
        let mut writer = store.create_segment_to_publish(id, &name).unwrap();
        writer.write(b"sealed").unwrap();
        writer.finish().unwrap();
        assert!(is_missing(&*store, id));
    }
    publish(&*store, &id, b"the manifest");
    discard(&*store, &dropped);
    drop(store);
    let store = place.open();
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"sealed");
    assert_eq!(list(&*store), [id]);
}

fn upload_without_segments(place: &dyn Place) {
    let store = place.open();
    let id = id();
    publish(&*store, &id, b"nothing but a manifest");
    assert_eq!(
        store.open(&id).unwrap().files().unwrap(),
        [SealedFile::Meta]
    );
    assert_eq!(
        read(&*store, &id, SealedFile::Meta),
        b"nothing but a manifest"
    );
    store.publish(&[]).unwrap();
    assert_eq!(list(&*store), [id]);
}

fn reads_at_every_boundary(place: &dyn Place) {
    let store = place.open();
    let id = id();
    let small: Vec<u8> = (1..=7).collect();
    let large: Vec<u8> = (0..200_001_u32).map(|i| (i % 251) as u8).collect();
    stage(&*store, &id, 0, &small);
    stage(&*store, &id, 1, &large);
    publish(&*store, &id, b"m");
    let upload = store.open(&id).unwrap();

    let file = upload.open(SealedFile::Segment(0)).unwrap();
    assert_eq!(file.len(), 7);
    for offset in 0..=9 {
        for wanted in 0..=9 {
            let mut buf = vec![0xff; wanted];
            let expected: Vec<u8> = small.iter().copied().skip(offset).take(wanted).collect();
            assert_eq!(
                file.read_at(&mut buf, offset as u64).unwrap(),
                expected.len(),
                "{wanted} from {offset}"
            );
            assert_eq!(buf[..expected.len()], expected);
            assert!(
                buf[expected.len()..].iter().all(|b| *b == 0xff),
                "{wanted} from {offset}"
            );
        }
    }
    for far in [i64::MAX as u64, 1 << 63, u64::MAX] {
        assert_eq!(file.read_at(&mut [0; 4], far).unwrap(), 0, "from {far}");
    }

    let file = upload.open(SealedFile::Segment(1)).unwrap();
    assert_eq!(file.len(), 200_001);
    let mut buf = vec![0; 65_552];
    let len = buf.len();
    for (piece, expected) in large.chunks(len).enumerate() {
        let read = file.read_at(&mut buf, (piece * len) as u64).unwrap();
        assert_eq!(&buf[..read], expected, "piece {piece}");
    }
}

fn list_is_ordered_and_paged(place: &dyn Place) {
    let store = place.open();
    // Several on each of four days, one of them in another year, staged out of order.
    let days = [0, 1, 2, 300].map(|days| NOON + DAY * days);
    let mut ids: Vec<_> = days
        .iter()
        .flat_map(|day| (0..3).map(|_| id_at(*day)))
        .collect();
    ids.push(id_at(NOON + Duration::from_millis(12 * 60 * 60 * 1000 - 1)));
    ids.push(id_at(NOON + DAY / 2));
    for id in ids.iter().rev() {
        publish(&*store, id, b"m");
    }
    ids.sort();
    assert_eq!(list(&*store), ids);
    assert_eq!(store.list(None, 0).unwrap(), []);
    for limit in 1..=ids.len() + 1 {
        let mut pages = Vec::new();
        while let page = store.list(pages.last(), limit).unwrap()
            && !page.is_empty()
        {
            assert!(
                page.len() == limit || pages.len() + page.len() == ids.len(),
                "a short page before the end"
            );
            pages.extend(page);
        }
        assert_eq!(pages, ids, "pages of {limit}");
    }
    // `after` need not be there, nor need its day.
    assert_eq!(
        store.list(Some(&id_at(Duration::ZERO)), 1).unwrap(),
        ids[..1]
    );
    assert_eq!(
        store.list(Some(&id_at(NOON + DAY * 100)), 1).unwrap(),
        ids[ids.len() - 3..ids.len() - 2]
    );
    assert_eq!(store.list(Some(&id_at(NOON + DAY * 400)), 9).unwrap(), []);
}

fn several_are_published(place: &dyn Place) {
    let store = place.open();
    let uploads: Vec<_> = (0..5)
        .map(|i| (id_at(NOON + DAY * (i / 2)), vec![b'0'; i as usize + 1]))
        .collect();
    for (id, meta) in &uploads {
        stage(&*store, id, 0, meta);
    }
    let all: Vec<_> = (uploads.iter())
        .map(|(id, meta)| publication(id, meta))
        .collect();
    store.publish(&all).unwrap();
    assert_eq!(
        list(&*store).into_iter().collect::<BTreeSet<_>>(),
        uploads.iter().map(|(id, _)| *id).collect()
    );
    for (id, meta) in &uploads {
        assert_eq!(&read(&*store, id, SealedFile::Meta), meta);
        assert_eq!(&read(&*store, id, SealedFile::Segment(0)), meta);
    }
}

fn a_repeated_id_publishes_nothing(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (id(), id());
    let published = store.publish(&[
        publication(&one, b"1"),
        publication(&two, b"2"),
        publication(&one, b"3"),
    ]);
    assert!(
        matches!(published, Err(StoreError::Exists)),
        "{published:?}"
    );
    assert_eq!(list(&*store), []);
    discard(&*store, &one);
    discard(&*store, &two);
}

fn an_id_is_published_once(place: &dyn Place) {
    let store = place.open();
    let id = id();
    stage(&*store, &id, 0, b"first");
    publish(&*store, &id, b"first");

    // Some stores notice at the segment, all of them at the latest when publishing.
    let again = create(&*store, &id, 0).and_then(|mut writer| {
        writer.write(b"second")?;
        writer.finish()
    });
    let again = again.and_then(|()| store.publish(&[publication(&id, b"second")]));
    assert!(matches!(again, Err(StoreError::Exists)), "{again:?}");
    discard(&*store, &id);
    assert_eq!(list(&*store), [id]);
    assert_eq!(read(&*store, &id, SealedFile::Meta), b"first");
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"first");
}

fn a_segment_is_created_once(place: &dyn Place) {
    let store = place.open();
    let id = id();
    let mut writer = create(&*store, &id, 0).unwrap();
    writer.write(b"first, ").unwrap();
    assert!(
        matches!(create(&*store, &id, 0), Err(StoreError::Exists)),
        "while it is written"
    );
    writer.write(b"unharmed").unwrap();
    writer.finish().unwrap();
    assert!(
        matches!(create(&*store, &id, 0), Err(StoreError::Exists)),
        "when it is finished"
    );
    publish(&*store, &id, b"m");
    assert_eq!(
        read(&*store, &id, SealedFile::Segment(0)),
        b"first, unharmed"
    );
}

fn segment_numbers_are_bounded(place: &dyn Place) {
    let store = place.open();
    let id = id();
    for segment in [MAX_SEGMENTS, u32::MAX] {
        assert!(
            matches!(
                store.name_segment(segment),
                Err(StoreError::TooManySegments)
            ),
            "{segment}"
        );
    }
    stage(&*store, &id, MAX_SEGMENTS - 1, b"last");
    publish(&*store, &id, b"m");
    assert_eq!(
        read(&*store, &id, SealedFile::Segment(MAX_SEGMENTS - 1)),
        b"last"
    );
}

fn discard_removes_what_is_staged_only(place: &dyn Place) {
    let store = place.open();
    let (staged, published) = (id(), id());
    publish(&*store, &published, b"m");
    discard(&*store, &staged);
    stage(&*store, &staged, 0, b"finished");
    let mut unfinished = create(&*store, &staged, 1).unwrap();
    unfinished.write(b"unfinished").unwrap();
    drop(unfinished);
    discard(&*store, &staged);
    discard(&*store, &staged);
    discard(&*store, &published);
    assert_eq!(list(&*store), [published]);

    // Nothing is left of what was discarded.
    stage(&*store, &staged, 1, b"anew");
    publish(&*store, &staged, b"m");
    assert_eq!(
        store.open(&staged).unwrap().files().unwrap(),
        [SealedFile::Meta, SealedFile::Segment(1)]
    );
    assert_eq!(read(&*store, &staged, SealedFile::Segment(1)), b"anew");
}

fn delete_removes_what_is_published_only(place: &dyn Place) {
    let store = place.open();
    let (deleted, kept, staged) = (id(), id(), id());
    for id in [deleted, kept, staged] {
        stage(&*store, &id, 0, b"payload");
    }
    publish(&*store, &deleted, b"m");
    publish(&*store, &kept, b"m");
    store.delete(&deleted).unwrap();
    assert!(is_missing(&*store, &deleted));
    for missing in [deleted, staged, id_at(NOON + DAY * 7)] {
        assert!(
            matches!(store.delete(&missing), Err(StoreError::NotFound)),
            "{missing}"
        );
    }
    assert_eq!(list(&*store), [kept]);
    publish(&*store, &staged, b"m");
    assert_eq!(read(&*store, &staged, SealedFile::Segment(0)), b"payload");

    drop(store);
    let store = place.reopen();
    assert!(is_missing(&*store, &deleted));
    assert_eq!(read(&*store, &kept, SealedFile::Segment(0)), b"payload");
}

fn only_what_was_published_survives(place: &dyn Place) {
    let (published, unfinished) = (id(), id());
    let store = place.open();
    stage(&*store, &published, 0, b"payload");
    publish(&*store, &published, b"m");
    stage(&*store, &unfinished, 0, b"finished");
    let mut writer = create(&*store, &unfinished, 1).unwrap();
    writer.write(b"unfinished").unwrap();
    drop(writer);
    drop(store);

    let store = place.reopen();
    assert_eq!(list(&*store), [published]);
    assert_eq!(read(&*store, &published, SealedFile::Meta), b"m");
    assert_eq!(
        read(&*store, &published, SealedFile::Segment(0)),
        b"payload"
    );
    assert!(is_missing(&*store, &unfinished));
    publish(&*store, &id_at(NOON), b"goes on working");
}

fn threads_do_not_disturb_each_other(place: &dyn Place) {
    const THREADS: usize = 4;
    const EACH: usize = 5;
    let store = place.open();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &*store;
            scope.spawn(move || {
                for round in 0..EACH {
                    // Ids of two days, so that day folders are made at the same time.
                    let id =
                        UploadId::generate(UNIX_EPOCH + NOON + DAY * u32::from(round % 2 == 0));
                    let bytes = [u8::try_from(thread).unwrap(); 100];
                    stage(store, &id, 0, &bytes);
                    publish(store, &id, &bytes);
                    assert_eq!(read(store, &id, SealedFile::Segment(0)), bytes);
                    if round == 0 {
                        store.delete(&id).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(list(&*store).len(), THREADS * (EACH - 1));
}

fn a_session_keeps_its_head_and_entries(place: &dyn Place) {
    let store = place.open();
    let (id, other) = (id(), id());
    assert!(matches!(store.session_head(&id), Err(StoreError::NotFound)));
    assert_eq!(store.sessions().unwrap(), []);
    store.create_session(&id, b"the head").unwrap();
    store.create_session(&other, b"another").unwrap();
    let again = store.create_session(&id, b"again");
    assert!(matches!(again, Err(StoreError::Exists)));
    assert_eq!(store.last_entries(&id, 2).unwrap(), (0, Vec::new()));
    assert!(store.entries(&id, 0, 10).unwrap().is_empty());
    for number in 0..5_u8 {
        store
            .put_entry(&id, number.into(), &[number; ENTRY_SIZE])
            .unwrap();
    }
    let again = store.put_entry(&id, 4, &[44; ENTRY_SIZE]);
    let last = if store.is_shared() {
        // It may be another server's, which goes on with the upload.
        assert!(matches!(again, Err(StoreError::Overtaken)), "{again:?}");
        4
    } else {
        // In place of one that was interrupted.
        again.unwrap();
        44
    };
    drop(store);

    let store = place.reopen();
    assert_eq!(store.session_head(&id).unwrap(), b"the head");
    let first = |entries: Vec<EntryBytes>| entries.iter().map(|entry| entry[7]).collect::<Vec<_>>();
    assert_eq!(
        first(store.entries(&id, 0, 10).unwrap()),
        [0, 1, 2, 3, last]
    );
    assert_eq!(first(store.entries(&id, 2, 2).unwrap()), [2, 3]);
    let (number, two) = store.last_entries(&id, 2).unwrap();
    assert_eq!((number, first(two)), (3, vec![3, last]));
    assert_eq!(store.last_entries(&id, 9).unwrap().0, 0);
    assert!(store.entries(&id, 5, 1).unwrap().is_empty());
    assert!(store.entries(&id, u32::MAX, 1).unwrap().is_empty());
    assert_eq!(
        BTreeSet::from_iter(store.sessions().unwrap()),
        BTreeSet::from([id, other])
    );

    store.replace_entries(&id, &[9; ENTRY_SIZE]).unwrap();
    let (number, last) = store.last_entries(&id, 2).unwrap();
    assert_eq!((number, first(last)), (0, vec![9]));
    store.put_entry(&id, 1, &[10; ENTRY_SIZE]).unwrap();
    assert_eq!(first(store.entries(&id, 0, 9).unwrap()), [9, 10]);

    store.remove_session(&id).unwrap();
    store.remove_session(&id).unwrap();
    assert!(matches!(store.session_head(&id), Err(StoreError::NotFound)));
    assert_eq!(store.last_entries(&id, 2).unwrap().0, 0);
    assert_eq!(store.sessions().unwrap(), [other]);
}

fn a_session_keeps_what_is_staged(place: &dyn Place) {
    let store = place.open();
    let (kept, swept) = (id(), id());
    store.create_session(&kept, b"head").unwrap();
    for id in [&kept, &swept] {
        stage(&*store, id, 0, b"some bytes");
        secure(&*store, id, 0);
    }
    drop(store);
    let store = place.reopen();
    assert_eq!(read_staged(&*store, &kept, 0), b"some bytes");
    assert!(matches!(
        open_staged(&*store, &swept),
        Err(StoreError::NotFound)
    ));
    stage(&*store, &kept, 1, b"more");
    publish(&*store, &kept, b"manifest");
    assert_eq!(read(&*store, &kept, SealedFile::Segment(1)), b"more");
    assert_eq!(store.session_head(&kept).unwrap(), b"head");
}

fn read_staged(store: &dyn Store, id: &UploadId, segment: u32) -> Vec<u8> {
    let staged = open_staged(store, id).unwrap();
    let file = staged.open(SealedFile::Segment(segment)).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn staged_segments_are_read_and_removed(place: &dyn Place) {
    let store = place.open();
    let id = id();
    assert!(matches!(
        open_staged(&*store, &id),
        Err(StoreError::NotFound)
    ));
    remove(&*store, &id, 0);
    let mut writer = create(&*store, &id, 0).unwrap();
    writer.write(b"half").unwrap();
    writer.sync().unwrap();
    if store.segment_limit().is_none() {
        assert_eq!(read_staged(&*store, &id, 0), b"half");
    }
    writer.write(b", and the rest").unwrap();
    writer.finish().unwrap();
    assert_eq!(read_staged(&*store, &id, 0), b"half, and the rest");
    remove(&*store, &id, 0);
    let opened = open_staged(&*store, &id).and_then(|staged| staged.open(SealedFile::Segment(0)));
    assert!(matches!(opened, Err(StoreError::NotFound)));
    stage(&*store, &id, 0, b"anew");
    assert_eq!(read_staged(&*store, &id, 0), b"anew");
}

fn a_segment_gets_a_new_end(place: &dyn Place) {
    let store = place.open();
    let id = id();
    stage(&*store, &id, 0, b"0123456789");
    stage(&*store, &id, 1, b"other");
    for (at, tail, whole) in [
        (8, &b"AB"[..], &b"01234567AB"[..]),
        (4, b"CD", b"0123CD"),
        (4, b"CD", b"0123CD"),
        (6, b"EFGH", b"0123CDEFGH"),
        (0, b"I", b"I"),
    ] {
        mend(&*store, &id, 0, at, tail);
        assert_eq!(read_staged(&*store, &id, 0), whole);
    }
    assert_eq!(read_staged(&*store, &id, 1), b"other");
}

fn uploads_share_a_segment(place: &dyn Place) {
    let store = place.open();
    let (part, whole) = (id(), id());
    stage(&*store, &part, 0, b"shared");
    link(&*store, (&part, 0), (&whole, 3)).unwrap();
    let again = link(&*store, (&part, 0), (&whole, 3));
    assert!(matches!(again, Err(StoreError::Exists)));
    let missing = link(&*store, (&part, 1), (&whole, 4));
    assert!(matches!(missing, Err(StoreError::NotFound)));
    secure(&*store, &whole, 3);
    publish(&*store, &whole, b"manifest");
    assert_eq!(read(&*store, &whole, SealedFile::Segment(3)), b"shared");
    assert_eq!(read_staged(&*store, &part, 0), b"shared");
    discard(&*store, &part);
    assert_eq!(read(&*store, &whole, SealedFile::Segment(3)), b"shared");
}

fn publishing_again_writes_the_manifest_anew(place: &dyn Place) {
    let store = place.open();
    let (first, taken) = (id(), id());
    publish(&*store, &taken, b"manifest");
    assert!(matches!(store.settle(&first), Err(StoreError::NotFound)));
    stage(&*store, &first, 0, b"payload");
    // The first try fails on the second upload, when the first one's manifest is written already or even visible.
    let tried = store.publish(&[publication(&taken, b"x"), publication(&first, b"old")]);
    assert!(tried.is_err());
    if is_missing(&*store, &first) {
        publish(&*store, &first, b"new");
        assert_eq!(read(&*store, &first, SealedFile::Meta), b"new");
    }
    store.settle(&first).unwrap();
    assert_eq!(read(&*store, &first, SealedFile::Segment(0)), b"payload");
}

fn name(text: &str) -> RecordName {
    text.parse().unwrap()
}

fn put(store: &(impl RecordStore + ?Sized), name: &RecordName, bytes: &[u8]) {
    let mut change = |_: Option<&[u8]>| Change::Put(bytes.to_vec());
    store
        .update_record(Collection::Links, name, &mut change)
        .unwrap();
}

fn a_record_is_put_and_removed(place: &dyn Place) {
    let store = place.open();
    let (one, two) = (name("one"), name(&"z".repeat(64)));
    let missing = store.record(Collection::Links, &one);
    assert!(matches!(missing, Err(StoreError::NotFound)));
    assert_eq!(store.records(Collection::Links).unwrap(), []);
    put(&*store, &one, b"first, and longer");
    put(&*store, &one, b"second");
    put(&*store, &two, b"");
    // Each collection has names of its own.
    for other in [Collection::Tokens, Collection::Outbox] {
        assert_eq!(store.records(other).unwrap(), []);
        assert!(matches!(
            store.record(other, &one),
            Err(StoreError::NotFound)
        ));
    }
    drop(store);

    let store = place.reopen();
    assert_eq!(store.record(Collection::Links, &one).unwrap(), b"second");
    assert_eq!(store.record(Collection::Links, &two).unwrap(), b"");
    let names = BTreeSet::from_iter(store.records(Collection::Links).unwrap());
    assert_eq!(names, BTreeSet::from([one.clone(), two.clone()]));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut remove = |now: Option<&[u8]>| {
            seen.push(now.map(<[u8]>::to_vec));
            Change::Remove
        };
        store
            .update_record(Collection::Links, &one, &mut remove)
            .unwrap();
    }
    assert_eq!(seen, [Some(b"second".to_vec()), None]);
    drop(store);

    let store = place.reopen();
    assert_eq!(store.records(Collection::Links).unwrap(), [two]);
    let missing = store.record(Collection::Links, &one);
    assert!(matches!(missing, Err(StoreError::NotFound)));
}

fn a_record_that_is_kept_is_not_written(place: &dyn Place) {
    let store = place.open();
    let (there, absent) = (name("there"), name("absent"));
    put(&*store, &there, b"as it is");
    for name in [&there, &absent] {
        store
            .update_record(Collection::Links, name, &mut |_| Change::Keep)
            .unwrap();
    }
    assert_eq!(store.records(Collection::Links).unwrap().len(), 1);
    assert_eq!(
        store.record(Collection::Links, &there).unwrap(),
        b"as it is"
    );
}

/// Counts in a record, from many threads.
pub(crate) fn count(stores: &[&dyn RecordStore], name: &RecordName, threads: usize, each: usize) {
    let read = |bytes: &[u8]| str::from_utf8(bytes).unwrap().parse::<usize>().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let store = stores[thread % stores.len()];
            scope.spawn(move || {
                for _ in 0..each {
                    let mut change = |now: Option<&[u8]>| {
                        let next = now.map_or(0, read) + 1;
                        Change::Put(next.to_string().into_bytes())
                    };
                    store
                        .update_record(Collection::Links, name, &mut change)
                        .unwrap();
                }
            });
        }
    });
    for store in stores {
        let counted = store.record(Collection::Links, name).unwrap();
        assert_eq!(read(&counted), threads * each);
    }
}

fn no_change_is_lost(place: &dyn Place) {
    let store = place.open();
    let records: &dyn RecordStore = &*store;
    count(&[records], &name("counter"), 16, 4);
}

fn what_is_stored_is_counted(place: &dyn Place) {
    let store = place.open();
    let stored = |bytes| assert_eq!(store.stored().unwrap(), bytes);
    stored(0);
    store.has_room(1).unwrap();
    let [published, staged, joined] = [id(), id(), id()];
    stage(&*store, &published, 0, &[1; 1000]);
    stage(&*store, &staged, 0, &[2; 500]);
    stored(1500);
    publish(&*store, &published, &[3; 30]);
    stored(1530);
    // A new end may be shorter or longer.
    mend(&*store, &staged, 0, 100, &[4; 20]);
    stored(1150);
    mend(&*store, &staged, 0, 100, &[4; 300]);
    stored(1430);
    // Shared, it counts once, until the last one who shares it is gone. A store that has to copy it counts it twice.
    link(&*store, (&staged, 0), (&joined, 0)).unwrap();
    let shared = store.stored().unwrap();
    assert!([1430, 1830].contains(&shared), "{shared}");
    discard(&*store, &staged);
    stored(1430);
    remove(&*store, &joined, 0);
    stored(1030);
    // Session records are not sealed files.
    store.create_session(&staged, b"head").unwrap();
    store.put_entry(&staged, 0, &[0; ENTRY_SIZE]).unwrap();
    stored(1030);
    drop(store);
    let store = place.reopen();
    assert_eq!(store.stored().unwrap(), 1030);
    store.delete(&published).unwrap();
    assert_eq!(store.stored().unwrap(), 0);
}
