//! What goes out over a stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::quic::{self, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{VarInt, WriteError};

use super::{in_frame, lost, stream_id};

/// What becomes of what was sent: the client has it, or wants no more of it.
type Delivery = Pin<Box<dyn Future<Output = Result<Option<VarInt>, quinn::StoppedError>> + Send>>;

/// What goes out over a stream. Dropped before it is finished, it is reset where an end would look like that of the answer.
pub(in crate::server::quic) struct SendHalf {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
    /// How many frames were written.
    frames: usize,
    delivery: Option<Delivery>,
}

impl SendHalf {
    pub(super) fn new(stream: quinn::SendStream) -> Self {
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

fn unwritten(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated {
            error_code: code.into_inner(),
        },
        WriteError::ConnectionLost(error) => lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
