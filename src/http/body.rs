//! A request's body, bounded in size and time, whose every error is one and never looks like its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, Version};
use http_body::Body;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use zeroize::Zeroizing;

use super::limits::Limits;

/// How long the rest of a refused body is read, so that its sender sees the answer instead of a reset connection.
const LINGER: Duration = Duration::from_secs(30);
/// How many bytes of it are read at the most.
const LINGER_BYTES: u64 = 4 << 30;
/// How many refused bodies are read at the same time. The senders of others see a reset connection.
const MAX_LINGERING: usize = 256;
static LINGERING: Semaphore = Semaphore::const_new(MAX_LINGERING);

/// Why a body did not come to its end. Nothing that depends on all of it may happen then.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// More than is allowed, announced or sent.
    #[error("what was sent is larger than the {} that are allowed", bytesize::ByteSize(*.limit).display().iec())]
    TooLarge { limit: u64 },
    /// Nothing came for too long.
    #[error("no data arrived for {} s", .0.as_secs())]
    Stalled(Duration),
    /// It took too long in all.
    #[error("the request took longer than {} s", .0.as_secs())]
    TooLong(Duration),
    /// It came too slowly for too long.
    #[error("less than {} a second arrived", bytesize::ByteSize(*.0).display().iec())]
    TooSlow(u64),
    /// The connection broke, or what came was not proper HTTP.
    #[error("the body broke off before its end")]
    Broken(#[source] hyper::Error),
    /// It ended without having come to its end, or after an error.
    #[error("the body was cut off before its end")]
    CutOff,
}

/// Where a body stands. An error is final: what comes after it is never taken for the end.
enum State {
    Open(Incoming),
    Ended,
    Failed,
}

/// A request's body.
///
/// Dropped before its end, the rest is read and thrown away for a while, unless the client waits for `100 Continue`
/// and so has not sent any of it.
pub(super) struct RequestBody {
    state: State,
    version: Version,
    /// Bytes announced by `Content-Length`.
    announced: Option<u64>,
    limit: u64,
    received: u64,
    stall: Duration,
    total: Duration,
    deadline: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    speed: Speed,
    held_back: bool,
    trailers: Option<HeaderMap>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, head: &http::request::Parts, limits: &Limits) -> Self {
        let announced = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let expects = head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self {
            state: State::Open(incoming),
            version: head.version,
            announced,
            limit: limits.max_size,
            received: 0,
            stall: limits.body_timeout,
            total: limits.request_timeout,
            deadline: Instant::now() + limits.request_timeout,
            timer: None,
            speed: Speed::new(limits),
            held_back: expects,
            trailers: None,
        }
    }

    /// Sets another bound on the size, and refuses at once what announces more.
    pub(super) fn limit(&mut self, limit: u64) -> Result<(), BodyError> {
        self.limit = limit;
        self.check_announced()
    }

    /// Refuses what announces more than is allowed, before a byte of it is asked for.
    pub(super) fn check_announced(&self) -> Result<(), BodyError> {
        if self
            .announced
            .is_some_and(|announced| announced > self.limit)
        {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// Bytes that the body will have, where the client said so.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Whether anything may come.
    pub(super) fn may_have_content(&self) -> bool {
        match &self.state {
            State::Open(incoming) => self.announced != Some(0) && !incoming.is_end_stream(),
            State::Ended | State::Failed => false,
        }
    }

    /// What stood behind the body, once it has ended.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The next bytes; `None` only at the true end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// All of a body that is worked on in memory.
    pub(super) async fn collect(mut self) -> Result<Zeroizing<Vec<u8>>, BodyError> {
        self.check_announced()?;
        let announced = self.announced.and_then(|size| usize::try_from(size).ok());
        let mut all = Zeroizing::new(Vec::with_capacity(announced.unwrap_or(0)));
        while let Some(data) = self.next().await? {
            append(&mut all, &data);
        }
        Ok(all)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        // Asking for the first bytes is what sends `100 Continue`.
        self.held_back = false;
        loop {
            let incoming = match &mut self.state {
                State::Open(incoming) => incoming,
                State::Ended => return Poll::Ready(Ok(None)),
                State::Failed => return Poll::Ready(Err(BodyError::CutOff)),
            };
            let frame = match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    // What came is taken before, and an end that came: only who has to be waited for still can be too slow.
                    if self.speed.is_too_low() {
                        self.state = State::Failed;
                        return Poll::Ready(Err(BodyError::TooSlow(self.speed.min)));
                    }
                    self.speed.wait();
                    return self.poll_timer(cx);
                }
            };
            // The timer is set anew only where it is waited for: a fast body never touches it.
            self.timer = None;
            match frame {
                None => {
                    // hyper calls it the end, too, when an HTTP/2 stream or connection is reset without an error. The
                    // stream's own end mark tells; over HTTP/1.1, whose framing hyper checks, there is no such mark.
                    let marked = self.version != Version::HTTP_2 || incoming.is_end_stream();
                    let whole = marked && self.announced.is_none_or(|size| size == self.received);
                    self.state = if whole { State::Ended } else { State::Failed };
                    return Poll::Ready(if whole {
                        Ok(None)
                    } else {
                        Err(BodyError::CutOff)
                    });
                }
                Some(Err(error)) => {
                    self.state = State::Failed;
                    return Poll::Ready(Err(BodyError::Broken(error)));
                }
                Some(Ok(frame)) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(frame) => {
                            self.trailers = frame.into_trailers().ok();
                            continue;
                        }
                    };
                    if data.is_empty() {
                        continue;
                    }
                    self.received += data.len() as u64;
                    self.speed.arrived(data.len() as u64);
                    if self.received > self.limit {
                        let limit = self.limit;
                        return Poll::Ready(Err(BodyError::TooLarge { limit }));
                    }
                    return Poll::Ready(Ok(Some(data)));
                }
            }
        }
    }

    fn poll_timer<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, BodyError>> {
        let until = self.deadline.min(Instant::now() + self.stall);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(timer.as_mut().poll(cx));
        // Who lets the time pass is not lingered for.
        self.state = State::Failed;
        Poll::Ready(Err(if Instant::now() >= self.deadline {
            BodyError::TooLong(self.total)
        } else {
            BodyError::Stalled(self.stall)
        }))
    }
}

/// How fast a body comes. Only the time counts for which it is waited for: what our disk takes is not the client's.
struct Speed {
    /// Bytes a second. 0: any will do.
    min: u64,
    /// It is looked at each time when so much has been waited.
    window: Duration,
    waiting_since: Option<Instant>,
    waited: Duration,
    arrived: u64,
    too_low: bool,
}

impl Speed {
    fn new(limits: &Limits) -> Self {
        Self {
            min: limits.min_speed,
            window: limits.body_timeout,
            waiting_since: None,
            waited: Duration::ZERO,
            arrived: 0,
            too_low: false,
        }
    }

    fn wait(&mut self) {
        if self.min > 0 {
            self.waiting_since.get_or_insert_with(Instant::now);
        }
    }

    fn arrived(&mut self, bytes: u64) {
        self.arrived += bytes;
        if let Some(since) = self.waiting_since.take() {
            self.count(since.elapsed());
        }
    }

    /// Counts a wait that has ended.
    fn count(&mut self, waited: Duration) {
        self.waited += waited;
        if self.waited >= self.window {
            let arrived = u128::from(self.arrived) * 1000;
            self.too_low = arrived < u128::from(self.min) * self.waited.as_millis();
            (self.waited, self.arrived) = (Duration::ZERO, 0);
        }
    }

    fn is_too_low(&self) -> bool {
        self.too_low
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let State::Open(incoming) = std::mem::replace(&mut self.state, State::Failed) else {
            return;
        };
        if self.held_back || incoming.is_end_stream() {
            return;
        }
        let (Ok(runtime), Ok(permit)) = (
            tokio::runtime::Handle::try_current(),
            LINGERING.try_acquire(),
        ) else {
            return;
        };
        runtime.spawn(async move {
            let _permit = permit;
            let _ = tokio::time::timeout(LINGER, throw_away(incoming)).await;
        });
    }
}

async fn throw_away(mut incoming: Incoming) {
    let mut left = LINGER_BYTES;
    while let Some(Ok(frame)) =
        std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await
    {
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Appends without leaving copies behind: what grows is moved by hand, and its old place erased.
pub(super) fn append(all: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    if all.capacity() - all.len() < data.len() {
        let mut grown = Zeroizing::new(Vec::with_capacity((all.len() + data.len()) * 2));
        grown.extend_from_slice(all);
        *all = grown;
    }
    all.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(min: u64) -> Speed {
        Speed {
            min,
            window: Duration::from_secs(10),
            waiting_since: None,
            waited: Duration::ZERO,
            arrived: 0,
            too_low: false,
        }
    }

    /// Whether a body passes that brings so many bytes after each wait.
    fn passes(min: u64, pieces: impl IntoIterator<Item = (u64, u64)>) -> bool {
        let mut speed = speed(min);
        pieces.into_iter().all(|(milliseconds, bytes)| {
            speed.arrived(bytes);
            speed.count(Duration::from_millis(milliseconds));
            !speed.is_too_low()
        })
    }

    #[test]
    fn a_body_is_held_to_its_average_over_the_window() {
        let even = |bytes| std::iter::repeat_n((1000, bytes), 100);
        assert!(passes(100, even(100)));
        assert!(!passes(100, even(99)));
        assert!(passes(0, even(1)));
        // Nothing is said before the window is full, nor of a pause in a body that is fast enough.
        assert!(passes(100, std::iter::repeat_n((1000, 1), 9)));
        assert!(passes(100, [(9000, 1000), (1000, 0), (1000, 1000)]));
        // What came in an earlier window counts for nothing in the next.
        assert!(!passes(100, [(10_000, 1_000_000), (10_000, 999)]));
        // A long wait is held to all of its time.
        assert!(!passes(100, [(19_000, 1899)]));
        assert!(passes(100, [(19_000, 1900)]));
    }

    #[test]
    fn what_needs_no_waiting_is_never_too_slow() {
        let mut speed = speed(u64::MAX);
        for _ in 0..1000 {
            speed.arrived(1);
            assert!(!speed.is_too_low());
        }
    }
}
