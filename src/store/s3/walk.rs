//! What bounds reading through a list of many pages: an engine that is broken, or hostile, may give one without end.

use std::time::{Duration, Instant};

use crate::store::StoreError;

/// Objects in a row that are none of ours.
const MOST_STRANGERS: usize = 1000;
/// How long to read through them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Goes through a list whose objects are ours, but for few.
pub(super) struct Walk<'a> {
    /// What is listed.
    place: &'a str,
    /// Objects of ours that there are at most.
    most: usize,
    ours: usize,
    strangers: usize,
    /// When the first of the last strangers in a row was met.
    since: Option<Instant>,
}

/// Why a list is read no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum WalkError {
    #[error(
        "it lists {MOST_STRANGERS} objects in a row, or for {} s, that are none of this store; move them away, or give the store a prefix of its own",
        PATIENCE.as_secs()
    )]
    Strangers,
    #[error(
        "it lists more than {0} objects, which is more than a store has; look where they come from"
    )]
    TooMany(usize),
}

impl<'a> Walk<'a> {
    pub(super) fn through(place: &'a str, most: usize) -> Self {
        Self {
            place,
            most,
            ours: 0,
            strangers: 0,
            since: None,
        }
    }

    /// An object of ours was met.
    pub(super) fn ours(&mut self) -> Result<(), StoreError> {
        (self.strangers, self.since) = (0, None);
        self.ours += 1;
        if self.ours > self.most {
            return Err(self.ends(WalkError::TooMany(self.most)));
        }
        Ok(())
    }

    /// An object was met that is none of ours.
    pub(super) fn stranger(&mut self) -> Result<(), StoreError> {
        self.strangers += 1;
        let since = self.since.get_or_insert_with(Instant::now);
        if self.strangers >= MOST_STRANGERS || since.elapsed() > PATIENCE {
            return Err(self.ends(WalkError::Strangers));
        }
        Ok(())
    }

    /// One or the other.
    pub(super) fn met(&mut self, is_ours: bool) -> Result<(), StoreError> {
        if is_ours {
            self.ours()
        } else {
            self.stranger()
        }
    }

    fn ends(&self, error: WalkError) -> StoreError {
        StoreError::Refused {
            doing: "list",
            place: self.place.to_owned(),
            source: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_in_a_row_end_it_and_others_do_not() {
        let mut walk = Walk::through("records/", usize::MAX);
        for _ in 0..3 {
            for _ in 1..MOST_STRANGERS {
                walk.stranger().unwrap();
            }
            walk.ours().unwrap();
        }
        for _ in 1..MOST_STRANGERS {
            walk.met(false).unwrap();
        }
        let error = walk.stranger().unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    }

    #[test]
    fn no_more_are_taken_than_there_can_be() {
        let mut walk = Walk::through("records/", 2);
        walk.ours().unwrap();
        walk.met(true).unwrap();
        let error = walk.ours().unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    }
}
