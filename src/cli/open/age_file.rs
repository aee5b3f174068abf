//! One age file, or stdin.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use serde_json::json;

use super::{Opener, Target, is_dash, target, write_failure};
use crate::cli::progress::Progress;
use crate::cli::results::print_json;
use crate::cli::staged::{self, Staged};
use crate::cli::stdout::{self, TextOnly};
use crate::cli::{Exit, Failure};
use crate::seal::Identity;
use crate::upload::AgeReader;

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

    fn reader(&mut self) -> Box<dyn Read + '_> {
        match self {
            Self::Stdin => Box::new(io::stdin().lock()),
            Self::File(file, _) => Box::new(file),
        }
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
    let mut staged = Staged::in_folder(folder)?;
    let progress = Progress::new(&path.to_string_lossy(), input.size());
    let watched = progress.watch(input.reader());
    let size = copy(watched, &mut staged, &opener.identities)
        .map_err(|failure| failure.about(path.display()))?;
    staged.publish(name, force)?;
    if opener.args.json {
        print_json(&json!({
            "input": path.to_string_lossy(),
            "output": target.to_string_lossy(),
            "size": size,
        }))?;
    }
    opener.made.insert(target);
    Ok(())
}

fn to_stdout(opener: &Opener<'_>, input: &mut Input, name: &Path) -> Result<(), Failure> {
    let mut out = stdout::unbuffered()?;
    let to_terminal = stdout::is_terminal();
    if let Input::File(file, Some(size)) = input {
        // Verified as a whole first. Every piece is verified again as it is printed, so nobody can slip one in between.
        let progress = Progress::new(&name.to_string_lossy(), Some(*size));
        copy(
            progress.watch(&mut *file),
            &mut io::sink(),
            &opener.identities,
        )?;
        file.rewind()
            .map_err(|error| Failure::io("read again", name, &error))?;
    }
    let reader = input.reader();
    if to_terminal && opener.args.output.is_none() {
        copy(reader, &mut TextOnly(out), &opener.identities)?;
    } else {
        copy(reader, &mut out, &opener.identities)?;
    }
    Ok(())
}

/// Writes what is in an age file, each piece once it is verified, and gives its size. An error may come after some.
fn copy(
    input: impl Read,
    output: &mut impl Write,
    identities: &[Identity],
) -> Result<u64, Failure> {
    let mut reader = AgeReader::open(input, identities)?;
    let mut size = 0;
    while let Some(chunk) = reader.next_chunk()? {
        output.write_all(chunk).map_err(write_failure)?;
        size += chunk.len() as u64;
    }
    output
        .flush()
        .map_err(|error| Failure::from_error(Exit::Other, &error))?;
    Ok(size)
}
