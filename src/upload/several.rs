//! Several things at the same time, where each waits for a store that is far away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does something with each of the items, at most `at_once` at the same time, and waits for all of it. Blocks.
pub(super) fn for_each<T: Sync>(items: &[T], at_once: usize, work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let one_after_another = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item);
        }
    };
    if items.len() < 2 {
        return one_after_another();
    }
    thread::scope(|scope| {
        for _ in 1..at_once.min(items.len()) {
            // Where no thread can be had, those that there are do it all.
            let _ = thread::Builder::new().spawn_scoped(scope, one_after_another);
        }
        one_after_another();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_is_done_once() {
        for count in [0, 1, 2, 100] {
            let items: Vec<usize> = (0..count).collect();
            let done = Mutex::new(Vec::new());
            for_each(&items, 7, |item| done.lock().unwrap().push(*item));
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, items);
        }
    }
}
