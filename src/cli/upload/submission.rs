//! What the files of one command line have in common: the submission that all of them join, and the memory of those that have
//! arrived, for as long as others have not.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use super::journal::{Arrived, Journal};
use super::state::StateError;
use crate::cli::client::endpoint::UploadUrl;

/// The submission of one command line. The first upload is created alone, the others when there is one to join.
pub(super) struct Submission {
    /// Not where each file is to stand for itself.
    joins: bool,
    /// Uploads of it, which others may join: the first one, and the one that was created last, which answers longer.
    anchors: Mutex<Vec<UploadUrl>>,
    /// Held while the first one is created.
    founding: AsyncMutex<()>,
    /// `None`: nothing is remembered.
    journal: Option<Mutex<Journal>>,
}

/// Leave to create an upload.
pub(super) enum Turn<'a> {
    /// By itself.
    Alone,
    /// As the first one, while the others wait.
    First { _founding: AsyncMutexGuard<'a, ()> },
    /// In the submission of this one.
    Joining(UploadUrl),
}

impl Turn<'_> {
    /// The upload that the new one joins.
    pub(super) fn anchor(&self) -> Option<&UploadUrl> {
        match self {
            Self::Joining(anchor) => Some(anchor),
            Self::Alone | Self::First { .. } => None,
        }
    }
}

impl Submission {
    /// A new one, or the one that an interrupted run of the same command line has begun.
    pub(super) fn new(joins: bool, journal: Option<Journal>) -> Self {
        let anchor = journal.as_ref().and_then(Journal::anchor).cloned();
        Self {
            joins,
            anchors: Mutex::new(anchor.into_iter().collect()),
            founding: AsyncMutex::new(()),
            journal: journal.map(Mutex::new),
        }
    }

    /// Waits until an upload may be created.
    pub(super) async fn turn(&self) -> Turn<'_> {
        if !self.joins {
            return Turn::Alone;
        }
        if let Some(anchor) = self.anchor() {
            return Turn::Joining(anchor);
        }
        let founding = self.founding.lock().await;
        match self.anchor() {
            Some(anchor) => Turn::Joining(anchor),
            None => Turn::First {
                _founding: founding,
            },
        }
    }

    /// An upload was created in its turn. To be told before anything else is kept of it: so a later run joins the same.
    pub(super) fn created(&self, upload: &UploadUrl) -> Result<(), StateError> {
        if !self.joins {
            return Ok(());
        }
        let mut anchors = lock(&self.anchors);
        let is_first = anchors.is_empty();
        anchors.truncate(1);
        anchors.push(upload.clone());
        drop(anchors);
        match &self.journal {
            Some(journal) if is_first => lock(journal).begin(upload),
            _ => Ok(()),
        }
    }

    /// An upload of an earlier run is gone on with: others join its submission, where there is none yet.
    pub(super) fn goes_on(&self, upload: &UploadUrl) {
        let mut anchors = lock(&self.anchors);
        if self.joins && anchors.is_empty() {
            anchors.push(upload.clone());
        }
    }

    /// This one cannot be joined any more.
    pub(super) fn lost(&self, anchor: &UploadUrl) {
        lock(&self.anchors).retain(|other| other.path() != anchor.path());
    }

    /// What has arrived of a file in an earlier run of the same command line.
    pub(super) fn arrived(&self, name: &str) -> Option<Arrived> {
        lock(self.journal.as_ref()?).find(name)
    }

    /// Remembers a file that has arrived. To be told before its state is forgotten.
    pub(super) fn remember(&self, name: &str, arrived: &Arrived) -> Result<(), StateError> {
        match &self.journal {
            Some(journal) => lock(journal).add(name, arrived),
            None => Ok(()),
        }
    }

    /// All has arrived: there is nothing to remember any more.
    pub(super) fn is_complete(&self) {
        if let Some(journal) = &self.journal {
            lock(journal).remove();
        }
    }

    fn anchor(&self) -> Option<UploadUrl> {
        lock(&self.anchors).first().cloned()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload(path: &str) -> UploadUrl {
        path.parse().unwrap()
    }

    #[tokio::test]
    async fn the_first_is_created_alone_and_the_others_join_it() {
        let submission = Submission::new(true, None);
        let first = submission.turn().await;
        assert!(matches!(first, Turn::First { .. }));
        // The next one waits.
        let second = tokio::time::timeout(std::time::Duration::ZERO, submission.turn()).await;
        assert!(second.is_err());
        drop(first);
        // The first one failed, so the next is the first.
        let first = submission.turn().await;
        assert!(matches!(first, Turn::First { .. }));
        submission.created(&upload("/a")).unwrap();
        drop(first);
        for path in ["/b", "/c"] {
            assert_eq!(submission.turn().await.anchor().unwrap().path(), "/a");
            submission.created(&upload(path)).unwrap();
        }
        submission.lost(&upload("/a"));
        assert_eq!(submission.turn().await.anchor().unwrap().path(), "/c");
        submission.lost(&upload("/c"));
        assert!(matches!(submission.turn().await, Turn::First { .. }));
    }

    #[tokio::test]
    async fn what_is_gone_on_with_is_joined() {
        let submission = Submission::new(true, None);
        submission.goes_on(&upload("/a"));
        submission.goes_on(&upload("/b"));
        assert_eq!(submission.turn().await.anchor().unwrap().path(), "/a");
        let alone = Submission::new(false, None);
        alone.goes_on(&upload("/a"));
        alone.created(&upload("/b")).unwrap();
        assert!(matches!(alone.turn().await, Turn::Alone));
    }
}
