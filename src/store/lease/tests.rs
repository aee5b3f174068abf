use super::*;
use crate::store::LocalRecords;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const TIME: Duration = Duration::from_secs(30);

fn name() -> RecordName {
    "upkeep".parse().unwrap()
}

fn records() -> (TempDir, LocalRecords) {
    let place = TempDir::new().unwrap();
    let records = LocalRecords::open(place.path()).unwrap();
    (place, records)
}

fn take(records: &LocalRecords, holder: &NodeId, now: SystemTime) -> Option<Lease> {
    Lease::take(records, &name(), holder, TIME, now).unwrap()
}

#[test]
fn a_lease_goes_on_when_its_holder_does_not() {
    let (_place, records) = records();
    let [one, two] = [(); 2].map(|()| NodeId::generate());
    let start = SystemTime::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    let mut first = take(&records, &one, start).unwrap();
    assert_eq!(first.state(), "");
    assert!(first.is_held(after(29)));
    assert!(!first.is_held(after(30)));
    // Not even to its holder, who may have begun anew.
    assert!(take(&records, &one, start).is_none());
    assert!(first.renew(&records, "so far".into(), after(10)).unwrap());
    assert!(first.is_held(after(39)));
    assert!(take(&records, &two, after(44)).is_none());
    let mut second = take(&records, &two, after(45)).unwrap();
    assert_eq!(second.state(), "so far");

    assert!(!first.renew(&records, "late".into(), after(46)).unwrap());
    assert!(!first.is_held(start));
    first.give_up(&records, "later".into()).unwrap();
    assert!(second.renew(&records, "further".into(), after(47)).unwrap());
    second.give_up(&records, "done".into()).unwrap();
    let third = take(&records, &one, after(47)).unwrap();
    assert_eq!(third.state(), "done");
}

#[test]
fn one_time_of_a_holder_is_not_another() {
    let (_place, records) = records();
    let one = NodeId::generate();
    let start = SystemTime::now();
    let mut old = take(&records, &one, start).unwrap();
    let later = start + TIME + CLOCKS_APART;
    let new = take(&records, &one, later).unwrap();
    assert!(!old.renew(&records, String::new(), later).unwrap());
    old.give_up(&records, String::new()).unwrap();
    assert!(take(&records, &NodeId::generate(), later).is_none());
    new.give_up(&records, String::new()).unwrap();
}

#[test]
fn what_cannot_be_understood_is_held_by_nobody() {
    let (_place, records) = records();
    let one = NodeId::generate();
    let now = SystemTime::now();
    let mut put = |_: Option<&[u8]>| Change::Put(b"{\"holder\":1}".to_vec());
    records
        .update_record(Collection::Leases, &name(), &mut put)
        .unwrap();
    let taken = Lease::take(&records, &name(), &one, TIME, now);
    assert!(matches!(taken, Err(StoreError::DamagedRecord { .. })));
    records
        .update_record(Collection::Leases, &name(), &mut |_| Change::Remove)
        .unwrap();
    let mut lease = take(&records, &one, now).unwrap();
    let long = "x".repeat(MAX_LEASE_STATE + 1);
    assert!(lease.renew(&records, long, now).is_err());
    assert!(lease.renew(&records, "short".into(), now).unwrap());
}

#[test]
fn of_many_at_once_one_gets_it() {
    let (place, _) = records();
    let taken = AtomicUsize::new(0);
    let now = SystemTime::now();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let records = LocalRecords::open(place.path()).unwrap();
                if take(&records, &NodeId::generate(), now).is_some() {
                    taken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 1);
}

/// What a server does next, with a clock of its own.
#[derive(Debug, Clone)]
enum Step {
    Take,
    Renew,
    GiveUp,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![3 => Just(Step::Take), 3 => Just(Step::Renew), 1 => Just(Step::GiveUp)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_two_hold_it_at_once(
        clocks in proptest::collection::vec(0..=5000_u64, 3),
        steps in proptest::collection::vec((0..3_usize, 0..20_000_u64, step()), 1..40),
    ) {
        let (_place, records) = records();
        let nodes = [(); 3].map(|()| NodeId::generate());
        let mut held = [const { None::<Lease> }; 3];
        let mut time = SystemTime::now();
        for (node, passed, step) in steps {
            time += Duration::from_millis(passed);
            // As far apart as they may be.
            let now = |node: usize| time + Duration::from_millis(clocks[node]);
            match step {
                Step::Take => {
                    if let Some(lease) = take(&records, &nodes[node], now(node)) {
                        held[node] = Some(lease);
                    }
                }
                Step::Renew => {
                    if let Some(lease) = &mut held[node] {
                        lease.renew(&records, String::new(), now(node)).unwrap();
                    }
                }
                Step::GiveUp => {
                    if let Some(lease) = held[node].take() {
                        lease.give_up(&records, String::new()).unwrap();
                    }
                }
            }
            let holders = held.iter().enumerate().filter(|(node, lease)| {
                lease.as_ref().is_some_and(|lease| lease.is_held(now(*node)))
            });
            prop_assert!(holders.count() <= 1);
        }
    }
}
