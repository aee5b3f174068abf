//! What becomes of an upload, in whatever way it came.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::grant::{GrantId, NewLink, Refused};
use crate::seal::Identity;
use crate::store::LocalStore;

mod full;
mod opened;
mod segments;
mod shared_folder;
mod two_servers;

/// Of the server, and of somebody whom a link is for.
const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

const LAWYER: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

fn lawyer() -> Identity {
    Identity::X25519(LAWYER.parse().unwrap())
}

fn lawyer_line() -> String {
    NamedRecipient::new(lawyer().to_recipient().unwrap(), "").to_line()
}

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

    fn not_published(&self, _id: &UploadId) {
        self.say("not published".to_owned());
    }

    fn finished(&self, upload: &Finished) {
        let Finished { size, by, .. } = upload;
        assert!(upload.sealed_size > *size);
        self.say(format!("finished {size} {by}"));
    }

    fn removed(&self, upload: &Removed<'_>) {
        self.say(format!("removed {:?}", upload.why));
    }
}

/// The store, as soon as it is free: what a server still does that has ended, or was killed, ends at once, but not before.
pub(in crate::upload) fn open_store(data: &Path) -> LocalStore {
    loop {
        match LocalStore::open(data) {
            Err(StoreError::Locked { .. }) => std::thread::yield_now(),
            store => break store.unwrap(),
        }
    }
}

fn open_uploads(data: &TempDir, told: &Arc<Told>) -> Arc<Uploads> {
    let store = open_store(data.path());
    let identity = Identity::X25519(IDENTITY.parse().unwrap());
    let recipient = NamedRecipient::new(identity.to_recipient().unwrap(), "");
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
    let refused = ["publishing 1", "not published"];
    assert_eq!(told.said(), [refused, refused].concat());
    assert!(uploads.list(None, 10).unwrap().0.is_empty());
    drop(uploads);

    // What came in several requests is published by the next one, once nobody refuses.
    let told = Arc::default();
    let uploads = open_uploads(&data, &told);
    let finished = uploads.session(url).await.unwrap();
    assert!(finished.receipt().is_some());
    assert_eq!(told.said(), ["publishing 1", "finished 4 anonymous"]);
}

/// All sealed files of an upload, as they are stored.
fn sealed_files(uploads: &Uploads, id: &UploadId) -> Vec<Vec<u8>> {
    let upload = uploads.sealed_upload(id).unwrap();
    let read = |file: &SealedFile| {
        let file = upload.open(*file).unwrap();
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap()];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    };
    upload.files().unwrap().iter().map(read).collect()
}

/// Where an upload is published.
fn folder_of(data: &TempDir, id: &UploadId) -> std::path::PathBuf {
    let days = std::fs::read_dir(data.path().join("uploads")).unwrap();
    let folders = days.map(|day| day.unwrap().path().join(id.to_string()));
    folders.filter(|folder| folder.exists()).last().unwrap()
}

fn opens(file: &[u8], identity: &Identity) -> bool {
    crate::seal::open(file, std::slice::from_ref(identity)).is_ok()
}

#[tokio::test]
async fn what_is_for_one_recipient_opens_for_nobody_else() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let server = Identity::X25519(IDENTITY.parse().unwrap());
    let terms = Terms {
        recipients: Some(vec![lawyer_line()]),
        ..Terms::default()
    };
    let fingerprint = NamedRecipient::new(lawyer().to_recipient().unwrap(), "").fingerprint();
    let mut receipts = Vec::new();

    let received = receive(&uploads, b"one", terms.clone()).await;
    receipts.extend(uploads.publish(vec![received]).unwrap());

    // In two requests, with a server that starts anew in between.
    let new = session(Role::Whole, Some(8), terms.clone());
    let url = send(&uploads, new, b"four").await.url().clone();
    drop(uploads);
    let uploads = open_uploads(&data, &told);
    let resumed = uploads.session(url).await.unwrap();
    let mut append = resumed.append(&[]).unwrap();
    append.write(b"more").await.unwrap();
    let resumed = append.close(&[]).await.unwrap();
    let resumed = resumed.finish_if_due().await.unwrap();
    receipts.extend(resumed.receipt());

    let mut parts = Vec::new();
    for bytes in [&b"one"[..], b"three"] {
        let length = Some(bytes.len() as u64);
        let new = session(Role::Partial, length, terms.clone());
        parts.push(send(&uploads, new, bytes).await.url().clone());
    }
    // To put them together for others would show them to those.
    let new = session(Role::Final(String::new()), None, Terms::default());
    let foreign = uploads.concatenate(new, &parts).await.err();
    assert!(matches!(foreign, Some(SessionError::PartForeign)));
    let new = session(Role::Final(String::new()), None, terms);
    let (made, _) = uploads.concatenate(new, &parts).await.unwrap();
    receipts.extend(made.receipt());

    assert_eq!(receipts.len(), 3);
    for receipt in receipts {
        assert_eq!(receipt.recipients, std::slice::from_ref(&fingerprint));
        for file in sealed_files(&uploads, &receipt.id) {
            assert!(opens(&file, &lawyer()) && !opens(&file, &server));
        }
    }
}

#[tokio::test]
async fn what_is_to_be_sealed_to_nobody_is_refused() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    for lines in [vec![], vec![String::new()], vec!["ssh-rsa x".to_owned()]] {
        let terms = Terms {
            recipients: Some(lines),
            ..Terms::default()
        };
        let refused = Receiver::begin(&uploads, file(terms.clone()), false).await;
        assert!(matches!(refused.err(), Some(ReceiveError::Recipients(_))));
        let new = session(Role::Whole, None, terms);
        assert!(uploads.begin_session(new).await.is_err());
    }
}

fn kept_for(seconds: u64) -> Terms {
    Terms {
        keep: Some(Duration::from_secs(seconds)),
        ..Terms::default()
    }
}

#[tokio::test]
async fn what_is_kept_for_a_time_is_deleted_after_it() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let received = vec![
        receive(&uploads, b"a minute", kept_for(60)).await,
        receive(&uploads, b"an hour", kept_for(3600)).await,
        receive(&uploads, b"for ever", Terms::default()).await,
    ];
    let receipts = uploads.publish(received).unwrap();
    let new = session(Role::Whole, Some(4), kept_for(60));
    let resumed = send(&uploads, new, b"four").await.receipt().unwrap();
    let listed = uploads.list(None, 10).unwrap().0;
    for receipt in receipts.iter().chain([&resumed]) {
        let mut found = listed.iter().filter(|found| found.id == receipt.id);
        assert_eq!(found.next().unwrap().expires, receipt.expires);
    }
    assert!(receipts[2].expires.is_none() && resumed.expires.is_some());
    told.said();

    let now = SystemTime::now();
    assert!(!uploads.has_expired(now) && uploads.delete_expired(now) == 0);
    let later = now + Duration::from_secs(61);
    assert!(uploads.has_expired(later));
    assert_eq!(uploads.delete_expired(later), 2);
    assert_eq!(told.said(), ["removed Expired", "removed Expired"]);
    assert_eq!(uploads.list(None, 10).unwrap().0.len(), 2);
    drop(uploads);

    // Another run of the server finds what goes when in the records.
    let uploads = open_uploads(&data, &told);
    let later = now + Duration::from_secs(3601);
    assert_eq!(uploads.delete_expired(later), 0);
    let next = uploads.note_expiries(None, 1).unwrap();
    assert!(uploads.note_expiries(next.as_ref(), 10).unwrap().is_none());
    assert_eq!(uploads.delete_expired(later), 1);
    let left = uploads.list(None, 10).unwrap().0;
    assert!(left.len() == 1 && left[0].id == receipts[2].id);
}

#[tokio::test]
async fn the_index_of_what_expires_is_not_believed() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let received = receive(&uploads, b"for ever", Terms::default()).await;
    let receipt = uploads.publish(vec![received]).unwrap().remove(0);
    let now = SystemTime::now();
    let lie = Finished {
        id: receipt.id,
        submission: receipt.id,
        kind: Kind::File,
        size: 8,
        sealed_size: 9,
        link: None,
        by: String::new(),
        from: None,
        time: now,
        expires: Some(now),
    };
    uploads.observer.finished(&lie);
    assert!(uploads.has_expired(now) && uploads.delete_expired(now) == 0);
    assert_eq!(uploads.list(None, 10).unwrap().0.len(), 1);
}

#[tokio::test]
async fn an_uploader_takes_back_what_was_finished_within_the_time_for_it() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let bring = async || {
        let new = session(Role::Whole, Some(4), Terms::default());
        send(&uploads, new, b"four").await.url().clone()
    };
    let hour = Some(Duration::from_hours(1));

    let url = bring().await;
    told.said();
    uploads.withdraw(url.clone(), hour, None).await.unwrap();
    assert_eq!(told.said(), ["removed Withdrawn"]);
    assert!(uploads.sealed_upload(url.id()).is_err());
    let gone = uploads.withdraw(url, hour, None).await.err();
    assert!(matches!(gone, Some(SessionError::Unknown)));

    let url = bring().await;
    let over = uploads
        .withdraw(url.clone(), Some(Duration::ZERO), None)
        .await;
    assert!(matches!(over, Err(SessionError::WithdrawalOver)));
    assert!(
        uploads
            .session(url.clone())
            .await
            .unwrap()
            .receipt()
            .is_some()
    );
    // What cannot be told is not taken for gone, and the URL stays to try again.
    let folder = folder_of(&data, url.id());
    let away = data.path().join("away");
    std::fs::rename(&folder, &away).unwrap();
    std::fs::write(&folder, "").unwrap();
    let failed = uploads.withdraw(url.clone(), hour, None).await;
    assert!(matches!(failed, Err(SessionError::Receive(_))));
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();

    // Without a time, the URL forgets it and it stays.
    uploads.withdraw(url.clone(), None, None).await.unwrap();
    assert!(uploads.sealed_upload(url.id()).is_ok());
    assert!(uploads.session(url).await.is_err());

    // What is not finished can always be cancelled.
    let new = session(Role::Whole, Some(9), Terms::default());
    let url = send(&uploads, new, b"four").await.url().clone();
    uploads
        .withdraw(url.clone(), Some(Duration::ZERO), None)
        .await
        .unwrap();
    assert!(uploads.session(url).await.is_err());
}

#[tokio::test]
async fn more_than_was_agreed_is_not_taken() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let terms = Terms {
        max_size: 5,
        ..Terms::default()
    };
    let mut receiver = Receiver::begin(&uploads, file(terms.clone()), false)
        .await
        .unwrap();
    receiver.write(b"three").await.unwrap();
    let more = receiver.write(b"!").await;
    assert!(matches!(more, Err(ReceiveError::TooLarge(5))));
    let mut announced = file(terms.clone());
    announced.length = Some(6);
    let refused = Receiver::begin(&uploads, announced, false).await.err();
    assert!(matches!(refused, Some(ReceiveError::TooLarge(5))));

    let new = session(Role::Whole, None, terms.clone());
    let began = uploads.create_session(new).await.unwrap();
    let url = began.url().clone();
    let declared = began.declare_length(6).await.err();
    assert!(matches!(declared, Some(SessionError::TooLarge(5))));
    let mut append = uploads.session(url).await.unwrap().append(&[]).unwrap();
    let more = append.write(b"longer").await;
    assert!(matches!(more, Err(SessionError::TooLarge(5))));
}

fn link(uploads: &Uploads, new: NewLink) -> Terms {
    let (_, link) = uploads.links().create(new, SystemTime::now()).unwrap();
    through(link.id())
}

fn through(link: GrantId) -> Terms {
    Terms {
        by: format!("link:{link}"),
        link: Some(link),
        ..Terms::default()
    }
}

#[tokio::test]
async fn a_revoked_link_takes_nothing_more() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let terms = link(&uploads, NewLink::default());
    let id = terms.link.unwrap();
    let bring = async |length| {
        let new = session(Role::Whole, Some(length), terms.clone());
        send(&uploads, new, b"four").await.url().clone()
    };
    let (done, part) = (bring(4).await, bring(8).await);
    // All of it came, and it is not finished yet.
    let mut whole = session(Role::Whole, Some(4), terms.clone());
    whole.ends_at_length = false;
    let held = send(&uploads, whole, b"four").await;
    let received = receive(&uploads, b"one", terms.clone()).await;
    uploads.links().revoke(&id, SystemTime::now()).unwrap();
    told.said();

    let refused = uploads.session(part.clone()).await.err();
    assert!(matches!(refused, Some(SessionError::LinkRevoked)));
    let refused = held.finish(&[]).await.err();
    assert!(matches!(refused, Some(SessionError::LinkRevoked)));
    let refused = uploads.publish(vec![received]).err();
    assert!(matches!(
        refused,
        Some(ReceiveError::Refused(Refused::Revoked))
    ));
    let refused = Receiver::begin(&uploads, file(terms.clone()), false)
        .await
        .err();
    assert!(matches!(
        refused,
        Some(ReceiveError::Refused(Refused::Revoked))
    ));
    assert!(told.said().is_empty());

    // What was finished before is told, and what was not can be cancelled.
    assert!(uploads.session(done).await.unwrap().receipt().is_some());
    uploads.cancel_session(part).await.unwrap();
    uploads.settled().await;
    let counted = uploads.links().link(&id).unwrap().unwrap();
    assert_eq!((counted.used.uploads, counted.used.bytes), (1, 4));
    assert_eq!(counted.reserved.len(), 1, "of what nobody cancelled");
}

#[tokio::test]
async fn a_link_and_others_join_nothing_of_each_other() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let terms = [
        Terms::default(),
        link(&uploads, NewLink::default()),
        link(&uploads, NewLink::default()),
    ];
    for own in &terms {
        let new = session(Role::Whole, Some(9), own.clone());
        let url = send(&uploads, new, b"four").await.url().clone();
        for other in &terms {
            let joined = uploads.submission_of(&url, other.link.as_ref());
            assert_eq!(joined.ok(), (own == other).then_some(*url.id()));
        }
    }
}

#[tokio::test]
async fn parts_whose_whole_fails_keep_what_they_have_reserved() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let new = NewLink {
        max_uploads: Some(1),
        max_bytes: Some(8),
        ..NewLink::default()
    };
    let terms = link(&uploads, new);
    let mut parts = Vec::new();
    for bytes in [&b"one"[..], b"three"] {
        let length = Some(bytes.len() as u64);
        let new = session(Role::Partial, length, terms.clone());
        parts.push(send(&uploads, new, bytes).await.url().clone());
    }
    let counted = || {
        let link = uploads.links().link(&terms.link.unwrap());
        let link = link.unwrap().unwrap();
        let reserved = link.reserved_usage();
        (reserved.uploads, reserved.bytes, link.used.bytes)
    };
    assert_eq!(counted(), (0, 8, 0));
    let mut wrong = session(Role::Final(String::new()), None, terms.clone());
    wrong.media_type = Some(CLIENT_SEALED.to_owned());
    let failed = uploads.concatenate(wrong, &parts).await.err();
    assert!(matches!(failed, Some(SessionError::ClientSealed(_))));
    uploads.settled().await;
    assert_eq!(counted(), (0, 8, 0));
    let new = session(Role::Final(String::new()), None, terms.clone());
    assert!(uploads.concatenate(new, &parts).await.unwrap().1);
    assert_eq!(counted(), (0, 0, 8));
}
