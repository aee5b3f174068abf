//! Writes whose answers are lost while others write.

use super::*;

#[test]
fn what_another_one_may_have_written_over_is_neither_done_nor_not() {
    let (liar, bucket) = connect(Lies::default());
    let unclear = |written: Result<(), StoreError>| {
        assert!(
            matches!(written, Err(StoreError::Unavailable { .. })),
            "{written:?}"
        );
    };
    let etag = || bucket.get("records/a", 10).unwrap().etag;
    let replace = |old: &ETag, body: &'static str| {
        let body = Bytes::from(body);
        bucket.replace("records/a", old, body, &none())
    };
    let create = || bucket.create("records/a", "one".into(), &none());
    unclear(liar.lose_answer(create, || replace(&etag(), "two").unwrap()));
    let old = etag();
    let three = || replace(&old, "three");
    unclear(liar.lose_answer(three, || replace(&etag(), "four").unwrap()));
    assert_eq!(bucket.get("records/a", 10).unwrap().bytes, "four");
    let old = etag();
    let five = || replace(&old, "five");
    unclear(liar.lose_answer(five, || bucket.delete("records/a").unwrap()));
    assert!(matches!(
        bucket.head("records/a"),
        Err(StoreError::NotFound)
    ));
}
