//! Single age files, opened as they are read: small ones, and the inner layer of what a client sealed. Their beginning is read
//! here for `age_stream` too.

use std::io::{self, Read};

use zeroize::Zeroizing;

use crate::seal::{
    ArmorDecoder, FileKey, Header, HeaderError, Identity, MAX_HEADER_SIZE, NONCE_SIZE, OpenError,
    SEALED_CHUNK_SIZE, SealError, StreamOpener, looks_armored, may_become_armored,
};

/// Chunks that are read at a time: 512 KiB.
const CHUNKS: usize = 8;

/// Why an age file could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum AgeFileError {
    /// The input could not be read.
    #[error("cannot read the input")]
    Read(#[source] io::Error),
    /// The output could not be written.
    #[error("cannot write the output")]
    Write(#[source] io::Error),
    /// Sealing failed.
    #[error("cannot seal")]
    Seal(#[from] SealError),
    /// The file does not open.
    #[error("does not open")]
    Open(#[from] OpenError),
    /// A part was asked for of a file that can only be read from its start.
    #[error("it is armored, and so there are no parts of it to be had: open all of it")]
    Armored,
}

/// Reads once, and again where a signal came first.
pub(super) fn read(input: &mut impl Read, into: &mut [u8]) -> Result<usize, AgeFileError> {
    loop {
        match input.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(AgeFileError::Read),
        }
    }
}

/// Opens one age file, binary or armored, chunk by chunk.
///
/// Every chunk that it gives is genuine; that nothing is missing is certain only when it gave `None`.
pub struct AgeReader<R> {
    source: Source<R>,
    /// Sealed bytes from the source, of which those before `start` were taken.
    sealed: Zeroizing<Vec<u8>>,
    start: usize,
    opener: Option<StreamOpener>,
}

impl<R: Read> AgeReader<R> {
    /// Reads the header and finds the file key.
    pub fn open(input: R, identities: &[Identity]) -> Result<Self, AgeFileError> {
        let begun = BegunReading::of(input, identities)?;
        let opener = Some(StreamOpener::new(&begun.file_key, begun.header.nonce()));
        Ok(Self {
            source: begun.source,
            sealed: Zeroizing::new(begun.sealed),
            start: begun.start,
            opener,
        })
    }

    /// The next chunk of plaintext; `None` at the true end of the file.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, AgeFileError> {
        let Some(opener) = &mut self.opener else {
            return Ok(None);
        };
        // One byte past the chunk tells whether it is the last.
        if self.sealed.len() - self.start <= SEALED_CHUNK_SIZE && !self.source.ended {
            self.sealed.drain(..self.start);
            self.start = 0;
            self.source
                .fill(&mut self.sealed, CHUNKS * SEALED_CHUNK_SIZE + 1)?;
        }
        let rest = &mut self.sealed[self.start..];
        if rest.is_empty() {
            if let Some(opener) = self.opener.take() {
                opener.finish().map_err(OpenError::Payload)?;
            }
            return Ok(None);
        }
        let at_end = rest.len() <= SEALED_CHUNK_SIZE;
        let size = rest.len().min(SEALED_CHUNK_SIZE);
        self.start += size;
        let chunk = opener.open_next(&mut rest[..size], at_end);
        Ok(Some(chunk.map_err(OpenError::Payload)?))
    }
}

/// An age file of which the header has been read.
pub(super) struct BegunReading<R> {
    pub(super) source: Source<R>,
    pub(super) header: Header,
    pub(super) file_key: FileKey,
    /// What has been read so far. The payload begins at `start`.
    pub(super) sealed: Vec<u8>,
    pub(super) start: usize,
}

impl<R: Read> BegunReading<R> {
    /// Reads the header and finds the file key.
    pub(super) fn of(input: R, identities: &[Identity]) -> Result<Self, AgeFileError> {
        let mut source = Source {
            input,
            armor: Armor::Unknown,
            text: Vec::new(),
            ended: false,
        };
        let mut sealed = Vec::new();
        let mut wanted = 4096;
        let (header, start) = loop {
            source.fill(&mut sealed, wanted)?;
            if let Some(found) = Header::parse(&sealed).map_err(OpenError::Header)? {
                break found;
            }
            if source.ended {
                return Err(OpenError::Header(HeaderError::Truncated).into());
            }
            wanted = (sealed.len() * 2).min(MAX_HEADER_SIZE + NONCE_SIZE);
        };
        let file_key = header.unwrap_file_key(identities)?;
        Ok(Self {
            source,
            header,
            file_key,
            sealed,
            start,
        })
    }
}

enum Armor {
    Unknown,
    None,
    On(ArmorDecoder),
    Off,
}

/// The bytes of an age file, with its armor taken off where it has one.
pub(super) struct Source<R> {
    input: R,
    armor: Armor,
    text: Vec<u8>,
    ended: bool,
}

impl<R: Read> Source<R> {
    /// Whether there is no armor, so that [`Source::read`] gives what is sealed.
    pub(super) fn is_binary(&self) -> bool {
        matches!(self.armor, Armor::None)
    }

    /// Reads once. Only for an input without armor.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, AgeFileError> {
        if self.ended {
            return Ok(0);
        }
        let size = read(&mut self.input, into)?;
        self.ended = size == 0;
        Ok(size)
    }

    /// The reader below.
    pub(super) fn into_inner(self) -> R {
        self.input
    }

    /// Reads until `bytes` holds at least `wanted`, or the input ends.
    pub(super) fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> Result<(), AgeFileError> {
        while bytes.len() < wanted && !self.ended {
            match &mut self.armor {
                Armor::Unknown => {
                    let size = bytes.len();
                    self.read_binary(bytes, (size + 64).max(wanted))?;
                    self.recognise(bytes)?;
                }
                Armor::None | Armor::Off => self.read_binary(bytes, wanted)?,
                Armor::On(_) => self.read_text(bytes)?,
            }
        }
        Ok(())
    }

    fn read_binary(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> Result<(), AgeFileError> {
        let before = bytes.len();
        bytes.resize(wanted.max(before), 0);
        let size = read(&mut self.input, &mut bytes[before..])?;
        bytes.truncate(before + size);
        self.ended = size == 0;
        Ok(())
    }

    /// Tells from the first bytes whether the file is armored; if so, they were text.
    fn recognise(&mut self, bytes: &mut Vec<u8>) -> Result<(), AgeFileError> {
        if may_become_armored(bytes) && !self.ended {
            return Ok(());
        }
        if !looks_armored(bytes) {
            self.armor = Armor::None;
            return Ok(());
        }
        let mut decoder = ArmorDecoder::new();
        let text = std::mem::take(bytes);
        decoder.push(&text, bytes).map_err(OpenError::Armor)?;
        self.armor = Armor::On(decoder);
        self.end_armor(bytes)
    }

    fn read_text(&mut self, bytes: &mut Vec<u8>) -> Result<(), AgeFileError> {
        self.text.resize(SEALED_CHUNK_SIZE, 0);
        let size = read(&mut self.input, &mut self.text)?;
        self.ended = size == 0;
        if let Armor::On(decoder) = &mut self.armor {
            decoder
                .push(&self.text[..size], bytes)
                .map_err(OpenError::Armor)?;
        }
        self.end_armor(bytes)
    }

    fn end_armor(&mut self, bytes: &mut Vec<u8>) -> Result<(), AgeFileError> {
        if self.ended
            && let Armor::On(decoder) = std::mem::replace(&mut self.armor, Armor::Off)
        {
            decoder.finish(bytes).map_err(OpenError::Armor)?;
        }
        Ok(())
    }
}
