//! The store over a real engine, and over a small one in this process.

mod away;
mod beside;
mod broken_off;
mod counted;
mod dying;
mod many;
mod reading;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bucket::Notes;
use super::bucket::tests::{Liar, Lies, Listing, settings as settings_of};
use super::folder::Folder;
use super::settings::S3Settings;
use super::store::S3Store;
use super::{S3Limits, keys, testing};
use crate::store::conformance::{self, NOON, Place};
use crate::store::{
    Publication, ReadAt, SealedFile, SealedUpload, SegmentName, SegmentWriter, SessionStore,
    Staging, Store, StoreError, UploadId,
};

/// For as long as uploads are staged in these tests.
const LIFETIME: Duration = Duration::from_hours(1);
const MIB: usize = 1 << 20;

/// A store of its own in an engine.
struct InBucket {
    settings: S3Settings,
    limits: S3Limits,
    /// Runs for as long as the place is needed.
    _liar: Option<Liar>,
}

impl InBucket {
    fn real(quota: Option<u64>) -> Self {
        Self::at(testing::settings(), quota, None)
    }

    fn small(lies: Lies, quota: Option<u64>) -> Self {
        let liar = Liar::start(lies);
        Self::at(settings_of(&liar), quota, Some(liar))
    }

    fn at(settings: S3Settings, quota: Option<u64>, liar: Option<Liar>) -> Self {
        let limits = S3Limits {
            quota,
            ..S3Limits::default()
        };
        Self {
            settings,
            limits,
            _liar: liar,
        }
    }

    fn store(&self) -> S3Store {
        S3Store::open(&self.settings, self.limits.clone()).unwrap()
    }

    fn store_within(&self, memory: u64) -> S3Store {
        let limits = S3Limits {
            memory,
            ..self.limits.clone()
        };
        S3Store::open(&self.settings, limits).unwrap()
    }
}

/// When everything that is staged today has been given up.
fn long_after() -> SystemTime {
    SystemTime::now().max(UNIX_EPOCH + NOON) + Duration::from_hours(24 * 30)
}

impl Place for InBucket {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.store())
    }

    fn reopen(&self) -> Box<dyn Store> {
        let store = self.store();
        store.sweep_staged(LIFETIME, None, long_after()).unwrap();
        Box::new(store)
    }
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn conforms() {
    conformance::run(|| InBucket::real(None));
}

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn conforms_with_a_quota() {
    conformance::run(|| InBucket::real(Some(1 << 30)));
}

#[test]
fn conforms_over_a_small_engine() {
    conformance::run(|| InBucket::small(Lies::default(), None));
}

#[test]
#[ignore = "takes a minute: tests/e2e/bucket_tests runs it"]
fn conforms_over_a_small_engine_without_conditions() {
    let lies = || Lies {
        ignores_conditions: true,
        has_no_bulk_delete: true,
        has_no_copy: true,
        ..Lies::default()
    };
    conformance::run(|| InBucket::small(lies(), Some(1 << 30)));
}

type Case = fn(&InBucket);

const CASES: [(&str, Case); 16] = [
    ("two at one upload", many::two_at_one_upload),
    ("two rewrap one upload", many::two_rewrap_one_upload),
    ("many segments", many::many_segments),
    ("a list skips segments", many::a_list_skips_segments),
    ("notes are lost", many::notes_are_lost),
    ("what expires is listed", many::what_expires_is_listed),
    ("a name without a tag", many::a_name_without_a_tag),
    ("dropped in the middle", dying::dropped_in_the_middle),
    ("taken over in the middle", dying::taken_over_in_the_middle),
    ("died in the middle", dying::died_in_the_middle),
    ("died while deleting", dying::died_while_deleting),
    ("died while rewrapping", dying::died_while_rewrapping),
    ("rubbish beside an upload", dying::rubbish_beside_an_upload),
    ("an old id is given up", dying::an_old_id_is_given_up),
    ("read in any way", reading::read_in_any_way),
    ("written at once", reading::several_are_written_at_once),
];

#[test]
#[ignore = "needs an S3-compatible server: tests/e2e/bucket_tests runs it"]
fn keeps_to_what_it_says() {
    for (name, case) in CASES {
        println!("{name}");
        case(&InBucket::real(None));
    }
}

#[test]
fn keeps_to_what_it_says_over_a_small_engine() {
    for (name, case) in CASES {
        println!("{name}");
        case(&InBucket::small(Lies::default(), None));
    }
}

/// The id of an upload that began three days ago.
fn new_id() -> UploadId {
    UploadId::generate(SystemTime::now() - Duration::from_hours(72))
}

fn bytes(size: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(size).collect()
}

fn stage(store: &S3Store, id: &UploadId, number: u32, bytes: &[u8]) -> SegmentName {
    let name = store.name_segment(number).unwrap();
    let mut writer = store.create_segment(id, &name).unwrap();
    for piece in bytes.chunks(700_000) {
        writer.write(piece).unwrap();
    }
    writer.finish().unwrap();
    name
}

fn publication(id: &UploadId, meta: &[u8], segments: &[SegmentName]) -> Publication {
    Publication {
        id: *id,
        meta: meta.to_vec(),
        segments: segments.to_vec(),
        expires: None,
    }
}

fn publish(store: &S3Store, id: &UploadId, segments: &[SegmentName]) {
    store
        .publish(&[publication(id, b"meta", segments)])
        .unwrap();
}

fn read(upload: &dyn SealedUpload, number: u32) -> Result<Vec<u8>, StoreError> {
    let file = upload.open(SealedFile::Segment(number))?;
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0)?, bytes.len());
    Ok(bytes)
}

/// Names of everything in an upload's folder, without tags.
fn in_folder(store: &S3Store, id: &UploadId) -> Vec<String> {
    let folder = Folder::list(&store.bucket, id).unwrap();
    let prefix = keys::folder(id);
    let name = |key: &str| {
        let name = key.strip_prefix(&prefix).unwrap();
        match name.split_once('-') {
            Some((number, tagged)) => {
                let ending = tagged.split_once('.').map_or("", |(_, ending)| ending);
                format!("{number}.{ending}")
            }
            None => name.to_owned(),
        }
    };
    folder.all().map(|object| name(&object.key)).collect()
}

/// Waits until chores have removed what they were to.
fn settles(what: impl Fn() -> bool) {
    for _ in 0..1000 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it was not done within ten seconds");
}

fn sweep(store: &S3Store) -> usize {
    store.sweep_staged(LIFETIME, None, long_after()).unwrap().0
}
