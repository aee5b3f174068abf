//! How many at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// So many places for each key. Only who holds one takes memory.
pub(super) struct Places<K> {
    each: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// A place, given back when it is dropped.
pub(super) struct Place<K: Hash + Eq> {
    places: Arc<Places<K>>,
    key: K,
}

impl<K: Hash + Eq> Places<K> {
    pub(super) fn new(each: usize) -> Self {
        Self {
            each,
            taken: Mutex::default(),
        }
    }

    /// A place for this key, where it has one left.
    pub(super) fn take(places: &Arc<Self>, key: K) -> Option<Place<K>>
    where
        K: Clone,
    {
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&key).copied().unwrap_or(0);
        if own >= places.each {
            return None;
        }
        taken.insert(key.clone(), own + 1);
        Some(Place {
            places: Arc::clone(places),
            key,
        })
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let taken = self.places.taken.lock();
        let mut taken = taken.unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_places_and_leaves_nothing() {
        let places = Arc::new(Places::new(2));
        let first = Places::take(&places, "a").unwrap();
        let second = Places::take(&places, "a").unwrap();
        assert!(Places::take(&places, "a").is_none());
        let other = Places::take(&places, "b").unwrap();
        drop(first);
        let third = Places::take(&places, "a").unwrap();
        assert!(Places::take(&places, "a").is_none());
        drop((second, third, other));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
