//! A question that is answered on the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::cli::{Exit, Failure};

/// Whether there is somebody to ask.
pub(super) fn somebody_is_there() -> bool {
    io::stdin().is_terminal()
}

/// Asks, and takes nothing but `y` or `yes` for a yes.
pub(super) fn agreed(question: &str) -> Result<bool, Failure> {
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| {
        Failure::new(Exit::Other, format_args!("cannot read the answer: {error}"))
    })?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(answer == "y" || answer == "yes")
}
