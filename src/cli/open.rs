//! `sealslot open`: sealed files and whole upload folders, back in the clear.

mod age_file;
mod part;
mod upload_folder;

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::identity::IdentityArgs;
use super::made::Made;
use super::staged;
use super::{Exit, Failure};
use crate::http::range::RangeSpec;
use crate::seal::Identity;
use crate::upload::AgeFileError;

/// Open sealed files and whole upload folders
///
/// An IN that is a folder is one upload as the server stores it, with its meta.age: its content goes into the folder
/// OUT under the name that its sender gave, made safe, in folders below OUT where the name has some, and with a number
/// where that name is taken. Without -o, folders that were there before get no new files: those go into folders with a
/// number. Any other IN is an age file: its content goes to OUT. With several INs, OUT is a folder, and x.age becomes
/// OUT/x.
///
/// Nothing appears under its name before all of it has been verified. To stdout a file is read twice, so that nothing
/// of a damaged one is printed. Only what comes from a pipe is printed as it is verified, piece by piece: every byte
/// is genuine, but only exit code 0 says that none is missing.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot open -i identity.pem report.pdf.age -o report.pdf
  sealslot open -i identity.pem -o received data/uploads/2026-11-25/*
  sealslot open -i identity.pem --range 0-1023 disk.img.age | file -")]
pub(super) struct OpenArgs {
    #[command(flatten)]
    identities: IdentityArgs,

    /// Where the content goes: a file for one age file, a folder for uploads or several INs; `-` is stdout
    /// [default: stdout for an age file, the current folder for uploads]
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,

    /// Replace files that exist
    #[arg(long)]
    force: bool,

    /// Of an upload that its sender had sealed, open the outer layer only
    #[arg(long)]
    outer: bool,

    /// Open these bytes only, counted from 0: FIRST-LAST, FIRST- for all from there on, or -LENGTH for so many at the
    /// end. Of a large file little is read. Each byte is genuine, but the digest of the whole is not checked. The part
    /// goes to stdout or to the file OUT, of an upload too
    #[arg(long, value_name = "RANGE", allow_hyphen_values = true)]
    range: Option<RangeSpec>,

    /// Print one JSON object for each opened IN: input, output, size, and for uploads id, submission, kind, name, type,
    /// sha256, time; with --range input, output, size, first, total. Not with content on stdout
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,

    /// Age files, upload folders, or `-` for stdin
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<PathBuf>,
}

/// What all inputs of one command line are opened with.
struct Opener<'a> {
    args: &'a OpenArgs,
    identities: Vec<Identity>,
    /// What this run has made: `--force` replaces what was there before, not what it has just written.
    made: Made,
}

/// Where the content of an age file goes.
enum Target<'a> {
    Stdout,
    File(&'a Path),
    /// Under the input's name without `.age`.
    Folder(&'a Path),
}

pub(super) fn run(args: &OpenArgs) -> Result<(), Failure> {
    if let Some(range) = args.range {
        part::check(args)?;
        return part::open(args, &args.identities.read()?, range);
    }
    for input in &args.inputs {
        check(args, input)?;
    }
    let mut opener = Opener {
        args,
        identities: args.identities.read()?,
        made: Made::default(),
    };
    if let [input] = &args.inputs[..] {
        return opener.open(input);
    }
    // One damaged file keeps nobody from the others.
    let mut worst = None;
    for input in &args.inputs {
        if let Err(failure) = opener.open(input) {
            failure.report();
            worst = worst.max(Some(failure.exit()));
        }
    }
    worst.map_or(Ok(()), |exit| Err(Failure::reported(exit)))
}

impl Opener<'_> {
    fn open(&mut self, input: &Path) -> Result<(), Failure> {
        if is_folder(input) {
            upload_folder::open(self, input)
        } else {
            age_file::open(self, input)
        }
    }
}

/// Finds what makes no sense before anything is read or asked for.
fn check(args: &OpenArgs, input: &Path) -> Result<(), Failure> {
    let several = args.inputs.len() > 1;
    if is_folder(input) {
        return match &args.output {
            Some(path) if is_dash(path) => Err(Failure::usage(format_args!(
                "{} is an upload folder, which opens into a folder: give -o DIR",
                input.display()
            ))),
            Some(path) => check_folder(path),
            None => Ok(()),
        };
    }
    if is_dash(input) && several {
        return Err(Failure::usage(
            "`-` (stdin) has no name to go by among several: open it by itself",
        ));
    }
    match target(args)? {
        Target::Stdout if args.json => Err(Failure::usage(
            "--json would mix with the content on stdout: give -o OUT",
        )),
        Target::Stdout => Ok(()),
        Target::File(path) => staged::check_target(path, args.force),
        Target::Folder(_) if is_dash(input) => Err(Failure::usage(
            "stdin has no name to go by in a folder: give -o FILE",
        )),
        Target::Folder(path) => check_folder(path),
    }
}

fn check_folder(path: &Path) -> Result<(), Failure> {
    match path.metadata() {
        Ok(there) if !there.is_dir() => Err(Failure::usage(format_args!(
            "{} is not a folder: several inputs, and uploads, go into one",
            path.display()
        ))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io("use", path, &error))
        }
        _ => Ok(()),
    }
}

/// Where the content of age files goes.
fn target(args: &OpenArgs) -> Result<Target<'_>, Failure> {
    let several = args.inputs.len() > 1;
    match args.output.as_deref() {
        None | Some(_) if several && args.output.as_deref().is_none_or(is_dash) => Err(
            Failure::usage("several inputs go into a folder: give -o DIR"),
        ),
        None => Ok(Target::Stdout),
        Some(path) if is_dash(path) => Ok(Target::Stdout),
        Some(path) if several || path.is_dir() => Ok(Target::Folder(path)),
        Some(path) => Ok(Target::File(path)),
    }
}

fn is_dash(path: &Path) -> bool {
    path == Path::new("-")
}

fn is_folder(input: &Path) -> bool {
    !is_dash(input) && input.is_dir()
}

/// What a failed write to stdout means.
fn write_failure(error: io::Error) -> Failure {
    if super::stdout::is_not_text(&error) {
        Failure::from_error(Exit::Usage, &error)
    } else {
        AgeFileError::Write(error).into()
    }
}
