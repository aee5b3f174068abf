//! The frames of a request stream (RFC 9114, section 7), as far as they must be known before h3 sees them.
//!
//! h3 0.0.8 would gather any frame but DATA whole before it looks at it, however long it says it is; would take the end of a
//! stream in the midst of a DATA frame, or a DATA frame of nothing, for the end of a body; and would read ahead without a
//! bound where DATA frames are small. So it is given no frame that is too long, cut off, empty or out of place, and never
//! more than one piece of one frame at a time.

use bytes::{Buf, Bytes, BytesMut};
use h3::error::Code;

/// The longest section of header or trailer fields, compressed, in bytes.
const MAX_FIELDS: u64 = 64 * 1024;
/// How many bytes of frames that mean nothing to us one stream may have.
const MAX_IGNORED: u64 = 64 * 1024;

const DATA: u64 = 0x0;
const HEADERS: u64 = 0x1;
/// What has no length (and is not spoken), and so cannot be passed over.
const WEBTRANSPORT: u64 = 0x41;

/// What no client may send. The connection ends with its code.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("{reason}")]
pub struct Violation {
    /// The code that the client is told.
    pub code: Code,
    reason: &'static str,
}

impl Violation {
    pub(super) fn new(code: Code, reason: &'static str) -> Self {
        Self { code, reason }
    }

    fn unexpected() -> Self {
        Self::new(Code::H3_FRAME_UNEXPECTED, "a frame that is out of place")
    }

    fn excessive(reason: &'static str) -> Self {
        Self::new(Code::H3_EXCESSIVE_LOAD, reason)
    }
}

/// What a message has had so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Nothing,
    Head,
    Trailers,
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Before a frame.
    Frame,
    /// In one, with so many bytes to come, which are passed on or not.
    Payload { left: u64, passed: bool },
}

/// The frames of one request stream.
#[derive(Debug)]
pub struct Frames {
    message: Message,
    at: At,
    ignored: u64,
}

impl Default for Frames {
    /// At the beginning of a stream.
    fn default() -> Self {
        Self {
            message: Message::Nothing,
            at: At::Frame,
            ignored: 0,
        }
    }
}

impl Frames {
    /// Takes the next piece out of what has arrived: the type and length of a frame, or some of what is in it. `None` where more has to
    /// arrive first.
    pub fn next(&mut self, arrived: &mut BytesMut) -> Result<Option<Bytes>, Violation> {
        while !arrived.is_empty() {
            match self.at {
                At::Payload { left, passed } => {
                    let piece = left.min(arrived.len() as u64);
                    self.at = match left - piece {
                        0 => At::Frame,
                        left => At::Payload { left, passed },
                    };
                    // No more than has arrived.
                    let size = usize::try_from(piece).unwrap_or(arrived.len());
                    if passed {
                        return Ok(Some(arrived.split_to(size).freeze()));
                    }
                    arrived.advance(size);
                }
                At::Frame => {
                    let Some((kind, length, size)) = head(arrived) else {
                        return Ok(None);
                    };
                    if self.admit(kind, length, size)? {
                        return Ok(Some(arrived.split_to(size).freeze()));
                    }
                    arrived.advance(size);
                }
            }
        }
        Ok(None)
    }

    /// Whether a stream may end here, with this much left over.
    pub fn end(&self, arrived: &BytesMut) -> Result<(), Violation> {
        match self.at {
            At::Frame if arrived.is_empty() => Ok(()),
            _ => Err(Violation::new(
                Code::H3_FRAME_ERROR,
                "the stream ended within a frame",
            )),
        }
    }

    /// Takes up a frame whose type and length were `size` bytes. Whether it is passed on.
    fn admit(&mut self, kind: u64, length: u64, size: usize) -> Result<bool, Violation> {
        let passed = match kind {
            DATA => {
                if self.message != Message::Head {
                    return Err(Violation::unexpected());
                }
                length > 0
            }
            HEADERS => {
                self.message = match self.message {
                    Message::Nothing => Message::Head,
                    Message::Head => Message::Trailers,
                    Message::Trailers => return Err(Violation::unexpected()),
                };
                if length > MAX_FIELDS {
                    return Err(Violation::excessive("a field section that is too long"));
                }
                true
            }
            // Of the control stream, of the server alone, of HTTP/2, or of WebTransport.
            0x2..=0x9 | 0xd | WEBTRANSPORT => return Err(Violation::unexpected()),
            _ => false,
        };
        if !passed {
            self.ignored = self.ignored.saturating_add(length + size as u64);
            if self.ignored > MAX_IGNORED {
                return Err(Violation::excessive("too much that means nothing"));
            }
        }
        if length > 0 {
            let left = length;
            self.at = At::Payload { left, passed };
        }
        Ok(passed)
    }
}

/// The type and the length that a frame begins with, and how many bytes they took. `None` where they are not complete.
fn head(arrived: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, size) = variable_length(arrived)?;
    let (length, more) = variable_length(&arrived[size..])?;
    Some((kind, length, size + more))
}

/// An integer of QUIC (RFC 9000, section 16), and how many bytes it took.
pub(super) fn variable_length(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = bytes.first()?;
    let size = 1 << (first >> 6);
    let rest = bytes.get(1..size)?;
    let value = u64::from(first & 0x3f);
    let value = rest
        .iter()
        .fold(value, |value, byte| value << 8 | u64::from(*byte));
    Some((value, size))
}

#[cfg(test)]
mod tests;
