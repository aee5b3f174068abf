//! What a command line names, one file after another: files, everything in folders, standard input, what patterns match.
//!
//! Nothing is looked for before it is wanted, so a million files take no more memory than the names of one folder at each level.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::vec;

use glob::{MatchOptions, Paths, glob_with};

use super::source::{Opened, SourceError};
use super::walk::{Child, Walk};
use crate::cli::restored_name::printable;
use crate::cli::{Exit, Failure};

/// As shells have it: `*` matches neither a slash nor what is hidden.
const LIKE_SHELLS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Something to send.
pub(super) struct Input {
    from: From,
    /// What messages call it: safe for a terminal.
    pub(super) shown: String,
    /// What it is to be called where it arrives.
    pub(super) name: Option<Vec<u8>>,
    /// Where it is, from the root on, where it is anywhere.
    pub(super) path: Option<PathBuf>,
}

enum From {
    /// Named on the command line, `-` too.
    Argument(PathBuf),
    /// Found below a folder.
    Folder(Child),
}

impl Input {
    /// Opens it. Blocks, for a pipe until somebody writes to it.
    pub(super) fn open(&self) -> Result<Opened, SourceError> {
        match &self.from {
            From::Argument(path) => Opened::at(path),
            From::Folder(child) => Opened::below(&child.folder, &child.file),
        }
    }
}

/// What comes next.
pub(super) enum Found {
    File(Input),
    /// Something of which nothing is sent, and why.
    Skipped(String),
    /// Something that should be sent and cannot.
    Failed(Failure),
}

/// Everything that a command line names, in the order of its arguments; below folders by name.
pub(super) struct Inputs {
    arguments: vec::IntoIter<PathBuf>,
    /// What a pattern still has.
    matches: Option<Matches>,
    walk: Option<Walk>,
    /// What the one file is to be called.
    name: Option<Vec<u8>>,
    /// Our own folders: what is in them would let others finish uploads.
    own: Vec<PathBuf>,
}

/// What a pattern matches.
struct Matches {
    paths: Paths,
    pattern: PathBuf,
    any: bool,
}

impl Inputs {
    /// `name` is for a command line that names one file.
    pub(super) fn new(arguments: Vec<PathBuf>, name: Option<Vec<u8>>, own: Vec<PathBuf>) -> Self {
        Self {
            arguments: arguments.into_iter(),
            matches: None,
            walk: None,
            name,
            own,
        }
    }

    /// Something that is there, or `-`.
    fn named(&mut self, path: PathBuf) -> Found {
        let shown = shown(&path);
        if is_dash(&path) {
            return Found::File(Input {
                from: From::Argument(path),
                shown,
                name: self.name.take(),
                path: None,
            });
        }
        // Where it is, whatever links lead there.
        let found = path
            .canonicalize()
            .and_then(|real| Ok((path.metadata()?.is_dir(), real)));
        let (is_folder, real) = match found {
            Ok(found) => found,
            Err(error) => return failed(&shown, error),
        };
        let own_name = path.file_name().or_else(|| real.file_name());
        if !is_folder {
            let name = self.name.take();
            return Found::File(Input {
                name: name.or_else(|| own_name.map(|name| name.as_bytes().to_vec())),
                from: From::Argument(path),
                shown,
                path: Some(real),
            });
        }
        let name = own_name.map_or_else(Vec::new, |name| name.as_bytes().to_vec());
        match Walk::below(&real, path.clone(), name, &self.own) {
            Ok(walk) => {
                self.walk = Some(walk);
                Found::Skipped(String::new())
            }
            Err(error) => failed(&shown, error),
        }
    }

    fn argument(&mut self, path: PathBuf) -> Found {
        if is_dash(&path) || path.symlink_metadata().is_ok() || !is_pattern(&path) {
            return self.named(path);
        }
        let paths = path.to_str().map(|text| glob_with(text, LIKE_SHELLS));
        match paths {
            Some(Ok(paths)) => {
                self.matches = Some(Matches {
                    paths,
                    pattern: path,
                    any: false,
                });
                Found::Skipped(String::new())
            }
            Some(Err(error)) => Found::Failed(Failure::usage(error.msg).about(shown(&path))),
            None => Found::Failed(no_match(&path)),
        }
    }

    /// The next one of what a pattern matches.
    fn matched(&mut self) -> Option<Found> {
        let matches = self.matches.as_mut()?;
        match matches.paths.next() {
            Some(Ok(path)) => {
                matches.any = true;
                Some(self.named(path))
            }
            Some(Err(error)) => {
                let shown = shown(error.path());
                let error = io::Error::from(error.error().kind());
                Some(failed(&shown, error))
            }
            None => {
                let ended = self.matches.take()?;
                (!ended.any).then(|| Found::Failed(no_match(&ended.pattern)))
            }
        }
    }
}

impl Iterator for Inputs {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let found = if let Some(walk) = &mut self.walk {
                let step = walk.next();
                if step.is_none() {
                    self.walk = None;
                }
                step.map(of_walk)
            } else if self.matches.is_some() {
                self.matched()
            } else {
                let path = self.arguments.next()?;
                Some(self.argument(path))
            };
            match found {
                // A folder or a pattern was begun, or has ended: nothing to say.
                None => {}
                Some(Found::Skipped(note)) if note.is_empty() => {}
                Some(found) => return Some(found),
            }
        }
    }
}

fn of_walk(step: super::walk::Step) -> Found {
    use super::walk::Step;
    match step {
        Step::File(child) => Found::File(Input {
            shown: shown(&child.shown),
            name: Some(child.name.clone()),
            path: Some(child.path.clone()),
            from: From::Folder(child),
        }),
        Step::Skipped(path, why) => Found::Skipped(format!("{}: {why}", shown(&path))),
        Step::Unreadable(path, error) => failed(&shown(&path), error),
    }
}

fn failed(shown: &str, error: io::Error) -> Found {
    Found::Failed(Failure::from(SourceError::Read(error)).about(shown))
}

fn no_match(pattern: &Path) -> Failure {
    let line = "there is no such file, and nothing that it matches as a pattern";
    Failure::new(Exit::Other, line).about(shown(pattern))
}

fn is_pattern(path: &Path) -> bool {
    let text = path.as_os_str().as_bytes();
    text.iter().any(|byte| b"*?[".contains(byte))
}

/// What messages call it.
pub(super) fn shown(path: &Path) -> String {
    if is_dash(path) {
        "standard input".to_owned()
    } else {
        printable(&path.to_string_lossy())
    }
}

pub(super) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == OsStr::new("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Names of what is found, and how many of it were skipped and failed.
    fn all(arguments: &[&Path], own: Vec<PathBuf>) -> (Vec<String>, Vec<String>, usize) {
        let arguments = arguments.iter().map(|path| (*path).to_owned()).collect();
        let (mut names, mut notes, mut failures) = (Vec::new(), Vec::new(), 0);
        for found in Inputs::new(arguments, None, own) {
            match found {
                Found::File(input) => {
                    let name = input.name.clone().unwrap();
                    assert!(input.open().is_ok());
                    names.push(String::from_utf8_lossy(&name).into_owned());
                }
                Found::Skipped(note) => notes.push(note),
                Found::Failed(_) => failures += 1,
            }
        }
        (names, notes, failures)
    }

    #[test]
    fn folders_are_walked_in_order_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for folder in ["b/deep/deeper", "empty", "a"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["b/deep/deeper/x", "b/z", "b/a", ".hidden", "-rf", "a/one"] {
            fs::write(root.join(file), "x").unwrap();
        }
        fs::write(root.join(OsStr::from_bytes(b"\xff\n")), "x").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
        let (names, notes, failures) = all(&[&root], Vec::new());
        assert_eq!(failures, 0);
        let expected = [
            "root/-rf",
            "root/.hidden",
            "root/a/one",
            "root/b/a",
            "root/b/deep/deeper/x",
            "root/b/z",
            "root/\u{fffd}\n",
        ];
        assert_eq!(names, expected);
        let [empty, link] = &notes[..] else {
            panic!("{notes:?}");
        };
        assert!(
            empty.contains("/empty: ") && link.contains("/link: "),
            "{notes:?}"
        );
        // A link that is named itself leads where it leads.
        let link = dir.path().join("to-root");
        std::os::unix::fs::symlink("root/b", &link).unwrap();
        let (names, ..) = all(&[&link], Vec::new());
        assert_eq!(names[0], "to-root/a");
        let (names, notes, _) = all(&[&root], vec![root.join("b")]);
        assert!(
            !names.iter().any(|name| name.starts_with("root/b/")),
            "{names:?}"
        );
        assert_eq!(notes.len(), 3);
    }

    #[test]
    fn patterns_are_expanded_where_no_file_has_their_name() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.txt", "b.txt", ".c.txt", "d.bin", "[x].txt"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        let names = |pattern: &str| all(&[&dir.path().join(pattern)], Vec::new());
        assert_eq!(names("*.txt").0, ["[x].txt", "a.txt", "b.txt"]);
        assert_eq!(names("?.???").0, ["a.txt", "b.txt", "d.bin"]);
        assert_eq!(names("[x].txt").0, ["[x].txt"]);
        assert_eq!(names("[ab].txt").0, ["a.txt", "b.txt"]);
        for nothing in ["*.gz", "a[", "gone"] {
            assert_eq!(names(nothing).2, 1, "{nothing}");
        }
    }
}
