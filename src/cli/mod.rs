//! The commands: arguments as typed, then what they do. Together with [`config`](crate::config) the only reader of
//! the command line and the environment.
//!
//! | module | owns |
//! |---|---|
//! | `keygen`, `certs`, `seal`, `open`, `serve`, `token`, `link`, `upload`, `list`, `pull`, `rm`, `rewrap`, `verify`, `migrate`, `audit`, `completions`, `man` | one command each |
//! | `client` | a server, as commands see it: URLs, connections, tokens, answers |
//! | `catalog` | what manifests on a server tell, and its cache |
//! | `filters` | which uploads a command is about |
//! | `examples` | the command lines that every `--help` and man page ends with |
//! | [`exit`] | exit codes, and the one line that says why |
//! | `stored` | uploads in a data folder, in a bucket or on a server, one after another |
//! | `staged` | output files that appear whole or not at all |
//! | `restore` | an opened upload as a file |
//! | `restored_name` | safe file names from what clients gave |
//! | `token_file` | tokens that nobody else can read |
//! | `identity` | private keys that a command line names |
//! | `plugin` | age plugins, for keys that are not files |
//! | `passphrase`, `progress`, `results` | what is said to, and asked of, people |

#![expect(
    clippy::doc_markdown,
    reason = "what documents an argument is also what --help prints"
)]

mod audit;
mod catalog;
mod certs;
mod client;
mod completions;
mod examples;
pub mod exit;
mod filters;
mod identity;
mod keygen;
mod link;
mod list;
mod made;
mod man;
mod migrate;
mod open;
mod passphrase;
mod plugin;
mod progress;
mod pull;
mod rate;
mod restore;
mod restored_name;
mod restored_path;
mod results;
mod rewrap;
mod rm;
mod seal;
mod serve;
mod staged;
mod stdout;
mod stored;
mod token;
mod token_file;
mod upload;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure};

/// What the list of exit codes begins with.
const EXIT_CODES: &str = "Exit codes:";

/// A macro, so that it stands in both forms of the help.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
   0  it did what was asked
  64  the command line makes no sense
  65  data does not open, or arrived as something else
  75  the server or the network does not work for now: the same command
      goes on where it stopped
  77  the server refuses, or has other keys than before
   1  anything else went wrong

Results go to stdout, everything else to stderr."
    };
}

const AFTER_HELP: &str = exit_codes!();

const AFTER_LONG_HELP: &str = concat!(
    exit_codes!(),
    "

Examples:
  sealslot serve
  sealslot upload https://127.0.0.1:8443/ --cacert certs/ca.pem report.pdf
  sealslot open -i data/keys/identity.pem -o received data/uploads/2026-11-25/*"
);

/// A mail slot for files: whatever is pushed through it is sealed while it streams in, and only the private key opens
/// it again.
#[derive(Parser, Debug)]
#[command(name = "sealslot", version, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
#[command(arg_required_else_help = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(Box<serve::ServeCommand>),
    Keygen(keygen::KeygenArgs),
    Certs(certs::CertsArgs),
    #[command(subcommand)]
    Token(token::TokenCommand),
    #[command(subcommand)]
    Link(link::LinkCommand),
    Seal(seal::SealArgs),
    Open(open::OpenArgs),
    Upload(upload::UploadArgs),
    List(Box<list::ListArgs>),
    Pull(Box<pull::PullArgs>),
    Rm(Box<rm::RmArgs>),
    Verify(Box<verify::VerifyArgs>),
    Rewrap(Box<rewrap::RewrapArgs>),
    Migrate(Box<migrate::MigrateArgs>),
    Audit(audit::AuditArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs one command line, the program's name first, and gives the exit code. What went wrong stands on stderr, in one
/// line for each failure.
pub fn run(command_line: impl IntoIterator<Item = OsString>) -> ExitCode {
    forbid_core_dumps();
    let result = match Cli::try_parse_from(command_line) {
        Ok(cli) => dispatch(cli.command),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            // Asked for, so it is a result; `sealslot --help | head` may well go away before it is all read.
            let _ = error.print();
            Ok(())
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(command) => serve::run(*command),
        Command::Keygen(args) => keygen::run(&args),
        Command::Certs(args) => certs::run(&args),
        Command::Seal(args) => seal::run(&args),
        Command::Open(args) => open::run(&args),
        Command::Upload(args) => upload::run(&args),
        Command::List(args) => list::run(&args),
        Command::Pull(args) => pull::run(&args),
        Command::Rm(args) => rm::run(&args),
        Command::Link(command) => link::run(&command),
        Command::Verify(args) => verify::run(&args),
        Command::Rewrap(args) => rewrap::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Token(command) => token::run(command),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// What commands with several connections run on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, format_args!("cannot start: {error}")))
}

/// Keys and plaintext are in memory only, and a core dump would put them on disk.
fn forbid_core_dumps() {
    #[cfg(target_os = "linux")]
    if let Err(errno) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        results::note(format_args!(
            "sealslot: warning: core dumps could not be switched off: {errno}"
        ));
    }
}

/// Every command, below its full name.
#[cfg(test)]
fn commands() -> Vec<(String, clap::Command)> {
    let mut open = vec![(String::new(), <Cli as clap::CommandFactory>::command())];
    let mut all = Vec::new();
    while let Some((above, command)) = open.pop() {
        let name = format!("{above}{}", command.get_name());
        let below = command.get_subcommands().cloned();
        open.extend(below.map(|below| (format!("{name} "), below)));
        all.push((name, command));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_declared_soundly() {
        Cli::command().debug_assert();
    }
}
