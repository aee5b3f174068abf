//! The manifest, sealed in `meta.age`, and the record, in the clear in one of its stanzas (`FORMAT.md`).

use std::time::SystemTime;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::segment::SealedSegment;
use crate::seal::{self, FileKey, Header, Recipient, SealError, Stanza};
use crate::store::{SealedFile, UploadId};

/// The version of the manifest and of the record that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The type of the stanza that holds the record.
pub const RECORD_STANZA: &str = "sealslot/record";

/// The media type of a form's text fields.
pub const FIELDS_TYPE: &str = "application/json";

/// A media type that says: the sender sealed this already, `open` has two layers to open.
pub const CLIENT_SEALED: &str = "application/age";

/// A name as a client gave it: any bytes, never a path. Without `Debug`, so that it reaches no log.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientName(Vec<u8>);

impl ClientName {
    /// Takes the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes as they were given.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For showing to the one who sent or received it; what is not UTF-8 is replaced.
    pub fn to_text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// What an upload is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A file.
    #[default]
    File,
    /// The text fields of a form, as JSON.
    Fields,
}

/// One segment of the payload, as the manifest binds it.
#[derive(Serialize, Deserialize)]
pub struct SegmentEntry {
    /// Bytes of plaintext.
    pub size: u64,
    /// The segment's file key. It opens this segment only, and no other segment opens with it.
    #[serde(with = "file_key_base64")]
    pub key: FileKey,
}

/// Everything about an upload that only the holder of a private key may know.
#[derive(Serialize, Deserialize)]
pub struct Manifest {
    /// [`VERSION`].
    pub v: u32,
    /// The upload's id, which is also its folder's name.
    pub id: UploadId,
    /// The id that all uploads of one form share, and those that joined one another. For an upload by itself, its own.
    pub submission: UploadId,
    /// What it is.
    pub kind: Kind,
    /// The name that the client gave, as text.
    pub name: Option<String>,
    /// The same name's bytes in base64, only where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_bytes: Option<String>,
    /// The media type that the client gave.
    #[serde(rename = "type")]
    pub media_type: Option<String>,
    /// Bytes of plaintext in all segments.
    pub size: u64,
    /// SHA-256 over the plaintext, in lowercase hex.
    pub sha256: String,
    /// When the last byte had arrived.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    /// What else the client said about it, where it did (tus `Upload-Metadata`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<MetadataEntry>,
    /// The segments, in order.
    pub segments: Vec<SegmentEntry>,
}

/// One key and value that a client gave with an upload. Without `Debug`, as [`ClientName`].
#[derive(Clone, Serialize, Deserialize)]
pub struct MetadataEntry {
    /// The key.
    pub key: String,
    /// The value, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value's bytes in base64, only where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

impl MetadataEntry {
    /// Takes the value's bytes as they are.
    pub fn new(key: &str, value: &[u8]) -> Self {
        let text = std::str::from_utf8(value).ok().map(str::to_owned);
        Self {
            key: key.to_owned(),
            base64: text.is_none().then(|| BASE64.encode(value)),
            value: text,
        }
    }
}

/// An upload that arrived whole: what its manifest and its record are made of.
pub(super) struct WholeUpload<'a> {
    pub(super) id: UploadId,
    pub(super) submission: UploadId,
    pub(super) kind: Kind,
    /// The name's bytes.
    pub(super) name: Option<&'a [u8]>,
    pub(super) media_type: Option<&'a str>,
    pub(super) metadata: Vec<MetadataEntry>,
    pub(super) sha256: &'a [u8],
    pub(super) time: SystemTime,
    /// The link that it came through, by its public id.
    pub(super) link: Option<String>,
    /// When it is to be deleted.
    pub(super) expires: Option<SystemTime>,
    /// In order.
    pub(super) segments: Vec<&'a SealedSegment>,
}

impl WholeUpload<'_> {
    /// Makes the manifest, and seals it with its record as the bytes of `meta.age`.
    pub(super) fn seal_meta(
        self,
        recipients: &[Recipient],
    ) -> Result<(Manifest, Vec<u8>), SealError> {
        let file = |(number, segment): (u32, &&SealedSegment)| FileEntry {
            name: SealedFile::Segment(number).to_string(),
            size: segment.sealed_size,
            crc64nvme: format!("{:016x}", segment.crc),
        };
        let record = Record {
            v: VERSION,
            id: self.id,
            time: self.time,
            link: self.link.clone(),
            expires: self.expires.map(to_rfc3339),
            files: (0..).zip(&self.segments).map(file).collect(),
        };
        let manifest = self.into_manifest();
        let meta = seal_meta(recipients, &manifest, &record)?;
        Ok((manifest, meta))
    }

    /// Makes the manifest alone.
    pub(super) fn into_manifest(self) -> Manifest {
        let entry = |segment: &&SealedSegment| SegmentEntry {
            size: segment.size,
            key: segment.key.duplicate(),
        };
        let mut manifest = Manifest {
            v: VERSION,
            id: self.id,
            submission: self.submission,
            kind: self.kind,
            name: None,
            name_bytes: None,
            media_type: self.media_type.map(str::to_owned),
            size: self.segments.iter().map(|segment| segment.size).sum(),
            sha256: HEXLOWER.encode(self.sha256),
            time: self.time,
            metadata: self.metadata,
            segments: self.segments.iter().map(entry).collect(),
        };
        manifest.set_name(self.name.map(ClientName::new).as_ref());
        manifest
    }
}

impl Manifest {
    /// Writes a client's name into the fields for it.
    pub fn set_name(&mut self, name: Option<&ClientName>) {
        self.name = name.map(ClientName::to_text);
        self.name_bytes = name
            .filter(|name| std::str::from_utf8(name.as_bytes()).is_err())
            .map(|name| BASE64.encode(name.as_bytes()));
    }

    /// Whether the payload is itself an age file that the sender sealed.
    pub fn is_client_sealed(&self) -> bool {
        self.media_type.as_deref().is_some_and(is_client_sealed)
    }

    /// Whether what the manifest says of itself fits together.
    pub fn is_consistent(&self) -> bool {
        let sizes = self
            .segments
            .iter()
            .try_fold(0u64, |sum, segment| sum.checked_add(segment.size));
        let digest = HEXLOWER.decode(self.sha256.as_bytes());
        self.v == VERSION
            && sizes == Some(self.size)
            && self.segments.iter().all(|segment| segment.size > 0)
            && digest.is_ok_and(|digest| digest.len() == 32)
    }
}

/// A media type without its parameters.
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a media type, parameters aside, is that of an age file.
pub fn is_client_sealed(media_type: &str) -> bool {
    essence(media_type).eq_ignore_ascii_case(CLIENT_SEALED)
}

/// One sealed file, as the record lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// `0000.age` and so on.
    pub name: String,
    /// Sealed bytes.
    pub size: u64,
    /// CRC-64/NVME over the sealed bytes, 16 digits of lowercase hex. It finds damage; against intent there is the
    /// manifest.
    pub crc64nvme: String,
}

/// What the host must know of an upload without a key. Visible to whoever has the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub v: u32,
    /// The upload's id.
    pub id: UploadId,
    /// When the last byte had arrived.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    /// The link that it came through, by its public id.
    pub link: Option<String>,
    /// When it is to be deleted, in the form of `time`.
    pub expires: Option<String>,
    /// The sealed files beside `meta.age`.
    pub files: Vec<FileEntry>,
}

impl Record {
    /// Finds the record in the header of a `meta.age`. `None`: there is none, or it is not one.
    pub fn in_header(header: &Header) -> Option<Self> {
        let stanza = header
            .stanzas()
            .iter()
            .find(|stanza| stanza.args == [RECORD_STANZA])?;
        let record: Self = serde_json::from_slice(&stanza.body).ok()?;
        (record.v == VERSION).then_some(record)
    }

    fn to_stanza(&self) -> Stanza {
        Stanza {
            args: vec![RECORD_STANZA.to_owned()],
            body: serde_json::to_vec(self).expect("a record is plain data"),
        }
    }
}

/// Seals a manifest, with its record beside it, as the bytes of `meta.age`.
fn seal_meta(
    recipients: &[Recipient],
    manifest: &Manifest,
    record: &Record,
) -> Result<Vec<u8>, SealError> {
    // Of the right size at once, with up to six bytes for an escaped one: growing would leave file keys behind.
    let texts = [&manifest.name, &manifest.name_bytes, &manifest.media_type];
    let texts: usize = texts.into_iter().flatten().map(|text| text.len() * 6).sum();
    let metadata = |entry: &MetadataEntry| {
        let values = [&entry.value, &entry.base64].into_iter().flatten();
        64 + entry.key.len() * 6 + values.map(|text| text.len() * 6).sum::<usize>()
    };
    let texts = texts + manifest.metadata.iter().map(metadata).sum::<usize>();
    let size = 1024 + texts + manifest.segments.len() * 80;
    let mut plaintext = Zeroizing::new(Vec::with_capacity(size));
    serde_json::to_writer(&mut *plaintext, manifest).expect("a manifest is plain data");
    seal::seal(recipients, &[record.to_stanza()], &plaintext)
}

/// A time in the form of RFC 3339, UTC, to the second.
pub fn to_rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

pub(super) mod rfc3339 {
    use super::{Deserialize, Deserializer, Serializer, SystemTime, to_rfc3339};
    use serde::de::Error;

    pub(in crate::upload) fn serialize<S: Serializer>(
        time: &SystemTime,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&to_rfc3339(*time))
    }

    pub(in crate::upload) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(|_| D::Error::custom("not an RFC 3339 time in UTC"))
    }
}

pub(super) mod file_key_base64 {
    use super::{BASE64, Deserialize, Deserializer, FileKey, Serializer, Zeroizing};
    use serde::de::Error;

    pub(in crate::upload) fn serialize<S: Serializer>(
        key: &FileKey,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(BASE64.encode(key.expose())))
    }

    pub(in crate::upload) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<FileKey, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let bytes = BASE64.decode(text.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| D::Error::custom("a file key that is not base64"))?;
        FileKey::try_from(bytes.as_slice()).map_err(D::Error::custom)
    }
}
