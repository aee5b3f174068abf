//! Segments that do not come to their end, and what they leave.

use super::dying::begin_large;
use super::*;

#[test]
fn parts_that_cannot_be_dropped_are_found_by_sweeping() {
    let liar = Liar::start(Lies::default());
    let store = S3Store::open(&settings_of(&liar), S3Limits::default()).unwrap();
    let id = new_id();
    let (_, writer) = begin_large(&store, &id);
    liar.state().lies.refuses_aborts = true;
    drop(writer);
    // Chores are done one after the other.
    let next = "probe/next";
    let none = Notes::default();
    store.bucket.put(next, b"next".to_vec(), &none).unwrap();
    store.chores.delete(next.to_owned());
    settles(|| matches!(store.bucket.head(next), Err(StoreError::NotFound)));
    assert_eq!(in_folder(&store, &id), ["0000.parts"]);
    liar.state().lies.refuses_aborts = false;
    sweep(&store);
    assert_eq!(in_folder(&store, &id), [""; 0]);
    assert_eq!(liar.state().parts(), [0; 0]);
}

#[test]
fn what_breaks_off_lets_go_of_its_memory_before_its_parts_are_dropped() {
    const MEMORY: u64 = 64 << 20;
    let liar = Liar::start(Lies::default());
    let limits = S3Limits {
        memory: MEMORY,
        ..S3Limits::default()
    };
    let store = S3Store::open(&settings_of(&liar), limits).unwrap();
    let id = new_id();
    let (_, mut writer) = begin_large(&store, &id);
    let is_free = || store.memory.try_take(MEMORY).is_some();
    settles(is_free);
    // The chore before it waits for the engine for half a minute.
    liar.state().lies.hangs = u32::MAX;
    let before = liar.state().requests;
    store.chores.delete("probe/before".to_owned());
    settles(|| liar.state().requests > before);
    writer.write(&bytes(8 * MIB)).unwrap();
    assert!(!is_free());
    drop(writer);
    settles(is_free);
}

#[test]
fn where_the_last_part_fails_nothing_is_left_and_nothing_counts() {
    // The first may pass, and is not asked for again.
    for (status, code) in [(400, "ServiceUnavailable"), (403, "AccessDenied")] {
        let liar = Liar::start(Lies::default());
        let limits = S3Limits {
            quota: Some(1 << 30),
            ..S3Limits::default()
        };
        let store = S3Store::open(&settings_of(&liar), limits).unwrap();
        let id = new_id();
        let (_, writer) = begin_large(&store, &id);
        settles(|| liar.state().parts() == [2]);
        liar.state().lies.refuses_writes = Some((".age", (status, code)));
        writer.finish().unwrap_err();
        settles(|| in_folder(&store, &id).is_empty());
        assert_eq!(liar.state().parts(), [0; 0]);
        assert_eq!(store.stored().unwrap(), 0);
    }
}
