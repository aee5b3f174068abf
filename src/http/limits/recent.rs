//! What was seen last.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// A map of a bounded number of keys. Where one more comes, the one goes that was not touched for longest.
pub(super) struct Recent<K, V> {
    most: usize,
    /// How often any key was touched: the order.
    touches: u64,
    values: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
}

impl<K: Hash + Eq + Clone, V: Default> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            touches: 0,
            values: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// The value of a key, a new one where it has none.
    pub(super) fn touch(&mut self, key: K) -> &mut V {
        self.touches += 1;
        if !self.values.contains_key(&key)
            && self.values.len() >= self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
        let (touched, value) = self.values.entry(key.clone()).or_default();
        self.order.remove(touched);
        *touched = self.touches;
        self.order.insert(self.touches, key);
        value
    }

    /// The value of a key that is there.
    pub(super) fn find(&mut self, key: &K) -> Option<&mut V> {
        self.values.get_mut(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_touched_for_longest_goes() {
        let mut recent = Recent::<_, u32>::new(3);
        for key in ["a", "b", "c", "a"] {
            *recent.touch(key) += 1;
        }
        *recent.touch("d") += 1;
        assert_eq!(recent.find(&"a"), Some(&mut 2));
        assert_eq!(recent.find(&"b"), None);
        assert_eq!(recent.find(&"c"), Some(&mut 1));
        for key in 0..1000 {
            recent.touch(["x", "y", "z"][key % 3]);
            assert_eq!((recent.values.len(), recent.order.len()), (3, 3));
        }
        assert_eq!(recent.find(&"a"), None);
    }
}
