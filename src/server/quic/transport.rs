//! quinn's connections and streams as h3 takes them, with [`Frames`] in front of what clients send.
//!
//! In place of `h3-quinn`, which panics where a stream is given up while it is being read, has answers end before the client
//! has them, and passes on pieces of single packets.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};
use tokio_util::io::poll_read_buf;

use super::frames::{Frames, Violation};

/// How much is read of a stream at a time, in bytes.
const READ: usize = 64 * 1024;
/// How many bytes a stream may bring over a connection's life that is no request: of these h3 reads only settings and notices.
const MAX_CONTROL: usize = 256 * 1024;

/// What is being waited for on a connection.
type Waiting<T> = Option<Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>>;

/// A connection.
pub(super) struct Connection {
    quic: quinn::Connection,
    requests: Waiting<(quinn::SendStream, quinn::RecvStream)>,
    others: Waiting<quinn::RecvStream>,
    opening: Waiting<quinn::SendStream>,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self {
            quic: connection,
            requests: None,
            others: None,
            opening: None,
        }
    }
}

/// Goes on waiting, or begins to.
fn wait<T>(
    waiting: &mut Waiting<T>,
    cx: &mut Context<'_>,
    begin: impl FnOnce() -> Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>,
) -> Poll<Result<T, ConnectionErrorIncoming>> {
    let result = ready!(waiting.get_or_insert_with(begin).as_mut().poll(cx));
    *waiting = None;
    Poll::Ready(result.map_err(broken))
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = ReceiveHalf;
    type OpenStreams = Self;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ReceiveHalf, ConnectionErrorIncoming>> {
        let connection = &self.quic;
        let stream = ready!(wait(&mut self.others, cx, || {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_uni().await })
        }))?;
        let guard = Guard::Bytes(MAX_CONTROL);
        Poll::Ready(Ok(ReceiveHalf::new(stream, self.quic.clone(), guard)))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Both, ConnectionErrorIncoming>> {
        let connection = &self.quic;
        let (send, receive) = ready!(wait(&mut self.requests, cx, || {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_bi().await })
        }))?;
        let guard = Guard::Frames(Frames::default());
        Poll::Ready(Ok(Both {
            send: SendHalf::new(send),
            receive: ReceiveHalf::new(receive, self.quic.clone(), guard),
        }))
    }

    fn opener(&self) -> Self {
        Self::new(self.quic.clone())
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = Both;
    type SendStream = SendHalf;

    /// A server opens none of these.
    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Both, StreamErrorIncoming>> {
        let none = io::Error::from(io::ErrorKind::Unsupported);
        Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(none))))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<SendHalf, StreamErrorIncoming>> {
        let connection = &self.quic;
        let opened = wait(&mut self.opening, cx, || {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        opened.map_ok(SendHalf::new).map_err(|connection_error| {
            StreamErrorIncoming::ConnectionErrorIncoming { connection_error }
        })
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quic.close(in_frame(code.value()), reason);
    }
}

/// A request's stream.
pub(super) struct Both {
    send: SendHalf,
    receive: ReceiveHalf,
}

impl quic::BidiStream<Bytes> for Both {
    type SendStream = SendHalf;
    type RecvStream = ReceiveHalf;

    fn split(self) -> (SendHalf, ReceiveHalf) {
        (self.send, self.receive)
    }
}

impl quic::RecvStream for Both {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receive.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receive.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receive.recv_id()
    }
}

impl quic::SendStream<Bytes> for Both {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// What holds a stream within bounds.
enum Guard {
    Frames(Frames),
    /// How many bytes may come still.
    Bytes(usize),
}

/// What comes over a stream. Dropped before its end, it tells the client that no more is wanted, and that nothing is wrong
/// (RFC 9114, section 4.1).
pub(super) struct ReceiveHalf {
    stream: quinn::RecvStream,
    connection: quinn::Connection,
    /// What was read and is not passed on yet. No allocation while nothing is.
    arrived: BytesMut,
    guard: Guard,
    at: At,
}

/// Where a stream that is read stands. A failure is final, and never followed by an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Open,
    Ended,
    Failed,
}

impl ReceiveHalf {
    fn new(stream: quinn::RecvStream, connection: quinn::Connection, guard: Guard) -> Self {
        Self {
            stream,
            connection,
            arrived: BytesMut::new(),
            guard,
            at: At::Open,
        }
    }

    /// The next piece that the guard lets pass of what has arrived.
    fn take(&mut self) -> Result<Option<Bytes>, Violation> {
        match &mut self.guard {
            Guard::Frames(frames) => frames.next(&mut self.arrived),
            Guard::Bytes(left) => {
                let Some(rest) = left.checked_sub(self.arrived.len()) else {
                    let reason = "too much on a stream that is no request";
                    return Err(Violation::new(Code::H3_EXCESSIVE_LOAD, reason));
                };
                *left = rest;
                let piece = self.arrived.split().freeze();
                Ok(Some(piece).filter(|piece| !piece.is_empty()))
            }
        }
    }

    fn fail(&mut self) {
        self.at = At::Failed;
        self.arrived = BytesMut::new();
    }

    fn end(&self) -> Result<(), Violation> {
        match &self.guard {
            Guard::Frames(frames) => frames.end(&self.arrived),
            Guard::Bytes(_) => Ok(()),
        }
    }

    /// Ends the connection.
    fn violated(&mut self, violation: Violation) -> StreamErrorIncoming {
        self.fail();
        let reason = violation.to_string();
        self.connection
            .close(in_frame(violation.code.value()), reason.as_bytes());
        StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: ConnectionErrorIncoming::Undefined(Arc::new(violation)),
        }
    }
}

impl quic::RecvStream for ReceiveHalf {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            if self.at == At::Failed {
                let again = io::Error::from(io::ErrorKind::BrokenPipe);
                return Poll::Ready(Err(StreamErrorIncoming::Unknown(Box::new(again))));
            }
            match self.take() {
                Ok(Some(piece)) => return Poll::Ready(Ok(Some(piece))),
                Ok(None) if self.at == At::Ended => return Poll::Ready(Ok(None)),
                Ok(None) => {}
                Err(violation) => return Poll::Ready(Err(self.violated(violation))),
            }
            self.arrived.reserve(READ);
            match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.arrived) {
                Poll::Pending => {
                    if self.arrived.is_empty() {
                        self.arrived = BytesMut::new();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => {
                    if let Err(violation) = self.end() {
                        return Poll::Ready(Err(self.violated(violation)));
                    }
                    self.at = At::Ended;
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    self.fail();
                    return Poll::Ready(Err(unread(error)));
                }
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        self.fail();
        // An error means that it has ended before.
        let _ = self.stream.stop(in_frame(code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for ReceiveHalf {
    fn drop(&mut self) {
        if self.at == At::Open {
            let _ = self.stream.stop(in_frame(Code::H3_NO_ERROR.value()));
        }
    }
}

/// What becomes of what was sent: the client has it, or wants no more of it.
type Delivery = Pin<Box<dyn Future<Output = Result<Option<VarInt>, quinn::StoppedError>> + Send>>;

/// What goes out over a stream. Dropped before it is finished, it is reset where an end would look like that of the answer.
pub(super) struct SendHalf {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    /// How many frames were written.
    frames: usize,
    delivery: Option<Delivery>,
}

impl SendHalf {
    fn new(stream: quinn::SendStream) -> Self {
        Self {
            stream,
            writing: None,
            frames: 0,
            delivery: None,
        }
    }
}

impl quic::SendStream<Bytes> for SendHalf {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(data) = self.writing.as_mut().filter(|data| data.remaining() > 0) {
            let written = Pin::new(&mut self.stream).poll_write(cx, data.chunk());
            data.advance(ready!(written).map_err(unwritten)?);
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.writing = Some(data.into());
        self.frames += 1;
        Ok(())
    }

    /// Waits until the client has all of it: whoever closes the connection before takes from it what is under way.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        let stream = &mut self.stream;
        let delivery = self.delivery.get_or_insert_with(|| {
            // An error means that the client wants no more, which is what `stopped` says too.
            let _ = stream.finish();
            Box::pin(stream.stopped())
        });
        let delivered = ready!(delivery.as_mut().poll(cx));
        Poll::Ready(match delivered {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(StreamErrorIncoming::StreamTerminated {
                error_code: code.into_inner(),
            }),
            Err(error) => Err(StreamErrorIncoming::Unknown(Box::new(error))),
        })
    }

    fn reset(&mut self, code: u64) {
        let _ = self.stream.reset(in_frame(code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        // A head alone is an answer that h3 gives by itself. quinn finishes what is dropped.
        let head_alone = self.frames == 1 && self.writing.is_none();
        if self.delivery.is_none() && !head_alone {
            let _ = self.stream.reset(in_frame(Code::H3_INTERNAL_ERROR.value()));
        }
    }
}

/// Codes and ids fit: they come from QUIC, or are HTTP/3's own.
fn in_frame(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    u64::from(VarInt::from(id))
        .try_into()
        .expect("QUIC numbers streams as HTTP/3 does")
}

fn broken(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => ConnectionErrorIncoming::ApplicationClose {
            error_code: close.error_code.into_inner(),
        },
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming {
        connection_error: broken(error),
    }
}

fn unread(error: io::Error) -> StreamErrorIncoming {
    match error.downcast::<ReadError>() {
        Ok(ReadError::Reset(code)) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        Ok(ReadError::ConnectionLost(error)) => lost(error),
        Ok(error) => StreamErrorIncoming::Unknown(Box::new(error)),
        Err(error) => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
