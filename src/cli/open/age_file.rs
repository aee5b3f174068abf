//! One age file, or stdin.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use serde_json::json;

use super::{Opener, Target, is_dash, target, write_failure};
use crate::cli::Failure;
use crate::cli::progress::Progress;
use crate::cli::results::print_json;
use crate::cli::staged::{self, Staged};
use crate::cli::stdout::{self, TextOnly};
use crate::upload::{AgeFileError, open_stream};

/// What an age file is read from.
enum Input {
    Stdin,
    /// A file, and its size where it can be read twice.
    File(File, Option<u64>),
}

impl Input {
    fn open(path: &Path) -> Result<Self, Failure> {
        if is_dash(path) {
            return Ok(Self::Stdin);
        }
        let read = |error| Failure::io("read", path, &error);
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self::File(file, size))
    }

    /// What it gives from where it stands.
    fn reader(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(file, _) => Box::new(file.try_clone()?),
        })
    }

    fn size(&self) -> Option<u64> {
        match self {
            Self::Stdin => None,
            Self::File(_, size) => *size,
        }
    }
}

pub(super) fn open(opener: &mut Opener<'_>, path: &Path) -> Result<(), Failure> {
    let mut input = Input::open(path)?;
    let name = if is_dash(path) {
        Path::new("stdin")
    } else {
        path
    };
    let about = |failure: Failure| failure.about(name.display());
    match target(opener.args)? {
        Target::Stdout => to_stdout(opener, &mut input, name).map_err(about),
        Target::File(target) => to_file(opener, &mut input, path, target),
        Target::Folder(folder) => {
            let (_, name) = staged::split(path)?;
            staged::make_folder(folder)?;
            let is_age = name.extension().is_some_and(|extension| extension == "age");
            let stem = name.file_stem().filter(|_| is_age).map(Path::new);
            let target = folder.join(stem.unwrap_or(name));
            to_file(opener, &mut input, path, &target)
        }
    }
}

fn to_file(
    opener: &mut Opener<'_>,
    input: &mut Input,
    path: &Path,
    target: &Path,
) -> Result<(), Failure> {
    let force = opener.args.force && !opener.made.contains(target);
    staged::check_target(target, force)?;
    let (folder, name) = staged::split(target)?;
    let staged = Staged::in_folder(folder)?;
    let about = |failure: Failure| failure.about(path.display());
    let progress = Progress::new(&path.to_string_lossy(), input.size());
    let reader = input.reader().map_err(AgeFileError::Read);
    let watched = progress.watch(reader.map_err(|error| about(error.into()))?);
    let done = open_stream(watched, staged, &opener.identities);
    let done = done.map_err(|error| about(error.into()))?;
    done.output.publish(name, force)?;
    if opener.args.json {
        print_json(&json!({
            "input": path.to_string_lossy(),
            "output": target.to_string_lossy(),
            "size": done.size,
        }))?;
    }
    opener.made.insert(target);
    Ok(())
}

fn to_stdout(opener: &Opener<'_>, input: &mut Input, name: &Path) -> Result<(), Failure> {
    let out = stdout::unbuffered()?;
    let to_terminal = stdout::is_terminal();
    if let Input::File(file, Some(size)) = input {
        // Verified as a whole first. Every piece is verified again as it is printed, so nobody can slip one in between.
        let progress = Progress::new(&name.to_string_lossy(), Some(*size));
        let reader = file.try_clone().map_err(AgeFileError::Read)?;
        open_stream(progress.watch(reader), io::sink(), &opener.identities)?;
        file.rewind()
            .map_err(|error| Failure::io("read again", name, &error))?;
    }
    let reader = input.reader().map_err(AgeFileError::Read)?;
    let done = if to_terminal && opener.args.output.is_none() {
        open_stream(reader, TextOnly(out), &opener.identities).map(|_| ())
    } else {
        open_stream(reader, out, &opener.identities).map(|_| ())
    };
    done.map_err(|error| match error {
        AgeFileError::Write(error) => write_failure(error),
        error => error.into(),
    })
}
