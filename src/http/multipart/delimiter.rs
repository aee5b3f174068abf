//! The boundary, and finding it in a body that arrives in pieces (RFC 2046 section 5.1.1).

use bytes::{Buf, Bytes};
use memchr::memmem::Finder;

use super::MultipartError;
use crate::http::disposition::split_parameters;

/// The longest boundary that RFC 2046 allows.
const MAX_BOUNDARY: usize = 70;

/// How many spaces and tabs may stand between a delimiter and the end of its line. Nobody sends any; RFC 2046 allows
/// them for gateways that pad.
const MAX_PADDING: usize = 64;

/// The line break that belongs to the delimiter after it.
const CRLF: usize = 2;

/// The boundary of a form: 1 to 70 characters that RFC 2046 allows.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// `CRLF -- boundary`.
    delimiter: Bytes,
}

impl Boundary {
    /// Reads the boundary from a request's `Content-Type`; `None` where it is not `multipart/form-data`.
    pub fn from_content_type(content_type: &str) -> Result<Option<Self>, MultipartError> {
        let (media_type, parameters) = split_parameters(content_type.as_bytes());
        if !media_type.eq_ignore_ascii_case(b"multipart/form-data") {
            return Ok(None);
        }
        let mut boundary = None;
        for parameter in parameters {
            let parameter = parameter.map_err(MultipartError::ContentType)?;
            if parameter.is("boundary") && boundary.replace(parameter.value).is_some() {
                return Err(MultipartError::DuplicateBoundary);
            }
        }
        let boundary = boundary.ok_or(MultipartError::MissingBoundary)?;
        let allowed = |&byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
        let length = 1..=MAX_BOUNDARY;
        if !length.contains(&boundary.len())
            || !boundary.iter().all(allowed)
            || boundary.ends_with(b" ")
        {
            return Err(MultipartError::InvalidBoundary);
        }
        let delimiter = [b"\r\n--", boundary.as_slice()].concat().into();
        Ok(Some(Self { delimiter }))
    }

    /// The line break, two hyphens and the boundary.
    #[cfg(test)]
    pub(super) fn delimiter(&self) -> &[u8] {
        &self.delimiter
    }
}

/// What [`Scanner::scan`] came upon.
pub(super) enum Found {
    /// Bytes that belong to no delimiter; never empty.
    Content(Bytes),
    /// A whole delimiter line; a part's headers follow.
    Delimiter,
    /// The closing delimiter.
    Close,
}

/// Tells content from delimiters, whatever the frames they arrive in.
///
/// A boundary cannot contain CR, so the only place where a delimiter can begin is a CR, and no two occurrences overlap.
/// So a possible delimiter at the end of a frame need not be kept: it is a number of bytes of the delimiter itself.
/// Should it turn out to be content, these bytes are handed out, and the scan goes on at the byte that differed: nothing
/// is looked at twice.
pub(super) struct Scanner {
    delimiter: Bytes,
    finder: Finder<'static>,
    /// How much of the delimiter has been seen; zero outside a possible one.
    matched: usize,
    /// How much of `matched` was not content before the match began: the line break at the start of the body, or the
    /// one that ends a part's headers, also begins a delimiter.
    borrowed: usize,
    /// What followed the whole delimiter and may still complete its line: padding and CR, or one hyphen.
    trailing: Vec<u8>,
}

impl Scanner {
    pub(super) fn new(boundary: Boundary) -> Self {
        let delimiter = boundary.delimiter;
        let finder = Finder::new(&delimiter).into_owned();
        let mut scanner = Self {
            delimiter,
            finder,
            matched: 0,
            borrowed: 0,
            trailing: Vec::new(),
        };
        scanner.start_line();
        scanner
    }

    /// Takes a line break as already seen: a delimiter may follow at once.
    pub(super) fn start_line(&mut self) {
        self.matched = CRLF;
        self.borrowed = CRLF;
        self.trailing.clear();
    }

    /// Takes the next content or delimiter off the front of `frame`. `None` when the frame is used up.
    pub(super) fn scan(&mut self, frame: &mut Bytes) -> Option<Found> {
        while !frame.is_empty() {
            let content = if self.matched == 0 {
                self.take_content(frame)
            } else {
                match self.take_delimiter(frame) {
                    Line::Incomplete => return None,
                    Line::Complete(found) => {
                        self.start_line();
                        return Some(found);
                    }
                    Line::Differs => self.release(),
                }
            };
            if !content.is_empty() {
                return Some(Found::Content(content));
            }
        }
        None
    }

    /// Takes everything before the next delimiter, or before what may be the start of one at the end of the frame.
    fn take_content(&mut self, frame: &mut Bytes) -> Bytes {
        let (length, matched) = if let Some(at) = self.finder.find(frame) {
            (at, self.delimiter.len())
        } else {
            let matched = self.partial_at_end(frame);
            (frame.len() - matched, matched)
        };
        let content = frame.split_to(length);
        frame.advance(matched);
        self.matched = matched;
        content
    }

    /// The length of a delimiter's beginning that ends `frame`.
    fn partial_at_end(&self, frame: &[u8]) -> usize {
        let tail = &frame[frame.len().saturating_sub(self.delimiter.len() - 1)..];
        memchr::memrchr(b'\r', tail)
            .map(|at| &tail[at..])
            .filter(|rest| self.delimiter.starts_with(rest))
            .map_or(0, <[u8]>::len)
    }

    /// Takes what continues the delimiter and then its line.
    fn take_delimiter(&mut self, frame: &mut Bytes) -> Line {
        let expected = &self.delimiter[self.matched..];
        let same = expected
            .iter()
            .zip(frame.iter())
            .take_while(|(expected, byte)| expected == byte)
            .count();
        let whole = same == expected.len();
        self.matched += same;
        frame.advance(same);
        while let Some(&byte) = frame.first() {
            if !whole {
                return Line::Differs;
            }
            match (self.trailing.last(), byte) {
                (None, b'-') | (None | Some(b' ' | b'\t'), b'\r') => {}
                (None | Some(b' ' | b'\t'), b' ' | b'\t') if self.trailing.len() < MAX_PADDING => {}
                (Some(b'\r'), b'\n') => {
                    frame.advance(1);
                    return Line::Complete(Found::Delimiter);
                }
                (Some(b'-'), b'-') => {
                    frame.advance(1);
                    return Line::Complete(Found::Close);
                }
                _ => return Line::Differs,
            }
            self.trailing.push(byte);
            frame.advance(1);
        }
        Line::Incomplete
    }

    /// Gives back as content what was taken for a delimiter.
    fn release(&mut self) -> Bytes {
        let start = self.delimiter.slice(self.borrowed..self.matched);
        let content = if self.trailing.is_empty() {
            start
        } else {
            [&start[..], &self.trailing[..]].concat().into()
        };
        self.matched = 0;
        self.borrowed = 0;
        self.trailing.clear();
        content
    }

    /// Bytes held between frames.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.trailing.capacity()
    }
}

/// How far a delimiter line has come.
enum Line {
    /// All of the frame fits so far.
    Incomplete,
    Complete(Found),
    /// The next byte shows it to be content.
    Differs,
}
