//! How much handshakes may take from everybody else.
//!
//! Two things are bounded. How many connections may be without a finished handshake, and how many of those one address may
//! have: where there are too many, the one that has been waiting longest is closed, so that clients who are quick get in
//! while others say nothing. And how many handshakes compute at the same time: the others wait for their turn, in order,
//! and uploads keep the rest of the machine. A turn is held while the processor works, never while a client is waited for.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use crate::http::ClientNetwork;

/// The handshakes of a listener.
pub(super) struct Handshakes {
    most: usize,
    /// As many may be of one address.
    most_of_one: usize,
    turns: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// By number: the first has been waiting longest.
    places: BTreeMap<u64, Entry>,
    of_network: HashMap<ClientNetwork, usize>,
}

struct Entry {
    network: Option<ClientNetwork>,
    /// Dropped with its entry: that is how who waits learns of it.
    _given_up: oneshot::Sender<Infallible>,
}

impl Waiting {
    fn give_up(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(Entry { network, .. }) = self.places.remove(&number) else {
            return;
        };
        let Some(network) = network else { return };
        if let Some(count) = self.of_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.of_network.remove(&network);
            }
        }
    }
}

impl Handshakes {
    /// For `most` connections without a handshake, half of them from one address, and `threads` to compute with.
    pub(super) fn new(most: usize, threads: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            most_of_one: (most / 2).max(1),
            // Half of the machine is the uploads' own.
            turns: Arc::new(Semaphore::new((threads / 2).max(1))),
            waiting: Mutex::default(),
        })
    }

    /// Other places, which some of the handshakes need as well: `most` of them, `most_of_one` of one address. The turns are the same.
    pub(super) fn within(&self, most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_one,
            turns: Arc::clone(&self.turns),
            waiting: Mutex::default(),
        })
    }

    /// How many are not over.
    pub(super) fn under_way(&self) -> usize {
        self.lock().places.len()
    }

    /// Takes a place for a connection, perhaps from the one that has had its own longest. [`Place`] is held until the handshake is
    /// over; [`Lost`] tells when it was taken away.
    pub(super) fn enter(self: &Arc<Self>) -> (Place, Lost) {
        let (given_up, lost) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.places.len() >= self.most {
            let oldest = waiting.places.keys().next().copied();
            waiting.give_up(oldest);
        }
        let number = waiting.next;
        waiting.next += 1;
        let entry = Entry {
            network: None,
            _given_up: given_up,
        };
        waiting.places.insert(number, entry);
        drop(waiting);
        let place = Place {
            handshakes: Arc::clone(self),
            number,
        };
        (place, Lost(lost))
    }

    /// Waits until one more handshake may compute.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.turns.acquire().await;
        turn.expect("nobody closes it")
    }

    /// Nothing is ever left half done in there.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection whose handshake is not over.
pub(super) struct Place {
    handshakes: Arc<Handshakes>,
    number: u64,
}

impl Place {
    /// Counts it as one of this address. Where that has too many, the one of them that has been waiting longest is given up.
    pub(super) fn belongs_to(&self, network: ClientNetwork) {
        let mut waiting = self.handshakes.lock();
        if waiting.of_network.get(&network).copied().unwrap_or(0) >= self.handshakes.most_of_one {
            let mut of_network = waiting.places.iter();
            let oldest = of_network.find(|(_, entry)| entry.network == Some(network));
            let oldest = oldest.map(|(&number, _)| number);
            waiting.give_up(oldest);
        }
        let Some(entry) = waiting.places.get_mut(&self.number) else {
            return;
        };
        entry.network = Some(network);
        *waiting.of_network.entry(network).or_default() += 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handshakes.lock().remove(self.number);
    }
}

/// Tells when a place was taken away.
pub(super) struct Lost(oneshot::Receiver<Infallible>);

impl Lost {
    /// Waits for it. A place that was let go counts too, so this is not to be waited for beyond its end.
    pub(super) async fn happens(self) {
        let _ = self.0.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> ClientNetwork {
        ClientNetwork::of(address.parse().unwrap())
    }

    fn enter(handshakes: &Arc<Handshakes>, address: &str) -> (Place, Lost) {
        let (place, lost) = handshakes.enter();
        place.belongs_to(network(address));
        (place, lost)
    }

    fn is_lost(lost: &mut Lost) -> bool {
        lost.0.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn who_waits_longest_goes_first() {
        let handshakes = Handshakes::new(4, 2);
        let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
        let mut all: Vec<_> = addresses.map(|one| enter(&handshakes, one)).into();
        assert!(!all.iter_mut().any(|(_, lost)| is_lost(lost)));
        let (_fifth, mut lost) = enter(&handshakes, "192.0.2.5");
        assert!(!is_lost(&mut lost));
        let which: Vec<_> = all.iter_mut().map(|(_, lost)| is_lost(lost)).collect();
        assert_eq!(which, [true, false, false, false]);
        // One that is over makes room.
        all.remove(2);
        let _sixth = enter(&handshakes, "192.0.2.6");
        let which: Vec<_> = all.iter_mut().map(|(_, lost)| is_lost(lost)).collect();
        assert_eq!(which, [true, false, false]);
    }

    #[test]
    fn one_address_takes_places_from_itself_alone() {
        let handshakes = Handshakes::new(4, 2);
        let (place, mut honest) = enter(&handshakes, "192.0.2.1");
        // All of an IPv6 network of 64 bits is one.
        let mut flood = Vec::new();
        for number in 1..100 {
            flood.push(enter(&handshakes, &format!("2001:db8::{number}")));
        }
        assert!(!is_lost(&mut honest));
        let lost = flood.iter_mut().map(|(_, lost)| usize::from(is_lost(lost)));
        assert_eq!(lost.sum::<usize>(), 97);
        drop(flood);
        drop(place);
        let waiting = handshakes.lock();
        assert!(waiting.places.is_empty() && waiting.of_network.is_empty());
    }

    #[test]
    fn places_of_their_own_take_none_from_others() {
        let handshakes = Handshakes::new(4, 2);
        let (_place, mut honest) = enter(&handshakes, "192.0.2.1");
        let some = handshakes.within(4, 2);
        let mut flood: Vec<_> = (0..5).map(|_| enter(&some, "192.0.2.1")).collect();
        assert_eq!((some.under_way(), handshakes.under_way()), (2, 1));
        assert!(!is_lost(&mut honest));
        let which: Vec<_> = flood.iter_mut().map(|(_, lost)| is_lost(lost)).collect();
        assert_eq!(which, [true, true, true, false, false]);
    }

    #[tokio::test]
    async fn half_of_the_threads_compute() {
        for (threads, turns) in [(1, 1), (2, 1), (3, 1), (8, 4)] {
            assert_eq!(Handshakes::new(1, threads).turns.available_permits(), turns);
        }
        let handshakes = Handshakes::new(1, 1);
        drop(handshakes.turn().await);
        drop(handshakes.turn().await);
    }
}
