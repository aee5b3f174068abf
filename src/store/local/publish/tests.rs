use std::cell::RefCell;
use std::fs::OpenOptions;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::store::conformance::publication;
use crate::store::{Store, StoreLimits};

/// Writes down what it is asked, and fails where it is told to.
#[derive(Default)]
struct Fake {
    asked: RefCell<Vec<String>>,
    taken: Vec<UploadId>,
    staging_fails: bool,
    failing_day: Option<std::path::PathBuf>,
}

impl Fake {
    fn ask(&self, what: String) {
        self.asked.borrow_mut().push(what);
    }
}

impl Disk for Fake {
    fn reveal(&self, id: &UploadId, _day: &Directory) -> Result<(), StoreError> {
        self.ask(format!("reveal {id}"));
        if self.taken.contains(id) {
            return Err(StoreError::Exists);
        }
        Ok(())
    }

    fn sync_staging(&self) -> Result<(), Failed> {
        self.ask("sync staging".to_owned());
        if self.staging_fails {
            return Err(broken("staging"));
        }
        Ok(())
    }

    fn sync_day(&self, day: &Directory) -> Result<(), Failed> {
        self.ask(format!("sync {}", day.path().display()));
        if self.failing_day.as_deref() == Some(day.path()) {
            return Err(broken("a day"));
        }
        Ok(())
    }
}

fn broken(path: &str) -> Failed {
    Failed {
        path: path.into(),
        errno: Errno::IO,
    }
}

/// Two folders to publish to.
struct Days {
    folders: [TempDir; 2],
    opened: [Arc<Directory>; 2],
}

impl Days {
    fn new() -> Self {
        let folders = [(); 2].map(|()| TempDir::new().unwrap());
        let opened =
            [0, 1].map(|number: usize| Arc::new(Directory::open(folders[number].path()).unwrap()));
        Self { folders, opened }
    }

    fn to(&self, day: usize) -> (UploadId, Arc<Directory>) {
        (
            UploadId::generate(SystemTime::now()),
            Arc::clone(&self.opened[day]),
        )
    }

    fn sync(&self, day: usize) -> String {
        format!("sync {}", self.folders[day].path().display())
    }
}

/// Whether the outcome is a failed sync, after which the upload may be visible.
fn is_unsynced(outcome: &Result<(), Unrevealed>) -> bool {
    let unsynced = |failed: &Unrevealed| failed.visible && is_io(&failed.source);
    outcome.as_ref().is_err_and(unsynced)
}

fn is_io(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { .. })
}

#[test]
fn all_are_moved_and_then_each_folder_is_synced_once() {
    let (disk, days) = (Fake::default(), Days::new());
    let batch = [
        vec![days.to(0), days.to(1)],
        vec![days.to(0)],
        vec![days.to(1)],
    ];
    let outcomes = reveal_all(&disk, &batch);
    assert!(outcomes.iter().all(Result::is_ok) && outcomes.len() == 3);
    let moved = batch.iter().flatten();
    let mut expected: Vec<_> = moved.map(|(id, _)| format!("reveal {id}")).collect();
    expected.extend(["sync staging".to_owned(), days.sync(0), days.sync(1)]);
    assert_eq!(disk.asked.into_inner(), expected);
}

#[test]
fn one_that_cannot_be_moved_fails_alone() {
    let days = Days::new();
    let batch = [
        vec![days.to(0)],
        vec![days.to(1)],
        vec![days.to(0), days.to(0), days.to(0)],
    ];
    let disk = Fake {
        taken: vec![batch[1][0].0, batch[2][1].0],
        ..Fake::default()
    };
    let outcomes = reveal_all(&disk, &batch);
    assert!(outcomes[0].is_ok());
    let error = |number: usize| outcomes[number].as_ref().unwrap_err();
    assert!(!error(1).visible, "nothing of it is there");
    assert!(error(2).visible, "its first upload is");
    assert!(
        [1, 2]
            .map(error)
            .iter()
            .all(|failed| matches!(failed.source, StoreError::Exists))
    );
    let asked = disk.asked.into_inner();
    // The third upload of a publication whose second one failed is left where it is; what became visible is synced.
    let third = format!("reveal {}", batch[2][2].0);
    assert!(!asked.contains(&third));
    assert_eq!(asked[4..], ["sync staging".to_owned(), days.sync(0)]);
}

#[test]
fn where_nothing_became_visible_nothing_is_synced() {
    let days = Days::new();
    let batch = [vec![days.to(0)]];
    let disk = Fake {
        taken: vec![batch[0][0].0],
        ..Fake::default()
    };
    let outcomes = reveal_all(&disk, &batch);
    assert!(outcomes[0].as_ref().is_err_and(|failed| !failed.visible));
    assert_eq!(disk.asked.into_inner().len(), 1);
}

#[test]
fn a_failed_sync_of_staging_is_told_to_all_that_became_visible() {
    let days = Days::new();
    let batch = [vec![days.to(0)], vec![days.to(0)], vec![days.to(1)]];
    let disk = Fake {
        taken: vec![batch[1][0].0],
        staging_fails: true,
        ..Fake::default()
    };
    let outcomes = reveal_all(&disk, &batch);
    assert!(is_unsynced(&outcomes[0]) && is_unsynced(&outcomes[2]));
    assert!(outcomes[1].as_ref().is_err_and(|failed| !failed.visible));
    // The names under uploads/ do not go ahead of those in staging/.
    assert_eq!(disk.asked.into_inner().last().unwrap(), "sync staging");
}

#[test]
fn a_failed_sync_of_a_day_is_told_to_all_of_that_day_and_to_no_other() {
    let days = Days::new();
    let batch = [
        vec![days.to(0)],
        vec![days.to(1)],
        vec![days.to(0), days.to(1)],
        vec![days.to(1)],
        vec![days.to(0)],
    ];
    let disk = Fake {
        failing_day: Some(days.folders[0].path().to_owned()),
        ..Fake::default()
    };
    let outcomes = reveal_all(&disk, &batch);
    let unsynced: Vec<_> = outcomes.iter().map(is_unsynced).collect();
    assert_eq!(unsynced, [true, false, true, false, true]);
    assert!(outcomes[1].is_ok() && outcomes[3].is_ok());
    assert!(disk.asked.into_inner().contains(&days.sync(1)));
}

#[test]
fn many_publish_at_once_and_each_is_told_of_its_own() {
    let place = TempDir::new().unwrap();
    let store = LocalStore::open_within(place.path(), StoreLimits::default()).unwrap();
    let now = SystemTime::now();
    let yesterday = now - Duration::from_hours(24);
    std::thread::scope(|scope| {
        for worker in 0..8_u8 {
            let store = &store;
            scope.spawn(move || {
                let taken = UploadId::generate(now);
                store.publish(&[publication(&taken, b"first")]).unwrap();
                for _ in 0..4 {
                    let [a, b] = [now, yesterday].map(UploadId::generate);
                    let both = [a, b].map(|id| publication(&id, &[worker; 9]));
                    store.publish(&both).unwrap();
                    // One that cannot be published, in the midst of them.
                    let refused = store.publish(&[publication(&taken, b"second")]);
                    assert!(matches!(refused, Err(StoreError::Exists)));
                    assert!([a, b].iter().all(|id| store.open(id).is_ok()));
                }
            });
        }
    });
    assert_eq!(store.list(None, 1000).unwrap().len(), 8 * (4 * 2 + 1));
}

#[test]
fn a_short_segment_is_synced_by_publishing_and_a_long_one_before() {
    let place = TempDir::new().unwrap();
    let store = LocalStore::open_within(place.path(), StoreLimits::default()).unwrap();
    for (size, left) in [(5000, 1), (1 << 20, 0)] {
        let id = UploadId::generate(SystemTime::now());
        let name = crate::store::SegmentName::plain(0).unwrap();
        let mut writer = store.create_segment_to_publish(&id, &name).unwrap();
        writer.write(&vec![7; size]).unwrap();
        writer.finish().unwrap();
        assert_eq!(store.deferred.count(), left);
        store.publish(&[publication(&id, b"meta")]).unwrap();
        assert_eq!(store.deferred.count(), 0);
        let stays = store.open(&id).unwrap();
        assert_eq!(stays.sizes(&[name]).unwrap(), [size as u64]);
        // What is dropped leaves no file open.
        let id = UploadId::generate(SystemTime::now());
        store
            .create_segment_to_publish(&id, &name)
            .unwrap()
            .finish()
            .unwrap();
        store.discard(&id).unwrap();
        assert_eq!(store.deferred.count(), 0);
    }
}

#[test]
fn a_segment_whose_sync_fails_is_published_by_no_try() {
    let place = TempDir::new().unwrap();
    let store = LocalStore::open_within(place.path(), StoreLimits::default()).unwrap();
    let [broken, sound] = [(); 2].map(|()| UploadId::generate(SystemTime::now()));
    // It can be written to, and not be synced.
    let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
    let segment = LocalWriter::new(null, "/dev/null".into());
    assert!(store.deferred.leave(&broken, segment).is_none());
    for form in [&[broken][..], &[broken], &[sound, broken]] {
        let form: Vec<_> = form.iter().map(|id| publication(id, b"meta")).collect();
        let failed = store.publish(&form).unwrap_err();
        assert!(is_io(&failed), "{failed:?}");
        assert!(store.list(None, 10).unwrap().is_empty());
    }
    store.discard(&broken).unwrap();
    store.publish(&[publication(&sound, b"meta")]).unwrap();
    assert_eq!(store.list(None, 10).unwrap(), [sound]);
}

#[test]
fn a_long_form_is_published_while_another_one_is() {
    let place = TempDir::new().unwrap();
    let store = LocalStore::open_within(place.path(), StoreLimits::default()).unwrap();
    let form = || {
        let ids = (0..=COMPLETED_AT_ONCE).map(|_| UploadId::generate(SystemTime::now()));
        ids.map(|id| publication(&id, b"meta")).collect::<Vec<_>>()
    };
    let other = store.completes_several.lock().unwrap();
    store.publish(&form()).unwrap();
    drop(other);
    store.publish(&form()).unwrap();
    let published = store.list(None, 100).unwrap();
    assert_eq!(published.len(), 2 * (COMPLETED_AT_ONCE + 1));
}
