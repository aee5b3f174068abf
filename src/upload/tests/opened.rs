//! Manifests that are kept for whoever asks for the next part.

use super::*;
use crate::store::SealedFile;
use crate::upload::open::read_meta;
use crate::upload::opened::OpenedManifests;

#[tokio::test]
async fn a_manifest_is_opened_once_and_given_only_for_the_very_bytes_it_stood_in() {
    let (data, told) = (TempDir::new().unwrap(), Arc::default());
    let uploads = open_uploads(&data, &told);
    let received = receive(&uploads, b"one", terms("")).await;
    let receipts = uploads.publish(vec![received]).unwrap();
    let sealed = uploads.sealed_upload(&receipts[0].id).unwrap();
    let mut meta = read_meta(&*sealed.open(SealedFile::Meta).unwrap()).unwrap();

    let opened = OpenedManifests::default();
    let identity = [Identity::X25519(IDENTITY.parse().unwrap())];
    assert!(opened.open(&meta, &[]).is_err());
    let manifest = opened.open(&meta, &identity).unwrap();
    // Without a key nothing could be opened again.
    let again = opened.open(&meta, &[]).unwrap();
    assert!(Arc::ptr_eq(&manifest, &again));

    *meta.last_mut().unwrap() ^= 1;
    assert!(opened.open(&meta, &identity).is_err());
    assert_eq!(manifest.size, 3);
}
