//! The textual header: version line, recipient stanzas, MAC (specification, "Header").

use data_encoding::BASE64_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{FileKey, Identity, NONCE_SIZE, OpenError, SealError, scrypt};

const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";
const VERSION_PREFIX: &[u8] = b"age-encryption.org/";
const STANZA_PREFIX: &[u8] = b"-> ";
const MAC_MARK: &[u8] = b"---";
const COLUMNS: usize = 64;
const MAC_SIZE: usize = 32;

/// The longest header that is read, in bytes. A manifest with a record of 10,000 segments stays well below it.
pub const MAX_HEADER_SIZE: usize = 4 << 20;

/// Why bytes are not an age v1 header, or a stanza in it is not what its type demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The file does not begin as an age file does.
    #[error("not an age file")]
    NotAge,
    /// An age file of another version.
    #[error("an age version other than v1")]
    Version,
    /// The end came before the header, or the nonce behind it, was complete.
    #[error("the header is cut off")]
    Truncated,
    /// Longer than [`MAX_HEADER_SIZE`].
    #[error("the header is too long")]
    TooLong,
    /// A line that is neither a stanza nor the MAC where one of them must stand.
    #[error("a header line is malformed")]
    Line,
    /// A stanza without an argument, or with an empty one or one outside visible ASCII.
    #[error("a stanza argument is malformed")]
    Argument,
    /// A stanza body that is not canonical base64 in lines of 64 columns.
    #[error("a stanza body is malformed")]
    Body,
    /// A MAC line that is not 43 characters of canonical base64.
    #[error("the header MAC is malformed")]
    MacLine,
    /// A stanza of a known type with the wrong arguments or size.
    #[error("a stanza of type {0} is malformed")]
    Stanza(&'static str),
    /// A passphrase stanza beside others (specification, "scrypt recipient stanza").
    #[error("a scrypt stanza does not stand alone")]
    ScryptNotAlone,
    /// A passphrase stanza that asks for more work than [`scrypt::MAX_LOG_N`](super::scrypt::MAX_LOG_N).
    #[error("a scrypt stanza asks for too much work and memory: open it with `age -d`")]
    WorkFactor,
}

/// One recipient stanza: a wrapped file key, or something that others may ignore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    /// The type, then its further arguments. At least one; each one or more characters of visible ASCII.
    pub args: Vec<String>,
    /// The body, decoded.
    pub body: Vec<u8>,
}

impl Stanza {
    /// Writes it as it stands in a header (specification, "Recipient stanza").
    pub fn encode(&self) -> Result<Vec<u8>, SealError> {
        let mut text = Vec::with_capacity(256 + self.body.len() * 3 / 2);
        encode_stanza(&mut text, self)?;
        Ok(text)
    }

    /// Parses the stanza at the start of `input`. Gives it with the number of bytes that it took, or `None` where
    /// `input` ends before it does.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let mut lines = Lines { input, position: 0 };
        let Some(line) = lines.next()? else {
            return Ok(None);
        };
        let arguments = line.strip_prefix(STANZA_PREFIX).ok_or(HeaderError::Line)?;
        let stanza = parse_stanza(arguments, &mut lines)?;
        Ok(stanza.map(|stanza| (stanza, lines.position)))
    }
}

/// A parsed header with the nonce behind it. That it is genuine only [`Header::verify`] tells.
#[derive(Debug)]
pub struct Header {
    stanzas: Vec<Stanza>,
    mac: [u8; MAC_SIZE],
    /// What the MAC covers: everything up to and including `---`.
    authenticated: Vec<u8>,
    nonce: [u8; NONCE_SIZE],
}

impl Header {
    /// Parses the header and the nonce at the start of `input`.
    ///
    /// Gives the header with the number of bytes that it and the nonce took, or `None` where `input` ends before
    /// they do: come again with more, or call it [`HeaderError::Truncated`] where there is no more.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, HeaderError> {
        let mut lines = Lines { input, position: 0 };
        let Some(version) = lines.next()? else {
            return expect_prefix(input);
        };
        check_version(version)?;
        let mut stanzas = Vec::new();
        loop {
            let mark = lines.position;
            let Some(line) = lines.next()? else {
                return Ok(None);
            };
            if let Some(arguments) = line.strip_prefix(STANZA_PREFIX) {
                let Some(stanza) = parse_stanza(arguments, &mut lines)? else {
                    return Ok(None);
                };
                stanzas.push(stanza);
            } else if let Some(mac) = line.strip_prefix(MAC_MARK) {
                if stanzas.is_empty() {
                    return Err(HeaderError::Line);
                }
                let mac = parse_mac(mac)?;
                let Some(nonce) = input[lines.position..].first_chunk() else {
                    return Ok(None);
                };
                let header = Self {
                    stanzas,
                    mac,
                    authenticated: input[..mark + MAC_MARK.len()].to_vec(),
                    nonce: *nonce,
                };
                return Ok(Some((header, lines.position + NONCE_SIZE)));
            } else {
                return Err(HeaderError::Line);
            }
        }
    }

    /// The stanzas, in order.
    pub fn stanzas(&self) -> &[Stanza] {
        &self.stanzas
    }

    /// The payload nonce.
    pub fn nonce(&self) -> &[u8; NONCE_SIZE] {
        &self.nonce
    }

    /// Finds the file key with the first identity that opens a stanza, and checks the header's MAC with it.
    ///
    /// External identities come last: they may ask somebody for something, which is for nothing where a key at hand
    /// opens the file. One that cannot be used keeps nothing from the others.
    pub fn unwrap_file_key(&self, identities: &[Identity]) -> Result<FileKey, OpenError> {
        if self.stanzas.len() > 1 && self.stanzas.iter().any(scrypt::is_type_of) {
            return Err(HeaderError::ScryptNotAlone.into());
        }
        let (others, own): (Vec<_>, Vec<_>) = identities
            .iter()
            .partition(|identity| matches!(identity, Identity::External(_)));
        let mut unusable = None;
        for identity in own.into_iter().chain(others) {
            match identity.unwrap(&self.stanzas) {
                Ok(Some(file_key)) => {
                    self.verify(&file_key)?;
                    return Ok(file_key);
                }
                Ok(None) => {}
                // Another one may still open it; if none does, this is why.
                Err(error @ OpenError::External(_)) => unusable = unusable.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(unusable.unwrap_or(OpenError::NoMatch))
    }

    /// Checks in constant time that the header was made with this file key.
    pub fn verify(&self, file_key: &FileKey) -> Result<(), OpenError> {
        header_mac(file_key, &self.authenticated)
            .verify_slice(&self.mac)
            .map_err(|_| OpenError::Mac)
    }
}

/// Writes a header for `stanzas` and signs it with the file key.
pub(super) fn encode(stanzas: &[Stanza], file_key: &FileKey) -> Result<Vec<u8>, SealError> {
    let bodies: usize = stanzas.iter().map(|stanza| stanza.body.len()).sum();
    let mut text = Vec::with_capacity(256 + stanzas.len() * 64 + bodies * 3 / 2);
    text.extend_from_slice(VERSION_LINE);
    for stanza in stanzas {
        encode_stanza(&mut text, stanza)?;
    }
    text.extend_from_slice(MAC_MARK);
    let mac = header_mac(file_key, &text).finalize().into_bytes();
    text.push(b' ');
    text.extend_from_slice(BASE64_NOPAD.encode(&mac).as_bytes());
    text.push(b'\n');
    // What no reader takes would be a loss, not a seal.
    if text.len() > MAX_HEADER_SIZE {
        return Err(SealError::HeaderTooLong);
    }
    Ok(text)
}

fn encode_stanza(text: &mut Vec<u8>, stanza: &Stanza) -> Result<(), SealError> {
    text.extend_from_slice(b"->");
    if stanza.args.is_empty() {
        return Err(SealError::StanzaArgument);
    }
    for argument in &stanza.args {
        if !is_argument(argument.as_bytes()) {
            return Err(SealError::StanzaArgument);
        }
        text.push(b' ');
        text.extend_from_slice(argument.as_bytes());
    }
    text.push(b'\n');
    let body = BASE64_NOPAD.encode(&stanza.body);
    let mut rest = body.as_bytes();
    // The last line is shorter than the others, empty where they come out even.
    while rest.len() >= COLUMNS {
        let (line, later) = rest.split_at(COLUMNS);
        text.extend_from_slice(line);
        text.push(b'\n');
        rest = later;
    }
    text.extend_from_slice(rest);
    text.push(b'\n');
    Ok(())
}

fn header_mac(file_key: &FileKey, authenticated: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(file_key.header_key().as_ref())
        .expect("HMAC takes keys of any size");
    mac.update(authenticated);
    mac
}

/// Lines that end in LF, with the position behind the last one given.
struct Lines<'a> {
    input: &'a [u8],
    position: usize,
}

impl<'a> Lines<'a> {
    /// The next line without its LF; `None` where the input ends first.
    fn next(&mut self) -> Result<Option<&'a [u8]>, HeaderError> {
        let rest = &self.input[self.position..];
        match memchr::memchr(b'\n', rest) {
            Some(end) if self.position + end < MAX_HEADER_SIZE => {
                self.position += end + 1;
                Ok(Some(&rest[..end]))
            }
            None if self.input.len() < MAX_HEADER_SIZE => Ok(None),
            _ => Err(HeaderError::TooLong),
        }
    }
}

/// No line yet: more may come, unless what is there can no longer become a version line.
fn expect_prefix<T>(input: &[u8]) -> Result<Option<T>, HeaderError> {
    let seen = input.len().min(VERSION_PREFIX.len());
    if input[..seen] == VERSION_PREFIX[..seen] && input.len() <= 128 {
        Ok(None)
    } else {
        Err(HeaderError::NotAge)
    }
}

fn check_version(line: &[u8]) -> Result<(), HeaderError> {
    if line == &VERSION_LINE[..VERSION_LINE.len() - 1] {
        Ok(())
    } else if line.starts_with(VERSION_PREFIX) {
        Err(HeaderError::Version)
    } else {
        Err(HeaderError::NotAge)
    }
}

fn parse_stanza(arguments: &[u8], lines: &mut Lines<'_>) -> Result<Option<Stanza>, HeaderError> {
    let args = parse_arguments(arguments)?;
    let body = parse_body(lines)?;
    Ok(body.map(|body| Stanza { args, body }))
}

fn parse_arguments(line: &[u8]) -> Result<Vec<String>, HeaderError> {
    line.split(|&byte| byte == b' ')
        .map(|argument| match std::str::from_utf8(argument) {
            Ok(text) if is_argument(argument) => Ok(text.to_owned()),
            _ => Err(HeaderError::Argument),
        })
        .collect()
}

fn is_argument(argument: &[u8]) -> bool {
    !argument.is_empty() && argument.iter().all(u8::is_ascii_graphic)
}

fn parse_body(lines: &mut Lines<'_>) -> Result<Option<Vec<u8>>, HeaderError> {
    let mut body = Vec::new();
    loop {
        let Some(line) = lines.next()? else {
            return Ok(None);
        };
        if line.len() > COLUMNS {
            return Err(HeaderError::Body);
        }
        let decoded = BASE64_NOPAD.decode(line).map_err(|_| HeaderError::Body)?;
        body.extend_from_slice(&decoded);
        if line.len() < COLUMNS {
            return Ok(Some(body));
        }
    }
}

fn parse_mac(rest: &[u8]) -> Result<[u8; MAC_SIZE], HeaderError> {
    let encoded = rest.strip_prefix(b" ").ok_or(HeaderError::MacLine)?;
    BASE64_NOPAD
        .decode(encoded)
        .ok()
        .and_then(|mac| mac.try_into().ok())
        .ok_or(HeaderError::MacLine)
}
