//! `sealslot open --range`: a part of one age file or upload, of which only the chunks that hold it are read.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{OpenArgs, is_dash, is_folder, upload_folder, write_failure};
use crate::cli::Failure;
use crate::cli::restore::RestoreError;
use crate::cli::results::print_json;
use crate::cli::staged::{self, Staged};
use crate::cli::stdout::{self, TextOnly};
use crate::http::range::RangeSpec;
use crate::seal::Identity;
use crate::store::{ReadAt, StoreError};
use crate::upload::{AgeFileError, Plaintext, PlaintextAt, ReadError, SeekableAgeFile};

/// Finds what makes no sense before anything is read or asked for.
pub(super) fn check(args: &OpenArgs) -> Result<(), Failure> {
    let [input] = &args.inputs[..] else {
        return Err(Failure::usage("--range is about one IN: give one"));
    };
    if is_dash(input) {
        return Err(Failure::usage(
            "nobody can seek in stdin: --range needs a file, or an upload folder",
        ));
    }
    match output(args) {
        None if args.json => Err(Failure::usage(
            "--json would mix with the content on stdout: give -o OUT",
        )),
        None => Ok(()),
        Some(path) if path.is_dir() => Err(Failure::usage(format_args!(
            "{} is a folder: with --range, -o names a file",
            path.display()
        ))),
        Some(path) => staged::check_target(path, args.force),
    }
}

/// The file that the part goes to; `None` is stdout.
fn output(args: &OpenArgs) -> Option<&Path> {
    args.output.as_deref().filter(|path| !is_dash(path))
}

/// Opens the part of the one input.
pub(super) fn open(
    args: &OpenArgs,
    identities: &[Identity],
    range: RangeSpec,
) -> Result<(), Failure> {
    let input = &args.inputs[0];
    let about = |failure: Failure| failure.about(input.display());
    let (mut content, size) = Content::open(args, input, identities)?;
    let range = range.within(size).ok_or_else(|| {
        about(Failure::usage(format_args!(
            "there are {size} bytes, counted from 0, and the range names none of them"
        )))
    })?;
    let Some(target) = output(args) else {
        return to_stdout(args, &mut content, &range).map_err(about);
    };
    let (folder, name) = staged::split(target)?;
    let mut staged = Staged::in_folder(folder)?;
    content.copy(&range, &mut staged).map_err(about)?;
    staged.publish(name, args.force)?;
    if args.json {
        print_json(&json!({
            "input": input.to_string_lossy(),
            "output": target.to_string_lossy(),
            "size": range.end - range.start,
            "first": range.start,
            "total": size,
        }))?;
    }
    Ok(())
}

/// Verified as a whole first: nothing of a part that is damaged is printed.
fn to_stdout(args: &OpenArgs, content: &mut Content, range: &Range<u64>) -> Result<(), Failure> {
    let mut out = stdout::unbuffered()?;
    content.copy(range, &mut io::sink())?;
    if stdout::is_terminal() && args.output.is_none() {
        content.copy(range, &mut TextOnly(out))
    } else {
        content.copy(range, &mut out)
    }
}

/// What a part is taken from.
enum Content {
    Upload(Plaintext),
    AgeFile(SeekableAgeFile),
    /// What the sender of an upload had sealed.
    Inner(SeekableAgeFile),
}

impl Content {
    /// Opens it, and gives its size in bytes.
    fn open(
        args: &OpenArgs,
        input: &Path,
        identities: &[Identity],
    ) -> Result<(Self, u64), Failure> {
        let about = |failure: Failure| failure.about(input.display());
        if !is_folder(input) {
            let file = SeekableFile::open(input)?;
            let mut file = SeekableAgeFile::open(Box::new(file), identities)
                .map_err(|error| about(error.into()))?;
            let size = file.size().map_err(|error| about(error.into()))?;
            return Ok((Self::AgeFile(file), size));
        }
        let upload = upload_folder::open_manifest(input, identities)?;
        let size = upload.manifest().size;
        let plaintext = upload.plaintext(0..0);
        if !upload.manifest().is_client_sealed() || args.outer {
            return Ok((Self::Upload(plaintext), size));
        }
        let outer = Box::new(PlaintextAt::from(plaintext));
        let mut inner = SeekableAgeFile::open(outer, identities)
            .map_err(|error| about(inner_failure(error)))?;
        let size = inner.size().map_err(|error| about(inner_failure(error)))?;
        Ok((Self::Inner(inner), size))
    }

    /// Writes what lies at `range`, each piece once it is verified. An error may come after some.
    fn copy(&mut self, range: &Range<u64>, output: &mut impl Write) -> Result<(), Failure> {
        match self {
            Self::Upload(plaintext) => {
                plaintext.seek(range.clone());
                while let Some(piece) = plaintext.next_piece()? {
                    output.write_all(piece).map_err(write_failure)?;
                }
            }
            Self::AgeFile(file) => copy_pieces(file, range, output, Failure::from)?,
            Self::Inner(file) => copy_pieces(file, range, output, inner_failure)?,
        }
        output.flush().map_err(write_failure)
    }
}

fn copy_pieces(
    file: &mut SeekableAgeFile,
    range: &Range<u64>,
    output: &mut impl Write,
    failed: impl Fn(AgeFileError) -> Failure,
) -> Result<(), Failure> {
    let mut at = range.start;
    while at < range.end {
        let piece = file.piece(at..range.end).map_err(&failed)?;
        output.write_all(piece).map_err(write_failure)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Which layer it was that failed.
fn inner_failure(error: AgeFileError) -> Failure {
    match error {
        AgeFileError::Open(error) => RestoreError::Inner(error).into(),
        AgeFileError::Armored => {
            Failure::from(error).about("the inner layer, sealed by the sender (--outer leaves it)")
        }
        // Reading the inner layer is opening the outer one.
        AgeFileError::Read(error) => match error.downcast::<ReadError>() {
            Ok(outer) => outer.into(),
            Err(error) => AgeFileError::Read(error).into(),
        },
        error => error.into(),
    }
}

struct SeekableFile {
    file: File,
    size: u64,
    path: PathBuf,
}

impl SeekableFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        let read = |error| Failure::io("read", path, &error);
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return Err(Failure::usage(format_args!(
                "nobody can seek in {}: --range needs a file, or an upload folder",
                path.display()
            )));
        }
        Ok(Self {
            file,
            size: metadata.len(),
            path: path.to_owned(),
        })
    }
}

impl ReadAt for SeekableFile {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, StoreError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self
                .file
                .read_at(&mut buf[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(size) => filled += size,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(StoreError::io("read", &self.path, source)),
            }
        }
        Ok(filled)
    }
}
