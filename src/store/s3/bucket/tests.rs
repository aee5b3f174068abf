//! The client against an engine that does what it is told to, over real sockets.

mod doubt;
mod liar;
mod lists;
mod real;
mod slow;
mod temporary;
mod tls;
mod turns;

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connector::Deadlines;
use super::*;
use crate::store::s3::settings::{AwsEnvironment, S3Options};
pub(in crate::store::s3) use liar::{Liar, Lies, Listing};

/// What fails is soon given up. What is answered has all its time: the machine may be busy.
const SHORT: Deadlines = Deadlines {
    connect: Duration::from_secs(10),
    ask: Duration::from_secs(20),
    act: Duration::from_secs(30),
    stall: Duration::from_secs(20),
    retry: Duration::from_secs(3),
    rest_after: Duration::from_millis(400),
    check: Duration::from_secs(10),
    list: Duration::from_secs(45),
};

/// What is not answered is soon given up, too.
const IMPATIENT: Deadlines = Deadlines {
    ask: Duration::from_millis(700),
    act: Duration::from_millis(700),
    ..SHORT
};

/// Only the question whether the engine answers is soon given up.
const SOON_CHECKED: Deadlines = Deadlines {
    check: Duration::from_millis(500),
    ..SHORT
};

const SECRET: &str = "7hGq2ZkV0wX9";

pub(in crate::store::s3) fn settings(liar: &Liar) -> S3Settings {
    settings_with(
        liar,
        &AwsEnvironment {
            access_key_id: Some("id".into()),
            secret_access_key: Some(SECRET.to_owned().into()),
            ..AwsEnvironment::default()
        },
    )
}

fn settings_with(liar: &Liar, environment: &AwsEnvironment) -> S3Settings {
    let scheme = liar.authority.as_ref().map_or("http", |_| "https");
    let options = S3Options {
        endpoint: Some(format!("{scheme}://{}", liar.address)),
        cacert: liar.authority.as_ref().map(|path| path.to_path_buf()),
        ..S3Options::default()
    };
    let location = "s3://bucket/at/p".parse().unwrap();
    S3Settings::new(location, options, environment).unwrap()
}

/// With the deadlines as they are.
fn connect(lies: Lies) -> (Liar, Bucket) {
    let liar = Liar::start(lies);
    let bucket = Bucket::connect(&settings(&liar)).unwrap();
    (liar, bucket)
}

/// With short deadlines.
pub(in crate::store::s3) fn connect_short(lies: Lies) -> (Liar, Bucket) {
    connect_within(lies, SHORT)
}

fn connect_within(lies: Lies, deadlines: Deadlines) -> (Liar, Bucket) {
    let liar = Liar::start(lies);
    let bucket = Bucket::connect_within(&settings(&liar), deadlines).unwrap();
    (liar, bucket)
}

/// The same bucket with other deadlines. The engine is known: it need not be tried in so short a time.
fn again_within(liar: &Liar, known: &Bucket, deadlines: Deadlines) -> Bucket {
    let settings = settings(liar);
    let look = |place: &str| Bucket::connect_and_look(&settings, deadlines, place);
    let mut bucket = Bucket::connect_by(&settings, look).unwrap();
    let inner = Arc::get_mut(&mut bucket.0).expect("nobody else has it yet");
    inner.engine = known.engine().clone();
    bucket
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
        bare_etags: false,
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
fn an_engine_that_compares_bare_etags_is_sent_them_so_and_needs_no_turns() {
    let (liar, bucket) = connect(Lies {
        compares_bare: true,
        delay: Duration::from_millis(5),
        ..Lies::default()
    });
    let engine = bucket.engine();
    assert!(engine.conditional_writes && engine.bare_etags);
    bucket.create("records/a", "0".into(), &none()).unwrap();
    for round in 0..5 {
        let old = bucket.get("records/a", 100).unwrap().etag;
        let replaced = thread::scope(|scope| {
            let replace = |n: usize| {
                let (bucket, old) = (&bucket, &old);
                let body = Bytes::from(format!("{round} by {n}"));
                scope.spawn(move || bucket.replace("records/a", old, body, &none()))
            };
            let writers: Vec<_> = (0..8).map(replace).collect();
            let replaced = writers.into_iter().map(|writer| writer.join().unwrap());
            replaced.collect::<Vec<_>>()
        });
        let won = replaced.iter().filter(|replaced| replaced.is_ok()).count();
        assert_eq!(won, 1, "{replaced:?}");
        let lost = |replaced: &Result<(), _>| matches!(replaced, Err(StoreError::Replaced));
        assert!(replaced.iter().filter(|replaced| lost(replaced)).count() == 7);
    }
    assert_eq!(liar.state().keys(), ["at/p/records/a"], "no ticket");
    let taken = liar.state().requests;
    let old = bucket.get("records/a", 100).unwrap().etag;
    bucket
        .replace("records/a", &old, "last".into(), &none())
        .unwrap();
    assert_eq!(liar.state().requests - taken, 2);
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
        (301, "PermanentRedirect", "set --store-region"),
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
    assert!(!text.contains(SECRET), "{text}");
}

#[test]
fn where_nobody_listens_the_store_is_unavailable() {
    let mut liar = Liar::start(Lies::default());
    // A port that is held: one that was let go may be another test's by now.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    liar.address = held.local_addr().unwrap();
    let error = Bucket::connect_within(&settings(&liar), SHORT);
    let error = error.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(
        text(&error).contains("cannot connect to the engine"),
        "{}",
        text(&error)
    );
}

#[test]
fn to_read_nothing_is_tried() {
    let liar = Liar::start(Lies::default());
    let bucket = Bucket::connect_to_read(&settings(&liar)).unwrap();
    assert_eq!(liar.state().requests, 1);
    assert!(matches!(
        bucket.get("records/a", 10),
        Err(StoreError::NotFound)
    ));
    liar.state().lies.refuses = Some((404, "NoSuchBucket"));
    let refused = Bucket::connect_to_read(&settings(&liar)).err().unwrap();
    assert!(
        text(&refused).contains("there is no bucket bucket"),
        "{refused:?}"
    );
}

#[test]
fn a_check_without_an_answer_counts_for_failing_fast() {
    let (liar, bucket) = connect_within(Lies::default(), SOON_CHECKED);
    thread::sleep(FRESH);
    liar.state().lies.hangs = u32::MAX;
    bucket.check().unwrap_err();
    let health = &bucket.0.connector.health;
    for _ in 1..5 {
        health.failed(Instant::now());
    }
    thread::sleep(SOON_CHECKED.rest_after);
    let now = Instant::now();
    health.admits(now);
    assert!(!health.admits(now), "one a second is enough");
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
    parts.complete().0.unwrap();
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
    let (liar, known) = connect(Lies::default());
    let persistent = Deadlines {
        retry: Duration::from_secs(15),
        ..IMPATIENT
    };
    let bucket = again_within(&liar, &known, persistent);
    bucket.put("k", Bytes::from("body"), &none()).unwrap();
    liar.state().lies.hangs = 1;
    let begun = Instant::now();
    assert_eq!(
        bucket.get("k", 10).unwrap().bytes,
        "body",
        "the second attempt is answered"
    );
    assert!(begun.elapsed() >= IMPATIENT.ask);
    let bucket = again_within(&liar, &known, IMPATIENT);
    liar.state().lies.hangs = u32::MAX;
    let begun = Instant::now();
    let put = bucket.put("k", Bytes::from("other"), &none());
    assert!(
        matches!(put, Err(StoreError::Unavailable { .. })),
        "{put:?}"
    );
    // Without a deadline each attempt would take a minute.
    assert!(begun.elapsed() < IMPATIENT.whole(5) + Duration::from_secs(20));
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
    let (sent, took) = (liar.state().requests - before, begun.elapsed());
    assert!(sent <= 10 + took.as_secs(), "most are not sent: {sent}");
    assert!(fast > 0 || took < Duration::from_secs(10));
    // What was found before it was down counts for a moment.
    thread::sleep(FRESH);
    assert!(bucket.check().is_err());
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
    let (before, begun) = (liar.state().requests, Instant::now());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| bucket.check().unwrap());
        }
    });
    // One for all, and one more only when the answer is a second old.
    let asked = liar.state().requests - before;
    assert!((1..=1 + begun.elapsed().as_secs()).contains(&asked));
    let (liar, bucket) = connect_within(Lies::default(), SOON_CHECKED);
    thread::sleep(FRESH);
    liar.state().lies.hangs = u32::MAX;
    let (before, begun) = (liar.state().requests, Instant::now());
    assert!(bucket.check().is_err() && bucket.check().is_err());
    let (asked, took) = (liar.state().requests - before, begun.elapsed());
    assert!(asked <= 1 + took.as_secs(), "{asked} in {took:?}");
    // Before any other request would be given up.
    assert!(took < SOON_CHECKED.ask / 2, "{took:?}");
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

#[test]
fn a_copy_is_one_wherever_it_is_made() {
    for has_no_copy in [false, true] {
        let (_liar, bucket) = connect(Lies {
            has_no_copy,
            ..Lies::default()
        });
        let notes = none().with("sealslot-segments", "0000-abc");
        bucket.put("short", Bytes::from("body"), &notes).unwrap();
        let copy = |from| bucket.copy_surely(from, "copy").0;
        copy("short").unwrap();
        let copied = bucket.get("copy", 10).unwrap();
        assert_eq!((copied.bytes, copied.notes), ("body".into(), notes));
        let long = [vec![1; 8 << 20], vec![2; 1 << 20]].concat();
        bucket.put("long", long.clone(), &none()).unwrap();
        copy("long").unwrap();
        assert_eq!(bucket.get("copy", 20 << 20).unwrap().bytes, long);
        assert!(matches!(copy("absent"), Err(StoreError::NotFound)));
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
