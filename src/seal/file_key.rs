//! The file key, and the keys derived from it.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{NONCE_SIZE, SealError};

/// Size of a file key in bytes.
pub const FILE_KEY_SIZE: usize = 16;

/// The symmetric key of one age file. Fresh for every file; erased when dropped; never printed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct FileKey([u8; FILE_KEY_SIZE]);

/// A byte string that is not 16 bytes long is no file key.
#[derive(Debug, thiserror::Error)]
#[error("a file key has 16 bytes")]
pub struct FileKeyLength;

impl FileKey {
    /// A new random file key. Only this module's `begin` calls it, for the one file that the key will ever seal.
    pub(super) fn generate() -> Result<Self, SealError> {
        let mut key = Self([0; FILE_KEY_SIZE]);
        getrandom::fill(&mut key.0).map_err(SealError::Randomness)?;
        Ok(key)
    }

    /// The same key once more, for a second place that has to open its file. It seals nothing.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0)
    }

    /// The key's bytes, for wrapping, or for storing inside something sealed.
    pub fn expose(&self) -> &[u8; FILE_KEY_SIZE] {
        &self.0
    }

    /// The HMAC key of the header (specification, "Header MAC").
    pub(super) fn header_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive(&[], b"header")
    }

    /// The payload key for the nonce that stands behind the header (specification, "Payload").
    pub(super) fn payload_key(&self, nonce: &[u8; NONCE_SIZE]) -> Zeroizing<[u8; 32]> {
        self.derive(nonce, b"payload")
    }

    fn derive(&self, salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
        hkdf_sha256(&self.0, salt, info)
    }
}

impl TryFrom<&[u8]> for FileKey {
    type Error = FileKeyLength;

    fn try_from(bytes: &[u8]) -> Result<Self, FileKeyLength> {
        bytes.try_into().map(Self).map_err(|_| FileKeyLength)
    }
}

/// HKDF-SHA-256 (RFC 5869) with 32 bytes of output, the only form that age uses.
pub(super) fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut okm = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), ikm)
        .expand(info, okm.as_mut())
        .expect("32 bytes is a length that HKDF-SHA-256 can give");
    okm
}
