//! An engine that does not answer, or whose answers are lost.

use super::*;
use crate::store::s3::bucket::tests::connect_short;

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
    store.rewrap(&id, b"new meta", None).unwrap();
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
