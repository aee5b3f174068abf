//! Logs that only grow: pieces behind each other, none of which is ever written anew.

use super::{RecordName, StoreError};

/// Bytes of the largest piece of a log.
pub const MAX_PIECE: usize = 4 << 20;

/// Keeps logs. Each has one writer, and any number of readers. All calls may block.
pub trait LogStore: Send + Sync + 'static {
    /// Puts a piece, of at most [`MAX_PIECE`] bytes, where there is none: [`StoreError::Exists`] where there is another one. The same
    /// bytes once more are fine. Durable when this returns; after an error it may be there or not.
    fn put_piece(&self, log: &RecordName, number: u32, bytes: &[u8]) -> Result<(), StoreError>;

    /// The numbers of the pieces of a log, in order, those after `after` only, at most `most`.
    fn pieces(
        &self,
        log: &RecordName,
        after: Option<u32>,
        most: usize,
    ) -> Result<Vec<u32>, StoreError>;

    /// One piece, or [`StoreError::NotFound`].
    fn piece(&self, log: &RecordName, number: u32) -> Result<Vec<u8>, StoreError>;

    /// The names of all logs, in order.
    fn log_names(&self) -> Result<Vec<RecordName>, StoreError>;
}
