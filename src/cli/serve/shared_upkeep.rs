//! The upkeep of a store that several servers share: what each of them does, and what one does for all.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use super::node::{BEAT, Node};
use super::upkeep::{log_swept, sweep_pause};
use crate::http::App;
use crate::store::StoreError;
use crate::webhook::Webhooks;

/// How often it is looked whether something is due, and whether this server is the one to do it.
const LOOK: Duration = Duration::from_secs(5);
/// How often uploads are looked for whose time is over.
const EXPIRY: Duration = Duration::from_secs(10);
/// How often resumable uploads are looked for whose time is over.
const SESSIONS: Duration = Duration::from_mins(1);
/// How often what died with a server is looked for, a day of uploads at a time.
const STAGED: Duration = Duration::from_hours(1);
/// How often webhooks are looked for that died servers were to tell.
const OUTBOX: Duration = Duration::from_secs(30);
/// How often what this server holds of links is renewed where that is due.
const RENEW: Duration = Duration::from_mins(1);

type Chore = Box<dyn Fn(&App, &Node) -> Result<(), StoreError> + Send + Sync>;

/// Something that is done again and again.
struct Work {
    what: &'static str,
    every: Duration,
    /// By one server for all, or by each for itself.
    for_all: bool,
    chore: Chore,
}

impl Work {
    fn new(
        what: &'static str,
        every: Duration,
        chore: impl Fn(&App, &Node) -> Result<(), StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            what,
            every,
            for_all: true,
            chore: Box::new(chore),
        }
    }

    fn by_each(self) -> Self {
        Self {
            for_all: false,
            ..self
        }
    }
}

/// Begins all of it.
pub(super) fn begin(
    tasks: &mut JoinSet<()>,
    app: &Arc<App>,
    node: &Arc<Node>,
    webhooks: Option<&Arc<Webhooks>>,
    lifetime: Duration,
) {
    let mut works = vec![
        Work::new("this server among the others", BEAT, |_, node| {
            node.beat(SystemTime::now)
        })
        .by_each(),
        Work::new("what uploads hold of links", RENEW, |app, _| {
            app.uploads.renew_held(SystemTime::now());
            Ok(())
        })
        .by_each(),
        Work::new("uploads that have expired", EXPIRY, delete_expired),
        Work::new(
            "resumable uploads that have expired",
            SESSIONS,
            sweep_sessions,
        ),
        Work::new("links and tokens", sweep_pause(lifetime), sweep_grants),
        Work::new("what died with servers", STAGED, sweep_staged),
    ];
    if let Some(webhooks) = webhooks {
        let (own, all) = (Arc::clone(webhooks), Arc::clone(webhooks));
        works.push(
            Work::new("webhooks", OUTBOX, move |_, _| {
                own.clear_up();
                Ok(())
            })
            .by_each(),
        );
        works.push(Work::new(
            "webhooks of dead servers",
            OUTBOX,
            move |_, node| {
                match all.adopt(|id| node.is_dead(id))? {
                    0 => {}
                    count => tracing::info!(
                        count,
                        "webhooks are told of uploads that servers took in which have ended"
                    ),
                }
                Ok(())
            },
        ));
    }
    for work in works {
        tasks.spawn(repeat(work, Arc::clone(app), Arc::clone(node)));
    }
}

/// Does it when it is due, and where it is this server's to do.
async fn repeat(work: Work, app: Arc<App>, node: Arc<Node>) {
    let work = Arc::new(work);
    let mut looks = tokio::time::interval(work.every.min(LOOK));
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut due, mut failing) = (None, false);
    loop {
        looks.tick().await;
        if work.for_all && !node.has_upkeep() {
            // Whoever gets it begins at once.
            due = None;
            continue;
        }
        if due.is_some_and(|due| Instant::now() < due) {
            continue;
        }
        due = Some(Instant::now() + work.every);
        let (now, app, node) = (Arc::clone(&work), Arc::clone(&app), Arc::clone(&node));
        match tokio::task::spawn_blocking(move || (now.chore)(&app, &node)).await {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) if std::mem::replace(&mut failing, true) => {
                let error = &error as &dyn Error;
                tracing::debug!(
                    what = work.what,
                    error,
                    "the store could not be looked after again"
                );
            }
            // That it goes on is no news.
            Ok(Err(error)) => {
                let error = &error as &dyn Error;
                tracing::warn!(
                    what = work.what,
                    error,
                    "the store could not be looked after; trying again later"
                );
            }
            // The server is stopping.
            Err(_) => return,
        }
    }
}

fn delete_expired(app: &App, node: &Node) -> Result<(), StoreError> {
    let mut deleted = 0;
    while node.has_upkeep() {
        let (count, more) = app.uploads.delete_listed(SystemTime::now())?;
        deleted += count;
        if !more {
            break;
        }
    }
    if deleted > 0 {
        tracing::info!(count = deleted, "deleted uploads that had expired");
    }
    Ok(())
}

fn sweep_sessions(app: &App, node: &Node) -> Result<(), StoreError> {
    let looked = node.progress().sessions;
    let (count, looked) = app
        .uploads
        .sweep_shared_sessions(looked, SystemTime::now())?;
    node.has_come(|progress| progress.sessions = Some(looked));
    if count > 0 {
        tracing::info!(count, "removed resumable uploads that had expired");
    }
    Ok(())
}

fn sweep_grants(app: &App, node: &Node) -> Result<(), StoreError> {
    let now = SystemTime::now();
    app.uploads.reconcile(now, false);
    log_swept("links", app.uploads.links().sweep(now));
    log_swept("tokens", app.access.tokens.sweep(now));
    node.sweep().map(drop)
}

fn sweep_staged(app: &App, node: &Node) -> Result<(), StoreError> {
    let after = node.progress().staged;
    let (count, after) = app.uploads.sweep_staged(after, SystemTime::now())?;
    node.has_come(|progress| progress.staged = progress.staged.max(after));
    if count > 0 {
        tracing::info!(count, "removed what died with servers");
    }
    Ok(())
}
