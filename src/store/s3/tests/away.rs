//! An engine that does not answer, or whose answers are lost.

use super::*;
use crate::store::s3::bucket::tests::connect_short;
use crate::store::{Collection, RecordStore};

fn small() -> (Liar, S3Store) {
    let (liar, bucket) = connect_short(Lies::default());
    let mut store = S3Store::over(bucket, S3Limits::default()).unwrap();
    store.patience = Duration::from_millis(1);
    (liar, store)
}

#[test]
fn what_may_yet_be_published_keeps_its_segments() {
    let (liar, store) = small();
    let id = UploadId::generate(SystemTime::now());
    let segment = stage(&store, &id, 0, b"segment");
    liar.state().lies.refuses = Some((500, "InternalError"));
    let published = store.publish(&[publication(&id, b"meta", &[segment])]);
    assert!(
        matches!(published, Err(StoreError::Unsettled { .. })),
        "{published:?}"
    );
    liar.state().lies.refuses = None;
    settles(|| store.check().is_ok());
    store.discard(&id).unwrap();
    assert_eq!(in_folder(&store, &id), ["0000.age"]);
    // The engine comes to it after all.
    publish(&store, &id, &[segment]);
    assert_eq!(read(&*store.open(&id).unwrap(), 0).unwrap(), b"segment");
}

#[test]
fn a_lost_answer_changes_nothing() {
    let (liar, store) = small();
    let id = UploadId::generate(SystemTime::now());
    let lose = || liar.state().lies.drops_answers = 1;
    lose();
    let segment = stage(&store, &id, 0, b"segment");
    lose();
    publish(&store, &id, &[segment]);
    lose();
    store.rewrap(&id, b"meta", b"new meta", None).unwrap();
    let upload = store.open(&id).unwrap();
    assert_eq!(upload.open(SealedFile::Meta).unwrap().len(), 8);
    assert_eq!(read(&*upload, 0).unwrap(), b"segment");
}

#[test]
fn a_store_that_is_away_says_so_before_anything_is_sent() {
    let (liar, store) = small();
    liar.state().lies.refuses = Some((503, "SlowDown"));
    settles(|| matches!(store.has_room(1), Err(StoreError::Unavailable { .. })));
    let id = UploadId::generate(SystemTime::now());
    assert!(matches!(
        store.is_staged(&id),
        Err(StoreError::Unavailable { .. })
    ));
    liar.state().lies.refuses = None;
    settles(|| store.has_room(1).is_ok());
}

#[test]
fn what_is_refused_is_not_asked_for_again() {
    for (refuses, is_full) in [((403, "AccessDenied"), false), ((507, "StorageFull"), true)] {
        let (liar, bucket) = connect_short(Lies::default());
        let store = S3Store::over(bucket, S3Limits::default()).unwrap();
        let id = UploadId::generate(SystemTime::now());
        let segment = stage(&store, &id, 0, b"segment");
        liar.state().lies.refuses = Some(refuses);
        let before = liar.state().requests;
        let published = store.publish(&[publication(&id, b"meta", &[segment])]);
        match published {
            Err(StoreError::Full { .. }) if is_full => {}
            Err(StoreError::Refused { .. }) if !is_full => {}
            published => panic!("{published:?}"),
        }
        assert_eq!(liar.state().requests - before, 1);
        // It will not come to it: the segment goes.
        liar.state().lies.refuses = None;
        settles(|| store.check().is_ok());
        store.discard(&id).unwrap();
        assert_eq!(in_folder(&store, &id), [""; 0]);
    }
}

#[test]
fn a_refusal_says_nothing_of_what_was_not_answered_before() {
    let (liar, mut store) = small();
    store.patience = Duration::from_secs(2);
    let id = UploadId::generate(SystemTime::now());
    let segment = stage(&store, &id, 0, b"segment");
    liar.state().lies.refuses = Some((500, "InternalError"));
    let published = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| store.publish(&[publication(&id, b"meta", &[segment])]));
        settles(|| store.bucket.requests().failed > 0);
        liar.state().lies.refuses = Some((403, "AccessDenied"));
        publishing.join().unwrap()
    });
    assert!(
        matches!(published, Err(StoreError::Unsettled { .. })),
        "{published:?}"
    );
}

#[test]
fn a_list_without_end_holds_nobody() {
    let (liar, store) = small();
    let id = UploadId::generate(SystemTime::now());
    store.create_session(&id, b"head").unwrap();
    liar.state().lies.listing = Listing::Endless;
    let refused = |result: Result<(), StoreError>| {
        assert!(
            matches!(result, Err(StoreError::Refused { doing: "list", .. })),
            "{result:?}"
        );
    };
    refused(store.list(None, 5).map(drop));
    refused(store.last_entries(&id, 1).map(drop));
    refused(store.sessions().map(drop));
    refused(store.records(Collection::Links).map(drop));
    refused(store.expiring(long_after(), 5).map(drop));
    refused(store.stored().map(drop));
}

#[test]
fn many_manifests_are_read_at_once_only_where_they_are_short() {
    let (_liar, store) = small();
    let ids = [(); 2].map(|()| UploadId::generate(SystemTime::now()));
    for (id, length) in ids.iter().zip([100, 2 * MIB]) {
        let segment = stage(&store, id, 0, b"segment");
        store
            .publish(&[publication(id, &vec![7; length], &[segment])])
            .unwrap();
    }
    let opened = store.open_all(&ids);
    assert!(opened[0].is_ok());
    assert!(matches!(opened[1], Err(StoreError::Refused { .. })));
    let long = store.open(&ids[1]).unwrap();
    assert_eq!(long.open(SealedFile::Meta).unwrap().len(), 2 * MIB as u64);
}
