//! Bodies that are read while they are sent: what is stored, in one part or in several.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::http::ReadFailure;
use crate::memory::Erased;
use crate::seal::CHUNK_SIZE;
use crate::store::ReadAt;
use crate::upload::Plaintext;

/// Bytes that are read at a time.
const BATCH: usize = 256 * 1024;
/// And at first: nothing is sent while they are read.
const FIRST_BATCH: usize = 64 * 1024;

/// Something that is read batch by batch, on a thread that may block.
pub(super) trait Source: Send + 'static {
    /// These bytes are what comes next. They are there.
    fn seek(&mut self, range: Range<u64>);

    /// The next bytes, about `most` of them and no fewer than one, in pieces; none at the end.
    fn next(&mut self, most: usize) -> Result<Vec<Bytes>, ReadFailure>;
}

impl Source for Plaintext {
    fn seek(&mut self, range: Range<u64>) {
        Self::seek(self, range);
    }

    fn next(&mut self, most: usize) -> Result<Vec<Bytes>, ReadFailure> {
        // Little is copied: what its chunk holds besides may be asked for next, and need not stay until this is sent.
        if self.remaining() < CHUNK_SIZE as u64 {
            let piece = self.next_piece()?.map(|piece| erased(piece.to_vec()));
            return Ok(piece.into_iter().collect());
        }
        Ok(self.next_pieces((most / CHUNK_SIZE).max(1))?)
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

    fn next(&mut self, most: usize) -> Result<Vec<Bytes>, ReadFailure> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(most);
        let mut piece = vec![0; left.min(most)];
        let read = self.file.read_at(&mut piece, self.range.start)?;
        piece.truncate(read);
        self.range.start += read as u64;
        Ok((read > 0).then(|| piece.into()).into_iter().collect())
    }
}

/// A part of a body.
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
    /// Bytes to read next.
    most: usize,
}

impl Reader {
    /// What is sent next, in pieces; none at the end. Words go together with what follows them: a body of many small parts is
    /// sent in few pieces.
    fn next(&mut self) -> Result<Vec<Bytes>, ReadFailure> {
        let most = std::mem::replace(&mut self.most, BATCH);
        if self.left > 0 || !matches!(self.steps.front(), Some(Step::Words(_))) {
            return self.step(most);
        }
        let (mut pieces, mut size) = (Vec::new(), 0);
        while size < most {
            let step = self.step(most)?;
            if step.is_empty() {
                break;
            }
            size += step.iter().map(Bytes::len).sum::<usize>();
            pieces.extend(step);
        }
        let mut all = Vec::with_capacity(size);
        all.extend(pieces.iter().flatten());
        Ok(vec![erased(all)])
    }

    fn step(&mut self, most: usize) -> Result<Vec<Bytes>, ReadFailure> {
        while self.left == 0 {
            match self.steps.pop_front() {
                None => return Ok(Vec::new()),
                Some(Step::Words(words)) => return Ok(vec![words.into()]),
                Some(Step::Content(range)) => {
                    self.left = range.end - range.start;
                    self.source.seek(range);
                }
            }
        }
        // A part that ended too soon would be followed by the next one as if it were whole.
        let pieces = self.source.next(most)?;
        if pieces.is_empty() {
            return Err("what is stored ended too soon".into());
        }
        self.left = self.left.saturating_sub(length_of(&pieces));
        Ok(pieces)
    }
}

/// What goes out, and may be plaintext, is erased when it has.
fn erased(bytes: Vec<u8>) -> Bytes {
    Bytes::from_owner(Erased(bytes))
}

fn length_of(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// A body that is read while it is sent, one batch ahead. An error cuts it: a length was promised, and the connection
/// breaks off before it is reached.
pub(super) struct ReadBody {
    /// Pieces to be sent next.
    ready: VecDeque<Bytes>,
    state: ReadState,
    /// Bytes to be sent, of which `unread` are not among those that are ready.
    remaining: u64,
    unread: u64,
}

/// A reader, and the batch that it read.
type ReadBatch = (Reader, Result<Vec<Bytes>, ReadFailure>);

enum ReadState {
    /// Something is ready, and nothing of it was sent yet.
    Begun(Reader),
    Reading(JoinHandle<ReadBatch>),
    Done,
}

impl ReadBody {
    /// Reads what is sent first: whoever has come to a thread that may block need not come again for that. `steps` make
    /// `length` bytes. Blocks.
    pub(super) fn new(source: Box<dyn Source>, steps: Vec<Step>, length: u64) -> Self {
        let mut reader = Reader {
            source,
            steps: steps.into(),
            left: 0,
            most: FIRST_BATCH,
        };
        let mut body = Self {
            ready: VecDeque::new(),
            state: ReadState::Done,
            remaining: length,
            unread: length,
        };
        if length > 0 {
            match reader.next() {
                Ok(pieces) if !pieces.is_empty() => {
                    body.take(pieces);
                    body.state = ReadState::Begun(reader);
                }
                // It comes as if it had come later: behind the head.
                failed => body.state = read_with(|| (reader, failed)),
            }
        }
        body
    }

    fn take(&mut self, pieces: Vec<Bytes>) {
        self.unread = self.unread.saturating_sub(length_of(&pieces));
        self.ready = pieces.into();
    }

    /// Reads on, where there is more.
    fn go_on(&mut self, mut reader: Reader) {
        self.state = if self.unread == 0 {
            ReadState::Done
        } else {
            read_with(move || {
                let read = reader.next();
                (reader, read)
            })
        };
    }

    /// The next piece of those that are ready.
    fn pop(&mut self) -> Option<Bytes> {
        let piece = self.ready.pop_front()?;
        self.remaining = self.remaining.saturating_sub(piece.len() as u64);
        Some(piece)
    }
}

fn read_with(read: impl FnOnce() -> ReadBatch + Send + 'static) -> ReadState {
    ReadState::Reading(tokio::task::spawn_blocking(read))
}

impl Body for ReadBody {
    type Data = Bytes;
    type Error = ReadFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReadFailure>>> {
        if let ReadState::Begun(_) = &self.state
            && let ReadState::Begun(reader) = std::mem::replace(&mut self.state, ReadState::Done)
        {
            self.go_on(reader);
        }
        if let Some(piece) = self.pop() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let ReadState::Reading(job) = &mut self.state else {
            return Poll::Ready(None);
        };
        let done = ready!(Pin::new(job).poll(cx));
        self.state = ReadState::Done;
        let error = match done {
            Ok((reader, Ok(pieces))) if !pieces.is_empty() => {
                self.take(pieces);
                self.go_on(reader);
                let piece = self.pop();
                return Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))));
            }
            Ok((_, Ok(_))) => "the body ended too soon".into(),
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
        self.ready.is_empty() && matches!(self.state, ReadState::Done)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
