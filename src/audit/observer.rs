//! What becomes of uploads, as lines.

use super::log::AuditLog;
use super::{Actor, Entry, Event, LinkId};
use crate::store::{StoreError, UploadId};
use crate::upload::{Begun, Finished, Observer, Why};

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
            link: terms.by.strip_prefix("link:").and_then(LinkId::new),
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

    /// What somebody asked for is told where they asked: with who it was.
    fn removed(&self, id: &UploadId, why: Why) {
        if why == Why::Expired {
            self.append(Entry {
                upload: Some(*id),
                ..Entry::new(Event::Expired)
            });
        }
    }
}
