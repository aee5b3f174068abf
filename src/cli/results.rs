//! What commands print: results on stdout, one line each, and everything else on stderr.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use super::Failure;

/// Prints a line of results on stdout.
pub(super) fn print(line: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .map_err(|error| stdout_failure(&error))
}

/// Prints one JSON object on a line of stdout.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(serde_json::to_string(value).expect("results are plain data with text keys"))
}

/// Says something on stderr that is neither a result nor a failure. Nobody needs it to be seen.
pub(super) fn note(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn stdout_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::broken_pipe()
    } else {
        Failure::new(
            super::Exit::Other,
            format_args!("cannot write to stdout: {error}"),
        )
    }
}
