//! A stream through several threads, in order.
//!
//! Each thread takes the next piece off the input, works on it, and puts it out when its turn has come: so a piece stays with
//! one core, in its cache and in one buffer, and there are never more pieces in hand than threads. Reading and writing are
//! done by one thread at a time each, the work between them by all at once. An error waits for its turn like a piece, so the
//! first one in the stream decides, whichever thread is faster.

use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Threads beyond this have nothing to do: the one that writes is busy all the time.
const MAX_THREADS: usize = 8;

/// As many threads as there are cores for this process, up to a sensible limit.
pub(super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_THREADS))
}

/// A piece that was taken off the input.
pub(super) enum Taken<T> {
    /// More follows.
    Piece(T),
    /// The last piece. There is always one, and it may be empty.
    Last(T),
}

/// What is done with the pieces of a stream.
pub(super) trait Pieces: Send + Sync + 'static {
    /// Where they come from.
    type Input: Send;
    /// Where they go to.
    type Output: Send;
    /// What holds one piece. Each thread has its own, and uses it again.
    type Buffer;
    /// What is to be done with the piece in the buffer.
    type Task;
    /// The outcome, in the buffer.
    type Done<'a>;
    /// What can go wrong.
    type Error: Send;

    /// A buffer for one thread.
    fn buffer(&self) -> Self::Buffer;
    /// Reads the next piece. One thread at a time.
    fn take(
        &self,
        input: &mut Self::Input,
        buffer: &mut Self::Buffer,
    ) -> Result<Taken<Self::Task>, Self::Error>;
    /// Does the work, beside other threads.
    fn work<'a>(
        &self,
        task: Self::Task,
        buffer: &'a mut Self::Buffer,
    ) -> Result<Self::Done<'a>, Self::Error>;
    /// Writes the outcome. One thread at a time, in order.
    fn put(&self, output: &mut Self::Output, done: Self::Done<'_>) -> Result<(), Self::Error>;
}

/// Sends all of `input` through to `output`, and gives both back when the last piece was put out.
///
/// The first piece is done by the caller alone: a short stream starts no thread. After an error it does not wait for a thread
/// that is still reading, since nobody knows when its input will have something; that thread ends then.
pub(super) fn run<P: Pieces>(
    pieces: P,
    input: P::Input,
    output: P::Output,
    threads: usize,
) -> Result<(P::Input, P::Output), P::Error> {
    let mut buffer = pieces.buffer();
    let relay = Arc::new(Relay::new(pieces, input, output));
    let mut started = Vec::new();
    if relay.step(&mut buffer) {
        if threads > 1 {
            started = (0..threads).filter_map(|_| Relay::start(&relay)).collect();
        }
        if started.is_empty() {
            while relay.step(&mut buffer) {}
        }
    }
    drop(buffer);
    let (output, outcome) = relay.end();
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(error),
        None => return unwind(started),
    }
    for thread in started {
        // Every piece was put out, so there is nothing left that could go wrong in it.
        let _ = thread.join();
    }
    let relay = Arc::into_inner(relay).expect("all threads have ended");
    let intake = relay.intake.into_inner();
    let intake = intake.unwrap_or_else(PoisonError::into_inner);
    Ok((intake.input, output))
}

/// Goes on with a thread's panic in the caller's.
fn unwind<T>(threads: Vec<JoinHandle<()>>) -> T {
    for thread in threads {
        if thread.is_finished()
            && let Err(panic) = thread.join()
        {
            resume_unwind(panic);
        }
    }
    panic!("a thread of the relay has panicked")
}

struct Relay<P: Pieces> {
    pieces: P,
    intake: Mutex<Intake<P::Input>>,
    outlet: Mutex<Outlet<P>>,
    /// Told when the turn goes on, and when all is over.
    turn: Condvar,
}

struct Intake<I> {
    input: I,
    /// The number of the next piece.
    next: u64,
    over: bool,
}

struct Outlet<P: Pieces> {
    /// `None` when all is over.
    output: Option<P::Output>,
    /// The number of the piece whose turn it is.
    turn: u64,
    outcome: Option<Result<(), P::Error>>,
    over: bool,
}

impl<P: Pieces> Relay<P> {
    fn new(pieces: P, input: P::Input, output: P::Output) -> Self {
        Self {
            pieces,
            intake: Mutex::new(Intake {
                input,
                next: 0,
                over: false,
            }),
            outlet: Mutex::new(Outlet {
                output: Some(output),
                turn: 0,
                outcome: None,
                over: false,
            }),
            turn: Condvar::new(),
        }
    }

    /// `None` where the system has no thread to spare: the others do its work.
    fn start(relay: &Arc<Self>) -> Option<JoinHandle<()>> {
        let relay = Arc::clone(relay);
        let work = move || {
            let _guard = StopOnPanic(&relay);
            let mut buffer = relay.pieces.buffer();
            while relay.step(&mut buffer) {}
        };
        thread::Builder::new().spawn(work).ok()
    }

    /// Does one piece from start to end. Says whether there may be more.
    fn step(&self, buffer: &mut P::Buffer) -> bool {
        let mut intake = lock(&self.intake);
        if intake.over {
            return false;
        }
        let number = intake.next;
        intake.next += 1;
        let taken = self.pieces.take(&mut intake.input, buffer);
        intake.over = !matches!(taken, Ok(Taken::Piece(_)));
        let last = intake.over;
        drop(intake);
        let done = match taken {
            Ok(Taken::Piece(task) | Taken::Last(task)) => self.pieces.work(task, buffer),
            Err(error) => Err(error),
        };

        let mut outlet = lock(&self.outlet);
        while outlet.turn != number && !outlet.over {
            let woken = self.turn.wait(outlet);
            outlet = woken.unwrap_or_else(PoisonError::into_inner);
        }
        if outlet.over {
            return false;
        }
        let Some(output) = &mut outlet.output else {
            return false;
        };
        let put = done.and_then(|done| self.pieces.put(output, done));
        outlet.turn += 1;
        if last || put.is_err() {
            outlet.outcome = Some(put);
            outlet.over = true;
        }
        self.turn.notify_all();
        !outlet.over
    }

    /// Waits until all is over. There is no outcome where a thread panicked.
    fn end(&self) -> (P::Output, Option<Result<(), P::Error>>) {
        let mut outlet = lock(&self.outlet);
        while !outlet.over {
            let woken = self.turn.wait(outlet);
            outlet = woken.unwrap_or_else(PoisonError::into_inner);
        }
        let output = outlet.output.take().expect("taken here alone");
        (output, outlet.outcome.take())
    }
}

/// Ends all where a thread cannot do its piece.
struct StopOnPanic<'a, P: Pieces>(&'a Relay<P>);

impl<P: Pieces> Drop for StopOnPanic<'_, P> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.outlet).over = true;
            self.0.turn.notify_all();
        }
    }
}

/// A thread that panics ends all, so nobody goes on with what it left.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
