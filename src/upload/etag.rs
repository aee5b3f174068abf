//! Entity tags of sealed files (RFC 9110, section 8.8.3): they are strong, and change when the bytes do.

use super::manifest::Record;
use super::open::{MAX_META_SIZE, ReadError, read_record};
use super::rewrap::meta_etag;
use crate::store::{ReadAt, SealedFile, SealedUpload, StoreError, UploadId};

/// The tag of a segment, in quotes: its checksum is in the record. `None`: the record does not name it.
fn segment_etag(id: &UploadId, segment: SealedFile, record: &Record) -> Option<String> {
    let name = segment.to_string();
    let entry = record.files.iter().find(|entry| entry.name == name)?;
    // The record is not sealed: it may hold anything.
    let checksum = u64::from_str_radix(&entry.crc64nvme, 16).ok()?;
    Some(format!("\"{id}.{name}.{checksum:016x}\""))
}

/// A sealed file as it is stored.
pub struct TaggedFile {
    /// Its bytes.
    pub file: Box<dyn ReadAt>,
    /// Its strong entity tag, in quotes. A segment has none where the record is damaged or gone: it can still be fetched.
    pub etag: Option<String>,
}

impl TaggedFile {
    /// Opens one of the files of an upload. Blocks.
    ///
    /// `meta.age` is read whole: its tag is that of these very bytes, also where it is replaced meanwhile.
    pub(super) fn open(
        upload: &dyn SealedUpload,
        id: &UploadId,
        name: SealedFile,
    ) -> Result<Self, StoreError> {
        let file = upload.open(name)?;
        if name != SealedFile::Meta {
            let etag = match upload
                .open(SealedFile::Meta)
                .map(|meta| read_record(&*meta))
            {
                Ok(Ok(record)) => segment_etag(id, name, &record),
                Ok(Err(ReadError::Store(error))) => return Err(error),
                Ok(Err(_)) | Err(StoreError::NotFound) => None,
                Err(error) => return Err(error),
            };
            return Ok(Self { file, etag });
        }
        // A longer one is none that opens.
        let Some(size) = usize::try_from(file.len())
            .ok()
            .filter(|_| file.len() <= MAX_META_SIZE)
        else {
            return Ok(Self { file, etag: None });
        };
        let mut meta = vec![0; size];
        let read = file.read_at(&mut meta, 0)?;
        meta.truncate(read);
        Ok(Self {
            etag: Some(meta_etag(id, &meta)),
            file: Box::new(InMemory(meta)),
        })
    }
}

struct InMemory(Vec<u8>);

impl ReadAt for InMemory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let size = buf.len().min(self.0.len() - start);
        buf[..size].copy_from_slice(&self.0[start..start + size]);
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::{FileEntry, VERSION};

    #[test]
    fn a_segment_is_named_by_its_checksum_and_only_by_one() {
        let id = UploadId::generate(std::time::SystemTime::now());
        let of = |checksum: &str| {
            let record = Record {
                v: VERSION,
                id,
                time: std::time::SystemTime::UNIX_EPOCH,
                link: None,
                expires: None,
                files: vec![FileEntry {
                    name: "0000.age".to_owned(),
                    size: 200,
                    crc64nvme: checksum.to_owned(),
                }],
            };
            [0, 1].map(|number| segment_etag(&id, SealedFile::Segment(number), &record))
        };
        let tag = format!("\"{id}.0000.age.0123456789abcdef\"");
        assert_eq!(of("0123456789abcdef"), [Some(tag), None]);
        for damaged in ["", "x", "\"", "0123456789abcdef01"] {
            assert_eq!(of(damaged), [None, None]);
        }
    }

    #[test]
    fn a_manifest_is_named_by_its_bytes() {
        let id = UploadId::generate(std::time::SystemTime::now());
        let tag = meta_etag(&id, b"abc");
        let digest = "ba7816bf8f01cfea414140de5dae2223";
        assert_eq!(tag, format!("\"{id}.meta.age.{digest}\""));
        assert_ne!(tag, meta_etag(&id, b"abd"));
        assert_ne!(
            tag,
            meta_etag(&UploadId::generate(std::time::SystemTime::now()), b"abc")
        );
    }
}
