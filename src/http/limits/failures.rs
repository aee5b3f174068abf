//! Who guesses waits.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use core::net::IpAddr;

use super::network::Network;
use super::recent::Recent;

/// Addresses that are remembered.
const MOST_ADDRESSES: usize = 10_000;
/// The longest wait for the answer to a wrong credential.
const LONGEST: Duration = Duration::from_secs(5);
/// A failure is forgotten after this time.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);
/// Requests of one address that may wait at the same time.
const MOST_WAITING: usize = 16;

/// The wrong credentials of each address. The first one waits a little for its answer, and each further one twice as long, up to a
/// bound; with time they are forgotten one by one. Who brings the right one never comes here.
pub(in crate::http) struct Failures {
    first: Duration,
    addresses: Mutex<Recent<Network, Failed>>,
}

#[derive(Default)]
struct Failed {
    /// Failures that are not forgotten, and from when on the next one is forgetting.
    count: u32,
    since: Option<Instant>,
    waiting: usize,
}

impl Failed {
    fn forget(&mut self, now: Instant) {
        let Some(since) = self.since else {
            return;
        };
        let periods = now.saturating_duration_since(since).as_nanos() / FORGOTTEN_AFTER.as_nanos();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.count = self.count.saturating_sub(periods);
        self.since = if self.count == 0 {
            None
        } else {
            since.checked_add(FORGOTTEN_AFTER * periods)
        };
    }
}

/// One request that waits for the answer to a wrong credential.
pub(in crate::http) struct Waiting<'a> {
    failures: &'a Failures,
    network: Network,
    /// How long.
    pub(in crate::http) delay: Duration,
}

impl Failures {
    /// `first`: how long the first failure waits. Zero: none does.
    pub(in crate::http) fn new(first: Duration) -> Self {
        Self {
            first,
            addresses: Mutex::new(Recent::new(MOST_ADDRESSES)),
        }
    }

    /// Counts a failure. `None`: too many wait already.
    pub(in crate::http) fn count(&self, address: IpAddr, now: Instant) -> Option<Waiting<'_>> {
        let network = Network::of(address);
        let mut addresses = self.lock();
        let failed = addresses.touch(network);
        failed.forget(now);
        failed.count = failed.count.saturating_add(1);
        failed.since.get_or_insert(now);
        if failed.waiting >= MOST_WAITING {
            return None;
        }
        failed.waiting += 1;
        let doublings = (failed.count - 1).min(20);
        let delay = self.first.saturating_mul(1 << doublings).min(LONGEST);
        Some(Waiting {
            failures: self,
            network,
            delay,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recent<Network, Failed>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // It may have been forgotten among many, and begun anew.
        if let Some(failed) = self.failures.lock().find(&self.network) {
            failed.waiting = failed.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "192.0.2.1";

    fn count<'a>(failures: &'a Failures, address: &str, now: Instant) -> Option<Waiting<'a>> {
        failures.count(address.parse().unwrap(), now)
    }

    fn delay(failures: &Failures, address: &str, now: Instant) -> u128 {
        count(failures, address, now).unwrap().delay.as_millis()
    }

    #[test]
    fn each_failure_waits_twice_as_long_up_to_a_bound() {
        let failures = Failures::new(Duration::from_millis(50));
        let now = Instant::now();
        let delays: Vec<_> = (0..10).map(|_| delay(&failures, ADDRESS, now)).collect();
        assert_eq!(
            delays,
            [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]
        );
        assert_eq!(delay(&failures, "192.0.2.2", now), 50);
        // A network of IPv6 is one, whatever address of it is used.
        assert_eq!(delay(&failures, "2001:db8::1", now), 50);
        assert_eq!(delay(&failures, "2001:db8::2:3:4:5", now), 100);
        // Nor does it ever end.
        for _ in 0..1000 {
            assert_eq!(delay(&failures, ADDRESS, now), 5000);
        }
    }

    #[test]
    fn failures_are_forgotten_one_by_one() {
        let failures = Failures::new(Duration::from_millis(50));
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        for _ in 0..4 {
            delay(&failures, ADDRESS, at(0));
        }
        assert_eq!(delay(&failures, ADDRESS, at(29)), 800);
        assert_eq!(delay(&failures, ADDRESS, at(31)), 800);
        assert_eq!(delay(&failures, ADDRESS, at(59)), 1600);
        assert_eq!(delay(&failures, ADDRESS, at(100_000)), 50);
    }

    #[test]
    fn only_so_many_wait_at_the_same_time() {
        let failures = Failures::new(Duration::from_millis(50));
        let now = Instant::now();
        let mut waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| count(&failures, ADDRESS, now).unwrap())
            .collect();
        assert!(count(&failures, ADDRESS, now).is_none());
        assert!(count(&failures, "192.0.2.2", now).is_some());
        waiting.pop();
        assert!(count(&failures, ADDRESS, now).is_some());
    }

    #[test]
    fn no_more_addresses_are_kept_than_a_bound() {
        let failures = Failures::new(Duration::from_millis(50));
        let now = Instant::now();
        assert_eq!(delay(&failures, ADDRESS, now), 50);
        for number in 0..2 * u32::try_from(MOST_ADDRESSES).unwrap() {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            assert!(failures.count(address, now).is_some());
        }
        assert_eq!(delay(&failures, ADDRESS, now), 50);
    }

    #[test]
    fn no_delay_can_be_had() {
        let failures = Failures::new(Duration::ZERO);
        for _ in 0..10 {
            assert_eq!(delay(&failures, ADDRESS, Instant::now()), 0);
        }
    }
}
