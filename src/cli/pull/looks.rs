//! When a server is looked at, and how much of it: often at what began lately, and now and then at everything. Ids sort by
//! the time at which an upload began, so one that took long appears among older ones.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::cli::client::listing::{Listed, Pages};
use crate::cli::client::patient_server::{PatienceError, PatientServer};
use crate::store::UploadId;

/// So many uploads that wait to be fetched are enough.
pub(super) const ENOUGH: usize = 2000;
/// Nothing is looked for more often.
const SHORTEST: Duration = Duration::from_millis(100);
/// A look at what is new begins so long before the newest.
const BEFORE: Duration = Duration::from_mins(10);
/// The least time from one look at everything to the next.
const FULL: Duration = Duration::from_secs(10);
/// It takes at most one part in so many of the time.
const SHARE: u32 = 30;

/// What is seen.
pub(super) enum Look {
    /// Some uploads.
    Page(Vec<Listed>),
    /// A look at everything has come to its end: these are there.
    All(HashSet<UploadId>),
}

/// Looks at one server, one after another.
pub(super) struct Looks {
    seen: mpsc::Receiver<Result<Look, PatienceError>>,
    ended: bool,
}

impl Looks {
    /// Looks once, or with `watch` again and again with so much time in between.
    pub(super) fn new(server: &PatientServer, watch: Option<Duration>) -> Self {
        let (sender, seen) = mpsc::channel(1);
        let server = match watch {
            Some(_) => server.with_patience(Duration::MAX),
            None => server.clone(),
        };
        let looker = Looker {
            server,
            sender,
            newest: None,
        };
        tokio::spawn(looker.run(watch.map(|every| every.max(SHORTEST))));
        Self { seen, ended: false }
    }

    /// Whether there is nothing more to see.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What is seen next. To be called again and again, also where it was dropped before it came to its end.
    pub(super) async fn next(&mut self) -> Result<Look, PatienceError> {
        let look = self.seen.recv().await;
        self.ended = look.is_none();
        look.unwrap_or_else(|| Ok(Look::Page(Vec::new())))
    }
}

struct Looker {
    server: PatientServer,
    sender: mpsc::Sender<Result<Look, PatienceError>>,
    newest: Option<UploadId>,
}

/// Nobody wants to see more.
struct Unwanted;

impl Looker {
    async fn run(mut self, watch: Option<Duration>) {
        let mut next_full = Instant::now();
        loop {
            let began = Instant::now();
            let full = began >= next_full;
            if let Err(error) = self.look(full).await {
                let _ = self.sender.send(Err(error)).await;
                return;
            }
            if full {
                next_full = began + FULL.max(began.elapsed() * SHARE);
            }
            match watch {
                Some(every) if !self.sender.is_closed() => tokio::time::sleep(every).await,
                _ => return,
            }
        }
    }

    async fn look(&mut self, full: bool) -> Result<(), PatienceError> {
        // The random part of an id made for a time does not matter that long before.
        let lately = |newest: UploadId| newest.time().checked_sub(BEFORE).map(UploadId::generate);
        let after = self.newest.filter(|_| !full).and_then(lately);
        let mut pages = Pages::of(self.server.clone(), after);
        let mut all = HashSet::new();
        while let Some(page) = pages.next().await? {
            self.newest = self.newest.max(page.last().map(|listed| listed.id));
            if full {
                all.extend(page.iter().map(|listed| listed.id));
            }
            if self.see(Look::Page(page)).await.is_err() {
                return Ok(());
            }
        }
        if full {
            let _ = self.see(Look::All(all)).await;
        }
        Ok(())
    }

    async fn see(&self, look: Look) -> Result<(), Unwanted> {
        self.sender.send(Ok(look)).await.map_err(|_| Unwanted)
    }
}
