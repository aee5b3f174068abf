//! One call of the store as the requests see that are sent for it: what bounds them, and what became of the last one.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task_local;
use tokio::time::timeout;

use super::error::BucketError;

task_local! {
    static CALL: Arc<Call>;
}

/// An answer that nobody asked to be longer may still hold an error, or temporary credentials.
const SHORT_ANSWER: u64 = 128 << 10;

/// One call of the store. `object_store` says little of why a request failed; whoever sends it notes it here.
pub(super) struct Call {
    /// Bytes of an answer's body.
    pub(super) most: u64,
    /// Whether the body is damaged before it is sent, which the engine should notice.
    pub(super) damage: bool,
    attempts: AtomicU32,
    /// Whether an attempt came to no answer that says what was done.
    in_doubt: AtomicBool,
    failure: Mutex<Option<BucketError>>,
}

impl Call {
    /// Begins an attempt; gives how many there were before.
    pub(super) fn begin_attempt(&self) -> u32 {
        self.note(None);
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes how the attempt failed.
    pub(super) fn note(&self, mut failure: Option<BucketError>) {
        if let Some(BucketError::Answered(answer)) = &mut failure {
            answer.after_doubt = self.in_doubt.load(Ordering::Relaxed);
            if !answer.is_definite() {
                self.in_doubt.store(true, Ordering::Relaxed);
            }
        }
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Notes why there is no answer. That no further attempt is made says less than why the ones before it failed.
    pub(super) fn note_last(&self, failure: BucketError) {
        self.in_doubt.store(true, Ordering::Relaxed);
        let mut noted = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(failure, BucketError::Resting) || noted.is_none() {
            *noted = Some(failure);
        }
    }

    fn take(&self) -> Option<BucketError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// The call that a request belongs to.
pub(super) fn current() -> Arc<Call> {
    CALL.try_with(Arc::clone).unwrap_or_else(|_| call(0, false))
}

fn call(most: u64, damage: bool) -> Arc<Call> {
    Arc::new(Call {
        most: most.max(SHORT_ANSWER),
        damage,
        attempts: AtomicU32::new(0),
        in_doubt: AtomicBool::new(false),
        failure: Mutex::new(None),
    })
}

/// What a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Bytes of an answer's body.
    pub(super) most: u64,
    /// For all of it, with all attempts.
    pub(super) whole: Duration,
}

/// Makes a call.
pub(super) async fn run<T>(
    bounds: Bounds,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, BucketError> {
    within(call(bounds.most, false), bounds.whole, request).await
}

/// Makes a call whose body is damaged on the way.
pub(super) async fn run_damaged<T>(
    bounds: Bounds,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, BucketError> {
    within(call(bounds.most, true), bounds.whole, request).await
}

async fn within<T>(
    call: Arc<Call>,
    whole: Duration,
    request: impl Future<Output = object_store::Result<T>>,
) -> Result<T, BucketError> {
    let answer = timeout(whole, CALL.scope(Arc::clone(&call), request)).await;
    let Ok(answer) = answer else {
        return Err(BucketError::TimedOut);
    };
    answer.map_err(|error| {
        call.take()
            .unwrap_or_else(|| BucketError::Malformed(error.into()))
    })
}
