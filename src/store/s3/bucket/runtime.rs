//! Where requests run, so that threads which may block can wait for them.

use tokio::runtime::{Builder, Runtime as Tokio};
use tokio::task::JoinHandle;

use super::error::BucketError;

/// A small runtime of the bucket's own.
pub(super) struct Runtime(Option<Tokio>);

impl Runtime {
    pub(super) fn start() -> Result<Self, BucketError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            // For names of hosts, and files of credentials.
            .max_blocking_threads(4)
            .thread_name("bucket")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| BucketError::Setup(error.into()))?;
        Ok(Self(Some(runtime)))
    }

    fn inner(&self) -> &Tokio {
        self.0
            .as_ref()
            .expect("it is taken only when it is dropped")
    }

    /// Waits on this thread.
    pub(super) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.inner().block_on(future)
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.inner().spawn(future)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // The last to hold the bucket may be a thread that must not block.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
