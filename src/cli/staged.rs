//! Output files: written under a hidden name beside where they go, and given their name only when they are complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::restored_name::numbered;
use super::{Exit, Failure};

/// How many files of one name are told apart by a number.
const MAX_NUMBER: u32 = 9999;

/// A file of mode 0600 that nobody sees under its name yet. Dropped before it was published, it is removed; what a
/// signal leaves of one is named `.sealslot-*.part`.
pub(super) struct Staged {
    file: NamedTempFile,
    folder: PathBuf,
}

impl Staged {
    /// Begins a file that is to appear in `folder`, which must exist.
    pub(super) fn in_folder(folder: &Path) -> Result<Self, Failure> {
        let file = tempfile::Builder::new()
            .prefix(".sealslot-")
            .suffix(".part")
            .tempfile_in(folder)
            .map_err(|error| Failure::io("write into", folder, &error))?;
        Ok(Self {
            file,
            folder: folder.to_owned(),
        })
    }

    /// Gives the file its name, once it is on disk. What has the name already is an error, or with `force` replaced: a
    /// link itself and not what it points to, and never a folder or a device.
    pub(super) fn publish(self, name: &Path, force: bool) -> Result<(), Failure> {
        let target = self.folder.join(name);
        check_target(&target, force)?;
        self.sync(&target)?;
        let published = if force {
            self.file.persist(&target)
        } else {
            self.file.persist_noclobber(&target)
        };
        match published {
            Ok(_) => sync_folder(&self.folder),
            Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(exists(&target))
            }
            Err(failed) => Err(Failure::io("write", &target, &failed.error)),
        }
    }

    /// Gives the file `name`, or where something has that already, `name` with a number. Replaces nothing. Gives the
    /// path that it became.
    pub(super) fn publish_numbered(mut self, name: &str) -> Result<PathBuf, Failure> {
        self.sync(&self.folder.join(name))?;
        let names = (2..=MAX_NUMBER).map(|number| numbered(name, number));
        for name in std::iter::once(name.to_owned()).chain(names) {
            let target = self.folder.join(name);
            match self.file.persist_noclobber(&target) {
                Ok(_) => {
                    sync_folder(&self.folder)?;
                    return Ok(target);
                }
                Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
                    self.file = failed.file;
                }
                Err(failed) => return Err(Failure::io("write", &target, &failed.error)),
            }
        }
        Err(exists(&self.folder.join(name)))
    }

    fn sync(&self, target: &Path) -> Result<(), Failure> {
        let synced = self.file.as_file().sync_all();
        synced.map_err(|error| Failure::io("write", target, &error))
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says early, before anything is read, whether a file could not be published as `target`.
pub(super) fn check_target(target: &Path, force: bool) -> Result<(), Failure> {
    match target.symlink_metadata() {
        Ok(there) if there.is_dir() => Err(Failure::usage(format_args!(
            "{} is a folder: give the path of a file",
            target.display()
        ))),
        Ok(there) if !there.is_file() && !there.is_symlink() => Err(Failure::usage(format_args!(
            "{} is neither a file nor free: use stdout to write to a device or a pipe",
            target.display()
        ))),
        Ok(_) if !force => Err(exists(target)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io("look at", target, &error))
        }
        _ => Ok(()),
    }
}

/// The folder and the name of the file at `path`.
pub(super) fn split(path: &Path) -> Result<(&Path, &Path), Failure> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => {
            Ok((Path::new("."), Path::new(name)))
        }
        (Some(folder), Some(name)) => Ok((folder, Path::new(name))),
        _ => Err(Failure::usage(format_args!(
            "{} names no file: give the path of a file",
            path.display()
        ))),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::new(
        Exit::Other,
        format_args!(
            "{} exists already: choose another name, or replace it with --force",
            path.display()
        ),
    )
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<(), Failure> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Failure::io("sync", folder, &error))
}

/// Makes the folder for output, and those above it, where they are missing.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::io("make the folder", folder, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn staged(folder: &Path, contents: &str) -> Staged {
        let mut staged = Staged::in_folder(folder).unwrap();
        staged.write_all(contents.as_bytes()).unwrap();
        staged
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_only_when_published() {
        let dir = tempfile::tempdir().unwrap();
        let file = staged(dir.path(), "x");
        assert!(!dir.path().join("a").exists());
        file.publish(Path::new("a"), false).unwrap();
        assert_eq!(names(dir.path()), ["a"]);
        let mode = dir.path().join("a").metadata().unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        drop(staged(dir.path(), "y"));
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn nothing_is_replaced_without_force() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "old").unwrap();
        let refused = staged(dir.path(), "new").publish(Path::new("a"), false);
        assert_eq!(refused.unwrap_err().exit(), Exit::Other);
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"old");
        staged(dir.path(), "new")
            .publish(Path::new("a"), true)
            .unwrap();
        assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn links_are_not_followed_and_folders_and_devices_stay() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "old").unwrap();
        symlink(&victim, dir.path().join("link")).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        let refused = staged(dir.path(), "new").publish(Path::new("link"), false);
        refused.unwrap_err();
        let numbered = staged(dir.path(), "new").publish_numbered("link").unwrap();
        assert_eq!(numbered, dir.path().join("link (2)"));
        staged(dir.path(), "new")
            .publish(Path::new("link"), true)
            .unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"old");
        assert!(!dir.path().join("link").is_symlink());
        let refused = staged(dir.path(), "new").publish(Path::new("folder"), true);
        assert_eq!(refused.unwrap_err().exit(), Exit::Usage);
        assert!(check_target(Path::new("/dev/null"), true).is_err());
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let dir = tempfile::tempdir().unwrap();
        for expected in ["a.txt", "a (2).txt", "a (3).txt"] {
            let path = staged(dir.path(), expected)
                .publish_numbered("a.txt")
                .unwrap();
            assert_eq!(path, dir.path().join(expected));
            assert_eq!(fs::read(path).unwrap(), expected.as_bytes());
        }
        assert_eq!(names(dir.path()), ["a (2).txt", "a (3).txt", "a.txt"]);
    }
}
