//! What is kept of uploads in progress, so that a later run goes on where this one stopped: one small file for each,
//! which holds the path of the upload URL, and of what is sealed here what the sealed copy is of. It is named by what is being
//! sent and where to.
//!
//! The file is also the lock: whoever works on the upload holds it locked, and it is replaced only by one that is
//! locked already.

mod kept;

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::geteuid;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub(super) use kept::SealedCopy;

use super::source::Identity;
use crate::cli::client::endpoint::{Endpoint, UploadUrl};
use kept::Kept;

/// No upload URL is kept by a server for this long after it was last of use.
const LIFETIME: Duration = Duration::from_hours(30 * 24);
/// Far more than an upload URL has.
const MAX_SIZE: u64 = 8 << 10;
/// How files begin that have not got their name yet.
const UNNAMED: &str = ".sealslot-";
/// How those end that are about a whole command line.
pub(super) const JOURNAL: &str = ".run";

/// Why nothing can be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    /// Neither variable says where.
    #[error(
        "there is no place to keep what resuming needs: set XDG_STATE_HOME, or give --no-resume"
    )]
    Nowhere,
    /// The system refused something.
    #[error("cannot keep what resuming needs in {}; set XDG_STATE_HOME, or give --no-resume", folder.display())]
    Unusable {
        /// Where.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process, or another argument, is at it.
    #[error(
        "this file is being sent to the same place already: wait for that, or give --no-resume"
    )]
    Busy,
}

/// Where everything is that Sealslot keeps for its user: as the XDG base directory specification has it.
pub(super) fn folder_of_user() -> Result<PathBuf, StateError> {
    // What is not absolute does not count.
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".local").join("state")))
        .ok_or(StateError::Nowhere)?;
    Ok(state.join("sealslot"))
}

/// Makes a folder that nobody else reads, and those above it. What is there and is no folder of this user's was put there by
/// somebody else, who could put anything into it, or change it, later.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)?;
    let mut options = OpenOptions::new();
    let flags = OFlags::DIRECTORY.bits().cast_signed();
    let there = options.read(true).custom_flags(flags).open(folder)?;
    let mine = geteuid().as_raw();
    // A link of one's own may lead to a folder of one's own.
    if folder.symlink_metadata()?.uid() != mine || there.metadata()?.uid() != mine {
        let message = "it belongs to another user";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    there.set_permissions(PermissionsExt::from_mode(0o700))
}

/// The folder of all these files.
#[derive(Clone, Debug)]
pub(super) struct StateFolder(PathBuf);

impl StateFolder {
    /// The user's own, made where it is missing, and rid of what is too old.
    pub(super) fn of_user() -> Result<Self, StateError> {
        Self::open(folder_of_user()?.join("uploads"))
    }

    pub(super) fn open(folder: PathBuf) -> Result<Self, StateError> {
        make_private(&folder).map_err(|source| unusable(&folder, source))?;
        sweep(&folder);
        Ok(Self(folder))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The state with this name, which nobody else may work on meanwhile.
    pub(super) fn claim(&self, name: &str) -> Result<State, StateError> {
        State::claim(&self.0, name).map_err(|error| self.failed(error))
    }

    /// What an error of the system about something in here means.
    pub(super) fn failed(&self, error: io::Error) -> StateError {
        match error.kind() {
            io::ErrorKind::WouldBlock => StateError::Busy,
            _ => unusable(&self.0, error),
        }
    }

    /// Removes the state with this name, where there is one that nobody works on.
    pub(super) fn remove(&self, name: &str) {
        if self.0.join(name).exists()
            && let Ok(mut state) = State::claim(&self.0, name)
        {
            state.forget();
        }
    }
}

fn unusable(folder: &Path, source: io::Error) -> StateError {
    StateError::Unusable {
        folder: folder.to_owned(),
        source,
    }
}

/// What an upload is known by: another file, a changed one, another place to send it to, or another way to do so (`way`), has
/// another name.
pub(super) fn name(endpoint: &Endpoint, path: &Path, identity: &Identity, way: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    let url = endpoint.url();
    let fixed = [url.as_bytes(), path.as_os_str().as_bytes()];
    // Each with its length, so that no two can be confused.
    for text in fixed.iter().chain(way) {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    let Identity {
        device,
        inode,
        size,
        modified: (seconds, nanoseconds),
    } = identity;
    for number in [device, inode, size] {
        digest.update(number.to_be_bytes());
    }
    for number in [seconds, nanoseconds] {
        digest.update(number.to_be_bytes());
    }
    HEXLOWER.encode(&digest.finalize())
}

/// The state of one upload. Locked until it is dropped; dropped while it holds nothing, it is removed.
pub(super) struct State {
    folder: PathBuf,
    path: PathBuf,
    /// The file that has the name, or had it until something was kept: locked.
    file: File,
    holds: Kept,
    /// The sealed copy itself, which goes when the rest does.
    spool: Option<PathBuf>,
}

impl State {
    fn claim(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        loop {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.mode(0o600).open(&path)?;
            lock(&file)?;
            // Whoever had the lock may have replaced or removed the file meanwhile.
            if !is_the_same(&file, &path)? {
                continue;
            }
            let mut text = Zeroizing::new(String::new());
            // What is not text is as good as nothing.
            let read = (&mut file).take(MAX_SIZE).read_to_string(&mut text);
            return Ok(Self {
                folder: folder.to_owned(),
                path,
                file,
                holds: read.map_or_else(|_| Kept::default(), |_| Kept::parse(&text)),
                spool: None,
            });
        }
    }

    /// What it is known by.
    pub(super) fn name(&self) -> &str {
        let name = self.path.file_name().and_then(|name| name.to_str());
        name.expect("it was given as text")
    }

    /// The upload that an earlier run began.
    pub(super) fn upload(&self) -> Option<&UploadUrl> {
        self.holds.upload.as_ref()
    }

    /// The sealed copy that an earlier run made.
    pub(super) fn sealed(&self) -> Option<&SealedCopy> {
        self.holds.sealed.as_ref()
    }

    /// Says where the sealed copy is that belongs to this.
    pub(super) fn has_spool_at(&mut self, path: PathBuf) {
        self.spool = Some(path);
    }

    /// Keeps `upload`, durably, in place of what was kept before.
    pub(super) fn keep(&mut self, upload: &UploadUrl) -> Result<(), StateError> {
        let kept = Kept {
            upload: Some(upload.clone()),
            ..self.holds.clone()
        };
        self.replace(kept)
    }

    /// Keeps that there is a new sealed copy at `path`, durably. It belongs to no upload yet: one that an earlier copy went to
    /// gets nothing of this one, which has another key.
    pub(super) fn keep_sealed(
        &mut self,
        copy: SealedCopy,
        path: PathBuf,
    ) -> Result<(), StateError> {
        self.has_spool_at(path);
        self.replace(Kept {
            upload: None,
            sealed: Some(copy),
        })
    }

    fn replace(&mut self, kept: Kept) -> Result<(), StateError> {
        let replaced = self.try_replace(kept);
        replaced.map_err(|source| unusable(&self.folder, source))
    }

    fn try_replace(&mut self, kept: Kept) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(UNNAMED)
            .tempfile_in(&self.folder)?;
        lock(file.as_file())?;
        file.write_all(kept.to_text().as_bytes())?;
        file.as_file().sync_all()?;
        // The lock goes with the new file before the old one is let go.
        self.file = file.persist(&self.path)?;
        self.holds = kept;
        File::open(&self.folder)?.sync_all()
    }

    /// Forgets what was kept, a sealed copy too: there is nothing left to go on with.
    pub(super) fn forget(&mut self) {
        self.holds = Kept::default();
        if let Some(spool) = self.spool.take() {
            let _ = fs::remove_file(spool);
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // Before the lock goes with the file.
        if self.holds.is_empty() && is_the_same(&self.file, &self.path).unwrap_or(false) {
            let _ = fs::remove_file(&self.path);
        }
        // A process that is just being started has the file open too, until it runs: closing alone would not give it back.
        let _ = self.file.unlock();
    }
}

/// Locks without waiting. Where the file system has no locks, going without is better than not going on at all.
pub(super) fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
        locked => locked,
    }
}

pub(super) fn is_the_same(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.symlink_metadata() {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what is too old to be of use, as far as that is possible.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_old = path
            .symlink_metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| {
                let age = SystemTime::now().duration_since(modified);
                age.is_ok_and(|age| age > LIFETIME)
            });
        if !is_old || !is_ours(&path) {
            continue;
        }
        let Ok(file) = File::open(&path) else {
            continue;
        };
        // What is locked is being worked on, however old it is. It stays locked until it is gone.
        if lock(&file).is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether a file has a name of the kind that is given here.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| {
        let id = name.strip_suffix(JOURNAL).unwrap_or(name);
        name.starts_with(UNNAMED) || is_name(id)
    })
}

/// Whether it is one that [`name`] gives.
pub(super) fn is_name(name: &str) -> bool {
    HEXLOWER
        .decode(name.as_bytes())
        .is_ok_and(|id| id.len() == 32)
}

#[cfg(test)]
mod tests;
