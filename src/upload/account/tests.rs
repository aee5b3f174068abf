//! What a link counts, wherever the server is killed.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::dying_store::DyingStore;
use super::*;
use crate::grant::{Link, NewLink};
use crate::keys::NamedRecipient;
use crate::seal::Identity;
use crate::store::{LocalStore, Store};
use crate::upload::tests::open_store;
use crate::upload::{
    NewSession, NewUpload, OpenUpload, Receiver, Role, Session, SessionError, SessionLimits,
    UploadUrl,
};

/// What is reserved at first for an unknown length, as a size in memory.
const _: () = assert!(FIRST == FIRST_SIZE as u64);
const FIRST_SIZE: usize = 64 << 10;

const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

fn identity() -> Identity {
    Identity::X25519(IDENTITY.parse().unwrap())
}

/// A store in a folder, with one link.
struct Bench {
    data: TempDir,
    link: GrantId,
}

impl Bench {
    fn new(max_uploads: u64, max_bytes: u64) -> Self {
        let data = TempDir::new().unwrap();
        let links = Links::new(Arc::new(LocalStore::open(data.path()).unwrap()));
        let new = NewLink {
            max_uploads: Some(max_uploads),
            max_bytes: Some(max_bytes),
            ..NewLink::default()
        };
        let (_, link) = links.create(new, SystemTime::now()).unwrap();
        Self {
            link: link.id(),
            data,
        }
    }

    /// What a server has that is killed after so many changes.
    fn open(&self, calls: usize) -> (Arc<DyingStore>, Arc<Uploads>) {
        let store = DyingStore::new(open_store(self.data.path()), calls);
        let recipient = NamedRecipient::new(identity().to_recipient().unwrap(), "");
        let shared: Arc<dyn Store> = Arc::clone(&store) as _;
        let limits = SessionLimits::default();
        let uploads = Uploads::new(shared, vec![recipient], vec![identity()], limits);
        uploads.reconcile(SystemTime::now(), true);
        (store, Arc::new(uploads))
    }

    fn terms(&self) -> Terms {
        Terms {
            link: Some(self.link),
            ..Terms::default()
        }
    }

    fn file(&self, kind: Kind, length: Option<u64>) -> NewUpload {
        NewUpload {
            submission: None,
            kind,
            name: None,
            media_type: None,
            length,
            terms: self.terms(),
        }
    }

    fn session(&self, role: Role, length: Option<u64>) -> NewSession {
        NewSession {
            submission: None,
            kind: Kind::File,
            name: None,
            media_type: None,
            length,
            ends_at_length: length.is_some(),
            metadata: None,
            metadata_entries: Vec::new(),
            role,
            repr_digests: Vec::new(),
            wants: None,
            terms: self.terms(),
        }
    }

    /// What is used is what is published, what is reserved is for what may still be finished, and all is within the limits.
    #[track_caller]
    fn check(&self, uploads: &Uploads) -> Link {
        let link = uploads.links().link(&self.link).unwrap().unwrap();
        let (mut used, mut bytes, mut fields) = (0, 0, 0);
        let published = uploads.store.list(None, 100).unwrap();
        for id in &published {
            let sealed = uploads.sealed_upload(id).unwrap();
            let opened = OpenUpload::open(sealed, Some(id), &[identity()]).unwrap();
            let manifest = opened.manifest();
            used += u64::from(manifest.kind == Kind::File);
            fields += u64::from(manifest.kind == Kind::Fields);
            bytes += manifest.size;
            let sealed = uploads.sealed_upload(id).unwrap();
            assert_eq!(plaintext_size(&*sealed).unwrap(), manifest.size);
        }
        let counted = (link.used.uploads, link.used.fields, link.used.bytes);
        assert_eq!(counted, (used, fields, bytes));
        let mut open = uploads.store.sessions().unwrap();
        open.retain(|id| !published.contains(id));
        for id in link.reserved.keys() {
            assert!(
                open.contains(id),
                "{id} is reserved for and nowhere to be found"
            );
        }
        let reserved = link.reserved_usage();
        assert!(Some(used + reserved.uploads) <= link.max_uploads);
        assert!(Some(bytes + reserved.bytes) <= link.max_bytes);
        link
    }
}

async fn fill(session: Session, bytes: &[u8]) -> Result<Session, SessionError> {
    let mut append = session.append(&[])?;
    append.write(bytes).await?;
    append.close(&[]).await
}

async fn receive(
    uploads: &Uploads,
    new: NewUpload,
    bytes: &[u8],
) -> Result<crate::upload::Received, ReceiveError> {
    let mut receiver = Receiver::begin(uploads, new, false).await?;
    receiver.write(bytes).await?;
    receiver.finish().await
}

/// One upload in one body.
async fn whole(bench: &Bench, uploads: &Arc<Uploads>) -> Result<(), SessionError> {
    let received = receive(uploads, bench.file(Kind::File, Some(4)), b"four").await?;
    uploads.publish(vec![received])?;
    Ok(())
}

/// A form of two files and fields, whose lengths are not known before.
async fn form(bench: &Bench, uploads: &Arc<Uploads>) -> Result<(), SessionError> {
    let long = vec![5; 3 * FIRST_SIZE];
    let received = vec![
        receive(uploads, bench.file(Kind::File, None), &long).await?,
        receive(uploads, bench.file(Kind::File, None), b"").await?,
        receive(uploads, bench.file(Kind::Fields, Some(6)), b"fields").await?,
    ];
    uploads.publish(received)?;
    Ok(())
}

/// One that breaks off, and one that is cancelled.
async fn nothing(bench: &Bench, uploads: &Arc<Uploads>) -> Result<(), SessionError> {
    drop(receive(uploads, bench.file(Kind::File, Some(4)), b"four").await?);
    let began = uploads
        .begin_session(bench.session(Role::Whole, None))
        .await?;
    drop(began);
    // What is dropped is given back on a thread of its own, and an unknown length reserves all there is.
    uploads.settled().await;
    let session = uploads
        .create_session(bench.session(Role::Whole, Some(9)))
        .await?;
    let session = fill(session, b"four").await?;
    let url = session.url().clone();
    drop(session);
    uploads.cancel_session(url).await
}

/// One in two requests, with a length.
async fn resumed(bench: &Bench, uploads: &Arc<Uploads>) -> Result<(), SessionError> {
    let session = uploads
        .create_session(bench.session(Role::Whole, Some(8)))
        .await?;
    let url = session.url().clone();
    drop(fill(session, b"four").await?);
    let session = fill(uploads.session(url.clone()).await?, b"more").await?;
    drop(session.finish_if_due().await?);
    uploads.session(url).await.map(drop)
}

/// One that does not say how long it becomes before its end, and is deleted at once.
async fn unknown(bench: &Bench, uploads: &Arc<Uploads>) -> Result<(), SessionError> {
    let session = uploads
        .begin_session(bench.session(Role::Whole, None))
        .await?;
    let session = fill(session, &vec![6; 5 * FIRST_SIZE]).await?;
    let (session, fits) = session.declare_length(6 * FIRST).await?;
    assert!(fits);
    let session = fill(session, &vec![6; FIRST_SIZE]).await?;
    drop(session.finish(&[]).await?);
    Ok(())
}

/// One in two parts.
async fn parts(bench: &Bench, uploads: &Arc<Uploads>) -> Result<(), SessionError> {
    let mut urls: Vec<UploadUrl> = Vec::new();
    for bytes in [&b"three"[..], b"four"] {
        let length = Some(bytes.len() as u64);
        let part = uploads
            .create_session(bench.session(Role::Partial, length))
            .await?;
        urls.push(fill(part, bytes).await?.url().clone());
    }
    let new = bench.session(Role::Final(String::new()), None);
    uploads.concatenate(new, &urls).await.map(drop)
}

/// How a way in is tried.
struct Trial {
    max_uploads: u64,
    max_bytes: u64,
    /// Uploads that one run hands in.
    hands_in: u64,
    /// Whether a crash may leave a place reserved: somebody may know the URL.
    holds: bool,
}

/// Kills the server before each of the calls that change something, and looks what the next one makes of it.
async fn kill_anywhere(
    trial: Trial,
    way: impl AsyncFn(&Bench, &Arc<Uploads>) -> Result<(), SessionError>,
) {
    for calls in 1.. {
        let bench = Bench::new(trial.max_uploads, trial.max_bytes);
        let (store, uploads) = bench.open(calls);
        let done = way(&bench, &uploads).await;
        assert!(done.is_ok() || store.is_dead(), "{:?}", done.err());
        uploads.settled().await;
        let finished = done.is_ok() && !store.is_dead();
        drop((store, uploads));

        let (_, uploads) = bench.open(usize::MAX);
        let link = bench.check(&uploads);
        assert!(link.reserved.is_empty() || !finished);
        assert!(link.reserved_usage().uploads == 0 || trial.holds);
        // What nobody goes on with expires, and then there is room for all the rest.
        bench.fill(&uploads, &trial, &way).await;
        let later = SystemTime::now() + Duration::from_hours(9 * 24);
        uploads.sweep_sessions(later).unwrap();
        let link = bench.check(&uploads);
        assert!(link.reserved.is_empty(), "{:?}", link.reserved);
        bench.fill(&uploads, &trial, &way).await;
        let link = bench.check(&uploads);
        assert!(trial.hands_in == 0 || link.used.uploads + trial.hands_in > trial.max_uploads);

        for id in uploads.store.list(None, 100).unwrap() {
            uploads.delete(&id).unwrap();
        }
        let after = uploads.links().link(&bench.link).unwrap().unwrap();
        assert_eq!(after.used, link.used, "what is deleted stays counted");
        if finished {
            break;
        }
    }
}

impl Bench {
    /// Hands in as often as there is room.
    async fn fill(
        &self,
        uploads: &Arc<Uploads>,
        trial: &Trial,
        way: &impl AsyncFn(&Self, &Arc<Uploads>) -> Result<(), SessionError>,
    ) {
        while way(self, uploads).await.is_ok() {
            self.check(uploads);
            if trial.hands_in == 0 {
                break;
            }
        }
        uploads.settled().await;
    }
}

macro_rules! killed_anywhere {
    ($($name:ident: $way:ident, $trial:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
        async fn $name() {
            kill_anywhere($trial, $way).await;
        }
    )*};
}

/// So many uploads and bytes, so many in each run.
const fn trial(max_uploads: u64, max_bytes: u64, hands_in: u64, holds: bool) -> Trial {
    Trial {
        max_uploads,
        max_bytes,
        hands_in,
        holds,
    }
}

killed_anywhere! {
    uploads_in_one_body_are_counted: whole, trial(3, 100, 1, false);
    forms_are_counted: form, trial(5, 7 * FIRST, 2, false);
    what_breaks_off_is_given_back: nothing, trial(2, 100, 0, true);
    uploads_in_several_requests_are_counted: resumed, trial(3, 30, 1, true);
    uploads_of_unknown_length_are_counted: unknown, trial(2, 13 * FIRST, 1, true);
    uploads_made_of_parts_are_counted: parts, trial(3, 30, 1, false);
}

#[tokio::test]
async fn what_is_not_counted_yet_is_counted_before_it_goes() {
    let bench = Bench::new(3, 100);
    let (_, uploads) = bench.open(usize::MAX);
    whole(&bench, &uploads).await.unwrap();
    let id = uploads.store.list(None, 1).unwrap()[0];
    // As if that had failed when it was published.
    let until = SystemTime::now() + Duration::from_hours(1);
    let account = uploads.account_of(bench.link, id);
    account.reserve(What::File, Some(9), 9, until).unwrap();
    uploads.delete(&id).unwrap();
    let link = uploads.links().link(&bench.link).unwrap().unwrap();
    assert!(link.reserved.is_empty());
    assert_eq!((link.used.uploads, link.used.bytes), (2, 8));
}

#[tokio::test]
async fn a_length_that_becomes_known_frees_the_rest() {
    let bench = Bench::new(3, FIRST);
    let (_, uploads) = bench.open(usize::MAX);
    let reserved = || bench.check(&uploads).reserved_usage().bytes;
    for role in [Role::Partial, Role::Whole] {
        let session = uploads
            .create_session(bench.session(role, None))
            .await
            .unwrap();
        let before = reserved();
        assert!(before > 1000, "as much as there is");
        let (session, fits) = session.declare_length(8).await.unwrap();
        assert!(fits);
        assert!(reserved() <= 16, "{}", reserved());
        // Told again, it changes nothing.
        let (session, _) = session.declare_length(8).await.unwrap();
        drop(fill(session, b"eight by").await.unwrap());
    }
    assert_eq!(reserved(), 16);
}

#[tokio::test]
async fn a_revoked_link_takes_no_more_of_a_body_under_way() {
    let bench = Bench::new(3, 100 * FIRST);
    let (_, uploads) = bench.open(usize::MAX);
    let begin = |length| uploads.create_session(bench.session(Role::Whole, length));
    let (known, small) = (begin(Some(50 * FIRST)).await, begin(Some(8)).await);
    let (small, known) = (small.unwrap(), known.unwrap());
    let url = small.url().clone();
    let (mut small, mut known) = (small.append(&[]).unwrap(), known.append(&[]).unwrap());
    let new = bench.file(Kind::File, Some(40 * FIRST));
    let mut alone = Receiver::begin(&uploads, new, false).await.unwrap();
    small.write(b"four").await.unwrap();
    known.write(b"four").await.unwrap();
    let now = SystemTime::now();
    uploads.links().revoke(&bench.link, now).unwrap();
    small.write(b"more").await.unwrap();
    let refused = small.close(&[]).await.err();
    assert!(matches!(refused, Some(SessionError::LinkRevoked)));
    // Nothing of it counts.
    let last = uploads.session(url).await.err();
    assert!(matches!(last, Some(SessionError::LinkRevoked)));
    let more = vec![0; usize::try_from(FIRST).unwrap()];
    let refused = known.write(&more).await;
    assert!(matches!(refused, Err(SessionError::LinkRevoked)));
    let refused = alone.write(&more).await;
    assert!(matches!(
        refused,
        Err(ReceiveError::Refused(Refused::Revoked))
    ));
    drop((known, alone));
    uploads.settled().await;
}

#[tokio::test]
async fn what_nobody_begins_to_send_gives_its_place_back_within_hours() {
    let bench = Bench::new(2, 1000);
    let (_, uploads) = bench.open(usize::MAX);
    let new = || bench.session(Role::Whole, Some(100));
    let unused = uploads.create_session(new()).await.unwrap();
    let begun = uploads.create_session(new()).await.unwrap();
    let begun = fill(begun, &[1; 10]).await.unwrap();
    let ids = (*unused.url().id(), *begun.url().id());
    drop((unused, begun));
    let soon = SystemTime::now() + Duration::from_mins(50);
    assert_eq!(uploads.sweep_sessions(soon).unwrap(), 0);
    let later = SystemTime::now() + Duration::from_hours(2);
    assert_eq!(uploads.sweep_sessions(later).unwrap(), 1);
    let link = bench.check(&uploads);
    assert!(!link.reserved.contains_key(&ids.0) && link.reserved.contains_key(&ids.1));
}

#[tokio::test]
async fn a_file_keeps_no_more_than_it_came_to() {
    let bench = Bench::new(4, 2 * FIRST + 100);
    let (_, uploads) = bench.open(usize::MAX);
    let mut received = Vec::new();
    for _ in 0..4 {
        let new = bench.file(Kind::File, None);
        received.push(receive(&uploads, new, &[1; 50]).await.unwrap());
    }
    let link = uploads.links().link(&bench.link).unwrap().unwrap();
    assert_eq!(link.reserved_usage().bytes, 200);
    uploads.publish(received).unwrap();
    assert_eq!(bench.check(&uploads).used.bytes, 200);
}

#[tokio::test]
async fn an_upload_whose_reservation_went_reserves_anew_or_is_refused() {
    for taken_meanwhile in [false, true] {
        let bench = Bench::new(1, 1000);
        let (_, uploads) = bench.open(usize::MAX);
        let session = bench.session(Role::Whole, Some(10));
        let session = uploads.begin_session(session).await.unwrap();
        let links = uploads.links();
        links.give_back(&bench.link, session.url().id()).unwrap();
        if taken_meanwhile {
            let other = bench.file(Kind::File, Some(1));
            let other = receive(&uploads, other, b"x").await.unwrap();
            uploads.publish(vec![other]).unwrap();
        }
        let sent = fill(session, &[1; 10]).await;
        assert_eq!(sent.is_err(), taken_meanwhile);
        if let Ok(session) = sent {
            session.finish(&[]).await.unwrap();
        }
        assert_eq!(bench.check(&uploads).used.uploads, 1);
    }
}

#[tokio::test]
async fn what_is_taken_in_is_reserved_and_no_more_than_there_is() {
    let bench = Bench::new(9, 3 * FIRST);
    let (_, uploads) = bench.open(usize::MAX);
    let piece = vec![5; FIRST_SIZE];
    let reserved = || {
        let link = uploads.links().link(&bench.link).unwrap().unwrap();
        link.reserved_usage().bytes
    };
    let mut first = Receiver::begin(&uploads, bench.file(Kind::File, None), false)
        .await
        .unwrap();
    assert_eq!(reserved(), FIRST);
    for expected in [1, 2] {
        first.write(&piece).await.unwrap();
        assert_eq!(reserved(), expected * FIRST);
    }
    // Less than it would like, and all that there is.
    first.write(b"!").await.unwrap();
    assert_eq!(reserved(), 3 * FIRST);
    let full = Receiver::begin(&uploads, bench.file(Kind::File, None), false).await;
    let full = full.err();
    assert!(matches!(
        full,
        Some(ReceiveError::Refused(Refused::BytesUsedUp { left: 0 }))
    ));
    // What it does not need is there for others as soon as it has ended.
    let first = first.finish().await.unwrap();
    assert_eq!(reserved(), 2 * FIRST + 1);
    let new = bench.session(Role::Whole, None);
    let session = uploads.begin_session(new).await.unwrap();
    assert_eq!(reserved(), 3 * FIRST);
    let mut append = session.append(&[]).unwrap();
    append.write(&piece[1..]).await.unwrap();
    let over = append.write(b"!").await.err();
    let left = SessionError::Receive(ReceiveError::Refused(Refused::BytesUsedUp { left: 0 }));
    assert_eq!(over.unwrap().to_string(), left.to_string());
    drop(append);
    drop(first);
    uploads.settled().await;
    assert_eq!(reserved(), 0);
}

#[tokio::test]
async fn parts_of_unknown_length_find_room_in_the_last_file_that_a_link_takes() {
    let mut bench = Bench::new(1, 1000);
    let (_, uploads) = bench.open(usize::MAX);
    let new = NewLink {
        max_uploads: Some(1),
        max_file: Some(100),
        max_bytes: Some(1000),
        ..NewLink::default()
    };
    bench.link = uploads
        .links()
        .create(new, SystemTime::now())
        .unwrap()
        .1
        .id();
    let new = |role| {
        let mut new = bench.session(role, None);
        new.terms.max_size = 100;
        new
    };
    let mut urls: Vec<UploadUrl> = Vec::new();
    for bytes in [&[1; 40], &[2; 60][..]] {
        let part = uploads.create_session(new(Role::Partial)).await.unwrap();
        let part = fill(part, bytes).await.unwrap();
        let (part, _) = part.declare_length(bytes.len() as u64).await.unwrap();
        urls.push(part.url().clone());
    }
    let refused = uploads.create_session(new(Role::Partial)).await.err();
    let refused = refused.unwrap().to_string();
    assert_eq!(refused, Refused::UploadsUsedUp.to_string());
    let whole = new(Role::Final(String::new()));
    uploads.concatenate(whole, &urls).await.map(drop).unwrap();
    assert_eq!(bench.check(&uploads).used.bytes, 100);
}

/// The next server after one that created an upload through a link, and then its head became this, and its entries those.
async fn with_another_head(bench: &Bench, head: &[u8], entries: usize) -> Arc<Uploads> {
    let (store, uploads) = bench.open(usize::MAX);
    let new = bench.session(Role::Whole, Some(9));
    let session = uploads.create_session(new).await.unwrap();
    let path = bench.data.path().join("sessions");
    let id = *session.url().id();
    drop((session, uploads, store));
    std::fs::write(path.join(format!("{id}.head")), head).unwrap();
    if entries > 0 {
        let entries = vec![0; entries * crate::store::ENTRY_SIZE];
        std::fs::write(path.join(format!("{id}.entries")), entries).unwrap();
    }
    bench.open(usize::MAX).1
}

/// A crash may come between the two steps in which a head is created and written.
#[tokio::test]
async fn what_was_not_created_to_its_end_holds_no_place_after_the_next_start() {
    for head in [&b""[..], b"{", br#"{"v":1,"secret":"#] {
        let bench = Bench::new(1, 9);
        let uploads = with_another_head(&bench, head, 0).await;
        assert!(bench.check(&uploads).reserved.is_empty());
        assert!(uploads.store.sessions().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_read_keeps_its_place_for_as_long_as_uploads_live() {
    // What another version wrote; and what was damaged when something had arrived.
    for (head, entries) in [(&br#"{"v":99}"#[..], 0), (b"{", 1)] {
        let bench = Bench::new(1, 9);
        let uploads = with_another_head(&bench, head, entries).await;
        assert_eq!(bench.check(&uploads).reserved.len(), 1);
        let later = |days: u64| SystemTime::now() + Duration::from_hours(days * 24);
        assert_eq!(uploads.sweep_sessions(later(1)).unwrap(), 0);
        assert_eq!(uploads.sweep_sessions(later(8)).unwrap(), 1);
        uploads.reconcile(later(8), false);
        assert!(bench.check(&uploads).reserved.is_empty());
    }
}
