//! Bodies that become several segments.

use super::*;
use crate::store::Staging as _;
use crate::upload::account::dying_store::DyingStore;

/// Uploads whose segments end after 1 MiB, in a store that dies after so many changes.
fn open_limited(data: &TempDir, calls: usize) -> (Arc<DyingStore>, Arc<Uploads>) {
    let store = loop {
        // What an earlier one does in the background keeps the folder for a moment.
        match LocalStore::open(data.path()) {
            Err(StoreError::Locked { .. }) => std::thread::sleep(Duration::from_millis(1)),
            store => break store.unwrap(),
        }
    };
    let store = DyingStore::with_segments(store, calls, Some(1 << 20));
    let identity = Identity::X25519(IDENTITY.parse().unwrap());
    let recipient = NamedRecipient::new(identity.to_recipient().unwrap(), "");
    let (limits, shared) = (SessionLimits::default(), Arc::clone(&store) as _);
    let uploads = Uploads::new(shared, vec![recipient], vec![identity], limits);
    (store, Arc::new(uploads))
}

fn content(size: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(size).collect()
}

fn opened(uploads: &Uploads, id: &UploadId) -> (Vec<u8>, usize) {
    let sealed = uploads.sealed_upload(id).unwrap();
    let upload = OpenUpload::open(sealed, Some(id), uploads.identities()).unwrap();
    let segments = upload.manifest().segments.len();
    let mut content = Vec::new();
    let copied = Arc::new(upload).copy_to(|piece| {
        content.extend_from_slice(piece);
        Ok::<_, ReadError>(())
    });
    copied.unwrap();
    (content, segments)
}

#[tokio::test]
async fn a_long_body_becomes_several_segments_where_they_have_a_limit() {
    const MIB: usize = 1 << 20;
    for (size, segments) in [
        (1, 1),
        (MIB - 1, 1),
        (MIB, 1),
        (MIB + 1, 2),
        (2 * MIB, 2),
        (2 * MIB + 1, 3),
        (3 * MIB + MIB / 2, 4),
    ] {
        let data = TempDir::new().unwrap();
        let (_, uploads) = open_limited(&data, usize::MAX);
        let bytes = content(size);
        let received = receive(&uploads, &bytes, Terms::default()).await;
        assert_eq!(received.size(), size as u64);
        let receipt = uploads.publish(vec![received]).unwrap().remove(0);
        assert!(
            opened(&uploads, &receipt.id) == (bytes.clone(), segments),
            "{size}"
        );

        // In a body whose bytes count as they come, and in one that is held to a digest.
        for checks in [&[][..], &[Algorithm::Sha1]] {
            let new = session(Role::Whole, Some(size as u64), Terms::default());
            let began = uploads.create_session(new).await.unwrap();
            let mut append = began.append(checks).unwrap();
            let mut digest = RunningDigest::new(Algorithm::Sha1);
            for piece in bytes.chunks(100_001) {
                append.write(piece).await.unwrap();
                digest.update(piece);
            }
            let expected = ExpectedDigest {
                algorithm: Algorithm::Sha1,
                value: digest.finish(),
            };
            let closed = append.close(&[expected][..checks.len()]).await.unwrap();
            let ended = closed.finish_if_due().await.unwrap();
            assert!(
                opened(&uploads, ended.url().id()) == (bytes.clone(), segments),
                "{size}"
            );
        }
    }
}

#[tokio::test]
async fn of_a_body_that_comes_slowly_the_whole_chunks_go_off_early() {
    let data = TempDir::new().unwrap();
    let (store, uploads) = open_limited(&data, usize::MAX);
    let began = uploads
        .create_session(session(Role::Whole, Some(100_001), Terms::default()))
        .await
        .unwrap();
    let id = *began.url().id();
    let staged = || {
        let files = store.open_staged(&id, &[]).and_then(|staged| {
            let segment = staged.open(SealedFile::Segment(0))?;
            Ok(segment.len())
        });
        files.unwrap_or(0)
    };
    let bytes = content(100_001);
    let mut append = began.append(&[]).unwrap();
    append.write(&bytes[..100_000]).await.unwrap();
    assert_eq!(staged(), 0);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    append.write(&bytes[100_000..]).await.unwrap();
    let began = std::time::Instant::now();
    // Its header, and one chunk of the two.
    while !(65_552..100_000).contains(&staged()) {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", staged());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let closed = append.close(&[]).await.unwrap();
    let ended = closed.finish_if_due().await.unwrap();
    assert!(opened(&uploads, ended.url().id()) == (bytes, 1));
}

#[tokio::test]
async fn a_body_of_several_segments_that_fails_its_digest_leaves_none() {
    let data = TempDir::new().unwrap();
    let (store, uploads) = open_limited(&data, usize::MAX);
    let began = uploads
        .create_session(session(Role::Whole, None, Terms::default()))
        .await
        .unwrap();
    let id = *began.url().id();
    let mut append = began.append(&[Algorithm::Sha1]).unwrap();
    append.write(&content(3 << 20)).await.unwrap();
    let wrong = ExpectedDigest {
        algorithm: Algorithm::Sha1,
        value: vec![0; 20],
    };
    assert!(append.close(&[wrong]).await.is_err());
    let files = store.open_staged(&id, &[]).unwrap().files().unwrap();
    assert!(files.is_empty(), "{files:?}");
}

#[tokio::test]
async fn a_server_that_dies_loses_no_more_than_the_segment_in_progress() {
    let bytes = content(3 << 20);
    for calls in (2..24).step_by(3) {
        let data = TempDir::new().unwrap();
        let (store, uploads) = open_limited(&data, calls);
        let new = session(Role::Whole, Some(bytes.len() as u64), Terms::default());
        let Ok(began) = uploads.create_session(new).await else {
            continue;
        };
        let url = began.url().clone();
        let mut append = began.append(&[]).unwrap();
        let mut written = 0;
        for piece in bytes.chunks(300_000) {
            if append.write(piece).await.is_err() {
                break;
            }
            written += piece.len() as u64;
        }
        let whole = match append.close(&[]).await {
            Ok(closed) => closed.finish_if_due().await.is_ok(),
            Err(_) => false,
        };
        assert!(whole || store.is_dead());
        drop((store, uploads));
        let (_, uploads) = open_limited(&data, usize::MAX);
        let again = uploads.session(url.clone()).await.unwrap();
        let offset = again.offset();
        assert!(
            offset + (2 << 20) > written,
            "{offset} of {written} after {calls}"
        );
        if !whole && again.finished().is_none() {
            let mut append = again.append(&[]).unwrap();
            let rest = usize::try_from(offset).unwrap();
            append.write(&bytes[rest..]).await.unwrap();
            let closed = append.close(&[]).await.unwrap();
            closed.finish_if_due().await.unwrap();
        }
        assert!(opened(&uploads, url.id()).0 == bytes, "after {calls}");
    }
}
