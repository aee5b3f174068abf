//! Reading an upload's folder.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::num::NonZero;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FileType, fadvise};
use rustix::io::Errno;

use super::directory::Directory;
use super::{erase, meta};
use crate::store::{ReadAt, SealedFile, SealedUpload, StoreError};

/// An upload's folder on disk, read-only, wherever it lies: in a store, or copied out of one. Links in it are not
/// followed.
pub struct LocalFolder {
    folder: Directory,
}

impl LocalFolder {
    /// Opens the folder at `path`. May block.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let folder = Directory::open(path).map_err(|errno| StoreError::io("open", path, errno))?;
        Ok(Self { folder })
    }

    pub(super) fn new(folder: Directory) -> Self {
        Self { folder }
    }

    fn listed(&self) -> Result<Vec<SealedFile>, StoreError> {
        let unreadable = |errno| StoreError::io("read", self.folder.path(), errno);
        let mut files = Vec::new();
        for entry in self.folder.entries().map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let file = entry.name.to_str().and_then(|name| name.parse().ok());
            match file {
                Some(file) if entry.kind == FileType::RegularFile => files.push(file),
                _ => {
                    return Err(StoreError::UnexpectedFile {
                        path: self.folder.path().join(entry.name),
                    });
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }
}

impl SealedUpload for LocalFolder {
    fn files(&self) -> Result<Vec<SealedFile>, StoreError> {
        let files = self.listed();
        // Of a folder on its way out, some files are gone already: that says nothing of the upload.
        if is_replaced(&self.folder) {
            return Err(StoreError::Replaced);
        }
        files
    }

    fn open(&self, file: SealedFile) -> Result<Box<dyn ReadAt>, StoreError> {
        let name = file.to_string();
        let path = self.folder.path().join(&name);
        let file = match self.folder.open_file(&name) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(StoreError::NotFound),
            // A link, or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(StoreError::UnexpectedFile { path }),
            Err(errno) => return Err(StoreError::io("open", path, errno)),
        };
        let metadata = file
            .metadata()
            .map_err(|source| StoreError::io("open", &path, source))?;
        if !metadata.is_file() {
            return Err(StoreError::UnexpectedFile { path });
        }
        Ok(Box::new(LocalFile {
            file,
            len: metadata.len(),
            path,
        }))
    }

    fn meta_checksum(&self) -> Result<Option<u64>, StoreError> {
        let name = SealedFile::Meta.to_string();
        match self.folder.open_file(&name) {
            Ok(file) => Ok(meta::checksum_of(&file)),
            Err(Errno::NOENT) => Err(StoreError::NotFound),
            Err(errno) => Err(self.folder.error("open", name, errno)),
        }
    }
}

struct LocalFile {
    file: File,
    len: u64,
    path: PathBuf,
}

impl ReadAt for LocalFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        // Published files do not grow. Staying within the size also keeps to offsets that the system can count.
        let left = self.len.saturating_sub(offset);
        let wanted = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        let mut filled = 0;
        while filled < wanted {
            match self
                .file
                .read_at(&mut buf[filled..wanted], offset + filled as u64)
            {
                // Cut short since it was opened; whoever opens the seal will notice.
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(StoreError::io("read", &self.path, source)),
            }
        }
        if offset < erase::MAX_HEADER && filled > 0 && self.is_erased() {
            return Err(StoreError::Replaced);
        }
        Ok(filled)
    }

    fn read_once(&self, end: u64) {
        // Advice: where the system does not take it, everything works as before.
        if end == 0 {
            let _ = fadvise(&self.file, 0, None, Advice::Sequential);
            let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
        } else {
            let _ = fadvise(&self.file, 0, NonZero::new(end), Advice::DontNeed);
        }
    }
}

impl LocalFile {
    /// Whether what was just read may be zeros, because the upload was deleted or sealed anew since this file was opened: the
    /// first byte is overwritten before all others. In a file that still is the upload's own it is damage, and is shown as it is.
    fn is_erased(&self) -> bool {
        let mut first = [1];
        if !matches!(self.file.read_at(&mut first, 0), Ok(1)) || first[0] != 0 {
            return false;
        }
        is_another(self.file.metadata(), std::fs::symlink_metadata(&self.path))
    }
}

/// Whether a folder is not the one at its path any more: deleted, or exchanged for another. Links on the way are followed, as when
/// it was opened.
fn is_replaced(folder: &Directory) -> bool {
    let own = folder.handle().try_clone();
    let own = own.and_then(|own| File::from(own).metadata());
    is_another(own, std::fs::metadata(folder.path()))
}

fn is_another(own: io::Result<Metadata>, named: io::Result<Metadata>) -> bool {
    match (own, named) {
        (Ok(own), Ok(named)) => (own.dev(), own.ino()) != (named.dev(), named.ino()),
        (_, Err(error)) => error.kind() == ErrorKind::NotFound,
        (Err(_), _) => false,
    }
}
