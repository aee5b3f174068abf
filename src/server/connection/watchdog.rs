//! Who decides that a connection is to end, while its requests go on.

use tokio::time::Interval;

use crate::server::Shared;
use crate::server::standing::{Standing, watch};
use crate::server::traffic::Traffic;
use crate::server::transport::Backpressure;
use crate::tls::ClientCertificate;

/// What is to become of a connection.
pub(super) enum Order {
    /// It ends now, whatever is under way.
    Cut,
    /// It takes no further requests, and ends when those that are there have been answered.
    Finish,
}

/// Looks after one connection.
pub(super) struct Watchdog<'a> {
    shared: &'a Shared,
    traffic: &'a Traffic,
    backpressure: &'a Backpressure,
    standing: Standing,
    ticks: Interval,
    finishing: bool,
}

impl<'a> Watchdog<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        traffic: &'a Traffic,
        backpressure: &'a Backpressure,
        certificate: Option<ClientCertificate>,
    ) -> Self {
        Self {
            shared,
            traffic,
            backpressure,
            standing: Standing::new(certificate),
            ticks: watch(shared),
            finishing: false,
        }
    }

    /// Whether [`Order::Finish`] was given.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Waits until the connection is to end. May be dropped and called again.
    pub(super) async fn order(&mut self) -> Order {
        let shared = self.shared;
        loop {
            tokio::select! {
                () = shared.cut.cancelled() => return Order::Cut,
                () = shared.stop.cancelled(), if !self.finishing => break,
                _ = self.ticks.tick() => {
                    let blocked = self.backpressure.write_blocked_for();
                    if self.standing.is_over(shared, self.traffic, blocked) {
                        return Order::Cut;
                    }
                    let idle = self.traffic.idle_for();
                    if idle.is_some_and(|time| time > shared.limits.header_timeout) {
                        if self.finishing {
                            return Order::Cut;
                        }
                        break;
                    }
                }
            }
        }
        self.finishing = true;
        Order::Finish
    }
}
