//! The command line of `sealslot upload`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::inputs::is_dash;
use super::sealing::Sealing;
use crate::cli::client::AccessArgs;
use crate::cli::client::endpoint::Endpoint;
use crate::cli::{Failure, token_file};
use crate::config::{Amount, Span};

/// More would not make it faster.
const MAX_PARALLEL: u16 = 64;
/// The link itself. Not an argument: those are visible to everyone on the machine.
const LINK_VARIABLE: &str = "SEALSLOT_LINK";

/// Send files and folders to a Sealslot server
///
/// A connection that breaks is made again and the upload goes on. So it does where this command was ended and is
/// started again for the same files, unchanged: what that takes is kept in $XDG_STATE_HOME/sealslot/uploads
/// (~/.local/state), and as long as it is there, whoever can read it can finish the upload. Until all files of a command
/// line have arrived, the same command sends only what is missing or has changed; once they have, it sends all of them anew.
/// Standard input and pipes survive a broken connection only.
///
/// A folder is sent with all files below it, hidden ones too, under names like FOLDER/sub/file. Symbolic links in it are
/// not followed. All files of a command line belong together, as one submission.
///
/// For each upload, its id, size, SHA-256 and name are printed. By then the server has it sealed and synced to disk,
/// and the SHA-256 is that of what was read here.
///
/// It exits with 75 where it gave up for now: the same command goes on. With 77 somebody has to do something first: the
/// server refuses it, or has other keys than before. In both cases the files that follow are not tried.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot upload https://files.example.org/ report.pdf photos
  sealslot upload --seal --link-file link.txt https://files.example.org/ *.pdf
  pg_dump shop | sealslot upload --token-file backup.token --name shop.sql https://files.example.org/ -")]
pub(in crate::cli) struct UploadArgs {
    #[command(flatten)]
    pub(super) access: AccessArgs,

    /// Send through the link in FILE, which nobody else may read: its token, or all of it. Without it, SEALSLOT_LINK may
    /// hold the link. Unlike in URL, other users of this machine and the shell's history do not see it
    #[arg(long, value_name = "FILE", env = "SEALSLOT_LINK_FILE")]
    link_file: Option<PathBuf>,

    #[command(flatten)]
    pub(super) sealing: SealOptions,

    /// How many files to send at the same time
    #[arg(
        long,
        value_name = "N",
        env = "SEALSLOT_PARALLEL",
        default_value_t = 2,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_PARALLEL))
    )]
    pub(super) parallel: u16,

    /// Send at most so much in a second, all files together, as in 500KiB
    #[arg(long, value_name = "SIZE", env = "SEALSLOT_LIMIT_RATE")]
    pub(super) limit_rate: Option<Amount>,

    /// Give an upload up after so much time without progress
    #[arg(
        long,
        value_name = "TIME",
        env = "SEALSLOT_RETRY_FOR",
        default_value = "10m",
        allow_hyphen_values = true
    )]
    pub(super) retry_for: Span,

    /// Begin anew, and keep nothing for a later run
    #[arg(long, env = "SEALSLOT_NO_RESUME", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) no_resume: bool,

    /// What the one file, or standard input, is to be called
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(super) name: Option<OsString>,

    /// Make each file a submission of its own
    #[arg(long, env = "SEALSLOT_SEPARATE", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) separate: bool,

    /// Print the server's receipt of each upload, a JSON object on a line. With --seal it has one member more,
    /// `plaintext`: size and sha256 of what was sealed
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) json: bool,

    /// The server, as https://HOST/ or https://HOST:PORT/, or the link that you were sent
    #[arg(value_name = "URL")]
    url: String,

    /// Files and folders to send, or patterns like '*.pdf'; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
}

/// Sealing before sending.
#[derive(Args, Debug)]
pub(super) struct SealOptions {
    /// Seal each file on this machine before it is sent: the server gets NAME.age and never what is in it. It is sealed to
    /// the keys that the server names. These are shown, and known again from then on: other keys later are refused (exit
    /// code 77). The first time, you are asked at a terminal; elsewhere give --accept-keys or --accept-new
    #[arg(long, env = "SEALSLOT_SEAL", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) seal: bool,

    /// With --seal: seal to these keys and not to those that the server names, among which one of them has to be: a
    /// public key, or a file of them; may be repeated
    #[arg(
        short,
        long = "recipient",
        value_name = "RECIPIENT",
        requires = "seal",
        conflicts_with_all = ["accept_keys", "accept_new"]
    )]
    pub(super) recipients: Vec<String>,

    /// With --seal: the server's keys have to be these and no others, and are known from now on, whichever were before: their
    /// fingerprints, with blanks in between
    #[arg(
        long,
        value_name = "FINGERPRINTS",
        requires = "seal",
        value_delimiter = ' '
    )]
    pub(super) accept_keys: Vec<String>,

    /// With --seal: take the server's keys without asking where none are known yet
    #[arg(long, requires = "seal", env = "SEALSLOT_ACCEPT_NEW", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) accept_new: bool,

    /// With --seal: keep the sealed copies in DIR while they are sent, instead of $XDG_STATE_HOME/sealslot/spool. It needs the
    /// room of as many files as are sent at the same time
    #[arg(long, value_name = "DIR", requires = "seal", env = "SEALSLOT_SPOOL")]
    pub(super) spool: Option<PathBuf>,
}

impl UploadArgs {
    /// Where to send to: the link, where one is given.
    pub(super) fn endpoint(&self) -> Result<Endpoint, Failure> {
        let endpoint: Endpoint = self.url.parse()?;
        let Some(link) = self.link(&endpoint)? else {
            return Ok(endpoint);
        };
        if !endpoint.is_of_server() {
            return Err(Failure::usage(
                "there are two links, in --link-file and in the URL: give the server itself as the URL",
            ));
        }
        Ok(endpoint.with_link(&link)?)
    }

    fn link(&self, endpoint: &Endpoint) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(path) = &self.link_file {
            return Ok(token_file::read(path)?.into_iter().next());
        }
        match env::var(LINK_VARIABLE) {
            // As with all variables, what the command line says counts.
            Ok(link) if endpoint.is_of_server() => Ok(Some(Zeroizing::new(link.trim().to_owned()))),
            Ok(_) | Err(env::VarError::NotPresent) => Ok(None),
            Err(env::VarError::NotUnicode(_)) => {
                Err(Failure::usage(format_args!("{LINK_VARIABLE} is not UTF-8")))
            }
        }
    }

    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.files.iter().filter(|file| is_dash(file)).count() > 1 {
            return Err(Failure::usage("standard input (`-`) can be sent once only"));
        }
        if self.name.as_ref().is_some_and(|name| name.is_empty()) {
            return Err(Failure::usage("--name is empty"));
        }
        if self.name.is_some() && self.may_be_several() {
            return Err(Failure::usage(
                "--name is for one file, or for standard input: several cannot all be called the same",
            ));
        }
        Ok(())
    }

    /// Whether more than one file may come of it.
    pub(super) fn may_be_several(&self) -> bool {
        let is_one = |path: &Path| {
            let found = path.metadata();
            is_dash(path) || found.is_ok_and(|found| !found.is_dir())
        };
        !matches!(&self.files[..], [file] if is_one(file))
    }

    /// What else than the file, its name and the place makes it the same upload.
    pub(super) fn way(sealing: Option<&Sealing>) -> Vec<Vec<u8>> {
        let mut way = Vec::new();
        if let Some(sealing) = sealing {
            way.push(b"sealed".to_vec());
            way.extend(sealing.recipient_ids());
        }
        way
    }
}
