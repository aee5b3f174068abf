use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::*;
use crate::store::SegmentHeader;
use crate::store::local::rewrap::{Place as Where, replaced_name};

const NEW: &[u8] = b"a new manifest";
const HEADER: SegmentHeader<'_> = SegmentHeader {
    old_size: 3,
    new: b"NEW HEADER",
};

/// The steps of a rewrap, as far as they leave something on the disk.
const STEPS: [&str; 4] = ["nothing", "half staged", "staged", "exchanged"];

fn take_steps(store: &LocalStore, id: &UploadId, full: bool, steps: usize) {
    let day = store.find_day(id.day()).unwrap().unwrap();
    let folder = day.open_folder(id.to_string()).unwrap();
    if steps == 0 {
        return;
    }
    if full {
        store.stage_copy(id, &folder, NEW, &[HEADER]).unwrap();
    } else {
        store.stage_meta(id, NEW).unwrap();
    }
    if steps == 1 {
        let staged = store.staging.path().join(replaced_name(id));
        if full {
            fs::remove_file(staged.join("meta.age")).unwrap();
            fs::write(staged.join("0000.age"), b"NEW").unwrap();
        } else {
            fs::write(staged, b"a new").unwrap();
        }
        return;
    }
    if steps == 3 {
        let place = if full {
            Where::upload(&day, id)
        } else {
            Where::meta(&folder)
        };
        store.exchange(id, &place, !full).unwrap();
    }
}

fn contents(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    assert_eq!(names(folder), ["0000.age", "meta.age"]);
    let read = |name| fs::read(folder.join(name)).unwrap();
    (read("meta.age"), read("0000.age"))
}

fn is_zeros(mut file: &fs::File) -> bool {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0)
}

#[test]
fn a_crash_at_any_step_leaves_the_old_or_the_new_and_the_next_start_sweeps_the_other() {
    for full in [false, true] {
        for (steps, step) in STEPS.iter().enumerate() {
            let place = TempDir::new().unwrap();
            let store = within(&place, 1 << 20);
            let id = new_id();
            let folder = publish(&place, &store, &id);
            let (old_meta, old_segment) = contents(&folder);
            let held =
                ["meta.age", "0000.age"].map(|name| fs::File::open(folder.join(name)).unwrap());
            take_steps(&store, &id, full, steps);
            drop(store);
            let store = within(&place, 1 << 20);
            let new_segment = [HEADER.new, &old_segment[3..]].concat();
            let expected = match (steps, full) {
                (3, true) => (NEW.to_vec(), new_segment),
                (3, false) => (NEW.to_vec(), old_segment),
                _ => (old_meta, old_segment),
            };
            assert_eq!(contents(&folder), expected, "{full} {step}");
            assert_eq!(
                names(&place.path().join("staging")),
                [""; 0],
                "{full} {step}"
            );
            let (meta, segment) = &expected;
            assert_eq!(store.stored().unwrap(), (meta.len() + segment.len()) as u64);
            // What is published is never overwritten; what was, is.
            assert_eq!(is_zeros(&held[0]), steps == 3, "{full} {step}");
            assert_eq!(is_zeros(&held[1]), steps == 3 && full, "{full} {step}");
            // And it can be done again.
            let headers = [SegmentHeader {
                old_size: 2,
                ..HEADER
            }];
            store
                .rewrap(&id, meta, b"last", full.then_some(&headers[..]))
                .unwrap();
            assert_eq!(contents(&folder).0, b"last");
        }
    }
}

#[test]
fn what_an_earlier_call_could_not_remove_is_removed_by_the_next() {
    for full in [false, true] {
        let (place, store) = new_store();
        let id = new_id();
        let folder = publish(&place, &store, &id);
        take_steps(&store, &id, full, 3);
        let left = place.path().join("staging").join(replaced_name(&id));
        assert!(left.exists());
        store.rewrap(&id, NEW, b"last", None).unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read(folder.join("meta.age")).unwrap(), b"last");
        take_steps(&store, &id, false, 3);
        store.delete(&id).unwrap();
        assert!(!left.exists());
    }
}

#[test]
fn what_is_published_is_not_swept_whatever_names_it_has() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    let before = contents(&folder);
    drop(store);
    // As a file system without a journal may show it after a crash.
    let second = place.path().join("staging").join(replaced_name(&id));
    fs::hard_link(folder.join("meta.age"), &second).unwrap();
    drop(LocalStore::open(place.path()).unwrap());
    assert_eq!(contents(&folder), before);
    assert!(second.exists());
}

#[test]
fn old_headers_are_overwritten_and_payloads_are_not_touched() {
    let (place, store) = new_store();
    let id = new_id();
    let mut writer = store.create_segment(&id, &segment(0)).unwrap();
    let mut old = b"age-encryption.org/v1\n-> x\n\n--- mac\nnonce".to_vec();
    let header = old.len();
    old.resize(3 << 20, 7);
    writer.write(&old).unwrap();
    writer.finish().unwrap();
    store.publish(&[publication(&id, b"manifest")]).unwrap();
    let folder = place.path().join("uploads/2026-11-23").join(id.to_string());
    let meta = fs::File::open(folder.join("meta.age")).unwrap();
    store.rewrap(&id, b"manifest", NEW, None).unwrap();
    assert!(is_zeros(&meta), "the old manifest");
    let segment = folder.join("0000.age");
    let inode = fs::metadata(&segment).unwrap().ino();
    let mut held = fs::File::open(&segment).unwrap();
    let headers = [SegmentHeader {
        old_size: header as u64,
        new: b"new",
    }];
    store.rewrap(&id, NEW, b"meta", Some(&headers)).unwrap();
    let mut found = Vec::new();
    held.read_to_end(&mut found).unwrap();
    assert!(found[..4096].iter().all(|byte| *byte == 0));
    assert!(found[4096..] == old[4096..]);
    assert_ne!(fs::metadata(&segment).unwrap().ino(), inode);
    assert_eq!(mode(&segment), 0o600);
    assert_eq!(mode(&folder), 0o700);
    assert!(fs::read(&segment).unwrap() == [b"new", &old[header..]].concat());
}

#[test]
fn a_rewrap_keeps_to_the_quota_and_gives_back_what_it_took() {
    let place = TempDir::new().unwrap();
    let store = within(&place, 100);
    let id = new_id();
    let mut writer = store.create_segment(&id, &segment(0)).unwrap();
    writer.write(&[1; 60]).unwrap();
    writer.finish().unwrap();
    store.publish(&[publication(&id, &[2; 10])]).unwrap();
    let headers = [SegmentHeader {
        old_size: 10,
        new: &[3; 20],
    }];
    let refused = store.rewrap(&id, &[2; 10], &[4; 10], Some(&headers));
    assert!(matches!(refused, Err(StoreError::QuotaReached)));
    // Of this one it shows only when half of it is written.
    let refused = store.stage_meta(&id, &[4; 31]);
    assert!(matches!(refused, Err(StoreError::QuotaReached)));
    store.destroy_replaced(&id).unwrap();
    assert_eq!(store.stored().unwrap(), 70);
    store.rewrap(&id, &[2; 10], &[4; 30], None).unwrap();
    assert_eq!(store.stored().unwrap(), 90);
    assert_eq!(names(&place.path().join("staging")), [""; 0]);
    drop(store);
    let store = within(&place, 1000);
    store
        .rewrap(&id, &[4; 30], &[5; 5], Some(&headers))
        .unwrap();
    assert_eq!(store.stored().unwrap(), 75);
    drop(store);
    assert_eq!(within(&place, 1000).stored().unwrap(), 75);
}

#[test]
fn where_nothing_can_be_exchanged_a_manifest_is_renamed_over() {
    let place = TempDir::new().unwrap();
    let store = within(&place, 1000);
    let id = new_id();
    let folder = publish(&place, &store, &id);
    let old = fs::File::open(folder.join("meta.age")).unwrap();
    store.stage_meta(&id, NEW).unwrap();
    let day = store.find_day(id.day()).unwrap().unwrap();
    let open = day.open_folder(id.to_string()).unwrap();
    store.replace_meta(&id, &Where::meta(&open)).unwrap();
    assert_eq!(contents(&folder).0, NEW);
    assert!(is_zeros(&old));
    assert_eq!(names(&place.path().join("staging")), [""; 0]);
    assert_eq!(store.stored().unwrap(), NEW.len() as u64 + 7);
}

#[test]
fn what_the_disk_may_not_have_is_not_overwritten_before_the_next_start() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    take_steps(&store, &id, false, 3);
    // As after a sync that failed.
    store.suspects.suspect(&id);
    let left = place.path().join("staging").join(replaced_name(&id));
    let old = fs::read(&left).unwrap();
    let refused = store.rewrap(&id, NEW, b"last", None);
    assert!(matches!(refused, Err(StoreError::Unsettled { .. })));
    assert_eq!(fs::read(&left).unwrap(), old);
    drop(store);
    let store = LocalStore::open(place.path()).unwrap();
    assert!(!left.exists());
    store.rewrap(&id, NEW, b"last", None).unwrap();
    assert_eq!(contents(&folder).0, b"last");
}
