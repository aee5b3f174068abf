//! The payload: ChaCha20-Poly1305 STREAM in chunks of 64 KiB (specification, "Payload").
//!
//! A chunk's nonce is its number and whether it is the last one. A (key, nonce) pair must never seal two plaintexts,
//! so a [`PayloadSealer`] counts by itself, cannot be copied, stored or rewound, and is used up by the last chunk.

mod buffer;
mod run;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

use super::{FileKey, SealError};
pub use buffer::ChunkBuffer;
pub use run::{OpenedRun, RunOrder, SealTicket};

/// Size of a full chunk of plaintext in bytes.
pub const CHUNK_SIZE: usize = 64 * 1024;
/// Size of the Poly1305 tag behind every chunk in bytes.
pub const TAG_SIZE: usize = 16;
/// Size of a full sealed chunk in bytes.
pub const SEALED_CHUNK_SIZE: usize = CHUNK_SIZE + TAG_SIZE;
/// Size of the payload nonce in bytes.
pub const NONCE_SIZE: usize = 16;

/// age authenticates no associated data.
const NO_AAD: &[u8] = &[];

/// Why a payload does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A chunk's tag does not fit: it was changed, or it is not where it was.
    #[error("chunk {0} is damaged or out of place")]
    Chunk(u64),
    /// The payload ends without its last chunk.
    #[error("the payload is cut off")]
    Truncated,
    /// Bytes follow the last chunk.
    #[error("something follows the last chunk")]
    Trailing,
    /// The last chunk is empty although others precede it.
    #[error("the last chunk is empty")]
    EmptyLastChunk,
    /// No payload has this length.
    #[error("the payload has a length that none can have")]
    Length,
}

/// The nonce of a chunk: its number in 11 bytes, big-endian, then 1 for the last chunk and 0 for others.
fn chunk_nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

fn payload_cipher(file_key: &FileKey, nonce: &[u8; NONCE_SIZE]) -> ChaCha20Poly1305 {
    let key = file_key.payload_key(nonce);
    ChaCha20Poly1305::new((&*key).into())
}

/// Seals a chunk whose last 16 bytes are room for its tag.
fn seal_in_place(cipher: &ChaCha20Poly1305, nonce: &Nonce, aad: &[u8], chunk: &mut [u8]) {
    let (text, tag) = chunk.split_at_mut(chunk.len() - TAG_SIZE);
    let sealed = cipher
        .encrypt_inout_detached(nonce, aad, text.into())
        .expect("64 KiB are not too many for the cipher");
    tag.copy_from_slice(&sealed);
}

/// Seals a chunk from one place to another, which has 16 bytes more, for its tag.
fn seal_between(cipher: &ChaCha20Poly1305, nonce: &Nonce, text: &[u8], sealed: &mut [u8]) {
    let (place, tag) = sealed.split_at_mut(text.len());
    let text = InOutBuf::new(text, place).expect("both are as long");
    let sealed = cipher
        .encrypt_inout_detached(nonce, NO_AAD, text)
        .expect("64 KiB are not too many for the cipher");
    tag.copy_from_slice(&sealed);
}

/// Opens a chunk, or leaves it as it was: the tag is checked before a byte is decrypted.
fn open_in_place<'a>(
    cipher: &ChaCha20Poly1305,
    nonce: &Nonce,
    aad: &[u8],
    chunk: &'a mut [u8],
) -> Option<&'a mut [u8]> {
    let (text, tag) = chunk.split_last_chunk_mut::<TAG_SIZE>()?;
    cipher
        .decrypt_inout_detached(nonce, aad, (&mut *text).into(), &Tag::from(*tag))
        .ok()?;
    Some(text)
}

/// Numbers the chunks of one payload, and seals them in order. Who seals several at once gets a [`SealTicket`] from it.
///
/// It comes with a fresh file key from [`begin`](super::begin) and from nowhere else, cannot be copied, and is used up by the
/// last chunk:
///
/// ```compile_fail,E0599
/// # use sealslot::seal::PayloadSealer;
/// fn copied(sealer: &PayloadSealer) -> PayloadSealer {
///     sealer.clone()
/// }
/// ```
///
/// ```compile_fail,E0382
/// # use sealslot::seal::{ChunkBuffer, PayloadSealer};
/// fn used_again(sealer: PayloadSealer) {
///     let _ = ChunkBuffer::new(1).seal_last(sealer);
///     let _ = ChunkBuffer::new(1).seal_last(sealer);
/// }
/// ```
pub struct PayloadSealer {
    cipher: ChaCha20Poly1305,
    next: u64,
    #[cfg(feature = "audit-seals")]
    audit: super::audit::Audit,
}

impl PayloadSealer {
    pub(super) fn new(file_key: &FileKey, nonce: &[u8; NONCE_SIZE]) -> Self {
        Self::starting_at(file_key, nonce, 0)
    }

    /// Private: a sealer that starts anywhere but at 0 would repeat nonces.
    fn starting_at(file_key: &FileKey, nonce: &[u8; NONCE_SIZE], next: u64) -> Self {
        Self {
            cipher: payload_cipher(file_key, nonce),
            next,
            #[cfg(feature = "audit-seals")]
            audit: super::audit::Audit::new(&file_key.payload_key(nonce)),
        }
    }

    /// Gives the next chunks their numbers: the first of so many, which are never given again.
    fn take_numbers(&mut self, count: u64) -> Result<u64, SealError> {
        let first = self.next;
        self.next = first.checked_add(count).ok_or(SealError::TooLong)?;
        Ok(first)
    }

    /// Seals a full chunk that is not the last one.
    fn seal_chunk(&mut self, chunk: &mut [u8; SEALED_CHUNK_SIZE]) -> Result<(), SealError> {
        let number = self.take_numbers(1)?;
        self.seal(number, false, chunk);
        Ok(())
    }

    /// Seals a full chunk that is not the last one, from one place to another.
    fn seal_chunk_to(
        &mut self,
        text: &[u8; CHUNK_SIZE],
        sealed: &mut [u8; SEALED_CHUNK_SIZE],
    ) -> Result<(), SealError> {
        let nonce = chunk_nonce(self.take_numbers(1)?, false);
        #[cfg(feature = "audit-seals")]
        self.audit.record(&nonce, text);
        seal_between(&self.cipher, &nonce, text, sealed);
        Ok(())
    }

    /// Seals the last chunk, and with it the payload. It is empty only where the whole payload is.
    fn seal_last(self, chunk: &mut [u8]) {
        self.seal(self.next, true, chunk);
    }

    fn seal(&self, number: u64, last: bool, chunk: &mut [u8]) {
        #[cfg(feature = "audit-seals")]
        self.audit
            .record(&chunk_nonce(number, last), &chunk[..chunk.len() - TAG_SIZE]);
        seal_in_place(&self.cipher, &chunk_nonce(number, last), NO_AAD, chunk);
    }
}

/// Makes a chunk from the middle of a payload that was never finished its last one, in place (DESIGN.md section 4.3).
///
/// Only what opens as chunk `number` under this key is sealed, and with the plaintext that it opened to: under the nonce of
/// the last chunk `number`, no other plaintext can ever be sealed, however often this is done. A chunk that does not open
/// stays as it was.
pub fn reseal_as_last(
    file_key: &FileKey,
    nonce: &[u8; NONCE_SIZE],
    number: u64,
    chunk: &mut [u8; SEALED_CHUNK_SIZE],
) -> Result<(), PayloadError> {
    PayloadOpener::new(file_key, nonce).open(number, false, chunk)?;
    PayloadSealer::starting_at(file_key, nonce, number).seal_last(chunk);
    Ok(())
}

/// Opens single chunks of a payload in any order.
pub struct PayloadOpener(ChaCha20Poly1305);

impl PayloadOpener {
    /// For the payload behind a header that was found genuine with this file key.
    pub fn new(file_key: &FileKey, nonce: &[u8; NONCE_SIZE]) -> Self {
        Self(payload_cipher(file_key, nonce))
    }

    /// Opens a chunk in place and gives its plaintext. A chunk that is not genuine stays sealed.
    ///
    /// Whoever opens chunks out of order must open the last one as the last one before relying on the payload's
    /// length (specification, "Payload").
    pub fn open<'a>(
        &self,
        number: u64,
        last: bool,
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], PayloadError> {
        let size = sealed
            .len()
            .checked_sub(TAG_SIZE)
            .ok_or(PayloadError::Truncated)?;
        if size > CHUNK_SIZE || (size < CHUNK_SIZE && !last) {
            return Err(PayloadError::Length);
        }
        if size == 0 && number > 0 {
            return Err(PayloadError::EmptyLastChunk);
        }
        open_in_place(&self.0, &chunk_nonce(number, last), NO_AAD, sealed)
            .ok_or(PayloadError::Chunk(number))
    }
}

/// Opens a payload from start to end.
///
/// The plaintext of each chunk is genuine when it is given out, but only [`StreamOpener::finish`] tells that the
/// payload is whole.
pub struct StreamOpener {
    opener: PayloadOpener,
    next: u64,
    ended: bool,
}

impl StreamOpener {
    /// For the payload behind a header that was found genuine with this file key.
    pub fn new(file_key: &FileKey, nonce: &[u8; NONCE_SIZE]) -> Self {
        Self {
            opener: PayloadOpener::new(file_key, nonce),
            next: 0,
            ended: false,
        }
    }

    /// Opens the next chunk in place. Give full sealed chunks; a shorter one only where the payload ends with it, and
    /// say so by `at_end`.
    pub fn open_next<'a>(
        &mut self,
        sealed: &'a mut [u8],
        at_end: bool,
    ) -> Result<&'a mut [u8], PayloadError> {
        if self.ended {
            return Err(PayloadError::Trailing);
        }
        let number = self.next;
        // A full chunk at the end that was not sealed as the last one, or one sealed as the last one with something
        // behind it, is genuine all the same: the error comes with `finish`, or with the chunk that follows.
        let full = sealed.len() == SEALED_CHUNK_SIZE;
        let last = match self.opener.open(number, at_end, sealed).map(|_| ()) {
            Ok(()) => at_end,
            Err(_) if full && self.opener.open(number, !at_end, sealed).is_ok() => !at_end,
            Err(error) => return Err(error),
        };
        self.next = number.checked_add(1).ok_or(PayloadError::Length)?;
        self.ended = last;
        let size = sealed.len() - TAG_SIZE;
        Ok(&mut sealed[..size])
    }

    /// Says whether the last chunk was reached.
    pub fn finish(self) -> Result<(), PayloadError> {
        if self.ended {
            Ok(())
        } else {
            Err(PayloadError::Truncated)
        }
    }
}

/// How a payload of a given length divides into chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLayout {
    sealed: u64,
}

impl PayloadLayout {
    /// For a payload of `sealed` bytes, counted behind the nonce.
    pub fn of_sealed(sealed: u64) -> Result<Self, PayloadError> {
        let rest = sealed % SEALED_CHUNK_SIZE as u64;
        let lone = sealed < SEALED_CHUNK_SIZE as u64;
        if (rest > 0 && rest < TAG_SIZE as u64) || (rest == TAG_SIZE as u64 && !lone) || sealed == 0
        {
            return Err(PayloadError::Length);
        }
        Ok(Self { sealed })
    }

    /// Bytes of plaintext in the payload.
    pub fn plaintext_size(self) -> u64 {
        self.sealed - self.chunks() * TAG_SIZE as u64
    }

    /// Number of chunks, at least one.
    pub fn chunks(self) -> u64 {
        self.sealed.div_ceil(SEALED_CHUNK_SIZE as u64)
    }

    /// Where the sealed chunk with this number lies, counted from behind the nonce.
    pub fn sealed_range(self, chunk: u64) -> std::ops::Range<u64> {
        let start = chunk * SEALED_CHUNK_SIZE as u64;
        start
            ..start
                .saturating_add(SEALED_CHUNK_SIZE as u64)
                .min(self.sealed)
    }
}

/// Runs Wycheproof's vectors through the code that seals and opens chunks, with the vector's key, nonce and associated
/// data in place of age's, and gives their number.
#[cfg(test)]
pub(super) fn wycheproof(
    suite: &serde_json::Value,
    hex: fn(&serde_json::Value) -> Vec<u8>,
) -> usize {
    let groups = suite["testGroups"].as_array().expect("groups");
    let tests = groups
        .iter()
        .flat_map(|group| group["tests"].as_array().expect("tests"));
    let mut run = 0;
    for test in tests {
        let valid = test["result"] == "valid";
        run += 1;
        let Ok(nonce) = Nonce::try_from(hex(&test["iv"]).as_slice()) else {
            assert!(!valid, "{}", test["tcId"]);
            continue;
        };
        let cipher = ChaCha20Poly1305::new_from_slice(&hex(&test["key"])).expect("a key");
        let (aad, text) = (hex(&test["aad"]), hex(&test["msg"]));
        let sealed = [hex(&test["ct"]), hex(&test["tag"])].concat();
        let mut chunk = sealed.clone();
        let opened = open_in_place(&cipher, &nonce, &aad, &mut chunk).map(|text| text.to_vec());
        assert_eq!(opened, valid.then(|| text.clone()), "{}", test["tcId"]);
        if valid {
            let mut chunk = [text, vec![0; TAG_SIZE]].concat();
            seal_in_place(&cipher, &nonce, &aad, &mut chunk);
            assert_eq!(chunk, sealed, "{}", test["tcId"]);
        }
    }
    run
}
