//! Lists, in order and otherwise.

use super::*;

/// Keys of a list, and whether there are more.
fn keys(bucket: &Bucket, prefix: &str, after: Option<&str>, most: usize) -> (Vec<String>, bool) {
    let page = bucket.list(prefix, after, most).unwrap();
    (
        page.objects.into_iter().map(|object| object.key).collect(),
        page.more,
    )
}

/// The same on any engine.
pub(super) fn lists_in_order(bucket: &Bucket) {
    for key in ["a/1", "a/2", "a/3", "a-b/1", "ab/1", "b/1/2", "b/3"] {
        bucket
            .put(&format!("l/{key}"), Bytes::from("x"), &none())
            .unwrap();
    }
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<Vec<_>>()
    };
    let list = |prefix, after, most| keys(bucket, prefix, after, most);
    assert_eq!(
        list("l/a/", None, 9),
        (names(&["l/a/1", "l/a/2", "l/a/3"]), false)
    );
    assert_eq!(list("l/a/", None, 2), (names(&["l/a/1", "l/a/2"]), true));
    assert_eq!(
        list("l/a/", Some("l/a/1"), 2),
        (names(&["l/a/2", "l/a/3"]), false)
    );
    assert_eq!(list("l/b", Some("l/b/1/2"), 9), (names(&["l/b/3"]), false));
    assert_eq!(list("l/c/", None, 9), (names(&[]), false));
    let folders = |prefix, after, most| {
        let folders = bucket.folders(prefix, after, most).unwrap();
        (folders.names, folders.more)
    };
    let mut all = folders("l/", None, 9).0;
    all.sort();
    assert_eq!(all, names(&["a", "a-b", "ab", "b"]));
    assert_eq!(folders("l/", Some("ab"), 9), (names(&["b"]), false));
    assert_eq!(folders("l/b/", None, 9), (names(&["1"]), false));
    assert_eq!(folders("l/b/", Some("1"), 9), (names(&[]), false));
    // One by one, in whatever order.
    let (mut found, mut more) = (Vec::<String>::new(), true);
    while more && found.len() < 9 {
        let before = found.last().cloned();
        let page = bucket.folders("l/", before.as_deref(), 1).unwrap();
        found.extend(page.names);
        more = page.more;
    }
    found.sort();
    assert_eq!(found, all);
}

#[test]
fn lists_are_in_order_and_go_on() {
    lists_in_order(&connect(Lies::default()).1);
}

fn lies_about(bucket: &Bucket, liar: &Liar, listing: Listing) -> [StoreError; 2] {
    bucket.put("a/1", Bytes::from("x"), &none()).unwrap();
    liar.state().lies.listing = listing;
    let objects = bucket.list("a/", None, 9).unwrap_err();
    let folders = bucket.folders("a/", None, 9).unwrap_err();
    [objects, folders]
}

#[test]
fn what_nobody_asked_for_is_taken_for_nothing_of_the_list() {
    let (liar, bucket) = connect(Lies::default());
    for error in lies_about(&bucket, &liar, Listing::Foreign) {
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
        assert!(text(&error).contains("nobody asked for"), "{error:?}");
    }
}

#[test]
fn a_list_of_empty_pages_ends() {
    let deadlines = Deadlines {
        list: Duration::from_secs(2),
        ..SHORT
    };
    let (liar, bucket) = connect_within(Lies::default(), deadlines);
    let begun = Instant::now();
    for error in lies_about(&bucket, &liar, Listing::Empty) {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
    assert!(begun.elapsed() < SHORT.list, "{:?}", begun.elapsed());
}
