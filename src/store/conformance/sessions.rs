//! What is staged for uploads that are gone on with, and what all of it counts for.

use super::*;

pub(super) const CASES: &[(&str, Case)] = &[
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
];

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
