//! Bodies that are read while they are sent: what is stored, in one part or in several.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::http::ReadFailure;
use crate::store::ReadAt;
use crate::upload::Plaintext;

/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// Something that is read piece by piece, on a thread that may block.
pub(super) trait Source: Send + 'static {
    /// These bytes are what comes next. They are there.
    fn seek(&mut self, range: Range<u64>);

    /// The next piece, at most [`PIECE`] bytes; `None` at the end.
    fn next(&mut self) -> Result<Option<Bytes>, ReadFailure>;
}

impl Source for Plaintext {
    fn seek(&mut self, range: Range<u64>) {
        Self::seek(self, range);
    }

    fn next(&mut self) -> Result<Option<Bytes>, ReadFailure> {
        let left = usize::try_from(self.remaining()).unwrap_or(PIECE);
        let mut piece = Vec::with_capacity(left.min(PIECE));
        while piece.len() + crate::seal::CHUNK_SIZE <= PIECE {
            match self.next_piece()? {
                Some(chunk) => piece.extend_from_slice(chunk),
                None => break,
            }
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// A file as it is stored.
pub(super) struct Stored {
    file: Box<dyn ReadAt>,
    range: Range<u64>,
}

impl Stored {
    pub(super) fn new(file: Box<dyn ReadAt>) -> Self {
        Self { file, range: 0..0 }
    }
}

impl Source for Stored {
    fn seek(&mut self, range: Range<u64>) {
        self.range = range;
    }

    fn next(&mut self) -> Result<Option<Bytes>, ReadFailure> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(PIECE);
        let mut piece = vec![0; left.min(PIECE)];
        let read = self.file.read_at(&mut piece, self.range.start)?;
        piece.truncate(read);
        self.range.start += read as u64;
        Ok((read > 0).then(|| piece.into()))
    }
}

/// A piece of a body.
pub(super) enum Step {
    /// Words of our own: what separates the parts.
    Words(Vec<u8>),
    /// These bytes of what is stored.
    Content(Range<u64>),
}

/// Goes through the steps of a body.
struct Reader {
    source: Box<dyn Source>,
    steps: VecDeque<Step>,
    /// Bytes that the step under way has left.
    left: u64,
}

impl Reader {
    /// What is sent next; `None` at the end. Words go together with what follows them: a body of many small parts is sent in
    /// few pieces.
    fn next(&mut self) -> Result<Option<Bytes>, ReadFailure> {
        if self.left > 0 || !matches!(self.steps.front(), Some(Step::Words(_))) {
            return self.step();
        }
        let mut piece = Vec::new();
        while piece.len() < PIECE
            && let Some(more) = self.step()?
        {
            piece.extend_from_slice(&more);
        }
        Ok(Some(piece.into()))
    }

    fn step(&mut self) -> Result<Option<Bytes>, ReadFailure> {
        while self.left == 0 {
            match self.steps.pop_front() {
                None => return Ok(None),
                Some(Step::Words(words)) => return Ok(Some(words.into())),
                Some(Step::Content(range)) => {
                    self.left = range.end - range.start;
                    self.source.seek(range);
                }
            }
        }
        // A part that ended too soon would be followed by the next one as if it were whole.
        let piece = self.source.next()?.ok_or("what is stored ended too soon")?;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(Some(piece))
    }
}

/// A body that is read while it is sent, one piece ahead. An error cuts it: a length was promised, and the connection
/// breaks off before it is reached.
pub(super) struct ReadBody {
    state: ReadState,
    remaining: u64,
}

/// A reader, and the piece that it read.
type ReadPiece = (Reader, Result<Option<Bytes>, ReadFailure>);

enum ReadState {
    Reading(JoinHandle<ReadPiece>),
    Done,
}

impl ReadBody {
    /// Begins to read. `steps` make `length` bytes.
    pub(super) fn new(source: Box<dyn Source>, steps: Vec<Step>, length: u64) -> Self {
        let reader = Reader {
            source,
            steps: steps.into(),
            left: 0,
        };
        let state = if length == 0 {
            ReadState::Done
        } else {
            read_ahead(reader)
        };
        Self {
            state,
            remaining: length,
        }
    }
}

fn read_ahead(mut reader: Reader) -> ReadState {
    ReadState::Reading(tokio::task::spawn_blocking(move || {
        let piece = reader.next();
        (reader, piece)
    }))
}

impl Body for ReadBody {
    type Data = Bytes;
    type Error = ReadFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadFailure>>> {
        let ReadState::Reading(job) = &mut self.state else {
            return Poll::Ready(None);
        };
        let done = ready!(Pin::new(job).poll(cx));
        self.state = ReadState::Done;
        let error = match done {
            Ok((reader, Ok(Some(piece)))) => {
                self.remaining = self.remaining.saturating_sub(piece.len() as u64);
                if self.remaining > 0 {
                    self.state = read_ahead(reader);
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            Ok((_, Ok(None))) => "the body ended too soon".into(),
            Ok((_, Err(error))) => error,
            Err(error) => error.into(),
        };
        tracing::error!(
            error = &*error as &dyn std::error::Error,
            "a download was cut"
        );
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, ReadState::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
