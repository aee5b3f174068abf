//! One thing that is done to a store.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::tls::dev::shell_quoted;

/// What a copy is called before there is one.
const COPY: &str = "(a copy of the certificate above)";

/// One thing that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::certs) enum Step {
    /// A folder for this user alone.
    CreateFolder(PathBuf),
    /// A file that everybody can read.
    Write {
        /// The file.
        path: PathBuf,
        /// What is in it.
        content: String,
        /// Whether only root may.
        as_root: bool,
    },
    /// A file goes.
    Remove(PathBuf),
    /// A program is run.
    Run {
        /// Its absolute path.
        program: PathBuf,
        arguments: Vec<OsString>,
        /// What it reads on its stdin.
        input: String,
        /// Whether only root may.
        as_root: bool,
    },
    /// A program is run that takes nothing on its stdin, with a file of its own as the last argument: the certificate as it was
    /// checked, for at the path that it came from another one could be by then.
    RunOnCopy {
        /// Its absolute path.
        program: PathBuf,
        /// Those before the file.
        arguments: Vec<OsString>,
        /// What is in the file.
        content: String,
        /// Whether only root may.
        as_root: bool,
    },
}

impl Step {
    /// Whether only root may do it.
    pub(in crate::cli::certs) fn needs_root(&self) -> bool {
        match self {
            Self::CreateFolder(_) => false,
            Self::Remove(_) => true,
            Self::Write { as_root, .. }
            | Self::Run { as_root, .. }
            | Self::RunOnCopy { as_root, .. } => *as_root,
        }
    }

    /// The same as a program that is run, for `sudo`. Certificates are handed over on stdin, as they were checked: a path could lead
    /// to another one by then.
    pub(in crate::cli::certs) fn as_program(&self) -> (PathBuf, Vec<OsString>, String) {
        match self {
            Self::CreateFolder(path) => (
                "/usr/bin/mkdir".into(),
                vec!["-p".into(), path.into()],
                String::new(),
            ),
            Self::Write { path, content, .. } => {
                let mut arguments: Vec<OsString> =
                    ["-m", "0644", "-T", "/dev/stdin"].map(Into::into).to_vec();
                arguments.push(path.into());
                ("/usr/bin/install".into(), arguments, content.clone())
            }
            Self::Remove(path) => (
                "/usr/bin/rm".into(),
                vec!["-f".into(), "--".into(), path.into()],
                String::new(),
            ),
            Self::Run {
                program,
                arguments,
                input,
                ..
            } => (program.clone(), arguments.clone(), input.clone()),
            // As it is shown: it is run as what `on` makes of it.
            Self::RunOnCopy {
                program, arguments, ..
            } => {
                let file = OsString::from(COPY);
                let arguments = [&arguments[..], &[file]].concat();
                (program.clone(), arguments, String::new())
            }
        }
    }

    /// The same with the file that its content is in.
    pub(in crate::cli::certs) fn on(&self, file: &Path) -> Self {
        match self {
            Self::RunOnCopy {
                program,
                arguments,
                as_root,
                ..
            } => Self::Run {
                program: program.clone(),
                arguments: [&arguments[..], &[file.into()]].concat(),
                input: String::new(),
                as_root: *as_root,
            },
            other => other.clone(),
        }
    }
}

/// A program and its arguments as a shell would take them.
pub(in crate::cli::certs) fn command_line(program: &Path, arguments: &[OsString]) -> String {
    let words =
        std::iter::once(program.as_os_str()).chain(arguments.iter().map(OsString::as_os_str));
    let quoted = words.map(|word| {
        let word = word.to_string_lossy();
        // An option is one on purpose.
        if word.starts_with('-') && !word.contains(' ') {
            word.into_owned()
        } else {
            shell_quoted(&word)
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateFolder(path) => write!(f, "create the folder {}", path.display()),
            Self::Write { path, .. } => write!(f, "write {}", path.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::Run {
                program, arguments, ..
            } => write!(f, "run {}", command_line(program, arguments)),
            Self::RunOnCopy {
                program, arguments, ..
            } => write!(f, "run {} {COPY}", command_line(program, arguments)),
        }
    }
}
