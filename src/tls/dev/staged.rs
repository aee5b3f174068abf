//! Certificate files that appear whole.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

use super::{DevCertError, io_error};

pub(super) const PRIVATE: u32 = 0o600;
pub(super) const PUBLIC: u32 = 0o644;

/// A file that is written and synced, but not yet under its name.
pub(super) struct Staged<'a> {
    file: NamedTempFile,
    target: &'a Path,
}

/// Writes `contents` beside `target` with exactly the permissions `mode`, whatever the umask.
pub(super) fn stage<'a>(
    target: &'a Path,
    contents: &str,
    mode: u32,
) -> Result<Staged<'a>, DevCertError> {
    let write = || {
        let dir = target.parent().unwrap_or(Path::new("."));
        // Created with mode 0600, as temporary files are.
        let mut file = tempfile::Builder::new()
            .prefix(".sealslot-")
            .tempfile_in(dir)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(mode))?;
        file.write_all(contents.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write()
        .map(|file| Staged { file, target })
        .map_err(io_error(target))
}

impl Staged<'_> {
    /// Gives the file its name, in place of another only where `force` says so.
    pub(super) fn publish(self, force: bool) -> Result<(), DevCertError> {
        let published = if force {
            self.file.persist(self.target)
        } else {
            self.file.persist_noclobber(self.target)
        };
        match published {
            Ok(_) => Ok(()),
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(DevCertError::Exists {
                    path: self.target.to_owned(),
                })
            }
            Err(failed) => Err(io_error(self.target)(failed.error)),
        }
    }
}

/// Has what was renamed in the folder outlive a power cut.
pub(super) fn sync_folder(dir: &Path) -> Result<(), DevCertError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error(dir))
}
