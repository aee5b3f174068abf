//! What is kept of an upload between its requests: a head, and entries behind each other, all of it sealed with the secret
//! in the upload's URL. `FORMAT.md` does not describe it: nobody but the server that wrote it reads it.

use std::time::SystemTime;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::SessionError;
use super::state::State;
use super::url::{SEALED_OVERHEAD, UploadUrl};
use crate::grant::{GrantId, What};
use crate::seal::FileKey;
use crate::store::{ENTRY_SIZE, EntryBytes, MAX_SEGMENTS, SegmentName, SessionStore, UploadId};
use crate::upload::account::what;
use crate::upload::digest::{
    Algorithm, DigestState, Digested, ExpectedDigest, bytes_base64, needs_sha512, option_base64,
};
use crate::upload::manifest::{ClientName, Kind, MetadataEntry, file_key_base64, rfc3339};
use crate::upload::segment::SealedSegment;
use crate::upload::terms::Terms;

const VERSION: u32 = 1;
const HEAD_PURPOSE: &[u8] = b"head";
/// Bytes of JSON in an entry, filled up with spaces.
const ENTRY_TEXT: usize = ENTRY_SIZE - SEALED_OVERHEAD;
/// Entries that are read at a time.
const READ_AT_A_TIME: u32 = 256;

/// Stands in the place of the next entry while an upload is removed in a store that several servers share: whoever is about to go on
/// with it finds that place taken.
pub(in crate::upload) const GIVEN_UP: EntryBytes = {
    const TEXT: &[u8] = b"this upload was given up";
    let mut entry = [b' '; ENTRY_SIZE];
    entry.split_at_mut(TEXT.len()).0.copy_from_slice(TEXT);
    entry
};

/// What the host can read of a record without the URL.
#[derive(Serialize, Deserialize)]
pub(super) struct ClearHead {
    v: u32,
    /// SHA-256 of the secret.
    #[serde(with = "bytes_base64")]
    secret: Vec<u8>,
    /// When the upload expires, whether it is finished or not.
    #[serde(with = "rfc3339")]
    pub(super) expires: SystemTime,
    /// The link that it comes through, to be given back what was reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<GrantId>,
    /// Whether it is made of parts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    made_of_parts: bool,
    #[serde(with = "bytes_base64")]
    sealed: Vec<u8>,
}

/// What part an upload plays in a concatenation (tus, "Concatenation").
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// None: it is an upload by itself.
    Whole,
    /// A part, which is never published by itself.
    Partial,
    /// Made of parts: what the client said of which, as it said it.
    Final(String),
}

impl Role {
    /// Whether both name the same parts in the same order, however their URLs are spelled.
    pub(super) fn has_parts_of(&self, other: &Self) -> bool {
        fn parts(text: &str) -> impl Iterator<Item = &str> {
            let urls = text.split([' ', ';']).filter(|url| !url.is_empty());
            urls.filter_map(|url| url.split(['?', '#']).next()?.rsplit('/').next())
        }
        match (self, other) {
            (Self::Final(own), Self::Final(other)) => parts(own).eq(parts(other)),
            _ => false,
        }
    }
}

/// What is said of an upload that is to come in several requests. Without `Debug`: it holds a name.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewSession {
    /// The submission that it joins; `None` for an upload by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<UploadId>,
    /// What it is.
    #[serde(default)]
    pub kind: Kind,
    /// The name that the client gave.
    #[serde(default, with = "option_name", skip_serializing_if = "Option::is_none")]
    pub name: Option<ClientName>,
    /// The media type that the client gave.
    pub media_type: Option<String>,
    /// Bytes in all, where they are known.
    pub length: Option<u64>,
    /// Whether the upload is complete as soon as it has its length (tus), or only when the client says so (the draft).
    pub ends_at_length: bool,
    /// What else the client said about it, as it said it, to be told again.
    pub metadata: Option<String>,
    /// The same, for the manifest.
    pub metadata_entries: Vec<MetadataEntry>,
    /// What part it plays in a concatenation.
    pub role: Role,
    /// Digests that the whole must have.
    pub repr_digests: Vec<ExpectedDigest>,
    /// The digest that the client wants to be told.
    pub wants: Option<Algorithm>,
    /// On what terms it is taken.
    #[serde(default)]
    pub terms: Terms,
}

impl NewSession {
    /// The submission that the upload belongs to.
    pub(super) fn submission_of(&self, url: &UploadUrl) -> UploadId {
        self.submission.unwrap_or(*url.id())
    }

    /// What it reserves when it is created, where it comes through a link.
    pub(super) fn reserves(&self) -> Option<What> {
        match self.role {
            Role::Whole => Some(what(self.kind)),
            Role::Partial => Some(What::Part),
            Role::Final(_) => None,
        }
    }

    /// Whether SHA-512 runs along.
    pub(super) fn with_sha512(&self) -> bool {
        needs_sha512(&self.repr_digests, self.wants)
    }
}

impl ClearHead {
    pub(super) fn seal(
        url: &UploadUrl,
        head: &NewSession,
        expires: SystemTime,
    ) -> Result<Vec<u8>, SessionError> {
        // Large enough at once: growing would leave names behind.
        let metadata = head.metadata.as_ref().map_or(0, String::len);
        let recipients = head.terms.recipients.iter().flatten();
        let recipients: usize = recipients.map(|line| line.len() * 6 + 8).sum();
        let size = 128 * 1024 + 16 * metadata + recipients;
        let mut text = Zeroizing::new(Vec::with_capacity(size));
        serde_json::to_writer(&mut *text, head).expect("a head is plain data");
        let clear = Self {
            v: VERSION,
            secret: url.secret_hash().to_vec(),
            expires,
            link: head.terms.link,
            made_of_parts: matches!(head.role, Role::Final(_)),
            sealed: url.seal(HEAD_PURPOSE, &text)?,
        };
        Ok(serde_json::to_vec(&clear).expect("a head is plain data"))
    }

    /// `None`: it was not written to its end, or another version wrote it.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head: Self = serde_json::from_slice(bytes).ok()?;
        (head.v == VERSION).then_some(head)
    }

    /// Whether this is the secret that the upload was created with, in constant time.
    pub(super) fn is_of(&self, url: &UploadUrl) -> bool {
        self.secret.ct_eq(&url.secret_hash()).into()
    }

    pub(super) fn open(&self, url: &UploadUrl) -> Result<NewSession, SessionError> {
        let text = url
            .open(HEAD_PURPOSE, &self.sealed)
            .ok_or(SessionError::Lost)?;
        serde_json::from_slice(&text).map_err(|_| SessionError::Lost)
    }
}

/// Whether this is the head of an upload made of parts. One that is not published when nobody works on it never will be.
pub(in crate::upload) fn is_unmade(head: &[u8]) -> bool {
    ClearHead::parse(head).is_some_and(|head| head.made_of_parts)
}

/// Whether a head is less than any version writes. Nobody was told the URL of an upload without entries whose head is.
pub(in crate::upload) fn is_cut_short(head: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(head).is_err()
}

/// One step of an upload, with where it stands after it: the last entry tells all that a request needs to go on.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    /// Bytes in segments that are closed.
    pub(super) offset: u64,
    /// How many segments are closed.
    pub(super) segments: u32,
    /// Of the whole upload, where it is known.
    pub(super) length: Option<u64>,
    /// Bytes of the last closed segment's file.
    pub(super) last_sealed_size: u64,
    /// Its name; `None` where it is named by its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_name: Option<SegmentName>,
    /// After all these bytes, and in an open segment after those too. None where nothing follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digests: Option<DigestState>,
    pub(super) event: Event,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    /// The length became known.
    Length,
    /// A segment has begun, or has come so far.
    Open(OpenSegment),
    /// A segment has come to its end.
    Closed(SealedSegment),
    /// Everything is there: what follows is publishing.
    Finishing(Finish),
    /// It is published.
    Finished(Finish),
    /// A part, in a store that several servers share: this upload is about to be made of it, and of the parts named beside it.
    Joining(Final),
    /// A part: it went into this upload.
    Concatenated(Final),
}

/// A segment that may have no end yet.
#[derive(Serialize, Deserialize)]
pub(super) struct OpenSegment {
    #[serde(with = "file_key_base64")]
    pub(super) key: FileKey,
    /// `None` where it is named by its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<SegmentName>,
    /// Bytes of plaintext that are durable, in whole chunks.
    pub(super) size: u64,
    /// The same sealed, with the header.
    pub(super) sealed_size: u64,
    /// The checksum's state in front of the last of these chunks.
    pub(super) crc_before_last: u64,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Finish {
    pub(super) digested: Digested,
    #[serde(with = "rfc3339")]
    pub(super) time: SystemTime,
}

/// Where a part went.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Final {
    /// The last segment of the final upload's URL.
    pub(super) url: String,
}

impl Drop for Final {
    fn drop(&mut self) {
        self.url.zeroize();
    }
}

impl Entry {
    /// Whether none comes behind it.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.event, Event::Finished(_) | Event::Concatenated(_))
    }

    fn purpose(number: u32) -> [u8; 9] {
        let mut purpose = *b"entry....";
        purpose[5..].copy_from_slice(&number.to_be_bytes());
        purpose
    }

    pub(super) fn seal(&self, url: &UploadUrl, number: u32) -> Result<EntryBytes, SessionError> {
        let mut text = Zeroizing::new([b' '; ENTRY_TEXT]);
        serde_json::to_writer(&mut text[..], self).expect("the longest entry has room");
        let sealed = url.seal(&Self::purpose(number), &*text)?;
        let mut entry = [0; ENTRY_SIZE];
        entry.copy_from_slice(&sealed);
        Ok(entry)
    }

    /// `None`: it was not written to its end, or it is damaged.
    pub(super) fn open(url: &UploadUrl, number: u32, entry: &EntryBytes) -> Option<Self> {
        let text = url.open(&Self::purpose(number), entry)?;
        serde_json::from_slice(&text).ok()
    }
}

/// Reads the last entry, with its number. What an interruption left behind it was never acknowledged.
pub(super) fn last_entry(
    store: &dyn SessionStore,
    url: &UploadUrl,
) -> Result<Option<(u32, Entry)>, SessionError> {
    let (first, entries) = store.last_entries(url.id(), 2)?;
    for (number, bytes) in (first..u32::MAX).zip(&entries).rev() {
        match Entry::open(url, number, bytes) {
            Some(entry) => return Ok(Some((number, entry))),
            None if *bytes == GIVEN_UP => return Err(SessionError::Unknown),
            None if is_torn(bytes) => {}
            // It was durable once, and somebody may have been told.
            None => return Err(SessionError::Lost),
        }
    }
    // Each entry is durable before the next one is begun: only one, the first one here, can have been interrupted.
    if entries.len() <= 1 {
        Ok(None)
    } else {
        Err(SessionError::Lost)
    }
}

/// Whether an entry did not come to the disk whole: a power cut leaves zeros in place of what was not written, by the sector.
fn is_torn(entry: &EntryBytes) -> bool {
    const SECTOR: usize = 512;
    entry
        .chunks(SECTOR)
        .any(|sector| sector.iter().all(|&byte| byte == 0))
}

/// Reads all segments that were closed, in order.
pub(super) fn closed_segments(
    store: &dyn SessionStore,
    url: &UploadUrl,
    state: &State,
) -> Result<Vec<SealedSegment>, SessionError> {
    let count = state.next;
    // Of the right size at once: growing would leave file keys behind.
    let mut segments = Vec::with_capacity(state.segments as usize);
    for first in (0..count).step_by(READ_AT_A_TIME as usize) {
        let most = READ_AT_A_TIME.min(count - first);
        for (number, bytes) in (first..).zip(&store.entries(url.id(), first, most)?) {
            let entry = Entry::open(url, number, bytes).ok_or(SessionError::Lost)?;
            if let Event::Closed(segment) = entry.event {
                segments.push(segment);
                // The number that the entry counts is the one that the segment has.
                if segments.len() != entry.segments as usize || entry.segments > MAX_SEGMENTS {
                    return Err(SessionError::Lost);
                }
            }
        }
    }
    if segments.len() != state.segments as usize {
        return Err(SessionError::Lost);
    }
    Ok(segments)
}

mod option_name {
    use super::{ClientName, option_base64};
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        name: &Option<ClientName>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        option_base64::serialize(&name.as_ref().map(|name| name.as_bytes().to_vec()), to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<ClientName>, D::Error> {
        Ok(option_base64::deserialize(from)?.map(ClientName::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::digest::Digests;
    use crate::upload::session::state::State;

    fn url() -> UploadUrl {
        UploadUrl::generate(UploadId::generate(SystemTime::now())).unwrap()
    }

    fn entry(event: Event) -> Entry {
        let mut digests = Digests::new(true);
        digests.update(&[0xff; 127]);
        Entry {
            offset: u64::MAX,
            segments: MAX_SEGMENTS,
            length: Some(u64::MAX),
            last_sealed_size: u64::MAX,
            last_name: Some(SegmentName::tagged(9999).unwrap()),
            digests: Some(digests.to_state()),
            event,
        }
    }

    fn key() -> FileKey {
        FileKey::try_from(&[0xff; 16][..]).unwrap()
    }

    #[test]
    fn the_longest_entry_has_room() {
        let digested = Digested {
            sha256: vec![0xff; 32],
            sha512: vec![0xff; 64],
        };
        let finish = Finish {
            digested,
            time: SystemTime::now(),
        };
        let events = [
            Event::Length,
            Event::Open(OpenSegment {
                key: key(),
                name: Some(SegmentName::tagged(9999).unwrap()),
                size: u64::MAX,
                sealed_size: u64::MAX,
                crc_before_last: u64::MAX,
            }),
            Event::Closed(SealedSegment {
                key: key(),
                name: Some(SegmentName::tagged(9999).unwrap()),
                size: u64::MAX,
                sealed_size: u64::MAX,
                crc: u64::MAX,
            }),
            Event::Finishing(finish.clone()),
            Event::Finished(finish),
            Event::Joining(Final {
                url: url().to_segment().to_string(),
            }),
            Event::Concatenated(Final {
                url: url().to_segment().to_string(),
            }),
        ];
        let url = url();
        for event in events {
            let sealed = entry(event).seal(&url, u32::MAX).unwrap();
            let opened = Entry::open(&url, u32::MAX, &sealed).unwrap();
            assert_eq!(opened.offset, u64::MAX);
            assert!(State::after(7, opened).is_ok());
            assert!(Entry::open(&url, 0, &sealed).is_none());
        }
    }

    #[test]
    fn the_same_parts_are_recognised_however_they_are_spelled() {
        let role = |text: &str| Role::Final(text.to_owned());
        let plain = role("final;/uploads/a.b /uploads/c.d");
        for same in [
            "final; a.b  c.d",
            "final;https://host:1/uploads/a.b?x /uploads/c.d#y",
        ] {
            assert!(plain.has_parts_of(&role(same)), "{same}");
        }
        for other in [
            "final;/uploads/c.d /uploads/a.b",
            "final;/uploads/a.b",
            "final;a.b c.d e.f",
        ] {
            assert!(!plain.has_parts_of(&role(other)), "{other}");
        }
        assert!(!plain.has_parts_of(&Role::Partial));
    }

    #[test]
    fn a_head_opens_with_its_url_alone() {
        let (url, other) = (url(), url());
        let head = NewSession {
            submission: Some(*other.id()),
            kind: Kind::Fields,
            name: Some(ClientName::new(*b"a name\xff")),
            media_type: None,
            metadata: None,
            metadata_entries: Vec::new(),
            length: Some(3),
            ends_at_length: true,
            role: Role::Whole,
            repr_digests: Vec::new(),
            wants: None,
            terms: Terms::default(),
        };
        let bytes = ClearHead::seal(&url, &head, SystemTime::now()).unwrap();
        assert!(memchr::memmem::find(&bytes, b"a name").is_none());
        let clear = ClearHead::parse(&bytes).unwrap();
        assert!(clear.is_of(&url) && !clear.is_of(&other));
        let opened = clear.open(&url).unwrap();
        assert!(opened.name == head.name);
        assert_eq!(opened.kind, Kind::Fields);
        assert_eq!(opened.submission_of(&url), *other.id());
        assert!(clear.open(&other).is_err());
        assert!(ClearHead::parse(&bytes[..bytes.len() - 1]).is_none());
    }

    #[test]
    fn a_head_from_before_there_were_submissions_opens() {
        let url = url();
        let text =
            br#"{"name":"YQ==","media_type":null,"length":3,"ends_at_length":true,"metadata":null,
            "metadata_entries":[],"role":"whole","repr_digests":[],"wants":null}"#;
        let clear = ClearHead {
            v: VERSION,
            secret: url.secret_hash().to_vec(),
            expires: SystemTime::now(),
            link: None,
            made_of_parts: false,
            sealed: url.seal(HEAD_PURPOSE, text).unwrap(),
        };
        let head = clear.open(&url).unwrap();
        assert_eq!(head.submission_of(&url), *url.id());
        assert_eq!(head.kind, Kind::File);
        assert_eq!(head.length, Some(3));
    }
}
