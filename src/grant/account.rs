//! What a link has left: reserved before an upload is created, counted when it is finished, given back when it is not.
//!
//! Each of these changes one [`Link`] and nothing else. What is used and what is reserved never exceed a limit together, and
//! each step may be taken again without counting twice.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{GrantError, Link, json};
use crate::store::UploadId;

/// How many reservations a link has at most: its record is written anew with each change, and must stay small.
pub const MAX_RESERVATIONS: usize = 2_000;

/// What something is reserved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A file, which is one upload.
    File,
    /// The text fields of a form. They are no upload of their own, and a link takes as many of them as uploads.
    Fields,
    /// A part of a file that is put together from several later. Only its bytes count.
    Part,
}

/// How much was handed in or is reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Files.
    pub uploads: u64,
    /// Bytes of everything.
    pub bytes: u64,
    /// Forms with text fields.
    pub fields: u64,
}

impl Usage {
    fn add(&mut self, what: What, bytes: u64) {
        match what {
            What::File => self.uploads = self.uploads.saturating_add(1),
            What::Fields => self.fields = self.fields.saturating_add(1),
            What::Part => {}
        }
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What an upload that is under way may still use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// What for.
    pub what: What,
    /// How many bytes.
    pub bytes: u64,
    /// When somebody should look what became of the upload.
    #[serde(with = "json::time")]
    pub until: SystemTime,
}

/// What became of an upload that something is reserved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is published, and has so many bytes.
    Published(u64),
    /// It may still be finished.
    InProgress,
    /// It will never be.
    Gone,
}

/// Why a link does not take something.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such link.
    #[error("there is no such link")]
    Unknown,
    /// It takes nothing new any more.
    #[error("the link has expired")]
    Expired,
    /// It takes nothing any more.
    #[error("the link was revoked")]
    Revoked,
    /// It takes so many uploads and has them, or will have.
    #[error("the link takes no more uploads")]
    UploadsUsedUp,
    /// It takes so many bytes and has them, or will have.
    #[error("the link takes no more than {left} more bytes")]
    BytesUsedUp {
        /// How many more it would take.
        left: u64,
    },
    /// Too many uploads are under way through it.
    #[error("too many uploads are under way through this link; finish some first")]
    TooManyAtOnce,
    /// Nothing is reserved for the upload (any more).
    #[error("nothing is reserved for this upload")]
    NotReserved,
    /// Whether it may be taken could not be told, so it is not.
    #[error(transparent)]
    Failed(#[from] GrantError),
}

impl Link {
    /// How much is reserved in all.
    pub fn reserved_usage(&self) -> Usage {
        let mut usage = Usage::default();
        for reservation in self.reserved.values() {
            usage.add(reservation.what, reservation.bytes);
        }
        usage
    }

    /// How many more bytes may be reserved; `None`: any number.
    pub fn bytes_left(&self) -> Option<u64> {
        let taken = self.used.bytes.saturating_add(self.reserved_usage().bytes);
        self.max_bytes.map(|max| max.saturating_sub(taken))
    }

    /// How many more bytes of parts may be reserved: no more than the files that they can become. `None`: any number.
    fn part_bytes_left(&self) -> Option<u64> {
        let uploads = self.max_uploads?;
        let uploads = uploads.saturating_sub(self.used.uploads);
        let uploads = uploads.saturating_sub(self.reserved_usage().uploads);
        let parts = self.reserved.values();
        let parts = parts.filter(|reservation| reservation.what == What::Part);
        let taken = parts.fold(0_u64, |sum, part| sum.saturating_add(part.bytes));
        Some(uploads.saturating_mul(self.max_file?).saturating_sub(taken))
    }

    fn check_bytes(&self, what: What, bytes: u64) -> Result<(), Refused> {
        if what == What::Part {
            match self.part_bytes_left() {
                Some(left) if bytes > left => return Err(Refused::BytesUsedUp { left }),
                _ => {}
            }
        }
        match self.bytes_left() {
            Some(left) if bytes > left => Err(Refused::BytesUsedUp { left }),
            _ => Ok(()),
        }
    }

    fn check_count(&self, what: What, bytes: u64) -> Result<(), Refused> {
        if self.reserved.len() >= MAX_RESERVATIONS {
            return Err(Refused::TooManyAtOnce);
        }
        let reserved = self.reserved_usage();
        let taken = match what {
            What::File => self.used.uploads.saturating_add(reserved.uploads),
            What::Fields => self.used.fields.saturating_add(reserved.fields),
            // All the files that it takes are there, or on their way in parts.
            What::Part if bytes > 0 && self.part_bytes_left() == Some(0) => {
                return Err(Refused::UploadsUsedUp);
            }
            What::Part => return Ok(()),
        };
        match self.max_uploads {
            Some(max) if taken >= max => Err(Refused::UploadsUsedUp),
            _ => Ok(()),
        }
    }

    /// Puts a reservation in place of the one that an upload may have, or leaves everything as it was.
    fn put(&mut self, upload: UploadId, reservation: Reservation) -> Result<(), Refused> {
        let former = self.reserved.remove(&upload);
        let (what, bytes) = (reservation.what, reservation.bytes);
        let checked = self.check_count(what, bytes);
        match checked.and_then(|()| self.check_bytes(what, bytes)) {
            Ok(()) => {
                self.reserved.insert(upload, reservation);
                Ok(())
            }
            Err(refused) => {
                self.reserved.extend(former.map(|former| (upload, former)));
                Err(refused)
            }
        }
    }

    /// Reserves for a new upload. Again for the same one replaces what it had.
    pub(super) fn reserve(
        &mut self,
        upload: UploadId,
        reservation: Reservation,
        now: SystemTime,
    ) -> Result<(), Refused> {
        if self.revoked.is_some() {
            return Err(Refused::Revoked);
        }
        if self.expires.is_some_and(|expires| expires <= now) {
            return Err(Refused::Expired);
        }
        self.put(upload, reservation)
    }

    /// Reserves more bytes for an upload that has a reservation.
    pub(super) fn grow(&mut self, upload: &UploadId, more: u64) -> Result<(), Refused> {
        if self.revoked.is_some() {
            return Err(Refused::Revoked);
        }
        let reserved = self.reserved.get(upload).ok_or(Refused::NotReserved)?;
        self.check_bytes(reserved.what, more)?;
        if let Some(reservation) = self.reserved.get_mut(upload) {
            reservation.bytes = reservation.bytes.saturating_add(more);
        }
        Ok(())
    }

    /// Makes what is reserved for an upload exactly so much, which may be less or more.
    pub(super) fn resize(&mut self, upload: &UploadId, bytes: u64) -> Result<(), Refused> {
        let Some(reservation) = self.reserved.get(upload) else {
            return match self.revoked {
                Some(_) => Err(Refused::Revoked),
                None => Err(Refused::NotReserved),
            };
        };
        self.grow(upload, bytes.saturating_sub(reservation.bytes))?;
        if let Some(reservation) = self.reserved.get_mut(upload) {
            reservation.bytes = bytes;
        }
        Ok(())
    }

    /// Keeps what is reserved for an upload until then at least. Says whether that changed something.
    pub(super) fn renew(&mut self, upload: &UploadId, until: SystemTime) -> bool {
        let Some(reservation) = self.reserved.get_mut(upload) else {
            return false;
        };
        let later = reservation.until < until;
        if later {
            reservation.until = until;
        }
        later
    }

    /// Counts a finished upload, unless it was counted: what was reserved for it becomes used. Says whether it did.
    pub(super) fn settle(&mut self, upload: &UploadId, bytes: u64) -> bool {
        let Some(reservation) = self.reserved.remove(upload) else {
            return false;
        };
        self.used.add(reservation.what, bytes);
        true
    }

    /// Frees what was reserved for an upload. Says whether there was anything.
    pub(super) fn give_back(&mut self, upload: &UploadId) -> bool {
        self.reserved.remove(upload).is_some()
    }

    /// Reserves for a file what was reserved for its parts, and the difference to its `bytes`; or leaves everything as it
    /// was. A part that has been taken over before, by another file, has nothing to give any more.
    pub(super) fn take_over(
        &mut self,
        parts: &[UploadId],
        into: UploadId,
        file: Reservation,
    ) -> Result<(), Refused> {
        if self.revoked.is_some() {
            return Err(Refused::Revoked);
        }
        let taken: Vec<_> = parts
            .iter()
            .filter(|part| **part != into)
            .filter_map(|part| self.reserved.remove_entry(part))
            .collect();
        self.put(into, file)
            .inspect_err(|_| self.reserved.extend(taken))
    }
}
