//! The passphrase type `scrypt` (specification, "The scrypt recipient type"). Sealslot stores nothing under a
//! passphrase: it is there for identity files that are protected by one, in the form of age and rage.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use data_encoding::BASE64_NOPAD;
use scrypt::Params;
use zeroize::Zeroizing;

use super::file_key::FILE_KEY_SIZE;
use super::{FileKey, HeaderError, OpenError, SealError, Stanza, TAG_SIZE, Unwrap};

const TYPE: &str = "scrypt";
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const SALT_SIZE: usize = 16;
/// The work factor of what is sealed: a second and 256 MiB, as with age.
const LOG_N: u8 = 18;
/// The highest work factor that is run: 1 GiB of memory. age goes to 22, which is 4 GiB.
pub const MAX_LOG_N: u8 = 20;

/// Opens with a passphrase what was sealed with it.
pub struct Identity(Zeroizing<String>);

impl Identity {
    /// Takes a passphrase.
    pub fn new(passphrase: Zeroizing<String>) -> Self {
        Self(passphrase)
    }
}

impl Unwrap for Identity {
    fn unwrap(&self, stanzas: &[Stanza]) -> Result<Option<FileKey>, OpenError> {
        // `Header::unwrap_file_key` has seen that it stands alone.
        match stanzas {
            [stanza] if is_type_of(stanza) => Ok(unwrap_stanza(&self.0, stanza)?),
            _ => Ok(None),
        }
    }
}

/// Whether a stanza is for a passphrase.
pub fn is_type_of(stanza: &Stanza) -> bool {
    stanza.args[0] == TYPE
}

/// Wraps a file key with a passphrase.
pub(super) fn wrap(passphrase: &str, file_key: &FileKey) -> Result<Stanza, SealError> {
    let mut salt = [0; SALT_SIZE];
    getrandom::fill(&mut salt).map_err(SealError::Randomness)?;
    let mut body = file_key.expose().to_vec();
    let tag = wrap_cipher(passphrase, &salt, LOG_N)
        .encrypt_inout_detached(&Nonce::default(), &[], body.as_mut_slice().into())
        .expect("16 bytes are not too many for the cipher");
    body.extend_from_slice(&tag);
    Ok(Stanza {
        args: vec![
            TYPE.to_owned(),
            BASE64_NOPAD.encode(&salt),
            LOG_N.to_string(),
        ],
        body,
    })
}

fn unwrap_stanza(passphrase: &str, stanza: &Stanza) -> Result<Option<FileKey>, HeaderError> {
    const MALFORMED: HeaderError = HeaderError::Stanza(TYPE);
    let [_, salt, log_n] = stanza.args.as_slice() else {
        return Err(MALFORMED);
    };
    let salt = BASE64_NOPAD
        .decode(salt.as_bytes())
        .map_err(|_| MALFORMED)?;
    let salt: [u8; SALT_SIZE] = salt.try_into().map_err(|_| MALFORMED)?;
    // Digits only, and no zero before them.
    if !log_n.bytes().all(|byte| byte.is_ascii_digit()) || log_n.starts_with('0') {
        return Err(MALFORMED);
    }
    let log_n: u8 = log_n.parse().map_err(|_| HeaderError::WorkFactor)?;
    if log_n > MAX_LOG_N {
        return Err(HeaderError::WorkFactor);
    }
    // The size is checked before anything is decrypted: no partitioning oracle.
    let body: [u8; FILE_KEY_SIZE + TAG_SIZE] =
        stanza.body.as_slice().try_into().map_err(|_| MALFORMED)?;
    let (wrapped, tag) = body.split_at(FILE_KEY_SIZE);
    let mut key = Zeroizing::new([0; FILE_KEY_SIZE]);
    key.copy_from_slice(wrapped);
    let tag = tag.try_into().map_err(|_| MALFORMED)?;
    let opened = wrap_cipher(passphrase, &salt, log_n).decrypt_inout_detached(
        &Nonce::default(),
        &[],
        key.as_mut_slice().into(),
        tag,
    );
    Ok(opened
        .ok()
        .and_then(|()| FileKey::try_from(key.as_slice()).ok()))
}

fn wrap_cipher(passphrase: &str, salt: &[u8; SALT_SIZE], log_n: u8) -> ChaCha20Poly1305 {
    let salt = [LABEL, salt].concat();
    let params = Params::new(log_n, 8, 1).expect("a work factor up to the limit is one");
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &salt, &params, key.as_mut())
        .expect("32 bytes is a length that scrypt can give");
    ChaCha20Poly1305::new((&*key).into())
}
