//! Against a real engine, as it is, and as one that has no conditional writes.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::store::s3::testing;

/// Two servers with one store.
fn two(conditional: bool) -> [Sessions; 2] {
    testing::buckets(conditional).map(Sessions::new)
}

fn entry(byte: u8) -> EntryBytes {
    [byte; ENTRY_SIZE]
}

fn id_at(seconds: u64) -> UploadId {
    UploadId::generate(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn first(entries: &[EntryBytes]) -> Vec<u8> {
    entries.iter().map(|entry| entry[0]).collect()
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn of_two_servers_at_one_upload_one_goes_on() {
    for conditional in [true, false] {
        let servers = two(conditional);
        let id = id_at(1000);
        servers[0].create(&id, b"head").unwrap();
        for number in 0..6 {
            let put = std::thread::scope(|scope| {
                let servers = [0, 1].map(|server: u8| {
                    let sessions = &servers[usize::from(server)];
                    let entry = entry(10 * u8::try_from(number).unwrap() + server);
                    scope.spawn(move || sessions.put_entry(&id, number, &entry))
                });
                servers.map(|server| server.join().unwrap())
            });
            let winner = put.iter().position(Result::is_ok).unwrap();
            assert!(matches!(put[1 - winner], Err(StoreError::Overtaken)));
            let (at, last) = servers[1 - winner].last_entries(&id, 1).unwrap();
            assert_eq!(at, number);
            let won = 10 * number + u32::try_from(winner).unwrap();
            assert_eq!(first(&last), [u8::try_from(won).unwrap()]);
        }
        assert_eq!(servers[0].entries(&id, 0, 99).unwrap().len(), 6);
        let put = servers[0].create(&id, b"another");
        assert!(matches!(put, Err(StoreError::Exists)));
    }
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn who_counts_in_what_was_replaced_is_overtaken() {
    let [one, two] = two(true);
    let id = id_at(1000);
    one.create(&id, b"head").unwrap();
    for number in 0..3 {
        one.put_entry(&id, number, &entry(7)).unwrap();
    }
    assert_eq!(two.last_entries(&id, 9).unwrap().0, 0);
    two.replace_entries(&id, &entry(20)).unwrap();
    let late = one.put_entry(&id, 3, &entry(8));
    assert!(matches!(late, Err(StoreError::Overtaken)));
    assert_eq!(first(&one.last_entries(&id, 9).unwrap().1), [20]);
    one.put_entry(&id, 1, &entry(21)).unwrap();

    // However often it was replaced since.
    two.replace_entries(&id, &entry(30)).unwrap();
    two.replace_entries(&id, &entry(40)).unwrap();
    one.remember(&id, 0);
    let late = one.put_entry(&id, 3, &entry(8));
    assert!(matches!(late, Err(StoreError::Overtaken)));
    one.remember(&id, 1);
    let late = one.replace_entries(&id, &entry(9));
    assert!(matches!(late, Err(StoreError::Overtaken)));
    for sessions in [&one, &two] {
        let (number, last) = sessions.last_entries(&id, 9).unwrap();
        assert_eq!((number, first(&last)), (0, vec![40]));
    }
    // Of what was replaced there is nothing left.
    let page = one.bucket.list(&folder(&id), None, PAGE).unwrap();
    let sizes: Vec<_> = page.objects.iter().map(|object| object.size).collect();
    assert_eq!(sizes, [ENTRY_SIZE as u64, 0, 0, 4]);
    one.remove(&id).unwrap();
    let page = one.bucket.list(&folder(&id), None, PAGE).unwrap();
    assert_eq!(page.objects, []);
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn the_last_entries_of_many_are_read_in_order() {
    let [one, two] = two(true);
    let id = id_at(1000);
    one.create(&id, b"head").unwrap();
    assert_eq!(two.last_entries(&id, 2).unwrap(), (0, Vec::new()));
    for number in 0..70 {
        let byte = u8::try_from(number).unwrap();
        one.put_entry(&id, number, &entry(byte)).unwrap();
    }
    let (number, last) = two.last_entries(&id, 3).unwrap();
    assert_eq!((number, first(&last)), (67, vec![67, 68, 69]));
    let all: Vec<u8> = (0..70).collect();
    assert_eq!(first(&two.entries(&id, 0, 1000).unwrap()), all);
    assert_eq!(first(&two.entries(&id, 68, 1000).unwrap()), [68, 69]);
    assert!(two.entries(&id, 70, 1).unwrap().is_empty());
    assert!(two.entries(&id, u32::MAX, u32::MAX).unwrap().is_empty());
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn records_are_found_by_when_they_began() {
    let [one, two] = two(true);
    let ids = [100, 200, 300, 400].map(id_at);
    for id in &ids {
        one.create(id, b"head").unwrap();
        one.put_entry(id, 0, &entry(1)).unwrap();
    }
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(two.all().unwrap(), ids);
    assert_eq!(two.begun(&(at(200)..at(400))).unwrap(), ids[1..3]);
    assert_eq!(two.begun(&(at(0)..at(100))).unwrap(), []);
    assert_eq!(two.begun(&(at(401)..at(9999))).unwrap(), []);

    // Two lose their head, one of them lately.
    for id in [&ids[1], &ids[3]] {
        one.bucket.delete(&head_key(id)).unwrap();
    }
    assert_eq!(two.sweep_headless(at(400)).unwrap(), 1);
    assert_eq!(two.sweep_headless(at(400)).unwrap(), 0);
    let kept = two.entries(&ids[3], 0, 9).unwrap();
    assert_eq!(first(&kept), [1]);
    assert_eq!(two.sweep_headless(at(401)).unwrap(), 1);
    assert_eq!(two.all().unwrap(), [ids[0], ids[2]]);
    assert_eq!(first(&two.entries(&ids[2], 0, 9).unwrap()), [1]);
}
