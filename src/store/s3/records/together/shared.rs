//! An error that several have at once.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::store::StoreError;

/// The error as one of them gets it. Those that somebody may tell apart stay what they are.
pub(super) fn shared(error: Arc<StoreError>) -> StoreError {
    match *error {
        StoreError::Unavailable { .. } => StoreError::Unavailable {
            source: Box::new(Shared(error)),
        },
        StoreError::Refused {
            doing, ref place, ..
        } => StoreError::Refused {
            doing,
            place: place.clone(),
            source: Box::new(Shared(error)),
        },
        StoreError::DamagedRecord {
            collection,
            ref name,
        } => StoreError::DamagedRecord {
            collection,
            name: name.clone(),
        },
        StoreError::Full { ref source } => StoreError::Full {
            source: io::Error::new(source.kind(), Shared(error)),
        },
        _ => StoreError::io("change", "a record", io::Error::other(Shared(error))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn each_one_learns_what_it_was() {
        let unavailable = Arc::new(StoreError::Unavailable {
            source: "the engine is away".into(),
        });
        for error in [(); 2].map(|()| shared(Arc::clone(&unavailable))) {
            assert!(matches!(error, StoreError::Unavailable { .. }));
            let source = error.source().and_then(Error::source);
            assert_eq!(source.unwrap().to_string(), "the engine is away");
        }
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let full = shared(Arc::new(StoreError::Full { source: full }));
        assert!(
            matches!(full, StoreError::Full { source } if source.kind() == io::ErrorKind::StorageFull)
        );
        let damaged = shared(Arc::new(StoreError::DamagedRecord {
            collection: "links",
            name: "one".parse().unwrap(),
        }));
        assert!(matches!(
            damaged,
            StoreError::DamagedRecord {
                collection: "links",
                ..
            }
        ));
        let other = shared(Arc::new(StoreError::Replaced));
        assert!(matches!(other, StoreError::Io { .. }));
    }
}
