//! What a link has left, whatever happens in whatever order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

fn limits(uploads: u64, bytes: u64) -> NewLink {
    NewLink {
        max_uploads: Some(uploads),
        max_bytes: Some(bytes),
        ..NewLink::default()
    }
}

fn links(new: NewLink) -> (TempDir, Links, GrantId) {
    let (place, store) = new_store();
    let links = Links::new(store);
    let (_, link) = links.create(new, START).unwrap();
    (place, links, link.id())
}

fn link(links: &Links, id: &GrantId) -> Link {
    links.link(id).unwrap().unwrap()
}

const SLOTS: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Reserve(usize, What, u64),
    Grow(usize, u64),
    /// The upload becomes visible, and whoever did it may be killed before it is counted.
    Publish(usize),
    Settle(usize),
    GiveBack(usize),
    TakeOver(Vec<usize>, usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0..SLOTS;
    let what = prop_oneof![Just(What::File), Just(What::Fields), Just(What::Part)];
    prop_oneof![
        4 => (slot(), what, 0..60_u64).prop_map(|(slot, what, bytes)| Step::Reserve(slot, what, bytes)),
        2 => (slot(), 0..40_u64).prop_map(|(slot, more)| Step::Grow(slot, more)),
        2 => slot().prop_map(Step::Publish),
        2 => slot().prop_map(Step::Settle),
        1 => slot().prop_map(Step::GiveBack),
        1 => (prop::collection::vec(slot(), 1..4), slot(), 0..120_u64)
            .prop_map(|(parts, into, bytes)| Step::TakeOver(parts, into, bytes)),
    ]
}

/// What the record should say, kept in the simplest way.
struct Model {
    max_uploads: u64,
    max_bytes: u64,
    ids: Vec<UploadId>,
    reserved: BTreeMap<UploadId, (What, u64)>,
    published: BTreeMap<UploadId, (What, u64)>,
    used: Usage,
}

fn add(usage: &mut Usage, what: What, bytes: u64) {
    usage.bytes += bytes;
    usage.uploads += u64::from(what == What::File);
    usage.fields += u64::from(what == What::Fields);
}

impl Model {
    fn new(max_uploads: u64, max_bytes: u64) -> Self {
        Self {
            max_uploads,
            max_bytes,
            ids: (0..SLOTS).map(|_| upload()).collect(),
            reserved: BTreeMap::new(),
            published: BTreeMap::new(),
            used: Usage::default(),
        }
    }

    /// Whether all of this may be reserved at once.
    fn fits(&self, reserved: &BTreeMap<UploadId, (What, u64)>) -> bool {
        let mut all = self.used;
        for (what, bytes) in reserved.values() {
            add(&mut all, *what, *bytes);
        }
        all.uploads <= self.max_uploads
            && all.fields <= self.max_uploads
            && all.bytes <= self.max_bytes
    }

    /// Reserves where it fits, and says whether it did.
    fn set(&mut self, reserved: BTreeMap<UploadId, (What, u64)>) -> bool {
        let fits = self.fits(&reserved);
        if fits {
            self.reserved = reserved;
        }
        fits
    }

    /// Counts it. An upload that is over never comes again under its id.
    fn settle(&mut self, slot: usize) {
        let id = std::mem::replace(&mut self.ids[slot], upload());
        let (what, bytes) = self.published[&id];
        self.reserved.remove(&id);
        add(&mut self.used, what, bytes);
    }

    fn step(&mut self, links: &Links, link: &GrantId, step: &Step) -> Result<(), TestCaseError> {
        let until = START + HOUR;
        let mut reserved = self.reserved.clone();
        match step {
            Step::Reserve(slot, what, bytes) => {
                let id = self.ids[*slot];
                if self.published.contains_key(&id) {
                    return Ok(());
                }
                reserved.insert(id, (*what, *bytes));
                let taken = links.reserve(link, id, *what, *bytes, until, START);
                prop_assert_eq!(taken.is_ok(), self.set(reserved), "{:?}", taken);
            }
            Step::Grow(slot, more) => {
                let id = self.ids[*slot];
                let grown = links.grow(link, &id, *more);
                let is_there = reserved.get_mut(&id).map(|(_, bytes)| *bytes += more);
                let expected = is_there.is_some() && self.set(reserved);
                prop_assert_eq!(grown.is_ok(), expected, "{:?}", grown);
            }
            Step::Publish(slot) => {
                let id = self.ids[*slot];
                if let Some((what, bytes)) = self.reserved.get(&id) {
                    // Mostly less arrives than might have.
                    self.published.insert(id, (*what, bytes / 2));
                }
            }
            Step::Settle(slot) => {
                let id = self.ids[*slot];
                let bytes = self.published.get(&id).map_or(7, |(_, bytes)| *bytes);
                if self.published.contains_key(&id) {
                    self.settle(*slot);
                } else if self.reserved.contains_key(&id) {
                    return Ok(());
                }
                for _ in 0..2 {
                    links.settle(link, &id, bytes).unwrap();
                }
            }
            Step::GiveBack(slot) => {
                let id = self.ids[*slot];
                if self.published.contains_key(&id) {
                    return Ok(());
                }
                self.reserved.remove(&id);
                self.ids[*slot] = upload();
                for _ in 0..2 {
                    links.give_back(link, &id).unwrap();
                }
            }
            Step::TakeOver(parts, into, bytes) => {
                let slots = parts.iter().chain([into]);
                if slots
                    .map(|slot| self.ids[*slot])
                    .any(|id| self.published.contains_key(&id))
                {
                    return Ok(());
                }
                let parts: Vec<_> = parts.iter().map(|slot| self.ids[*slot]).collect();
                let into = self.ids[*into];
                reserved.retain(|id, _| !parts.contains(id));
                reserved.insert(into, (What::File, *bytes));
                let taken = links.take_over(link, &parts, into, *bytes, until);
                prop_assert_eq!(taken.is_ok(), self.set(reserved), "{:?}", taken);
            }
        }
        Ok(())
    }

    fn compare(&self, link: &Link) -> Result<(), TestCaseError> {
        prop_assert_eq!(link.used, self.used);
        let reserved = link.reserved.iter();
        let reserved = reserved.map(|(id, one)| (*id, (one.what, one.bytes)));
        prop_assert_eq!(&reserved.collect::<BTreeMap<_, _>>(), &self.reserved);
        let together = link.reserved_usage();
        prop_assert!(link.used.uploads + together.uploads <= self.max_uploads);
        prop_assert!(link.used.fields + together.fields <= self.max_uploads);
        prop_assert!(link.used.bytes + together.bytes <= self.max_bytes);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_is_counted_twice_or_lost(
        max_uploads in 0..8_u64,
        max_bytes in 0..300_u64,
        steps in prop::collection::vec(step(), 0..50),
        survivors in prop::collection::vec(any::<bool>(), SLOTS),
    ) {
        let (_place, links, id) = links(limits(max_uploads, max_bytes));
        let mut model = Model::new(max_uploads, max_bytes);
        for step in &steps {
            model.step(&links, &id, step)?;
            model.compare(&link(&links, &id))?;
        }

        // Everything stops here, and the next start looks at what there is.
        let survive: Vec<_> = model.ids.iter().zip(&survivors).filter(|(_, is)| **is).map(|(id, _)| *id).collect();
        let fate = |upload: &UploadId| match model.published.get(upload) {
            Some((_, bytes)) => Fate::Published(*bytes),
            None if survive.contains(upload) => Fate::InProgress,
            None => Fate::Gone,
        };
        links.reconcile(&id, START, false, &fate).unwrap();
        model.compare(&link(&links, &id))?;
        links.reconcile(&id, START, true, &fate).unwrap();
        links.reconcile(&id, START, true, &fate).unwrap();
        let after = link(&links, &id);
        let mut expected = Usage::default();
        for (what, bytes) in model.published.values() {
            add(&mut expected, *what, *bytes);
        }
        prop_assert_eq!(after.used, expected);
        for upload in after.reserved.keys() {
            prop_assert!(survive.contains(upload) && !model.published.contains_key(upload));
            prop_assert_eq!(after.reserved[upload].bytes, model.reserved[upload].1);
            links.give_back(&id, upload).unwrap();
        }
        prop_assert!(link(&links, &id).reserved.is_empty());
    }
}

#[test]
fn a_link_for_twenty_never_takes_one_more() {
    const CLIENTS: usize = 200;
    let (place, links, id) = links(limits(20, 20 * 5));
    let beside = LocalRecords::open(place.path()).unwrap();
    let beside = Links::new(Arc::new(beside));
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let links = if client % 2 == 0 { &links } else { &beside };
            let (taken, id) = (&taken, &id);
            scope.spawn(move || {
                // Some break off, and what they had must be there for others.
                for attempt in 0..3 {
                    let upload = upload();
                    match links.reserve(id, upload, What::File, 5, START + HOUR, START) {
                        Ok(()) if attempt == 0 && client % 3 == 0 => {
                            links.give_back(id, &upload).unwrap();
                        }
                        Ok(()) => {
                            taken.fetch_add(1, Ordering::Relaxed);
                            return links.settle(id, &upload, 5).unwrap();
                        }
                        Err(Refused::UploadsUsedUp) => {}
                        Err(refused) => panic!("{refused:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 20);
    let link = link(&links, &id);
    assert_eq!((link.used.uploads, link.used.bytes), (20, 100));
    assert!(link.reserved.is_empty());
    assert_eq!(link.state(START), LinkState::UsedUp);
}

#[test]
fn at_the_end_of_its_time_a_link_takes_nothing_new() {
    let new = NewLink {
        expires: Some(START + DAY),
        ..NewLink::default()
    };
    let (_place, links, id) = links(new);
    let [before, after, whole] = [(); 3].map(|()| upload());
    let reserve = |upload, now| links.reserve(&id, upload, What::File, 1, START + DAY, now);
    reserve(before, START).unwrap();
    assert!(matches!(reserve(after, START + DAY), Err(Refused::Expired)));
    // What is under way comes to its end, parts of a file included.
    links.grow(&id, &before, 10).unwrap();
    links
        .take_over(&id, &[before], whole, 11, START + 2 * DAY)
        .unwrap();
    links.grow(&id, &whole, 1).unwrap();

    links.revoke(&id, START + DAY).unwrap();
    let refused = [
        reserve(after, START),
        reserve(whole, START),
        links.grow(&id, &whole, 0),
        links.take_over(&id, &[whole], after, 0, START),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Refused::Revoked)), "{refused:?}");
    }
    // What was published before stays counted.
    links.settle(&id, &whole, 12).unwrap();
    assert_eq!(link(&links, &id).used.bytes, 12);
}

#[test]
fn an_unknown_link_takes_nothing() {
    let (_place, links, _) = links(NewLink::default());
    let unknown: GrantId = "0".repeat(32).parse().unwrap();
    let upload = upload();
    for refused in [
        links.reserve(&unknown, upload, What::File, 0, START, START),
        links.grow(&unknown, &upload, 0),
        links.take_over(&unknown, &[], upload, 0, START),
    ] {
        assert!(matches!(refused, Err(Refused::Unknown)), "{refused:?}");
    }
    links.settle(&unknown, &upload, 1).unwrap();
    links.give_back(&unknown, &upload).unwrap();
    links
        .reconcile(&unknown, START, true, &|_| Fate::Gone)
        .unwrap();
    assert_eq!(links.link(&unknown).unwrap(), None);
}

#[test]
fn parts_used_twice_are_counted_twice() {
    let (_place, links, id) = links(limits(5, 100));
    let [part, first, second] = [(); 3].map(|()| upload());
    links
        .reserve(&id, part, What::Part, 60, START + HOUR, START)
        .unwrap();
    links.take_over(&id, &[part], first, 60, START).unwrap();
    links.settle(&id, &first, 60).unwrap();
    let again = links.take_over(&id, &[part], second, 60, START);
    assert!(matches!(again, Err(Refused::BytesUsedUp { left: 40 })));
}

#[test]
fn so_many_are_under_way_at_once() {
    let (_place, links, id) = links(NewLink::default());
    let mut full = link(&links, &id);
    let reservation = Reservation {
        what: What::Part,
        bytes: u64::MAX,
        until: START,
    };
    for _ in 0..MAX_RESERVATIONS {
        full.reserve(upload(), reservation.clone(), START).unwrap();
    }
    for what in [What::File, What::Fields, What::Part] {
        let one = Reservation {
            what,
            ..reservation.clone()
        };
        let refused = full.reserve(upload(), one, START);
        assert!(matches!(refused, Err(Refused::TooManyAtOnce)));
    }
    // One that has its place may have it anew, and the largest numbers do no harm.
    let had = *full.reserved.keys().next().unwrap();
    full.reserve(had, reservation, START).unwrap();
    assert_eq!(full.reserved_usage().bytes, u64::MAX);
    full.max_bytes = Some(u64::MAX);
    assert_eq!(full.bytes_left(), Some(0));
    // The largest record is far from what a store refuses to keep.
    let bytes = serde_json::to_vec(&full).unwrap().len();
    assert!(bytes < 1 << 20, "{bytes}");
}

#[test]
fn what_is_due_is_looked_after() {
    let (_place, links, id) = links(NewLink::default());
    let [due, later] = [(); 2].map(|()| upload());
    for (upload, until) in [(due, START + HOUR), (later, START + DAY)] {
        links
            .reserve(&id, upload, What::File, 10, until, START)
            .unwrap();
    }
    let left = || link(&links, &id).reserved.into_keys().collect::<Vec<_>>();
    let gone = |_: &UploadId| Fate::Gone;
    links.reconcile(&id, START, false, &gone).unwrap();
    assert_eq!(left().len(), 2);
    links.reconcile(&id, START + HOUR, false, &gone).unwrap();
    assert_eq!(left(), [later]);
    links.reconcile(&id, START, true, &gone).unwrap();
    assert_eq!(left(), []);
}

#[test]
fn a_link_that_is_over_is_forgotten_in_the_end() {
    let (_place, links, id) = links(NewLink::default());
    let new = NewLink {
        expires: Some(START + DAY),
        ..NewLink::default()
    };
    let (_, expired) = links.create(new.clone(), START).unwrap();
    let (_, busy) = links.create(new, START).unwrap();
    let (_, revoked) = links.create(NewLink::default(), START).unwrap();
    let upload = upload();
    links
        .reserve(&busy.id(), upload, What::File, 1, START + DAY, START)
        .unwrap();
    links.revoke(&revoked.id(), START + 2 * DAY).unwrap();
    let left = |days: u32| {
        links.sweep(START + days * DAY).unwrap();
        let ids: Vec<_> = links.list().unwrap().grants.iter().map(Link::id).collect();
        [id, expired.id(), busy.id(), revoked.id()].map(|id| ids.contains(&id))
    };
    assert_eq!(left(30), [true; 4]);
    assert_eq!(left(31), [true, false, true, true]);
    assert_eq!(left(32), [true, false, true, false]);
    links.give_back(&busy.id(), &upload).unwrap();
    assert_eq!(left(1000), [true, false, false, false]);
}
