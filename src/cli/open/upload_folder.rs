//! One upload, as the server stores it: a folder with a manifest and segments.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::Opener;
use crate::cli::progress::Progress;
use crate::cli::restore;
use crate::cli::restored_path::RestoredPath;
use crate::cli::results::{print, print_json};
use crate::cli::staged::{self, Joins, Staged};
use crate::cli::{Exit, Failure};
use crate::seal::Identity;
use crate::store::{LocalFolder, SealedFile, UploadId};
use crate::upload::{OpenUpload, ReadError, to_rfc3339};

pub(super) fn open(opener: &mut Opener<'_>, folder: &Path) -> Result<(), Failure> {
    let about = |failure: Failure| failure.about(folder.display());
    let upload = open_manifest(folder, &opener.identities)?;
    let manifest = upload.manifest();
    let inner = manifest.is_client_sealed() && !opener.args.outer;
    let restored = restore::path_of(manifest, inner);

    let into = opener.args.output.as_deref().unwrap_or(Path::new("."));
    staged::make_folder(into)?;
    let mut staged = Staged::in_folder(into)?;
    let progress = Progress::new(&folder.to_string_lossy(), Some(manifest.size));
    let advance = |bytes| progress.advance(bytes);
    let size = if inner {
        restore::copy_inner(&upload, &mut staged, &opener.identities, advance)
    } else {
        restore::copy(&upload, &mut staged, advance)
    };
    let size = size.map_err(|error| about(error.into()))?;
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

/// Opens the manifest of the upload in a folder.
pub(super) fn open_manifest(
    folder: &Path,
    identities: &[Identity],
) -> Result<Arc<OpenUpload>, Failure> {
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
