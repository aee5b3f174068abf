//! Carrying links and tokens.

use super::{MigrateError, Migration};
use crate::store::{Change, Collection, RecordName, RecordStore, StoreError};

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordCarried {
    /// It is at the target now as it is here.
    Copied,
    /// It was so before.
    Already,
    /// It was removed meanwhile.
    Gone,
    /// Another one is there, and stays.
    Differs,
}

impl Migration<'_> {
    /// Copies a record. One that is there and differs is replaced where `replace` says so. Blocks.
    pub fn carry_record(
        &self,
        collection: Collection,
        name: &RecordName,
        replace: bool,
    ) -> Result<RecordCarried, MigrateError> {
        let bytes = match self.from.record_bytes(collection, name) {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound) => return Ok(RecordCarried::Gone),
            Err(error) => return Err(MigrateError::From(error)),
        };
        let mut carried = RecordCarried::Already;
        let mut put = |there: Option<&[u8]>| {
            carried = match there {
                Some(there) if there == bytes => RecordCarried::Already,
                Some(_) if !replace => RecordCarried::Differs,
                _ => RecordCarried::Copied,
            };
            match carried {
                RecordCarried::Copied => Change::Put(bytes.clone()),
                _ => Change::Keep,
            }
        };
        let updated = self.to.update_record(collection, name, &mut put);
        updated.map_err(MigrateError::To)?;
        Ok(carried)
    }

    /// Removes a record from where it came, where it is the same at the target. Gives whether it did. Blocks.
    pub fn remove_record(
        &self,
        source: &dyn RecordStore,
        collection: Collection,
        name: &RecordName,
    ) -> Result<bool, MigrateError> {
        let there = match self.to.record(collection, name) {
            Ok(there) => there,
            Err(StoreError::NotFound) => return Ok(false),
            Err(error) => return Err(MigrateError::To(error)),
        };
        let mut is_removed = true;
        let mut remove = |here: Option<&[u8]>| {
            is_removed = here.is_none_or(|here| here == there);
            match here {
                Some(here) if here == there => Change::Remove,
                _ => Change::Keep,
            }
        };
        let updated = source.update_record(collection, name, &mut remove);
        updated.map_err(MigrateError::From)?;
        Ok(is_removed)
    }
}
