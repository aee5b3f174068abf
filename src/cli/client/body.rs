//! The body of a request: known in its size, and watched while it goes out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep_until};

use super::rate::Rate;
use crate::cli::progress::Bar;

/// The most that goes out at once.
pub(in crate::cli) const FRAME: usize = 128 << 10;

/// Exactly as many bytes as were announced, or an error.
pub(in crate::cli) struct Body {
    frames: Frames,
    pace: Pace,
    bar: Option<Bar>,
    limit: Option<Limit>,
}

/// What holds a body back.
struct Limit {
    rate: Arc<Rate>,
    /// What was read and has not gone out.
    next: Bytes,
    /// How many of its bytes may go out when the time has come.
    taken: Option<(usize, Pin<Box<Sleep>>)>,
}

enum Frames {
    /// All of them, in memory.
    Whole(Bytes),
    /// As they are read.
    Read(mpsc::Receiver<Bytes>),
}

/// How many bytes of a body have yet to be sent: as long as that changes, the connection is alive.
#[derive(Clone)]
pub(in crate::cli) struct Pace(Arc<AtomicU64>);

impl Pace {
    pub(in crate::cli) fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn less(&self, bytes: usize) -> bool {
        let left = self.left().checked_sub(bytes as u64);
        if let Some(left) = left {
            self.0.store(left, Ordering::Relaxed);
        }
        left.is_some()
    }
}

impl Body {
    /// No bytes.
    pub(in crate::cli) fn empty() -> Self {
        Self::new(Frames::Whole(Bytes::new()), 0)
    }

    /// These bytes.
    pub(in crate::cli) fn whole(bytes: Bytes) -> Self {
        let size = bytes.len() as u64;
        Self::new(Frames::Whole(bytes), size)
    }

    /// `size` bytes, as they are read elsewhere. Where the reader ends too early, the body is an error.
    pub(in crate::cli) fn read(frames: mpsc::Receiver<Bytes>, size: u64) -> Self {
        Self::new(Frames::Read(frames), size)
    }

    fn new(frames: Frames, size: u64) -> Self {
        Self {
            frames,
            pace: Pace(Arc::new(size.into())),
            bar: None,
            limit: None,
        }
    }

    /// Moves `bar` on while the body goes out.
    pub(in crate::cli) fn shown_on(mut self, bar: &Bar) -> Self {
        self.bar = Some(bar.clone());
        self
    }

    /// Lets no more out than `rate` has for it.
    pub(in crate::cli) fn within(mut self, rate: Option<&Arc<Rate>>) -> Self {
        self.limit = rate.map(|rate| Limit {
            rate: Arc::clone(rate),
            next: Bytes::new(),
            taken: None,
        });
        self
    }

    /// How many bytes are left, also when the body has been handed over.
    pub(in crate::cli) fn pace(&self) -> Pace {
        self.pace.clone()
    }
}

impl Frames {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self {
            Self::Whole(bytes) => Poll::Ready(Some(bytes.split_to(bytes.len().min(FRAME)))),
            Self::Read(frames) => frames.poll_recv(cx),
        }
    }
}

impl Limit {
    fn poll_frame(&mut self, frames: &mut Frames, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.next.is_empty() {
            match ready!(frames.poll_frame(cx)) {
                // An empty one is no end, where more was announced: the body says what it makes of it.
                Some(frame) if !frame.is_empty() => self.next = frame,
                other => return Poll::Ready(other),
            }
        }
        let (size, wait) = self.taken.get_or_insert_with(|| {
            let size = self.next.len().min(self.rate.piece());
            let from = self.rate.take(size, Instant::now());
            (size, Box::pin(sleep_until(from.into())))
        });
        ready!(wait.as_mut().poll(cx));
        let frame = self.next.split_to(*size);
        self.taken = None;
        Poll::Ready(Some(frame))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.pace.left() == 0 {
            return Poll::Ready(None);
        }
        let body = &mut *self;
        let frame = match &mut body.limit {
            Some(limit) => ready!(limit.poll_frame(&mut body.frames, cx)),
            None => ready!(body.frames.poll_frame(cx)),
        };
        let frame = match frame {
            Some(frame) if self.pace.less(frame.len()) => frame,
            // What went wrong with the reading, the reader tells.
            _ => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
        };
        if let Some(bar) = &self.bar {
            bar.advance(frame.len());
        }
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.pace.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pace.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn sent(mut body: Body) -> io::Result<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(frame) = body.frame().await {
            sent.extend_from_slice(frame?.data_ref().unwrap());
        }
        Ok(sent)
    }

    #[tokio::test]
    async fn a_limited_body_is_the_same_and_takes_its_time() {
        let bytes: Vec<u8> = (0..=250).cycle().take(3 * FRAME + 1).collect();
        let rate = Arc::new(Rate::per_second(2 << 20));
        let began = Instant::now();
        let body = Body::whole(bytes.clone().into()).within(Some(&rate));
        assert!(sent(body).await.unwrap() == bytes);
        // What comes now would wait for all that went before.
        let free = rate.take(0, began).duration_since(began);
        assert!(free >= std::time::Duration::from_millis(187), "{free:?}");
        let (frames, receiver) = mpsc::channel(1);
        frames.send(Bytes::from_static(b"ab")).await.unwrap();
        drop(frames);
        assert!(
            sent(Body::read(receiver, 3).within(Some(&rate)))
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_announced_or_an_error() {
        let bytes = vec![7; 3 * FRAME + 1];
        let body = Body::whole(bytes.clone().into());
        let pace = body.pace();
        assert_eq!(pace.left(), bytes.len() as u64);
        assert_eq!(sent(body).await.unwrap(), bytes);
        assert_eq!(pace.left(), 0);
        assert_eq!(sent(Body::empty()).await.unwrap(), b"");
        for (size, whole) in [(2, true), (3, false), (1, false)] {
            let (frames, receiver) = mpsc::channel(1);
            frames.send(Bytes::from_static(b"ab")).await.unwrap();
            drop(frames);
            let sent = sent(Body::read(receiver, size)).await;
            assert_eq!(sent.is_ok(), whole, "{size}");
        }
    }
}
