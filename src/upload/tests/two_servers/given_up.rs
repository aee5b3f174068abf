//! An upload that is given up on one server while another one has it in hand.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_while_it_is_published_stays_whole() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    let session = append.close(&[]).await.unwrap();
    let (uploads, same) = (Arc::clone(&other.uploads), url.clone());
    let runtime = tokio::runtime::Handle::current();
    slow.store.before_it_publishes(move || {
        runtime.block_on(uploads.cancel_session(same)).unwrap();
    });
    session.finish(&[]).await.unwrap();
    assert!(opened(&other.uploads, url.id()) == content());
    assert!(slow.uploads.session_expires(&url).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_withdrawn_while_it_is_published_is_gone() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    let session = append.close(&[]).await.unwrap();
    let (uploads, same) = (Arc::clone(&other.uploads), url.clone());
    let runtime = tokio::runtime::Handle::current();
    slow.store.before_it_publishes(move || {
        let withdrawn = runtime.block_on(uploads.withdraw(same, Some(HOUR), None));
        assert!(withdrawn.unwrap(), "it was published, and then deleted");
    });
    assert!(session.finish(&[]).await.is_err());
    assert_eq!(slow.store.list(None, 10).unwrap(), []);
    assert!(!slow.store.is_staged(url.id()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_before_it_is_finished_is_not_published() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    let session = append.close(&[]).await.unwrap();
    let (uploads, same) = (Arc::clone(&other.uploads), url.clone());
    slow.meanwhile(async move { uploads.cancel_session(same).await.unwrap() });
    assert!(session.finish(&[]).await.is_err());
    assert_eq!(slow.store.list(None, 10).unwrap(), []);
    assert!(!slow.store.is_staged(url.id()).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_finished_while_it_is_cancelled_is_published() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (url, append) = slow.begin(Terms::default(), &content()).await;
    let session = append.close(&[]).await.unwrap();
    // The other one sees that it is not finished, and before it says that it is given up this one is through.
    other.meanwhile(async move {
        session.finish(&[]).await.unwrap();
    });
    other.uploads.cancel_session(url.clone()).await.unwrap();
    assert!(opened(&slow.uploads, url.id()) == content());
}

#[tokio::test]
async fn an_upload_that_is_half_given_up_is_gone_and_can_be_given_up_once_more() {
    let data = TempDir::new().unwrap();
    let (dead, other) = Server::two(&data);
    let (url, append) = dead.begin(Terms::default(), &content()).await;
    drop(append.close(&[]).await.unwrap());
    let (first, entries) = dead.store.last_entries(url.id(), 1).unwrap();
    let next = first + u32::try_from(entries.len()).unwrap();
    let given_up = crate::upload::session::GIVEN_UP;
    dead.store.put_entry(url.id(), next, &given_up).unwrap();
    let unknown = other.uploads.session(url.clone()).await.err();
    assert!(matches!(unknown, Some(SessionError::Unknown)));
    other.uploads.cancel_session(url.clone()).await.unwrap();
    assert!(other.store.sessions().unwrap().is_empty());
    assert!(!other.store.is_staged(url.id()).unwrap());
}
