//! One upload, as the server stores it: a folder with a manifest and segments.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Opener;
use crate::cli::progress::Progress;
use crate::cli::restored_path::{RestoredPath, restored_path};
use crate::cli::results::{print, print_json};
use crate::cli::staged::{self, Joins, Staged};
use crate::cli::{Exit, Failure};
use crate::seal::Identity;
use crate::store::{LocalFolder, SealedFile, UploadId};
use crate::upload::{
    AgeFileError, AgeReader, Kind, Manifest, OpenUpload, PlaintextRead, ReadError, to_rfc3339,
};

pub(super) fn open(opener: &mut Opener<'_>, folder: &Path) -> Result<(), Failure> {
    let about = |failure: Failure| failure.about(folder.display());
    let upload = open_manifest(folder, &opener.identities)?;
    let manifest = upload.manifest();
    let inner = manifest.is_client_sealed() && !opener.args.outer;
    let restored = path_of(manifest, inner);

    let into = opener.args.output.as_deref().unwrap_or(Path::new("."));
    staged::make_folder(into)?;
    let mut staged = Staged::in_folder(into)?;
    let progress = Progress::new(&folder.to_string_lossy(), Some(manifest.size));
    let size = if inner {
        copy_inner(&upload, &mut staged, &opener.identities, &progress).map_err(about)?
    } else {
        copy(&upload, &mut staged, &progress).map_err(about)?
    };
    drop(progress);

    let path = publish(opener, staged, &restored)?;
    if opener.args.json {
        print_json(&json!({
            "input": folder.to_string_lossy(),
            "output": path.to_string_lossy(),
            "size": size,
            "id": manifest.id,
            "submission": manifest.submission,
            "kind": manifest.kind,
            "name": manifest.name,
            "type": manifest.media_type,
            "sha256": manifest.sha256,
            "time": to_rfc3339(manifest.time),
        }))
    } else {
        print(path.display())
    }
}

fn open_manifest(folder: &Path, identities: &[Identity]) -> Result<Arc<OpenUpload>, Failure> {
    let about = |failure: Failure| failure.about(folder.display());
    let meta = folder.join(SealedFile::Meta.to_string());
    match meta.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(about(Failure::new(
                Exit::Data,
                "there is no meta.age in this folder: expected an age file, or the folder of one upload \
                 (data/uploads/DAY/ID)",
            )));
        }
        Err(error) => return Err(Failure::io("read", &meta, &error)),
        Ok(_) => {}
    }
    // A folder may have been renamed; where its name is an id, it has to be that of the upload.
    let id: Option<UploadId> = folder
        .canonicalize()
        .ok()
        .and_then(|path| path.file_name()?.to_str()?.parse().ok());
    let upload = LocalFolder::open(folder).map_err(|error| about(ReadError::from(error).into()))?;
    OpenUpload::open(Box::new(upload), id.as_ref(), identities)
        .map(Arc::new)
        .map_err(|error| about(error.into()))
}

/// Where the content goes.
fn path_of(manifest: &Manifest, inner: bool) -> RestoredPath {
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

fn publish(
    opener: &mut Opener<'_>,
    staged: Staged,
    restored: &RestoredPath,
) -> Result<PathBuf, Failure> {
    // The current folder may be any, and a name like `bin/ls` made for it: a folder that was named is for what arrives.
    let joins = match opener.args.output {
        Some(_) => Joins::Any,
        None => Joins::Made,
    };
    let staged = staged.below(&restored.folders, joins, &mut opener.made)?;
    let target = staged.folder().join(&restored.name);
    // A folder is never replaced, and may well come from the same sender: there, a number does.
    let replaces = opener.args.force
        && !opener.made.contains(&target)
        && !target.symlink_metadata().is_ok_and(|there| there.is_dir());
    let path = if replaces {
        staged.publish(Path::new(&restored.name), true)?;
        target
    } else {
        staged.publish_numbered(&restored.name)?
    };
    opener.made.insert(&path);
    Ok(path)
}

/// Copies the payload, and gives its size once its digest has been checked.
fn copy(
    upload: &Arc<OpenUpload>,
    output: &mut Staged,
    progress: &Progress,
) -> Result<u64, Failure> {
    upload.copy_to(|piece| {
        progress.advance(piece.len());
        let written = output.write_all(piece);
        written.map_err(|error| Failure::from(AgeFileError::Write(error)))
    })?;
    Ok(upload.manifest().size)
}

/// Copies what is in the payload, which the sender had sealed as an age file, and gives its size once both layers
/// have been verified to their ends.
fn copy_inner(
    upload: &Arc<OpenUpload>,
    output: &mut Staged,
    identities: &[Identity],
    progress: &Progress,
) -> Result<u64, Failure> {
    let manifest = upload.manifest();
    let mut payload = Digesting {
        payload: upload.plaintext(0..manifest.size).into(),
        digest: Sha256::new(),
    };
    let mut size = 0;
    let mut copy = || {
        let mut reader = AgeReader::open(progress.watch(&mut payload), identities)?;
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
fn inner_failure(error: AgeFileError) -> Failure {
    match error {
        AgeFileError::Open(error) => Failure::from_error(Exit::Data, &error).about(
            "the inner layer, sealed by the sender, does not open with this identity (--outer leaves it sealed)",
        ),
        // Reading the inner layer is opening the outer one.
        AgeFileError::Read(error) => match error.downcast::<ReadError>() {
            Ok(outer) => outer.into(),
            Err(error) => AgeFileError::Read(error).into(),
        },
        error => error.into(),
    }
}

/// The payload as a reader that takes its digest on the way.
struct Digesting {
    payload: PlaintextRead,
    digest: Sha256,
}

impl Read for Digesting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.payload.read(into)?;
        self.digest.update(&into[..size]);
        Ok(size)
    }
}
