//! Files that are not complete: what is there of one is relied on only when it was digested again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::receipt::Content;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// A file that is not complete, or has no name yet.
pub(super) struct Partial {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl Partial {
    /// Opens it, or begins it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: open_partial(path)?,
            path: path.to_owned(),
        })
    }

    /// Goes to the end of what can be relied on when it is verified: the first `size` bytes of whole chunks of `chunk`, or all of
    /// them. Gives how many there are, with their digest.
    pub(super) fn resume(&mut self, size: u64, chunk: u64) -> io::Result<(u64, Sha256)> {
        let there = self.file.metadata()?.len().min(size);
        let kept = if there == size {
            size
        } else {
            there - there % chunk
        };
        self.file.set_len(kept)?;
        self.file.rewind()?;
        let mut digest = Sha256::new();
        let read = digest_all(&mut self.file, &mut digest)?;
        Ok((read, digest))
    }
}

fn digest_all(file: &mut File, digest: &mut Sha256) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut size = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(size),
            Ok(read) => {
                digest.update(&piece[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What is in a file; `None` where that is none.
pub(super) fn content_of(path: &Path) -> io::Result<Option<Content>> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.read(true).custom_flags(flags_of(flags));
    let mut file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut digest = Sha256::new();
    let size = digest_all(&mut file, &mut digest)?;
    let sha256 = HEXLOWER.encode(&digest.finalize());
    Ok(Some(Content { size, sha256 }))
}

/// As `open(2)` takes them.
pub(super) fn flags_of(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}

/// Opens a file for this user alone, or makes it. A link is not followed.
pub(super) fn open_partial(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(flags_of(OFlags::NOFOLLOW));
    let file = options.open(path)?;
    let there = file.metadata()?;
    if there.is_file() && there.nlink() == 1 {
        return Ok(file);
    }
    // It has a name elsewhere, by which somebody has it: it is not to change.
    fs::remove_file(path)?;
    options.create_new(true).open(path)
}
