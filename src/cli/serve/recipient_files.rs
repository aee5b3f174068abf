//! The files and folders of public keys that uploads are sealed to, which may change at any time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::poll::{Trouble, poll};
use crate::cli::exit::{Exit, Failure};
use crate::keys::{self, KeyError, NamedRecipient};
use crate::tls::FileState;
use crate::upload::Uploads;

/// Everything that `--recipient` was given.
pub(super) struct RecipientFiles {
    sources: Vec<Source>,
    /// The files and folders as they were when they were last read, whether that went well or not.
    attempted: Vec<(PathBuf, Option<FileState>)>,
    trouble: Trouble,
}

/// One of them.
enum Source {
    /// A key itself, or what can be read only once.
    Fixed(Vec<NamedRecipient>),
    /// A file, or a folder of files.
    Watched(String),
}

impl Source {
    fn read(&self) -> Result<Vec<NamedRecipient>, KeyError> {
        match self {
            Self::Fixed(recipients) => Ok(recipients.clone()),
            Self::Watched(argument) => keys::read_recipients(argument),
        }
    }

    /// The same for what was a file or a folder: what has become something else keeps nobody waiting.
    fn read_again(&self) -> Result<Vec<NamedRecipient>, KeyError> {
        if let Self::Watched(argument) = self {
            let metadata = fs::metadata(Path::new(argument));
            if metadata.is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
                let place = keys::Place::file(Path::new(argument));
                return Err(KeyError::NoRecipientFile { place });
            }
        }
        self.read()
    }

    fn states(&self) -> Vec<(PathBuf, Option<FileState>)> {
        let Self::Watched(argument) = self else {
            return Vec::new();
        };
        let path = PathBuf::from(argument);
        let mut paths = if path.is_dir() {
            keys::recipient_files(&path).unwrap_or_default()
        } else {
            Vec::new()
        };
        paths.push(path);
        let state = |path: PathBuf| {
            let state = FileState::of(&path);
            (path, state)
        };
        paths.into_iter().map(state).collect()
    }
}

impl RecipientFiles {
    /// Reads all of them. Gives the keys in order.
    pub(super) fn read(arguments: &[String]) -> Result<(Self, Vec<NamedRecipient>), KeyError> {
        let mut sources = Vec::with_capacity(arguments.len());
        let mut all = Vec::new();
        let mut attempted = Vec::new();
        for argument in arguments {
            let watched = Source::Watched(argument.clone());
            // What is written while it is read shows as a change the next time.
            let states = watched.states();
            let recipients = watched.read()?;
            all.extend(recipients.iter().cloned());
            let is_kept = fs::metadata(Path::new(argument))
                .is_ok_and(|metadata| metadata.is_file() || metadata.is_dir());
            if is_kept {
                attempted.extend(states);
                sources.push(watched);
            } else {
                sources.push(Source::Fixed(recipients));
            }
        }
        let files = Self {
            sources,
            attempted,
            trouble: Trouble::default(),
        };
        Ok((files, all))
    }

    /// Looks for changes at every interval. Runs until it is dropped.
    pub(super) async fn watch(self, uploads: Arc<Uploads>, every: Duration) {
        if self.attempted.is_empty() {
            return;
        }
        let look = move |files: &mut Self| files.reload(&uploads);
        poll(self, every, "changed recipients", look).await;
    }

    fn reload(&mut self, uploads: &Uploads) {
        let states: Vec<_> = self.sources.iter().flat_map(Source::states).collect();
        let changed = states != self.attempted;
        if !changed && !self.trouble.persists() {
            return;
        }
        self.attempted = states;
        match self.read_again() {
            Ok(new) => {
                replace(uploads, new);
                self.trouble.is_over();
            }
            Err(error) => {
                let failure = Failure::from_error(Exit::Other, &error);
                let error = failure.line().unwrap_or_default();
                if self.trouble.found(error) || changed {
                    tracing::warn!(
                        error,
                        "the changed recipients cannot be used; uploads are sealed to those before"
                    );
                }
            }
        }
    }

    /// All or nothing: of what changed, no key is left out because another does not read.
    fn read_again(&self) -> Result<Vec<NamedRecipient>, KeyError> {
        let mut all = Vec::new();
        for source in &self.sources {
            all.extend(source.read_again()?);
        }
        keys::check_together(&all)?;
        Ok(all)
    }
}

/// Seals to the new keys from now on, and says what is another than before.
fn replace(uploads: &Uploads, new: Vec<NamedRecipient>) {
    let fingerprints = |recipients: &[NamedRecipient]| {
        let all = recipients.iter().map(NamedRecipient::fingerprint);
        all.collect::<BTreeSet<_>>()
    };
    let (before, after) = (
        fingerprints(&uploads.named_recipients()),
        fingerprints(&new),
    );
    // Also where only a name has changed: pages show it.
    uploads.seal_to(new);
    if before == after {
        return;
    }
    let list = |keys: &mut dyn Iterator<Item = &String>| {
        let keys: Vec<&str> = keys.map(String::as_str).collect();
        keys.join(" ")
    };
    tracing::info!(
        added = list(&mut after.difference(&before)),
        removed = list(&mut before.difference(&after)),
        sealed_to = list(&mut after.iter()),
        "the recipients have changed: new uploads are sealed to these; `sealslot rewrap` seals what is stored to them"
    );
}
