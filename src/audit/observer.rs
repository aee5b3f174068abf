//! What becomes of uploads, as lines.

use super::log::AuditLog;
use super::{Actor, Entry, Event, LinkId};
use crate::store::{StoreError, UploadId};
use crate::upload::{Begun, Finished, Observer, Removed, Why};

impl Observer for AuditLog {
    fn begun(&self, upload: &Begun<'_>) {
        let Begun {
            id,
            submission,
            terms,
        } = upload;
        self.append(Entry {
            by: Some(Actor::new(&terms.by)),
            address: terms.from,
            upload: Some(*id),
            submission: Some(*submission),
            link: terms.link.and_then(|link| LinkId::new(&link.to_string())),
            ..Entry::new(Event::Created)
        });
    }

    /// Nothing becomes an upload that no line can tell of.
    fn publishing(&self, _ids: &[UploadId]) -> Result<(), StoreError> {
        if self.is_failing() {
            return Err(StoreError::Unrecorded);
        }
        Ok(())
    }

    /// Durable when this returns, and then the upload is acknowledged.
    fn finished(&self, upload: &Finished) {
        let entry = Entry {
            by: Some(Actor::new(&upload.by)),
            address: upload.from,
            upload: Some(upload.id),
            submission: Some(upload.submission),
            link: upload.link.as_deref().and_then(LinkId::new),
            size: Some(upload.size),
            ..Entry::new(Event::Finished)
        };
        if let Err(error) = self.append_durably(entry) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(id = %upload.id, error, "an upload is finished and its line in the audit log is late");
        }
    }

    fn removed(&self, upload: &Removed<'_>) {
        let event = match upload.why {
            Why::Expired => Event::Expired,
            Why::Withdrawn => Event::Withdrawn,
            // Told where it was asked for, with who it was.
            Why::Deleted => return,
        };
        self.append(Entry {
            by: upload.by.map(Actor::new),
            address: upload.from,
            upload: Some(upload.id),
            link: upload.link.and_then(LinkId::new),
            ..Entry::new(event)
        });
    }
}
