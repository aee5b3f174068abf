//! Manifests that are kept for whoever asks for the next part.

use std::time::Instant;

use sha2::{Digest, Sha256};

use super::*;
use crate::seal;
use crate::upload::open::{open_meta, read_meta};
use crate::upload::opened::{KEPT, LONGEST, MOST, OpenedManifests};

fn identity() -> [Identity; 1] {
    [Identity::X25519(IDENTITY.parse().unwrap())]
}

/// Publishes an upload. Gives its id, and the bytes of its `meta.age`.
async fn published(uploads: &Uploads) -> (UploadId, Vec<u8>) {
    let received = receive(uploads, b"one", terms("")).await;
    let id = uploads.publish(vec![received]).unwrap()[0].id;
    (id, uploads.meta(&id).unwrap())
}

/// The same manifest, sealed again: other bytes.
fn sealed_again(meta: &[u8], behind: usize) -> Vec<u8> {
    let (_, text) = open_meta(meta, &identity()).unwrap();
    let text = [&text[..], &vec![b' '; behind][..]].concat();
    seal::seal(&[identity()[0].to_recipient().unwrap()], &[], &text).unwrap()
}

/// Whether it is there: without a key nothing could be opened again.
fn is_kept(opened: &OpenedManifests, meta: &[u8], now: Instant) -> bool {
    opened.open(meta, &[], now).is_ok()
}

#[tokio::test]
async fn a_manifest_is_opened_once_and_given_only_for_the_very_bytes_it_stood_in() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let (id, mut meta) = published(&uploads).await;
    let sealed = uploads.sealed_upload(&id).unwrap();
    assert!(read_meta(&*sealed.open(SealedFile::Meta).unwrap()).unwrap() == meta);

    let (opened, now) = (OpenedManifests::default(), Instant::now());
    assert!(!is_kept(&opened, &meta, now));
    let manifest = opened.open(&meta, &identity(), now).unwrap();
    let again = opened.open(&meta, &[], now).unwrap();
    assert!(Arc::ptr_eq(&manifest, &again));

    *meta.last_mut().unwrap() ^= 1;
    assert!(opened.open(&meta, &identity(), now).is_err());
    assert_eq!(manifest.manifest.size, 3);
}

#[tokio::test]
async fn a_manifest_is_let_go_after_a_while_with_and_without_a_request() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let (_, meta) = published(&uploads).await;
    let (opened, now) = (OpenedManifests::default(), Instant::now());
    let soon = now + KEPT.saturating_sub(Duration::from_millis(1));

    opened.open(&meta, &identity(), now).unwrap();
    // That it is asked for does not keep it longer.
    assert!(is_kept(&opened, &meta, soon));
    assert!(!is_kept(&opened, &meta, now + KEPT));

    opened.open(&meta, &identity(), now).unwrap();
    opened.let_old_go(soon);
    assert_eq!(opened.count(), 1);
    opened.let_old_go(now + KEPT);
    assert_eq!(opened.count(), 0);
}

#[tokio::test]
async fn few_manifests_are_kept_and_no_long_ones() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let (_, meta) = published(&uploads).await;
    let (opened, now) = (OpenedManifests::default(), Instant::now());

    let metas: Vec<_> = (0..=MOST).map(|_| sealed_again(&meta, 0)).collect();
    for meta in &metas {
        opened.open(meta, &identity(), now).unwrap();
    }
    assert_eq!(opened.count(), MOST);
    assert!(!is_kept(&opened, &metas[0], now), "the oldest goes first");
    assert!(metas[1..].iter().all(|meta| is_kept(&opened, meta, now)));

    let long = sealed_again(&meta, LONGEST);
    opened.open(&long, &identity(), now).unwrap();
    assert!(!is_kept(&opened, &long, now));
}

#[tokio::test]
async fn what_is_deleted_or_sealed_anew_is_forgotten_at_once_and_nothing_else_is() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let (deleted, _) = published(&uploads).await;
    let (rewrapped, meta) = published(&uploads).await;
    for id in [deleted, rewrapped] {
        let sealed = uploads.sealed_upload(&id).unwrap();
        uploads.open(sealed, &id).unwrap();
    }
    assert_eq!(uploads.opened.count(), 2);

    uploads.delete(&deleted).unwrap();
    assert_eq!(uploads.opened.count(), 1);
    assert!(is_kept(&uploads.opened, &meta, Instant::now()));

    let to = [lawyer().to_recipient().unwrap()];
    let new = rewrap_headers(&meta, None, &rewrapped, &identity(), &to).unwrap();
    let old: [u8; 32] = Sha256::digest(&meta).into();
    uploads.rewrap(&rewrapped, &old, &new).unwrap();
    assert_eq!(uploads.opened.count(), 0);
}
