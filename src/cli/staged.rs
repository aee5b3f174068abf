//! Output files: written under a hidden name beside where they go, and given their name only when they are complete.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::made::Made;
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

    /// Lets the file appear in these folders, each in the one before, below the one that it was begun in. They are made where
    /// they are missing, and become part of `made`. One that is there is joined where this run made it, or `joins` says so.
    pub(super) fn below(
        mut self,
        folders: &[String],
        joins: Joins,
        made: &mut Made,
    ) -> Result<Self, Failure> {
        for name in folders {
            self.folder = folder_in(&self.folder, name, joins, made)?;
        }
        Ok(self)
    }

    /// The folder that the file is to appear in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lets others read it too, as `mode` says, once it has its name.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let file = self.file.as_file();
        file.set_permissions(Permissions::from_mode(mode))
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
        for name in with_numbers(name) {
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

/// Which folders that are there already are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joins {
    /// All.
    Any,
    /// Those that this run made.
    Made,
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn write_vectored(&mut self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.as_file_mut().write_vectored(chunks)
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
pub(super) fn sync_folder(folder: &Path) -> Result<(), Failure> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Failure::io("sync", folder, &error))
}

/// `name`, and then the same with numbers.
pub(super) fn with_numbers(name: &str) -> impl Iterator<Item = String> {
    let others = (2..=MAX_NUMBER).map(move |number| numbered(name, number));
    std::iter::once(name.to_owned()).chain(others)
}

/// The folder `name` in `folder`, for this user alone where it has to be made. A link is not followed, wherever it leads, and
/// nothing is replaced: beside what is no folder, or none that is joined, there is one with a number.
pub(super) fn folder_in(
    folder: &Path,
    name: &str,
    joins: Joins,
    made: &mut Made,
) -> Result<PathBuf, Failure> {
    for name in with_numbers(name) {
        let path = folder.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                made.insert(&path);
                sync_folder(folder)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = path.symlink_metadata();
                let there = there.map_err(|error| Failure::io("look at", &path, &error))?;
                if there.is_dir() && (joins == Joins::Any || made.contains(&path)) {
                    return Ok(path);
                }
            }
            Err(error) => return Err(Failure::io("make the folder", &path, &error)),
        }
    }
    Err(exists(&folder.join(name)))
}

/// Makes the folder for output, and those above it, where they are missing.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::io("make the folder", folder, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

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
    fn folders_are_made_below_and_shared() {
        let dir = tempfile::tempdir().unwrap();
        let below = |contents: &str, folders: &[&str]| {
            let folders: Vec<_> = folders.iter().map(|&name| name.to_owned()).collect();
            let staged = staged(dir.path(), contents);
            staged
                .below(&folders, Joins::Any, &mut Made::default())
                .unwrap()
        };
        for (expected, contents) in [("a/b/x", "1"), ("a/b/x (2)", "2")] {
            let path = below(contents, &["a", "b"]).publish_numbered("x").unwrap();
            assert_eq!(path, dir.path().join(expected));
            assert_eq!(fs::read(path).unwrap(), contents.as_bytes());
        }
        below("3", &["a", "b"])
            .publish(Path::new("x"), true)
            .unwrap();
        assert_eq!(fs::read(dir.path().join("a/b/x")).unwrap(), b"3");
        let refused = below("4", &["a", "b"]).publish(Path::new("x"), false);
        assert_eq!(refused.unwrap_err().exit(), Exit::Other);
        for folder in ["a", "a/b"] {
            let mode = dir.path().join(folder).metadata().unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o700);
        }
        assert_eq!(names(dir.path()), ["a"]);
        assert_eq!(names(&dir.path().join("a/b")), ["x", "x (2)"]);
    }

    #[test]
    fn beside_what_is_no_folder_there_is_one_with_a_number() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(dir.path().join("file"), "old").unwrap();
        symlink(outside.path(), dir.path().join("link")).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        for name in ["file", "link", "dangling"] {
            let number = format!("{name} (2)");
            for contents in ["1", "2"] {
                // The second goes where the first went.
                let below = staged(dir.path(), contents)
                    .below(&[name.to_owned()], Joins::Any, &mut Made::default())
                    .unwrap();
                assert_eq!(below.folder(), dir.path().join(&number));
                below.publish_numbered(contents).unwrap();
            }
            assert_eq!(names(&dir.path().join(number)), ["1", "2"]);
        }
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"old");
        assert!(names(outside.path()).is_empty());
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn what_others_made_is_joined_only_where_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("bin/deep")).unwrap();
        let mut made = Made::default();
        for joins in [Joins::Any, Joins::Made] {
            for contents in ["1", "2"] {
                let folders = ["bin", "deep"].map(str::to_owned);
                let below = staged(dir.path(), contents).below(&folders, joins, &mut made);
                let path = below.unwrap().publish_numbered("ls").unwrap();
                let expected = match (joins, contents) {
                    (Joins::Any, "1") => "bin/deep/ls",
                    (Joins::Any, _) => "bin/deep/ls (2)",
                    // With all that came with it.
                    (Joins::Made, "1") => "bin (2)/deep/ls",
                    (Joins::Made, _) => "bin (2)/deep/ls (2)",
                };
                assert_eq!(path, dir.path().join(expected));
            }
        }
        // The next run knows nothing of it.
        let folders = ["bin".to_owned()];
        let below = staged(dir.path(), "3").below(&folders, Joins::Made, &mut Made::default());
        assert_eq!(below.unwrap().folder(), dir.path().join("bin (3)"));
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
