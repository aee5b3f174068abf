//! Work that costs the same for one as for many: whoever comes while it is being done is in the next batch.
//!
//! Nobody waits for company. Who finds nothing under way begins at once, alone; who comes meanwhile waits until that is done, and
//! then one of those who wait does it for all of them. So a batch is as large as the disk is slow.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Gathers jobs that are done together. Each has an outcome of its own.
pub(super) struct Batches<J, O> {
    queue: Mutex<Queue<J, O>>,
}

struct Queue<J, O> {
    /// Whether somebody does a batch, or was told to.
    busy: bool,
    waiting: Vec<Waiting<J, O>>,
}

struct Waiting<J, O> {
    job: J,
    told: Sender<Told<O>>,
}

/// What whoever waits is told.
enum Told<O> {
    /// It was done.
    Done(O),
    /// Nothing is under way any more: do it, for all who wait.
    Lead,
}

impl<J, O> Batches<J, O> {
    pub(super) fn new() -> Self {
        let waiting = Vec::new();
        Self {
            queue: Mutex::new(Queue {
                busy: false,
                waiting,
            }),
        }
    }

    /// Has the job done, with those of others, by `work`, which gives an outcome for each of its jobs, in order. `None`: whoever
    /// did it came to no end. Blocks.
    pub(super) fn take_part(&self, job: J, work: impl FnOnce(&[J]) -> Vec<O>) -> Option<O> {
        let (told, answer) = channel();
        {
            let mut queue = self.lock();
            if !queue.busy {
                queue.busy = true;
                let _ = told.send(Told::Lead);
            }
            queue.waiting.push(Waiting { job, told });
        }
        match answer.recv().ok()? {
            Told::Done(outcome) => return Some(outcome),
            Told::Lead => {}
        }
        let leader = Leader(self);
        let batch = std::mem::take(&mut self.lock().waiting);
        let (jobs, told): (Vec<J>, Vec<_>) =
            (batch.into_iter().map(|waiting| (waiting.job, waiting.told))).unzip();
        let outcomes = work(&jobs);
        debug_assert_eq!(outcomes.len(), jobs.len(), "an outcome for each job");
        // The next batch begins before this one's are told: the disk is what they all wait for.
        drop(leader);
        for (told, outcome) in told.into_iter().zip(outcomes) {
            let _ = told.send(Told::Done(outcome));
        }
        match answer.recv().ok()? {
            Told::Done(outcome) => Some(outcome),
            Told::Lead => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue<J, O>> {
        // Whole at any time, so a panic elsewhere cannot have left it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever does a batch. Dropped, also where it panics, it hands over to one of those who wait.
struct Leader<'a, J, O>(&'a Batches<J, O>);

impl<J, O> Drop for Leader<'_, J, O> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        let next = queue.waiting.first();
        let led = next.is_some_and(|next| next.told.send(Told::Lead).is_ok());
        queue.busy = led;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    /// Waits until so many wait behind whoever leads.
    fn until_waiting(batches: &Batches<u32, u32>, count: usize) {
        let began = Instant::now();
        while batches.lock().waiting.len() < count {
            assert!(began.elapsed() < Duration::from_secs(30), "nobody came");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn double(jobs: &[u32]) -> Vec<u32> {
        jobs.iter().map(|job| job * 2).collect()
    }

    #[test]
    fn who_comes_alone_waits_for_nobody() {
        let batches = Batches::new();
        for job in 0..3 {
            let outcome = batches.take_part(job, |jobs| {
                assert_eq!(jobs, [job]);
                double(jobs)
            });
            assert_eq!(outcome, Some(job * 2));
        }
    }

    #[test]
    fn all_who_come_while_a_batch_is_under_way_are_the_next_one() {
        let (batches, counted) = (Batches::new(), AtomicUsize::new(0));
        let work = |jobs: &[u32]| {
            counted.fetch_add(1, Ordering::Relaxed);
            double(jobs)
        };
        let begun = Barrier::new(2);
        thread::scope(|scope| {
            let (batches, begun, work) = (&batches, &begun, &work);
            let first = scope.spawn(move || {
                batches.take_part(100, |jobs| {
                    begun.wait();
                    until_waiting(batches, 20);
                    work(jobs)
                })
            });
            begun.wait();
            let others: Vec<_> = (0..20)
                .map(|job| scope.spawn(move || (job, batches.take_part(job, work))))
                .collect();
            assert_eq!(first.join().unwrap(), Some(200));
            for other in others {
                let (job, outcome) = other.join().unwrap();
                assert_eq!(outcome, Some(job * 2), "each has its own outcome");
            }
        });
        assert_eq!(counted.into_inner(), 2);
        assert!(!batches.lock().busy);
    }

    #[test]
    fn a_leader_that_panics_fails_its_own_batch_and_no_other() {
        let batches = Batches::new();
        let begun = Barrier::new(2);
        thread::scope(|scope| {
            let (batches, begun) = (&batches, &begun);
            let first = scope.spawn(move || {
                catch_unwind(AssertUnwindSafe(|| {
                    batches.take_part(1, |_| {
                        begun.wait();
                        until_waiting(batches, 1);
                        panic!("on purpose");
                    })
                }))
                .is_err()
            });
            begun.wait();
            let second = scope.spawn(move || batches.take_part(2, double));
            assert!(first.join().unwrap());
            assert_eq!(second.join().unwrap(), Some(4));
        });
        assert_eq!(batches.take_part(3, double), Some(6));
    }

    #[test]
    fn many_at_once_each_get_their_own_outcome() {
        let batches = Batches::new();
        thread::scope(|scope| {
            for worker in 0..8 {
                let batches = &batches;
                scope.spawn(move || {
                    for job in worker * 1000..worker * 1000 + 500 {
                        assert_eq!(batches.take_part(job, double), Some(job * 2));
                    }
                });
            }
        });
        let queue = batches.lock();
        assert!(!queue.busy && queue.waiting.is_empty());
    }
}
