//! The audit log: who did what, as JSON lines that each hold the hash of the one before.
//!
//! [`AuditLog`] appends; one thread writes, so that lines are whole and in order, and syncs once for all that wait.
//! [`Verifier`] reads lines again and finds what was changed, removed, added or moved. [`Entry`] can hold ids, sizes,
//! codes, addresses and the operator's own names for people: nothing that a client wrote.
//!
//! A chain without a key proves that nothing was changed before a line whose hash somebody knows. Whoever can write the
//! file can write it anew from any line on, so the hash of the last one (the head) is also told elsewhere: in the
//! server's log, at start and stop and every hour.
//!
//! Where several servers share a store, each has a log, and a chain, of its own: in a file, or in the store, piece by piece.
//!
//! Nothing is ever overwritten or cut, so the file may be append-only (`chattr +a`). A line that a crash tore is ended
//! with `#torn`, and the next line, `resumed`, holds the hash of all bytes since the last whole line.

mod chain;
mod entry;
mod log;
mod observer;
mod pieces;
mod refusals;
mod sink;
mod tail;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::store::{RecordName, StoreError};

pub use chain::{Hash, HashError, MAX_LINE};
pub use entry::{Actor, Entry, Event, LinkId};
pub use log::AuditLog;
pub use pieces::StoredLog;
pub use verify::{Damage, Verified, Verifier, VerifyError};

/// What a torn line is ended with: no JSON ends like that.
const TORN: &[u8] = b"#torn\n";

/// Why the audit log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The operating system refused.
    #[error("cannot {doing} the audit log {}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another server writes to it.
    #[error("the audit log {} is in use by another sealslot", .0.display())]
    Locked(PathBuf),
    /// Others can read or write it.
    #[error("the audit log {0} can be reached by others (mode {mode:04o}): run `chmod 600 {0}`", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Its end is no line of an audit log, so there is nothing to go on from.
    #[error(
        "the audit log {} is damaged at its end: see what `sealslot audit verify` says of it, keep it and name another file",
        .0.display()
    )]
    Damaged(PathBuf),
    /// It could not be put into the store.
    #[error("cannot write the audit log to the store")]
    Store(#[source] StoreError),
    /// Another one writes where only this server may.
    #[error(
        "somebody else writes the audit log {0} in the store: find out who; start this server anew, which begins a log of its own"
    )]
    Foreign(RecordName),
    /// The store keeps no logs, or no more of this one.
    #[error("the audit log cannot be kept in this store: name a file for it")]
    NotHere,
    /// No thread could be started.
    #[error("cannot begin to write the audit log")]
    Thread(#[source] std::io::Error),
    /// A line could not be written or made durable; the log goes on trying.
    #[error("the audit log cannot be written")]
    Failing,
}
