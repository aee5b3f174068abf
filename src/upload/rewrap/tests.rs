//! New headers for uploads that are there: made with a key, put in place without one.

mod rules;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;
use crate::grant::{Links, NewLink};
use crate::keys::NamedRecipient;
use crate::store::{LocalStore, SealedUpload, Store};
use crate::upload::{
    CLIENT_SEALED, Kind, NewSession, NewUpload, OpenUpload, Receiver, Record, Role, SessionLimits,
    Terms, read_record,
};

const OLD: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
const NEW: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn identity(key: &str) -> Identity {
    Identity::X25519(key.parse().unwrap())
}

fn recipient(key: &str) -> Recipient {
    identity(key).to_recipient().unwrap()
}

struct Bench {
    data: TempDir,
    store: Arc<dyn Store>,
    uploads: Arc<Uploads>,
}

impl Bench {
    fn new() -> Self {
        let data = TempDir::new().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(data.path()).unwrap());
        let named = vec![NamedRecipient::new(recipient(OLD), "")];
        let uploads = Uploads::new(
            Arc::clone(&store),
            named,
            Vec::new(),
            SessionLimits::default(),
        );
        let uploads = Arc::new(uploads);
        Self {
            data,
            store,
            uploads,
        }
    }

    async fn upload(&self, parts: &[&[u8]], terms: Terms) -> UploadId {
        let new = NewSession {
            submission: None,
            kind: Kind::File,
            name: None,
            media_type: Some("text/plain".to_owned()),
            length: Some(parts.iter().map(|part| part.len() as u64).sum()),
            ends_at_length: true,
            metadata: None,
            metadata_entries: Vec::new(),
            role: Role::Whole,
            repr_digests: Vec::new(),
            wants: None,
            terms,
        };
        let mut session = self.uploads.create_session(new).await.unwrap();
        for part in parts {
            let mut append = session.append(&[]).unwrap();
            append.write(part).await.unwrap();
            session = append.close(&[]).await.unwrap();
        }
        let session = session.finish_if_due().await.unwrap();
        *session.url().id()
    }

    fn stored(&self, id: &UploadId) -> Box<dyn SealedUpload> {
        self.store.open(id).unwrap()
    }

    fn bytes(&self, id: &UploadId, name: SealedFile) -> Vec<u8> {
        let file = self.stored(id).open(name).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        bytes
    }

    fn meta(&self, id: &UploadId) -> Vec<u8> {
        self.bytes(id, SealedFile::Meta)
    }

    fn headers(&self, id: &UploadId) -> Vec<Vec<u8>> {
        let files = self.stored(id).files().unwrap();
        let segments = files.into_iter().filter(|file| *file != SealedFile::Meta);
        let header = |name| {
            let bytes = self.bytes(id, name);
            let (_, size) = Header::parse(&bytes).unwrap().unwrap();
            bytes[..size].to_vec()
        };
        segments.map(header).collect()
    }

    fn rewrap(&self, id: &UploadId, full: bool) -> Result<(), RewrapError> {
        let (meta, headers) = (self.meta(id), self.headers(id));
        let headers = full.then_some(&headers[..]);
        let new = rewrap_headers(&meta, headers, id, &[identity(OLD)], &[recipient(NEW)])?;
        self.put(id, &new)
    }

    fn put(&self, id: &UploadId, new: &Rewrapped) -> Result<(), RewrapError> {
        let old = Sha256::digest(self.meta(id)).into();
        // As it comes over a wire.
        let count = new.segments.as_ref().map_or(0, Vec::len);
        let sent = Rewrapped::from_bytes(&new.to_bytes(), u32::try_from(count).unwrap())?;
        self.uploads.rewrap(id, &old, &sent)
    }

    fn open(&self, id: &UploadId, key: &str) -> Result<Vec<u8>, ReadError> {
        let upload = OpenUpload::open(self.stored(id), Some(id), &[identity(key)])?;
        let mut plaintext = Vec::new();
        Arc::new(upload).copy_to(|piece| {
            plaintext.extend_from_slice(piece);
            Ok::<_, ReadError>(())
        })?;
        Ok(plaintext)
    }

    /// Whether what is stored is what the record says of it.
    fn is_as_recorded(&self, id: &UploadId) -> bool {
        let record = self.record(id);
        record.files.iter().all(|entry| {
            let bytes = self.bytes(id, entry.name.parse().unwrap());
            let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &bytes);
            bytes.len() as u64 == entry.size && format!("{checksum:016x}") == entry.crc64nvme
        })
    }

    fn record(&self, id: &UploadId) -> Record {
        let meta = self.stored(id).open(SealedFile::Meta).unwrap();
        read_record(&*meta).unwrap()
    }
}

/// Whether a segment opens by its own header.
fn opens_alone(file: &[u8], key: &str) -> bool {
    seal::open(file, &[identity(key)]).is_ok()
}

#[tokio::test]
async fn it_opens_with_the_new_key_and_its_payload_was_not_touched() {
    let long = vec![7; 200_000];
    let all: [&[&[u8]]; 4] = [&[], &[b"one"], &[&long], &[b"one", &long, b"three"]];
    for parts in all {
        for full in [false, true] {
            let bench = Bench::new();
            let id = bench.upload(parts, Terms::default()).await;
            let (record, before) = (bench.record(&id), bench.headers(&id));
            bench.rewrap(&id, full).unwrap();
            assert_eq!(bench.open(&id, NEW).unwrap(), parts.concat());
            assert!(bench.open(&id, OLD).is_err());
            assert!(bench.is_as_recorded(&id));
            let after = bench.record(&id);
            assert_eq!(after.time, record.time);
            if !full {
                assert_eq!(after, record);
            }
            for (number, before) in (0..).zip(before) {
                let segment = bench.bytes(&id, SealedFile::Segment(number));
                assert_eq!(opens_alone(&segment, OLD), !full);
                assert_eq!(opens_alone(&segment, NEW), full);
                assert_eq!(segment.starts_with(&before), !full);
            }
            // From the one to the other and back, any number of times.
            let (meta, headers) = (bench.meta(&id), bench.headers(&id));
            let back = rewrap_headers(
                &meta,
                Some(&headers),
                &id,
                &[identity(NEW)],
                &[recipient(OLD), recipient(NEW)],
            );
            // Where its segments are for the old key still, they need not be for the new one: the manifest has their file keys.
            bench.put(&id, &back.unwrap()).unwrap();
            for key in [OLD, NEW] {
                assert_eq!(bench.open(&id, key).unwrap(), parts.concat());
            }
            assert!(bench.is_as_recorded(&id));
        }
    }
}

#[tokio::test]
async fn the_manifest_stays_to_the_byte() {
    let bench = Bench::new();
    let id = bench.upload(&[b"one", b"two"], Terms::default()).await;
    let before = seal::open(&bench.meta(&id), &[identity(OLD)]).unwrap();
    bench.rewrap(&id, true).unwrap();
    let after = seal::open(&bench.meta(&id), &[identity(NEW)]).unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn what_links_count_and_when_it_expires_stay_as_they_were() {
    let bench = Bench::new();
    let links = Links::new(Arc::clone(&bench.store) as _);
    let now = SystemTime::now();
    let new = NewLink {
        max_uploads: Some(5),
        max_bytes: Some(1000),
        ..NewLink::default()
    };
    let (_, link) = links.create(new, now).unwrap();
    let terms = Terms {
        link: Some(link.id()),
        keep: Some(Duration::from_hours(1)),
        ..Terms::default()
    };
    let id = bench.upload(&[b"0123456789", b"01234"], terms).await;
    let counted = || links.link(&link.id()).unwrap().unwrap().bytes_left();
    assert_eq!(counted(), Some(985));
    let listed = bench.uploads.list(None, 10).unwrap().0;
    bench.rewrap(&id, true).unwrap();
    let after = bench.uploads.list(None, 10).unwrap().0;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0].link, listed[0].link);
    assert_eq!(after[0].expires, listed[0].expires);
    assert!(
        after[0].meta.crc64nvme != listed[0].meta.crc64nvme || after[0].meta.crc64nvme.is_none()
    );
    // Told without a key, from the headers: it is the same size still.
    bench.uploads.reconcile(now, true);
    assert_eq!(counted(), Some(985));
    let later = now + Duration::from_secs(4000);
    assert!(bench.uploads.has_expired(later));
    assert_eq!(bench.uploads.delete_expired(later), 1);
    assert_eq!(counted(), Some(985));
}

#[tokio::test]
async fn of_two_who_made_it_from_the_same_the_second_is_refused() {
    let bench = Bench::new();
    let id = bench.upload(&[b"one"], Terms::default()).await;
    let meta = bench.meta(&id);
    let old: [u8; 32] = Sha256::digest(&meta).into();
    let make = || rewrap_headers(&meta, None, &id, &[identity(OLD)], &[recipient(NEW)]).unwrap();
    let all: Vec<Rewrapped> = (0..4).map(|_| make()).collect();
    let done = std::thread::scope(|scope| {
        let (uploads, id, old) = (&bench.uploads, &id, &old);
        let put = |new| scope.spawn(move || uploads.rewrap(id, old, new));
        let threads: Vec<_> = all.iter().map(put).collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results
            .filter(|result| match result {
                Ok(()) => true,
                Err(RewrapError::Changed) => false,
                Err(error) => panic!("{error}"),
            })
            .count()
    });
    assert_eq!(done, 1);
    assert_eq!(bench.open(&id, NEW).unwrap(), b"one");
}

#[tokio::test]
async fn beside_a_deletion_it_is_done_or_gone_and_nothing_is_left() {
    for _ in 0..10 {
        let bench = Bench::new();
        let id = bench.upload(&[b"one"], Terms::default()).await;
        let (meta, headers) = (bench.meta(&id), bench.headers(&id));
        let old = Sha256::digest(&meta).into();
        let to = [recipient(NEW)];
        let new = rewrap_headers(&meta, Some(&headers), &id, &[identity(OLD)], &to).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| match bench.uploads.rewrap(&id, &old, &new) {
                Ok(()) | Err(RewrapError::Store(StoreError::NotFound)) => {}
                Err(error) => panic!("{error}"),
            });
            scope.spawn(|| bench.uploads.delete(&id).unwrap());
        });
        assert!(bench.store.list(None, 1).unwrap().is_empty());
        assert_eq!(bench.store.stored().unwrap(), 0);
        let staged = std::fs::read_dir(bench.data.path().join("staging")).unwrap();
        assert_eq!(staged.count(), 0);
    }
}

#[tokio::test]
async fn what_is_read_and_listed_meanwhile_is_whole() {
    let bench = Bench::new();
    let id = bench.upload(&[b"one", b"two"], Terms::default()).await;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..40 {
                let (meta, headers) = (bench.meta(&id), bench.headers(&id));
                let keys = [identity(OLD)];
                let to = [recipient(OLD)];
                let new = rewrap_headers(&meta, Some(&headers), &id, &keys, &to).unwrap();
                bench.put(&id, &new).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let (listed, _) = bench.uploads.list(None, 10).unwrap();
                    assert_eq!(listed.len(), 1, "left out of the list");
                    match bench.open(&id, OLD) {
                        Ok(plaintext) => assert_eq!(plaintext, b"onetwo"),
                        // Its folder went while it was read; it is there again for whoever opens it anew.
                        Err(
                            ReadError::Store(StoreError::Replaced | StoreError::NotFound)
                            | ReadError::Missing(_),
                        ) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
}

#[tokio::test]
async fn damage_stays_visible_as_damage() {
    let bench = Bench::new();
    let id = bench.upload(&[&[7; 1000]], Terms::default()).await;
    let day = id.day().to_string();
    let path = bench.data.path().join("uploads").join(day);
    let path = path.join(id.to_string()).join("0000.age");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(!bench.is_as_recorded(&id));
    // No payload byte is read, so it goes through; and is found by its checksum before and after.
    bench.rewrap(&id, true).unwrap();
    assert!(!bench.is_as_recorded(&id));
    assert!(bench.open(&id, NEW).is_err());
}

#[tokio::test]
async fn recipients_that_change_are_taken_up_by_what_begins_after() {
    let bench = Bench::new();
    let new = |media_type: Option<&str>| NewUpload {
        submission: None,
        kind: Kind::File,
        name: None,
        media_type: media_type.map(str::to_owned),
        length: None,
        terms: Terms::default(),
    };
    let begun = Receiver::begin(&bench.uploads, new(None), false)
        .await
        .unwrap();
    bench
        .uploads
        .seal_to(vec![NamedRecipient::new(recipient(NEW), "new")]);
    assert_eq!(bench.uploads.named_recipients()[0].comment(), Some("new"));
    let later = Receiver::begin(&bench.uploads, new(Some(CLIENT_SEALED)), false)
        .await
        .unwrap();
    for (mut receiver, key) in [(begun, OLD), (later, NEW)] {
        receiver.write(b"content").await.unwrap();
        let received = receiver.finish().await.unwrap();
        let receipt = bench.uploads.publish(vec![received]).unwrap().remove(0);
        let own = NamedRecipient::new(recipient(key), "").fingerprint();
        assert_eq!(receipt.recipients, [own]);
        assert_eq!(bench.open(&receipt.id, key).unwrap(), b"content");
    }
}
