//! The client against an engine that does what it is told to, over real sockets.

mod liar;
mod real;

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connector::Deadlines;
use super::*;
use crate::store::s3::settings::{AwsEnvironment, S3Options};
pub(in crate::store::s3) use liar::{Liar, Lies};

const SHORT: Deadlines = Deadlines {
    connect: Duration::from_secs(2),
    ask: Duration::from_millis(700),
    act: Duration::from_millis(700),
    stall: Duration::from_millis(700),
    retry: Duration::from_secs(3),
    rest_after: Duration::from_millis(400),
    check: Duration::from_millis(500),
};

pub(in crate::store::s3) fn settings(liar: &Liar) -> S3Settings {
    let options = S3Options {
        endpoint: Some(format!("http://{}", liar.address)),
        ..S3Options::default()
    };
    let environment = AwsEnvironment {
        access_key_id: Some("id".into()),
        secret_access_key: Some("secret".to_owned().into()),
        ..AwsEnvironment::default()
    };
    let location = "s3://bucket/at/p".parse().unwrap();
    S3Settings::new(location, options, &environment).unwrap()
}

/// With the deadlines as they are.
fn connect(lies: Lies) -> (Liar, Bucket) {
    let liar = Liar::start(lies);
    let bucket = Bucket::connect(&settings(&liar)).unwrap();
    (liar, bucket)
}

/// With short deadlines.
pub(in crate::store::s3) fn connect_short(lies: Lies) -> (Liar, Bucket) {
    let liar = Liar::start(lies);
    let bucket = Bucket::connect_within(&settings(&liar), SHORT).unwrap();
    (liar, bucket)
}

fn none() -> Notes {
    Notes::default()
}

/// What an error says, with all that it is made of.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += ": ";
        text += &error.to_string();
        source = error.source();
    }
    text
}

fn refused(lies: Lies) -> String {
    let liar = Liar::start(lies);
    let error = Bucket::connect(&settings(&liar)).err().unwrap();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    text(&error)
}

#[test]
fn an_engine_that_keeps_all_is_found_to() {
    let (liar, bucket) = connect(Lies::default());
    let engine = Engine {
        conditional_writes: true,
        checksum: Checksum::Sha256,
        versioned: false,
        bulk_delete: true,
    };
    assert_eq!(*bucket.engine(), engine);
    assert_eq!(liar.state().keys(), [""; 0], "the probe leaves nothing");
}

#[test]
fn what_an_engine_does_not_keep_is_found_out() {
    let engine = |lies| connect(lies).1.engine().clone();
    let lies = Lies {
        ignores_conditions: true,
        ..Lies::default()
    };
    assert!(!engine(lies).conditional_writes);
    let lies = Lies {
        ignores_damage: true,
        ..Lies::default()
    };
    assert_eq!(engine(lies).checksum, Checksum::None);
    let lies = Lies {
        has_no_bulk_delete: true,
        keeps_versions: true,
        ..Lies::default()
    };
    let found = engine(lies);
    assert!(!found.bulk_delete && found.versioned && found.conditional_writes);
}

#[test]
fn what_a_store_needs_is_asked_for_in_words() {
    let refuses = |status, code| {
        refused(Lies {
            refuses: Some((status, code)),
            ..Lies::default()
        })
    };
    for (status, code, says) in [
        (
            404,
            "NoSuchBucket",
            "there is no bucket bucket at http://127.0.0.1:",
        ),
        (
            403,
            "InvalidAccessKeyId",
            "does not accept the credentials (403 InvalidAccessKeyId)",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            403,
            "AccessDenied",
            "may not put an object in the bucket bucket (403 AccessDenied)",
        ),
        (
            400,
            "AuthorizationHeaderMalformed",
            "in another region than us-east-1",
        ),
        (301, "PermanentRedirect", "set AWS_REGION"),
        (403, "RequestTimeTooSkewed", "set the clock"),
    ] {
        let text = refuses(status, code);
        assert!(
            text.starts_with("cannot use s3://bucket/at/p: ") && text.contains(says),
            "{text}"
        );
    }
    let forgetful = refused(Lies {
        forgets_notes: true,
        ..Lies::default()
    });
    assert!(
        forgetful.contains("does not keep the metadata"),
        "{forgetful}"
    );
}

#[test]
fn no_error_and_no_name_shows_a_secret() {
    let text = refused(Lies {
        refuses: Some((403, "SignatureDoesNotMatch")),
        ..Lies::default()
    });
    assert!(
        !text.contains("secret,") && !text.contains("=secret"),
        "{text}"
    );
}

#[test]
fn where_nobody_listens_the_store_is_unavailable() {
    let liar = Liar::start(Lies::default());
    let settings = settings(&liar);
    drop(liar);
    let error = Bucket::connect_within(&settings, SHORT).err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        text(&error).contains("cannot connect to the engine"),
        "{}",
        text(&error)
    );
}

#[test]
fn a_write_whose_answer_was_lost_is_no_conflict() {
    let (liar, bucket) = connect(Lies::default());
    liar.state().lies.drops_answers = 1;
    bucket.create("records/a", "one".into(), &none()).unwrap();
    let first = bucket.get("records/a", 10).unwrap();
    assert_eq!(first.bytes, "one");
    liar.state().lies.drops_answers = 2;
    bucket
        .replace("records/a", &first.etag, "two".into(), &none())
        .unwrap();
    assert_eq!(bucket.get("records/a", 10).unwrap().bytes, "two");
    let created = bucket.create("records/a", "other".into(), &none());
    assert!(matches!(created, Err(StoreError::Exists)), "{created:?}");
    let replaced = bucket.replace("records/a", &first.etag, "other".into(), &none());
    assert!(
        matches!(replaced, Err(StoreError::Replaced)),
        "{replaced:?}"
    );
    let longer = bucket.create("records/a", "x".into(), &none());
    assert!(matches!(longer, Err(StoreError::Exists)), "{longer:?}");
    let counts = bucket.requests();
    assert!(counts.failed >= 3 && counts.retried >= 3, "{counts:?}");
}

#[test]
fn parts_whose_completion_was_not_heard_of_are_complete() {
    let (liar, bucket) = connect(Lies::default());
    let mut parts = bucket.begin_parts("k").unwrap();
    assert!(parts.id().starts_with("upload-"));
    for part in ["one ", "two ", "three ", "four"] {
        parts.send(Bytes::from(part).into()).unwrap();
    }
    parts.complete().unwrap();
    assert_eq!(bucket.get("k", 100).unwrap().bytes, "one two three four");
    // As after a completion that was sent twice, because the first answer was lost.
    let parts = bucket.begin_parts("k").unwrap();
    bucket.abort_parts("k", parts.id()).unwrap();
    bucket.abort_parts("k", parts.id()).unwrap();
    let mut parts = bucket.begin_parts("k").unwrap();
    parts.send(Bytes::from("five").into()).unwrap();
    parts.abort();
    assert_eq!(liar.state().body("at/p/k").unwrap(), "one two three four");
}

#[test]
fn an_engine_that_asks_for_patience_gets_it() {
    let (liar, bucket) = connect(Lies::default());
    liar.state().lies.slow_down = 3;
    bucket.put("k", Bytes::from("body"), &none()).unwrap();
    assert_eq!(liar.state().lies.slow_down, 0);
    let counts = bucket.requests();
    assert_eq!((counts.failed, counts.retried), (3, 3));
}

#[test]
fn a_request_that_is_never_answered_ends() {
    let (liar, bucket) = connect_short(Lies::default());
    bucket.put("k", Bytes::from("body"), &none()).unwrap();
    liar.state().lies.hangs = 1;
    let begun = Instant::now();
    assert_eq!(
        bucket.get("k", 10).unwrap().bytes,
        "body",
        "the second attempt is answered"
    );
    assert!(begun.elapsed() >= SHORT.ask);
    liar.state().lies.hangs = u32::MAX;
    let begun = Instant::now();
    let put = bucket.put("k", Bytes::from("other"), &none());
    assert!(
        matches!(put, Err(StoreError::Unavailable { .. })),
        "{put:?}"
    );
    assert!(begun.elapsed() < SHORT.whole(5) + Duration::from_secs(1));
}

#[test]
fn while_an_engine_is_down_nobody_waits_for_it() {
    let (liar, bucket) = connect_short(Lies::default());
    bucket.check().unwrap();
    liar.state().lies.refuses = Some((503, "ServiceUnavailable"));
    let put = bucket.put("k", Bytes::from("body"), &none());
    assert!(
        matches!(put, Err(StoreError::Unavailable { .. })),
        "{put:?}"
    );
    let before = liar.state().requests;
    let begun = Instant::now();
    let mut fast = 0;
    for _ in 0..100 {
        let got = bucket.get("k", 10);
        assert!(
            matches!(got, Err(StoreError::Unavailable { .. })),
            "{got:?}"
        );
        fast += u32::from(begun.elapsed() < Duration::from_millis(200));
    }
    assert!(liar.state().requests - before <= 10, "most are not sent");
    assert!(bucket.check().is_err());
    assert!(fast > 0 || begun.elapsed() < Duration::from_secs(10));
    // It comes back by itself.
    liar.state().lies.refuses = None;
    let deadline = Instant::now() + Duration::from_secs(20);
    while bucket.put("k", Bytes::from("body"), &none()).is_err() {
        assert!(Instant::now() < deadline, "it is asked again");
        thread::sleep(Duration::from_millis(50));
    }
    bucket.check().unwrap();
}

#[test]
fn a_check_is_soon_answered_and_one_for_all() {
    let (liar, bucket) = connect_short(Lies::default());
    thread::sleep(FRESH);
    let before = liar.state().requests;
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| bucket.check().unwrap());
        }
    });
    assert_eq!(liar.state().requests - before, 1);
    thread::sleep(FRESH);
    liar.state().lies.hangs = u32::MAX;
    let begun = Instant::now();
    assert!(bucket.check().is_err() && bucket.check().is_err());
    assert!(begun.elapsed() < SHORT.check + Duration::from_millis(450));
}

#[test]
fn a_check_says_that_the_key_was_withdrawn() {
    let (liar, bucket) = connect_short(Lies::default());
    liar.state().lies.refuses = Some((403, "AccessDenied"));
    thread::sleep(FRESH);
    let checked = bucket.check();
    assert!(
        matches!(checked, Err(StoreError::Refused { .. })),
        "{checked:?}"
    );
}

#[test]
fn objects_are_read_as_far_as_was_asked_for() {
    let (_liar, bucket) = connect(Lies::default());
    let body = Bytes::from(vec![7; 300_000]);
    bucket.put("long", body.clone(), &none()).unwrap();
    assert_eq!(bucket.get("long", 300_000).unwrap().bytes, body);
    for most in [100, 299_999] {
        let got = bucket.get("long", most);
        assert!(matches!(got, Err(StoreError::Refused { .. })), "{got:?}");
    }
    assert_eq!(bucket.range("long", 10..20).unwrap().len(), 10);
    assert_eq!(bucket.range("long", 299_990..300_010).unwrap().len(), 10);
    for range in [300_000..300_010, 5..5] {
        assert!(bucket.range("long", range).unwrap().is_empty());
    }
    assert!(matches!(
        bucket.range("absent", 0..1),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(bucket.head("absent"), Err(StoreError::NotFound)));
}

/// Keys of a list, and whether there are more.
fn keys(bucket: &Bucket, prefix: &str, after: Option<&str>, most: usize) -> (Vec<String>, bool) {
    let page = bucket.list(prefix, after, most).unwrap();
    (
        page.objects.into_iter().map(|object| object.key).collect(),
        page.more,
    )
}

/// The same on any engine.
fn lists_in_order(bucket: &Bucket) {
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

#[test]
fn a_copy_is_one_wherever_it_is_made() {
    for has_no_copy in [false, true] {
        let (_liar, bucket) = connect(Lies {
            has_no_copy,
            ..Lies::default()
        });
        let notes = none().with("sealslot-segments", "0000-abc");
        bucket.put("short", Bytes::from("body"), &notes).unwrap();
        bucket.copy("short", "copy").unwrap();
        let copy = bucket.get("copy", 10).unwrap();
        assert_eq!((copy.bytes, copy.notes), ("body".into(), notes));
        let long = [vec![1; 8 << 20], vec![2; 1 << 20]].concat();
        bucket.put("long", long.clone(), &none()).unwrap();
        bucket.copy("long", "copy").unwrap();
        assert_eq!(bucket.get("copy", 20 << 20).unwrap().bytes, long);
        assert!(matches!(
            bucket.copy("absent", "copy"),
            Err(StoreError::NotFound)
        ));
    }
}

#[test]
fn many_are_deleted_and_read_with_or_without_a_request_for_all() {
    for has_no_bulk_delete in [false, true] {
        let (liar, bucket) = connect(Lies {
            has_no_bulk_delete,
            ..Lies::default()
        });
        let keys: Vec<_> = (0..40).map(|n| format!("k/{n:02}")).collect();
        for key in &keys[1..] {
            bucket.put(key, Bytes::from(key.clone()), &none()).unwrap();
        }
        let read = bucket.get_all(&keys, 10);
        assert!(matches!(read[0], Err(StoreError::NotFound)));
        for (read, key) in read.iter().zip(&keys).skip(1) {
            assert_eq!(read.as_ref().unwrap().bytes, *key);
        }
        bucket.delete_all(&keys).unwrap();
        bucket.delete(&keys[0]).unwrap();
        assert_eq!(liar.state().keys(), [""; 0]);
    }
}

#[test]
fn an_engine_that_lies_later_is_found_out_by_no_panic() {
    let (liar, bucket) = connect(Lies::default());
    // As some answer to requests they do not understand.
    liar.state().lies.refuses = Some((200, "Whatever"));
    let refused = |result: Result<(), StoreError>| {
        assert!(
            matches!(result, Err(StoreError::Refused { .. })),
            "{result:?}"
        );
    };
    refused(bucket.list("", None, 5).map(|_| ()));
    refused(bucket.head("k").map(|_| ()));
    refused(bucket.begin_parts("k").map(|_| ()));
    refused(bucket.put("k", Bytes::from("x"), &none()));
}

/// Several write the same record; without conditions they take turns.
fn only_one_creates(bucket: &Bucket) {
    let created = thread::scope(|scope| {
        let creators: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || bucket.create("records/r", format!("{n}").into(), &none()))
            })
            .collect();
        creators
            .into_iter()
            .map(|creator| creator.join().unwrap())
            .collect::<Vec<_>>()
    });
    let winners: Vec<_> = (0..4).filter(|n| created[*n].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{created:?}");
    for lost in created.iter().filter(|created| created.is_err()) {
        assert!(matches!(lost, Err(StoreError::Exists)), "{lost:?}");
    }
    assert_eq!(
        bucket.get("records/r", 9).unwrap().bytes,
        winners[0].to_string()
    );
}

/// Several count up one number; no count is lost.
fn no_count_is_lost(bucket: &Bucket) {
    bucket
        .create("records/n", "0 first".into(), &none())
        .unwrap();
    thread::scope(|scope| {
        for who in 0..3 {
            scope.spawn(move || {
                for turn in 0..3 {
                    loop {
                        let old = bucket.get("records/n", 99).unwrap();
                        let text = std::str::from_utf8(&old.bytes).unwrap();
                        let number: u32 = text.split(' ').next().unwrap().parse().unwrap();
                        let new = format!("{} {who} {turn}", number + 1);
                        match bucket.replace("records/n", &old.etag, new.into(), &none()) {
                            Ok(()) => break,
                            Err(StoreError::Replaced) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
            });
        }
    });
    assert!(
        bucket
            .get("records/n", 99)
            .unwrap()
            .bytes
            .starts_with(b"9 ")
    );
}

#[test]
fn writers_do_not_overwrite_each_other() {
    for ignores_conditions in [false, true] {
        let (liar, bucket) = connect(Lies {
            ignores_conditions,
            delay: Duration::from_millis(1),
            ..Lies::default()
        });
        only_one_creates(&bucket);
        no_count_is_lost(&bucket);
        let keys = liar
            .state()
            .keys()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        assert_eq!(
            keys,
            ["at/p/records/n", "at/p/records/r"],
            "no ticket stays"
        );
    }
}

#[test]
fn the_ticket_of_a_dead_server_holds_nobody_up_for_long() {
    let (liar, bucket) = connect(Lies {
        ignores_conditions: true,
        ..Lies::default()
    });
    let ticket = "locks/records/r/1-dead";
    bucket.put(ticket, Bytes::new(), &none()).unwrap();
    liar.state()
        .age("at/p/locks/records/r/1-dead", Duration::from_secs(40));
    bucket.create("records/r", "x".into(), &none()).unwrap();
    assert!(matches!(bucket.head(ticket), Err(StoreError::NotFound)));
    // One that may still live holds until it is given back.
    bucket.put(ticket, Bytes::new(), &none()).unwrap();
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            bucket.delete(ticket).unwrap();
        });
        let created = bucket.create("records/r", "y".into(), &none());
        assert!(matches!(created, Err(StoreError::Exists)), "{created:?}");
    });
    assert!(begun.elapsed() >= Duration::from_millis(300));
}

#[test]
fn what_was_asked_is_counted_by_kind() {
    let (_liar, bucket) = connect(Lies::default());
    let before = bucket.requests();
    bucket.put("k", Bytes::from("12345"), &none()).unwrap();
    bucket.get("k", 10).unwrap();
    bucket.head("k").unwrap();
    bucket.list("", None, 5).unwrap();
    bucket.delete("k").unwrap();
    let after = bucket.requests();
    let counts = [
        after.put - before.put,
        after.get - before.get,
        after.head - before.head,
        after.list - before.list,
        after.delete - before.delete,
        after.bytes_out - before.bytes_out,
    ];
    assert_eq!(counts, [1, 1, 1, 1, 1, 5]);
    assert!(after.bytes_in - before.bytes_in > 5);
}
