//! Copies of objects.

use super::{Bucket, Parts};
use crate::store::StoreError;

/// What is copied through here is read in such pieces.
const COPY_PIECE: u64 = 8 << 20;

impl Bucket {
    /// Copies an object, with its notes, over whatever is there: in the engine, or through here where that cannot.
    pub(in crate::store::s3) fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
        match self.wait(self.0.requests.copy(from, to)) {
            Err(error) if error.is_unsupported() => self.copy_through(from, to),
            copied => copied.map_err(|error| self.failed("copy", from, error)),
        }
    }

    fn copy_through(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let head = self.head(from)?;
        if head.size <= COPY_PIECE {
            let object = self.get(from, COPY_PIECE)?;
            return self.put(to, object.bytes, &object.notes);
        }
        let begun = self.0.requests.begin_parts(to, &head.notes);
        let id = self.call("begin", to, begun)?;
        let mut parts = Parts::new(self.clone(), to, id);
        let mut at = 0;
        while at < head.size {
            let end = head.size.min(at + COPY_PIECE);
            let sent = self.range(from, at..end).and_then(|piece| {
                if piece.len() as u64 == end - at {
                    parts.send(piece.into())
                } else {
                    Err(StoreError::Replaced)
                }
            });
            if let Err(error) = sent {
                parts.abort();
                return Err(error);
            }
            at = end;
        }
        parts.complete()
    }
}
