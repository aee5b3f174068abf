//! An upload that two servers seal anew at the same time.

use sha2::{Digest, Sha256};

use super::*;
use crate::seal::Recipient;
use crate::store::SealedFile;
use crate::upload::{RewrapError, Rewrapped, read_header, rewrap_headers};

/// New headers for these keys, made from what is there, and which `meta.age` that is.
fn made(server: &Server, id: &UploadId, full: bool, to: &[Recipient]) -> ([u8; 32], Rewrapped) {
    let (uploads, name) = (&server.uploads, SealedFile::Segment(0));
    let meta = uploads.meta(id).unwrap();
    let file = uploads.sealed_upload(id).unwrap().open(name).unwrap();
    let (_, size) = read_header(&*file, name).unwrap();
    let mut header = vec![0; usize::try_from(size).unwrap()];
    assert_eq!(file.read_at(&mut header, 0).unwrap(), header.len());
    let headers = [header];
    let headers = full.then_some(&headers[..]);
    let new = rewrap_headers(&meta, headers, id, uploads.identities(), to).unwrap();
    (Sha256::digest(&meta).into(), new)
}

#[tokio::test]
async fn of_two_that_rewrap_an_upload_the_slower_one_begins_anew() {
    let own = Identity::X25519(IDENTITY.parse().unwrap());
    let own = own.to_recipient().unwrap();
    for full in [true, false] {
        let data = TempDir::new().unwrap();
        let (slow, other) = Server::two(&data);
        let received = receive(&slow.uploads, &content(), Terms::default()).await;
        let id = slow.uploads.publish(vec![received]).unwrap().remove(0).id;
        let to = [own.clone(), lawyer().to_recipient().unwrap()];
        let (old, new) = made(&slow, &id, full, &to[..1]);
        // Its headers are longer than those that the slower one has found.
        let (_, theirs) = made(&other, &id, true, &to);
        let uploads = Arc::clone(&other.uploads);
        slow.store
            .before_it_rewraps(move || uploads.rewrap(&id, &old, &theirs).unwrap());
        let put = slow.uploads.rewrap(&id, &old, &new);
        assert!(matches!(put, Err(RewrapError::Changed)), "{put:?}");
        assert!(opened(&other.uploads, &id) == content());
        let (old, new) = made(&slow, &id, full, &to[..1]);
        slow.uploads.rewrap(&id, &old, &new).unwrap();
        assert!(opened(&other.uploads, &id) == content());
    }
}
