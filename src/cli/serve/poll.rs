//! Looking again and again at files that may be replaced at any time.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// Has `look` look at `watched` at every interval, on a thread that may block. Runs until it is dropped. `what`: for the log.
pub(super) async fn poll<T: Send + 'static>(
    mut watched: T,
    every: Duration,
    what: &'static str,
    look: impl Fn(&mut T) + Clone + Send + 'static,
) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let look = look.clone();
        let looked = move || {
            look(&mut watched);
            watched
        };
        match tokio::task::spawn_blocking(looked).await {
            Ok(again) => watched = again,
            // The runtime is shutting down, or reading panicked; neither gets better by trying again.
            Err(error) => {
                tracing::warn!(%error, "no longer looking for {what}");
                return;
            }
        }
    }
}

/// What is wrong with files that are looked at again and again. While there is anything, they are read again at every look: a
/// disk that fails for a time changes no file when it is over. It is said once for a change, as long as it is the same.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// Whether the last reading failed.
    pub(super) fn persists(&self) -> bool {
        self.0.is_some()
    }

    /// A reading failed. Returns whether that is to be said.
    pub(super) fn found(&mut self, what: &str) -> bool {
        let known = self.0.as_deref() == Some(what);
        if !known {
            self.0 = Some(what.to_owned());
        }
        !known
    }

    /// A reading went well.
    pub(super) fn is_over(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_said_once_until_it_is_over_or_another() {
        let mut trouble = Trouble::default();
        assert!(!trouble.persists());
        assert!(trouble.found("no disk") && trouble.persists());
        assert!(!trouble.found("no disk") && trouble.persists());
        assert!(trouble.found("no token"));
        assert!(trouble.found("no disk"));
        trouble.is_over();
        assert!(!trouble.persists());
        assert!(trouble.found("no disk"));
    }
}
