//! What waits in the outbox, and for which server.

use tempfile::TempDir;

use super::*;
use crate::store::{LocalStore, RecordStore};
use crate::upload::Kind;

#[test]
fn a_mark_is_taken_back_and_what_is_to_be_told_is_not() {
    let data = TempDir::new().unwrap();
    let store = Arc::new(LocalStore::open(data.path()).unwrap());
    let names = vec!["https://example.org/".to_owned()];
    let outbox = Outbox::new(store.clone(), None, names, Arc::default());
    let now = SystemTime::now();
    let id = UploadId::generate(now);
    let waiting = || {
        let records = store.records(Collection::Outbox).unwrap().len();
        assert_eq!(outbox.waiting.load(Ordering::Relaxed), records);
        records
    };
    outbox.unmark(&id).unwrap();
    outbox.mark(&id).unwrap();
    assert_eq!(waiting(), 1);
    outbox.unmark(&id).unwrap();
    outbox.unmark(&id).unwrap();
    assert_eq!(waiting(), 0);

    outbox.mark(&id).unwrap();
    assert!(outbox.put(&finished(id)).unwrap());
    outbox.unmark(&id).unwrap();
    assert_eq!(waiting(), 1);
}

fn finished(id: UploadId) -> Finished {
    Finished {
        id,
        submission: id,
        kind: Kind::File,
        size: 1,
        sealed_size: 200,
        link: None,
        by: "anonymous".to_owned(),
        from: None,
        time: SystemTime::now(),
        expires: None,
    }
}

#[test]
fn what_a_dead_server_was_to_tell_is_told_by_another() {
    let data = TempDir::new().unwrap();
    let store = Arc::new(LocalStore::open(data.path()).unwrap());
    let nodes = [0; 3].map(|_| NodeId::generate());
    let [alive, dead, own] = nodes.map(|node| {
        let names = vec!["one".to_owned(), "two".to_owned()];
        Outbox::new(store.clone(), Some(node), names, Arc::default())
    });
    let old = Outbox::new(store.clone(), None, vec!["one".to_owned()], Arc::default());
    let now = SystemTime::now();
    let ids = [0; 5].map(|_| UploadId::generate(now));
    assert!(alive.put(&finished(ids[0])).unwrap());
    assert!(dead.put(&finished(ids[1])).unwrap());
    assert!(dead.put(&finished(ids[2])).unwrap());
    dead.settle(&ids[1], "two").unwrap();
    // Of what was never published nobody is told.
    dead.mark(&ids[3]).unwrap();
    assert!(old.put(&finished(ids[4])).unwrap());

    let both = || BTreeSet::from(["one".to_owned(), "two".to_owned()]);
    let one = || BTreeSet::from(["one".to_owned()]);
    let adopted = own.adopt(|node| Ok(*node == nodes[1])).unwrap();
    let adopted: BTreeMap<_, _> = adopted.into_iter().collect();
    let expected = [(ids[1], one()), (ids[2], both()), (ids[4], one())];
    assert_eq!(adopted, BTreeMap::from(expected));
    assert_eq!(own.waiting.load(Ordering::Relaxed), 3);
    assert!(own.message(&ids[2]).unwrap().is_some());
    assert!(dead.message(&ids[2]).unwrap().is_none());
    assert!(alive.message(&ids[0]).unwrap().is_some());
    assert!(own.adopt(|node| Ok(*node == nodes[1])).unwrap().is_empty());

    for (id, left) in &adopted {
        for name in left {
            own.settle(id, name).unwrap();
        }
    }
    assert_eq!(own.waiting.load(Ordering::Relaxed), 0);
    assert_eq!(store.records(Collection::Outbox).unwrap().len(), 1);
}

#[test]
fn what_is_unclear_is_looked_at_again() {
    let data = TempDir::new().unwrap();
    let store = Arc::new(LocalStore::open(data.path()).unwrap());
    let names = vec!["one".to_owned()];
    let outbox = Outbox::new(
        store.clone(),
        Some(NodeId::generate()),
        names,
        Arc::default(),
    );
    let ids = [0; 2].map(|_| UploadId::generate(SystemTime::now()));
    outbox.put(&finished(ids[0])).unwrap();
    outbox.mark(&ids[1]).unwrap();
    for id in &ids {
        outbox.is_unclear(id);
    }
    let found = outbox.clear_up();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, ids[0]);
    assert_eq!(outbox.waiting.load(Ordering::Relaxed), 1);
    assert!(outbox.clear_up().is_empty());
}
