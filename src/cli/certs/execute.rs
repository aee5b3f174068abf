//! Doing what a plan says.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::plan::{Change, Step, command_line};
use super::stores::run;

/// What the copy of a certificate is called in its folder.
const COPY: &str = "ca.crt";

/// By whom steps are done that only root may do.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// This process is root's.
    Ours,
    /// By `sudo`, which is at this path. Where nobody is at a terminal it may not ask for a password.
    Sudo {
        /// Its absolute path.
        program: PathBuf,
        /// Whether it may ask.
        may_ask: bool,
    },
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The file system refused.
    #[error("cannot {step}")]
    Io {
        /// What was to be done.
        step: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program said no.
    #[error("{line}: {said}")]
    Program {
        /// How it was called.
        line: String,
        /// The end of what it said.
        said: String,
    },
}

/// Does one change, step by step, up to one that fails.
pub(super) fn carry_out(change: &Change, root: &Root) -> Result<(), StepError> {
    change.steps.iter().try_for_each(|step| done(step, root))
}

/// How a step is called where it takes `sudo`: as it is shown, and as it is run.
pub(super) fn with_sudo(
    step: &Step,
    sudo: &Path,
    may_ask: bool,
) -> (PathBuf, Vec<OsString>, String) {
    let (program, arguments, input) = step.as_program();
    let mut all: Vec<OsString> = Vec::new();
    if !may_ask {
        all.push("-n".into());
    }
    all.extend(["--".into(), program.into()]);
    all.extend(arguments);
    (sudo.to_owned(), all, input)
}

fn done(step: &Step, root: &Root) -> Result<(), StepError> {
    // The copy is ours, and the program on it is a step of its own.
    let by_root = step.needs_root() && !matches!(step, Step::RunOnCopy { .. });
    if let (true, Root::Sudo { program, may_ask }) = (by_root, root) {
        let (program, arguments, input) = with_sudo(step, program, *may_ask);
        return ran(&program, &arguments, &input);
    }
    let io = |source| StepError::Io {
        step: step.to_string(),
        source,
    };
    match step {
        Step::CreateFolder(path) => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io),
        Step::Write { path, content, .. } => write(path, content).map_err(io),
        Step::Remove(path) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io(error)),
            _ => Ok(()),
        },
        Step::Run {
            program,
            arguments,
            input,
            ..
        } => ran(program, arguments, input),
        Step::RunOnCopy { content, .. } => {
            let folder = private_copy(content).map_err(io)?;
            done(&step.on(&folder.path().join(COPY)), root)
        }
    }
}

/// A folder that nobody else can look into, with a file of this content. Both go when it is dropped.
fn private_copy(content: &str) -> io::Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("sealslot-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.path().join(COPY))?;
    file.write_all(content.as_bytes())?;
    Ok(folder)
}

/// Whole or not at all: the system's program may be building its store at this moment.
fn write(path: &Path, content: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".sealslot-")
        .tempfile_in(folder)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn ran(program: &Path, arguments: &[OsString], input: &str) -> Result<(), StepError> {
    let failed = |said: String| StepError::Program {
        line: command_line(program, arguments),
        said,
    };
    let ran = run(program.as_os_str(), arguments, input.as_bytes())
        .map_err(|error| failed(error.to_string()))?;
    if ran.success {
        return Ok(());
    }
    let said = if ran.stderr.trim().is_empty() {
        &ran.stdout
    } else {
        &ran.stderr
    };
    let last = said
        .trim()
        .lines()
        .last()
        .unwrap_or("it failed without a word");
    Err(failed(last.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_takes_a_file_gets_what_was_checked_in_one_that_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script =
            "cat \"$1\" >\"$0\"; stat -c %a \"$1\" \"${1%/*}\" >>\"$0\"; echo \"$1\" >>\"$0\"";
        let step = Step::RunOnCopy {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into(), out.clone().into()],
            content: "PEM\n".to_owned(),
            as_root: true,
        };
        done(&step, &Root::Ours).unwrap();
        let said = fs::read_to_string(out).unwrap();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..3], ["PEM", "600", "700"]);
        assert!(!Path::new(lines[3]).exists(), "{said}");
    }
}
