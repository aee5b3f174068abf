use super::*;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A record in memory, which takes its time, and counts what it is asked.
#[derive(Default)]
struct InMemory {
    record: Mutex<(u64, Option<Vec<u8>>)>,
    reads: AtomicUsize,
    writes: AtomicUsize,
    refused: AtomicUsize,
    /// Fails so many writes from now on.
    failing: AtomicUsize,
}

impl Place for InMemory {
    type Version = u64;

    fn read(&self) -> Result<Option<Found<u64>>, StoreError> {
        self.reads.fetch_add(1, Relaxed);
        let (version, record) = lock(&self.record).clone();
        std::thread::sleep(Duration::from_millis(2));
        Ok(Some((record, version)))
    }

    fn write(&self, version: u64, record: Option<Vec<u8>>) -> Result<bool, StoreError> {
        std::thread::sleep(Duration::from_millis(2));
        if self
            .failing
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(StoreError::Unavailable {
                source: "not now".into(),
            });
        }
        let mut there = lock(&self.record);
        if there.0 != version {
            self.refused.fetch_add(1, Relaxed);
            return Ok(false);
        }
        *there = (version + 1, record);
        self.writes.fetch_add(1, Relaxed);
        Ok(true)
    }
}

fn number(record: Option<&[u8]>) -> u64 {
    record.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

fn add(record: Option<&[u8]>) -> Change {
    Change::Put((number(record) + 1).to_le_bytes().to_vec())
}

fn counted(place: &InMemory) -> u64 {
    number(lock(&place.record).1.as_deref())
}

#[test]
fn changes_that_wait_for_each_other_are_written_together() {
    const THREADS: usize = 64;
    const EACH: usize = 5;
    let (place, together) = (InMemory::default(), Together::new());
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..EACH {
                    together.update(&"hot", &place, &mut add).unwrap();
                }
            });
        }
    });
    assert_eq!(counted(&place), (THREADS * EACH) as u64);
    let writes = place.writes.load(Relaxed);
    assert!(writes <= THREADS * EACH / 2, "{writes}");
    assert_eq!(place.refused.load(Relaxed), 0);
    assert!(lock(&together.queues).is_empty());
}

#[test]
fn servers_that_are_in_each_others_way_lose_nothing() {
    let place = InMemory::default();
    let servers = [(); 3].map(|()| Together::new());
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..12 {
            let (place, together, calls) = (&place, &servers[thread % servers.len()], &calls);
            scope.spawn(move || {
                for _ in 0..5 {
                    let change = &mut |record: Option<&[u8]>| {
                        calls.fetch_add(1, Relaxed);
                        add(record)
                    };
                    together.update(&"hot", place, change).unwrap();
                }
            });
        }
    });
    assert_eq!(counted(&place), 60);
    assert!(calls.into_inner() >= 60);
}

#[test]
fn each_one_is_told_of_its_own_change() {
    let (place, together) = (InMemory::default(), Together::new());
    let start = Barrier::new(3);
    std::thread::scope(|scope| {
        let large = scope.spawn(|| {
            start.wait();
            let change = &mut |_: Option<&[u8]>| Change::Put(vec![0; MAX_RECORD + 1]);
            together.update(&"hot", &place, change)
        });
        let kept = scope.spawn(|| {
            start.wait();
            together.update(&"hot", &place, &mut |_| Change::Keep)
        });
        start.wait();
        together.update(&"hot", &place, &mut add).unwrap();
        assert!(matches!(large.join().unwrap(), Err(StoreError::Io { .. })));
        kept.join().unwrap().unwrap();
    });
    assert_eq!(counted(&place), 1);
    together
        .update(&"hot", &place, &mut |_| Change::Remove)
        .unwrap();
    assert_eq!(*lock(&place.record), (2, None));
    // Nothing is written where there is nothing to remove.
    together
        .update(&"hot", &place, &mut |_| Change::Remove)
        .unwrap();
    assert_eq!(place.writes.load(Relaxed), 2);
}

#[test]
fn what_fails_fails_for_all_that_were_in_it() {
    let (place, together) = (InMemory::default(), Together::new());
    place.failing.store(1000, Relaxed);
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let updated = together.update(&"hot", &place, &mut add);
                assert!(matches!(updated, Err(StoreError::Unavailable { .. })));
            });
        }
    });
    place.failing.store(0, Relaxed);
    together.update(&"hot", &place, &mut add).unwrap();
    assert_eq!(counted(&place), 1);
}

#[test]
fn a_change_that_panics_keeps_nobody_waiting() {
    let (place, together) = (InMemory::default(), Together::new());
    let start = Barrier::new(8);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (place, together, start, done) = (&place, &together, &start, &done);
            let panics = thread % 2 == 0;
            let updater = scope.spawn(move || {
                start.wait();
                let change = &mut |record: Option<&[u8]>| {
                    assert!(!panics, "as asked for");
                    add(record)
                };
                // Where the one that panicked led, all in it are told.
                if together.update(&"hot", place, change).is_ok() {
                    done.fetch_add(1, Relaxed);
                }
            });
            scope.spawn(move || {
                let ended = updater.join();
                assert!(panics || ended.is_ok());
            });
        }
    });
    assert_eq!(counted(&place), done.into_inner() as u64);
    together.update(&"hot", &place, &mut add).unwrap();
    assert!(lock(&together.queues).is_empty());
}
