//! What becomes of an upload, in whatever way it came.

use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::seal::Identity;
use crate::store::LocalStore;

const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

/// Keeps what it is told.
#[derive(Default)]
struct Told {
    said: Mutex<Vec<String>>,
    refuses: bool,
}

impl Told {
    fn say(&self, what: String) {
        self.said.lock().unwrap().push(what);
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut *self.said.lock().unwrap())
    }
}

impl Observer for Told {
    fn publishing(&self, ids: &[UploadId]) -> Result<(), StoreError> {
        self.say(format!("publishing {}", ids.len()));
        if self.refuses {
            return Err(StoreError::NotFound);
        }
        Ok(())
    }

    fn finished(&self, upload: &Finished) {
        let Finished { size, by, .. } = upload;
        assert!(upload.sealed_size > *size);
        self.say(format!("finished {size} {by}"));
    }

    fn removed(&self, _id: &UploadId, why: Why) {
        self.say(format!("removed {why:?}"));
    }
}

fn open_uploads(data: &TempDir, told: &Arc<Told>) -> Arc<Uploads> {
    let store = LocalStore::open(data.path()).unwrap();
    let identity = Identity::X25519(IDENTITY.parse().unwrap());
    let recipient = NamedRecipient::new(identity.to_recipient(), "");
    let limits = SessionLimits::default();
    let uploads = Uploads::new(Arc::new(store), vec![recipient], vec![identity], limits);
    Arc::new(uploads.observed_by(Arc::clone(told) as Arc<dyn Observer>))
}

fn terms(by: &str) -> Terms {
    Terms {
        by: by.to_owned(),
        ..Terms::default()
    }
}

fn file(terms: Terms) -> NewUpload {
    NewUpload {
        submission: None,
        kind: Kind::File,
        name: None,
        media_type: None,
        length: None,
        terms,
    }
}

fn session(role: Role, length: Option<u64>, terms: Terms) -> NewSession {
    NewSession {
        submission: None,
        kind: Kind::File,
        name: None,
        media_type: None,
        length,
        ends_at_length: true,
        metadata: None,
        metadata_entries: Vec::new(),
        role,
        repr_digests: Vec::new(),
        wants: None,
        terms,
    }
}

async fn receive(uploads: &Uploads, bytes: &[u8], terms: Terms) -> Received {
    let mut receiver = Receiver::begin(uploads, file(terms), false).await.unwrap();
    receiver.write(bytes).await.unwrap();
    receiver.finish().await.unwrap()
}

/// Brings all bytes that are missing, and finishes what is due.
async fn send(uploads: &Arc<Uploads>, new: NewSession, bytes: &[u8]) -> Session {
    let session = uploads.create_session(new).await.unwrap();
    let mut append = session.append(&[]).unwrap();
    append.write(bytes).await.unwrap();
    let session = append.close(&[]).await.unwrap();
    session.finish_if_due().await.unwrap()
}

#[tokio::test]
async fn whoever_observes_is_told_of_every_way_in() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);

    let both = vec![
        receive(&uploads, b"one", terms("token:a")).await,
        receive(&uploads, b"three", terms("token:a")).await,
    ];
    let receipts = uploads.publish(both).unwrap();
    let expected = ["publishing 2", "finished 3 token:a", "finished 5 token:a"];
    assert_eq!(told.said(), expected);
    uploads.delete(&receipts[0].id).unwrap();
    assert_eq!(told.said(), ["removed Deleted"]);

    let new = session(Role::Whole, Some(4), terms("token:b"));
    drop(send(&uploads, new, b"four").await);
    assert_eq!(told.said(), ["publishing 1", "finished 4 token:b"]);

    let mut parts = Vec::new();
    for bytes in [&b"one"[..], b"three"] {
        let new = session(Role::Partial, Some(bytes.len() as u64), terms("token:c"));
        parts.push(send(&uploads, new, bytes).await.url().clone());
    }
    let new = session(Role::Final(String::new()), None, terms("token:c"));
    let made = uploads.concatenate(new, &parts).await.unwrap();
    assert!(made.1);
    assert_eq!(told.said(), ["publishing 1", "finished 8 token:c"]);
}

#[tokio::test]
async fn what_an_observer_refuses_is_not_published() {
    let data = TempDir::new().unwrap();
    let told = Arc::new(Told {
        refuses: true,
        ..Told::default()
    });
    let uploads = open_uploads(&data, &told);
    let received = receive(&uploads, b"one", Terms::default()).await;
    assert!(uploads.publish(vec![received]).is_err());
    let new = session(Role::Whole, Some(4), Terms::default());
    let began = uploads.create_session(new).await.unwrap();
    let url = began.url().clone();
    let mut append = began.append(&[]).unwrap();
    append.write(b"four").await.unwrap();
    let closed = append.close(&[]).await.unwrap();
    assert!(closed.finish_if_due().await.is_err());
    assert_eq!(told.said(), ["publishing 1", "publishing 1"]);
    assert!(uploads.list(None, 10).unwrap().0.is_empty());
    drop(uploads);

    // What came in several requests is published by the next one, once nobody refuses.
    let told = Arc::default();
    let uploads = open_uploads(&data, &told);
    let finished = uploads.session(url).await.unwrap();
    assert!(finished.receipt().is_some());
    assert_eq!(told.said(), ["publishing 1", "finished 4 anonymous"]);
}
