//! What stands between TLS and hyper, and sees to it that a client keeps to the letter of HTTP.
//!
//! Over HTTP/1.1 it follows where each request begins and ends, and refuses what two parsers could read in two ways
//! ([`http1`]). Over HTTP/2 it counts the frames that bring nothing ([`http2`]). It changes no byte that passes, looks
//! at every byte of a head and only at the lengths of bodies.

pub mod http1;
pub mod http2;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::traffic::Traffic;
use http1::Requests;
use http2::Frames;

/// No HTTP/1.1 parser takes this byte for anything, neither in a head nor for a chunk's size: hyper answers 400.
const POISON: u8 = 0;

/// hyper lets the buffer that it reads HTTP/1.1 through grow as soon as a read fills it, and keeps it as long as the request lasts. Until a
/// request is known to be a long one it is given less at a time than would fill the first one, so that an upload that becomes slow
/// after its first bytes holds little.
const SHORT_READ: usize = 8 * 1024 - 1;
/// A request is a long one from here on, in bytes.
const LONG_FROM: usize = 1024 * 1024;

/// What a client is held to.
enum Rules {
    Http1(Requests, Rest),
    Http2(Frames),
}

/// Whether there is nothing to do on a connection over HTTP/1.1: all that came was read and belongs to requests that are complete, and
/// all that was to be written is written.
struct Rest {
    traffic: Arc<Traffic>,
    read_waits: bool,
    write_waits: bool,
    /// There will be no further request.
    closing: bool,
}

impl Rest {
    fn tell(&self, requests: &Requests) {
        let rests = self.read_waits && !self.write_waits && !self.closing;
        self.traffic.note_quiet(rests && requests.is_between());
    }
}

/// A stream of which only proper HTTP is read.
pub(super) struct Guarded<S> {
    stream: S,
    rules: Rules,
    /// Nothing more is read.
    refused: bool,
    /// What was read before anybody asked.
    first: Option<u8>,
    /// How much more is read in short pieces.
    short: usize,
}

impl<S> Guarded<S> {
    /// Over HTTP/1.1. `traffic` is told whether there is anything to do.
    pub(super) fn http1(stream: S, traffic: Arc<Traffic>) -> Self {
        let rest = Rest {
            traffic,
            read_waits: false,
            write_waits: false,
            closing: false,
        };
        Self::new(stream, Rules::Http1(Requests::default(), rest), LONG_FROM)
    }

    /// Over HTTP/2. `answered` counts the requests on this connection that were answered.
    pub(super) fn http2(stream: S, answered: Arc<AtomicU64>) -> Self {
        // h2 has a frame of each stream at a time.
        Self::new(stream, Rules::Http2(Frames::new(answered)), 0)
    }

    fn new(stream: S, rules: Rules, short: usize) -> Self {
        Self {
            stream,
            rules,
            refused: false,
            first: None,
            short,
        }
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        match (&mut self.rules, written) {
            (Rules::Http1(requests, rest), _) => {
                rest.write_waits = written.is_pending();
                rest.tell(requests);
            }
            (Rules::Http2(frames), Poll::Ready(Ok(size))) => frames.sent(*size),
            (Rules::Http2(_), _) => {}
        }
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Waits until the client has sent something, or has ended. Then there is something to do, until all of it was read.
    pub(super) async fn first(&mut self) -> io::Result<()> {
        if self.first.is_none() {
            let mut byte = [0];
            if self.stream.read(&mut byte).await? > 0 {
                self.first = Some(byte[0]);
            }
        }
        if let Rules::Http1(requests, rest) = &mut self.rules {
            // What was said of the last read no longer holds.
            rest.read_waits = false;
            rest.tell(requests);
            self.short = LONG_FROM;
        }
        Ok(())
    }

    fn poll_read_more(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = Pin::new(&mut self.stream);
        if self.short == 0 || out.remaining() <= SHORT_READ {
            return stream.poll_read(cx, out);
        }
        let mut short = ReadBuf::new(out.initialize_unfilled_to(SHORT_READ));
        ready!(stream.poll_read(cx, &mut short))?;
        let size = short.filled().len();
        out.advance(size);
        self.short = self.short.saturating_sub(size);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refused {
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        let read = if let Some(first) = this.first.take() {
            out.put_slice(&[first]);
            // What is there behind it comes along.
            match this.poll_read_more(cx, out) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(())),
            }
        } else {
            this.poll_read_more(cx, out)
        };
        if let Rules::Http1(requests, rest) = &mut this.rules {
            rest.read_waits = read.is_pending();
            rest.tell(requests);
        }
        ready!(read)?;
        match &mut this.rules {
            Rules::Http1(requests, _) => {
                if let Err(at) = requests.follow(&out.filled()[before..]) {
                    tracing::debug!("a client sent a malformed request");
                    this.refused = true;
                    out.filled_mut()[before + at] = POISON;
                    out.set_filled(before + at + 1);
                }
            }
            Rules::Http2(frames) => {
                if let Err(flood) = frames.follow(&out.filled()[before..]) {
                    tracing::debug!("a client sent too many frames that bring nothing");
                    this.refused = true;
                    return Poll::Ready(Err(io::Error::other(flood)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bytes);
        this.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        if let Rules::Http1(requests, rest) = &mut this.rules {
            rest.write_waits = flushed.is_pending();
            rest.tell(requests);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Rules::Http1(requests, rest) = &mut this.rules {
            rest.closing = true;
            rest.tell(requests);
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    /// The client's end, and ours, on which a read waits.
    async fn resting() -> (DuplexStream, Guarded<DuplexStream>, Arc<Traffic>) {
        let (client, stream) = duplex(100);
        let traffic = Traffic::new();
        let mut guarded = Guarded::http1(stream, Arc::clone(&traffic));
        assert!(!traffic.rests());
        let waits = timeout(Duration::ZERO, guarded.read_u8()).await;
        assert!(waits.is_err() && traffic.rests());
        (client, guarded, traffic)
    }

    #[tokio::test]
    async fn the_first_byte_of_a_request_is_held_until_it_is_read_and_nothing_rests_meanwhile() {
        let (mut client, mut guarded, traffic) = resting().await;
        client.write_all(b"POST").await.unwrap();
        for _ in 0..3 {
            guarded.first().await.unwrap();
            assert!(!traffic.rests());
            guarded.flush().await.unwrap();
            assert!(!traffic.rests());
        }
        let mut read = [0; 4];
        guarded.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"POST");
        let waits = timeout(Duration::ZERO, guarded.read_u8()).await;
        assert!(waits.is_err() && !traffic.rests(), "in the midst of one");
    }

    #[tokio::test]
    async fn a_request_is_read_in_short_pieces_until_it_is_a_long_one() {
        let (mut client, stream) = duplex(4 * LONG_FROM);
        let mut guarded = Guarded::http1(stream, Traffic::new());
        let head = format!(
            "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            3 * LONG_FROM
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![7; 3 * LONG_FROM]).await.unwrap();
        for request in 0..2 {
            guarded.first().await.unwrap();
            let (mut out, mut all) = (vec![0; 64 * 1024], Vec::new());
            while all.len() < LONG_FROM {
                let size = guarded.read(&mut out).await.unwrap();
                assert!(size > 0, "it ended");
                // The first byte was read before.
                assert!(size <= SHORT_READ + 1, "{size} of request {request}");
                all.extend_from_slice(&out[..size]);
            }
            if request == 0 {
                assert!(all.starts_with(head.as_bytes()) && all.ends_with(&[7; 1000]));
                assert_eq!(guarded.read(&mut out).await.unwrap(), out.len());
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_ends_between_requests_leaves_nothing_to_wait_for() {
        let (client, mut guarded, traffic) = resting().await;
        drop(client);
        guarded.first().await.unwrap();
        assert!(!traffic.rests());
        assert!(guarded.read_u8().await.is_err(), "the end");
    }
}
