//! Copies of objects.

use super::{Bucket, Head, Parts};
use crate::store::StoreError;

/// What is copied through here is read in such pieces.
const COPY_PIECE: u64 = 8 << 20;

impl Bucket {
    /// Copies an object, with its notes, over whatever is there: in the engine, or through here where that cannot. Says beside it
    /// whether that is certain, as [`put_surely`](Self::put_surely) does.
    pub(in crate::store::s3) fn copy_surely(
        &self,
        from: &str,
        to: &str,
    ) -> (Result<(), StoreError>, bool) {
        match self.wait(self.0.requests.copy(from, to)) {
            Err(error) if error.is_unsupported() => {
                let (copied, is_certain) = self.copy_through(from, to);
                (copied, is_certain && !error.is_after_doubt())
            }
            copied => self.surely("copy", from, copied),
        }
    }

    fn copy_through(&self, from: &str, to: &str) -> (Result<(), StoreError>, bool) {
        let head = match self.head(from) {
            Ok(head) => head,
            Err(error) => return (Err(error), true),
        };
        if head.size <= COPY_PIECE {
            return match self.get(from, COPY_PIECE) {
                Ok(object) => self.put_surely(to, object.bytes, &object.notes),
                Err(error) => (Err(error), true),
            };
        }
        let mut parts = match self.begin_copy(to, &head) {
            Ok(parts) => parts,
            Err(error) => return (Err(error), true),
        };
        let (copied, is_certain) = match self.send_copy(&mut parts, from, head.size) {
            Ok(()) => parts.complete(),
            Err(error) => (Err(error), true),
        };
        if copied.is_err() && is_certain {
            parts.abort();
        }
        (copied, is_certain)
    }

    fn begin_copy(&self, to: &str, head: &Head) -> Result<Parts, StoreError> {
        let begun = self.0.requests.begin_parts(to, &head.notes);
        let id = self.call("begin", to, begun)?;
        Ok(Parts::new(self.clone(), to, id))
    }

    fn send_copy(&self, parts: &mut Parts, from: &str, size: u64) -> Result<(), StoreError> {
        let mut at = 0;
        while at < size {
            let end = size.min(at + COPY_PIECE);
            let piece = self.range(from, at..end)?;
            if piece.len() as u64 != end - at {
                return Err(StoreError::Replaced);
            }
            parts.send(piece.into())?;
            at = end;
        }
        Ok(())
    }
}
