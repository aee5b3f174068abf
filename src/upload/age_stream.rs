//! Whole age files from a reader to a writer, on all cores.

use std::io::{self, IoSlice, Read, Write};
use std::marker::PhantomData;

use zeroize::Zeroizing;

use super::age_file::{AgeFileError, BegunReading, Source, read};
use super::relay::{self, Pieces, Taken};
use crate::seal::{
    self, ArmorEncoder, Begun, ChunkBuffer, Identity, OpenError, OpenedRun, PayloadOpener,
    PayloadSealer, Recipient, RunOrder, SEALED_CHUNK_SIZE, SealTicket,
};

/// Chunks that are read, sealed or opened, and written at a time: 512 KiB. They fit into a core's own cache, and more would
/// let the bytes of a slow input wait for longer.
const CHUNKS: usize = 8;
const RUN_SIZE: usize = CHUNKS * SEALED_CHUNK_SIZE;
/// What a buffer for sealed bytes holds at first: a small file touches little memory.
const FIRST_SIZE: usize = 16 * 1024;

/// What there is when a file was sealed or opened to its end.
pub struct Streamed<R, W> {
    /// The reader, at its end.
    pub input: R,
    /// The writer, flushed.
    pub output: W,
    /// Bytes of plaintext.
    pub size: u64,
}

/// Seals all of `input` as one age file, binary or armored. An error may come after some was written.
pub fn seal_stream<R, W>(
    input: R,
    output: W,
    recipients: &[Recipient],
    armored: bool,
) -> Result<Streamed<R, W>, AgeFileError>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let begun = seal::begin(recipients, &[])?;
    seal_begun(begun, input, output, armored, relay::threads())
}

fn seal_begun<R, W>(
    begun: Begun,
    input: R,
    output: W,
    armored: bool,
    threads: usize,
) -> Result<Streamed<R, W>, AgeFileError>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let mut output = Armored {
        inner: output,
        armor: armored.then(ArmorEncoder::new),
        text: Vec::new(),
    };
    output.write(&begun.prefix)?;
    let input = Plain {
        input,
        sealer: Some(begun.sealer),
        ahead: None,
        size: 0,
    };
    let (input, output) = relay::run(Seal(PhantomData), input, output, threads)?;
    Ok(Streamed {
        input: input.input,
        output: output.inner,
        size: input.size,
    })
}

struct Seal<R, W>(PhantomData<fn(R, W)>);

/// What is to be sealed.
struct Plain<R> {
    input: R,
    /// `None` when the last chunks have got their numbers.
    sealer: Option<PayloadSealer>,
    /// A byte that was read to know that something follows.
    ahead: Option<u8>,
    size: u64,
}

impl<R, W> Pieces for Seal<R, W>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    type Input = Plain<R>;
    type Output = Armored<W>;
    type Buffer = ChunkBuffer;
    type Task = SealTicket;
    type Done<'a> = (&'a [u8], bool);
    type Error = AgeFileError;

    fn buffer(&self) -> ChunkBuffer {
        ChunkBuffer::new(CHUNKS)
    }

    fn take(
        &self,
        plain: &mut Plain<R>,
        buffer: &mut ChunkBuffer,
    ) -> Result<Taken<SealTicket>, AgeFileError> {
        buffer.fill(&mut plain.ahead.take().as_slice());
        while !buffer.is_full() {
            let size = read(&mut plain.input, buffer.spare(RUN_SIZE))?;
            if size == 0 {
                break;
            }
            buffer.advance(size);
        }
        plain.size += buffer.len() as u64;
        // A full buffer may end with the last chunk: one byte more tells.
        let mut ahead = [0];
        if buffer.is_full() && read(&mut plain.input, &mut ahead)? > 0 {
            plain.ahead = Some(ahead[0]);
            let sealer = plain
                .sealer
                .as_mut()
                .expect("the last chunk is not reached");
            return Ok(Taken::Piece(sealer.ticket(buffer)?));
        }
        let sealer = plain.sealer.take().expect("the last chunk comes once");
        Ok(Taken::Last(sealer.last_ticket()))
    }

    fn work<'a>(
        &self,
        ticket: SealTicket,
        buffer: &'a mut ChunkBuffer,
    ) -> Result<(&'a [u8], bool), AgeFileError> {
        let last = ticket.is_last();
        Ok((ticket.seal(buffer)?, last))
    }

    fn put(
        &self,
        output: &mut Armored<W>,
        (sealed, last): (&[u8], bool),
    ) -> Result<(), AgeFileError> {
        output.write(sealed)?;
        if last { output.finish() } else { Ok(()) }
    }
}

/// A writer, with armor around what goes to it where that is asked for.
struct Armored<W> {
    inner: W,
    armor: Option<ArmorEncoder>,
    text: Vec<u8>,
}

impl<W: Write> Armored<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), AgeFileError> {
        let bytes = match &mut self.armor {
            None => bytes,
            Some(armor) => {
                self.text.clear();
                armor.push(bytes, &mut self.text);
                &self.text
            }
        };
        self.inner.write_all(bytes).map_err(AgeFileError::Write)
    }

    fn finish(&mut self) -> Result<(), AgeFileError> {
        if let Some(armor) = self.armor.take() {
            self.text.clear();
            armor.finish(&mut self.text);
            let written = self.inner.write_all(&self.text);
            written.map_err(AgeFileError::Write)?;
        }
        self.inner.flush().map_err(AgeFileError::Write)
    }
}

/// Opens one age file, binary or armored. What is written is genuine, piece by piece; that nothing is missing is certain only
/// when it is through. An error may come after some was written.
pub fn open_stream<R, W>(
    input: R,
    output: W,
    identities: &[Identity],
) -> Result<Streamed<R, W>, AgeFileError>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    open_on(relay::threads(), input, output, identities)
}

fn open_on<R, W>(
    threads: usize,
    input: R,
    output: W,
    identities: &[Identity],
) -> Result<Streamed<R, W>, AgeFileError>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    let begun = BegunReading::of(input, identities)?;
    let opener = PayloadOpener::new(&begun.file_key, begun.header.nonce());
    let input = Sealed {
        source: begun.source,
        read: begun.sealed,
        start: begun.start,
        ahead: None,
        next: 0,
    };
    let output = Opened {
        inner: output,
        order: RunOrder::new(),
        size: 0,
    };
    let pieces = Open {
        opener,
        ends: PhantomData,
    };
    let (input, output) = relay::run(pieces, input, output, threads)?;
    Ok(Streamed {
        input: input.source.into_inner(),
        output: output.inner,
        size: output.size,
    })
}

struct Open<R, W> {
    opener: PayloadOpener,
    ends: PhantomData<fn(R, W)>,
}

/// What is to be opened.
struct Sealed<R> {
    source: Source<R>,
    /// Sealed bytes that came with others, of which those before `start` were taken.
    read: Vec<u8>,
    start: usize,
    /// A byte that was read to know that something follows.
    ahead: Option<u8>,
    /// The number of the next chunk.
    next: u64,
}

impl<R: Read> Sealed<R> {
    /// Reads some sealed bytes; none at the end.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, AgeFileError> {
        if self.start == self.read.len() {
            if self.source.is_binary() {
                return self.source.read(into);
            }
            self.read.clear();
            self.start = 0;
            self.source.fill(&mut self.read, 1)?;
        }
        let rest = &self.read[self.start..];
        let size = rest.len().min(into.len());
        into[..size].copy_from_slice(&rest[..size]);
        self.start += size;
        Ok(size)
    }
}

/// Where the plaintext goes.
struct Opened<W> {
    inner: W,
    order: RunOrder,
    size: u64,
}

/// Chunks to open in a buffer: the number of the first, the size of all, and whether nothing follows.
struct Run {
    first: u64,
    size: usize,
    at_end: bool,
}

impl<R, W> Pieces for Open<R, W>
where
    R: Read + Send + 'static,
    W: Write + Send + 'static,
{
    type Input = Sealed<R>;
    type Output = Opened<W>;
    type Buffer = Zeroizing<Vec<u8>>;
    type Task = Run;
    type Done<'a> = (OpenedRun<'a>, bool);
    type Error = AgeFileError;

    fn buffer(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(Vec::new())
    }

    fn take(
        &self,
        sealed: &mut Sealed<R>,
        buffer: &mut Zeroizing<Vec<u8>>,
    ) -> Result<Taken<Run>, AgeFileError> {
        if buffer.is_empty() {
            buffer.resize(FIRST_SIZE, 0);
        }
        let mut size = 0;
        if let Some(ahead) = sealed.ahead.take() {
            buffer[0] = ahead;
            size = 1;
        }
        // With the byte that tells whether something follows.
        while size <= RUN_SIZE {
            if size == buffer.len() {
                // Only what is sealed is moved then: a buffer that has held plaintext has its full size.
                buffer.resize((4 * size).min(RUN_SIZE + 1), 0);
            }
            match sealed.read(&mut buffer[size..])? {
                0 => break,
                more => size += more,
            }
        }
        let at_end = size <= RUN_SIZE;
        if !at_end {
            sealed.ahead = Some(buffer[RUN_SIZE]);
            size = RUN_SIZE;
        }
        let first = sealed.next;
        sealed.next = first.saturating_add(CHUNKS as u64);
        let run = Run {
            first,
            size,
            at_end,
        };
        Ok(if at_end {
            Taken::Last(run)
        } else {
            Taken::Piece(run)
        })
    }

    fn work<'a>(
        &self,
        run: Run,
        buffer: &'a mut Zeroizing<Vec<u8>>,
    ) -> Result<(OpenedRun<'a>, bool), AgeFileError> {
        let sealed = &mut buffer[..run.size];
        let opened = self.opener.open_run(run.first, sealed, run.at_end);
        Ok((opened, run.at_end))
    }

    fn put(
        &self,
        output: &mut Opened<W>,
        (run, last): (OpenedRun<'_>, bool),
    ) -> Result<(), AgeFileError> {
        let (plaintext, damage) = output.order.accept(run);
        write_all(&mut output.inner, &plaintext).map_err(AgeFileError::Write)?;
        output.size += plaintext
            .iter()
            .map(|chunk| chunk.len() as u64)
            .sum::<u64>();
        damage.map_err(OpenError::Payload)?;
        if last {
            output.order.finish().map_err(OpenError::Payload)?;
            output.inner.flush().map_err(AgeFileError::Write)?;
        }
        Ok(())
    }
}

/// Writes chunks that stand apart in memory with as few calls as the writer can do it in.
fn write_all(output: &mut impl Write, chunks: &[&[u8]]) -> io::Result<()> {
    let filled = chunks.iter().filter(|chunk| !chunk.is_empty());
    let mut slices: Vec<_> = filled.map(|chunk| IoSlice::new(chunk)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        match output.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(size) => IoSlice::advance_slices(&mut rest, size),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
