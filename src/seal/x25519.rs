//! The native X25519 recipient type (specification, "The X25519 recipient type").

use std::fmt;
use std::str::FromStr;

use bech32::{Bech32, Hrp, primitives::decode::CheckedHrpstring};
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use data_encoding::BASE64_NOPAD;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use super::file_key::{FILE_KEY_SIZE, hkdf_sha256};
use super::{FileKey, HeaderError, SealError, Stanza, TAG_SIZE};

const TYPE: &str = "X25519";
const INFO: &[u8] = b"age-encryption.org/v1/X25519";
const RECIPIENT_HRP: &str = "age";
const IDENTITY_HRP: &str = "age-secret-key-";

/// A string that is no `age1...` recipient or `AGE-SECRET-KEY-1...` identity. What it held is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not Bech32, or its checksum is wrong.
    #[error("not a valid age key: check that it was copied whole")]
    Bech32,
    /// Bech32 of something else.
    #[error("an age key of another kind than X25519")]
    Kind,
}

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
        let bytes = decode(text, RECIPIENT_HRP)?;
        Ok(Self(PublicKey::from(*bytes)))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hrp = Hrp::parse_unchecked(RECIPIENT_HRP);
        bech32::encode_lower_to_fmt::<Bech32, _>(f, hrp, self.0.as_bytes()).map_err(|_| fmt::Error)
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
        let bytes = decode(text, IDENTITY_HRP)?;
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

/// Bech32 without a length limit; only all lower or all upper case (specification, "Conventions").
fn decode(text: &str, hrp: &str) -> Result<Zeroizing<[u8; 32]>, EncodingError> {
    let checked = CheckedHrpstring::new::<Bech32>(text).map_err(|_| EncodingError::Bech32)?;
    if !checked.hrp().as_str().eq_ignore_ascii_case(hrp) {
        return Err(EncodingError::Kind);
    }
    let mut bytes = Zeroizing::new([0; 32]);
    let mut size = 0;
    for byte in checked.byte_iter() {
        *bytes.get_mut(size).ok_or(EncodingError::Kind)? = byte;
        size += 1;
    }
    if size != bytes.len() {
        bytes.zeroize();
        return Err(EncodingError::Kind);
    }
    Ok(bytes)
}
