//! New headers in the place of those of a published upload.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::{SealedUpload, SegmentHeader};

pub(super) const CASES: &[(&str, Case)] = &[
    ("a manifest is replaced", a_manifest_is_replaced),
    ("headers are replaced", headers_are_replaced),
    (
        "what does not fit is not rewrapped",
        what_does_not_fit_is_not_rewrapped,
    ),
    (
        "what was made from another is not put in its place",
        what_was_made_from_another_is_not_put_in_its_place,
    ),
    (
        "whoever reads finds old or new",
        whoever_reads_finds_old_or_new,
    ),
];

fn checksum(bytes: &[u8]) -> u64 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes)
}

fn header(old_size: usize, new: &[u8]) -> SegmentHeader<'_> {
    SegmentHeader {
        old_size: old_size as u64,
        new,
    }
}

/// Where a store notes a checksum, it is that of what is there.
fn check_checksum(upload: &dyn SealedUpload, meta: &[u8]) {
    if let Some(noted) = upload.meta_checksum().unwrap() {
        assert_eq!(noted, checksum(meta));
    }
}

fn a_manifest_is_replaced(place: &dyn Place) {
    let store = place.open();
    let [id, other] = [id(), id_at(NOON)];
    stage(&*store, &id, 0, b"segment");
    publish(&*store, &id, b"first meta");
    publish(&*store, &other, b"other");
    let held = store.open(&id).unwrap();
    check_checksum(&*held, b"first meta");
    let mut old = &b"first meta"[..];
    for new in [&b"second, longer meta"[..], b"third"] {
        store.rewrap(&id, old, new, None).unwrap();
        old = new;
        assert_eq!(read(&*store, &id, SealedFile::Meta), new);
        assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"segment");
        let upload = store.open(&id).unwrap();
        check_checksum(&*upload, new);
        assert_eq!(
            upload.files().unwrap(),
            [SealedFile::Meta, SealedFile::Segment(0)]
        );
        assert_eq!(store.stored().unwrap(), new.len() as u64 + 7 + 5);
    }
    assert_eq!(read(&*store, &other, SealedFile::Meta), b"other");
    drop((held, store));
    let store = place.reopen();
    assert_eq!(read(&*store, &id, SealedFile::Meta), b"third");
    assert_eq!(list(&*store).len(), 2);
    store.delete(&id).unwrap();
    assert_eq!(store.stored().unwrap(), 5);
}

fn headers_are_replaced(place: &dyn Place) {
    let store = place.open();
    let [id, empty, sharing] = [id(), id_at(NOON), id_at(NOON)];
    let payload: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    stage(&*store, &id, 0, &[b"old header ", &payload[..]].concat());
    stage(&*store, &id, 1, b"HEADpayload");
    link(&*store, (&id, 1), (&sharing, 0)).unwrap();
    publish(&*store, &id, b"meta");
    publish(&*store, &empty, b"nothing");
    store
        .rewrap(&empty, b"nothing", b"nothing new", Some(&[]))
        .unwrap();
    assert_eq!(read(&*store, &empty, SealedFile::Meta), b"nothing new");

    let headers = [header(11, b"a longer header than before "), header(4, b"h")];
    store
        .rewrap(&id, b"meta", b"new meta", Some(&headers))
        .unwrap();
    let check = |store: &dyn Store| {
        let first = [&b"a longer header than before "[..], &payload].concat();
        assert_eq!(read(store, &id, SealedFile::Segment(0)), first);
        assert_eq!(read(store, &id, SealedFile::Segment(1)), b"hpayload");
        assert_eq!(read(store, &id, SealedFile::Meta), b"new meta");
        let upload = store.open(&id).unwrap();
        assert_eq!(upload.files().unwrap().len(), 3);
        check_checksum(&*upload, b"new meta");
    };
    check(&*store);
    // What another upload has of it too is that one's own.
    assert_eq!(read_staged(&*store, &sharing, 0), b"HEADpayload");
    discard(&*store, &sharing);
    let stored = 28 + 300_000 + 8 + 8 + 11;
    assert_eq!(store.stored().unwrap(), stored);
    drop(store);
    let store = place.reopen();
    check(&*store);
    assert_eq!(store.stored().unwrap(), stored);
    // And once more, back to what it was.
    let headers = [header(28, b"old header "), header(1, b"HEAD")];
    store
        .rewrap(&id, b"new meta", b"meta", Some(&headers))
        .unwrap();
    assert_eq!(read(&*store, &id, SealedFile::Segment(1)), b"HEADpayload");
    for id in [id, empty] {
        store.delete(&id).unwrap();
    }
    assert_eq!(store.stored().unwrap(), 0);
}

fn what_does_not_fit_is_not_rewrapped(place: &dyn Place) {
    let store = place.open();
    let [id, staged] = [id(), id_at(NOON)];
    stage(&*store, &id, 0, b"old.payload");
    stage(&*store, &staged, 0, b"staged");
    publish(&*store, &id, b"meta");
    for absent in [&staged, &id_at(NOON + DAY)] {
        for headers in [None, Some(&[header(1, b"x")][..])] {
            assert!(matches!(
                store.rewrap(absent, b"meta", b"new", headers),
                Err(StoreError::NotFound)
            ));
        }
    }
    let one = header(4, b"new.");
    for headers in [&[][..], &[one, one], &[header(12, b"new.")]] {
        let refused = store.rewrap(&id, b"meta", b"new", Some(headers));
        assert!(matches!(
            refused,
            Err(StoreError::NotFound | StoreError::UnexpectedFile { .. })
        ));
    }
    assert_eq!(read(&*store, &id, SealedFile::Meta), b"meta");
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"old.payload");
    assert_eq!(store.stored().unwrap(), 4 + 11 + 6);
    drop(store);
    let store = place.reopen();
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"old.payload");
}

/// Each state of the upload has one letter, in its manifest and its header; its payload is always the same.
/// As where another server was quicker.
fn what_was_made_from_another_is_not_put_in_its_place(place: &dyn Place) {
    let store = place.open();
    let id = id();
    stage(&*store, &id, 0, b"old.payload");
    publish(&*store, &id, b"meta");
    let headers = [header(4, b"a longer header.")];
    store
        .rewrap(&id, b"meta", b"another's", Some(&headers))
        .unwrap();
    let stored = store.stored().unwrap();
    // As long as the header was when the new one was made.
    let headers = [header(4, b"new.")];
    for headers in [None, Some(&headers[..])] {
        for old in [&b"meta"[..], b"another'z", b"another's ", b"another'", b""] {
            let refused = store.rewrap(&id, old, b"new", headers);
            assert!(matches!(refused, Err(StoreError::Replaced)), "{refused:?}");
        }
    }
    let check = |store: &dyn Store| {
        assert_eq!(read(store, &id, SealedFile::Meta), b"another's");
        let segment = read(store, &id, SealedFile::Segment(0));
        assert_eq!(segment, b"a longer header.payload");
        assert_eq!(store.open(&id).unwrap().files().unwrap().len(), 2);
        assert_eq!(store.stored().unwrap(), stored);
    };
    check(&*store);
    drop(store);
    let store = place.reopen();
    check(&*store);
    store
        .rewrap(&id, b"another's", b"new", Some(&[header(16, b"new.")]))
        .unwrap();
    assert_eq!(read(&*store, &id, SealedFile::Segment(0)), b"new.payload");
}

fn whoever_reads_finds_old_or_new(place: &dyn Place) {
    const HEADER: usize = 5000;
    let store = place.open();
    let id = id();
    stage(&*store, &id, 0, &[&[b'a'; HEADER][..], b"payload"].concat());
    publish(&*store, &id, &[b'a'; 6000]);
    let stop = AtomicBool::new(false);
    let store = &*store;
    let once = |file: &dyn super::super::ReadAt| {
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
        // The end first: that is where what is overwritten from the start on would be seen last.
        let (start, end) = bytes.split_at_mut(4500);
        file.read_at(end, 4500)?;
        file.read_at(start, 0)?;
        Ok::<_, StoreError>(bytes)
    };
    let both = || {
        let upload = store.open(&id)?;
        let meta = once(&*upload.open(SealedFile::Meta)?)?;
        let segment = once(&*upload.open(SealedFile::Segment(0))?)?;
        Ok::<_, StoreError>((meta, segment))
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(list(store), [id]);
                    match both() {
                        Ok((meta, segment)) => {
                            assert!(meta.iter().all(|byte| *byte == meta[0]) && meta[0] != 0);
                            let header = &segment[..HEADER];
                            assert!(header.iter().all(|byte| *byte == header[0]) && header[0] != 0);
                            assert_eq!(&segment[HEADER..], b"payload");
                        }
                        Err(StoreError::Replaced | StoreError::NotFound) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for letter in b'b'..=b'z' {
            let (old, meta) = ([letter - 1; 6000], [letter; 6000]);
            let new = [letter; HEADER];
            let headers = [header(HEADER, &new)];
            let headers = (letter % 2 == 0).then_some(&headers[..]);
            store.rewrap(&id, &old, &meta, headers).unwrap();
            assert_eq!(both().unwrap().0, meta);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
