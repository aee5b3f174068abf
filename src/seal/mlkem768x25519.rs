//! The post-quantum hybrid recipient type `mlkem768x25519` (specification, "The MLKEM768-X25519 (i.e. X-Wing) hybrid
//! post-quantum recipient type").
//!
//! The file key is sealed by HPKE (RFC 9180, section 6.1, `SealBase`) with the KEM MLKEM768-X25519, HKDF-SHA256 and
//! `ChaCha20Poly1305`. It stays sealed as long as one of ML-KEM-768 and X25519 holds. All of HPKE is the crate `hpke`;
//! what it does not do, and the specification's test vectors demand, is to refuse X25519 points of low order.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::BASE64_NOPAD;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use super::file_key::FILE_KEY_SIZE;
use super::key_text::{self, EncodingError};
use super::{FileKey, HeaderError, SealError, Stanza, TAG_SIZE, x25519};

const TYPE: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
const RECIPIENT_HRP: &str = "age1pq";
const IDENTITY_HRP: &str = "age-secret-key-pq-";
/// An ML-KEM-768 encapsulation key and an X25519 point.
const RECIPIENT_SIZE: usize = 1184 + POINT_SIZE;
/// An ML-KEM-768 ciphertext and an X25519 point.
const ENC_SIZE: usize = 1088 + POINT_SIZE;
const POINT_SIZE: usize = 32;
/// A seed that both private keys are made of.
const IDENTITY_SIZE: usize = 32;

type PublicKey = <XWing as Kem>::PublicKey;
type PrivateKey = <XWing as Kem>::PrivateKey;
type EncappedKey = <XWing as Kem>::EncappedKey;

/// An `age1pq1...` public key. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(Arc<PublicKey>);

impl Recipient {
    /// The key as the specification writes it: 1216 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    pub(super) fn wrap(&self, file_key: &FileKey) -> Result<Stanza, SealError> {
        // The one that made the file key just before: the system does not run out of randomness in between.
        let mut random = UnwrapErr(SysRng);
        let (enc, body) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeS::Base,
            &self.0,
            INFO,
            file_key.expose(),
            &[],
            &mut random,
        )
        .map_err(SealError::Hpke)?;
        Ok(Stanza {
            args: vec![TYPE.to_owned(), BASE64_NOPAD.encode(&enc.to_bytes())],
            body,
        })
    }
}

/// Whether a stanza is for a key of this type. Whose it is, it does not say.
pub fn is_type_of(stanza: &Stanza) -> bool {
    stanza.args[0] == TYPE
}

impl FromStr for Recipient {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        let bytes = key_text::decode::<RECIPIENT_SIZE>(text, RECIPIENT_HRP)?;
        let (_, point) = bytes
            .split_last_chunk()
            .expect("a key is longer than its point");
        if x25519::is_of_low_order(point) {
            return Err(EncodingError::Numbers);
        }
        // FIPS 203, section 7.2: the encapsulation key check.
        let key = PublicKey::from_bytes(bytes.as_slice()).map_err(|_| EncodingError::Numbers)?;
        Ok(Self(Arc::new(key)))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_text::write_lower(f, RECIPIENT_HRP, &self.0.to_bytes())
    }
}

/// An `AGE-SECRET-KEY-PQ-1...` private key. Erased when dropped; without `Debug`.
pub struct Identity(Box<PrivateKey>);

impl Identity {
    /// A new private key, of the system's random numbers.
    pub fn generate() -> Result<Self, SealError> {
        let mut seed = Zeroizing::new([0; IDENTITY_SIZE]);
        getrandom::fill(seed.as_mut()).map_err(SealError::Randomness)?;
        Ok(Self::from_seed(&seed))
    }

    fn from_seed(seed: &[u8; IDENTITY_SIZE]) -> Self {
        let key = PrivateKey::from_bytes(seed).expect("every seed of this size is a key");
        Self(Box::new(key))
    }

    /// The public half.
    pub fn to_recipient(&self) -> Recipient {
        Recipient(Arc::new(XWing::sk_to_pk(&self.0)))
    }

    /// The line for an identity file, `AGE-SECRET-KEY-PQ-1...`.
    pub fn to_line(&self) -> Zeroizing<String> {
        let mut seed = Zeroizing::new([0; IDENTITY_SIZE]);
        self.0.write_exact(seed.as_mut());
        key_text::encode_upper(IDENTITY_HRP, seed.as_ref())
    }

    pub(super) fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, HeaderError> {
        for stanza in stanzas.iter().filter(|stanza| is_type_of(stanza)) {
            if let Some(file_key) = self.unwrap_stanza(stanza)? {
                return Ok(Some(file_key));
            }
        }
        Ok(None)
    }

    fn unwrap_stanza(&self, stanza: &Stanza) -> Result<Option<FileKey>, HeaderError> {
        const MALFORMED: HeaderError = HeaderError::Stanza(TYPE);
        let [_, enc] = stanza.args.as_slice() else {
            return Err(MALFORMED);
        };
        let enc = BASE64_NOPAD.decode(enc.as_bytes()).map_err(|_| MALFORMED)?;
        let enc: [u8; ENC_SIZE] = enc.try_into().map_err(|_| MALFORMED)?;
        // The size is checked before anything is decrypted: no partitioning oracle.
        if stanza.body.len() != FILE_KEY_SIZE + TAG_SIZE {
            return Err(MALFORMED);
        }
        let (_, point) = enc.split_last_chunk().ok_or(MALFORMED)?;
        if x25519::is_of_low_order(point) {
            return Err(MALFORMED);
        }
        let enc = EncappedKey::from_bytes(&enc).map_err(|_| MALFORMED)?;
        let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.0,
            &enc,
            INFO,
            &stanza.body,
            &[],
        );
        let opened = opened.ok().map(Zeroizing::new);
        Ok(opened.and_then(|key| FileKey::try_from(key.as_slice()).ok()))
    }
}

impl FromStr for Identity {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        let seed = key_text::decode::<IDENTITY_SIZE>(text, IDENTITY_HRP)?;
        Ok(Self::from_seed(&seed))
    }
}
