//! What is kept of a connection while it goes on, over TCP and QUIC: that it is open, and whether it may stay.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Shared;
use super::traffic::Traffic;
use crate::http::App;
use crate::tls::ClientCertificate;

/// How often a connection's watchdog looks.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// How often a client's certificate is verified again while its connection goes on.
const VERIFY_INTERVAL: Duration = Duration::from_mins(1);

/// A certificate on a connection that goes on.
pub(super) struct Standing {
    certificate: Option<ClientCertificate>,
    verified: Instant,
    /// What it was verified against.
    generation: u64,
}

impl Standing {
    pub(super) fn new(certificate: Option<ClientCertificate>) -> Self {
        Self {
            certificate,
            verified: Instant::now(),
            // None yet: the authorities may have been replaced since the handshake began.
            generation: 0,
        }
    }

    /// Whether the certificate passes still. Where there is none, nothing can be wrong with it.
    fn is_good(&mut self, shared: &Shared) -> bool {
        let Some(certificate) = &self.certificate else {
            return true;
        };
        let generation = shared.tls.client_generation();
        if generation == self.generation && self.verified.elapsed() < VERIFY_INTERVAL {
            return true;
        }
        (self.generation, self.verified) = (generation, Instant::now());
        shared.tls.verify(certificate).is_ok()
    }

    /// Whether the connection has to be cut. `blocked`: for how long the client has taken nothing of what is written to it.
    pub(super) fn is_over(
        &mut self,
        shared: &Shared,
        traffic: &Traffic,
        blocked: Option<Duration>,
    ) -> bool {
        if !self.is_good(shared) {
            tracing::debug!("a client's certificate is no longer good");
            return true;
        }
        let limit = shared.limits.write_timeout;
        let mut stuck = blocked.into_iter().chain(traffic.answer_stuck_for());
        let unread = stuck.any(|time| time > limit);
        if unread {
            tracing::debug!("a client left its answer unread");
        }
        unread
    }
}

/// Ticks when a connection's watchdog is to look.
pub(super) fn watch(shared: &Shared) -> Interval {
    let mut watch = interval(WATCH_INTERVAL.min(shared.limits.header_timeout));
    watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
    watch
}

/// Counts a connection while it is open.
pub(super) struct Open(Arc<App>);

impl Open {
    pub(super) fn count(app: &Arc<App>) -> Self {
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(app))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
