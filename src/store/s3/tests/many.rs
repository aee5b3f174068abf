//! Several stores, several uploads, many segments.

use super::*;
use crate::store::s3::side_by_side::side_by_side;
use crate::store::{Expiring, SegmentHeader};

pub(super) fn two_at_one_upload(place: &InBucket) {
    let [one, two] = [place.store(), place.store()];
    let id = new_id();
    let first = stage(&one, &id, 0, b"from the first");
    assert!(two.is_staged(&id).unwrap());
    let staged = two.open_staged(&id, &[first]).unwrap();
    assert_eq!(read(&*staged, 0).unwrap(), b"from the first");
    let second = stage(&two, &id, 1, b"from the second");
    let staged = one.open_staged(&id, &[first, second]).unwrap();
    assert_eq!(staged.sizes(&[second, first]).unwrap(), [15, 14]);
    assert_eq!(two.list(None, 9).unwrap(), []);

    publish(&two, &id, &[first, second]);
    assert!(!one.is_staged(&id).unwrap());
    assert_eq!(one.list(None, 9).unwrap(), [id]);
    let upload = one.open(&id).unwrap();
    assert_eq!(read(&*upload, 1).unwrap(), b"from the second");
    let again = one.publish(&[publication(&id, b"another", &[first])]);
    assert!(matches!(again, Err(StoreError::Exists)), "{again:?}");
    one.discard(&id).unwrap();
    assert_eq!(
        read(&*two.open(&id).unwrap(), 0).unwrap(),
        b"from the first"
    );
    one.delete(&id).unwrap();
    assert!(matches!(two.open(&id), Err(StoreError::NotFound)));
    assert!(matches!(read(&*upload, 1), Err(StoreError::Replaced)));
    assert_eq!(in_folder(&two, &id), [""; 0]);
}

pub(super) fn two_rewrap_one_upload(place: &InBucket) {
    let stores = [place.store(), place.store()];
    let id = new_id();
    let segment = stage(&stores[0], &id, 0, b"a:payload");
    publish(&stores[0], &id, &[segment]);
    let meta_of = || {
        let meta = stores[0].open(&id).unwrap();
        let meta = meta.open(SealedFile::Meta).unwrap();
        let mut text = vec![0; usize::try_from(meta.len()).unwrap()];
        meta.read_at(&mut text, 0).unwrap();
        text
    };
    for round in 0..3 {
        let before = meta_of();
        let done = side_by_side(&["b:", "c:"], |header| {
            let store = &stores[usize::from(*header == "c:")];
            let headers = [SegmentHeader {
                old_size: 2,
                new: header.as_bytes(),
            }];
            let meta = format!("meta of {header} {round}");
            store.rewrap(&id, &before, meta.as_bytes(), Some(&headers))
        });
        // Whoever is behind finds the other's segment gone, or the manifest another one: it is told to begin anew.
        for done in &done {
            let lost = matches!(done, Err(StoreError::Replaced));
            assert!(done.is_ok() || lost, "{done:?}");
        }
        assert!(done.iter().any(Result::is_ok), "{done:?}");
        let payload = read(&*stores[0].open(&id).unwrap(), 0).unwrap();
        assert!(meta_of().starts_with(&[b"meta of ", &payload[..2]].concat()));
        assert_eq!(&payload[2..], b"payload");
        assert_eq!(in_folder(&stores[0], &id), ["meta.age", "0000.age"]);
    }
    assert_eq!(sweep(&stores[0]), 0);
}

pub(super) fn many_segments(place: &InBucket) {
    let store = place.store();
    let id = new_id();
    let numbers: Vec<u32> = (0..70).collect();
    let names = side_by_side(&numbers, |number| {
        stage(&store, &id, *number, format!("segment {number}").as_bytes())
    });
    publish(&store, &id, &names);
    let check = |meta: &[u8]| {
        let upload = store.open(&id).unwrap();
        assert_eq!(upload.files().unwrap().len(), 71);
        assert_eq!(
            upload.open(SealedFile::Meta).unwrap().len(),
            meta.len() as u64
        );
        assert_eq!(upload.sizes(&names[9..11]).unwrap(), [9, 10]);
        assert_eq!(read(&*upload, 69).unwrap(), b"segment 69");
        assert!(matches!(read(&*upload, 70), Err(StoreError::NotFound)));
        assert!(upload.meta_checksum().unwrap().is_some());
    };
    check(b"meta");
    assert_eq!(store.list(None, 2).unwrap(), [id]);
    store.rewrap(&id, b"meta", b"new meta", None).unwrap();
    check(b"new meta");
    assert_eq!(sweep(&store), 0);
    check(b"new meta");
    store.delete(&id).unwrap();
    assert_eq!(in_folder(&store, &id), [""; 0]);
}

/// An upload of so many segments that they take more than one page stands between others, and another one is not published.
pub(super) fn a_list_skips_segments(place: &InBucket) {
    let store = place.store();
    let at = |millis| UploadId::generate(UNIX_EPOCH + NOON + Duration::from_millis(millis));
    let ids: Vec<_> = (0..9).map(at).collect();
    let (large, staged) = (ids[4], ids[6]);
    let segments: Vec<u32> = (0..2000).collect();
    for id in [large, staged] {
        let put = side_by_side(&segments, |number| {
            let name = SegmentName::tagged(*number).unwrap();
            let key = keys::segment(&id, &name);
            store
                .bucket
                .put(&key, vec![0; 3], &Notes::default())
                .unwrap();
            name
        });
        if id == large {
            publish(&store, &id, &put);
        }
    }
    for id in &ids {
        if ![large, staged].contains(id) {
            let segment = stage(&store, id, 0, b"segment");
            publish(&store, id, &[segment]);
        }
    }
    let published: Vec<_> = ids.iter().copied().filter(|id| *id != staged).collect();
    let before = store.bucket.requests().list;
    assert_eq!(store.list(None, 100).unwrap(), published);
    let asked = store.bucket.requests().list - before;
    assert!(asked <= 5, "{asked} pages");
    for limit in [1, 3] {
        let mut pages = Vec::new();
        while let page = store.list(pages.last(), limit).unwrap()
            && !page.is_empty()
        {
            pages.extend(page);
        }
        assert_eq!(pages, published, "pages of {limit}");
    }
    assert_eq!(store.open(&large).unwrap().files().unwrap().len(), 2001);
}

/// As where somebody copied a bucket, and not what is noted beside its objects.
pub(super) fn notes_are_lost(place: &InBucket) {
    let store = place.store();
    let id = new_id();
    let names = [stage(&store, &id, 0, b"one"), stage(&store, &id, 1, b"two")];
    publish(&store, &id, &names);
    let lose = || {
        store
            .bucket
            .put(&keys::meta(&id), b"meta".to_vec(), &Notes::default())
    };
    lose().unwrap();
    let upload = store.open(&id).unwrap();
    assert_eq!(upload.meta_checksum().unwrap(), None);
    assert_eq!(upload.files().unwrap().len(), 3);
    assert_eq!(read(&*upload, 1).unwrap(), b"two");
    // Two that could be it: nobody can tell.
    let other = stage(&store, &id, 1, b"another two");
    let upload = store.open(&id).unwrap();
    let unclear = [upload.files().err(), read(&*upload, 1).err()];
    for error in unclear {
        assert!(
            matches!(error, Some(StoreError::UnexpectedFile { .. })),
            "{error:?}"
        );
    }
    assert_eq!(sweep(&store), 0, "any of them may be the upload's");
    store.remove_segment(&id, &other).unwrap();
    // What is sealed anew has its notes again.
    store.rewrap(&id, b"meta", b"new", None).unwrap();
    let upload = store.open(&id).unwrap();
    assert!(upload.meta_checksum().unwrap().is_some());
    stage(&store, &id, 1, b"rubbish");
    assert_eq!(read(&*upload, 1).unwrap(), b"two");
    // Nothing of ours beside it is shown, and nothing else is put up with.
    assert_eq!(upload.files().unwrap().len(), 3);
    let foreign = format!("{}notes.txt", keys::folder(&id));
    store
        .bucket
        .put(&foreign, b"?".to_vec(), &Notes::default())
        .unwrap();
    let files = upload.files();
    assert!(
        matches!(files, Err(StoreError::UnexpectedFile { .. })),
        "{files:?}"
    );
}

pub(super) fn what_expires_is_listed(place: &InBucket) {
    let store = place.store();
    let ids = [new_id(), new_id(), new_id()];
    let time = UNIX_EPOCH + NOON + Duration::from_hours(50);
    let uploads = ids.map(|id| Publication {
        expires: (id != ids[1]).then_some(time),
        ..publication(&id, b"meta", &[])
    });
    store.publish(&uploads).unwrap();
    let mut expected = [0, 2].map(|place| Expiring {
        time,
        id: ids[place],
    });
    expected.sort_by_key(|expiring| expiring.id);
    let until = |time| store.expiring(time, 9).unwrap().unwrap();
    assert_eq!(until(time - Duration::from_secs(1)), []);
    assert_eq!(until(time), expected);
    store.expired(&expected[..1]).unwrap();
    assert_eq!(until(time), expected[1..]);
}

/// Another node could write the same one.
pub(super) fn a_name_without_a_tag(place: &InBucket) {
    let store = place.store();
    let id = new_id();
    let plain = SegmentName::plain(0).unwrap();
    assert!(matches!(
        store.create_segment(&id, &plain).err(),
        Some(StoreError::UnexpectedFile { .. })
    ));
    store.remove_segment(&id, &plain).unwrap();
    assert!(matches!(
        store.open_staged(&id, &[plain]).err(),
        Some(StoreError::NotFound)
    ));
}
