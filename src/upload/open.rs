//! Reading an upload back: the manifest with a private key, then the plaintext through the manifest's file keys.

use std::ops::Range;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::manifest::{Manifest, Record};
use super::opened::OpenedManifest;
use super::payload::{self, SeekError};
use super::plaintext::Plaintext;
use crate::seal::{self, Header, Identity, OpenError};
use crate::store::{ReadAt, SealedFile, SealedUpload, StoreError, UploadId};

/// The longest `meta.age` that is read, in bytes.
pub(super) const MAX_META_SIZE: u64 = 16 << 20;

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

    pub(super) fn of(file: SealedFile, error: SeekError) -> Self {
        match error {
            SeekError::Store(error) => error.into(),
            SeekError::Open(source) => Self::Open { file, source },
        }
    }
}

/// Reads the record, which needs no key, from the header of a `meta.age`. Blocks.
pub fn read_record(meta: &dyn ReadAt) -> Result<Record, ReadError> {
    let (header, _) = read_header(meta, SealedFile::Meta)?;
    Record::in_header(&header).ok_or(ReadError::Record)
}

/// Reads as much of a file as its header takes. Gives the header and its size with the nonce.
pub fn read_header(file: &dyn ReadAt, name: SealedFile) -> Result<(Header, u64), ReadError> {
    payload::read_header(file).map_err(|error| ReadError::of(name, error))
}

/// An upload whose manifest was opened and fits its folder.
pub struct OpenUpload {
    opened: Arc<OpenedManifest>,
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
        Self::open_by(upload, id, |meta| {
            open_meta(meta, identities).map(|(manifest, _)| Arc::new(manifest.into()))
        })
    }

    /// The same, with another way from the bytes of `meta.age` to its manifest.
    pub(super) fn open_by(
        upload: Box<dyn SealedUpload>,
        id: Option<&UploadId>,
        open_manifest: impl FnOnce(&[u8]) -> Result<Arc<OpenedManifest>, ReadError>,
    ) -> Result<Self, ReadError> {
        let meta = upload.open(SealedFile::Meta).map_err(|error| match error {
            StoreError::NotFound => ReadError::Missing(SealedFile::Meta),
            error => error.into(),
        })?;
        let opened = open_manifest(&read_meta(&*meta)?)?;
        let manifest = &opened.manifest;
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
            None => Ok(Self { opened, upload }),
        }
    }

    /// What is staged for a manifest that is in memory, to be read back before it is published.
    pub(super) fn staged(manifest: Manifest, upload: Box<dyn SealedUpload>) -> Self {
        Self {
            opened: Arc::new(manifest.into()),
            upload,
        }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.opened.manifest
    }

    /// The manifest, and what was found out about its segments.
    pub(super) fn opened(&self) -> &OpenedManifest {
        &self.opened
    }

    /// One of its files, still sealed. Blocks.
    pub(super) fn sealed(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, ReadError> {
        self.upload.open(file).map_err(|error| match error {
            StoreError::NotFound => ReadError::Missing(file),
            error => error.into(),
        })
    }

    /// The plaintext from `range.start` to `range.end`, in bytes, cut to what there is.
    pub fn plaintext(self: &Arc<Self>, range: Range<u64>) -> Plaintext {
        Plaintext::new(Arc::clone(self), range)
    }

    /// Hands the whole plaintext to `take`, in order, and then checks its digest. Blocks.
    ///
    /// Every piece is genuine, but only `Ok` says that all of it was there. `take`'s own errors end it.
    pub fn copy_to<E: From<ReadError>>(
        self: &Arc<Self>,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut digest = Sha256::new();
        let mut plaintext = self.plaintext(0..self.manifest().size);
        while let Some(piece) = plaintext.next_piece()? {
            digest.update(piece);
            take(piece)?;
        }
        if HEXLOWER.encode(&digest.finalize()) != self.manifest().sha256 {
            return Err(ReadError::Digest.into());
        }
        Ok(())
    }
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
