//! What goes on over one connection, as its watchdog sees it: requests, not bytes. Bytes alone prove little: an HTTP/2
//! client can keep a connection busy with pings, and leave an answer unread without ever filling a socket.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body::{Body, Frame, SizeHint};

/// The exchanges of one connection.
pub(super) struct Traffic {
    base: Instant,
    /// Requests that came and whose answers are not sent yet.
    open: AtomicUsize,
    /// Those of them whose answer is being sent.
    answering: AtomicUsize,
    /// When the number of open ones last changed, in milliseconds since `base`.
    changed: AtomicU64,
    /// When a piece of an answer was last taken from us.
    taken: AtomicU64,
    /// Requests that got an answer.
    answered: Arc<AtomicU64>,
    /// Over HTTP/1.1: nothing is left to read or to write.
    quiet: AtomicBool,
}

impl Traffic {
    /// A connection without requests, idle from now on.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            base: Instant::now(),
            open: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
            changed: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            answered: Arc::default(),
            quiet: AtomicBool::new(false),
        })
    }

    /// Counts a request, until its answer is sent or given up.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        self.open.fetch_add(1, Relaxed);
        self.changed.store(self.now(), Relaxed);
        Exchange {
            traffic: Arc::clone(self),
            answering: false,
        }
    }

    /// How many requests got an answer, counted on.
    pub(super) fn answered(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.answered)
    }

    /// How long there has been no request; `None` while there is one.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        (self.open.load(Relaxed) == 0).then(|| self.since(&self.changed))
    }

    /// Takes note of whether there is anything left to read or to write, over HTTP/1.1.
    pub(super) fn note_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Relaxed);
    }

    /// Whether a connection over HTTP/1.1 has nothing to do: no request is open, nor has begun, and every answer is written.
    pub(super) fn rests(&self) -> bool {
        self.quiet.load(Relaxed) && self.open.load(Relaxed) == 0
    }

    /// How long no piece of any answer has been taken; `None` while none is being sent.
    pub(super) fn answer_stuck_for(&self) -> Option<Duration> {
        (self.answering.load(Relaxed) > 0).then(|| self.since(&self.taken))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, time: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(time.load(Relaxed)))
    }
}

/// One request and its answer.
pub(super) struct Exchange {
    traffic: Arc<Traffic>,
    answering: bool,
}

impl Exchange {
    /// The answer is there, and is being sent from now on.
    pub(super) fn answer<B>(mut self, body: B) -> Answer<B> {
        self.answering = true;
        self.traffic.answering.fetch_add(1, Relaxed);
        self.traffic.answered.fetch_add(1, Relaxed);
        self.traffic.taken.store(self.traffic.now(), Relaxed);
        Answer {
            body,
            exchange: self,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.answering {
            self.traffic.answering.fetch_sub(1, Relaxed);
        }
        self.traffic.open.fetch_sub(1, Relaxed);
        self.traffic.changed.store(self.traffic.now(), Relaxed);
    }
}

/// The body of an answer, which counts as being sent until it is dropped.
pub(super) struct Answer<B> {
    body: B,
    exchange: Exchange,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        // Being asked is progress: while we read from a slow disk, it is not the client who is late.
        let traffic = &self.exchange.traffic;
        traffic.taken.store(traffic.now(), Relaxed);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    #[tokio::test]
    async fn an_exchange_counts_until_its_answer_is_gone() {
        let traffic = Traffic::new();
        assert!(traffic.idle_for().is_some());
        let exchange = traffic.begin();
        assert!(traffic.idle_for().is_none() && traffic.answer_stuck_for().is_none());
        let answer = exchange.answer(Full::new(bytes::Bytes::from_static(b"x")));
        assert!(traffic.idle_for().is_none() && traffic.answer_stuck_for().is_some());
        assert_eq!(answer.collect().await.unwrap().to_bytes(), "x");
        assert!(traffic.idle_for().is_some() && traffic.answer_stuck_for().is_none());
    }

    #[test]
    fn a_request_without_an_answer_ends_too() {
        let traffic = Traffic::new();
        drop(traffic.begin());
        assert!(traffic.idle_for().is_some());
    }
}
