//! An error that several have at once.

use std::fmt;
use std::sync::Arc;

use crate::store::StoreError;

/// The error as one of them gets it.
pub(super) fn shared(error: Arc<StoreError>) -> StoreError {
    match Arc::try_unwrap(error) {
        Ok(error) => error,
        Err(error) => {
            let unavailable = matches!(*error, StoreError::Unavailable { .. });
            let source = Shared(error);
            if unavailable {
                let source = Box::new(source);
                StoreError::Unavailable { source }
            } else {
                StoreError::io("change", "a record", std::io::Error::other(source))
            }
        }
    }
}

#[derive(Debug)]
struct Shared(Arc<StoreError>);

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Shared {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
