//! Against a real engine, as it is, and as one that has no conditional writes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use super::*;
use crate::store::conformance::count;
use crate::store::s3::testing;
use crate::store::{Lease, NodeId};

/// Two servers with one store.
fn two(conditional: bool) -> [Records; 2] {
    testing::buckets(conditional).map(Records::new)
}

fn name(text: &str) -> RecordName {
    text.parse().unwrap()
}

fn number(record: Option<&[u8]>) -> u64 {
    record.map_or(0, |bytes| str::from_utf8(bytes).unwrap().parse().unwrap())
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn servers_count_in_one_record_without_loss() {
    for conditional in [true, false] {
        let [one, two] = two(conditional);
        count(&[&one, &two], &name("counter"), 8, 4);
    }
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn nothing_is_lost_where_some_remove_and_others_put() {
    const EACH: u64 = 6;
    for conditional in [true, false] {
        let servers = two(conditional);
        let name = name("now-and-then");
        let taken = AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..6 {
                let (records, name, taken) = (&servers[thread % 2], &name, &taken);
                let removes = thread < 2;
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let mut seen = 0;
                        let change = &mut |record: Option<&[u8]>| {
                            seen = number(record);
                            if removes {
                                Change::Remove
                            } else {
                                Change::Put((seen + 1).to_string().into_bytes())
                            }
                        };
                        records
                            .update_record(Collection::Tokens, name, change)
                            .unwrap();
                        if removes {
                            taken.fetch_add(seen, Relaxed);
                        }
                    }
                });
            }
        });
        let left = match servers[0].record(Collection::Tokens, &name) {
            Err(StoreError::NotFound) => 0,
            record => number(Some(&record.unwrap())),
        };
        assert_eq!(taken.into_inner() + left, 4 * EACH);
    }
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn what_is_being_removed_is_gone_and_is_waited_for() {
    let [one, _] = two(true);
    let name = name("going");
    let key = key(Collection::Links, &name);
    let removed = Envelope::write(None);
    one.bucket.put(&key, removed, &Notes::default()).unwrap();
    let record = one.record(Collection::Links, &name);
    assert!(matches!(record, Err(StoreError::NotFound)));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(200));
            one.bucket.delete(&key).unwrap();
        });
        let mut seen = Vec::new();
        one.update_record(Collection::Links, &name, &mut |record| {
            seen.push(record.map(<[u8]>::to_vec));
            Change::Put(b"new".to_vec())
        })
        .unwrap();
        assert_eq!(seen, [None]);
    });
    assert_eq!(one.record(Collection::Links, &name).unwrap(), b"new");
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn what_a_dead_server_left_half_removed_keeps_nobody_out_for_long() {
    let [mut one, mut two] = two(true);
    (one.abandoned, two.abandoned) = (Duration::from_secs(2), Duration::from_secs(2));
    let name = name("half");
    let key = key(Collection::Links, &name);
    let removed = Envelope::write(None);
    one.bucket.put(&key, removed, &Notes::default()).unwrap();
    let begun = Instant::now();
    count(&[&one, &two], &name, 4, 2);
    assert!(begun.elapsed() > Duration::from_secs(1));
    // What asks for the time leaves nothing behind.
    let probes = one.bucket.list("probe/", None, PAGE).unwrap();
    assert_eq!(probes.objects, []);
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn what_is_no_record_is_not_read_as_one() {
    let [one, two] = two(true);
    let name = name("damaged");
    let key = key(Collection::Links, &name);
    one.bucket
        .put(&key, Bytes::from("garbage"), &Notes::default())
        .unwrap();
    let below = format!("{key}/below");
    one.bucket
        .put(&below, Bytes::new(), &Notes::default())
        .unwrap();
    let read = two.record(Collection::Links, &name);
    assert!(matches!(read, Err(StoreError::DamagedRecord { .. })));
    let changed = two.update_record(Collection::Links, &name, &mut |_| Change::Remove);
    assert!(matches!(changed, Err(StoreError::DamagedRecord { .. })));
    let names = two.records(Collection::Links).unwrap();
    assert_eq!(names, std::slice::from_ref(&name));
    let other = two.update_record(Collection::Tokens, &name, &mut |record| {
        assert_eq!(record, None);
        Change::Put(vec![0; MAX_RECORD])
    });
    other.unwrap();
    let largest = one.record(Collection::Tokens, &name).unwrap();
    assert_eq!(largest.len(), MAX_RECORD);
    let too_large = two.update_record(Collection::Tokens, &name, &mut |_| {
        Change::Put(vec![0; MAX_RECORD + 1])
    });
    assert!(matches!(too_large, Err(StoreError::Io { .. })));
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn of_many_servers_one_gets_a_lease() {
    for conditional in [true, false] {
        let servers = two(conditional);
        let name = name("upkeep");
        let now = SystemTime::now();
        let time = Duration::from_secs(30);
        let taken: Vec<Lease> = thread::scope(|scope| {
            let tried = (0..8).map(|thread| {
                let (records, name) = (&servers[thread % 2], &name);
                let take = move || Lease::take(records, name, &NodeId::generate(), time, now);
                scope.spawn(take)
            });
            let tried: Vec<_> = tried.collect();
            let taken = tried.into_iter().map(|thread| thread.join().unwrap());
            taken.filter_map(Result::unwrap).collect()
        });
        let [mut lease] = <[Lease; 1]>::try_from(taken).unwrap();
        assert!(lease.renew(&servers[0], "so far".into(), now).unwrap());
        lease.give_up(&servers[0], "done".into()).unwrap();
        let next = Lease::take(&servers[1], &name, &NodeId::generate(), time, now);
        assert_eq!(next.unwrap().unwrap().state(), "done");
    }
}
