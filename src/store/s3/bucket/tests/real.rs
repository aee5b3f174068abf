//! The client against a real engine.

use std::thread;

use bytes::Bytes;

use super::lists::lists_in_order;
use super::turns::{no_count_is_lost, only_one_creates};
use super::{Bucket, Checksum, none, text};
use crate::store::StoreError;
use crate::store::s3::testing;

fn connect() -> Bucket {
    Bucket::connect(&testing::settings()).unwrap()
}

/// All the others run whatever an engine does without; here it is shown that nothing else is lacking, nor less.
#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn the_engine_lacks_what_it_is_known_for() {
    let bucket = connect();
    let engine = bucket.engine();
    let does = [
        ("bulk_delete", engine.bulk_delete),
        ("checksum", engine.checksum != Checksum::None),
        ("conditional_writes", engine.conditional_writes),
    ];
    let lacking = does.iter().filter(|(_, does)| !does);
    let lacking: Vec<_> = lacking.map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(lacking, testing::lacks(), "{engine:?}");
    assert!(!engine.versioned);
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn objects_are_kept_with_their_notes() {
    let bucket = connect();
    let notes = none()
        .with("sealslot-segments", "0000-abc 0001-def")
        .with("sealslot-crc64nvme", "00ff");
    bucket
        .put("uploads/k", Bytes::from("body"), &notes)
        .unwrap();
    let object = bucket.get("uploads/k", 10).unwrap();
    assert_eq!(object.bytes, "body");
    assert_eq!(
        object.notes.value("sealslot-segments"),
        Some("0000-abc 0001-def")
    );
    assert_eq!(object.notes.value("sealslot-crc64nvme"), Some("00ff"));
    let head = bucket.head("uploads/k").unwrap();
    assert_eq!((head.size, &head.etag), (4, &object.etag));
    assert_eq!(head.notes, object.notes);
    let listed = bucket.list("uploads/", None, 5).unwrap().objects;
    assert_eq!(listed[0].etag.as_ref(), Some(&object.etag));
    bucket.copy_surely("uploads/k", "uploads/copy").0.unwrap();
    let copy = bucket.get("uploads/copy", 10).unwrap();
    assert_eq!((copy.bytes, copy.notes), (object.bytes, object.notes));
    assert!(matches!(
        bucket.get("uploads/k", 3),
        Err(StoreError::Refused { .. })
    ));
    assert!(matches!(
        bucket.get("uploads/absent", 3),
        Err(StoreError::NotFound)
    ));
    bucket.delete("uploads/k").unwrap();
    bucket.delete("uploads/k").unwrap();
    assert!(matches!(
        bucket.head("uploads/k"),
        Err(StoreError::NotFound)
    ));
    bucket.check().unwrap();
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn writers_take_turns() {
    let bucket = connect();
    only_one_creates(&bucket);
    no_count_is_lost(&bucket);
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn lists_go_on_behind_what_is_known() {
    let bucket = connect();
    lists_in_order(&bucket);
    let keys: Vec<_> = (0..1100).map(|n| format!("many/{n:05}/x")).collect();
    thread::scope(|scope| {
        for keys in keys.chunks(110) {
            let bucket = &bucket;
            scope.spawn(move || {
                for key in keys {
                    bucket.put(key, Bytes::from("x"), &none()).unwrap();
                }
            });
        }
    });
    let page = bucket.list("many/", None, 1050).unwrap();
    assert!(page.objects.len() == 1050 && page.more);
    assert!(
        page.objects
            .iter()
            .zip(&keys)
            .all(|(object, key)| object.key == *key)
    );
    let rest = bucket
        .list("many/", Some(&page.objects[1049].key), 1050)
        .unwrap();
    assert!(rest.objects.len() == 50 && !rest.more);
    let folders = bucket.folders("many/", None, 2000).unwrap();
    assert!(folders.names.len() == 1100 && !folders.more);
    let folders = bucket.folders("many/", Some("00999"), 50).unwrap();
    assert!(folders.names.len() == 50 && folders.names[0] == "01000" && folders.more);
    let read = bucket.get_all(&keys[..100], 5);
    assert!(read.iter().all(Result::is_ok));
    bucket.delete_all(&keys).unwrap();
    assert!(bucket.list("many/", None, 1).unwrap().objects.is_empty());
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn parts_become_one_object() {
    let bucket = connect();
    let mut parts = bucket.begin_parts("whole").unwrap();
    let part = Bytes::from(vec![5; 5 << 20]);
    for _ in 0..4 {
        parts.send(part.clone().into()).unwrap();
    }
    parts.send(Bytes::from("the end").into()).unwrap();
    assert!(matches!(bucket.head("whole"), Err(StoreError::NotFound)));
    parts.complete().0.unwrap();
    let size = (20 << 20) + 7;
    assert_eq!(bucket.head("whole").unwrap().size, size);
    assert_eq!(
        bucket.range("whole", size - 9..size + 9).unwrap(),
        "\u{5}\u{5}the end"
    );
    assert!(bucket.range("whole", size..size + 9).unwrap().is_empty());
    let mut parts = bucket.begin_parts("dropped").unwrap();
    parts.send(part.into()).unwrap();
    let id = parts.id().to_owned();
    parts.abort();
    bucket.abort_parts("dropped", &id).unwrap();
    assert!(matches!(bucket.head("dropped"), Err(StoreError::NotFound)));
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn who_may_not_is_told_so() {
    let refused = |settings| {
        let error = Bucket::connect(&settings).err().unwrap();
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        text(&error)
    };
    let unknown = refused(testing::settings_with_key("unknown", "unknown"));
    assert!(
        unknown.contains("does not accept the credentials"),
        "{unknown}"
    );
    let settings = testing::settings();
    let id = std::env::var("AWS_ACCESS_KEY_ID").unwrap();
    let wrong = refused(testing::settings_at(
        settings.location().clone(),
        &id,
        "wrong",
    ));
    assert!(wrong.contains("does not accept the credentials"), "{wrong}");
}
