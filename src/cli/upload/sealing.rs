//! Sealing on this machine, before anything is sent.
//!
//! A file key and its nonce seal one plaintext, ever, and a file may change between two attempts to send it. So it is read once,
//! and what was sealed is written down, complete, before its upload is created: that copy is what is sent, however often that
//! takes, also by a later run. It is ciphertext, readable by its owner alone, and goes when the upload has come to its end.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
use rustix::process::geteuid;
use sha2::{Digest, Sha256};

use super::source::{Identity, Opened, SourceError};
use super::state::{SealedCopy, State, StateError, StateFolder, is_name, make_private};
use crate::cli::progress::Bar;
use crate::keys::NamedRecipient;
use crate::seal::Recipient;
use crate::upload::{AgeFileError, Streamed, seal_stream};

/// How sealed copies end, and what they are called where they arrive.
pub(super) const SUFFIX: &str = ".age";

/// Why there is no sealed copy.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealingError {
    /// What was to be sealed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Sealing itself.
    #[error(transparent)]
    Seal(AgeFileError),
    /// There is no place for it.
    #[error(
        "cannot keep the sealed copy in {}: it needs the room of the file; name another folder with --spool DIR",
        folder.display()
    )]
    Spool {
        /// Where it was to be.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is kept for resuming.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Whom to seal to, and where copies are put.
pub(super) struct Sealing {
    recipients: Vec<Recipient>,
    /// What names them, in order.
    fingerprints: BTreeSet<String>,
    folder: PathBuf,
}

/// A sealed copy, ready to be sent.
pub(super) struct Sealed {
    pub(super) opened: Opened,
    pub(super) copy: SealedCopy,
}

impl Sealing {
    /// Copies are put in `folder`, which is made where it is missing, and rid of those that no state knows any more.
    pub(super) fn new(
        named: Vec<NamedRecipient>,
        folder: PathBuf,
        states: Option<&StateFolder>,
    ) -> Result<Self, SealingError> {
        let sealing = Self {
            fingerprints: named.iter().map(NamedRecipient::fingerprint).collect(),
            recipients: named.into_iter().map(|named| named.recipient).collect(),
            folder,
        };
        make_private(&sealing.folder).map_err(|error| sealing.failed(error))?;
        if let Some(states) = states {
            sealing.sweep(states);
        }
        Ok(sealing)
    }

    /// The folder for copies below one that was named, for whoever keeps states in `states`: nobody else's are swept.
    pub(super) fn folder_below(named: &Path, states: &Path) -> PathBuf {
        let whose = Sha256::digest(states.as_os_str().as_bytes());
        named.join(format!(".sealslot-{}", HEXLOWER.encode(&whose[..8])))
    }

    /// What tells these recipients from others.
    pub(super) fn recipient_ids(&self) -> impl Iterator<Item = Vec<u8>> {
        self.fingerprints
            .iter()
            .map(|text| text.as_bytes().to_vec())
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The sealed copy of what was opened: the one that an earlier run made, or a new one. It is kept for a later run where there
    /// is a state. Blocks.
    pub(super) fn copy_of(
        &self,
        opened: Opened,
        state: Option<&mut State>,
        bar: &Bar,
    ) -> Result<Sealed, SealingError> {
        let Some(state) = state else {
            let (file, copy) = self.seal(opened, bar)?;
            return ready(file, copy);
        };
        let path = self.path_of(state.name());
        if let Some(copy) = state.sealed()
            && let Some(file) = open_copy(&path, copy.size)
        {
            let copy = copy.clone();
            state.has_spool_at(path);
            return ready(file, copy);
        }
        // An upload that was begun with a copy that is gone cannot be gone on with, and one that no state knows is of no use.
        state.forget();
        let _ = fs::remove_file(&path);
        let (file, copy) = self.seal(opened, bar)?;
        match self.give_name(&file, &path) {
            Ok(()) => state.keep_sealed(copy.clone(), path)?,
            // Where the file system cannot do that, only this run can send it.
            Err(error) if is_unsupported(&error) => {}
            Err(error) => return Err(self.failed(error)),
        }
        ready(file, copy)
    }

    /// Seals everything into a file without a name, which is gone when nobody has it open any more, whatever happens.
    fn seal(&self, opened: Opened, bar: &Bar) -> Result<(File, SealedCopy), SealingError> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = openat(CWD, &self.folder, flags, Mode::RUSR | Mode::WUSR);
        let file = match made.map(File::from).map_err(io::Error::from) {
            Err(error) if is_unsupported(&error) => tempfile::tempfile_in(&self.folder),
            made => made,
        };
        let file = file.map_err(|error| self.failed(error))?;
        let (input, before): (Box<dyn Read + Send>, _) = match opened {
            Opened::File(input, identity) => {
                let again = input.try_clone().map_err(SourceError::Read)?;
                (Box::new(input), Some((again, identity)))
            }
            Opened::Stream(input) => (input, None),
        };
        let input = Digested {
            input,
            digest: Sha256::new(),
            bar: bar.clone(),
        };
        let sealed = seal_stream(input, file, &self.recipients, false);
        let Streamed {
            input: Digested { digest, .. },
            output: file,
            size,
        } = sealed.map_err(|error| self.of_sealing(error))?;
        if let Some((input, identity)) = before {
            let now = input.metadata().map_err(SourceError::Read)?;
            if Identity::from(&now) != identity || size != identity.size {
                return Err(SourceError::Changed.into());
            }
        }
        let copy = SealedCopy {
            plaintext: (size, HEXLOWER.encode(&digest.finalize())),
            size: file.metadata().map_err(|error| self.failed(error))?.len(),
        };
        Ok((file, copy))
    }

    /// Makes a copy one that a later run finds, durably.
    fn give_name(&self, file: &File, path: &Path) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        file.sync_all()?;
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, &*open, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
        File::open(&self.folder)?.sync_all()
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{SUFFIX}"))
    }

    /// Removes the copies that no state knows, or none of those that somebody works on, as far as that is possible.
    fn sweep(&self, states: &StateFolder) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(name) = name.filter(|name| is_name(name))
                && let Ok(state) = states.claim(name)
                && state.sealed().is_none()
            {
                let _ = fs::remove_file(&path);
            }
        }
    }

    fn of_sealing(&self, error: AgeFileError) -> SealingError {
        match error {
            AgeFileError::Read(error) => SourceError::Read(error).into(),
            AgeFileError::Write(error) => self.failed(error),
            error => SealingError::Seal(error),
        }
    }

    fn failed(&self, source: io::Error) -> SealingError {
        SealingError::Spool {
            folder: self.folder.clone(),
            source,
        }
    }
}

/// The copy at `path`, if it is there, ours and complete.
fn open_copy(path: &Path, size: u64) -> Option<File> {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW
        .union(OFlags::NONBLOCK)
        .bits()
        .cast_signed();
    let file = options.read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let others = metadata.mode() & 0o077;
    let ours = others == 0 && metadata.uid() == geteuid().as_raw();
    (metadata.is_file() && metadata.len() == size && ours).then_some(file)
}

fn ready(file: File, copy: SealedCopy) -> Result<Sealed, SealingError> {
    let metadata = file.metadata().map_err(SourceError::Read)?;
    Ok(Sealed {
        opened: Opened::File(file, Identity::from(&metadata)),
        copy,
    })
}

/// Whether a file system has no files without a name, or gives them none later.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::NotFound | io::ErrorKind::IsADirectory
    )
}

/// Digests what is read, and shows it.
struct Digested {
    input: Box<dyn Read + Send>,
    digest: Sha256,
    bar: Bar,
}

impl Read for Digested {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.input.read(into)?;
        self.digest.update(&into[..size]);
        self.bar.advance(size);
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::Bars;
    use crate::seal::{self, Identity as Key};
    use std::io::{Seek, Write};

    const KEY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";

    struct Bench {
        dir: tempfile::TempDir,
        states: StateFolder,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let states = StateFolder::open(dir.path().join("uploads")).unwrap();
            fs::write(dir.path().join("file"), "hello").unwrap();
            Self { dir, states }
        }

        fn sealing(&self) -> Sealing {
            let key = Key::X25519(KEY.parse().unwrap());
            let folder = self.dir.path().join("spool");
            let named = vec![NamedRecipient::new(key.to_recipient().unwrap(), "")];
            Sealing::new(named, folder, Some(&self.states)).unwrap()
        }

        fn copy(&self, state: Option<&mut State>) -> (Vec<u8>, SealedCopy) {
            let opened = Opened::at(&self.dir.path().join("file")).unwrap();
            let bar = Bars::new().add("file", None);
            let Sealed { opened, copy } = self.sealing().copy_of(opened, state, &bar).ok().unwrap();
            let Opened::File(mut file, _) = opened else {
                panic!("a copy is a file");
            };
            let mut sealed = Vec::new();
            file.rewind().unwrap();
            file.read_to_end(&mut sealed).unwrap();
            (sealed, copy)
        }

        fn spooled(&self) -> usize {
            fs::read_dir(self.dir.path().join("spool")).unwrap().count()
        }

        fn state(&self) -> State {
            self.states.claim(&"ab".repeat(32)).unwrap()
        }
    }

    #[test]
    fn a_copy_opens_and_is_the_same_one_in_the_next_run() {
        let bench = Bench::new();
        let mut state = bench.state();
        let (sealed, copy) = bench.copy(Some(&mut state));
        let key = Key::X25519(KEY.parse().unwrap());
        assert_eq!(*seal::open(&sealed, &[key]).unwrap(), b"hello");
        let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!(copy.plaintext, (5, digest.to_owned()));
        assert_eq!(copy.size, sealed.len() as u64);
        let path = bench.sealing().path_of(state.name());
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        drop(state);

        let mut state = bench.state();
        state.keep(&"/uploads/a.b".parse().unwrap()).unwrap();
        assert_eq!(bench.copy(Some(&mut state)), (sealed.clone(), copy));
        assert!(state.upload().is_some());
        drop(state);
        // Cut short, it is worth nothing, and the upload that it went to gets nothing of the next one.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(100).unwrap();
        let mut state = bench.state();
        let (other, _) = bench.copy(Some(&mut state));
        assert_ne!(other, sealed);
        assert!(state.upload().is_none());
        state.forget();
        assert_eq!(bench.spooled(), 0);
    }

    #[test]
    fn without_a_state_nothing_is_left_behind() {
        let bench = Bench::new();
        let (sealed, _) = bench.copy(None);
        assert!(!sealed.is_empty());
        assert_eq!(bench.spooled(), 0);
    }

    #[test]
    fn what_no_state_knows_is_swept_and_what_is_worked_on_stays() {
        let bench = Bench::new();
        let sealing = bench.sealing();
        let mut state = bench.state();
        bench.copy(Some(&mut state));
        let orphan = sealing.path_of(&"cd".repeat(32));
        let foreign = sealing.folder.join("notes.age");
        for path in [&orphan, &foreign] {
            fs::write(path, "x").unwrap();
        }
        bench.sealing();
        assert!(!orphan.exists() && foreign.exists());
        assert_eq!(bench.spooled(), 2);
        drop(state);
        bench.sealing();
        assert_eq!(bench.spooled(), 2);
    }

    #[test]
    fn a_file_that_grows_while_it_is_sealed_is_not_sent() {
        let bench = Bench::new();
        let path = bench.dir.path().join("file");
        let opened = Opened::at(&path).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"x").unwrap();
        let bar = Bars::new().add("file", None);
        let failed = bench
            .sealing()
            .copy_of(opened, Some(&mut bench.state()), &bar);
        let changed = matches!(failed, Err(SealingError::Source(SourceError::Changed)));
        assert!(changed && bench.spooled() == 0);
    }
}
