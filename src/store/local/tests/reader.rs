use std::fs;
use std::os::fd::AsFd;

use rustix::fs::{XattrFlags, fsetxattr, removexattr};

use super::*;
use crate::store::{LocalFolder, LocalReader};

const ATTRIBUTE: &str = "user.sealslot.crc64nvme";

#[test]
fn the_checksum_of_the_manifest_stands_beside_it() {
    let (place, store) = new_store();
    let id = new_id();
    store.publish(&[publication(&id, b"123456789")]).unwrap();
    let folder = place.path().join("uploads/2026-11-23").join(id.to_string());
    let upload = store.open(&id).unwrap();
    // The check value of CRC-64/NVME, as in FORMAT.md.
    assert_eq!(upload.meta_checksum().unwrap(), Some(0xae8b_1486_0a79_9888));
    // A copy that lost it reads all the same.
    let copy = place.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::write(
        copy.join("meta.age"),
        fs::read(folder.join("meta.age")).unwrap(),
    )
    .unwrap();
    let copied = LocalFolder::open(&copy).unwrap();
    assert_eq!(copied.meta_checksum().unwrap(), None);
    // What is no checksum is taken for none.
    let meta = fs::File::open(folder.join("meta.age")).unwrap();
    for garbled in [
        "",
        "ae8b14860a79988",
        "ae8b14860a799888f",
        "ae8b14860a79988g",
        "Ä8b14860a79988",
    ] {
        fsetxattr(
            meta.as_fd(),
            ATTRIBUTE,
            garbled.as_bytes(),
            XattrFlags::empty(),
        )
        .unwrap();
        assert_eq!(upload.meta_checksum().unwrap(), None, "{garbled}");
    }
    removexattr(folder.join("meta.age"), ATTRIBUTE).unwrap();
    assert_eq!(upload.meta_checksum().unwrap(), None);
    fs::remove_file(folder.join("meta.age")).unwrap();
    assert!(matches!(upload.meta_checksum(), Err(StoreError::NotFound)));
}

#[test]
fn a_data_folder_is_read_beside_the_store_that_holds_it() {
    let (place, store) = new_store();
    let reader = LocalReader::open(place.path()).unwrap();
    assert_eq!(reader.list(None, 10).unwrap(), []);
    let ids = [new_id(), new_id()];
    for id in &ids {
        publish(&place, &store, id);
    }
    let listed = reader.list(None, 10).unwrap();
    assert_eq!(listed, store.list(None, 10).unwrap());
    assert_eq!(reader.list(Some(&listed[0]), 10).unwrap(), [listed[1]]);
    assert_eq!(reader.list(None, 1).unwrap(), [listed[0]]);
    let upload = reader.open_upload(&ids[0]).unwrap();
    assert_eq!(
        upload.files().unwrap(),
        [SealedFile::Meta, SealedFile::Segment(0)]
    );
    let linked = place.path().join("linked");
    let day = place.path().join("uploads").join(ids[1].day().to_string());
    std::os::unix::fs::symlink(day.join(ids[1].to_string()), &linked).unwrap();
    let linked = LocalFolder::open(&linked).unwrap();
    assert_eq!(linked.files().unwrap().len(), 2);
    store.delete(&ids[0]).unwrap();
    assert!(matches!(
        reader.open_upload(&ids[0]),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        upload.open(SealedFile::Meta),
        Err(StoreError::NotFound)
    ));
    assert!(matches!(upload.files(), Err(StoreError::Replaced)));
    // It made nothing and holds nothing.
    drop(store);
    drop(LocalStore::open(place.path()).unwrap());
    let elsewhere = place.path().join("elsewhere");
    assert!(LocalReader::open(&elsewhere).is_err() && !elsewhere.exists());
}

#[test]
fn what_is_deleted_in_mid_read_is_not_read_as_zeros() {
    let (place, store) = new_store();
    let id = new_id();
    let folder = publish(&place, &store, &id);
    let upload = store.open(&id).unwrap();
    let names = [SealedFile::Meta, SealedFile::Segment(0)];
    let files = names.map(|name| upload.open(name).unwrap());
    let mut bytes = [1; 4];
    for file in &files {
        assert_eq!(file.read_at(&mut bytes, 1).unwrap(), 4);
    }
    store.delete(&id).unwrap();
    for file in &files {
        for offset in 0..3 {
            let read = file.read_at(&mut bytes, offset);
            assert!(matches!(read, Err(StoreError::Replaced)), "{offset}");
        }
    }
    // Zeros that a disk made of it are damage, and shown as what they are.
    let damaged = publish(&place, &store, &id);
    assert_eq!(damaged, folder);
    fs::write(damaged.join("0000.age"), [0; 7]).unwrap();
    let file = store.open(&id).unwrap().open(names[1]).unwrap();
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 4);
    assert_eq!(bytes, [0; 4]);
}
