//! `multipart/form-data` as it streams in (RFC 7578, RFC 2046 section 5.1).
//!
//! The parser does no I/O: frames of the body are pushed in with [`Parser::feed`], events are drawn out with
//! [`Parser::next`]. File contents are slices of the frames, not copies. Between frames it keeps one part's headers at
//! most, bounded by [`Limits`]; its time is linear in the length of the body, whatever the body is made of.
//!
//! A part ends only with a whole delimiter behind it. Where the body ends first, the answer is
//! [`MultipartError::Truncated`], so a cut connection cannot be taken for the end of a file.

mod delimiter;
mod head;

use std::fmt;

use bytes::{Buf, Bytes};
use memchr::memmem;
use zeroize::{Zeroize, Zeroizing};

pub use self::delimiter::Boundary;
use self::delimiter::{Found, Scanner};
pub use self::head::PartHead;
use crate::http::disposition::DispositionError;

/// How much may stand before the first boundary. Forms have nothing there; mail readers' notes have a line or two.
const MAX_PREAMBLE: usize = 1024;

/// Why a form was refused. Never contains what the client sent. The same error is given again at every further call.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MultipartError {
    /// The `Content-Type` of the request cannot be read.
    #[error("the Content-Type cannot be read; send multipart/form-data; boundary=...")]
    ContentType(#[source] DispositionError),
    /// `multipart/form-data` without a boundary.
    #[error(
        "the Content-Type has no boundary; leave the header to your HTTP client, which knows it"
    )]
    MissingBoundary,
    /// More than one boundary, so that two readers could see two different forms.
    #[error("the Content-Type gives a boundary twice; send one")]
    DuplicateBoundary,
    /// A boundary that RFC 2046 does not allow.
    #[error("the boundary is not 1 to 70 of the characters that RFC 2046 allows; choose another")]
    InvalidBoundary,
    /// More than 1 KiB before the first boundary.
    #[error(
        "the form does not begin with its boundary; check that the Content-Type names the one in the body"
    )]
    PreambleTooLong,
    /// More parts than [`Limits::parts`].
    #[error("the form has too many parts; send fewer at once")]
    TooManyParts,
    /// More headers in one part than [`Limits::part_header_bytes`], or than 32 lines.
    #[error("the headers of a part are too large; send Content-Disposition and Content-Type only")]
    PartHeadersTooLarge,
    /// A field or file name longer than [`Limits::name_bytes`].
    #[error("a field or file name is too long; shorten it")]
    NameTooLong,
    /// A header line of a part that is not `name: value`, is folded, or holds a lone CR or LF.
    #[error("a part has a header line that is not of the form name: value, ended by CRLF")]
    MalformedPartHeaders,
    /// `Content-Disposition` or `Content-Type` twice in one part.
    #[error("a part gives a header twice; send it once")]
    DuplicatePartHeader,
    /// A part without `Content-Disposition: form-data`.
    #[error("a part has no Content-Disposition: form-data; add it")]
    MissingDisposition,
    /// A part without a field name.
    #[error("a part has no name; add name=\"...\" to its Content-Disposition")]
    MissingName,
    /// A part whose `Content-Disposition` cannot be read.
    #[error(
        "the Content-Disposition of a part cannot be read; send form-data; name=\"...\"; filename=\"...\""
    )]
    Disposition(#[source] DispositionError),
    /// The body ended before the closing delimiter.
    #[error("the form ended before its closing boundary; send it again, with lines ended by CRLF")]
    Truncated,
}

/// Bounds on what one form may hold, apart from the contents of its parts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most parts.
    pub parts: usize,
    /// The most bytes of headers in one part, with their line breaks and the blank line after them.
    pub part_header_bytes: usize,
    /// The most bytes in a field's name, and in a file's, once decoded.
    pub name_bytes: usize,
}

/// What [`Parser::next`] found. Parts come as `Part`, any number of `Data`, `PartEnd`; after the last comes `End`.
#[derive(Clone, Eq, PartialEq)]
pub enum Event {
    /// All that was fed is used up: feed the next frame, or say that there is none with [`Parser::finish`].
    NeedMore,
    /// A part begins.
    Part(PartHead),
    /// Bytes of the part; never empty.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
    /// The form is complete. What follows the closing delimiter is ignored.
    End,
}

/// Shows how much data there is and not the data.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedMore => f.write_str("NeedMore"),
            Self::Part(head) => f.debug_tuple("Part").field(head).finish(),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::PartEnd => f.write_str("PartEnd"),
            Self::End => f.write_str("End"),
        }
    }
}

/// A streaming reader of one form.
pub struct Parser {
    state: State,
    scanner: Scanner,
    limits: Limits,
    /// What is left of the frame that was fed last.
    frame: Bytes,
    /// No more frames will come.
    ended: bool,
    /// The headers of the part that is beginning, after the line break of their delimiter. They hold names, so they are
    /// zeroized once read.
    head: Zeroizing<Vec<u8>>,
    /// Parts begun.
    parts: usize,
}

/// Where in the form the next byte stands.
#[derive(Clone, Copy)]
enum State {
    /// Before the first delimiter, with this much passed over.
    Preamble(usize),
    Head,
    Body,
    /// After the closing delimiter.
    Done,
    Failed(MultipartError),
}

impl Parser {
    /// A parser at the start of a body.
    pub fn new(boundary: Boundary, limits: Limits) -> Self {
        Self {
            state: State::Preamble(0),
            scanner: Scanner::new(boundary),
            limits,
            frame: Bytes::new(),
            ended: false,
            head: Zeroizing::default(),
            parts: 0,
        }
    }

    /// Gives the parser the next frame of the body. To be called after [`Event::NeedMore`]; what is fed after
    /// [`Event::End`] or an error is dropped.
    ///
    /// # Panics
    /// When the last frame is not used up, or after [`Parser::finish`]: bytes would be lost.
    pub fn feed(&mut self, frame: Bytes) {
        if matches!(self.state, State::Done | State::Failed(_)) {
            return;
        }
        assert!(
            self.frame.is_empty() && !self.ended,
            "a frame is fed only when the parser needs more"
        );
        self.frame = frame;
    }

    /// Says that the body has come to its true end. Not to be called where it broke off or timed out.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// Finds what comes next in the form. After an error or [`Event::End`] it gives the same again.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator: it asks for more in the middle"
    )]
    pub fn next(&mut self) -> Result<Event, MultipartError> {
        let event = self.advance();
        if let Err(error) = event {
            self.state = State::Failed(error);
        }
        if matches!(self.state, State::Done | State::Failed(_)) || self.frame.is_empty() {
            // Also an empty slice would keep its whole frame allocated.
            self.frame = Bytes::new();
        }
        event
    }

    fn advance(&mut self) -> Result<Event, MultipartError> {
        loop {
            match self.state {
                State::Done => return Ok(Event::End),
                State::Failed(error) => return Err(error),
                _ if self.frame.is_empty() && self.ended => return Err(MultipartError::Truncated),
                _ if self.frame.is_empty() => return Ok(Event::NeedMore),
                State::Preamble(passed) => self.skip_preamble(passed)?,
                State::Head => {
                    if let Some(head) = self.read_head()? {
                        self.state = State::Body;
                        self.scanner.start_line();
                        return Ok(Event::Part(head));
                    }
                }
                State::Body => match self.scanner.scan(&mut self.frame) {
                    Some(Found::Content(data)) => return Ok(Event::Data(data)),
                    Some(Found::Delimiter) => {
                        self.start_head();
                        return Ok(Event::PartEnd);
                    }
                    Some(Found::Close) => {
                        self.state = State::Done;
                        return Ok(Event::PartEnd);
                    }
                    None => {}
                },
            }
        }
    }

    /// Passes over what stands before the first delimiter.
    fn skip_preamble(&mut self, passed: usize) -> Result<(), MultipartError> {
        match self.scanner.scan(&mut self.frame) {
            Some(Found::Content(content)) => {
                let passed = passed.saturating_add(content.len());
                if passed > MAX_PREAMBLE {
                    return Err(MultipartError::PreambleTooLong);
                }
                self.state = State::Preamble(passed);
            }
            Some(Found::Delimiter) => self.start_head(),
            Some(Found::Close) => self.state = State::Done,
            None => {}
        }
        Ok(())
    }

    /// Gets ready for a part's headers. They begin after a line break, so with it a part without headers, too, ends
    /// them with two line breaks in a row.
    fn start_head(&mut self) {
        self.state = State::Head;
        self.head.zeroize();
        self.head.extend_from_slice(b"\r\n");
    }

    /// Collects a part's headers, and reads them when the blank line after them has arrived.
    fn read_head(&mut self) -> Result<Option<PartHead>, MultipartError> {
        if self.parts == self.limits.parts {
            return Err(MultipartError::TooManyParts);
        }
        let capacity = self.limits.part_header_bytes.saturating_add(2);
        let window = &self.frame[..self.frame.len().min(capacity - self.head.len())];
        let taken = memmem::find(window, b"\r\n\r\n").map_or(window.len(), |at| at + 4);
        // The blank line may have begun in the frame before.
        let searched = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(&window[..taken]);
        let Some(at) = memmem::find(&self.head[searched..], b"\r\n\r\n") else {
            if self.head.len() == capacity {
                return Err(MultipartError::PartHeadersTooLarge);
            }
            self.frame.advance(taken);
            return Ok(None);
        };
        let end = searched + at + 4;
        self.frame.advance(taken - (self.head.len() - end));
        let head = PartHead::parse(&self.head[2..end - 2], self.limits.name_bytes)?;
        self.head.zeroize();
        self.parts += 1;
        Ok(Some(head))
    }

    /// Bytes kept between frames.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.frame.len() + self.head.capacity() + self.scanner.held()
    }
}

#[cfg(test)]
mod tests;
