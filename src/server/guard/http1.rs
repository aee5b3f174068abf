//! Where requests begin and end over HTTP/1.1 (RFC 9112), read so strictly that nobody in front of us can have read it
//! otherwise.
//!
//! hyper and httparse are lenient in places: a `Content-Length` beside `Transfer-Encoding` is dropped without a word, one that
//! is there twice is taken once, lines may end with a bare LF. Each is allowed by the RFC, and each is what request smuggling
//! is made of where a proxy in front reads it the other way. So all of these are refused:
//!
//! - in a head: line ends other than CRLF, other control characters, folded lines, whitespace before a colon or in front of the
//!   request, versions other than HTTP/1.0 and HTTP/1.1;
//! - `Content-Length` that is not one number of at most 18 digits, or there twice, or beside `Transfer-Encoding`;
//! - `Transfer-Encoding` that is not exactly `chunked`, or there twice, or over HTTP/1.0;
//! - chunk sizes that are not 1 to 15 hexadecimal digits, and too long extensions.
//!
//! How long heads and trailers may be is hyper's to say; it has given up before anything here could grow, and nothing does.

/// The longest extensions of all chunks of a body together, in bytes. Nobody uses any.
const MAX_EXTENSIONS: u32 = 4096;
/// No body has a length of more digits; with as many nothing overflows.
const MAX_LENGTH_DIGITS: usize = 18;
/// Hexadecimal; the same.
const MAX_CHUNK_DIGITS: u8 = 15;

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
const VERSION: &[u8] = b"HTTP/1.";

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first byte of a request; or, where `line_feed` is due, the rest of an empty line in front of one.
    Start {
        line_feed: bool,
    },
    Method,
    Target {
        empty: bool,
    },
    /// So many bytes of the version have come.
    Version(u8),
    /// The LF of the request line, or of a field.
    LineFeed,
    FieldStart,
    Name,
    Value,
    /// The LF that ends a head, or trailers.
    LastLineFeed,
    /// So many bytes of a body with a length are to come.
    Body(u64),
    ChunkSize {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    ChunkSizeLineFeed {
        size: u64,
    },
    Chunk(u64),
    ChunkReturn,
    ChunkLineFeed,
}

/// What a head says of the body behind it.
#[derive(Debug, Default)]
struct Framing {
    http10: bool,
    length: Option<u64>,
    chunked: bool,
    /// An empty line has come in front of the request.
    empty_line: bool,
}

/// Follows the requests of a connection.
#[derive(Debug)]
pub struct Requests {
    at: At,
    framing: Framing,
    /// Whether fields are trailers, which say nothing of bodies.
    trailers: bool,
    extensions: u32,
    /// The name of the field in lower case, and how long it is; longer ones are none that count.
    name: [u8; TRANSFER_ENCODING.len()],
    name_len: usize,
    /// The value of a field that counts, without whitespace around it; of longer ones the beginning.
    value: [u8; MAX_LENGTH_DIGITS + 1],
    value_len: usize,
    /// Whitespace came behind what is in `value`, and belongs to it if more does.
    value_gap: bool,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            at: At::Start { line_feed: false },
            framing: Framing::default(),
            trailers: false,
            extensions: 0,
            name: [0; _],
            name_len: 0,
            value: [0; _],
            value_len: 0,
            value_gap: false,
        }
    }
}

/// A byte that may not stand where it does.
struct Malformed;

impl Requests {
    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    ///
    /// The position of the first byte that is no proper request's. The head or body that it stands in has not ended before it.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut next = 0;
        while let Some(&byte) = bytes.get(next) {
            let left = bytes.len() - next;
            match &mut self.at {
                At::Body(more) | At::Chunk(more) => {
                    let taken = usize::try_from(*more).map_or(left, |more| more.min(left));
                    *more -= taken as u64;
                    next += taken;
                    match self.at {
                        At::Body(0) => self.at = At::Start { line_feed: false },
                        At::Chunk(0) => self.at = At::ChunkReturn,
                        _ => {}
                    }
                }
                _ => {
                    self.at = self.step(byte).map_err(|Malformed| next)?;
                    next += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether every request that has begun has come to its end.
    pub fn is_between(&self) -> bool {
        self.at == At::Start { line_feed: false } && !self.framing.empty_line
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            // Old clients send an empty line behind a body (RFC 9112, section 2.2).
            (At::Start { line_feed: false }, b'\r') if !self.framing.empty_line => {
                self.framing.empty_line = true;
                At::Start { line_feed: true }
            }
            (At::Start { line_feed: true }, b'\n') => At::Start { line_feed: false },
            (At::Start { line_feed: false }, _) if is_token(byte) => {
                self.framing = Framing::default();
                self.extensions = 0;
                At::Method
            }
            (At::Method, b' ') => At::Target { empty: true },
            (At::Method, _) if is_token(byte) => At::Method,
            (At::Target { empty: false }, b' ') => At::Version(0),
            (At::Target { .. }, 0x21..=0x7e | 0x80..) => At::Target { empty: false },
            (At::Version(came), _) => return self.version(came, byte),
            (At::LineFeed, b'\n') => At::FieldStart,
            (At::FieldStart, b'\r') => At::LastLineFeed,
            (At::FieldStart, _) if is_token(byte) => {
                (self.name_len, self.value_len, self.value_gap) = (0, 0, false);
                self.name_byte(byte);
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, _) if is_token(byte) => {
                self.name_byte(byte);
                At::Name
            }
            (At::Value, b'\r') => {
                self.field()?;
                At::LineFeed
            }
            (At::Value, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.value_byte(byte);
                At::Value
            }
            (At::LastLineFeed, b'\n') => self.body(),
            (_, _) => return self.chunk_step(byte),
        })
    }

    /// The version, and the CR behind it.
    fn version(&mut self, came: u8, byte: u8) -> Result<At, Malformed> {
        let came_all = usize::from(came);
        let fits = match VERSION.get(came_all) {
            Some(&wanted) => byte == wanted,
            None if came_all == VERSION.len() => {
                self.framing.http10 = byte == b'0';
                matches!(byte, b'0' | b'1')
            }
            None if byte == b'\r' => return Ok(At::LineFeed),
            None => false,
        };
        fits.then_some(At::Version(came + 1)).ok_or(Malformed)
    }

    fn chunk_step(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::ChunkSize { size, digits }, b'\r') if digits > 0 => At::ChunkSizeLineFeed { size },
            (At::ChunkSize { size, digits }, b';') if digits > 0 => {
                self.extension()?;
                At::Extension { size }
            }
            (At::ChunkSize { size, digits }, _) if digits < MAX_CHUNK_DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                At::ChunkSize {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                }
            }
            (At::Extension { size }, b'\r') => At::ChunkSizeLineFeed { size },
            (At::Extension { size }, b'\t' | 0x20..=0x7e | 0x80..) => {
                self.extension()?;
                At::Extension { size }
            }
            (At::ChunkSizeLineFeed { size: 0 }, b'\n') => {
                self.trailers = true;
                At::FieldStart
            }
            (At::ChunkSizeLineFeed { size }, b'\n') => At::Chunk(size),
            (At::ChunkReturn, b'\r') => At::ChunkLineFeed,
            (At::ChunkLineFeed, b'\n') => At::ChunkSize { size: 0, digits: 0 },
            _ => return Err(Malformed),
        })
    }

    fn extension(&mut self) -> Result<(), Malformed> {
        self.extensions += 1;
        (self.extensions <= MAX_EXTENSIONS)
            .then_some(())
            .ok_or(Malformed)
    }

    fn name_byte(&mut self, byte: u8) {
        if let Some(place) = self.name.get_mut(self.name_len) {
            *place = byte.to_ascii_lowercase();
        }
        self.name_len = self.name_len.saturating_add(1);
    }

    fn value_byte(&mut self, byte: u8) {
        if matches!(byte, b' ' | b'\t') {
            self.value_gap = self.value_len > 0;
            return;
        }
        // What has whitespace within is no value that is taken: any other byte stands for it.
        let gap = std::mem::take(&mut self.value_gap).then_some(b' ');
        for byte in gap.into_iter().chain([byte]) {
            if let Some(place) = self.value.get_mut(self.value_len) {
                *place = byte;
                self.value_len += 1;
            }
        }
    }

    /// A field is complete: does it say how long the body is?
    fn field(&mut self) -> Result<(), Malformed> {
        if self.trailers {
            return Ok(());
        }
        let name = self.name.get(..self.name_len).unwrap_or_default();
        let value = &self.value[..self.value_len];
        let framing = &mut self.framing;
        if name == CONTENT_LENGTH {
            let digits = (1..=MAX_LENGTH_DIGITS).contains(&value.len())
                && value.iter().all(u8::is_ascii_digit);
            if !digits || framing.chunked || framing.length.is_some() {
                return Err(Malformed);
            }
            let number = |number, digit: &u8| number * 10 + u64::from(digit - b'0');
            framing.length = Some(value.iter().fold(0, number));
        } else if name == TRANSFER_ENCODING {
            let chunked = value.eq_ignore_ascii_case(b"chunked");
            if !chunked || framing.chunked || framing.length.is_some() || framing.http10 {
                return Err(Malformed);
            }
            framing.chunked = true;
        }
        Ok(())
    }

    /// What comes behind a head, or trailers.
    fn body(&mut self) -> At {
        let trailers = std::mem::replace(&mut self.trailers, false);
        self.framing.empty_line = false;
        match self.framing {
            Framing { chunked: true, .. } if !trailers => At::ChunkSize { size: 0, digits: 0 },
            Framing {
                length: Some(length @ 1..),
                ..
            } => At::Body(length),
            _ => At::Start { line_feed: false },
        }
    }
}

/// Whether a method or a field's name may have it (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
