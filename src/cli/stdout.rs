//! Data on stdout: written as it is, and not to a terminal that it could confuse.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use super::{Exit, Failure};

/// Whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Stdout without a buffer, for large writes whose errors must be seen.
pub(super) fn unbuffered() -> Result<File, Failure> {
    let handle = io::stdout().as_fd().try_clone_to_owned();
    handle
        .map(File::from)
        .map_err(|error| Failure::new(Exit::Other, format_args!("cannot write to stdout: {error}")))
}

/// Writes to a terminal, as long as it is text.
pub(super) struct TextOnly<W>(pub(super) W);

/// What a [`TextOnly`] says where it is given anything else.
#[derive(Debug, thiserror::Error)]
#[error(
    "the content is not plain text and could confuse your terminal: give -o FILE, or -o - to print it all the same"
)]
pub(super) struct NotText;

impl<W: Write> Write for TextOnly<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Bytes that no encoding of text has; escape sequences, which terminals obey, are among them.
        let is_text = |byte: &u8| !byte.is_ascii_control() || b"\t\n\r".contains(byte);
        if bytes.iter().all(is_text) {
            self.0.write(bytes)
        } else {
            Err(io::Error::other(NotText))
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether a write failed because of [`NotText`].
pub(super) fn is_not_text(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(error) if error.is::<NotText>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_passes_and_nothing_else_does() {
        let mut out = TextOnly(Vec::new());
        out.write_all("Grüße\t1\r\n".as_bytes()).unwrap();
        for bytes in [&b"\x1b[2J"[..], b"a\0b", b"\x7f"] {
            assert!(is_not_text(&out.write_all(bytes).unwrap_err()));
        }
        assert_eq!(out.0, "Grüße\t1\r\n".as_bytes());
        assert!(!is_not_text(&io::Error::other("else")));
    }
}
