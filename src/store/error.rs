//! What can go wrong in a store.

use std::io;
use std::path::PathBuf;

use super::records::RecordName;
use super::sealed_file::{MAX_SEGMENTS, SealedFile};

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such published upload, or no such file in it.
    #[error(
        "not found: it was never stored, or it was deleted or has expired; list the store to see what it holds"
    )]
    NotFound,

    /// The id, or the segment of a staged upload, is taken. Nothing was replaced.
    #[error("this id is taken already and nothing was replaced; start again under a new id")]
    Exists,

    /// A segment number past the last that an upload can have.
    #[error(
        "an upload has at most {MAX_SEGMENTS} segments; finish this one and send the rest as another"
    )]
    TooManySegments,

    /// The disk, a quota or a file size limit is exhausted.
    #[error("the store is full; free some space or raise its quota, then send again")]
    Full {
        /// Which limit it was.
        source: io::Error,
    },

    /// As much is stored as may be.
    #[error(
        "the store keeps as much as its quota allows; delete something or raise it, then send again"
    )]
    QuotaReached,

    /// Another process holds the data folder.
    #[error("{} is in use by another sealslot; stop that one or choose another data folder", folder.display())]
    Locked {
        /// The data folder.
        folder: PathBuf,
    },

    /// Something in an upload's place that this store did not put there: a foreign name, a link, a device.
    #[error("{} does not belong in an upload; look where it came from and move it away", path.display())]
    UnexpectedFile {
        /// Where it is.
        path: PathBuf,
    },

    /// The file that was being read is not the upload's any more: it was deleted, or sealed anew to other keys.
    #[error("it was deleted or sealed anew while it was read; read it again")]
    Replaced,

    /// The file system has no way to put one folder into the place of another in one step.
    #[error(
        "the file system of the data folder cannot exchange two folders in one step, which sealing segments anew needs; seal the manifests anew without them, or move the data folder to another file system"
    )]
    CannotExchange,

    /// What was to be published could not be written down first where all of it is. Nothing was published.
    #[error("it could not be written down before it was published, so it was not")]
    Unrecorded,

    /// Another server goes on with the upload: what was to be noted of it here does not count.
    #[error("another server went on with the upload; ask where it stands, and go on from there")]
    Overtaken,

    /// What stores does not answer, or says that it cannot at the moment.
    #[error("the store does not answer at the moment; try again in a while")]
    Unavailable {
        /// What it was.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A record that servers keep for themselves and that cannot be understood.
    #[error(
        "the record {name} of {collection} cannot be understood; stop every server, update all of them to one version, or remove it where that does not help, and start again"
    )]
    DamagedRecord {
        /// Its collection.
        collection: &'static str,
        /// Which one.
        name: RecordName,
    },

    /// What stores does not do what it is asked, and will not when it is asked again.
    #[error("cannot {doing} {place}")]
    Refused {
        /// What was tried, as a verb.
        doing: &'static str,
        /// With what.
        place: String,
        /// Why not, and what to do about it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Publishing failed after it had begun to make uploads visible: some may be, and may or may not stay so.
    #[error(
        "an upload may or may not have been published; list the store to see, before sending it again"
    )]
    Unsettled {
        /// What failed.
        source: Box<StoreError>,
    },

    /// What is stored lies elsewhere, and did not come from there.
    #[error("cannot fetch {file}")]
    Elsewhere {
        /// Which file.
        file: SealedFile,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// Any other failure of the operating system.
    #[error("cannot {doing} {}; check the disk, and the owner and permissions of the folder", path.display())]
    Io {
        /// What was tried, as a verb: "create", "sync".
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl StoreError {
    /// An error of the operating system, with lack of space told apart from the rest.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let source = source.into();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::Full { source },
            _ => Self::Io {
                doing,
                path: path.into(),
                source,
            },
        }
    }
}

/// A text that is not a name this store gives. Nothing is accepted that would not be written the same way again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an upload id.
    #[error(
        "not an upload id: expected 32 characters of lowercase base32hex, as given in the receipt"
    )]
    Id,
    /// Not a day.
    #[error("not a day: expected a date like 2026-11-23")]
    Day,
    /// Not the name of a segment.
    #[error(
        "not the name of a segment: expected four digits, and a tag behind a dash where there is one"
    )]
    Segment,
    /// Not a sealed file.
    #[error("not a sealed file: expected meta.age or a segment like 0000.age")]
    File,
    /// Not the name of a record.
    #[error("not the name of a record: expected 1 to 64 characters of 0-9, a-z and -")]
    Record,
    /// Not a server's id.
    #[error("not a server's id: expected 16 characters of lowercase base32hex")]
    Node,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn lack_of_space_is_told_apart() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
            assert!(
                matches!(StoreError::io("write", "x", errno), StoreError::Full { .. }),
                "{errno}"
            );
        }
        for errno in [
            Errno::IO,
            Errno::ACCESS,
            Errno::NOENT,
            Errno::MFILE,
            Errno::ROFS,
        ] {
            assert!(
                matches!(StoreError::io("write", "x", errno), StoreError::Io { .. }),
                "{errno}"
            );
        }
    }
}
