//! The body of a request: known in its size, and watched while it goes out.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::cli::progress::Bar;

/// The most that goes out at once.
pub(in crate::cli) const FRAME: usize = 128 << 10;

/// Exactly as many bytes as were announced, or an error.
pub(in crate::cli) struct Body {
    frames: Frames,
    pace: Pace,
    bar: Option<Bar>,
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
        }
    }

    /// Moves `bar` on while the body goes out.
    pub(in crate::cli) fn shown_on(mut self, bar: &Bar) -> Self {
        self.bar = Some(bar.clone());
        self
    }

    /// How many bytes are left, also when the body has been handed over.
    pub(in crate::cli) fn pace(&self) -> Pace {
        self.pace.clone()
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
        let frame = match &mut self.frames {
            Frames::Whole(bytes) => Some(bytes.split_to(bytes.len().min(FRAME))),
            Frames::Read(frames) => std::task::ready!(frames.poll_recv(cx)),
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
