//! Refused requests, counted rather than written one by one.

use core::net::IpAddr;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::entry::{Entry, Event};

/// How long the same refusal from the same address is counted instead of written.
const WINDOW: Duration = Duration::from_mins(1);
/// Lines about refusals in one window, whoever they are about: about 50 MB a day at the worst.
const MAX_LINES: usize = 120;

/// What makes two refusals the same: the address (of IPv6 the network, of which one client has all) and the code.
type Kind = (Option<IpAddr>, Option<&'static str>);

/// The refusals of one window.
#[derive(Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    /// The first of each kind was written; how many more there were.
    more: HashMap<Kind, (Entry, u64)>,
    /// Of kinds that found no place.
    others: u64,
}

impl Refusals {
    /// Takes one, and gives what is to be written now.
    pub(super) fn take(&mut self, entry: Entry, now: Instant) -> Vec<Entry> {
        let mut lines = Vec::new();
        if self.due(now).is_some_and(|due| due.is_zero()) {
            lines = self.drain();
        }
        self.since.get_or_insert(now);
        let kind = (entry.address.map(network), entry.code);
        if let Some((_, more)) = self.more.get_mut(&kind) {
            *more += 1;
        } else if self.more.len() < MAX_LINES {
            self.more.insert(kind, (entry.clone(), 0));
            lines.push(entry);
        } else {
            self.others += 1;
        }
        lines
    }

    /// In how long the window ends, where there is one.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let since = self.since?;
        Some(WINDOW.saturating_sub(now.duration_since(since)))
    }

    /// Ends the window: what was counted in it and not told yet.
    pub(super) fn drain(&mut self) -> Vec<Entry> {
        self.since = None;
        let counted = |(entry, more): (Entry, u64)| {
            (more > 0).then_some(Entry {
                event: Event::Refused,
                by: None,
                link: None,
                upload: None,
                times: Some(more),
                ..entry
            })
        };
        let mut lines: Vec<_> = self
            .more
            .drain()
            .filter_map(|(_, refusal)| counted(refusal))
            .collect();
        let others = std::mem::take(&mut self.others);
        if others > 0 {
            lines.push(Entry {
                times: Some(others),
                ..Entry::new(Event::Refused)
            });
        }
        lines
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: &str, code: &'static str) -> Entry {
        Entry {
            address: Some(address.parse().unwrap()),
            code: Some(code),
            ..Entry::new(Event::Refused)
        }
    }

    #[test]
    fn the_same_is_written_once_a_minute_and_counted() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let first = refusal("192.0.2.1", "unauthorized");
        assert_eq!(
            refusals.take(first.clone(), now),
            std::slice::from_ref(&first)
        );
        for _ in 0..7 {
            assert!(refusals.take(first.clone(), now).is_empty());
        }
        let other = refusal("192.0.2.1", "forbidden");
        assert_eq!(
            refusals.take(other.clone(), now),
            std::slice::from_ref(&other)
        );
        let later = refusals.take(first.clone(), now + WINDOW);
        let counted = Entry {
            times: Some(7),
            ..first.clone()
        };
        assert_eq!(later, [counted, first]);
        assert!(refusals.drain().is_empty());
    }

    #[test]
    fn nobody_fills_the_log() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let mut lines = 0;
        for n in 0..100_000_u64 {
            let address = format!(
                "2001:db8:{:x}:{:x}::{:x}",
                n >> 8 & 0xff,
                n & 0xff,
                n & 0xffff
            );
            lines += refusals.take(refusal(&address, "not-found"), now).len();
        }
        assert_eq!(lines, MAX_LINES);
        let told = refusals.drain();
        assert!(told.len() <= MAX_LINES + 1);
        let times: u64 = told.iter().filter_map(|entry| entry.times).sum();
        assert_eq!(times + MAX_LINES as u64, 100_000);
    }
}
