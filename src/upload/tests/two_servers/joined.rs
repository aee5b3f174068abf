//! Parts of which two servers make an upload.

use super::*;

const PARTS: [&[u8]; 2] = [b"three ", b"four"];
const WHOLE: &[u8] = b"three four";

/// Parts that are there, and what they are to become.
#[derive(Clone)]
struct Parts {
    urls: Vec<UploadUrl>,
    terms: Terms,
}

impl Parts {
    async fn on(server: &Server, terms: Terms) -> Self {
        let mut urls = Vec::new();
        for bytes in PARTS {
            let new = session(Role::Partial, Some(bytes.len() as u64), terms.clone());
            urls.push(send(&server.uploads, new, bytes).await.url().clone());
        }
        Self { urls, terms }
    }

    async fn join(&self, server: &Arc<Uploads>) -> Result<(Session, bool), SessionError> {
        let named: Vec<_> = (self.urls.iter())
            .map(|url| url.to_segment().to_string())
            .collect();
        let role = Role::Final(format!("final;{}", named.join(" ")));
        let new = session(role, None, self.terms.clone());
        server.concatenate(new, &self.urls).await
    }

    /// Joins them on a server, once it is called.
    fn joining_on(&self, server: &Server) -> impl FnOnce() + Send + 'static {
        let (parts, uploads) = (self.clone(), Arc::clone(&server.uploads));
        let runtime = tokio::runtime::Handle::current();
        move || {
            let joined = runtime.block_on(parts.join(&uploads));
            assert!(joined.is_ok(), "{:?}", joined.err());
        }
    }
}

/// The only upload that is published.
fn only(server: &Server) -> UploadId {
    let listed = server.store.list(None, 10).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(opened(&server.uploads, &listed[0]), WHOLE);
    listed[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_both_join_become_one_upload() {
    // Between any two of: noting the first part, noting the second one, beginning to publish.
    for step in 0..=2 {
        let data = TempDir::new().unwrap();
        let (slow, other) = Server::two(&data);
        let parts = Parts::on(&slow, Terms::default()).await;
        slow.store.before_an_entry(step, parts.joining_on(&other));
        assert!(is_overtaken(&parts.join(&slow.uploads).await), "{step}");
        let published = only(&slow);
        let (session, is_new) = parts.join(&slow.uploads).await.unwrap();
        assert_eq!((*session.url().id(), is_new), (published, false));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_parts_that_both_publish_is_one() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let parts = Parts::on(&slow, Terms::default()).await;
    slow.store.before_it_publishes(parts.joining_on(&other));
    let (session, _) = parts.join(&slow.uploads).await.unwrap();
    assert_eq!(*session.url().id(), only(&other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_was_making_of_parts_when_it_died_another_one_makes() {
    // Before: the second part, beginning to publish, saying that it is published, telling the first part, the second one; publishing.
    for step in 1..=6 {
        let data = TempDir::new().unwrap();
        let (dead, other) = Server::two(&data);
        let (_, link) = dead.link(1);
        let parts = Parts::on(&dead, through(link)).await;
        match step {
            6 => dead.store.before_it_publishes(|| panic!("killed")),
            step => dead.store.before_an_entry(step, || panic!("killed")),
        }
        assert!(parts.join(&dead.uploads).await.is_err());
        let (session, is_new) = parts.join(&other.uploads).await.unwrap();
        assert_eq!(is_new, !(4..=5).contains(&step), "{step}");
        assert_eq!(*session.url().id(), only(&other));
        drop(session);
        let (_, is_new) = parts.join(&other.uploads).await.unwrap();
        assert!(!is_new);
        let link = other.uploads.links().link(&link).unwrap().unwrap();
        assert_eq!((link.used.uploads, link.used.bytes), (1, 10));
        assert!(link.reserved.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_of_parts_and_not_published_gives_way_to_another_upload() {
    let data = TempDir::new().unwrap();
    let (slow, other) = Server::two(&data);
    let (_, link) = slow.link(1);
    let parts = Parts::on(&slow, through(link)).await;
    // Of the part that comes first, which the slow one has noted by then.
    let mut first = parts.clone();
    first.urls = parts
        .urls
        .iter()
        .min_by_key(|url| *url.id())
        .cloned()
        .into_iter()
        .collect();
    slow.store.before_an_entry(1, first.joining_on(&other));
    assert!(parts.join(&slow.uploads).await.is_err());
    let listed = slow.store.list(None, 10).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert!(PARTS.contains(&&*opened(&slow.uploads, &listed[0])));
    let used = parts.join(&slow.uploads).await.err();
    assert!(matches!(used, Some(SessionError::PartUsed)));
}
