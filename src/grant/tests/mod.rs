//! Links and tokens over a real store.

mod accounting;
mod links;
mod records;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::store::{LocalRecords, RecordStore, UploadId};

/// Any time does.
const START: SystemTime = UNIX_EPOCH;
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn new_store() -> (TempDir, Arc<dyn RecordStore>) {
    let place = TempDir::new().unwrap();
    let store = Arc::new(LocalRecords::open(place.path()).unwrap());
    (place, store)
}

fn upload() -> UploadId {
    UploadId::generate(START)
}
