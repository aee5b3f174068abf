//! What this process remembers of the names that it has written.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Remembers the last so many things.
pub(super) struct Recent<T>(Mutex<Inner<T>>);

struct Inner<T> {
    known: HashSet<T>,
    order: VecDeque<T>,
}

/// More are forgotten, the oldest ones first.
const MOST: usize = 16_384;

impl<T: Copy + Eq + Hash> Recent<T> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner {
            known: HashSet::new(),
            order: VecDeque::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers it. `false`: it was known.
    pub(super) fn insert(&self, thing: T) -> bool {
        let mut inner = self.lock();
        if !inner.known.insert(thing) {
            return false;
        }
        inner.order.push_back(thing);
        if inner.order.len() > MOST
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.known.remove(&oldest);
        }
        true
    }

    pub(super) fn remove(&self, thing: &T) {
        let mut inner = self.lock();
        if inner.known.remove(thing) {
            inner.order.retain(|known| known != thing);
        }
    }

    pub(super) fn contains(&self, thing: &T) -> bool {
        self.lock().known.contains(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_known() {
        let recent = Recent::new();
        assert!(recent.insert(0) && !recent.insert(0));
        for thing in 1..MOST {
            assert!(recent.insert(thing));
        }
        assert!(recent.contains(&0));
        assert!(recent.insert(MOST));
        assert!(!recent.contains(&0) && recent.contains(&1) && recent.contains(&MOST));
        recent.remove(&7);
        assert!(!recent.contains(&7) && recent.insert(7));
        assert_eq!(recent.lock().known.len(), MOST);
    }
}
