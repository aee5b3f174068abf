//! Where the sealed records of unfinished uploads are kept (DESIGN.md section 4.3).

use std::ops::Range;
use std::time::SystemTime;

use super::{StoreError, UploadId};

/// Bytes of one entry. All entries have this size, so that any of them is found without reading the others.
pub const ENTRY_SIZE: usize = 1024;

/// One entry of a session record, sealed by whoever writes it.
pub type EntryBytes = [u8; ENTRY_SIZE];

/// The record of an upload that may come in several requests: a head, written once, and entries that are put behind each
/// other. What is in them is sealed; the store does not know it. All calls may block.
pub trait SessionStore {
    /// Keeps the head of a new record. Durable when this returns; a record that is there already is
    /// [`StoreError::Exists`], and is left as it is.
    fn create_session(&self, id: &UploadId, head: &[u8]) -> Result<(), StoreError>;

    /// The head as it was written, or [`StoreError::NotFound`].
    fn session_head(&self, id: &UploadId) -> Result<Vec<u8>, StoreError>;

    /// Puts entry `number` behind those before it. Durable when this returns.
    ///
    /// `number` is that of the last whole entry and one more: what an interruption left in its place is replaced. In a store that
    /// several servers share, what another one has put there since is [`StoreError::Overtaken`], and stays.
    /// After an error the entry may be there in part, or as if it had not been put.
    fn put_entry(&self, id: &UploadId, number: u32, entry: &EntryBytes) -> Result<(), StoreError>;

    /// The last entries, at most `most` of them, in order, with the number of the first of them. The very last one may be one
    /// whose writing was interrupted.
    fn last_entries(&self, id: &UploadId, most: u32) -> Result<(u32, Vec<EntryBytes>), StoreError>;

    /// Entries from number `first` on, in order, at most `most` of them, fewer only at the end.
    fn entries(&self, id: &UploadId, first: u32, most: u32) -> Result<Vec<EntryBytes>, StoreError>;

    /// Puts one entry, as number 0, in place of all that there are: what only they say is forgotten. Durable when this returns.
    ///
    /// Whatever interrupts it, either they or it are there.
    fn replace_entries(&self, id: &UploadId, entry: &EntryBytes) -> Result<(), StoreError>;

    /// The ids of all records, in no order.
    fn sessions(&self) -> Result<Vec<UploadId>, StoreError>;

    /// The ids of the records of uploads that began in this time, in order.
    fn sessions_begun(&self, within: Range<SystemTime>) -> Result<Vec<UploadId>, StoreError> {
        let mut ids = self.sessions()?;
        ids.retain(|id| within.contains(&id.time()));
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes a record, its head first: from then on it is gone for good. No record is fine.
    fn remove_session(&self, id: &UploadId) -> Result<(), StoreError>;
}
