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
