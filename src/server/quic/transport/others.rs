//! The streams of a client that carry no request (RFC 9114, section 6.2): one for control, two for header compression, and any
//! that mean nothing.
//!
//! h3 reads only the first, and leaves what comes over the others in quinn, where it takes up to a window each for as long as
//! the connection lasts. So it is given the first alone. Without a dynamic table there is next to nothing that a client could have to say
//! about header compression: it is read and thrown away.

use std::task::{Context, Poll};

use bytes::BytesMut;
use h3::error::Code;
use quinn::{ReadError, RecvStream};

use super::super::frames::{Violation, variable_length};
use super::in_frame;

/// How many bytes about the compression of requests are passed over. Who has a dynamic table in mind was told that there is none.
const MAX_ENCODER: usize = 4 * 1024;
/// How many about that of answers. Some clients say of each one that they give up that it is (RFC 9204, section 4.4.2).
const MAX_DECODER: usize = 64 * 1024;

const CONTROL: u64 = 0;
const PUSH: u64 = 1;
const ENCODER: u64 = 2;
const DECODER: u64 = 3;

/// A connection's streams that carry no request.
#[derive(Default)]
pub(super) struct Others {
    /// As many as a client may have open.
    unknown: Vec<Unknown>,
    encoder: Option<Compression>,
    decoder: Option<Compression>,
}

impl Others {
    /// Takes up a stream.
    pub(super) fn add(&mut self, stream: RecvStream) {
        self.unknown.push(Unknown {
            stream,
            kind: [0; 8],
            read: 0,
        });
    }

    /// Reads what there is to read. The stream for control, and what was read of it, once it is known which one that is.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(RecvStream, BytesMut), Violation>> {
        let mut at = 0;
        while let Some(unknown) = self.unknown.get_mut(at) {
            match unknown.poll_kind(cx) {
                Poll::Pending => at += 1,
                // It may end before it says what it is.
                Poll::Ready(None) => drop(self.unknown.swap_remove(at)),
                Poll::Ready(Some(kind)) => {
                    let known = self.unknown.swap_remove(at);
                    if kind == CONTROL {
                        let read = BytesMut::from(&known.kind[..known.read]);
                        return Poll::Ready(Ok((known.stream, read)));
                    }
                    self.sort(known.stream, kind)?;
                }
            }
        }
        let compression = [&mut self.encoder, &mut self.decoder];
        for stream in compression.into_iter().flatten() {
            stream.discard(cx)?;
        }
        Poll::Pending
    }

    fn sort(&mut self, mut stream: RecvStream, kind: u64) -> Result<(), Violation> {
        let (place, left) = match kind {
            ENCODER => (&mut self.encoder, MAX_ENCODER),
            DECODER => (&mut self.decoder, MAX_DECODER),
            PUSH => return Err(creation("a client that pushes")),
            _ => {
                // An error means that it has ended before.
                let _ = stream.stop(in_frame(Code::H3_STREAM_CREATION_ERROR.value()));
                return Ok(());
            }
        };
        if place.is_some() {
            return Err(creation("a second stream of its kind"));
        }
        *place = Some(Compression { stream, left });
        Ok(())
    }
}

fn creation(reason: &'static str) -> Violation {
    Violation::new(Code::H3_STREAM_CREATION_ERROR, reason)
}

/// A stream that has not said what it is. No more is read of it than that.
struct Unknown {
    stream: RecvStream,
    kind: [u8; 8],
    read: usize,
}

impl Unknown {
    /// Its type; `None` where it is over before.
    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        loop {
            if let Some((kind, _)) = variable_length(&self.kind[..self.read]) {
                return Poll::Ready(Some(kind));
            }
            // The first byte says how many there are.
            let size = match self.read {
                0 => 1,
                _ => 1 << (self.kind[0] >> 6),
            };
            match self.stream.poll_read(cx, &mut self.kind[self.read..size]) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(read)) => self.read += read,
            }
        }
    }
}

/// A stream about header compression.
struct Compression {
    stream: RecvStream,
    /// How many bytes may come still.
    left: usize,
}

impl Compression {
    fn discard(&mut self, cx: &mut Context<'_>) -> Result<(), Violation> {
        let mut thrown_away = [0; 512];
        loop {
            match self.stream.poll_read(cx, &mut thrown_away) {
                // Whoever waits for the next stream learns of a lost connection.
                Poll::Pending | Poll::Ready(Err(ReadError::ConnectionLost(_))) => return Ok(()),
                Poll::Ready(Ok(0) | Err(_)) => {
                    let reason = "a stream that has to stay was closed";
                    return Err(Violation::new(Code::H3_CLOSED_CRITICAL_STREAM, reason));
                }
                Poll::Ready(Ok(read)) => {
                    let left = self.left.checked_sub(read).ok_or_else(|| {
                        let reason = "too much about header compression";
                        Violation::new(Code::H3_EXCESSIVE_LOAD, reason)
                    });
                    self.left = left?;
                }
            }
        }
    }
}
