//! How a command ends: the exit codes in one place, and the one line on stderr that says why.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use http::StatusCode;

use crate::grant::GrantError;
use crate::keys::KeyError;
use crate::seal::OpenError;
use crate::store::StoreError;
use crate::tls::dev::DevCertError;
use crate::tls::{ClientTlsError, TlsError};
use crate::upload::{AgeFileError, ReadError};

/// What kind of failure ended a command (DESIGN.md section 3.1). Success is 0. Ordered by which one tells more where
/// several inputs failed: where it is [`Later`](Self::Later), nothing else stands in the way of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// The server, or the way to it, does not work for now: the same command may well succeed later, and goes on where it
    /// stopped where there is something to go on with. `EX_TEMPFAIL` of sysexits.
    Later,
    /// Anything that is none of the others: a file that is not there, a full disk, a key that cannot be read.
    Other,
    /// The server does not let this through, or not any more (401, 403, 410), or has other keys than it had: somebody has to
    /// allow it first. `EX_NOPERM` of sysexits.
    Refused,
    /// The data does not open: damaged, incomplete, exchanged, or sealed to other keys. `EX_DATAERR` of sysexits.
    Data,
    /// The command line asks for something that does not exist or makes no sense. `EX_USAGE` of sysexits.
    Usage,
}

impl Exit {
    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 64,
            Self::Data => 65,
            Self::Later => 75,
            Self::Refused => 77,
        }
    }

    /// What a server's answer with this status, which is no success, makes of a command.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE => Self::Refused,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Self::Later
            }
            status if status.is_server_error() => Self::Later,
            _ => Self::Other,
        }
    }
}

/// Why a command failed: an exit code, and a line for people.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    /// `None` where there is nothing to say, or it was said already.
    line: Option<String>,
}

impl Failure {
    /// A failure with a message of its own, which should end in what to do next.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            line: Some(message.to_string()),
        }
    }

    /// An error and its causes.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        Self::new(exit, chain(error))
    }

    /// The command line makes no sense.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The system refused something about a file or folder: `cannot read a/b: Permission denied`.
    pub fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(
            Exit::Other,
            format_args!("cannot {doing} {}: {}", path.display(), chain(error)),
        )
    }

    /// Whoever read our stdout went away, as `head` does. Others die of SIGPIPE there: no word, but no success either.
    pub fn broken_pipe() -> Self {
        Self::reported(Exit::Other)
    }

    /// What there is to say.
    pub(super) fn line(&self) -> Option<&str> {
        self.line.as_deref()
    }

    /// A failure of which everything was said already.
    pub fn reported(exit: Exit) -> Self {
        Self { exit, line: None }
    }

    /// Says first what it is about, mostly a file.
    #[must_use]
    pub fn about(self, subject: impl fmt::Display) -> Self {
        Self {
            exit: self.exit,
            line: self.line.map(|line| format!("{subject}: {line}")),
        }
    }

    /// What kind of failure it is.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the line, if there is one, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if let Some(line) = &self.line {
            // Where stderr is gone too, the exit code has to say it alone.
            let _ = writeln!(io::stderr(), "sealslot: {}", one_line(line));
        }
        ExitCode::from(self.exit.code())
    }
}

/// An error's message and those of its causes, leaving out a cause that was said already.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !line.contains(&message) {
            line.push_str(": ");
            line.push_str(&message);
        }
        cause = error.source();
    }
    line
}

/// `text` without control characters: a file's name must neither break the line nor talk to the terminal.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let exit = match error {
            KeyError::Bits { .. } | KeyError::EmptyPassphrase | KeyError::PostQuantumMixed => {
                Exit::Usage
            }
            _ => Exit::Other,
        };
        Self::from_error(exit, &error)
    }
}

impl From<DevCertError> for Failure {
    fn from(error: DevCertError) -> Self {
        let exit = match error {
            DevCertError::NoHosts => Exit::Usage,
            _ => Exit::Other,
        };
        Self::from_error(exit, &error)
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        let exit = match error {
            TlsError::Clients { .. } => Exit::Usage,
            _ => Exit::Other,
        };
        Self::from_error(exit, &error)
    }
}

impl From<GrantError> for Failure {
    fn from(error: GrantError) -> Self {
        let exit = match error {
            GrantError::Damaged { .. } => Exit::Data,
            _ => Exit::Other,
        };
        Self::from_error(exit, &error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::from_error(exit_of_read(&error), &error)
    }
}

fn exit_of_read(error: &ReadError) -> Exit {
    match error {
        // What lies in an upload's folder without belonging there, or is missing, is a matter of the data.
        ReadError::Store(StoreError::UnexpectedFile { .. } | StoreError::NotFound) => Exit::Data,
        // It is read from a server.
        ReadError::Store(StoreError::Elsewhere { source, .. }) => source
            .downcast_ref()
            .map_or(Exit::Other, super::client::exit_of_patience),
        ReadError::Store(StoreError::Replaced) => Exit::Later,
        ReadError::Store(_) => Exit::Other,
        ReadError::Open { source, .. } => exit_of_open(source),
        _ => Exit::Data,
    }
}

fn exit_of_open(error: &OpenError) -> Exit {
    match error {
        // A plugin that is missing, or a card that is: nothing is wrong with the data.
        OpenError::External(_) => Exit::Other,
        _ => Exit::Data,
    }
}

impl From<AgeFileError> for Failure {
    fn from(error: AgeFileError) -> Self {
        let exit = match &error {
            AgeFileError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Self::broken_pipe();
            }
            AgeFileError::Open(error) => exit_of_open(error),
            AgeFileError::Armored => Exit::Usage,
            AgeFileError::Read(_) | AgeFileError::Write(_) | AgeFileError::Seal(_) => Exit::Other,
        };
        Self::from_error(exit, &error)
    }
}

impl From<ClientTlsError> for Failure {
    fn from(error: ClientTlsError) -> Self {
        let line = chain(&error);
        match error {
            ClientTlsError::NoAuthorities | ClientTlsError::NoCertificate(_) => {
                let hint = "name the server's certificate authority with --cacert FILE";
                Self::new(Exit::Other, format_args!("{line}: {hint}"))
            }
            _ => Self::new(Exit::Other, line),
        }
    }
}

/// clap's word in one line: what is wrong and what it suggests, without the usage.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        let mut message = String::new();
        for line in text.lines().map(str::trim) {
            if line.starts_with("Usage:") || line.starts_with("For more information") {
                break;
            }
            if line.starts_with("tip:") {
                message.push(';');
            }
            if !line.is_empty() && !message.is_empty() {
                message.push(' ');
            }
            message.push_str(line);
        }
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        Self::usage(format_args!("{message}; --help says more"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_code() {
        let all = [
            Exit::Other,
            Exit::Usage,
            Exit::Data,
            Exit::Later,
            Exit::Refused,
        ];
        assert_eq!(all.map(Exit::code), [1, 64, 65, 75, 77]);
    }

    #[test]
    fn to_come_back_later_helps_only_where_nothing_else_failed() {
        let mut all = [Exit::Usage, Exit::Later, Exit::Refused, Exit::Other];
        all.sort();
        assert_eq!(all[0], Exit::Later);
    }

    #[test]
    fn a_status_says_whether_to_ask_again_or_to_ask_somebody() {
        for (exit, statuses) in [
            (Exit::Refused, &[401, 403, 410][..]),
            (Exit::Later, &[408, 425, 429, 500, 502, 503, 507]),
            (Exit::Other, &[301, 400, 404, 409, 413, 415, 422]),
        ] {
            for &status in statuses {
                let status = StatusCode::from_u16(status).unwrap();
                assert_eq!(Exit::of_status(status), exit, "{status}");
            }
        }
    }

    #[test]
    fn causes_are_told_once() {
        let inner = io::Error::other("deep");
        let outer = AgeFileError::Read(io::Error::other(inner));
        assert_eq!(chain(&outer), "cannot read the input: deep");
    }

    #[test]
    fn what_does_not_open_is_a_matter_of_data() {
        assert_eq!(
            Failure::from(AgeFileError::Open(OpenError::NoMatch)).exit(),
            Exit::Data
        );
        assert_eq!(Failure::from(ReadError::Digest).exit(), Exit::Data);
        let gone = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(Failure::from(AgeFileError::Read(gone)).exit(), Exit::Other);
    }

    #[test]
    fn a_reader_that_went_away_is_no_news() {
        let failure = Failure::from(AgeFileError::Write(io::ErrorKind::BrokenPipe.into()));
        assert!(failure.line.is_none());
        assert!(failure.about("x").line.is_none());
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(one_line("a\nb\x1b[31m\u{85}c"), "a b [31m c");
    }
}
