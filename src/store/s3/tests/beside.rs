//! One server seals an upload anew while another one deletes it, or does the same.

use std::thread::{self, ScopedJoinHandle};

use http::Method;

use super::*;
use crate::store::SegmentHeader;
use crate::store::s3::removal::Removal;
use crate::store::s3::unfinished::{self, Doing};

const HEADER: SegmentHeader<'_> = SegmentHeader {
    old_size: 4,
    new: b"new header.",
};

/// An engine, and two servers at it.
struct Two {
    liar: Liar,
    one: S3Store,
    other: S3Store,
}

impl Two {
    fn start() -> Self {
        // So that each object that is deleted has a request of its own.
        let liar = Liar::start(Lies {
            has_no_bulk_delete: true,
            ..Lies::default()
        });
        let limits = S3Limits {
            quota: Some(1 << 30),
            ..S3Limits::default()
        };
        let [one, other] =
            [(); 2].map(|()| S3Store::open(&settings_of(&liar), limits.clone()).unwrap());
        Self { liar, one, other }
    }

    /// Publishes an upload of three segments.
    fn publish(&self) -> (UploadId, Vec<SegmentName>) {
        let id = new_id();
        let stage = |number| stage(&self.one, &id, number, b"old.payload");
        let segments: Vec<_> = (0..3).map(stage).collect();
        publish(&self.one, &id, &segments);
        (id, segments)
    }

    fn rewrap(&self, id: &UploadId) -> Result<(), StoreError> {
        let headers = [HEADER; 3];
        (self.one).rewrap(id, b"meta", b"new meta", Some(&headers))
    }

    fn hold(&self, method: Method, part: impl Into<String>) {
        self.liar.state().lies.holds.push((method, part.into()));
    }

    fn let_go(&self, method: &Method) {
        let mut state = self.liar.state();
        state.lies.holds.retain(|(held, _)| held != method);
    }

    /// What the segments are called that have this number.
    fn numbered(&self, id: &UploadId, number: u32) -> Vec<String> {
        let part = format!("{}{number:04}-", keys::folder(id));
        let state = self.liar.state();
        let keys = state.keys().into_iter().filter(|key| key.contains(&part));
        keys.map(str::to_owned).collect()
    }

    /// What somebody has noted of an upload.
    fn noted(&self, id: &UploadId) -> Option<Doing> {
        let state = self.liar.state();
        let note = state.body(&format!("at/p/{}", keys::unfinished(id)));
        note.and_then(|note| Doing::of(note))
    }

    /// What counts for the quota, when no server has anything in hand.
    fn counted(self) -> u64 {
        drop((self.one, self.other));
        let place = InBucket::at(settings_of(&self.liar), Some(1 << 30), Some(self.liar));
        place.store().stored().unwrap()
    }
}

/// Rewraps until this new segment is held up, and those before it are there.
fn rewraps_until<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    two: &'scope Two,
    id: &'scope UploadId,
    number: u32,
) -> ScopedJoinHandle<'scope, Result<(), StoreError>> {
    two.hold(Method::PUT, format!("{}{number:04}-", keys::folder(id)));
    let rewraps = scope.spawn(move || two.rewrap(id));
    settles(|| two.numbered(id, number - 1).len() == 2);
    rewraps
}

#[test]
fn who_deletes_what_is_being_rewrapped_is_told_that_it_is_deleted() {
    // The manifest is there still when whoever rewraps goes on, or it is gone and a segment is not.
    for is_published in [true, false] {
        let two = Two::start();
        let (id, segments) = two.publish();
        let (kept, _) = two.publish();
        thread::scope(|scope| {
            let rewraps = rewraps_until(scope, &two, &id, 1);
            let held = if is_published {
                keys::meta(&id)
            } else {
                keys::segment(&id, &segments[2])
            };
            two.hold(Method::DELETE, held);
            let deletes = scope.spawn(|| two.other.delete(&id));
            let is_gone = || {
                !two.liar
                    .state()
                    .keys()
                    .contains(&&*format!("at/p/{}", keys::meta(&id)))
            };
            settles(|| two.noted(&id) == Some(Doing::Deleting) && is_gone() != is_published);
            two.let_go(&Method::PUT);
            let rewrapped = rewraps.join().unwrap();
            assert!(
                matches!(rewrapped, Err(StoreError::Replaced)),
                "{rewrapped:?}"
            );
            assert_eq!(two.noted(&id), Some(Doing::Deleting));
            two.let_go(&Method::DELETE);
            deletes.join().unwrap().unwrap();
        });
        assert!(matches!(two.one.open(&id), Err(StoreError::NotFound)));
        assert_eq!(in_folder(&two.one, &id), [""; 0]);
        // For what whoever rewraps would have left, had it died: sweeping comes to it.
        assert_eq!(two.noted(&id), Some(Doing::Clearing));
        assert!(matches!(two.one.delete(&id), Err(StoreError::NotFound)));
        sweep(&two.one);
        assert_eq!(two.noted(&id), None);
        assert_eq!(in_folder(&two.one, &kept).len(), 4);
        // Of what both of them removed it need not be known which one counts it no more.
        let counted = two.counted();
        assert!((37..=37 + 36).contains(&counted), "{counted}");
    }
}

#[test]
fn what_is_taken_for_given_up_is_not_gone_on_with() {
    let two = Two::start();
    let (id, segments) = two.publish();
    thread::scope(|scope| {
        let rewraps = rewraps_until(scope, &two, &id, 2);
        // As if it had stood still before the last segment for longer than anybody does, and sweeping were not through yet.
        let mut first = two.numbered(&id, 0);
        first.retain(|key| !key.ends_with(&keys::segment(&id, &segments[0])));
        let note = format!("at/p/{}", keys::unfinished(&id));
        for key in [&first[0], &note] {
            two.liar.state().age(key, Duration::from_hours(25));
        }
        let swept = two.other.sweep_staged(LIFETIME, None, SystemTime::now());
        assert_eq!(swept.unwrap().0, 1);
        assert_eq!(two.numbered(&id, 1).len(), 2);
        two.let_go(&Method::PUT);
        let rewrapped = rewraps.join().unwrap();
        assert!(
            matches!(rewrapped, Err(StoreError::Replaced)),
            "{rewrapped:?}"
        );
    });
    let upload = two.other.open(&id).unwrap();
    assert_eq!(upload.files().unwrap().len(), 4);
    for number in (0..).take(segments.len()) {
        assert_eq!(read(&*upload, number).unwrap(), b"old.payload");
    }
    assert_eq!(in_folder(&two.one, &id).len(), 4);
    two.rewrap(&id).unwrap();
    let upload = two.other.open(&id).unwrap();
    assert_eq!(read(&*upload, 2).unwrap(), b"new header.payload");
}

#[test]
fn of_two_who_rewrap_one_is_through_whoever_began_first() {
    let two = Two::start();
    let (id, _) = two.publish();
    thread::scope(|scope| {
        let rewraps = rewraps_until(scope, &two, &id, 1);
        two.let_go(&Method::PUT);
        // It does not keep the other one from going on, nor that one this.
        let headers = [HEADER; 3];
        let other = two
            .other
            .rewrap(&id, b"meta", b"another's meta", Some(&headers));
        let both = [rewraps.join().unwrap(), other];
        let is_through = |result: &&Result<(), StoreError>| result.is_ok();
        assert_eq!(both.iter().filter(is_through).count(), 1, "{both:?}");
        let is_told = |result: &Result<(), _>| matches!(result, Ok(()) | Err(StoreError::Replaced));
        assert!(both.iter().all(is_told), "{both:?}");
    });
    let upload = two.one.open(&id).unwrap();
    let meta = upload.open(SealedFile::Meta).unwrap().len();
    assert_eq!(read(&*upload, 0).unwrap(), b"new header.payload");
    assert_eq!(in_folder(&two.one, &id).len(), 4);
    assert_eq!(two.counted(), meta + 3 * 18);
}

#[test]
fn a_note_is_renewed_before_it_is_taken_for_given_up() {
    let two = Two::start();
    let id = new_id();
    let take = |store| {
        Removal::take(store, &id, Doing::Rewrapping)
            .unwrap()
            .unwrap()
    };
    let key = format!("at/p/{}", keys::unfinished(&id));
    let note = || two.liar.state().body(&key).cloned();
    let grow_old = || two.liar.state().age(&key, Duration::from_hours(2));
    let mut own = take(&two.one);
    let first = note();
    own.renew().unwrap();
    assert_eq!(note(), first, "it is young");
    grow_old();
    own.renew().unwrap();
    let renewed = note();
    assert_ne!(renewed, first);
    assert!(own.count_no_more(0, false).unwrap());
    assert_eq!(own.before, None);
    // Somebody else rewraps it too.
    let others = take(&two.other);
    assert_eq!(others.before, Some(Doing::Rewrapping));
    own.renew().unwrap();
    assert!(!own.count_no_more(0, true).unwrap());
    grow_old();
    own.renew().unwrap();
    assert_eq!(own.before, Some(Doing::Rewrapping));
    assert!(own.count_no_more(0, false).unwrap());
    assert!(!others.count_no_more(0, true).unwrap());
    // Somebody deletes it.
    let deleting = Removal::take(&two.other, &id, Doing::Deleting);
    let deleting = deleting.unwrap().unwrap();
    assert!(matches!(own.renew(), Err(StoreError::Replaced)));
    assert!(!own.count_no_more(0, true).unwrap());
    let late = Removal::take(&two.one, &id, Doing::Rewrapping).unwrap();
    assert!(late.is_none());
    assert!(deleting.count_no_more(0, false).unwrap());
    unfinished::end(&two.one, &id).unwrap();
    assert!(matches!(own.renew(), Err(StoreError::Replaced)));
}

#[test]
fn who_clears_does_not_end_what_somebody_else_has_begun() {
    let two = Two::start();
    let id = new_id();
    let clears = Removal::take(&two.one, &id, Doing::Clearing);
    let clears = clears.unwrap().unwrap();
    let deletes = Removal::take(&two.other, &id, Doing::Deleting);
    let deletes = deletes.unwrap().unwrap();
    assert!(!clears.remove(&Folder::default(), true).unwrap());
    assert_eq!(two.noted(&id), Some(Doing::Deleting));
    assert!(deletes.remove(&Folder::default(), true).unwrap());
    assert_eq!(two.noted(&id), None);
}
