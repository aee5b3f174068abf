//! Reading an upload back: the manifest with a private key, then the plaintext through the manifest's file keys.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::manifest::{Manifest, Record};
use crate::seal::{
    self, CHUNK_SIZE, Header, HeaderError, Identity, MAX_HEADER_SIZE, NONCE_SIZE, OpenError,
    PayloadError, PayloadLayout, PayloadOpener, SEALED_CHUNK_SIZE,
};
use crate::store::{ReadAt, SealedFile, SealedUpload, StoreError, UploadId};

/// The longest `meta.age` that is read, in bytes.
pub(super) const MAX_META_SIZE: u64 = 16 << 20;
/// Sealed bytes that are read at a time.
const READ_SIZE: usize = 4 * SEALED_CHUNK_SIZE;

/// Why an upload does not open. It says which file is at fault; the cause is its `source`.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store could not read.
    #[error("the upload cannot be read")]
    Store(#[from] StoreError),
    /// A file is damaged, or sealed to other keys.
    #[error("{file} does not open")]
    Open {
        /// Which file.
        file: SealedFile,
        /// Why.
        source: OpenError,
    },
    /// The manifest opens but is not one, or contradicts itself.
    #[error("meta.age holds no manifest that can be read")]
    Manifest,
    /// The manifest is that of another upload.
    #[error("meta.age belongs to another upload: folders were exchanged")]
    Exchanged,
    /// A segment that the manifest lists is not there.
    #[error("{0} is missing")]
    Missing(SealedFile),
    /// A segment is there that the manifest does not list.
    #[error("{0} does not belong to the upload")]
    Foreign(SealedFile),
    /// A segment is longer or shorter than the manifest says.
    #[error("{0} has not the size that the manifest gives")]
    Size(SealedFile),
    /// The plaintext is not what the manifest says.
    #[error("the content has not the digest that the manifest gives")]
    Digest,
    /// There is no record in the header, or none that can be read.
    #[error("meta.age holds no record that can be read")]
    Record,
}

impl ReadError {
    pub(super) fn open(file: SealedFile) -> impl Fn(OpenError) -> Self {
        move |source| Self::Open { file, source }
    }
}

/// Reads the record, which needs no key, from the header of a `meta.age`. Blocks.
pub fn read_record(meta: &dyn ReadAt) -> Result<Record, ReadError> {
    let (header, _) = read_header(meta, SealedFile::Meta)?;
    Record::in_header(&header).ok_or(ReadError::Record)
}

/// Reads as much of a file as its header takes. Gives the header and its size with the nonce.
pub fn read_header(file: &dyn ReadAt, name: SealedFile) -> Result<(Header, u64), ReadError> {
    let malformed = |error| ReadError::Open {
        file: name,
        source: OpenError::Header(error),
    };
    let mut start = Vec::new();
    let mut wanted = 4096;
    loop {
        let before = start.len();
        start.resize(wanted, 0);
        let size = file.read_at(&mut start[before..], before as u64)?;
        start.truncate(before + size);
        if let Some((header, size)) = Header::parse(&start).map_err(malformed)? {
            return Ok((header, size as u64));
        }
        if start.len() < wanted || wanted > MAX_HEADER_SIZE + NONCE_SIZE {
            return Err(malformed(HeaderError::Truncated));
        }
        wanted *= 4;
    }
}

/// An upload whose manifest was opened and fits its folder.
pub struct OpenUpload {
    manifest: Manifest,
    upload: Box<dyn SealedUpload>,
}

impl OpenUpload {
    /// Opens the manifest with a private key and checks that the folder holds the files it lists, and no others.
    ///
    /// `id`: the id that the upload must have, where the caller knows it. Blocks.
    pub fn open(
        upload: Box<dyn SealedUpload>,
        id: Option<&UploadId>,
        identities: &[Identity],
    ) -> Result<Self, ReadError> {
        let meta = upload.open(SealedFile::Meta).map_err(|error| match error {
            StoreError::NotFound => ReadError::Missing(SealedFile::Meta),
            error => error.into(),
        })?;
        let manifest = open_manifest(&*meta, identities)?;
        if id.is_some_and(|id| *id != manifest.id) {
            return Err(ReadError::Exchanged);
        }
        let files = upload.files()?;
        let listed = u32::try_from(manifest.segments.len()).map_err(|_| ReadError::Manifest)?;
        for number in 0..listed {
            let segment = SealedFile::Segment(number);
            if !files.contains(&segment) {
                return Err(ReadError::Missing(segment));
            }
        }
        let is_foreign =
            |file: &&SealedFile| matches!(file, SealedFile::Segment(number) if *number >= listed);
        match files.iter().find(is_foreign) {
            Some(foreign) => Err(ReadError::Foreign(*foreign)),
            None => Ok(Self { manifest, upload }),
        }
    }

    /// What is staged for a manifest that is in memory, to be read back before it is published.
    pub(super) fn staged(manifest: Manifest, upload: Box<dyn SealedUpload>) -> Self {
        Self { manifest, upload }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The plaintext from `range.start` to `range.end`, in bytes, cut to what there is.
    pub fn plaintext(self: &Arc<Self>, range: Range<u64>) -> Plaintext {
        let end = range.end.min(self.manifest.size);
        Plaintext {
            upload: Arc::clone(self),
            range: range.start.min(end)..end,
            segment: None,
            sealed: Zeroizing::new(Vec::new()),
            held: 0..0,
        }
    }

    /// Hands the whole plaintext to `take`, in order, and then checks its digest. Blocks.
    ///
    /// Every piece is genuine, but only `Ok` says that all of it was there. `take`'s own errors end it.
    pub fn copy_to<E: From<ReadError>>(
        self: &Arc<Self>,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut digest = Sha256::new();
        let mut plaintext = self.plaintext(0..self.manifest.size);
        while let Some(piece) = plaintext.next_piece()? {
            digest.update(piece);
            take(piece)?;
        }
        if HEXLOWER.encode(&digest.finalize()) != self.manifest.sha256 {
            return Err(ReadError::Digest.into());
        }
        Ok(())
    }
}

fn open_manifest(meta: &dyn ReadAt, identities: &[Identity]) -> Result<Manifest, ReadError> {
    open_meta(&read_meta(meta)?, identities).map(|(manifest, _)| manifest)
}

/// Reads a whole `meta.age`, cut where it is longer than any may be. Blocks.
pub(super) fn read_meta(meta: &dyn ReadAt) -> Result<Vec<u8>, StoreError> {
    let size = usize::try_from(meta.len().min(MAX_META_SIZE)).unwrap_or(usize::MAX);
    let mut file = vec![0; size];
    let size = meta.read_at(&mut file, 0)?;
    file.truncate(size);
    Ok(file)
}

/// Opens the bytes of a `meta.age`. Gives the manifest, and the text that it stands in.
pub(super) fn open_meta(
    meta: &[u8],
    identities: &[Identity],
) -> Result<(Manifest, Zeroizing<Vec<u8>>), ReadError> {
    let plaintext = seal::open(meta, identities).map_err(ReadError::open(SealedFile::Meta))?;
    let manifest: Manifest = serde_json::from_slice(&plaintext).map_err(|_| ReadError::Manifest)?;
    if manifest.is_consistent() {
        Ok((manifest, plaintext))
    } else {
        Err(ReadError::Manifest)
    }
}

/// One segment, ready to give any of its chunks.
struct Segment {
    name: SealedFile,
    file: Box<dyn ReadAt>,
    opener: PayloadOpener,
    layout: PayloadLayout,
    /// Where its sealed chunks begin in the file.
    payload: u64,
    /// Where its plaintext begins and ends in that of the upload.
    place: Range<u64>,
}

impl Segment {
    fn open(upload: &OpenUpload, number: u32, place: Range<u64>) -> Result<Self, ReadError> {
        let name = SealedFile::Segment(number);
        let file = upload.upload.open(name).map_err(|error| match error {
            StoreError::NotFound => ReadError::Missing(name),
            error => error.into(),
        })?;
        let (header, payload) = read_header(&*file, name)?;
        let key = &upload.manifest.segments[number as usize].key;
        header.verify(key).map_err(ReadError::open(name))?;
        let damaged = |error| ReadError::Open {
            file: name,
            source: OpenError::Payload(error),
        };
        let sealed = file
            .len()
            .checked_sub(payload)
            .ok_or_else(|| damaged(PayloadError::Truncated))?;
        let layout = PayloadLayout::of_sealed(sealed).map_err(damaged)?;
        if layout.plaintext_size() != place.end - place.start {
            return Err(ReadError::Size(name));
        }
        let opener = PayloadOpener::new(key, header.nonce());
        Ok(Self {
            name,
            file,
            opener,
            layout,
            payload,
            place,
        })
    }

    /// Reads sealed chunks from `first` on, as many as fit, and gives their numbers.
    fn read(&self, first: u64, sealed: &mut Vec<u8>) -> Result<Range<u64>, ReadError> {
        let end = (first + (READ_SIZE / SEALED_CHUNK_SIZE) as u64).min(self.layout.chunks());
        let bytes = self.layout.sealed_range(first).start..self.layout.sealed_range(end - 1).end;
        let size = usize::try_from(bytes.end - bytes.start).unwrap_or(READ_SIZE);
        sealed.resize(size, 0);
        if self.file.read_at(sealed, self.payload + bytes.start)? < size {
            return Err(self.damaged(PayloadError::Truncated));
        }
        Ok(first..end)
    }

    fn open_chunk<'a>(&self, number: u64, sealed: &'a mut [u8]) -> Result<&'a mut [u8], ReadError> {
        let last = number + 1 == self.layout.chunks();
        self.opener
            .open(number, last, sealed)
            .map_err(|error| self.damaged(error))
    }

    /// A reader that stops before the end must know that the end is where it seems to be (specification, "Payload").
    fn verify_end(&self, sealed: &mut Vec<u8>) -> Result<(), ReadError> {
        let last = self.layout.chunks() - 1;
        self.read(last, sealed)?;
        self.open_chunk(last, sealed).map(|_| ())
    }

    fn damaged(&self, error: PayloadError) -> ReadError {
        ReadError::Open {
            file: self.name,
            source: OpenError::Payload(error),
        }
    }
}

/// A part of an upload's plaintext, read as it is asked for.
pub struct Plaintext {
    upload: Arc<OpenUpload>,
    /// What is still to be given.
    range: Range<u64>,
    segment: Option<Segment>,
    sealed: Zeroizing<Vec<u8>>,
    /// The numbers of the chunks in `sealed`.
    held: Range<u64>,
}

impl Plaintext {
    /// Bytes that are still to come.
    pub fn remaining(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The next piece, at most a chunk; `None` at the end. Blocks. After an error there is nothing more to get.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, ReadError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let segment = match self.segment.take() {
            Some(segment) if segment.place.contains(&self.range.start) => segment,
            _ => self.enter_segment()?,
        };
        let within = self.range.start - segment.place.start;
        let number = within / CHUNK_SIZE as u64;
        if !self.held.contains(&number) {
            self.held = segment.read(number, &mut self.sealed)?;
        }
        let from = usize::try_from(number - self.held.start).unwrap_or(0) * SEALED_CHUNK_SIZE;
        let to = (from + SEALED_CHUNK_SIZE).min(self.sealed.len());
        let chunk = segment.open_chunk(number, &mut self.sealed[from..to])?;
        self.segment = Some(segment);
        let skip = usize::try_from(within % CHUNK_SIZE as u64).unwrap_or(0);
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let piece = &chunk[skip..chunk.len().min(skip.saturating_add(left))];
        self.range.start += piece.len() as u64;
        Ok(Some(piece))
    }

    /// Opens the segment in which the next byte lies.
    fn enter_segment(&mut self) -> Result<Segment, ReadError> {
        let mut start = 0;
        for (number, entry) in (0..).zip(&self.upload.manifest.segments) {
            let place = start..start + entry.size;
            if place.contains(&self.range.start) {
                let segment = Segment::open(&self.upload, number, place)?;
                if self.range.end < segment.place.end {
                    segment.verify_end(&mut self.sealed)?;
                }
                self.held = 0..0;
                return Ok(segment);
            }
            start = place.end;
        }
        Err(ReadError::Manifest)
    }
}

/// For what reads from a reader: the inner layer of a client-sealed upload.
pub struct PlaintextRead {
    plaintext: Plaintext,
    piece: Zeroizing<Vec<u8>>,
    taken: usize,
}

impl From<Plaintext> for PlaintextRead {
    fn from(plaintext: Plaintext) -> Self {
        Self {
            plaintext,
            piece: Zeroizing::new(Vec::new()),
            taken: 0,
        }
    }
}

impl io::Read for PlaintextRead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            let Some(piece) = self.plaintext.next_piece().map_err(io::Error::other)? else {
                return Ok(0);
            };
            self.piece.clear();
            self.piece.extend_from_slice(piece);
            self.taken = 0;
        }
        let size = into.len().min(self.piece.len() - self.taken);
        into[..size].copy_from_slice(&self.piece[self.taken..self.taken + size]);
        self.taken += size;
        Ok(size)
    }
}
