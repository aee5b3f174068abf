//! An object that is sent in parts.

use object_store::PutPayload;

use crate::store::StoreError;

/// An object that is sent in parts. Nothing of it is seen before it is completed.
pub(in crate::store::s3) struct Parts {
    id: String,
}

impl Parts {
    /// What the engine calls it.
    pub(in crate::store::s3) fn id(&self) -> &str {
        &self.id
    }

    /// Sends a part off; waits while two are under way. All but the last have the same size, at least 5 MiB.
    pub(in crate::store::s3) fn send(&mut self, body: PutPayload) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Waits for all parts and makes the object of them.
    pub(in crate::store::s3) fn complete(self) -> Result<(), StoreError> {
        unimplemented!()
    }

    /// Drops what was sent, as far as the engine can be reached.
    pub(in crate::store::s3) fn abort(self) {
        unimplemented!()
    }
}
