//! Who is told of what becomes of uploads: the audit log, webhooks.

use core::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::manifest::Kind;
use super::terms::Terms;
use crate::store::{StoreError, UploadId};

/// Is told of what becomes of uploads. Everything here may block, and nothing may panic.
pub trait Observer: Send + Sync {
    /// Comes when an upload has been begun. Unlike all else here it must not block.
    fn begun(&self, _upload: &Begun<'_>) {}

    /// Comes before these uploads are published, together. Where it fails, they are not.
    ///
    /// A crash may follow at any point, and then nobody says which way it went: a published upload is there to be found. The
    /// same id may come again.
    fn publishing(&self, _ids: &[UploadId]) -> Result<(), StoreError> {
        Ok(())
    }

    /// Comes when publishing failed: nothing of this upload is visible, and perhaps it never will be.
    fn not_published(&self, _id: &UploadId) {}

    /// Comes when an upload has become durable, before its uploader is told. It cannot be undone.
    ///
    /// An upload that comes in several requests is told again where a crash hides that it was told before.
    fn finished(&self, _upload: &Finished) {}

    /// Comes when a published upload was removed.
    fn removed(&self, _upload: &Removed<'_>) {}
}

/// An upload that has been begun.
#[derive(Debug, Clone, Copy)]
pub struct Begun<'a> {
    /// The upload's id.
    pub id: UploadId,
    /// The id shared by all uploads of one form, and by those that joined one another.
    pub submission: UploadId,
    /// On what terms it is taken.
    pub terms: &'a Terms,
}

/// An upload that has become durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The upload's id.
    pub id: UploadId,
    /// The id shared by all uploads of one form, and by those that joined one another.
    pub submission: UploadId,
    /// What it is.
    pub kind: Kind,
    /// Bytes of plaintext.
    pub size: u64,
    /// Bytes of all its sealed files but `meta.age`.
    pub sealed_size: u64,
    /// The link that it came through, by its public id.
    pub link: Option<String>,
    /// Who brought it, as the audit log calls them.
    pub by: String,
    /// From which address the request came that finished it, where it was one.
    pub from: Option<IpAddr>,
    /// When the last byte had arrived.
    pub time: SystemTime,
    /// When it is to be deleted.
    pub expires: Option<SystemTime>,
}

/// A published upload that was removed.
#[derive(Debug, Clone, Copy)]
pub struct Removed<'a> {
    /// The upload's id.
    pub id: UploadId,
    /// Why.
    pub why: Why,
    /// The link that it came through, by its public id.
    pub link: Option<&'a str>,
    /// Who took it back, as the audit log calls them.
    pub by: Option<&'a str>,
    /// From which address.
    pub from: Option<IpAddr>,
}

/// Why a published upload was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was kept for as long as was agreed.
    Expired,
    /// Its uploader took it back.
    Withdrawn,
    /// Its receiver deleted it.
    Deleted,
}

/// Several, one after the other. The first that refuses ends it.
impl Observer for Vec<Arc<dyn Observer>> {
    fn begun(&self, upload: &Begun<'_>) {
        for observer in self {
            observer.begun(upload);
        }
    }

    fn publishing(&self, ids: &[UploadId]) -> Result<(), StoreError> {
        self.iter()
            .try_for_each(|observer| observer.publishing(ids))
    }

    fn not_published(&self, id: &UploadId) {
        for observer in self {
            observer.not_published(id);
        }
    }

    fn finished(&self, upload: &Finished) {
        for observer in self {
            observer.finished(upload);
        }
    }

    fn removed(&self, upload: &Removed<'_>) {
        for observer in self {
            observer.removed(upload);
        }
    }
}
