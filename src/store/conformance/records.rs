//! Records of links and tokens.

use super::*;

pub(super) const CASES: &[(&str, Case)] = &[
    ("a record is put and removed", a_record_is_put_and_removed),
    (
        "a record that is kept is not written",
        a_record_that_is_kept_is_not_written,
    ),
    ("no change of a record is lost", no_change_is_lost),
];

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
