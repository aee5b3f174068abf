//! Nodes that die, and others that go on.

use super::*;
use crate::store::s3::unfinished::{self, Doing};

/// Begins a segment of which two parts have been sent.
pub(super) fn begin_large(store: &S3Store, id: &UploadId) -> (SegmentName, Box<dyn SegmentWriter>) {
    let name = store.name_segment(0).unwrap();
    let mut writer = store.create_segment(id, &name).unwrap();
    writer.write(&bytes(20 * MIB)).unwrap();
    assert_eq!(in_folder(store, id), ["0000.parts"]);
    (name, writer)
}

pub(super) fn dropped_in_the_middle(place: &InBucket) {
    let store = place.store();
    let id = new_id();
    let (name, writer) = begin_large(&store, &id);
    drop(writer);
    settles(|| in_folder(&store, &id).is_empty());
    assert!(matches!(
        store.open_staged(&id, &[name]),
        Err(StoreError::NotFound)
    ));
}

pub(super) fn taken_over_in_the_middle(place: &InBucket) {
    let [one, two] = [place.store(), place.store()];
    let id = new_id();
    let (name, mut writer) = begin_large(&one, &id);
    // What a node does that goes on with an upload whose last segment has not come to its end.
    assert!(two.is_staged(&id).unwrap());
    two.remove_segment(&id, &name).unwrap();
    assert_eq!(in_folder(&two, &id), [""; 0]);
    let other = stage(&two, &id, 0, b"from the second");
    // The first one notices at the latest when its segment ends.
    let ended = writer
        .write(&bytes(30 * MIB))
        .and_then(|()| writer.finish());
    assert!(matches!(ended, Err(StoreError::Overtaken)), "{ended:?}");
    publish(&two, &id, &[other]);
    let upload = one.open(&id).unwrap();
    assert_eq!(read(&*upload, 0).unwrap(), b"from the second");
    settles(|| in_folder(&one, &id) == ["meta.age", "0000.age"]);
}

pub(super) fn died_in_the_middle(place: &InBucket) {
    let [one, two] = [place.store(), place.store()];
    let [abandoned, kept] = [new_id(), new_id()];
    two.create_session(&kept, b"head").unwrap();
    for id in [&abandoned, &kept] {
        let (_, writer) = begin_large(&one, id);
        // It never comes to drop anything.
        std::mem::forget(writer);
        stage(&one, id, 1, b"a whole segment");
    }
    let young = two.sweep_staged(LIFETIME, None, SystemTime::now()).unwrap();
    assert_eq!(young, (0, None), "what is young may be somebody's");
    assert_eq!(two.list(None, 9).unwrap(), []);
    let (removed, day) = two.sweep_staged(LIFETIME, None, long_after()).unwrap();
    assert_eq!((removed, day), (2, Some(abandoned.day())));
    assert_eq!(in_folder(&two, &abandoned), [""; 0]);
    assert_eq!(in_folder(&two, &kept), ["0001.age", "0000.parts"]);
    // Each day is looked at once.
    two.remove_session(&kept).unwrap();
    let swept = two.sweep_staged(LIFETIME, day, long_after()).unwrap();
    assert_eq!(swept, (0, day));
    two.discard(&kept).unwrap();
    assert_eq!(in_folder(&two, &kept), [""; 0]);
}

pub(super) fn died_while_deleting(place: &InBucket) {
    let store = place.store();
    let publish_one = || {
        let id = new_id();
        let segment = stage(&store, &id, 0, b"segment");
        publish(&store, &id, &[segment]);
        id
    };
    let [again, swept, not_yet] = [(); 3].map(|()| publish_one());
    for id in [again, swept, not_yet] {
        unfinished::begin(&store, &id, Doing::Deleting).unwrap();
        if id != not_yet {
            store.bucket.delete(&keys::meta(&id)).unwrap();
        }
    }
    assert_eq!(store.list(None, 9).unwrap(), [not_yet]);
    store.delete(&again).unwrap();
    assert!(matches!(store.delete(&again), Err(StoreError::NotFound)));
    assert_eq!(in_folder(&store, &again), [""; 0]);
    sweep(&store);
    assert_eq!(in_folder(&store, &swept), [""; 0]);
    // Nobody was told that it is gone, and it is not.
    assert_eq!(
        read(&*store.open(&not_yet).unwrap(), 0).unwrap(),
        b"segment"
    );
    for id in [again, swept, not_yet] {
        assert_eq!(unfinished::doing(&store, &id).unwrap(), None);
    }
}

pub(super) fn died_while_rewrapping(place: &InBucket) {
    let store = place.store();
    let id = new_id();
    let segment = stage(&store, &id, 0, b"segment");
    publish(&store, &id, &[segment]);
    // A new segment was written, and nothing says yet that it is the upload's.
    stage(&store, &id, 0, b"new segment");
    unfinished::begin(&store, &id, Doing::Rewrapping).unwrap();
    assert_eq!(in_folder(&store, &id), ["meta.age", "0000.age", "0000.age"]);
    let young = SystemTime::now() + Duration::from_hours(1);
    assert_eq!(store.sweep_staged(LIFETIME, None, young).unwrap().0, 0);
    assert_eq!(in_folder(&store, &id).len(), 3);
    assert_eq!(sweep(&store), 1);
    assert_eq!(in_folder(&store, &id), ["meta.age", "0000.age"]);
    assert_eq!(read(&*store.open(&id).unwrap(), 0).unwrap(), b"segment");
}

pub(super) fn rubbish_beside_an_upload(place: &InBucket) {
    let store = place.store();
    let id = new_id();
    let first = stage(&store, &id, 0, b"first");
    // Its entry was never put, so another one came in its place.
    stage(&store, &id, 1, b"nobody counted it");
    let second = stage(&store, &id, 1, b"second");
    publish(&store, &id, &[first, second]);
    let upload = store.open(&id).unwrap();
    assert_eq!(upload.files().unwrap().len(), 3);
    assert_eq!(read(&*upload, 1).unwrap(), b"second");
    assert_eq!(sweep(&store), 1);
    assert_eq!(in_folder(&store, &id), ["meta.age", "0000.age", "0001.age"]);
    assert_eq!(read(&*upload, 1).unwrap(), b"second");
    store.delete(&id).unwrap();
    assert_eq!(in_folder(&store, &id), [""; 0]);
}

/// As what comes from another store has: sweeping may have been at its day before it came.
pub(super) fn an_old_id_is_given_up(place: &InBucket) {
    let store = place.store();
    let [published, given_up, dead] = [new_id(), new_id(), new_id()];
    for id in [&published, &given_up, &dead] {
        let segment = stage(&store, id, 0, b"segment");
        assert_eq!(unfinished::doing(&store, id).unwrap(), Some(Doing::Staging));
        if id == &published {
            publish(&store, id, &[segment]);
        }
    }
    store.discard(&given_up).unwrap();
    for id in [published, given_up] {
        assert_eq!(unfinished::doing(&store, &id).unwrap(), None);
    }
    let day = Some(dead.day());
    let young = store
        .sweep_staged(LIFETIME, day, SystemTime::now())
        .unwrap();
    assert_eq!(young, (0, day));
    let swept = store.sweep_staged(LIFETIME, day, long_after()).unwrap();
    assert_eq!(swept, (1, day));
    assert_eq!(in_folder(&store, &dead), [""; 0]);
    assert_eq!(store.list(None, 9).unwrap(), [published]);
}
