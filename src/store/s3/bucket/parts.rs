//! An object that is sent in parts.

use std::collections::VecDeque;

use object_store::PutPayload;
use object_store::multipart::PartId;
use tokio::task::JoinHandle;

use super::Bucket;
use super::error::BucketError;
use crate::store::StoreError;

/// Parts that are under way at the same time.
const UNDER_WAY: usize = 2;

/// An object that is sent in parts. Nothing of it is seen before it is completed.
pub(in crate::store::s3) struct Parts {
    bucket: Bucket,
    key: String,
    id: String,
    /// How many were sent off.
    begun: usize,
    arrived: Vec<PartId>,
    under_way: VecDeque<JoinHandle<Result<PartId, BucketError>>>,
}

impl Parts {
    pub(super) fn new(bucket: Bucket, key: &str, id: String) -> Self {
        Self {
            bucket,
            key: key.to_owned(),
            id,
            begun: 0,
            arrived: Vec::new(),
            under_way: VecDeque::new(),
        }
    }

    /// What the engine calls it.
    pub(in crate::store::s3) fn id(&self) -> &str {
        &self.id
    }

    /// Sends a part off; waits while two are under way. All but the last have the same size, at least 5 MiB. After an error
    /// nothing can be done but to abort.
    pub(in crate::store::s3) fn send(&mut self, body: PutPayload) -> Result<(), StoreError> {
        self.await_until(UNDER_WAY - 1)?;
        let requests = self.bucket.requests_of().clone();
        let (key, id, index) = (self.key.clone(), self.id.clone(), self.begun);
        self.begun += 1;
        let sending = async move { requests.put_part(&key, &id, index, body).await };
        self.under_way.push_back(self.bucket.spawn(sending));
        Ok(())
    }

    /// Waits until no more than so many parts are under way.
    fn await_until(&mut self, most: usize) -> Result<(), StoreError> {
        while self.under_way.len() > most {
            let Some(first) = self.under_way.pop_front() else {
                break;
            };
            let part = self.bucket.wait(first);
            let part = part.unwrap_or_else(|error| Err(BucketError::Malformed(error.into())));
            let part =
                part.map_err(|error| self.bucket.failed("store a part of", &self.key, error))?;
            self.arrived.push(part);
        }
        Ok(())
    }

    /// Waits for all parts and makes the object of them. Says beside it whether that is certain, as [`Bucket::put_surely`] does: it
    /// is where a part failed, since nothing was asked for then. What certainly failed is to be aborted.
    pub(in crate::store::s3) fn complete(&mut self) -> (Result<(), StoreError>, bool) {
        if let Err(error) = self.await_until(0) {
            return (Err(error), true);
        }
        let parts = std::mem::take(&mut self.arrived);
        let completing = (self.bucket.requests_of()).complete_parts(&self.key, &self.id, parts);
        match self.bucket.wait(completing) {
            // Somebody aborted it, and what was sent is lost: that is not an object which was never there.
            Err(error) if error.is_missing() => {
                let is_certain = error.is_refusal();
                let refused = self.bucket.refused("complete", &self.key, error);
                (Err(refused), is_certain)
            }
            completed => self.bucket.surely("complete", &self.key, completed),
        }
    }

    /// Sends no more of what is under way, and lets go of it. Waits for nothing.
    pub(in crate::store::s3) fn stop(&self) {
        for part in &self.under_way {
            part.abort();
        }
    }

    /// Drops what was sent, as far as the engine can be reached. Says whether it was.
    pub(in crate::store::s3) fn abort(mut self) -> bool {
        self.stop();
        // A part that arrives behind the end would stay.
        for part in self.under_way.drain(..) {
            let _ = self.bucket.wait(part);
        }
        let aborted = self.bucket.abort_parts(&self.key, &self.id);
        if let Err(error) = &aborted {
            let error = error as &dyn std::error::Error;
            tracing::debug!(error, "parts of an object stay until they are swept");
        }
        aborted.is_ok()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.stop();
    }
}
