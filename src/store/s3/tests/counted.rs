//! What counts for the quota is never less than what is stored.

use super::*;
use crate::store::s3::bucket::tests::connect_short;
use crate::store::s3::removal::Removal;
use crate::store::s3::side_by_side::side_by_side;
use crate::store::s3::unfinished::{self, Doing};

const QUOTA: Option<u64> = Some(1 << 30);

/// What counts when no server has anything in hand.
fn counted(place: &InBucket, stores: impl IntoIterator<Item = S3Store>) -> u64 {
    drop(stores.into_iter().collect::<Vec<_>>());
    place.store().stored().unwrap()
}

#[test]
fn two_who_delete_at_once_do_not_give_back_twice() {
    let place = InBucket::small(Lies::default(), QUOTA);
    let stores = [(); 2].map(|()| place.store());
    let [kept, staged] = [(); 2].map(|()| new_id());
    let segment = stage(&stores[0], &kept, 0, &bytes(MIB));
    publish(&stores[0], &kept, &[segment]);
    for _ in 0..8 {
        let id = new_id();
        let segment = stage(&stores[0], &id, 0, &bytes(MIB));
        publish(&stores[0], &id, &[segment]);
        let deleted = side_by_side(&[0, 1], |store: &usize| stores[*store].delete(&id));
        assert!(deleted.iter().any(Result::is_ok), "{deleted:?}");
        assert_eq!(in_folder(&stores[0], &id), [""; 0]);
        stage(&stores[0], &staged, 0, &bytes(MIB));
        side_by_side(&[0, 1], |store: &usize| stores[*store].discard(&staged));
        stores[0].discard(&staged).unwrap();
    }
    assert!(counted(&place, stores) >= (MIB + 4) as u64);
}

#[test]
fn of_two_who_remove_one_segment_one_gives_it_back() {
    for ignores_conditions in [false, true] {
        let lies = Lies {
            ignores_conditions,
            ..Lies::default()
        };
        let place = InBucket::small(lies, QUOTA);
        let stores = [(); 2].map(|()| place.store());
        let id = new_id();
        stage(&stores[0], &id, 0, &bytes(MIB));
        for _ in 0..4 {
            let segment = stage(&stores[0], &id, 1, &bytes(MIB));
            let remove = |store: &usize| stores[*store].remove_segment(&id, &segment);
            for removed in side_by_side(&[0, 1], remove) {
                removed.unwrap();
            }
            assert_eq!(in_folder(&stores[0], &id), ["0000.age"]);
        }
        assert_eq!(counted(&place, stores), MIB as u64);
    }
}

#[test]
fn who_was_overtaken_while_it_deleted_gives_nothing_back() {
    let place = InBucket::small(Lies::default(), QUOTA);
    let [slow, other] = [(); 2].map(|()| place.store());
    let [kept, id] = [(); 2].map(|()| new_id());
    for id in [&kept, &id] {
        let segment = stage(&slow, id, 0, &bytes(MIB));
        publish(&slow, id, &[segment]);
    }
    let removal = Removal::take(&slow, &id, Doing::Deleting).unwrap().unwrap();
    let folder = Folder::list(&slow.bucket, &id).unwrap();
    other.delete(&id).unwrap();
    assert!(!removal.remove(&folder, true).unwrap());
    drop(removal);
    assert_eq!(counted(&place, [slow, other]), (MIB + 4) as u64);
}

#[test]
fn a_segment_whose_answer_is_lost_counts_until_it_is_removed() {
    let (liar, bucket) = connect_short(Lies::default());
    let limits = S3Limits {
        quota: QUOTA,
        ..S3Limits::default()
    };
    let store = S3Store::over(bucket, limits).unwrap();
    let id = UploadId::generate(SystemTime::now());
    let name = store.name_segment(0).unwrap();
    let mut writer = store.create_segment(&id, &name).unwrap();
    writer.write(&bytes(MIB)).unwrap();
    liar.state().lies.drops_answers = 1000;
    assert!(writer.finish().is_err());
    liar.state().lies.drops_answers = 0;
    settles(|| store.check().is_ok());
    assert_eq!(in_folder(&store, &id), ["0000.age"]);
    assert_eq!(store.stored().unwrap(), MIB as u64);
    store.discard(&id).unwrap();
    assert_eq!(in_folder(&store, &id), [""; 0]);
    assert_eq!(store.stored().unwrap(), 0);
}

#[test]
fn a_refusal_after_a_lost_answer_says_nothing_of_a_segment() {
    for refusal in [(403, "AccessDenied"), (507, "StorageFull")] {
        let (liar, bucket) = connect_short(Lies::default());
        let limits = S3Limits {
            quota: QUOTA,
            ..S3Limits::default()
        };
        let store = S3Store::over(bucket, limits).unwrap();
        let id = UploadId::generate(SystemTime::now());
        let names = [0, 1, 2].map(|number| store.name_segment(number).unwrap());
        let write = |name: &SegmentName| {
            let mut writer = store.create_segment(&id, name).unwrap();
            writer.write(&bytes(MIB)).unwrap();
            writer.finish()
        };
        write(&names[0]).unwrap();
        let refused = |write: &dyn Fn() -> Result<(), StoreError>| {
            liar.state().lies.loses_then_refuses = Some((".age", refusal));
            let written = write();
            assert!(
                matches!(
                    written,
                    Err(StoreError::Refused { .. } | StoreError::Full { .. })
                ),
                "{written:?}"
            );
            liar.state().lies.refuses_writes = None;
        };
        refused(&|| write(&names[1]));
        refused(&|| store.link_segment((&id, &names[0]), (&id, &names[2])));
        assert_eq!(in_folder(&store, &id), ["0000.age", "0001.age", "0002.age"]);
        assert_eq!(store.stored().unwrap(), 3 * MIB as u64);
        store.discard(&id).unwrap();
        assert_eq!(store.stored().unwrap(), 0);
    }
}

#[test]
fn what_is_being_deleted_or_has_lost_a_segment_is_not_kept() {
    let place = InBucket::small(Lies::default(), None);
    let store = place.store();
    let id = new_id();
    assert!(!store.is_kept(&id).unwrap());
    let segments = [0, 1].map(|number| stage(&store, &id, number, b"segment"));
    publish(&store, &id, &segments);
    assert!(store.is_kept(&id).unwrap());
    unfinished::begin(&store, &id, Doing::Deleting).unwrap();
    assert!(!store.is_kept(&id).unwrap());
    unfinished::end(&store, &id).unwrap();
    assert!(store.is_kept(&id).unwrap());
    store
        .bucket
        .delete(&keys::segment(&id, &segments[1]))
        .unwrap();
    assert!(!store.is_kept(&id).unwrap());
}

#[test]
fn what_is_deleted_while_it_is_rewrapped_leaves_no_segment() {
    let (liar, bucket) = connect_short(Lies::default());
    let store = S3Store::over(bucket, S3Limits::default()).unwrap();
    let id = new_id();
    let segment = stage(&store, &id, 0, &bytes(100));
    publish(&store, &id, &[segment]);
    // Somebody rewraps it, and puts its own manifest there after the folder was listed and before the manifest is removed.
    unfinished::begin(&store, &id, Doing::Rewrapping).unwrap();
    let new = SegmentName::tagged(0).unwrap();
    let at = |key: String| format!("at/p/{key}");
    liar.state().lies.appears = Some((at(keys::meta(&id)), at(keys::segment(&id, &new))));
    store.delete(&id).unwrap();
    assert!(liar.state().lies.appears.is_none());
    assert_eq!(in_folder(&store, &id), [""; 0]);
}
