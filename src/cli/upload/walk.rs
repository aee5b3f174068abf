//! Everything below a folder, level by level, in the order of its names. Whatever happens to the folder meanwhile, nothing is
//! followed out of it: each level is opened from the one above, and never through a link.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, stat, statat};

/// Folders within folders. Each takes an open file.
const MAX_DEPTH: usize = 200;

/// A file below a folder.
pub(super) struct Child {
    /// The folder that it is in.
    pub(super) folder: Arc<OwnedFd>,
    /// What it is called there.
    pub(super) file: OsString,
    /// Its path as the command line leads to it.
    pub(super) shown: PathBuf,
    /// Its path from the root on.
    pub(super) path: PathBuf,
    /// What it is called where it arrives: the names of all folders from the outermost on, and its own.
    pub(super) name: Vec<u8>,
}

/// What comes next in a folder.
pub(super) enum Step {
    File(Child),
    /// Nothing of this is sent, and why.
    Skipped(PathBuf, &'static str),
    /// This should be sent.
    Unreadable(PathBuf, io::Error),
}

pub(super) struct Walk {
    /// From the outermost on.
    levels: Vec<Level>,
    /// Device and inode of folders that are passed over.
    own: Vec<(u64, u64)>,
}

struct Level {
    folder: Arc<OwnedFd>,
    /// What is still to come: the last one is next.
    names: Vec<OsString>,
    shown: PathBuf,
    path: PathBuf,
    name: Vec<u8>,
}

impl Walk {
    /// Below the folder at `path`, which messages call `shown`, and which is called `name` where it arrives. Of the folders
    /// `own` nothing is sent.
    pub(super) fn below(
        path: &Path,
        shown: PathBuf,
        name: Vec<u8>,
        own: &[PathBuf],
    ) -> io::Result<Self> {
        let own = own.iter().filter_map(|path| {
            let found = stat(path).ok()?;
            Some((found.st_dev, found.st_ino))
        });
        let own = own.collect();
        let folder = open_folder(CWD, path.as_os_str())?;
        let mut walk = Self {
            levels: Vec::new(),
            own,
        };
        walk.enter(folder, shown, path.to_owned(), name)?;
        Ok(walk)
    }

    /// Goes into a folder. Whether there is anything in it.
    fn enter(
        &mut self,
        folder: OwnedFd,
        shown: PathBuf,
        path: PathBuf,
        name: Vec<u8>,
    ) -> io::Result<bool> {
        let names = names(&folder)?;
        let any = !names.is_empty();
        self.levels.push(Level {
            folder: Arc::new(folder),
            names,
            shown,
            path,
            name,
        });
        Ok(any)
    }

    fn step(&mut self, file: OsString) -> io::Result<Option<Step>> {
        let Some(level) = self.levels.last() else {
            return Ok(None);
        };
        let folder = Arc::clone(&level.folder);
        let (shown, path) = (level.shown.join(&file), level.path.join(&file));
        let mut name = level.name.clone();
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend_from_slice(file.as_bytes());
        let found = statat(&*folder, &*file, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(Some(Step::File(Child {
                folder,
                file,
                shown,
                path,
                name,
            }))),
            FileType::Directory => self.folder(&folder, &file, (shown, path, name)),
            FileType::Symlink => Ok(Some(Step::Skipped(
                shown,
                "a symbolic link, which is not followed",
            ))),
            _ => Ok(Some(Step::Skipped(shown, "neither a file nor a folder"))),
        }
    }

    fn folder(
        &mut self,
        above: &OwnedFd,
        file: &OsStr,
        (shown, path, name): (PathBuf, PathBuf, Vec<u8>),
    ) -> io::Result<Option<Step>> {
        let folder = open_folder(above.as_fd(), file)?;
        let found = fstat(&folder)?;
        if self.own.contains(&(found.st_dev, found.st_ino)) {
            let why = "what Sealslot itself keeps for resuming is not sent";
            return Ok(Some(Step::Skipped(shown, why)));
        }
        if self.levels.len() >= MAX_DEPTH {
            let deep = format!("it is more than {MAX_DEPTH} folders deep: pack it with tar");
            return Err(io::Error::other(deep));
        }
        let any = self.enter(folder, shown.clone(), path, name)?;
        let why = "an empty folder, of which nothing is sent";
        Ok((!any).then(|| Step::Skipped(shown, why)))
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            let level = self.levels.last_mut()?;
            let Some(file) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let shown = level.shown.join(&file);
            match self.step(file) {
                Ok(Some(step)) => return Some(step),
                Ok(None) => {}
                Err(error) => return Some(Step::Unreadable(shown, error)),
            }
        }
    }
}

fn open_folder(above: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(above, name, flags, Mode::empty())?)
}

/// What is in a folder, the last by name first.
fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&*name, b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}
