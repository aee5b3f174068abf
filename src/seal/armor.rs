//! ASCII armor: strict PEM (specification, "ASCII armor"; RFC 7468, section 3).

use data_encoding::BASE64;

const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const END: &[u8] = b"-----END AGE ENCRYPTED FILE-----";
const DASHES: &[u8] = b"-----";
const COLUMNS: usize = 64;
/// Bytes in a full line.
const LINE_BYTES: usize = COLUMNS / 4 * 3;
/// White space that is allowed before, and again behind, the armor.
const MAX_SPACE: usize = 1024;

/// Why text is not strict armor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    /// The first line is not the one that armor begins with.
    #[error("the armor does not begin as it must")]
    Begin,
    /// A line that is not canonical base64 in 64 columns.
    #[error("a line of the armor is malformed")]
    Line,
    /// The text ends before the last line of the armor.
    #[error("the armor is cut off")]
    Truncated,
    /// Something other than white space stands around the armor.
    #[error("something stands outside the armor")]
    Outside,
}

/// Whether a file that starts with these bytes is armored rather than binary. White space may come first.
pub fn looks_armored(start: &[u8]) -> bool {
    start.trim_ascii_start().starts_with(DASHES)
}

/// Whether a file that so far starts with these bytes may yet turn out to be armored, when more of it has come.
pub fn may_become_armored(start: &[u8]) -> bool {
    let begun = start.trim_ascii_start();
    begun.len() < DASHES.len() && DASHES.starts_with(begun)
}

/// Armors bytes as they come.
#[derive(Default)]
pub struct Encoder {
    begun: bool,
    line: Vec<u8>,
}

impl Encoder {
    /// An encoder at the start of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `text` all whole lines for the bytes so far.
    pub fn push(&mut self, mut bytes: &[u8], text: &mut Vec<u8>) {
        self.begin(text);
        while self.line.len() + bytes.len() >= LINE_BYTES {
            let (now, later) = bytes.split_at(LINE_BYTES - self.line.len());
            self.line.extend_from_slice(now);
            put_line(text, &self.line);
            self.line.clear();
            bytes = later;
        }
        self.line.extend_from_slice(bytes);
    }

    /// Appends what is left and the last line of the armor.
    pub fn finish(mut self, text: &mut Vec<u8>) {
        self.begin(text);
        if !self.line.is_empty() {
            put_line(text, &self.line);
        }
        text.extend_from_slice(END);
        text.push(b'\n');
    }

    fn begin(&mut self, text: &mut Vec<u8>) {
        if !self.begun {
            self.begun = true;
            text.extend_from_slice(BEGIN);
            text.push(b'\n');
        }
    }
}

fn put_line(text: &mut Vec<u8>, bytes: &[u8]) {
    let start = text.len();
    text.resize(start + BASE64.encode_len(bytes.len()), 0);
    BASE64.encode_mut(bytes, &mut text[start..]);
    text.push(b'\n');
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Body,
    /// Behind a short line, which only the end may follow.
    Ending,
    After,
}

/// Takes armor off as text comes.
pub struct Decoder {
    place: Place,
    line: Vec<u8>,
    space: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a text.
    pub fn new() -> Self {
        Self {
            place: Place::Before,
            line: Vec::with_capacity(COLUMNS + 2),
            space: 0,
        }
    }

    /// Appends to `bytes` what the whole lines so far stand for.
    pub fn push(&mut self, mut text: &[u8], bytes: &mut Vec<u8>) -> Result<(), ArmorError> {
        while !text.is_empty() {
            match self.place {
                Place::Before if self.line.is_empty() && text[0].is_ascii_whitespace() => {
                    text = &text[1..];
                    self.count_space()?;
                }
                Place::After => {
                    if !text[0].is_ascii_whitespace() {
                        return Err(ArmorError::Outside);
                    }
                    text = &text[1..];
                    self.count_space()?;
                }
                _ => text = self.collect(text, bytes)?,
            }
        }
        Ok(())
    }

    /// Says whether the armor was whole. Its last line need not end in a line feed.
    pub fn finish(mut self, bytes: &mut Vec<u8>) -> Result<(), ArmorError> {
        if !self.line.is_empty() {
            self.end_line(bytes)?;
        }
        match self.place {
            Place::After => Ok(()),
            _ => Err(ArmorError::Truncated),
        }
    }

    fn count_space(&mut self) -> Result<(), ArmorError> {
        self.space += 1;
        if self.space > MAX_SPACE {
            return Err(ArmorError::Outside);
        }
        Ok(())
    }

    /// Adds to the current line up to its end, if that is there yet.
    fn collect<'a>(&mut self, text: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ArmorError> {
        let (now, later, ended) = match memchr::memchr(b'\n', text) {
            Some(end) => (&text[..end], &text[end + 1..], true),
            None => (text, &text[text.len()..], false),
        };
        // One more than the longest line, for the CR that may precede its LF.
        if self.line.len() + now.len() > COLUMNS + 1 {
            return Err(self.malformed());
        }
        self.line.extend_from_slice(now);
        if ended {
            self.end_line(bytes)?;
        }
        Ok(later)
    }

    fn end_line(&mut self, bytes: &mut Vec<u8>) -> Result<(), ArmorError> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        match self.place {
            Place::Before if line == BEGIN => self.place = Place::Body,
            Place::Body | Place::Ending if line == END => {
                self.place = Place::After;
                self.space = 0;
            }
            Place::Body => {
                self.place = decode_line(line, bytes)?;
            }
            _ => return Err(self.malformed()),
        }
        self.line.clear();
        Ok(())
    }

    fn malformed(&self) -> ArmorError {
        match self.place {
            Place::Before => ArmorError::Begin,
            _ => ArmorError::Line,
        }
    }
}

/// Decodes one line of base64 and says what may follow it.
fn decode_line(line: &[u8], bytes: &mut Vec<u8>) -> Result<Place, ArmorError> {
    if line.is_empty() || line.len() > COLUMNS {
        return Err(ArmorError::Line);
    }
    let decoded = BASE64.decode(line).map_err(|_| ArmorError::Line)?;
    // Padding that is not at the very end: some decoders take it as two texts joined.
    let text = line.strip_suffix(b"=").unwrap_or(line);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    if text.contains(&b'=') {
        return Err(ArmorError::Line);
    }
    bytes.extend_from_slice(&decoded);
    Ok(if decoded.len() == LINE_BYTES {
        Place::Body
    } else {
        Place::Ending
    })
}
