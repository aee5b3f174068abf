use super::shares::Shares;
use super::{Beat, Bucket, Quota, Records, measured};
use crate::store::s3::bucket::Notes;
use crate::store::s3::bucket::tests::{Liar, Lies, settings};
use crate::store::s3::testing;
use crate::store::{Change, Collection, LocalRecords, RecordName, RecordStore, StoreError};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

fn records(place: &Path) -> Arc<dyn RecordStore> {
    Arc::new(LocalRecords::open(place).unwrap())
}

fn taken(records: &dyn RecordStore) -> u64 {
    measured::read(records).unwrap().unwrap().taken
}

/// Several servers with one quota, where so much was stored before.
fn servers<const N: usize>(place: &Path, quota: u64, stored: u64) -> [Shares; N] {
    [(); N].map(|()| {
        let records = records(place);
        measured::ensure(&*records, &|_| Ok(stored)).unwrap();
        Shares::new(records, quota)
    })
}

fn is_reached(taken: Result<(), StoreError>) -> bool {
    match taken {
        Ok(()) => false,
        Err(StoreError::QuotaReached) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn it_is_measured_once() {
    let place = TempDir::new().unwrap();
    let times = AtomicUsize::new(0);
    let measure = |beat: &mut Beat<'_>| {
        times.fetch_add(1, Relaxed);
        beat(1)?;
        std::thread::sleep(std::time::Duration::from_millis(50));
        Ok(1234)
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| measured::ensure(&*records(place.path()), &measure).unwrap());
        }
    });
    assert_eq!(times.load(Relaxed), 1);
    let records = records(place.path());
    assert_eq!(taken(&*records), 1234);

    // Who counts nothing makes the count worth nothing.
    for _ in 0..2 {
        measured::note_uncounted(&*records).unwrap();
    }
    measured::ensure(&*records, &|_| Ok(99)).unwrap();
    assert_eq!(taken(&*records), 99);
    let unmeasured = TempDir::new().unwrap();
    let records = self::records(unmeasured.path());
    measured::note_uncounted(&*records).unwrap();
    assert!(measured::read(&*records).unwrap().is_none());
}

#[test]
fn where_measuring_fails_another_one_does_it() {
    let place = TempDir::new().unwrap();
    let records = records(place.path());
    let failed = measured::ensure(&*records, &|_| {
        Err(StoreError::Unavailable {
            source: "away".into(),
        })
    });
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })));
    measured::ensure(&*records, &|_| Ok(5)).unwrap();
    assert_eq!(taken(&*records), 5);
}

#[test]
fn a_record_that_is_gone_or_damaged_lets_nothing_in() {
    let place = TempDir::new().unwrap();
    let [server] = servers(place.path(), 1000, 0);
    let records = records(place.path());
    let name = "quota".parse().unwrap();
    let set = |change: Change| {
        records
            .update_record(Collection::Usage, &name, &mut |_| change.clone())
            .unwrap();
    };
    set(Change::Remove);
    assert!(matches!(
        server.take(1),
        Err(StoreError::Unavailable { .. })
    ));
    assert!(matches!(
        server.check(1),
        Err(StoreError::Unavailable { .. })
    ));
    set(Change::Put(b"{}".to_vec()));
    assert!(matches!(
        server.take(1),
        Err(StoreError::DamagedRecord { .. })
    ));
    assert!(measured::ensure(&*records, &|_| Ok(0)).is_err());
}

#[test]
fn the_last_byte_can_be_used_and_no_other() {
    let place = TempDir::new().unwrap();
    let [server] = servers(place.path(), 1000, 100);
    server.check(900).unwrap();
    assert!(is_reached(server.check(901)));
    server.take(500).unwrap();
    assert_eq!(server.stored().unwrap(), 600);
    assert!(is_reached(server.take(401)));
    server.take(400).unwrap();
    assert!(is_reached(server.take(1)));
    assert!(is_reached(server.check(1)));
    server.take(0).unwrap();
    server.check(0).unwrap();
    server.give_back(300);
    assert_eq!(server.stored().unwrap(), 700);
    server.check(300).unwrap();
    server.take(300).unwrap();
    assert!(is_reached(server.take(1)));
}

#[test]
fn most_writes_ask_nobody() {
    let place = TempDir::new().unwrap();
    let [one, two] = servers(place.path(), 1000 * 1000 * MIB, 0);
    let records = records(place.path());
    one.take(MIB).unwrap();
    let first = taken(&*records);
    assert_eq!(first, 1000 * MIB + MIB);
    for _ in 0..1000 {
        one.take(MIB).unwrap();
    }
    assert_eq!(taken(&*records), first);
    for _ in 0..2 {
        one.take(1000 * MIB).unwrap();
    }
    let written = 3001 * MIB;
    assert_eq!(taken(&*records), written);
    // What is freed is given back when it is much.
    one.give_back(900 * MIB);
    assert_eq!(taken(&*records), written);
    one.give_back(1101 * MIB);
    assert_eq!(taken(&*records), written - 1001 * MIB);
    two.take(1).unwrap();
    for server in [one, two] {
        server.close();
        server.close();
        assert!(!server.has_any());
    }
    assert_eq!(taken(&*records), written - 2001 * MIB + 1);
}

#[test]
fn what_a_broken_off_upload_gives_back_asks_nobody_and_is_shared_with_the_next_one() {
    let place = TempDir::new().unwrap();
    let records = records(place.path());
    let [one] = servers(place.path(), 1000 * MIB, 0);
    one.take(500 * MIB).unwrap();
    let before = taken(&*records);
    one.regain(500 * MIB);
    assert_eq!(taken(&*records), before);
    one.check(1).unwrap();
    let after = taken(&*records);
    assert!(0 < after && after < 100 * MIB, "{after}");
    one.close();
    assert_eq!(taken(&*records), 0);
}

/// Records in memory, which cost nothing to change.
#[derive(Default)]
struct InMemory(Mutex<BTreeMap<String, Vec<u8>>>);

impl InMemory {
    fn key(collection: Collection, name: &RecordName) -> String {
        format!("{}/{name}", collection.name())
    }
}

impl RecordStore for InMemory {
    fn record(&self, collection: Collection, name: &RecordName) -> Result<Vec<u8>, StoreError> {
        let records = self.0.lock().unwrap();
        let record = records.get(&Self::key(collection, name));
        record.cloned().ok_or(StoreError::NotFound)
    }

    fn update_record(
        &self,
        collection: Collection,
        name: &RecordName,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        let key = Self::key(collection, name);
        let mut records = self.0.lock().unwrap();
        match change(records.get(&key).map(Vec::as_slice)) {
            Change::Keep => {}
            Change::Put(bytes) => drop(records.insert(key, bytes)),
            Change::Remove => drop(records.remove(&key)),
        }
        Ok(())
    }

    fn records(&self, _: Collection) -> Result<Vec<RecordName>, StoreError> {
        Ok(Vec::new())
    }
}

#[test]
fn what_is_regained_while_more_is_taken_is_not_lost() {
    const TIMES: u64 = 40_000;
    const BYTES: u64 = 1000;
    let records = Arc::new(InMemory::default());
    measured::ensure(&*records, &|_| Ok(0)).unwrap();
    let server = Shares::new(records.clone(), u64::MAX);
    server.take(TIMES * BYTES).unwrap();
    server.close();
    let mut used = 0;
    std::thread::scope(|scope| {
        let regaining = scope.spawn(|| {
            for time in 0..TIMES {
                server.regain(BYTES);
                // Mostly it comes while nothing is in hand, and each time at another moment.
                (0..200 + time % 64).for_each(|_| std::hint::spin_loop());
            }
        });
        while !regaining.is_finished() {
            server.take(1).unwrap();
            server.close();
            used += 1;
        }
    });
    server.close();
    assert_eq!(taken(&*records), used);
}

#[test]
fn servers_together_never_exceed_it() {
    const QUOTA: u64 = 1000 * MIB;
    let place = TempDir::new().unwrap();
    let servers: [Shares; 3] = servers(place.path(), QUOTA, 0);
    let (stored, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let reached = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..9_u64 {
            let server = &servers[usize::try_from(thread).unwrap() % servers.len()];
            let (stored, most, reached) = (&stored, &most, &reached);
            scope.spawn(move || {
                let mut mine = Vec::new();
                for step in 0..60_u64 {
                    let bytes = (thread * 31 + step * 17) % 23 * MIB + step;
                    if is_reached(server.take(bytes)) {
                        reached.fetch_add(1, Relaxed);
                        // Room for the others.
                        if let Some(bytes) = mine.pop() {
                            stored.fetch_sub(bytes, Relaxed);
                            server.give_back(bytes);
                        }
                        continue;
                    }
                    let now = stored.fetch_add(bytes, Relaxed) + bytes;
                    most.fetch_max(now, Relaxed);
                    mine.push(bytes);
                }
            });
        }
    });
    let most = most.into_inner();
    assert!(most <= QUOTA, "{most}");
    assert!(most > QUOTA * 3 / 4, "{most}");
    assert!(reached.into_inner() > 0);
    for server in &servers {
        server.close();
    }
    assert_eq!(taken(&*records(place.path())), stored.into_inner());
}

#[test]
fn a_change_whose_answer_is_lost_is_counted_once() {
    let liar = Liar::start(Lies::default());
    let bucket = Bucket::connect(&settings(&liar)).unwrap();
    let open = || {
        let records = Records::new(bucket.clone());
        Quota::open(bucket.clone(), records, Some(1000 * MIB)).unwrap()
    };
    let [one, two] = [open(), open()];
    one.take(200 * MIB).unwrap();
    two.take(300 * MIB).unwrap();
    liar.lose_answer(|| one.give_back(200 * MIB), || two.take(400 * MIB).unwrap());
    drop([one, two]);
    assert_eq!(open().stored().unwrap(), 700 * MIB);
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn two_stores_never_exceed_it() {
    const QUOTA: u64 = 100 * MIB;
    let [one, two] = testing::buckets(true);
    for (key, size) in [
        ("uploads/2026-11-23/a/0000-b.age", 1000_usize),
        ("uploads/2026-11-23/a/meta.age", 200),
        ("uploads/2026-11-23/a/segments-b", 50),
        ("sessions/a/head", 50),
    ] {
        one.put(key, Bytes::from(vec![0; size]), &Notes::default())
            .unwrap();
    }
    let open = |bucket: &Bucket| {
        let records = Records::new(bucket.clone());
        Quota::open(bucket.clone(), records, Some(QUOTA)).unwrap()
    };
    let servers = std::thread::scope(|scope| {
        let servers = [&one, &two].map(|bucket| scope.spawn(move || open(bucket)));
        servers.map(|server| server.join().unwrap())
    });
    assert_eq!(servers[1].stored().unwrap(), 1200);
    let written = AtomicU64::new(1200);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (server, written) = (&servers[thread % 2], &written);
            scope.spawn(move || {
                while !is_reached(server.take(MIB)) {
                    written.fetch_add(MIB, Relaxed);
                }
            });
        }
    });
    let written = written.into_inner();
    assert!(written <= QUOTA && written > QUOTA - 12 * MIB, "{written}");
    drop(servers);
    let server = open(&one);
    assert_eq!(server.stored().unwrap(), written);
    assert!(is_reached(server.check(QUOTA - written + 1)));
    server.check(QUOTA - written).unwrap();

    // A command beside servers counts with them.
    let beside = Quota::join(two.clone(), Records::new(two.clone())).unwrap();
    beside.give_back(1);
    beside.take(QUOTA).unwrap();
    drop(beside);
    let counted = open(&one).stored().unwrap();
    assert_eq!(counted, written + QUOTA - 1);
    let beside = Quota::join(two.clone(), Records::new(two.clone())).unwrap();
    beside.give_back(QUOTA - 1);
    drop(beside);
    assert_eq!(open(&one).stored().unwrap(), written);

    // Without a quota they are measured.
    let records = Records::new(two.clone());
    let free = Quota::open(two.clone(), records, None).unwrap();
    assert_eq!(free.stored().unwrap(), 1200);
    free.take(u64::MAX).unwrap();
    drop(server);
    assert_eq!(open(&one).stored().unwrap(), 1200);
}
