//! quinn's connections and streams as h3 takes them, with [`Frames`] in front of what clients send.
//!
//! In place of `h3-quinn`, which panics where a stream is given up while it is being read, has answers end before the client
//! has them, and passes on pieces of single packets.

mod others;
mod receive;
mod send;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, VarInt};

use super::frames::{Frames, Violation};
use others::Others;
use receive::Guard;
pub(super) use receive::ReceiveHalf;
pub(super) use send::SendHalf;

/// How many bytes a stream may bring over a connection's life that is no request: settings and notices.
const MAX_CONTROL: usize = 256 * 1024;

/// What is being waited for on a connection.
type Waiting<T> = Option<Pin<Box<dyn Future<Output = Result<T, ConnectionError>> + Send>>>;

/// A connection.
pub(super) struct Connection {
    quic: quinn::Connection,
    requests: Waiting<(quinn::SendStream, quinn::RecvStream)>,
    others: Waiting<quinn::RecvStream>,
    accepted: Others,
    opening: Waiting<quinn::SendStream>,
}

impl Connection {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        Self {
            quic: connection,
            requests: None,
            others: None,
            accepted: Others::default(),
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
        while let Poll::Ready(stream) = wait(&mut self.others, cx, || {
            let connection = connection.clone();
            Box::pin(async move { connection.accept_uni().await })
        }) {
            self.accepted.add(stream?);
        }
        let control = ready!(self.accepted.poll(cx));
        let (stream, read) = control.map_err(|violation| violated(connection, violation))?;
        let guard = Guard::Bytes(MAX_CONTROL);
        let receive = ReceiveHalf::new(stream, connection.clone(), guard, read);
        Poll::Ready(Ok(receive))
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
            receive: ReceiveHalf::new(receive, self.quic.clone(), guard, BytesMut::new()),
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

/// Codes and ids fit: they come from QUIC, or are HTTP/3's own.
pub(super) fn in_frame(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    u64::from(VarInt::from(id))
        .try_into()
        .expect("QUIC numbers streams as HTTP/3 does")
}

/// Ends a connection whose client sent what none may send.
fn violated(connection: &quinn::Connection, violation: Violation) -> ConnectionErrorIncoming {
    let reason = violation.to_string();
    connection.close(in_frame(violation.code.value()), reason.as_bytes());
    ConnectionErrorIncoming::Undefined(Arc::new(violation))
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
