//! Where the lines go, as the one thread sees it that writes them.

use std::time::SystemTime;

use super::AuditError;
use super::chain::Hash;
use super::entry::Entry;

/// An entry with the time at which it was given.
pub(super) struct Stamped {
    pub(super) time: SystemTime,
    pub(super) entry: Entry,
}

/// Takes lines in, one chain of them.
pub(super) trait Sink: Send {
    /// Comes before each round of writing: goes on elsewhere where that was asked for.
    fn follow(&mut self) -> Result<(), AuditError> {
        Ok(())
    }

    /// Writes entries, as far as it can be done: how many are whole, and what stopped it. What is not comes again, in front of what
    /// follows it.
    fn write(&mut self, entries: &[Stamped]) -> (usize, Result<(), AuditError>);

    /// Makes durable what was written.
    fn sync(&self) -> Result<(), AuditError>;

    /// Number and hash of the last whole line.
    fn head(&self) -> (u64, Hash);

    /// Whether entries that nobody waits for are gathered for a while, since each write costs a request.
    fn gathers(&self) -> bool {
        false
    }
}
