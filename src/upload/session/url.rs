//! The upload URL: who knows it may go on with the upload, and only who knows it can read the upload's record.

use std::str::FromStr;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use data_encoding::BASE32_DNSSEC;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::SessionError;
use crate::store::UploadId;

/// Bytes of a secret: 160 random bits, which are 32 characters in a URL.
const SECRET_SIZE: usize = 20;
const SECRET_TEXT: usize = 32;
/// Bytes of the salt in front of everything that is sealed with a secret.
const SALT_SIZE: usize = 32;
const TAG_SIZE: usize = 16;

/// How much longer something is when it is sealed, in bytes.
pub(super) const SEALED_OVERHEAD: usize = SALT_SIZE + TAG_SIZE;

/// Every seal has a key of its own, so that one nonce does for all of them.
const NONCE: [u8; 12] = [0; 12];

/// What an upload URL says: which upload, and the secret that opens its record. Without `Debug`: it is a capability.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadUrl {
    id: UploadId,
    secret: Secret,
}

#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
struct Secret([u8; SECRET_SIZE]);

/// A text that is no upload URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an upload URL: take it as it stands in the Location of the answer that created the upload"
)]
pub struct UploadUrlError;

impl UploadUrl {
    /// For a new upload, with a secret from the operating system.
    pub(super) fn generate(id: UploadId) -> Result<Self, SessionError> {
        let mut secret = Secret([0; SECRET_SIZE]);
        getrandom::fill(&mut secret.0).map_err(SessionError::Randomness)?;
        Ok(Self { id, secret })
    }

    /// Which upload it is.
    pub fn id(&self) -> &UploadId {
        &self.id
    }

    /// The last segment of the URL's path: `{id}.{secret}`.
    pub fn to_segment(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(BASE32_DNSSEC.encode(&self.secret.0));
        Zeroizing::new(format!("{}.{}", self.id, *secret))
    }

    /// All that the server keeps of the secret.
    pub(super) fn secret_hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret.0).into()
    }

    /// Seals with a key that is derived from the secret and a fresh salt, for this upload and this purpose alone: the salt,
    /// the sealed bytes and the tag.
    pub(super) fn seal(&self, purpose: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SessionError> {
        let mut sealed = Vec::with_capacity(plaintext.len() + SEALED_OVERHEAD);
        sealed.resize(SALT_SIZE, 0);
        getrandom::fill(&mut sealed).map_err(SessionError::Randomness)?;
        let cipher = self.cipher(&sealed, purpose);
        sealed.extend_from_slice(plaintext);
        let tag = cipher
            .encrypt_inout_detached(&Nonce::from(NONCE), &[], (&mut sealed[SALT_SIZE..]).into())
            .expect("a record is not too long for the cipher");
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what was sealed for the same upload and purpose. `None`: it was not, or it is damaged.
    pub(super) fn open(&self, purpose: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (salt, rest) = sealed.split_at_checked(SALT_SIZE)?;
        let (text, tag) = rest.split_last_chunk::<TAG_SIZE>()?;
        let mut plaintext = Zeroizing::new(text.to_vec());
        self.cipher(salt, purpose)
            .decrypt_inout_detached(
                &Nonce::from(NONCE),
                &[],
                plaintext.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .ok()?;
        Some(plaintext)
    }

    fn cipher(&self, salt: &[u8], purpose: &[u8]) -> ChaCha20Poly1305 {
        let id = self.id.to_string();
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(salt), &self.secret.0)
            .expand_multi_info(
                &[b"sealslot/session/v1 ", id.as_bytes(), b" ", purpose],
                key.as_mut(),
            )
            .expect("32 bytes is a length that HKDF-SHA-256 can give");
        ChaCha20Poly1305::new((&*key).into())
    }
}

impl FromStr for UploadUrl {
    type Err = UploadUrlError;

    /// Reads the last segment of a URL's path.
    fn from_str(segment: &str) -> Result<Self, UploadUrlError> {
        let (id, text) = segment.split_once('.').ok_or(UploadUrlError)?;
        let id = id.parse().map_err(|_| UploadUrlError)?;
        // The decoder takes uppercase too, which would give one upload several URLs.
        if text.len() != SECRET_TEXT || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(UploadUrlError);
        }
        let mut bytes = BASE32_DNSSEC
            .decode(text.as_bytes())
            .map_err(|_| UploadUrlError)?;
        let secret = bytes.as_slice().try_into().map(Secret);
        bytes.zeroize();
        Ok(Self {
            id,
            secret: secret.map_err(|_| UploadUrlError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::SystemTime;

    fn url() -> UploadUrl {
        UploadUrl::generate(UploadId::generate(SystemTime::now())).unwrap()
    }

    #[test]
    fn an_upload_url_is_read_as_it_is_written() {
        let url = url();
        let segment = url.to_segment();
        assert_eq!(segment.len(), 32 + 1 + 32);
        assert!(segment.parse::<UploadUrl>().unwrap() == url);
        for other in [
            &segment[..64],
            &format!("{}0", *segment),
            &segment.to_uppercase(),
            &segment.replace('.', "/"),
            &format!("{}.", url.id()),
            &url.id().to_string(),
            "",
            ".",
        ] {
            assert!(other.parse::<UploadUrl>().is_err(), "{other}");
        }
    }

    #[test]
    fn what_is_sealed_opens_with_this_url_for_this_purpose_alone() {
        let url = url();
        let sealed = url.seal(b"head", b"a file key").unwrap();
        assert_eq!(sealed.len(), 10 + SEALED_OVERHEAD);
        assert_eq!(**url.open(b"head", &sealed).unwrap(), *b"a file key");
        assert_ne!(
            url.seal(b"head", b"a file key").unwrap()[..32],
            sealed[..32]
        );
        assert!(url.open(b"entry", &sealed).is_none());
        let other_secret = UploadUrl::generate(*url.id()).unwrap();
        assert!(other_secret.open(b"head", &sealed).is_none());
        let other_upload = UploadUrl {
            id: UploadId::generate(SystemTime::now()),
            secret: url.secret.clone(),
        };
        assert!(other_upload.open(b"head", &sealed).is_none());
        for byte in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[byte] ^= 1;
            assert!(url.open(b"head", &damaged).is_none(), "{byte}");
            assert!(url.open(b"head", &sealed[..byte]).is_none(), "{byte}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in "[0-9a-v.]{60,70}|.{0,80}") {
            let _ = text.parse::<UploadUrl>();
        }
    }
}
