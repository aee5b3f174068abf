//! What comes over a stream, behind what holds it within bounds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h3::error::Code;
use h3::quic::{self, StreamErrorIncoming, StreamId};
use quinn::ReadError;
use tokio_util::io::poll_read_buf;

use super::super::frames::{Frames, Violation};
use super::{in_frame, lost, stream_id, violated};

/// How much is read of a stream at a time, in bytes.
const READ: usize = 64 * 1024;

/// What holds a stream within bounds.
pub(super) enum Guard {
    Frames(Frames),
    /// How many bytes may come still.
    Bytes(usize),
}

/// What comes over a stream. Dropped before its end, it tells the client that no more is wanted, and that nothing is wrong
/// (RFC 9114, section 4.1).
pub(in crate::server::quic) struct ReceiveHalf {
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
    /// `arrived`: what was read of it before.
    pub(super) fn new(
        stream: quinn::RecvStream,
        connection: quinn::Connection,
        guard: Guard,
        arrived: BytesMut,
    ) -> Self {
        Self {
            stream,
            connection,
            arrived,
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
        StreamErrorIncoming::ConnectionErrorIncoming {
            connection_error: violated(&self.connection, violation),
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
