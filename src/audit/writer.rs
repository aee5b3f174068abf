//! The file, as one thread writes it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::chain::{Chain, Hash};
use super::entry::{Entry, Event};
use super::sink::{Sink, Stamped};
use super::{AuditError, TORN, tail};

/// Writes lines behind each other, and nothing else.
pub(super) struct Writer {
    path: PathBuf,
    file: File,
    chain: Chain,
    /// Whether the file is one that goes on where another ended, and has nothing in it yet.
    follows: bool,
}

impl Writer {
    /// Opens a log, or begins one; held by a lock until it is dropped.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let file = open(path)?;
        let chain = tail::chain_of(&file).map_err(failed("read", path))?;
        let chain = chain.ok_or_else(|| AuditError::Damaged(path.to_owned()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            chain,
            follows: false,
        })
    }

    /// What has to be said before anything else: that a line was torn, or that this is where another file ended.
    fn own_line(&self, chain: &mut Chain, text: &mut Vec<u8>) -> Option<Entry> {
        if chain.torn > 0 {
            if !self.follows {
                text.extend_from_slice(TORN);
                chain.tear(TORN);
            }
            let mut resumed = Entry::new(Event::Resumed);
            resumed.torn = Some(chain.torn);
            return Some(resumed);
        }
        self.follows.then(|| Entry::new(Event::Rotated))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Before the file is closed: a process that is just being started has it open too, until it runs.
        let _ = self.file.unlock();
    }
}

impl Sink for Writer {
    /// Number and hash of the last whole line.
    fn head(&self) -> (u64, Hash) {
        (self.chain.seq, self.chain.head())
    }

    /// Goes on in a new file where this one was moved away.
    fn follow(&mut self) -> Result<(), AuditError> {
        let about = |file: &File| file.metadata().map_err(failed("look at", &self.path));
        let own = about(&self.file)?;
        match std::fs::metadata(&self.path) {
            Ok(there) if there.dev() == own.dev() && there.ino() == own.ino() => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("look at", &self.path)(error));
            }
            _ => {}
        }
        self.sync()?;
        let file = open(&self.path)?;
        // One with lines in it is not ours to go on with: this chain knows nothing of them.
        if about(&file)?.len() > 0 {
            return Err(AuditError::Damaged(self.path.clone()));
        }
        self.file = file;
        self.follows = true;
        Ok(())
    }

    /// Writes entries, as far as it can be done: how many are whole in the file, and what stopped it.
    fn write(&mut self, entries: &[Stamped]) -> (usize, Result<(), AuditError>) {
        let mut chain = self.chain.clone();
        let mut text = Vec::with_capacity(entries.len() * 320);
        // Where each line ends, and the chain behind it.
        let mut lines = Vec::with_capacity(entries.len() + 1);
        if let Some(own) = self.own_line(&mut chain, &mut text) {
            chain.extend(SystemTime::now(), &own, &mut text);
            lines.push((text.len(), chain.clone()));
        }
        let own = lines.len();
        for stamped in entries {
            chain.extend(stamped.time, &stamped.entry, &mut text);
            lines.push((text.len(), chain.clone()));
        }
        let (written, result) = write_all(&mut self.file, &text);
        self.follows &= written == 0;
        let whole = lines.iter().take_while(|(end, _)| *end <= written);
        let whole = whole.count();
        let mut behind = 0;
        if let Some((end, chain)) = lines.into_iter().take(whole).next_back() {
            behind = end;
            self.chain = chain;
        }
        self.chain.tear(&text[behind..written]);
        let result = result.map_err(failed("write", &self.path));
        (whole.saturating_sub(own), result)
    }

    /// Makes durable what was written.
    fn sync(&self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }
}

/// Opens the file that `path` names, for nobody else, and makes it and its name durable where it is new.
fn open(path: &Path) -> Result<File, AuditError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).append(true).create(true).mode(0o600);
    let file = options.open(path).map_err(failed("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(AuditError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => return Err(failed("lock", path)(error)),
    }
    let about = file.metadata().map_err(failed("look at", path))?;
    let mode = about.mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(AuditError::Exposed { path, mode });
    }
    if !about.is_file() {
        return Err(failed("append to", path)(
            io::ErrorKind::InvalidInput.into(),
        ));
    }
    if about.len() == 0 {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(failed("make durable", path))?;
    }
    Ok(file)
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io {
        doing,
        path,
        source,
    }
}

/// As `Write::write_all`, and tells how far it came.
fn write_all(file: &mut File, mut bytes: &[u8]) -> (usize, io::Result<()>) {
    let all = bytes.len();
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return (all - bytes.len(), Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (all - bytes.len(), Err(error)),
        }
    }
    (all, Ok(()))
}
