//! The files that tokens are kept in, which may be replaced at any time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::poll::{Trouble, poll};
use crate::cli::exit::{Exit, Failure};
use crate::cli::token_file;
use crate::grant::Tokens;
use crate::http::{Access, App, FileToken, FileTokens};
use crate::tls::FileState;

/// A file that may be named, as it was when it was last read, whether that went well or not.
struct Watched {
    path: Option<PathBuf>,
    attempted: Option<FileState>,
    trouble: Trouble,
}

/// Both files of tokens.
pub(super) struct TokenFiles {
    admins: Watched,
    uploaders: Watched,
}

impl Watched {
    fn new(path: Option<PathBuf>) -> Self {
        let attempted = path.as_deref().and_then(FileState::of);
        Self {
            path,
            attempted,
            trouble: Trouble::default(),
        }
    }

    fn read(&self) -> Result<Vec<FileToken>, Failure> {
        self.path.as_deref().map_or(Ok(Vec::new()), read)
    }

    /// Reads the file where it is another than before, or did not read. What is written while it is read shows as a change the next
    /// time.
    fn reload(&mut self, tokens: &FileTokens) {
        let Some(path) = self.path.as_deref() else {
            return;
        };
        let present = FileState::of(path);
        let changed = present != self.attempted;
        if !changed && !self.trouble.persists() {
            return;
        }
        self.attempted = present;
        let file = tracing::field::display(path.display());
        match read(path) {
            Ok(read) => {
                tracing::info!(file, count = read.len(), "the tokens were replaced");
                tokens.replace(read);
                self.trouble.is_over();
            }
            Err(error) => {
                let error = error.line().unwrap_or_default();
                if self.trouble.found(error) || changed {
                    tracing::warn!(
                        file,
                        error,
                        "the new tokens cannot be used; those before are still good"
                    );
                }
            }
        }
    }
}

impl TokenFiles {
    pub(super) fn new(admins: Option<PathBuf>, uploaders: Option<PathBuf>) -> Self {
        Self {
            admins: Watched::new(admins),
            uploaders: Watched::new(uploaders),
        }
    }

    /// Who may do what, with what is in the files now.
    pub(super) fn access(&self, tokens: Tokens, anonymous: bool) -> Result<Access, Failure> {
        Ok(Access {
            tokens,
            admins: FileTokens::new(self.admins.read()?),
            uploaders: FileTokens::new(self.uploaders.read()?),
            anonymous,
        })
    }

    /// Looks for replaced files at every interval. Runs until it is dropped.
    pub(super) async fn watch(self, app: Arc<App>, every: Duration) {
        let look = move |files: &mut Self| {
            files.admins.reload(&app.access.admins);
            files.uploaders.reload(&app.access.uploaders);
        };
        poll(self, every, "new tokens", look).await;
    }
}

/// The tokens in a file that nobody else can read.
fn read(path: &Path) -> Result<Vec<FileToken>, Failure> {
    let tokens = token_file::read(path)?;
    let tokens = tokens.iter().map(|token| FileToken::new(token));
    tokens
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::from_error(Exit::Other, &error).about(path.display()))
}
