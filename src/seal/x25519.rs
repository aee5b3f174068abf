//! The native X25519 recipient type (specification, "The X25519 recipient type").

use std::fmt;
use std::str::FromStr;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use data_encoding::BASE64_NOPAD;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

use super::file_key::{FILE_KEY_SIZE, hkdf_sha256};
use super::key_text::{self, EncodingError};
use super::{FileKey, HeaderError, SealError, Stanza, TAG_SIZE};

const TYPE: &str = "X25519";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";
const RECIPIENT_HRP: &str = "age";
const IDENTITY_HRP: &str = "age-secret-key-";

/// An `age1...` public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Recipient(PublicKey);

impl Recipient {
    pub(super) fn wrap(&self, file_key: &FileKey) -> Result<Stanza, SealError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut()).map_err(SealError::Randomness)?;
        let ephemeral = StaticSecret::from(*secret);
        let share = PublicKey::from(&ephemeral);
        let shared = ephemeral.diffie_hellman(&self.0);
        if !shared.was_contributory() {
            return Err(SealError::LowOrderRecipient);
        }
        let mut body = file_key.expose().to_vec();
        let tag = wrap_cipher(&shared, &share, &self.0)
            .encrypt_inout_detached(&Nonce::default(), &[], body.as_mut_slice().into())
            .expect("16 bytes are not too many for the cipher");
        body.extend_from_slice(&tag);
        Ok(Stanza {
            args: vec![TYPE.to_owned(), BASE64_NOPAD.encode(share.as_bytes())],
            body,
        })
    }
}

impl FromStr for Recipient {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        let bytes = key_text::decode(text, RECIPIENT_HRP)?;
        Ok(Self(PublicKey::from(*bytes)))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_text::write_lower(f, RECIPIENT_HRP, self.0.as_bytes())
    }
}

/// An `AGE-SECRET-KEY-1...` private key. Erased when dropped; without `Debug`.
pub struct Identity(StaticSecret);

impl Identity {
    /// The public half.
    pub fn to_recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&self.0))
    }

    pub(super) fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, HeaderError> {
        for stanza in stanzas {
            if stanza.args[0] != TYPE {
                continue;
            }
            if let Some(file_key) = self.unwrap_stanza(stanza)? {
                return Ok(Some(file_key));
            }
        }
        Ok(None)
    }

    fn unwrap_stanza(&self, stanza: &Stanza) -> Result<Option<FileKey>, HeaderError> {
        const MALFORMED: HeaderError = HeaderError::Stanza(TYPE);
        let [_, share] = stanza.args.as_slice() else {
            return Err(MALFORMED);
        };
        let share = BASE64_NOPAD
            .decode(share.as_bytes())
            .map_err(|_| MALFORMED)?;
        let share: [u8; 32] = share.try_into().map_err(|_| MALFORMED)?;
        // The size is checked before anything is decrypted: no partitioning oracle.
        let body: [u8; FILE_KEY_SIZE + TAG_SIZE] =
            stanza.body.as_slice().try_into().map_err(|_| MALFORMED)?;
        let share = PublicKey::from(share);
        let shared = self.0.diffie_hellman(&share);
        if !shared.was_contributory() {
            return Err(MALFORMED);
        }
        let (wrapped, tag) = body.split_at(FILE_KEY_SIZE);
        let mut key = Zeroizing::new([0; FILE_KEY_SIZE]);
        key.copy_from_slice(wrapped);
        let tag = tag.try_into().map_err(|_| MALFORMED)?;
        let recipient = PublicKey::from(&self.0);
        let opened = wrap_cipher(&shared, &share, &recipient).decrypt_inout_detached(
            &Nonce::default(),
            &[],
            key.as_mut_slice().into(),
            tag,
        );
        Ok(opened
            .ok()
            .and_then(|()| FileKey::try_from(key.as_slice()).ok()))
    }
}

impl FromStr for Identity {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        let bytes = key_text::decode(text, IDENTITY_HRP)?;
        Ok(Self(StaticSecret::from(*bytes)))
    }
}

fn wrap_cipher(
    shared: &SharedSecret,
    share: &PublicKey,
    recipient: &PublicKey,
) -> ChaCha20Poly1305 {
    let salt = [share.to_bytes(), recipient.to_bytes()].concat();
    let key = hkdf_sha256(shared.as_bytes(), &salt, INFO);
    ChaCha20Poly1305::new((&*key).into())
}

/// Whether a point gives the same shared secret, of zeros, with every private key (RFC 7748, section 6.1). One key is
/// as good as another to find out: all of them are multiples of 8 and none of a large order's.
pub(super) fn is_of_low_order(point: &[u8; 32]) -> bool {
    let any = StaticSecret::from([1; 32]);
    !any.diffie_hellman(&PublicKey::from(*point))
        .was_contributory()
}
