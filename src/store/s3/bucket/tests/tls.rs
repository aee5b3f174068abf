//! Over TLS a checksum is announced, and bodies are not signed.

use super::*;

#[test]
fn over_tls_what_is_sent_has_its_checksum_and_is_not_signed() {
    let liar = Liar::start_over_tls(Lies::default());
    let bucket = Bucket::connect(&settings(&liar)).unwrap();
    assert_eq!(bucket.engine().checksum, Checksum::Crc64Nvme);
    let announced = || liar.state().announced;
    let before = announced();
    bucket
        .put("uploads/a", Bytes::from_static(b"whole"), &none())
        .unwrap();
    bucket
        .create("uploads/b", "created".into(), &none())
        .unwrap();
    assert_eq!(announced(), before + 2);
    let damaged = bucket
        .requests_of()
        .put_damaged("uploads/c", "damaged".into());
    assert!(bucket.wait(damaged).is_err());
    assert!(liar.state().body("at/p/uploads/c").is_none());
    let parts = bucket.requests_of();
    let sent = bucket.wait(async {
        let id = parts.begin_parts("uploads/d", &none()).await?;
        let part = parts.put_part("uploads/d", &id, 0, Bytes::from_static(b"part").into());
        let part = part.await?;
        parts.complete_parts("uploads/d", &id, vec![part]).await
    });
    sent.unwrap();
    assert_eq!(announced(), before + 4);
}

#[test]
fn an_engine_with_a_certificate_of_another_authority_is_not_talked_to() {
    let (liar, other) = (
        Liar::start_over_tls(Lies::default()),
        Liar::start_over_tls(Lies::default()),
    );
    let mut settings = settings(&liar);
    settings.cacert = other.authority.as_ref().map(|path| path.to_path_buf());
    let error = Bucket::connect_within(&settings, SHORT).err().unwrap();
    assert!(text(&error).contains("cannot connect"), "{}", text(&error));
    assert_eq!(liar.state().requests, 0);
}
