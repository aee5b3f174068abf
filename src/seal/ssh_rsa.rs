//! The `ssh-rsa` recipient type: RSA-OAEP with SHA-256 over an RSA key, named by its SSH wire encoding.
//!
//! A stanza has two arguments: `ssh-rsa` and the first 4 bytes of SHA-256 over the wire encoding of the public key, in
//! base64. Its body is the file key, encrypted by RSAES-OAEP (RFC 8017, section 7.1) with SHA-256, MGF1-SHA-256 and
//! the label below.
//!
//! aws-lc does both. Unwrapping is the one private-key operation of the whole project: aws-lc does it in constant time,
//! blinded, and strict about the padding's first octet, which `rsa` 0.10 does not look at. So RUSTSEC-2023-0071 (Marvin),
//! which is about the private-key operations of `rsa`, has nothing here to bite. Each small upload has two wraps, for which `rsa`
//! takes about four times as long: half of all that it would cost. The tests have each open what the other wrapped.

use std::sync::Arc;

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use data_encoding::BASE64_NOPAD;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey};
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{FileKey, HeaderError, SealError, Stanza};

const TYPE: &str = "ssh-rsa";
const LABEL: &[u8] = b"age-encryption.org/v1/ssh-rsa";
/// Stanzas of one header that name a key and are tried. Two keys rarely share the 4 bytes; thousands of stanzas are
/// there to make the private key work.
const MAX_TRIES: usize = 8;
/// The longest RSA modulus that is used anywhere, in bytes.
const MAX_MODULUS_SIZE: usize = 8192 / 8;

/// An RSA public key to seal to.
#[derive(Clone)]
pub struct Recipient {
    key: rsa::PublicKey,
    encrypting: Arc<OaepPublicEncryptingKey>,
    wire: Vec<u8>,
}

impl Recipient {
    /// Hands the key over to aws-lc. Which of the sizes that it takes are acceptable, the caller has decided.
    pub fn new(key: rsa::PublicKey) -> Result<Self, UnusablePublicKey> {
        let der = key.to_public_key_der().map_err(|_| UnusablePublicKey)?;
        let encrypting =
            PublicEncryptingKey::from_der(der.as_bytes()).map_err(|_| UnusablePublicKey)?;
        let encrypting = OaepPublicEncryptingKey::new(encrypting).map_err(|_| UnusablePublicKey)?;
        Ok(Self {
            wire: wire_encoding(&key),
            encrypting: Arc::new(encrypting),
            key,
        })
    }

    /// The key itself.
    pub fn public_key(&self) -> &rsa::PublicKey {
        &self.key
    }

    /// The key in SSH wire encoding (RFC 4253, section 6.6): what `ssh-rsa` lines carry in base64, and what
    /// fingerprints are taken over.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    pub(super) fn wrap(&self, file_key: &FileKey) -> Result<Stanza, SealError> {
        let mut body = vec![0; self.encrypting.ciphertext_size()];
        let size = self
            .encrypting
            .encrypt(
                &OAEP_SHA256_MGF1SHA256,
                file_key.expose(),
                &mut body,
                Some(LABEL),
            )
            .map_err(SealError::Rsa)?
            .len();
        body.truncate(size);
        Ok(Stanza {
            args: vec![TYPE.to_owned(), tag(&self.wire)],
            body,
        })
    }

    /// Whether a stanza names this key. It may name another one whose fingerprint begins alike.
    pub fn is_named_by(&self, stanza: &Stanza) -> bool {
        matches!(stanza.args.as_slice(), [kind, named] if kind == TYPE && *named == tag(&self.wire))
    }
}

/// An RSA public key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the RSA public key is not valid, or its size is not supported (2048 to 8192 bits)")]
pub struct UnusablePublicKey;

/// An RSA private key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the RSA private key is not valid: its numbers do not belong together, or its size is not supported"
)]
pub struct UnusableKey;

/// An RSA private key to open with. Without `Debug`; aws-lc erases it when it is freed.
pub struct Identity {
    key: OaepPrivateDecryptingKey,
    recipient: Recipient,
}

impl Identity {
    /// Hands the key over to aws-lc, which checks that its numbers belong together.
    pub fn new(key: &rsa::PrivateKey) -> Result<Self, UnusableKey> {
        let der = key.to_pkcs8_der().map_err(|_| UnusableKey)?;
        let decrypting =
            PrivateDecryptingKey::from_pkcs8(der.as_bytes()).map_err(|_| UnusableKey)?;
        Ok(Self {
            key: OaepPrivateDecryptingKey::new(decrypting).map_err(|_| UnusableKey)?,
            recipient: Recipient::new(key.to_public_key()).map_err(|_| UnusableKey)?,
        })
    }

    /// The public half.
    pub fn to_recipient(&self) -> Recipient {
        self.recipient.clone()
    }

    /// A stanza that names this key and does not decrypt may be for another key with the same 4 bytes: it is passed
    /// over, and looks to a caller like any other that is not for them.
    pub(super) fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, HeaderError> {
        let mut tries = 0;
        for stanza in stanzas {
            if stanza.args[0] != TYPE {
                continue;
            }
            if stanza.args.len() != 2 {
                return Err(HeaderError::Stanza(TYPE));
            }
            if !self.recipient.is_named_by(stanza) {
                continue;
            }
            tries += 1;
            if tries > MAX_TRIES {
                break;
            }
            let Some(plaintext) = self.decrypt(&stanza.body, LABEL) else {
                continue;
            };
            let file_key = FileKey::try_from(plaintext.as_slice());
            return file_key.map(Some).map_err(|_| HeaderError::Stanza(TYPE));
        }
        Ok(None)
    }

    /// RSAES-OAEP-DECRYPT. Every failure is the same `None`.
    pub(super) fn decrypt(&self, ciphertext: &[u8], label: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut plaintext = Zeroizing::new(vec![0; MAX_MODULUS_SIZE]);
        let size = self
            .key
            .decrypt(
                &OAEP_SHA256_MGF1SHA256,
                ciphertext,
                &mut plaintext,
                Some(label),
            )
            .ok()?
            .len();
        plaintext.truncate(size);
        Some(plaintext)
    }
}

fn tag(wire: &[u8]) -> String {
    BASE64_NOPAD.encode(&Sha256::digest(wire)[..4])
}

/// RFC 4253, section 6.6: string "ssh-rsa", mpint e, mpint n.
fn wire_encoding(key: &rsa::PublicKey) -> Vec<u8> {
    let mut wire = Vec::new();
    put_string(&mut wire, TYPE.as_bytes());
    put_mpint(&mut wire, &key.e_bytes());
    put_mpint(&mut wire, &key.n_bytes());
    wire
}

fn put_string(wire: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("a key's numbers have a few KiB at the most");
    wire.extend_from_slice(&length.to_be_bytes());
    wire.extend_from_slice(bytes);
}

/// RFC 4251, section 5: a positive number whose first bit is set takes a zero byte before it.
fn put_mpint(wire: &mut Vec<u8>, magnitude: &[u8]) {
    if magnitude.first().is_some_and(|first| first & 0x80 != 0) {
        let padded = [&[0], magnitude].concat();
        put_string(wire, &padded);
    } else {
        put_string(wire, magnitude);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use getrandom::SysRng;
    use rsa::oaep::{DecryptingKey, EncryptingKey};
    use rsa::traits::{Decryptor, RandomizedEncryptor};

    #[test]
    fn another_implementation_opens_what_is_wrapped_and_wraps_what_is_opened() {
        // 2049 bits: the modulus is a whole number of bytes and one bit.
        for bits in [2048, 2049, 3072] {
            let key = rsa::PrivateKey::new(&mut SysRng, bits).unwrap();
            let identity = Identity::new(&key).unwrap();
            let recipient = identity.to_recipient();
            let file_key = FileKey::generate().unwrap();

            let stanza = recipient.wrap(&file_key).unwrap();
            let theirs = DecryptingKey::<Sha256>::new_with_label(key, LABEL);
            assert_eq!(theirs.decrypt(&stanza.body).unwrap(), file_key.expose());
            let again = recipient.wrap(&file_key).unwrap();
            assert_ne!(stanza.body, again.body, "padded with the same seed twice");

            let public = recipient.public_key().clone();
            let theirs = EncryptingKey::<Sha256>::new_with_label(public, LABEL);
            let body = theirs.encrypt_with_rng(&mut SysRng, file_key.expose());
            let stanza = Stanza {
                args: stanza.args,
                body: body.unwrap(),
            };
            let opened = identity.unwrap(&[stanza]).unwrap().unwrap();
            assert_eq!(opened.expose(), file_key.expose());
        }
    }

    #[test]
    fn a_key_of_a_size_that_is_not_supported_is_refused() {
        // `rsa` makes no such key any more; a modulus that is odd is all that it looks for in one.
        let modulus = rsa::BoxedUint::from_be_slice(&[0xff; 128], 1024).unwrap();
        let key = rsa::PublicKey::new_unchecked(modulus, 65537_u64.into());
        assert!(Recipient::new(key).is_err());
    }
}
