//! Single age files as streams: what the commands seal and open, and the inner layer of what a client sealed.

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

use crate::seal::{
    self, ArmorDecoder, ArmorEncoder, Begun, ChunkBuffer, Header, HeaderError, Identity,
    MAX_HEADER_SIZE, NONCE_SIZE, OpenError, Recipient, SEALED_CHUNK_SIZE, SealError, StreamOpener,
    looks_armored, may_become_armored,
};

/// Chunks that are read or written at a time: 512 KiB.
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

/// Seals all of `input` as one age file, and gives the number of bytes that were in it.
pub fn seal_stream(
    input: &mut impl Read,
    output: &mut impl Write,
    recipients: &[Recipient],
    armored: bool,
) -> Result<u64, AgeFileError> {
    let Begun {
        prefix, mut sealer, ..
    } = seal::begin(recipients, &[])?;
    let mut output = Output {
        inner: output,
        armor: armored.then(ArmorEncoder::new),
        text: Vec::new(),
    };
    output.write(&prefix)?;
    let mut buffer = ChunkBuffer::new(CHUNKS);
    let mut size = 0;
    loop {
        fill(input, &mut buffer)?;
        size += buffer.len() as u64;
        // A full buffer may end with the last chunk: one byte more tells.
        let mut ahead = [0];
        if !buffer.is_full() || read(input, &mut ahead)? == 0 {
            output.write(buffer.seal_last(sealer)?)?;
            output.finish()?;
            return Ok(size);
        }
        output.write(buffer.seal(&mut sealer)?)?;
        buffer.fill(&mut &ahead[..]);
    }
}

fn fill(input: &mut impl Read, buffer: &mut ChunkBuffer) -> Result<(), AgeFileError> {
    while !buffer.is_full() {
        let size = read(input, buffer.spare(CHUNKS * SEALED_CHUNK_SIZE))?;
        if size == 0 {
            break;
        }
        buffer.advance(size);
    }
    Ok(())
}

/// Reads once, and again where a signal came first.
fn read(input: &mut impl Read, into: &mut [u8]) -> Result<usize, AgeFileError> {
    loop {
        match input.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(AgeFileError::Read),
        }
    }
}

struct Output<'a, W> {
    inner: &'a mut W,
    armor: Option<ArmorEncoder>,
    text: Vec<u8>,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), AgeFileError> {
        let Some(armor) = &mut self.armor else {
            return self.inner.write_all(bytes).map_err(AgeFileError::Write);
        };
        self.text.clear();
        armor.push(bytes, &mut self.text);
        self.inner
            .write_all(&self.text)
            .map_err(AgeFileError::Write)
    }

    fn finish(mut self) -> Result<(), AgeFileError> {
        if let Some(armor) = self.armor.take() {
            self.text.clear();
            armor.finish(&mut self.text);
            self.inner
                .write_all(&self.text)
                .map_err(AgeFileError::Write)?;
        }
        self.inner.flush().map_err(AgeFileError::Write)
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
        let mut source = Source {
            input,
            armor: Armor::Unknown,
            text: Vec::new(),
            ended: false,
        };
        let mut sealed = Zeroizing::new(Vec::with_capacity(CHUNKS * SEALED_CHUNK_SIZE + 1));
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
        let opener = Some(StreamOpener::new(&file_key, header.nonce()));
        Ok(Self {
            source,
            sealed,
            start,
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

enum Armor {
    Unknown,
    None,
    On(ArmorDecoder),
    Off,
}

/// The bytes of an age file, with its armor taken off where it has one.
struct Source<R> {
    input: R,
    armor: Armor,
    text: Vec<u8>,
    ended: bool,
}

impl<R: Read> Source<R> {
    /// Reads until `bytes` holds at least `wanted`, or the input ends.
    fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> Result<(), AgeFileError> {
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
