//! What of a segment has not been sent yet, and what is on its way.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bucket::PutPayload;
use super::budget::Held;
use crate::memory::Block;
use crate::store::StoreError;

/// What comes first is kept in memory that grows with it, up to this size.
const SMALL: usize = 64 << 10;

/// What follows it is kept in pieces of this size, as it comes.
const PIECE: usize = 512 << 10;

/// How long parts may be on their way, with all that is tried again. The bucket gives up on each of them long before.
const LONGEST_WAY: Duration = Duration::from_mins(10);

/// Bytes that wait to be sent. It takes as much memory as they do, however much they may become.
#[derive(Default)]
pub(super) struct Buffer {
    first: Vec<u8>,
    pieces: Vec<Piece>,
    size: u64,
}

impl Buffer {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn push(&mut self, mut data: &[u8]) {
        self.size += data.len() as u64;
        if self.pieces.is_empty() {
            let room = SMALL - self.first.len();
            self.first
                .extend_from_slice(data.split_off(..room.min(data.len())).unwrap_or_default());
        }
        while !data.is_empty() {
            match self.pieces.last_mut() {
                Some(last) if last.size < PIECE => last.fill(&mut data),
                _ => self.pieces.push(Piece::default()),
            }
        }
    }

    /// What is in it, as the body of a request, and nothing is in it any more. `held` goes back when that body is gone.
    pub(super) fn take(&mut self, under_way: &UnderWay, held: Option<Held>) -> PutPayload {
        let Self { first, pieces, .. } = std::mem::take(self);
        let ticket = Arc::new(under_way.enter(held));
        let first =
            (!first.is_empty()).then(|| Bytes::from_owner(Sent(first, Arc::clone(&ticket))));
        let pieces = pieces
            .into_iter()
            .map(|piece| Bytes::from_owner(Sent(piece, Arc::clone(&ticket))));
        first.into_iter().chain(pieces).collect()
    }
}

/// Memory of one size, mapped by itself: the system has it back as soon as it is sent.
struct Piece {
    bytes: Block,
    size: usize,
}

impl Default for Piece {
    fn default() -> Self {
        Self {
            bytes: Block::zeroed(PIECE),
            size: 0,
        }
    }
}

impl Piece {
    /// Copies as much of `data` as fits, and moves `data` past it.
    fn fill(&mut self, data: &mut &[u8]) {
        let room = &mut self.bytes[self.size..];
        let size = room.len().min(data.len());
        room[..size].copy_from_slice(&data[..size]);
        self.size += size;
        *data = &data[size..];
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

/// Part of a body that is under way.
struct Sent<T>(T, #[expect(dead_code, reason = "is held")] Arc<Ticket>);

impl<T: AsRef<[u8]>> AsRef<[u8]> for Sent<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// Counts the bodies of one segment that are on their way to the engine and so still in memory.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<(Mutex<usize>, Condvar)>);

impl UnderWay {
    fn enter(&self, held: Option<Held>) -> Ticket {
        self.change(|count| *count += 1);
        Ticket {
            under_way: self.clone(),
            _held: held,
        }
    }

    fn change(&self, change: impl FnOnce(&mut usize)) {
        change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Waits until all of them have arrived, or failed.
    pub(super) fn wait(&self) -> Result<(), StoreError> {
        let until = Instant::now() + LONGEST_WAY;
        let mut count = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StoreError::Unavailable {
                    source: io::Error::from(io::ErrorKind::TimedOut).into(),
                });
            }
            let waited = self.0.1.wait_timeout(count, left);
            (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

/// A body on its way.
struct Ticket {
    under_way: UnderWay,
    _held: Option<Held>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.under_way.change(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::s3::budget::Budget;

    fn bytes(body: &PutPayload) -> Vec<u8> {
        body.iter().flatten().copied().collect()
    }

    #[test]
    fn pieces_follow_each_other() {
        let mut buffer = Buffer::default();
        let mut expected = Vec::new();
        for size in [3, 0, SMALL, 1, SMALL - 1, PIECE - 1, 2 * PIECE, 5] {
            let piece = vec![u8::try_from(size % 251).unwrap(); size];
            buffer.push(&piece);
            expected.extend(piece);
        }
        assert_eq!(buffer.size(), expected.len() as u64);
        let under_way = UnderWay::default();
        let body = buffer.take(&under_way, None);
        assert_eq!(bytes(&body), expected);
        assert_eq!(
            (buffer.size(), bytes(&buffer.take(&under_way, None)).len()),
            (0, 0)
        );
    }

    #[test]
    fn a_body_holds_its_memory_until_it_is_gone() {
        let budget = Budget::new(10);
        let under_way = UnderWay::default();
        let mut buffer = Buffer::default();
        buffer.push(b"0123456789");
        let body = buffer.take(&under_way, budget.try_take(10));
        let copy = body.clone();
        drop(body);
        assert!(budget.try_take(1).is_none());
        let waiting = under_way.clone();
        let waited = std::thread::spawn(move || waiting.wait());
        drop(copy);
        waited.join().unwrap().unwrap();
        assert!(budget.try_take(10).is_some());
    }
}
