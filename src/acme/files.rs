//! Files that only their owner may read, which appear whole or not at all.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::AcmeError;

/// The most that is read of a file, in bytes.
const MAX_LEN: u64 = 1 << 20;
/// The permission bits that let anyone but the owner use a file.
const GROUP_AND_OTHERS: u32 = 0o077;

/// Makes a folder that only its owner may use, and those above it.
pub(super) fn make_folder(path: &Path) -> Result<(), AcmeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AcmeError::file("create", path, source))
}

/// Reads a secret, where it is there. A file that others may use is refused.
pub(super) fn read_secret(path: &Path) -> Result<Option<Zeroizing<String>>, AcmeError> {
    let failed = |source| AcmeError::file("read", path, source);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // The opened file's own mode, so that no other file can take its place between the check and the reading.
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & GROUP_AND_OTHERS != 0 {
        let path = path.to_owned();
        return Err(AcmeError::Exposed { path, mode });
    }
    // Room for all of it at once: a buffer that grew would leave copies behind.
    let room = usize::try_from(metadata.len().min(MAX_LEN)).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(MAX_LEN + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_LEN {
        let too_large = io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB");
        return Err(failed(too_large));
    }
    Ok(Some(text))
}

/// Puts a secret in the place of whatever was there, in one step, and makes it durable.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), AcmeError> {
    let failed = |source| AcmeError::file("write", path, source);
    let folder = path.parent().unwrap_or(Path::new("."));
    // Its mode is 0600 from the first moment on.
    let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)
}

/// Removes a file that may be gone.
pub(super) fn remove(path: &Path) -> Result<(), AcmeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AcmeError::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_alone_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("certs/acme");
        make_folder(&folder).unwrap();
        let path = folder.join("account.json");
        assert!(read_secret(&path).unwrap().is_none());
        for text in ["one", "another"] {
            write_secret(&path, text).unwrap();
            assert_eq!(read_secret(&path).unwrap().unwrap().as_str(), text);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_secret(&path, "secret").unwrap();
        for mode in [0o640, 0o604, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_secret(&path).unwrap_err().to_string();
            assert!(
                error.contains("chmod 600") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
