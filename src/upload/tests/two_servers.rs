//! Two servers at one store.

mod given_up;
mod joined;
mod rewrapped;

use super::shared_folder::SharedFolder;
use super::*;
use crate::grant::LinkSecret;
use crate::store::{SessionStore as _, Staging as _};

const SIZE: usize = 700_000;
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

struct Server {
    store: Arc<SharedFolder>,
    uploads: Arc<Uploads>,
}

impl Server {
    fn of(store: SharedFolder) -> Self {
        let store = Arc::new(store);
        let identity = Identity::X25519(IDENTITY.parse().unwrap());
        let recipient = NamedRecipient::new(identity.to_recipient().unwrap(), "");
        let (limits, shared) = (SessionLimits::default(), Arc::clone(&store) as _);
        let uploads = Uploads::new(shared, vec![recipient], vec![identity], limits);
        let uploads = Arc::new(uploads);
        Self { store, uploads }
    }

    fn two(data: &TempDir) -> (Self, Self) {
        let folder = SharedFolder::new(LocalStore::open(data.path()).unwrap());
        let other = folder.for_another();
        (Self::of(folder), Self::of(other))
    }

    /// Begins an upload and sends some of it, in a body that has not ended.
    async fn begin(&self, terms: Terms, bytes: &[u8]) -> (UploadUrl, Append) {
        let new = session(Role::Whole, None, terms);
        let began = self.uploads.create_session(new).await.unwrap();
        let url = began.url().clone();
        let mut append = began.append(&[]).unwrap();
        append.write(bytes).await.unwrap();
        // Until it was written how the segment is called.
        while self.store.last_entries(url.id(), 1).unwrap().1.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (url, append)
    }

    async fn offset(&self, url: &UploadUrl) -> u64 {
        self.uploads.session(url.clone()).await.unwrap().offset()
    }

    /// Has a future run to its end before this server puts its next entry.
    fn meanwhile(&self, work: impl Future<Output = ()> + Send + 'static) {
        let runtime = tokio::runtime::Handle::current();
        self.store
            .before_the_next_entry(move || runtime.block_on(work));
    }

    fn link(&self, max_uploads: u64) -> (LinkSecret, GrantId) {
        let new = NewLink {
            max_uploads: Some(max_uploads),
            ..NewLink::default()
        };
        let (secret, link) = self.uploads.links().create(new, SystemTime::now()).unwrap();
        (secret, link.id())
    }

    /// Whether the link has something reserved, as somebody finds who opens it.
    fn is_reserved(&self, secret: &LinkSecret, now: SystemTime) -> bool {
        let link = self.uploads.find_link(secret, now).unwrap();
        !link.unwrap().reserved.is_empty()
    }
}

fn content() -> Vec<u8> {
    (0..=250_u8).cycle().take(SIZE).collect()
}

fn opened(uploads: &Uploads, id: &UploadId) -> Vec<u8> {
    let sealed = uploads.sealed_upload(id).unwrap();
    let upload = OpenUpload::open(sealed, Some(id), uploads.identities()).unwrap();
    let mut content = Vec::new();
    let copied = Arc::new(upload).copy_to(|piece| {
        content.extend_from_slice(piece);
        Ok::<_, ReadError>(())
    });
    copied.unwrap();
    content
}

fn through(link: GrantId) -> Terms {
    Terms {
        link: Some(link),
        ..Terms::default()
    }
}

fn is_overtaken<T>(result: &Result<T, SessionError>) -> bool {
    matches!(
        result,
        Err(SessionError::Receive(ReceiveError::Store(
            StoreError::Overtaken
        )))
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_another_server_counted_stays() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    // The segment has come to its end, and before it counts here another server finds it.
    let (uploads, found) = (Arc::clone(&other.uploads), url.clone());
    slow.meanwhile(async move {
        let session = uploads.session(found).await.unwrap();
        assert_eq!(session.offset(), SIZE as u64);
    });
    assert!(is_overtaken(&append.close(&[]).await));
    let session = other.uploads.session(url.clone()).await.unwrap();
    assert_eq!(session.offset(), SIZE as u64);
    session.finish(&[]).await.unwrap();
    assert!(opened(&other.uploads, url.id()) == content());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_counts_in_the_last_moment_is_not_passed_over() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    // The other one sees no segment, and before it says so this one ends it.
    other.meanwhile(async move {
        assert_eq!(append.close(&[]).await.unwrap().offset(), SIZE as u64);
    });
    let session = other.uploads.session(url.clone()).await.unwrap();
    assert_eq!(session.offset(), SIZE as u64);
    session.finish(&[]).await.unwrap();
    assert!(opened(&slow.uploads, url.id()) == content());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_server_went_on_with_counts_nowhere_else() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, mut append) = slow.begin(Terms::default(), &content()).await;
    assert_eq!(other.offset(&url).await, 0);
    let session = other.uploads.session(url.clone()).await.unwrap();
    let mut theirs = session.append(&[]).unwrap();
    theirs.write(b"another ").await.unwrap();
    let session = theirs.close(&[]).await.unwrap();
    let ended = match append.write(&content()).await {
        Ok(()) => append.close(&[]).await,
        Err(error) => Err(error),
    };
    assert!(is_overtaken(&ended));
    let mut theirs = session.append(&[]).unwrap();
    theirs.write(b"content").await.unwrap();
    let session = theirs.close(&[]).await.unwrap();
    session.finish(&[]).await.unwrap();
    assert_eq!(opened(&slow.uploads, url.id()), b"another content");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_both_finish_is_finished_once() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    let session = append.close(&[]).await.unwrap();
    let (uploads, same) = (Arc::clone(&other.uploads), url.clone());
    slow.meanwhile(async move {
        let session = uploads.session(same).await.unwrap();
        session.finish(&[]).await.unwrap();
    });
    assert!(is_overtaken(&session.finish(&[]).await));
    // Whoever asks again is told so.
    let session = slow.uploads.session(url.clone()).await.unwrap();
    assert_eq!(session.receipt().unwrap().size, SIZE as u64);
    assert!(opened(&slow.uploads, url.id()) == content());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finish_that_comes_too_late_is_overtaken_and_not_lost() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    let session = append.close(&[]).await.unwrap();
    let theirs = other.uploads.session(url.clone()).await.unwrap();
    theirs.finish(&[]).await.unwrap();
    assert!(is_overtaken(&session.finish(&[]).await));
    assert!(opened(&slow.uploads, url.id()) == content());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_told_to_be_published_is_not_taken_for_deleted() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (_, link) = other.link(3);
    for terms in [Terms::default(), through(link)] {
        let (url, append) = slow.begin(terms, &content()).await;
        let session = append.close(&[]).await.unwrap();
        let (there, uploads) = (Arc::clone(&other.store), Arc::clone(&other.uploads));
        let (same, runtime) = (url.clone(), tokio::runtime::Handle::current());
        // One entry says that it is about to be published, and the next one that it was.
        slow.store.before_an_entry(1, move || {
            runtime.block_on(async {
                there.is_silent_once();
                assert!(uploads.session(same.clone()).await.is_err());
                // Whoever asks again brings it to its end.
                uploads.session(same).await.unwrap().receipt().unwrap();
            });
        });
        let finished = session.finish(&[]).await;
        assert!(finished.is_ok(), "{:?}", finished.err());
        assert!(opened(&slow.uploads, url.id()) == content());
    }
    let links = other.uploads.links();
    let link = links.link(&link).unwrap().unwrap();
    assert_eq!((link.used.uploads, link.reserved.len()), (1, 0));
}

#[tokio::test]
async fn what_a_dead_server_had_reserved_is_given_back_soon() {
    let data = TempDir::new().unwrap();
    let (dead, other) = Server::two(&data);
    let (secret, link) = other.link(1);
    let now = SystemTime::now();
    let begun = Receiver::begin(&dead.uploads, file(through(link)), false).await;
    let mut begun = begun.unwrap();
    begun.write(&content()).await.unwrap();
    let received = begun.finish().await.unwrap();
    assert!(other.store.is_staged(received.id()).unwrap());
    // For as long as it is alive it is its own.
    dead.uploads.renew_held(now + 6 * MINUTE);
    assert!(other.is_reserved(&secret, now + 16 * MINUTE));
    dead.uploads.renew_held(now + 12 * MINUTE);
    assert!(other.is_reserved(&secret, now + 26 * MINUTE));
    assert!(!other.is_reserved(&secret, now + 28 * MINUTE));
    let ours = Receiver::begin(&other.uploads, file(through(link)), false).await;
    let mut ours = ours.unwrap();
    ours.write(b"ours").await.unwrap();
    let ours = ours.finish().await.unwrap();
    other.uploads.publish(vec![ours]).unwrap();
    // It was not dead, and may not have what somebody else has.
    let refused = dead.uploads.publish(vec![received]);
    let not_reserved =
        |error: &ReceiveError| matches!(error, ReceiveError::Refused(Refused::NotReserved));
    assert!(refused.is_err_and(|error| not_reserved(&error)));
    let link = other.uploads.links().link(&link).unwrap().unwrap();
    assert_eq!((link.used.uploads, link.used.bytes), (1, 4));
}

#[tokio::test]
async fn a_first_body_holds_what_it_reserves_and_then_the_upload_does() {
    let data = TempDir::new().unwrap();
    let (one, other) = Server::two(&data);
    let (secret, link) = one.link(1);
    let now = SystemTime::now();
    let reserved_until = || {
        let link = one.uploads.links().link(&link).unwrap().unwrap();
        link.reserved.values().next().unwrap().until
    };
    let new = session(Role::Whole, None, through(link));
    let began = one.uploads.begin_session(new).await.unwrap();
    assert!(reserved_until() < now + HOUR);
    let mut append = began.append(&[]).unwrap();
    append.write(b"something").await.unwrap();
    let session = append.close(&[]).await.unwrap();
    assert!(reserved_until() > now + 100 * HOUR);
    assert!(other.is_reserved(&secret, now + HOUR));
    session.finish(&[]).await.unwrap();
    let link = one.uploads.links().link(&link).unwrap().unwrap();
    assert_eq!((link.used.uploads, link.reserved.len()), (1, 0));
}

#[tokio::test]
async fn a_creation_that_died_with_its_server_gives_back_too() {
    let data = TempDir::new().unwrap();
    let (dead, other) = Server::two(&data);
    let (secret, link) = dead.link(1);
    let new = session(Role::Whole, None, through(link));
    let began = dead.uploads.begin_session(new).await.unwrap();
    let now = SystemTime::now();
    assert!(other.is_reserved(&secret, now));
    assert!(!other.is_reserved(&secret, now + 16 * MINUTE));
    drop(began);
}

#[tokio::test]
async fn resumable_uploads_are_swept_by_when_they_began() {
    let data = TempDir::new().unwrap();
    let (one, other) = Server::two(&data);
    let (_, link) = one.link(10);
    let now = SystemTime::now();
    let create = async |terms| {
        let new = session(Role::Whole, None, terms);
        one.uploads.create_session(new).await.unwrap().url().clone()
    };
    let (unused, plain) = (create(through(link)).await, create(Terms::default()).await);
    let (used, append) = one.begin(through(link), &content()).await;
    drop(append.close(&[]).await.unwrap());
    let sweep = |looked, now| other.uploads.sweep_shared_sessions(looked, now).unwrap();
    let (count, looked) = sweep(None, now + MINUTE);
    assert_eq!(count, 0);
    let (count, looked) = sweep(Some(looked), now + 2 * HOUR);
    assert_eq!(count, 1);
    let left = one.store.sessions().unwrap();
    assert!(!left.contains(unused.id()) && left.contains(plain.id()) && left.contains(used.id()));
    // What was looked at is not looked at again before its time is over, and then another server may be at its end.
    let lifetime = SessionLimits::default().upload_lifetime;
    let (count, looked) = sweep(Some(looked), now + lifetime + HOUR / 2);
    assert_eq!(count, 0);
    let (count, _) = sweep(Some(looked), now + lifetime + HOUR + MINUTE);
    assert_eq!(count, 2);
    assert!(one.store.sessions().unwrap().is_empty());
    let link = one.uploads.links().link(&link).unwrap().unwrap();
    assert!(link.reserved.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_bytes_that_come_while_an_unused_upload_is_swept_count_or_it_stays() {
    let data = TempDir::new().unwrap();
    let (one, other) = Server::two(&data);
    let (_, link) = one.link(1);
    let new = session(Role::Whole, None, through(link));
    let began = one.uploads.create_session(new).await.unwrap();
    let url = began.url().clone();
    let mut append = began.append(&[]).unwrap();
    append.write(b"late").await.unwrap();
    // The bytes are counted between the look at the entries and the removal.
    let later = SystemTime::now() + 2 * HOUR;
    other.meanwhile(async move {
        append.close(&[]).await.unwrap();
    });
    let sweeps = Arc::clone(&other.uploads);
    let swept = tokio::task::spawn_blocking(move || sweeps.sweep_shared_sessions(None, later));
    assert_eq!(swept.await.unwrap().unwrap().0, 0);
    assert_eq!(other.offset(&url).await, 4);
}

#[tokio::test]
async fn what_the_store_lists_is_deleted_when_its_time_is_over() {
    let data = TempDir::new().unwrap();
    let (one, other) = Server::two(&data);
    let kept = |seconds| Terms {
        keep: Some(Duration::from_secs(seconds)),
        ..Terms::default()
    };
    let mut ids = Vec::new();
    for terms in [kept(60), kept(120), kept(60), Terms::default()] {
        let received = receive(&one.uploads, b"content", terms).await;
        ids.push(one.uploads.publish(vec![received]).unwrap().remove(0).id);
    }
    let now = SystemTime::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    let listed = || {
        one.store
            .expiring(later(10_000), 100)
            .unwrap()
            .unwrap()
            .len()
    };
    // Somebody deletes one before.
    one.uploads.delete(&ids[2]).unwrap();
    assert_eq!(listed(), 2);
    assert_eq!(other.uploads.delete_listed(later(30)).unwrap(), (0, false));
    assert_eq!(other.uploads.delete_listed(later(62)).unwrap(), (1, false));
    assert_eq!(one.store.list(None, 10).unwrap(), [ids[1], ids[3]]);
    assert_eq!(listed(), 1);
    // One that is listed and not there may be about to be published.
    one.store.delete(&ids[1]).unwrap();
    assert_eq!(other.uploads.delete_listed(later(122)).unwrap(), (0, false));
    assert_eq!(listed(), 1);
    assert_eq!(other.uploads.delete_listed(later(800)).unwrap(), (0, false));
    assert_eq!(listed(), 0);
    assert_eq!(one.store.list(None, 10).unwrap(), [ids[3]]);
}
