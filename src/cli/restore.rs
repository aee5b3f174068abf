//! From an opened upload to a file under the name that its sender gave: what `open` and `pull` do alike.

use std::io::{self, Read, Write};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::restored_path::{RestoredPath, restored_path};
use super::{Exit, Failure};
use crate::seal::{Identity, OpenError};
use crate::upload::{
    AgeFileError, AgeReader, Kind, Manifest, OpenUpload, PlaintextRead, ReadError,
};

/// Why the content of an upload did not come out.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    /// The upload does not open, or could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What the sender had sealed does not open.
    #[error("the inner layer, sealed by the sender, does not open with this identity")]
    Inner(#[source] OpenError),
    /// There is no place for it.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Read(error) => error.into(),
            RestoreError::Inner(error) => Self::from_error(Exit::Data, &error).about(
                "the inner layer, sealed by the sender, does not open with this identity (--outer leaves it sealed)",
            ),
            RestoreError::Write(error) => AgeFileError::Write(error).into(),
        }
    }
}

/// Where the content goes. `inner`: it is what the sender had sealed.
pub(super) fn path_of(manifest: &Manifest, inner: bool) -> RestoredPath {
    let id = manifest.id.to_string();
    let fallback = match manifest.kind {
        Kind::File => id,
        Kind::Fields => format!("fields-{id}.json"),
    };
    let (Some(given), Kind::File) = (&manifest.name, manifest.kind) else {
        return RestoredPath {
            folders: Vec::new(),
            name: fallback,
        };
    };
    let given = match given.strip_suffix(".age") {
        Some(stem) if inner => stem,
        _ => given,
    };
    restored_path(given, &fallback)
}

/// Copies the payload from `from` on and takes its digest, which has that of everything before already. It is genuine
/// once this has come to its end. `advance` is told of bytes that were written.
pub(super) fn copy_rest(
    upload: &Arc<OpenUpload>,
    from: u64,
    mut digest: Sha256,
    output: &mut impl Write,
    advance: impl Fn(usize),
) -> Result<(), RestoreError> {
    let manifest = upload.manifest();
    let mut plaintext = upload.plaintext(from..manifest.size);
    while let Some(piece) = plaintext.next_piece()? {
        digest.update(piece);
        output.write_all(piece).map_err(RestoreError::Write)?;
        advance(piece.len());
    }
    if HEXLOWER.encode(&digest.finalize()) != manifest.sha256 {
        return Err(ReadError::Digest.into());
    }
    Ok(())
}

/// Copies the payload, and gives its size once its digest has been checked.
pub(super) fn copy(
    upload: &Arc<OpenUpload>,
    output: &mut impl Write,
    advance: impl Fn(usize),
) -> Result<u64, RestoreError> {
    copy_rest(upload, 0, Sha256::new(), output, advance)?;
    Ok(upload.manifest().size)
}

/// Copies what is in the payload, which the sender had sealed as an age file, and gives its size once both layers
/// have been verified to their ends. `advance` is told of bytes of the payload.
pub(super) fn copy_inner(
    upload: &Arc<OpenUpload>,
    output: &mut impl Write,
    identities: &[Identity],
    advance: impl Fn(usize),
) -> Result<u64, RestoreError> {
    let manifest = upload.manifest();
    let mut payload = Digesting {
        payload: upload.plaintext(0..manifest.size).into(),
        digest: Sha256::new(),
        advance,
    };
    let mut size = 0;
    let mut copy = || {
        let mut reader = AgeReader::open(&mut payload, identities)?;
        while let Some(chunk) = reader.next_chunk()? {
            output.write_all(chunk).map_err(AgeFileError::Write)?;
            size += chunk.len() as u64;
        }
        Ok(())
    };
    copy().map_err(inner_failure)?;
    // The inner layer ends with its last chunk; the digest covers all of the outer one.
    io::copy(&mut payload, &mut io::sink())
        .map_err(|error| inner_failure(AgeFileError::Read(error)))?;
    if HEXLOWER.encode(&payload.digest.finalize()) != manifest.sha256 {
        return Err(ReadError::Digest.into());
    }
    Ok(size)
}

/// Which layer it was that failed.
fn inner_failure(error: AgeFileError) -> RestoreError {
    match error {
        AgeFileError::Open(error) => RestoreError::Inner(error),
        // Reading the inner layer is opening the outer one.
        AgeFileError::Read(error) => match error.downcast::<ReadError>() {
            Ok(outer) => outer.into(),
            Err(error) => RestoreError::Write(error),
        },
        AgeFileError::Write(error) => RestoreError::Write(error),
        error @ (AgeFileError::Seal(_) | AgeFileError::Armored) => {
            RestoreError::Write(io::Error::other(error))
        }
    }
}

/// The payload as a reader that takes its digest on the way.
struct Digesting<F> {
    payload: PlaintextRead,
    digest: Sha256,
    advance: F,
}

impl<F: Fn(usize)> Read for Digesting<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.payload.read(into)?;
        self.digest.update(&into[..size]);
        (self.advance)(size);
        Ok(size)
    }
}
