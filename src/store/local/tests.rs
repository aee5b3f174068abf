use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use super::directory::FILE_MODE;

use super::*;
use crate::store::conformance::{self, Place, publication};
use crate::store::{MAX_RECORD, ReadAt, SealedFile, SessionStore, Staging};

mod reader;
mod rewrap;

impl Place for TempDir {
    fn open(&self) -> Box<dyn Store> {
        Box::new(LocalStore::open(self.path()).unwrap())
    }
}

#[test]
fn conforms() {
    conformance::run(|| TempDir::new().unwrap());
}

/// The same, with a quota to hold it to.
struct Counting(TempDir);

impl Place for Counting {
    fn open(&self) -> Box<dyn Store> {
        Box::new(within(&self.0, 1 << 30))
    }
}

#[test]
fn conforms_with_a_quota() {
    conformance::run(|| Counting(TempDir::new().unwrap()));
}

fn segment(number: u32) -> SegmentName {
    SegmentName::plain(number).unwrap()
}

fn within(place: &TempDir, quota: u64) -> LocalStore {
    let limits = StoreLimits {
        quota: Some(quota),
        min_free: 0,
    };
    LocalStore::open_within(place.path(), limits).unwrap()
}

#[test]
fn nothing_is_written_beyond_the_quota() {
    let place = TempDir::new().unwrap();
    let store = within(&place, 100);
    let id = new_id();
    let full = |result| assert!(matches!(result, Err(StoreError::QuotaReached)));
    let mut writer = store.create_segment(&id, &segment(0)).unwrap();
    writer.write(&[0; 60]).unwrap();
    full(writer.write(&[0; 41]));
    full(store.has_room(41));
    writer.write(&[0; 40]).unwrap();
    writer.finish().unwrap();
    assert_eq!(store.stored().unwrap(), 100);
    store.check().unwrap();
    // Nothing of what was staged is lost, and nothing half visible.
    full(store.publish(&[publication(&id, b"meta")]));
    assert!(store.list(None, 1).unwrap().is_empty());
    drop(store);
    let store = within(&place, 104);
    assert_eq!(store.stored().unwrap(), 0, "it had no session record");
    drop(store);
    // Less than there is already: nothing more comes in, and what is there can be deleted.
    let store = within(&place, u64::MAX);
    publish(&place, &store, &id);
    drop(store);
    let store = within(&place, 5);
    full(store.has_room(0));
    full(
        store
            .create_segment(&new_id(), &segment(0))
            .unwrap()
            .write(b"x"),
    );
    store.delete(&id).unwrap();
    store.has_room(5).unwrap();
}

#[test]
fn a_quota_holds_when_many_write_at_once() {
    let place = TempDir::new().unwrap();
    let store = within(&place, 10_000);
    let (store, written) = (&store, std::sync::atomic::AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut writer = store.create_segment(&new_id(), &segment(0)).unwrap();
                while writer.write(&[0; 7]).is_ok() {
                    written.fetch_add(7, Ordering::Relaxed);
                }
            });
        }
    });
    let written = written.into_inner();
    assert!((10_000 - 7..=10_000).contains(&written), "{written}");
    assert_eq!(store.stored().unwrap(), written as u64);
}

#[test]
fn a_write_that_fails_counts_what_the_disk_has_of_it() {
    let Ok(file) = OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let place = TempDir::new().unwrap();
    let store = within(&place, 100);
    let mut writer = LocalWriter::new(file, "/dev/full".into());
    writer.room = Some(Arc::clone(&store.room));
    assert!(matches!(
        writer.write(&[0; 60]),
        Err(StoreError::Full { .. })
    ));
    assert_eq!(store.stored().unwrap(), 0);
}

#[test]
fn a_long_segment_that_is_left_gives_all_of_its_room_back() {
    for removed_first in [false, true] {
        let place = TempDir::new().unwrap();
        let store = within(&place, 10 << 20);
        let (id, size) = (new_id(), (600 << 10) + 1);
        let mut writer = store.create_segment(&id, &segment(0)).unwrap();
        match writer.place(size).unwrap() {
            Some(place) => {
                place.fill(1);
                writer.placed().unwrap();
            }
            // The file system is written to through the cache.
            None => writer.write(&vec![1; size]).unwrap(),
        }
        assert_eq!(store.stored().unwrap(), size as u64);
        if removed_first {
            store.discard(&id).unwrap();
            drop(writer);
        } else {
            drop(writer);
            store.discard(&id).unwrap();
        }
        assert_eq!(store.stored().unwrap(), 0, "{removed_first}");
    }
}

#[test]
fn what_the_disk_is_to_keep_free_is_looked_at_in_mid_write() {
    let place = TempDir::new().unwrap();
    let limits = StoreLimits {
        quota: None,
        min_free: 1 << 60,
    };
    let store = LocalStore::open_within(place.path(), limits).unwrap();
    assert!(matches!(store.check(), Err(StoreError::Full { .. })));
    let mut writer = store.create_segment(&new_id(), &segment(0)).unwrap();
    let piece = vec![0; 16 << 20];
    let taken = (0..10).take_while(|_| writer.write(&piece).is_ok()).count();
    assert_eq!(taken, 4);
}

fn new_store() -> (TempDir, LocalStore) {
    let place = TempDir::new().unwrap();
    let store = LocalStore::open(place.path()).unwrap();
    (place, store)
}

fn new_id() -> UploadId {
    UploadId::generate(UNIX_EPOCH + conformance::NOON)
}

/// Publishes an upload of one segment and returns where its folder must be.
fn publish(place: &TempDir, store: &LocalStore, id: &UploadId) -> PathBuf {
    let mut writer = store.create_segment(id, &segment(0)).unwrap();
    writer.write(b"payload").unwrap();
    writer.finish().unwrap();
    store.publish(&[publication(id, b"manifest")]).unwrap();
    place.path().join("uploads/2026-11-23").join(id.to_string())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_layout_and_modes_are_as_documented() {
    let place = TempDir::new().unwrap();
    let data = place.path().join("made/on the way");
    let store = LocalStore::open(&data).unwrap();
    let id = new_id();
    store
        .create_segment(&id, &segment(0))
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(
        names(&data),
        ["lock", "records", "sessions", "staging", "uploads"]
    );
    let staged = data.join("staging").join(id.to_string());
    assert_eq!(names(&staged), ["0000.age"]);
    assert_eq!(mode(&staged), 0o700);
    store.publish(&[publication(&id, b"")]).unwrap();
    assert_eq!(names(&data.join("staging")), [""; 0]);
    let day = data.join("uploads/2026-11-23");
    assert_eq!(names(&day), [id.to_string()]);
    let folder = day.join(id.to_string());
    assert_eq!(names(&folder), ["0000.age", "meta.age"]);

    for made in [
        &place.path().join("made"),
        &data,
        &data.join("sessions"),
        &data.join("staging"),
        &data.join("uploads"),
        &day,
        &folder,
    ] {
        assert_eq!(mode(made), 0o700, "{made:?}");
    }
    for file in [
        data.join("lock"),
        folder.join("0000.age"),
        folder.join("meta.age"),
    ] {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

#[test]
fn a_second_store_on_the_same_folder_is_refused() {
    let (place, store) = new_store();
    let id = new_id();
    let writer = store.create_segment(&id, &segment(0)).unwrap();
    let Err(error) = LocalStore::open(place.path()) else {
        panic!("opened twice")
    };
    assert!(
        matches!(&error, StoreError::Locked { folder } if folder == place.path()),
        "{error:?}"
    );
    assert!(error.to_string().contains(place.path().to_str().unwrap()));
    // The refused one has swept nothing.
    writer.finish().unwrap();
    store.publish(&[publication(&id, b"")]).unwrap();
    assert_eq!(store.open(&id).unwrap().files().unwrap().len(), 2);
    drop(store);
    LocalStore::open(place.path()).unwrap();
}

#[test]
fn opening_sweeps_all_leftovers_and_nothing_else() {
    let (place, store) = new_store();
    let id = new_id();
    let published = publish(&place, &store, &id);
    drop(store);

    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "x").unwrap();
    let staging = place.path().join("staging");
    // A crash while writing, one before the rename, one while deleting, and what nobody can explain.
    for (folder, file) in [
        ("a", "0000.age"),
        ("b", "meta.age"),
        ("c.deleted", "0000.age"),
        ("d/meta.age/deep", "x"),
    ] {
        fs::create_dir_all(staging.join(folder)).unwrap();
        fs::write(staging.join(folder).join(file), "x").unwrap();
    }
    fs::create_dir(staging.join("empty")).unwrap();
    fs::write(staging.join("file"), "x").unwrap();
    symlink(&outside, staging.join("link")).unwrap();
    symlink(&outside, staging.join("a/link")).unwrap();

    let store = LocalStore::open(place.path()).unwrap();
    assert_eq!(names(&staging), [""; 0]);
    assert_eq!(names(&outside), ["kept"]);
    assert_eq!(names(&published), ["0000.age", "meta.age"]);
    assert_eq!(store.list(None, 10).unwrap(), [id]);
}

#[test]
fn a_delete_that_stopped_goes_on_when_called_again() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    // As after a crash or an error between the rename and the removal.
    let leaving = place.path().join("staging").join(format!("{id}.deleted"));
    fs::rename(&folder, &leaving).unwrap();
    fs::remove_file(leaving.join("meta.age")).unwrap();
    assert!(matches!(store.open(&id), Err(StoreError::NotFound)));
    store.delete(&id).unwrap();
    assert!(!leaving.exists());
    assert!(matches!(store.delete(&id), Err(StoreError::NotFound)));
}

#[test]
fn the_wrapped_keys_of_what_is_deleted_are_overwritten() {
    let (place, store) = new_store();
    let id = new_id();
    // For many recipients, and with the beginning of the last line across two pieces; then with no end.
    let mut headed = vec![b'k'; 40 * 4096 - 2];
    headed.extend_from_slice(b"\n--- mac\n");
    headed.resize(300_000, 7);
    let endless = vec![7; (4 << 20) + 5000];
    let payloads = [(headed, 41 * 4096), (endless, 4 << 20)];
    for (number, (payload, _)) in (0..).zip(&payloads) {
        let mut writer = store.create_segment(&id, &segment(number)).unwrap();
        writer.write(payload).unwrap();
        writer.finish().unwrap();
    }
    store.publish(&[publication(&id, b"manifest")]).unwrap();
    let folder = place.path().join("uploads/2026-11-23").join(id.to_string());
    // Whoever holds on to the bytes finds what a disk would show.
    let held = place.path().join("held");
    fs::hard_link(folder.join("meta.age"), &held).unwrap();
    let upload = store.open(&id).unwrap();
    let segments = [0, 1].map(|number| {
        let name = SealedFile::Segment(number).to_string();
        fs::File::open(folder.join(name)).unwrap()
    });
    store.delete(&id).unwrap();
    assert_eq!(fs::read(&held).unwrap(), [0; 8]);
    for (mut segment, (payload, overwritten)) in segments.iter().zip(payloads) {
        let mut found = Vec::new();
        std::io::Read::read_to_end(&mut segment, &mut found).unwrap();
        assert_eq!(found.len(), payload.len());
        assert!(found[..overwritten].iter().all(|byte| *byte == 0));
        assert!(found[overwritten..] == payload[overwritten..]);
    }
    assert!(matches!(
        upload.open(SealedFile::Segment(0)),
        Err(StoreError::NotFound)
    ));
    assert_eq!(names(&place.path().join("staging")), [""; 0]);
}

#[test]
fn a_segment_that_another_upload_has_too_is_not_overwritten() {
    let (place, store) = new_store();
    let (id, other) = (new_id(), new_id());
    store
        .create_segment(&id, &segment(0))
        .unwrap()
        .finish()
        .unwrap();
    let mut writer = store.create_segment(&id, &segment(1)).unwrap();
    writer.write(b"shared").unwrap();
    writer.finish().unwrap();
    store
        .link_segment((&id, &segment(1)), (&other, &segment(0)))
        .unwrap();
    store.publish(&[publication(&id, b"manifest")]).unwrap();
    store.delete(&id).unwrap();
    let staged = place.path().join(format!("staging/{other}/0000.age"));
    assert_eq!(fs::read(staged).unwrap(), b"shared");
}

#[test]
fn the_next_start_overwrites_what_a_crash_left_half_deleted() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    drop(store);
    let held = ["meta.age", "0000.age"].map(|name| {
        let held = place.path().join(format!("held-{name}"));
        fs::copy(folder.join(name), &held).unwrap();
        held
    });
    // As a crash leaves it that came when the upload had left its day.
    let leaving = place.path().join(format!("staging/{id}.deleted"));
    fs::create_dir(&leaving).unwrap();
    fs::hard_link(&held[0], leaving.join("meta.age")).unwrap();
    let mut segment = fs::File::open(&held[1]).unwrap();
    fs::rename(&held[1], leaving.join("0000.age")).unwrap();
    drop(LocalStore::open(place.path()).unwrap());
    assert_eq!(fs::read(&held[0]).unwrap(), [0; 8]);
    let mut found = Vec::new();
    std::io::Read::read_to_end(&mut segment, &mut found).unwrap();
    assert_eq!(found, [0; 7]);
    assert!(!leaving.exists());
}

#[test]
fn strangers_are_not_listed() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    let uploads = place.path().join("uploads");
    let day = folder.parent().unwrap();
    for stranger in ["lost+found", "2026-11-31", "2026-11-24x"] {
        fs::create_dir(uploads.join(stranger)).unwrap();
        fs::create_dir(uploads.join(stranger).join(new_id().to_string())).unwrap();
    }
    fs::write(uploads.join("2026-11-25"), "a file").unwrap();
    symlink(day, uploads.join("2026-11-26")).unwrap();
    fs::create_dir(uploads.join("2026-11-27")).unwrap();
    fs::create_dir(uploads.join("2026-11-27").join(id.to_string())).unwrap();
    fs::create_dir(day.join(id.to_string().to_uppercase())).unwrap();
    fs::write(day.join(new_id().to_string()), "a file").unwrap();
    symlink(&folder, day.join(new_id().to_string())).unwrap();
    assert_eq!(store.list(None, 10).unwrap(), [id]);
    assert!(store.published.has_warned());
}

#[test]
fn links_in_place_of_folders_are_not_followed() {
    let (place, store) = new_store();
    let (id, linked) = (new_id(), new_id());
    let folder = publish(&place, &store, &id);
    let day = folder.parent().unwrap();
    symlink(&folder, day.join(linked.to_string())).unwrap();
    assert!(matches!(
        store.open(&linked),
        Err(StoreError::UnexpectedFile { .. })
    ));

    drop(store);
    let moved = place.path().join("elsewhere");
    fs::rename(day, &moved).unwrap();
    symlink(&moved, day).unwrap();
    let store = LocalStore::open(place.path()).unwrap();
    assert!(matches!(
        store.open(&id),
        Err(StoreError::UnexpectedFile { .. })
    ));
    assert!(matches!(
        store.delete(&id),
        Err(StoreError::UnexpectedFile { .. })
    ));
    assert!(store.publish(&[publication(&new_id(), b"")]).is_err());
    assert_eq!(names(&moved).len(), 2);
}

#[test]
fn only_regular_files_are_read() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    let upload = store.open(&id).unwrap();
    symlink(folder.join("0000.age"), folder.join("0001.age")).unwrap();
    fs::create_dir(folder.join("0002.age")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.join("0003.age"), FILE_MODE).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.join("0004.age")).unwrap());
    for number in 1..=4 {
        let opened = upload.open(SealedFile::Segment(number));
        assert!(
            matches!(opened, Err(StoreError::UnexpectedFile { .. })),
            "segment {number}"
        );
        assert!(
            matches!(upload.files(), Err(StoreError::UnexpectedFile { .. })),
            "segment {number}"
        );
    }
}

#[test]
fn a_foreign_file_in_an_upload_is_named() {
    for foreign in ["notes.txt", "10000.age", ".meta.age.swp", "META.AGE"] {
        let (place, store) = new_store();
        let id = new_id();
        let folder = publish(&place, &store, &id);
        fs::write(folder.join(foreign), "x").unwrap();
        for upload in [
            store.open(&id).unwrap(),
            Box::new(LocalFolder::open(&folder).unwrap()),
        ] {
            let Err(StoreError::UnexpectedFile { path }) = upload.files() else {
                panic!("{foreign} was taken")
            };
            assert_eq!(path, folder.join(foreign));
        }
    }
}

#[test]
fn a_copied_folder_reads_like_the_upload() {
    let (place, store) = new_store();
    let folder = publish(&place, &store, &new_id());
    let copy = place.path().join("copy");
    fs::rename(folder, &copy).unwrap();
    let copy = LocalFolder::open(&copy).unwrap();
    assert_eq!(
        copy.files().unwrap(),
        [SealedFile::Meta, SealedFile::Segment(0)]
    );
    let file: Box<dyn ReadAt> = copy.open(SealedFile::Meta).unwrap();
    let mut buf = [0; 100];
    assert_eq!(file.read_at(&mut buf, 4).unwrap(), 4);
    assert_eq!(&buf[..4], b"fest");
    let Err(missing) = LocalFolder::open(&place.path().join("missing")) else {
        panic!("opened")
    };
    assert!(missing.to_string().contains("missing"), "{missing}");
}

#[test]
fn a_rename_replaces_nothing() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    // Not even a folder that is empty, which a plain rename would replace.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    assert!(matches!(
        store.publish(&[publication(&id, b"")]),
        Err(StoreError::Exists)
    ));
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn what_precedes_a_failure_in_publishing_stays_whole() {
    let (place, store) = new_store();
    let (first, taken, last) = (new_id(), new_id(), new_id());
    publish(&place, &store, &taken);
    let uploads = [first, taken, last].map(|id| publication(&id, b"new"));
    // The first was visible by then: that has to be said.
    let failed = store.publish(&uploads);
    assert!(matches!(failed, Err(StoreError::Unsettled { .. })));
    let alone = store.publish(&[publication(&taken, b"new")]);
    assert!(matches!(alone, Err(StoreError::Exists)));
    for upload in &uploads {
        store.discard(&upload.id).unwrap();
    }
    let listed = store.list(None, 10).unwrap();
    assert!(listed.contains(&first) && listed.contains(&taken) && !listed.contains(&last));
    assert_eq!(
        store
            .open(&first)
            .unwrap()
            .open(SealedFile::Meta)
            .unwrap()
            .len(),
        3
    );
    assert_eq!(
        store
            .open(&taken)
            .unwrap()
            .open(SealedFile::Meta)
            .unwrap()
            .len(),
        8
    );
    assert_eq!(names(&place.path().join("staging")), [""; 0]);
}

#[test]
fn a_day_folder_that_went_missing_is_made_again() {
    let (place, store) = new_store();
    let folder = publish(&place, &store, &new_id());
    fs::remove_dir_all(folder.parent().unwrap()).unwrap();
    let id = new_id();
    assert!(store.publish(&[publication(&id, b"")]).is_err());
    store.discard(&id).unwrap();
    publish(&place, &store, &id);
    assert_eq!(store.list(None, 10).unwrap(), [id]);
}

#[test]
fn a_full_disk_is_said_to_be_full() {
    let Ok(file) = OpenOptions::new().write(true).open("/dev/full") else {
        return;
    };
    let mut writer = LocalWriter::new(file, "/dev/full".into());
    assert!(matches!(writer.write(b"x"), Err(StoreError::Full { .. })));
}

#[test]
fn a_rename_without_the_flag_replaces_nothing_either() {
    let place = TempDir::new().unwrap();
    for folder in ["new", "empty", "full"] {
        fs::create_dir(place.path().join(folder)).unwrap();
    }
    fs::write(place.path().join("full/meta.age"), "x").unwrap();
    let folder = Directory::open(place.path()).unwrap();
    for taken in ["empty", "full"] {
        let renamed = folder.rename_unless_there("new".as_ref(), &folder, taken.as_ref());
        assert_eq!(renamed, Err(Errno::EXIST), "{taken}");
    }
    folder
        .rename_unless_there("new".as_ref(), &folder, "free".as_ref())
        .unwrap();
    assert_eq!(names(place.path()), ["empty", "free", "full"]);
}

#[test]
fn a_mending_that_was_interrupted_is_completed() {
    let (place, store) = new_store();
    let id = new_id();
    let mut writer = store.create_segment(&id, &segment(0)).unwrap();
    writer.write(b"0123456789").unwrap();
    writer.finish().unwrap();
    let path = place.path().join(format!("staging/{id}/0000.age"));
    let mend = place.path().join(format!("sessions/{id}.mend"));
    let read = || {
        let file = store
            .open_staged(&id, &[segment(0)])
            .unwrap()
            .open(SealedFile::Segment(0))
            .unwrap();
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    // Written down, and then in any state that an interruption may leave the segment in.
    for torn in [
        &b"0123456789"[..],
        b"01234567AB",
        b"0123A56789",
        b"0123AB6789",
        b"0123AB",
    ] {
        fs::write(&path, torn).unwrap();
        store.begin_mending(&id, &segment(0), 4, b"AB").unwrap();
        assert_eq!(read(), b"0123AB");
        assert!(!mend.exists());
    }
    // Half written down, the segment was not touched.
    store.begin_mending(&id, &segment(0), 2, b"CD").unwrap();
    let whole = fs::read(&mend).unwrap();
    for size in 0..whole.len() {
        fs::write(&mend, &whole[..size]).unwrap();
        assert_eq!(read(), b"0123AB", "{size}");
        assert!(!mend.exists());
    }
}

#[test]
fn what_belongs_to_no_session_is_swept() {
    let (place, store) = new_store();
    let id = new_id();
    store.create_session(&id, b"head").unwrap();
    store
        .put_entry(&id, 0, &[1; crate::store::ENTRY_SIZE])
        .unwrap();
    let gone = new_id();
    for name in [
        format!("{gone}.entries"),
        format!("{gone}.mend"),
        "strange".to_owned(),
    ] {
        fs::write(place.path().join("sessions").join(name), "x").unwrap();
    }
    drop(store);
    let store = LocalStore::open(place.path()).unwrap();
    let sessions = place.path().join("sessions");
    assert_eq!(
        names(&sessions),
        [format!("{id}.entries"), format!("{id}.head")]
    );
    for name in names(&sessions) {
        assert_eq!(mode(&sessions.join(name)), 0o600);
    }
    assert_eq!(store.sessions().unwrap(), [id]);
}

#[test]
fn records_are_changed_beside_an_open_store() {
    let (place, store) = new_store();
    let [first, second] = [(); 2].map(|()| LocalRecords::open(place.path()).unwrap());
    let name = "counter".parse().unwrap();
    conformance::count(&[&store, &first, &second], &name, 12, 5);
}

#[test]
fn records_and_their_folders_are_for_their_owner_alone() {
    let place = TempDir::new().unwrap();
    let data = place.path().join("made/on the way");
    let records = LocalRecords::open(&data).unwrap();
    let name: RecordName = "name".parse().unwrap();
    records
        .update_record(Collection::Tokens, &name, &mut |_| {
            Change::Put(b"x".to_vec())
        })
        .unwrap();
    let folders = [
        "records",
        "records/links",
        "records/tokens",
        "records/locks",
    ];
    for folder in folders {
        assert_eq!(mode(&data.join(folder)), 0o700, "{folder}");
    }
    assert_eq!(mode(&data.join("records/tokens/name")), 0o600);
    let locks = names(&data.join("records/locks"));
    assert_eq!(locks.len(), 1);
    assert_eq!(mode(&data.join("records/locks").join(&locks[0])), 0o600);
    assert_eq!(names(&data), ["records"], "no other part of the store");
}

#[test]
fn an_interrupted_change_is_none() {
    let (place, store) = new_store();
    let folder = place.path().join("records/links");
    let name: RecordName = "name".parse().unwrap();
    fs::write(folder.join("name"), "old").unwrap();
    fs::write(folder.join("name.new"), "half of what was to").unwrap();
    assert_eq!(store.records(Collection::Links).unwrap().len(), 1);
    assert_eq!(store.record(Collection::Links, &name).unwrap(), b"old");
    store
        .update_record(Collection::Links, &name, &mut |now| {
            assert_eq!(now, Some(&b"old"[..]));
            Change::Put(b"new".to_vec())
        })
        .unwrap();
    assert_eq!(names(&folder), ["name"]);

    fs::write(folder.join("other.new"), "half").unwrap();
    drop(store);
    LocalStore::open(place.path()).unwrap();
    assert_eq!(names(&folder), ["name"]);
    assert_eq!(fs::read(folder.join("name")).unwrap(), b"new");
}

#[test]
fn what_is_no_record_is_not_read_as_one() {
    let (place, store) = new_store();
    let folder = place.path().join("records/links");
    let name: RecordName = "name".parse().unwrap();
    symlink("/etc/passwd", folder.join("name")).unwrap();
    let read = store.record(Collection::Links, &name);
    assert!(matches!(read, Err(StoreError::UnexpectedFile { .. })));
    let changed = store.update_record(Collection::Links, &name, &mut |_| Change::Remove);
    assert!(matches!(changed, Err(StoreError::UnexpectedFile { .. })));
    assert_eq!(store.records(Collection::Links).unwrap(), []);

    let large: RecordName = "large".parse().unwrap();
    let bytes = vec![0; MAX_RECORD + 1];
    let put = store.update_record(Collection::Links, &large, &mut |_| {
        Change::Put(bytes.clone())
    });
    assert!(matches!(put, Err(StoreError::Io { doing: "write", .. })));
    assert_eq!(names(&folder), ["name"]);
    fs::write(folder.join("large"), &bytes).unwrap();
    let read = store.record(Collection::Links, &large);
    assert!(matches!(read, Err(StoreError::Io { doing: "read", .. })));
}
