//! What is sent: a file, which can be read again from anywhere, or a stream, which cannot and is held piece by piece.

mod file;
mod stream;

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, openat};
use tokio::task::JoinHandle;

use crate::cli::client::body::Body;
use file::FileSource;
use stream::StreamSource;

/// Why something cannot be read, or sent to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    /// The system refused it.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// Neither a file nor a stream.
    #[error("it is a folder, and was none before: run the same again")]
    Folder,
    /// Found as a file in a folder, and now something else.
    #[error("it is no file any more")]
    NoFile,
    /// Part of what was sent is of one version, part of another.
    #[error("it changed while it was being sent: send it again when nobody writes to it any more")]
    Changed,
    /// The server goes on from where a stream cannot be read again.
    #[error(
        "the server lost some of what it had acknowledged, and this input cannot be read a second time: send it anew"
    )]
    Lost,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Something that can be read from its beginning.
pub(super) enum Opened {
    /// A file, and its state when it was opened.
    File(File, Identity),
    /// Can be read once.
    Stream(Box<dyn Read + Send>),
}

impl Opened {
    /// What `path` names; `-` is standard input. Blocks.
    pub(super) fn at(path: &Path) -> Result<Self, SourceError> {
        if path == Path::new("-") {
            return Ok(Self::Stream(Box::new(io::stdin())));
        }
        let file = File::open(path).map_err(SourceError::Read)?;
        let metadata = file.metadata().map_err(SourceError::Read)?;
        if metadata.is_dir() {
            return Err(SourceError::Folder);
        }
        // Those in /proc say that they are empty, and are not.
        let tells_size = metadata.is_file()
            && (metadata.len() > 0 || file.read_at(&mut [0], 0).map_err(SourceError::Read)? == 0);
        Ok(if tells_size {
            Self::File(file, Identity::from(&metadata))
        } else {
            Self::Stream(Box::new(file))
        })
    }

    /// The file `name` in `folder`, which is no link and nothing else. Blocks.
    pub(super) fn below(folder: &OwnedFd, name: &OsStr) -> Result<Self, SourceError> {
        // Whatever took the place of a file meanwhile is neither followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(folder, name, flags, Mode::empty());
        let file = File::from(opened.map_err(|error| SourceError::Read(error.into()))?);
        let metadata = file.metadata().map_err(SourceError::Read)?;
        if !metadata.is_file() {
            return Err(SourceError::NoFile);
        }
        Ok(Self::File(file, Identity::from(&metadata)))
    }
}

/// Something to send.
pub(super) enum Source {
    /// Can be read again.
    File(FileSource),
    /// Cannot.
    Stream(StreamSource),
}

/// What follows some offset.
pub(super) struct Rest {
    pub(super) body: Body,
    /// Whether nothing comes after it.
    pub(super) last: bool,
}

impl Source {
    /// Sends what was opened.
    pub(super) fn of(opened: Opened) -> Self {
        match opened {
            Opened::File(file, identity) => Self::File(FileSource::new(file, identity)),
            Opened::Stream(stream) => Self::Stream(StreamSource::new(stream)),
        }
    }

    /// How many bytes there are, where that is known.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::File(file) => Some(file.identity().size),
            Self::Stream(_) => None,
        }
    }

    /// What follows `offset`: of a file everything, of a stream what is left of its piece, or the next one.
    pub(super) async fn rest(&mut self, offset: u64) -> Result<Rest, SourceError> {
        match self {
            Self::File(file) => file.rest(offset).await,
            Self::Stream(stream) => stream.rest(offset).await,
        }
    }

    /// Waits until nothing is read any more for a body that was sent or dropped, and says whether reading failed.
    pub(super) async fn settle(&mut self) -> Result<(), SourceError> {
        match self {
            Self::File(file) => file.settle().await,
            Self::Stream(_) => Ok(()),
        }
    }

    /// Whether everything can be sent again from its beginning.
    pub(super) fn rewinds(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Stream(stream) => stream.rewinds(),
        }
    }

    /// How many bytes there were and their SHA-256 in lowercase hex, once all of them have been sent.
    pub(super) async fn digest(&mut self) -> Result<(u64, String), SourceError> {
        match self {
            Self::File(file) => file.digest().await,
            Self::Stream(stream) => stream.digest().await,
        }
    }
}

/// Something that is used by threads that may block, one after another.
struct Blocking<T>(Arc<Mutex<T>>);

impl<T: Send + 'static> Blocking<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    fn begin<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> JoinHandle<R> {
        let value = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            work(&mut value.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }

    async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut T) -> Result<R, SourceError> + Send + 'static,
    ) -> Result<R, SourceError> {
        ended(self.begin(work)).await
    }
}

async fn ended<R>(work: JoinHandle<Result<R, SourceError>>) -> Result<R, SourceError> {
    work.await
        .unwrap_or_else(|error| Err(SourceError::Read(io::Error::other(error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_again_is_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for contents in ["", "hello"] {
            std::fs::write(&path, contents).unwrap();
            let source = Source::of(Opened::at(&path).unwrap());
            assert_eq!(source.size(), Some(contents.len() as u64));
        }
        for stream in ["-", "/dev/null", "/proc/self/status"] {
            let source = Source::of(Opened::at(Path::new(stream)).unwrap());
            assert!(source.size().is_none(), "{stream}");
        }
        assert!(matches!(Opened::at(dir.path()), Err(SourceError::Folder)));
    }

    #[test]
    fn below_a_folder_only_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "hello").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("link")).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let folder = OwnedFd::from(File::open(dir.path()).unwrap());
        let open = |name: &str| Opened::below(&folder, OsStr::new(name));
        assert!(matches!(open("file"), Ok(Opened::File(..))));
        assert!(matches!(open("link"), Err(SourceError::Read(_))));
        assert!(matches!(open("folder"), Err(SourceError::NoFile)));
        assert!(matches!(open("gone"), Err(SourceError::Read(_))));
    }
}
