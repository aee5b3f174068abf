//! Tokens in files: those that a server knows, and the one that a client shows.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Exit, Failure};

/// The largest token file, in bytes.
const MAX_TOKEN_FILE: u64 = 1 << 20;

/// Reads tokens from a file that nobody else can read: one a line; empty lines and those that begin with `#` do not
/// count. There is at least one.
pub(super) fn read(path: &Path) -> Result<Vec<Zeroizing<String>>, Failure> {
    let failed = |error| Failure::io("read", path, &error);
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::new(
            Exit::Other,
            format_args!(
                "{0} holds a token that others can reach (mode {mode:04o}): run `chmod 600 {0}`",
                path.display()
            ),
        ));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_TOKEN_FILE)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let tokens: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|token| Zeroizing::new(token.to_owned()))
        .collect();
    if tokens.is_empty() {
        let line = format_args!("{} holds no token: write one a line", path.display());
        return Err(Failure::new(Exit::Other, line));
    }
    Ok(tokens)
}
