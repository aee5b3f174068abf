//! The byte stream between a socket and rustls: fewer, larger reads, and a record of writes that wait.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::memory::Block;

/// The buffer a connection starts with, in bytes: room for one TLS record.
const MIN_BUFFER: usize = 16 * 1024;
/// The largest buffer, in bytes. rustls alone would ask the system for as little as 4 KiB at a time.
const MAX_BUFFER: usize = 256 * 1024;
/// By how much the buffer grows when a read fills it, and shrinks when one leaves most of it empty.
const STEP: usize = 4;

thread_local! {
    /// For each size above the first, one buffer that a connection has let go, for the next one that needs it: a fast upload
    /// empties the socket thousands of times a second, and would otherwise have as many buffers zeroed for it.
    /// It has held what came from the network, still encrypted, and of that only what a read filled is ever seen.
    static SPARE: [Cell<Option<Block>>; 2] = const { [const { Cell::new(None) }; 2] };
}

/// Which spare buffer has this size.
fn spare_of(size: usize) -> Option<usize> {
    [MIN_BUFFER * STEP, MAX_BUFFER]
        .iter()
        .position(|spare| *spare == size)
}

/// A stream under rustls that reads ahead, and tells a watchdog how the connection is doing.
///
/// Reading ahead costs an idle connection nothing: the buffer is let go as soon as all of it has been taken and the
/// peer has sent no more. Writes pass through.
pub struct Buffered<S> {
    stream: S,
    /// What was read ahead, in `start..end`; empty (no allocation) while nothing is.
    buffer: Block,
    start: usize,
    end: usize,
    /// How large the next buffer is to be.
    wanted: usize,
    /// Whether the last flush is still under way.
    flushing: bool,
    backpressure: Arc<Backpressure>,
}

impl<S> Buffered<S> {
    /// Wraps `stream`, whose idle time counts from now.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Block::default(),
            start: 0,
            end: 0,
            wanted: MIN_BUFFER,
            flushing: false,
            backpressure: Arc::new(Backpressure::new()),
        }
    }

    /// Whether the peer takes what is written, for whoever watches it.
    pub fn backpressure(&self) -> Arc<Backpressure> {
        Arc::clone(&self.backpressure)
    }

    fn release(&mut self) {
        (self.start, self.end) = (0, 0);
        let buffer = std::mem::take(&mut self.buffer);
        if let Some(size) = spare_of(buffer.len()) {
            SPARE.with(|spare| spare[size].set(Some(buffer)));
        }
    }

    /// Makes the empty buffer as large as is wanted.
    fn reserve(&mut self) {
        if self.buffer.len() == self.wanted {
            return;
        }
        self.release();
        let spare = spare_of(self.wanted).and_then(|size| SPARE.with(|spare| spare[size].take()));
        self.buffer = spare.unwrap_or_else(|| Block::zeroed(self.wanted));
    }
}

impl<S: AsyncRead + Unpin> Buffered<S> {
    /// Reads from the stream into the empty buffer. Returns the number of bytes, 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.reserve();
        let mut unfilled = ReadBuf::new(&mut self.buffer);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut unfilled);
        let len = unfilled.filled().len();
        if len == 0 || !matches!(read, Poll::Ready(Ok(()))) {
            self.release();
            return read.map_ok(|()| 0);
        }
        (self.start, self.end) = (0, len);
        if len == self.buffer.len() {
            self.wanted = (self.wanted * STEP).min(MAX_BUFFER);
        } else if len < self.buffer.len() / STEP {
            self.wanted = (self.wanted / STEP).max(MIN_BUFFER);
        }
        Poll::Ready(Ok(len))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Buffered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if this.start == this.end && ready!(this.poll_fill(cx))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let len = out.remaining().min(this.end - this.start);
        out.put_slice(&this.buffer[this.start..this.start + len]);
        this.start += len;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Buffered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.backpressure.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.backpressure.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        match flushed {
            Poll::Pending => this.backpressure.blocked(),
            // A socket has nothing to flush and is always ready: that says nothing about a write that waits.
            Poll::Ready(_) if this.flushing => this.backpressure.unblocked(),
            Poll::Ready(_) => {}
        }
        this.flushing = flushed.is_pending();
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Since when the peer takes nothing of what is written to it. Shared with a watchdog; in milliseconds.
#[derive(Debug)]
pub struct Backpressure {
    opened: Instant,
    /// Since `opened`, when writing came to a halt; 0 while it has not.
    write_blocked_since: AtomicU64,
}

impl Backpressure {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            write_blocked_since: AtomicU64::new(0),
        }
    }

    /// How long the peer has taken nothing of what is to be written, or `None` where nothing waits.
    ///
    /// A writer that gives up after a pending write, and keeps the stream, goes on counting as blocked.
    pub fn write_blocked_for(&self) -> Option<Duration> {
        match self.write_blocked_since.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(self.now().saturating_sub(since))),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes note of an attempt to write.
    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending => self.blocked(),
            Poll::Ready(_) => self.unblocked(),
        }
    }

    /// Only the stream's own task writes, so a load and a store need not be one step.
    fn blocked(&self) {
        if self.write_blocked_since.load(Ordering::Relaxed) == 0 {
            self.write_blocked_since
                .store(self.now().max(1), Ordering::Relaxed);
        }
    }

    fn unblocked(&self) {
        self.write_blocked_since.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
