//! What is made up in development: a key, and an admin token.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::super::exit::{Exit, Failure};
use crate::keys;

/// Where the development key is.
pub(super) fn dev_key(data: &Path) -> PathBuf {
    data.join("keys").join("identity.pem")
}

/// Where the development token is.
pub(super) fn dev_token(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// The development key, made where it is missing.
pub(super) fn make_dev_key(data: &Path) -> Result<PathBuf, Failure> {
    let path = dev_key(data);
    if path.exists() {
        return Ok(path);
    }
    make_private(&data.join("keys"))?;
    let key = keys::generate(keys::DEFAULT_BITS as usize)?;
    keys::write_keypair(&path, &key, None, "sealslot-development")?;
    Ok(path)
}

/// Makes a folder for its owner alone, and those above it that are missing.
fn make_private(folder: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Failure::io("create", folder, &error))
}

/// The development token, made where it is missing.
pub(super) fn make_dev_token(data: &Path) -> Result<PathBuf, Failure> {
    // Where uploads are kept in a bucket, nobody has made it yet.
    make_private(data)?;
    let path = dev_token(data);
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut())
        .map_err(|error| Failure::new(Exit::Other, format_args!("no randomness: {error}")))?;
    let line = Zeroizing::new(HEXLOWER.encode(secret.as_ref()) + "\n");
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
    {
        Ok(mut file) => file
            .write_all(line.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| Failure::io("write", &path, &error))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Failure::io("create", &path, &error)),
    }
    Ok(path)
}
