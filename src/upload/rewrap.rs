//! Sealing an upload to other keys without touching its payload (`FORMAT.md`, "Rewrapping").
//!
//! [`rewrap_headers`] makes the new headers, where the private key is. [`Uploads::rewrap`] puts them in place, where the
//! uploads are, and needs no key: it checks that nothing is changed but whom the files are sealed to, as far as that can be told.

mod checks;
mod checksum;
#[cfg(test)]
mod tests;
use sha2::{Digest, Sha256};

use data_encoding::HEXLOWER;

use super::Uploads;
use super::manifest::{RECORD_STANZA, SegmentEntry};
use super::open::{MAX_META_SIZE, ReadError, open_meta, read_meta};
use crate::seal::{
    self, FileKey, Header, HeaderError, Identity, OpenError, Recipient, SealError, Stanza,
};
use crate::store::{MAX_SEGMENTS, SealedFile, StoreError, UploadId};

use checks::NewRecord;

/// What is to stand in the place of an upload's headers.
pub struct Rewrapped {
    /// The new `meta.age`, whole.
    pub meta: Vec<u8>,
    /// Header and nonce of every segment, in order; `None`: the segments stay as they are.
    pub segments: Option<Vec<Vec<u8>>>,
}

/// Why an upload was not sealed anew. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// The store refused or failed.
    #[error("the upload cannot be read or written")]
    Store(#[from] StoreError),
    /// It does not open, or is damaged where that matters here.
    #[error("the upload cannot be sealed anew")]
    Read(#[from] ReadError),
    /// Sealing failed.
    #[error("the new headers cannot be sealed")]
    Seal(#[from] SealError),
    /// Somebody else was quicker.
    #[error("meta.age is another one by now: fetch it, and make the new headers from that")]
    Changed,
    /// What is to be put in its place does not fit.
    #[error(transparent)]
    Refused(#[from] RewrapRule),
}

/// What new headers must keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RewrapRule {
    /// Not an age header and a nonce, or not that alone.
    #[error("the new start of {0} is not an age header with its nonce")]
    Header(SealedFile),
    /// Nobody could open it, or only with a passphrase.
    #[error("the new header of {0} is for no recipient, or for a passphrase")]
    Recipients(SealedFile),
    /// Not one header for each segment.
    #[error("the upload has {segments} segments, and there are {headers} new headers for them")]
    Count {
        /// How many headers there are.
        headers: usize,
        /// How many there should be.
        segments: usize,
    },
    /// The payload is sealed with another nonce.
    #[error(
        "the new header of {0} has another nonce than the stored one: the payload would not open behind it"
    )]
    Nonce(SealedFile),
    /// What stands behind the header has not the length of the stored manifest, which stays the same.
    #[error(
        "the new meta.age is cut off, longer than 16 MiB, or holds another manifest than the stored one"
    )]
    Meta,
    /// There must be one record, to be compared with the stored one.
    #[error("the new meta.age has not exactly one record")]
    NoRecord,
    /// More than sizes and checksums has changed, or one of these is not what it will be.
    #[error("the record in the new meta.age does not follow from the stored one")]
    Record,
}

impl Rewrapped {
    /// As one piece, as it is sent: the segments' headers, then `meta.age`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut parts: Vec<&[u8]> = Vec::new();
        parts.extend(self.segments.iter().flatten().map(|header| &header[..]));
        parts.push(&self.meta);
        parts.concat()
    }

    /// Takes that apart again. `headers`: how many stand in front of `meta.age`; 0: none, the segments stay.
    pub fn from_bytes(bytes: &[u8], headers: u32) -> Result<Self, RewrapRule> {
        if headers > MAX_SEGMENTS {
            let headers = usize::try_from(headers).unwrap_or(usize::MAX);
            let segments = usize::try_from(MAX_SEGMENTS).unwrap_or(usize::MAX);
            return Err(RewrapRule::Count { headers, segments });
        }
        let mut rest = bytes;
        let mut segments = Vec::new();
        for number in 0..headers {
            let malformed = RewrapRule::Header(SealedFile::Segment(number));
            let (_, size) = Header::parse(rest).ok().flatten().ok_or(malformed)?;
            let (header, behind) = rest.split_at(size);
            segments.push(header.to_vec());
            rest = behind;
        }
        Ok(Self {
            meta: rest.to_vec(),
            segments: (headers > 0).then_some(segments),
        })
    }
}

/// The strong entity tag of a `meta.age` (RFC 9110, section 8.8.3), quotes included: another one whenever its bytes are.
pub fn meta_etag(id: &UploadId, meta: &[u8]) -> String {
    let digest = HEXLOWER.encode(&Sha256::digest(meta));
    format!("\"{id}.{}.{}\"", SealedFile::Meta, &digest[..32])
}

/// Makes the headers of an upload anew, for the keys `to`. Reads no payload.
///
/// `meta` is the whole `meta.age`; `segment_headers` the header and nonce of every segment, in order, where these are to be made
/// anew too. `identities` must open the manifest. `meta.age` gets a fresh file key; the manifest's text stays as it is,
/// byte by byte, and the segments keep their file keys and nonces.
pub fn rewrap_headers(
    meta: &[u8],
    segment_headers: Option<&[Vec<u8>]>,
    id: &UploadId,
    identities: &[Identity],
    to: &[Recipient],
) -> Result<Rewrapped, RewrapError> {
    let (manifest, text) = open_meta(meta, identities)?;
    if manifest.id != *id {
        return Err(ReadError::Exchanged.into());
    }
    let mut record = NewRecord::of_stored(meta)?;
    let segments = match segment_headers {
        Some(old) => Some(rewrap_segments(&mut record, &manifest.segments, old, to)?),
        None => None,
    };
    let stanza = Stanza {
        args: vec![RECORD_STANZA.to_owned()],
        body: record.into_body(),
    };
    let meta = seal::seal_checked(to, &[stanza], &text)?;
    Ok(Rewrapped { meta, segments })
}

fn rewrap_segments(
    record: &mut NewRecord,
    entries: &[SegmentEntry],
    old: &[Vec<u8>],
    to: &[Recipient],
) -> Result<Vec<Vec<u8>>, RewrapError> {
    if old.len() != entries.len() {
        return Err(RewrapRule::Count {
            headers: old.len(),
            segments: entries.len(),
        }
        .into());
    }
    let mut segments = Vec::with_capacity(old.len());
    for (number, (entry, old)) in (0..).zip(entries.iter().zip(old)) {
        let name = SealedFile::Segment(number);
        let header = match Header::parse(old) {
            Ok(Some((header, size))) if size == old.len() => Ok(header),
            Ok(_) => Err(HeaderError::Truncated),
            Err(error) => Err(error),
        };
        let header = header.map_err(|error| ReadError::open(name)(OpenError::Header(error)))?;
        header.verify(&entry.key).map_err(ReadError::open(name))?;
        let new = seal::rewrap(&header, &entry.key, to)?;
        check_start(&new, &header, &entry.key).map_err(ReadError::open(name))?;
        record.replace_header(number, old, &new)?;
        segments.push(new);
    }
    record.check_count(segments.len())?;
    Ok(segments)
}

/// The old header is gone when the new one is in its place: so nothing leaves this machine that its file key does not open.
fn check_start(new: &[u8], old: &Header, key: &FileKey) -> Result<(), OpenError> {
    match Header::parse(new)? {
        Some((header, size)) if size == new.len() && header.nonce() == old.nonce() => {
            header.verify(key)
        }
        _ => Err(HeaderError::Truncated.into()),
    }
}

impl Uploads {
    /// The bytes of an upload's `meta.age`. Blocks.
    pub fn meta(&self, id: &UploadId) -> Result<Vec<u8>, StoreError> {
        self.read(id, |upload| read_meta(&*upload.open(SealedFile::Meta)?))
    }

    /// Puts new headers in the place of an upload's, where its `meta.age` still is the one with this SHA-256. Blocks.
    ///
    /// It needs no key, and so cannot tell whether anybody can open what is new: whoever may do this could delete the upload as
    /// well. [`RewrapRule`] says what is checked. Readers find all of the old or all of the new.
    pub fn rewrap(
        &self,
        id: &UploadId,
        old_meta_sha256: &[u8; 32],
        new: &Rewrapped,
    ) -> Result<(), RewrapError> {
        let _turn = self.turns.take(id);
        self.put_headers(id, old_meta_sha256, new)
            .map_err(|error| match error {
                // Another server was quicker. What was made from the old does not go in the place of what that one put there.
                RewrapError::Store(StoreError::Replaced)
                | RewrapError::Read(ReadError::Store(StoreError::Replaced)) => RewrapError::Changed,
                error => error,
            })
    }

    fn put_headers(
        &self,
        id: &UploadId,
        old_meta_sha256: &[u8; 32],
        new: &Rewrapped,
    ) -> Result<(), RewrapError> {
        let upload = self.store.open(id)?;
        let meta = read_meta(&*upload.open(SealedFile::Meta)?)?;
        if Sha256::digest(&meta)[..] != old_meta_sha256[..] {
            return Err(RewrapError::Changed);
        }
        if new.meta.len() as u64 > MAX_META_SIZE {
            return Err(RewrapRule::Meta.into());
        }
        let mut record = NewRecord::of_stored(&meta)?;
        let headers = match &new.segments {
            Some(segments) => Some(checks::check_segments(&*upload, &mut record, segments)?),
            None => None,
        };
        checks::check_meta(&new.meta, &record)?;
        drop(upload);
        let rewrapped = self.store.rewrap(id, &meta, &new.meta, headers.as_deref());
        // What opened to the old keys is not kept for them.
        self.opened.forget(id);
        Ok(rewrapped?)
    }
}
