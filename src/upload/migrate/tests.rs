//! From one data folder to another, whatever state either is in.

use std::fs;
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::keys::NamedRecipient;
use crate::seal::{Identity, Recipient};
use crate::store::{
    Change, Collection, LocalReader, LocalStore, RecordName, RecordStore, SmallEngine,
};
use crate::upload::{Kind, NewSession, OpenUpload, ReadError, Role, SessionLimits, Terms, Uploads};

const KEY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

fn identity() -> Identity {
    Identity::X25519(KEY.parse().unwrap())
}

fn recipient() -> Recipient {
    identity().to_recipient().unwrap()
}

struct AtOnce;

impl Pace for AtOnce {
    fn wait(&self, _: usize) {}
    fn read(&self, _: usize) {}
}

/// A data folder and the store in it.
struct Side {
    data: TempDir,
    store: Arc<LocalStore>,
}

impl Side {
    fn new() -> Self {
        let data = TempDir::new().unwrap();
        let store = Arc::new(LocalStore::open(data.path()).unwrap());
        Self { data, store }
    }

    /// An upload with a segment of each of these parts.
    async fn upload(&self, parts: &[&[u8]], terms: Terms) -> UploadId {
        let named = vec![NamedRecipient::new(recipient(), "")];
        let store = Arc::clone(&self.store) as _;
        let uploads = Uploads::new(store, named, Vec::new(), SessionLimits::default());
        let new = NewSession {
            submission: None,
            kind: Kind::File,
            name: None,
            media_type: None,
            length: Some(parts.iter().map(|part| part.len() as u64).sum()),
            ends_at_length: true,
            metadata: None,
            metadata_entries: Vec::new(),
            role: Role::Whole,
            repr_digests: Vec::new(),
            wants: None,
            terms,
        };
        let mut session = Arc::new(uploads).create_session(new).await.unwrap();
        for part in parts {
            let mut append = session.append(&[]).unwrap();
            append.write(part).await.unwrap();
            session = append.close(&[]).await.unwrap();
        }
        let session = session.finish_if_due().await.unwrap();
        *session.url().id()
    }

    fn folder(&self, id: &UploadId) -> PathBuf {
        let day = id.day().to_string();
        self.data
            .path()
            .join("uploads")
            .join(day)
            .join(id.to_string())
    }

    fn files(&self, id: &UploadId) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.folder(id)).unwrap();
        let mut files: Vec<_> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }

    fn is_staged(&self) -> bool {
        let staging = self.data.path().join("staging");
        fs::read_dir(staging).unwrap().next().is_some()
    }

    fn change(&self, id: &UploadId, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.folder(id).join(file);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        // In its place, so that what is noted beside it stays.
        fs::write(path, bytes).unwrap();
    }

    fn opened(&self, id: &UploadId) -> Vec<u8> {
        let stored = self.store.open(id).unwrap();
        let upload = OpenUpload::open(stored, Some(id), &[identity()]).unwrap();
        let mut plaintext = Vec::new();
        Arc::new(upload)
            .copy_to(|piece| {
                plaintext.extend_from_slice(piece);
                Ok::<_, ReadError>(())
            })
            .unwrap();
        plaintext
    }
}

fn migration<'a>(from: &'a dyn Shelf, to: &'a Side) -> Migration<'a> {
    Migration::new(from, &*to.store, Arc::new(AtOnce))
}

#[tokio::test]
async fn what_is_stored_is_the_same_at_the_target() {
    let (from, to) = (Side::new(), Side::new());
    // Beside the store that holds it.
    let reader = LocalReader::open(from.data.path()).unwrap();
    let migration = migration(&reader, &to);
    let long = vec![7; PIECE + 1];
    let keep = Terms {
        keep: Some(Duration::from_secs(1000)),
        ..Terms::default()
    };
    let all: [(&[&[u8]], Terms); 4] = [
        (&[], Terms::default()),
        (&[b"one"], keep),
        (&[&long], Terms::default()),
        (&[b"one", &long, b"three"], Terms::default()),
    ];
    for (parts, terms) in all {
        let id = from.upload(parts, terms).await;
        let files = from.files(&id);
        let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        assert_eq!(migration.carry(&id).unwrap(), Carried::Copied { bytes });
        assert_eq!(to.files(&id), files);
        assert_eq!(to.opened(&id), parts.concat());
        assert!(
            to.store
                .open(&id)
                .unwrap()
                .meta_checksum()
                .unwrap()
                .is_some()
        );
        assert_eq!(migration.carry(&id).unwrap(), Carried::Already);
    }
    assert_eq!(
        to.store.list(None, 10).unwrap(),
        from.store.list(None, 10).unwrap()
    );
    assert!(!to.is_staged());
}

#[tokio::test]
async fn what_is_damaged_stays_where_it_is_and_is_named() {
    type Damage = fn(&Side, &UploadId);
    let ways: [(Damage, &str, Problem); 7] = [
        (
            |side, id| side.change(id, "0000.age", |bytes| bytes[40] ^= 1),
            "0000.age",
            Problem::Checksum,
        ),
        (
            |side, id| side.change(id, "0001.age", |bytes| *bytes.last_mut().unwrap() ^= 1),
            "0001.age",
            Problem::Checksum,
        ),
        (
            |side, id| side.change(id, "0001.age", |bytes| bytes.push(0)),
            "0001.age",
            Problem::Size,
        ),
        (
            |side, id| side.change(id, "meta.age", |bytes| *bytes.last_mut().unwrap() ^= 1),
            "meta.age",
            Problem::Checksum,
        ),
        (
            |side, id| fs::remove_file(side.folder(id).join("0000.age")).unwrap(),
            "0000.age",
            Problem::Missing,
        ),
        (
            |side, id| fs::write(side.folder(id).join("0002.age"), "x").unwrap(),
            "0002.age",
            Problem::Unexpected,
        ),
        (
            |side, id| fs::write(side.folder(id).join("x"), "x").unwrap(),
            "x",
            Problem::Unexpected,
        ),
    ];
    let (from, to) = (Side::new(), Side::new());
    let migration = migration(&*from.store, &to);
    for (damage, file, problem) in ways {
        let id = from.upload(&[b"one", b"two"], Terms::default()).await;
        damage(&from, &id);
        let file = file.to_owned();
        let damaged = Carried::Damaged(Finding { file, problem });
        assert_eq!(migration.carry(&id).unwrap(), damaged);
        assert!(matches!(to.store.open(&id), Err(StoreError::NotFound)));
        assert!(!to.is_staged());
    }
}

#[tokio::test]
async fn another_one_at_the_target_stays_and_is_named() {
    let (from, to) = (Side::new(), Side::new());
    let migration = migration(&*from.store, &to);
    for file in [SealedFile::Meta, SealedFile::Segment(1)] {
        let id = from.upload(&[b"one", b"two"], Terms::default()).await;
        migration.carry(&id).unwrap();
        to.change(&id, &file.to_string(), |bytes| bytes.push(0));
        let there = to.files(&id);
        assert_eq!(migration.carry(&id).unwrap(), Carried::Differs { file });
        assert_eq!(to.files(&id), there);
    }
}

#[tokio::test]
async fn what_an_interrupted_run_left_is_no_obstacle() {
    let (from, to) = (Side::new(), Side::new());
    let id = from.upload(&[b"one", b"two"], Terms::default()).await;
    let names = [0, 1, 2].map(|number| to.store.name_segment(number).unwrap());
    for name in &names {
        let mut writer = to.store.create_segment(&id, name).unwrap();
        writer.write(b"half of ").unwrap();
    }
    let carried = migration(&*from.store, &to).carry(&id).unwrap();
    assert!(matches!(carried, Carried::Copied { .. }));
    assert_eq!(to.files(&id), from.files(&id));
    assert!(!to.is_staged());
}

#[tokio::test]
async fn what_was_deleted_meanwhile_is_no_error() {
    let (from, to) = (Side::new(), Side::new());
    let id = from.upload(&[b"one"], Terms::default()).await;
    from.store.delete(&id).unwrap();
    assert_eq!(
        migration(&*from.store, &to).carry(&id).unwrap(),
        Carried::Gone
    );
    assert!(to.store.list(None, 10).unwrap().is_empty());
}

#[tokio::test]
async fn nothing_is_deleted_that_is_not_whole_at_the_target() {
    let (from, to) = (Side::new(), Side::new());
    let migration = migration(&*from.store, &to);
    let is_there = |id| from.store.open(id).is_ok();

    let id = from.upload(&[b"one", b"two"], Terms::default()).await;
    migration.carry(&id).unwrap();
    // Of the same size, so that only reading it tells.
    to.change(&id, "0001.age", |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert_eq!(migration.carry(&id).unwrap(), Carried::Already);
    let error = migration.remove(&*from.store, &id, false).unwrap_err();
    assert!(matches!(
        error,
        MigrateError::NotKept {
            problem: Problem::Checksum,
            ..
        }
    ));
    assert!(is_there(&id));
    to.change(&id, "0001.age", |bytes| *bytes.last_mut().unwrap() ^= 1);

    // Sealed anew since it was copied.
    from.change(&id, "meta.age", |bytes| bytes.push(0));
    assert!(!migration.remove(&*from.store, &id, true).unwrap());
    assert!(is_there(&id));
    from.change(&id, "meta.age", |bytes| bytes.truncate(bytes.len() - 1));

    assert!(migration.remove(&*from.store, &id, false).unwrap());
    assert!(!is_there(&id));
    assert_eq!(to.opened(&id), b"onetwo");
    // Interrupted behind that, it is called again.
    assert!(migration.remove(&*from.store, &id, false).unwrap());

    // Somebody removed a segment after it was read.
    let id = from.upload(&[b"one", b"two"], Terms::default()).await;
    migration.carry(&id).unwrap();
    fs::remove_file(to.folder(&id).join("0001.age")).unwrap();
    let error = migration.remove(&*from.store, &id, true).unwrap_err();
    assert!(matches!(
        error,
        MigrateError::NotKept {
            problem: Problem::Missing,
            ..
        }
    ));
    assert!(is_there(&id));

    let id = from.upload(&[b"one"], Terms::default()).await;
    let error = migration.remove(&*from.store, &id, true).unwrap_err();
    assert!(matches!(error, MigrateError::To(StoreError::NotFound)));
    assert!(is_there(&id));
}

#[test]
fn records_are_carried_and_what_differs_is_left_unless_it_is_to_be_replaced() {
    let (from, to) = (Side::new(), Side::new());
    let reader = LocalReader::open(from.data.path()).unwrap();
    let migration = migration(&reader, &to);
    let name: RecordName = "a".parse().unwrap();
    let (links, tokens) = (Collection::Links, Collection::Tokens);
    let put = |side: &Side, collection, bytes: &[u8]| {
        let mut put = |_: Option<&[u8]>| Change::Put(bytes.to_vec());
        side.store
            .update_record(collection, &name, &mut put)
            .unwrap();
    };
    let there = |collection| to.store.record(collection, &name).unwrap();
    let carry = |collection, replace| migration.carry_record(collection, &name, replace).unwrap();
    assert_eq!(carry(links, false), RecordCarried::Gone);
    put(&from, links, b"1");
    assert_eq!(reader.records(links).unwrap(), std::slice::from_ref(&name));
    assert_eq!(carry(links, false), RecordCarried::Copied);
    assert_eq!(carry(links, false), RecordCarried::Already);
    assert_eq!(there(links), b"1");
    assert_eq!(carry(tokens, true), RecordCarried::Gone);
    put(&from, links, b"2");
    assert_eq!(carry(links, false), RecordCarried::Differs);
    assert_eq!(there(links), b"1");

    let remove = || migration.remove_record(&*from.store, links, &name).unwrap();
    assert!(!remove());
    assert_eq!(carry(links, true), RecordCarried::Copied);
    assert_eq!(there(links), b"2");
    assert!(remove() && remove());
    assert_eq!(there(links), b"2");
    assert!(from.store.records(links).unwrap().is_empty());
}

#[tokio::test]
async fn two_runs_at_once_leave_each_upload_whole_and_nothing_beside_it() {
    let source = Side::new();
    let mut ids = Vec::new();
    for byte in 0..6 {
        let parts = [&[byte; 100][..], &[byte; 200]];
        ids.push(source.upload(&parts, Terms::default()).await);
    }
    let (engine, ready) = (SmallEngine::start(), Barrier::new(2));
    let run = &|removes| {
        let target = engine.store();
        let migration = Migration::new(&*source.store, &target, Arc::new(AtOnce));
        for id in &ids {
            ready.wait();
            let carried = migration.carry(id).unwrap();
            let is_new = matches!(carried, Carried::Copied { .. });
            assert!(is_new || carried == Carried::Already, "{carried:?}");
            // Both have it there before one of them deletes it here.
            ready.wait();
            if removes {
                assert!(migration.remove(&*source.store, id, is_new).unwrap());
            }
        }
    };
    thread::scope(|scope| {
        let runs = [true, false].map(|removes| scope.spawn(move || run(removes)));
        for run in runs {
            run.join().unwrap();
        }
    });
    assert_eq!(source.store.list(None, 10).unwrap(), []);
    let check = || {
        let target = engine.store();
        for (byte, id) in (0..).zip(&ids) {
            let upload = OpenUpload::open(target.open(id).unwrap(), Some(id), &[identity()]);
            let mut content = Vec::new();
            let copied = Arc::new(upload.unwrap()).copy_to(|piece| {
                content.extend_from_slice(piece);
                Ok::<_, ReadError>(())
            });
            copied.unwrap();
            assert_eq!(content, [byte; 300]);
            let there = engine.keys_with(&format!("uploads/{}/{id}/", id.day()));
            assert_eq!(there.len(), 3, "{there:?}");
        }
    };
    thread::scope(|scope| scope.spawn(check).join().unwrap());
}
