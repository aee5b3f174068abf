//! Opens what uploads are kept in.

use std::sync::Arc;

use super::super::exit::{Exit, Failure};
use crate::config::{Config, StoreSettings};
use crate::store::{Collection, LocalStore, RecordStore, Store};

/// The store, and the settings with what only the store knows.
pub(super) fn open(config: Config) -> Result<(Config, Arc<dyn Store>), Failure> {
    match &config.store {
        StoreSettings::Folder(limits) => {
            let store = LocalStore::open_within(&config.data, limits.clone());
            let store = store.map_err(|error| Failure::from_error(Exit::Other, &error))?;
            Ok((config, Arc::new(store)))
        }
        StoreSettings::Bucket(bucket) => {
            let location = bucket.location().to_string();
            let about = |error| Failure::from(error).about(&location);
            let store = bucket.open().map_err(about)?;
            let tokens = store.records(Collection::Tokens).map_err(about)?;
            Ok((config.with_tokens(!tokens.is_empty())?, Arc::new(store)))
        }
    }
}
