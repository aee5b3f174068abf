//! What a server does beside answering: it removes what has expired, and looks after what links have reserved.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use super::node::Node;
use super::shared_upkeep;
use crate::grant::GrantError;
use crate::http::App;
use crate::upload::Uploads;
use crate::webhook::Webhooks;

/// How often expired uploads are looked for, at the most and at the least.
const MIN_SWEEP: Duration = Duration::from_secs(1);
const MAX_SWEEP: Duration = Duration::from_hours(1);
/// How often finished uploads are looked for whose time is over.
const EXPIRY_CHECK: Duration = Duration::from_secs(1);
/// How often it is looked whether manifests that were opened have been kept for long enough.
const OPENED_CHECK: Duration = Duration::from_secs(5);
/// How often all records are looked at for when their uploads are to go, and how slowly: so many, and then a pause.
const EXPIRY_WALK: Duration = Duration::from_hours(24);
const WALK_RECORDS: usize = 100;
const WALK_PAUSE: Duration = Duration::from_millis(100);

/// What looks after the store.
pub(super) struct Upkeep {
    /// This server, where there may be others.
    pub(super) node: Option<Arc<Node>>,
    pub(super) webhooks: Option<Arc<Webhooks>>,
    /// How long resumable uploads live.
    pub(super) lifetime: Duration,
}

impl Upkeep {
    /// Begins all of it, for as long as what this gives lives.
    pub(super) fn begin(&self, app: &Arc<App>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if !app.uploads.identities().is_empty() {
            tasks.spawn(let_opened_go(Arc::clone(&app.uploads)));
        }
        match &self.node {
            None => begin_alone(&mut tasks, app, self.lifetime),
            Some(node) => {
                let webhooks = self.webhooks.as_ref();
                shared_upkeep::begin(&mut tasks, app, node, webhooks, self.lifetime);
            }
        }
        tasks
    }
}

fn begin_alone(tasks: &mut JoinSet<()>, app: &Arc<App>, lifetime: Duration) {
    tasks.spawn(sweep(Arc::clone(app), lifetime));
    tasks.spawn(delete_expired(Arc::clone(&app.uploads)));
    tasks.spawn(walk_expiries(Arc::clone(&app.uploads)));
}

/// Lets go what was kept of opened uploads, whether or not anybody opens another one.
async fn let_opened_go(uploads: Arc<Uploads>) {
    let mut ticks = tokio::time::interval(OPENED_CHECK);
    loop {
        ticks.tick().await;
        uploads.let_opened_go(Instant::now());
    }
}

/// How often what has expired is looked for: as often as fits how long it lives.
pub(super) fn sweep_pause(lifetime: Duration) -> Duration {
    (lifetime / 10).clamp(MIN_SWEEP, MAX_SWEEP)
}

/// Removes resumable uploads that have expired, and links and tokens that have long been over, now and then.
async fn sweep(app: Arc<App>, lifetime: Duration) {
    let mut ticks = tokio::time::interval(sweep_pause(lifetime));
    loop {
        ticks.tick().await;
        let app = Arc::clone(&app);
        let swept = tokio::task::spawn_blocking(move || {
            let now = SystemTime::now();
            let swept = app.uploads.sweep_sessions(now);
            app.uploads.reconcile(now, false);
            log_swept("links", app.uploads.links().sweep(now));
            log_swept("tokens", app.access.tokens.sweep(now));
            swept
        });
        match swept.await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => tracing::info!(count, "removed resumable uploads that had expired"),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "expired uploads could not be removed; trying again later"
                );
            }
            // The server is stopping.
            Err(_) => return,
        }
    }
}

/// Links and tokens that had long been over.
pub(super) fn log_swept(what: &'static str, swept: Result<usize, GrantError>) {
    match swept {
        Ok(0) => {}
        Ok(count) => tracing::info!(what, count, "removed what had long expired or been revoked"),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                what,
                error,
                "what is over could not be removed; trying again later"
            );
        }
    }
}

/// Deletes finished uploads when their time is over.
async fn delete_expired(uploads: Arc<Uploads>) {
    let mut ticks = tokio::time::interval(EXPIRY_CHECK);
    loop {
        ticks.tick().await;
        let now = SystemTime::now();
        if !uploads.has_expired(now) {
            continue;
        }
        let uploads = Arc::clone(&uploads);
        match tokio::task::spawn_blocking(move || uploads.delete_expired(now)).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "deleted uploads that had expired"),
            // The server is stopping.
            Err(_) => return,
        }
    }
}

/// Looks now and then, in its own time, at all records for when their uploads are to go.
async fn walk_expiries(uploads: Arc<Uploads>) {
    let mut days = tokio::time::interval(EXPIRY_WALK);
    loop {
        days.tick().await;
        let mut after = None;
        loop {
            let uploads = Arc::clone(&uploads);
            let look = move || uploads.note_expiries(after.as_ref(), WALK_RECORDS);
            match tokio::task::spawn_blocking(look).await {
                Ok(Ok(None)) => break,
                Ok(Ok(next)) => after = next,
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "when uploads are to be deleted could not be looked at; trying again later"
                    );
                    days.reset_after(MAX_SWEEP);
                    break;
                }
                // The server is stopping.
                Err(_) => return,
            }
            tokio::time::sleep(WALK_PAUSE).await;
        }
    }
}
