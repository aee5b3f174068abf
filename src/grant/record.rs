//! Grants as records of a store.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

use super::secret::Hash;
use super::{GrantError, GrantId};
use crate::store::{Change, Collection, RecordStore, StoreError};

/// Bytes of the largest new record. It grows with what is reserved, up to what a store keeps.
const MAX_NEW: usize = 256 << 10;

/// How long a grant that is over is still listed.
const KEEP_OVER: Duration = Duration::from_hours(30 * 24);

/// A grant as it is kept: JSON, named by its id.
pub(super) trait Record: Serialize + DeserializeOwned {
    const COLLECTION: Collection;
    /// What it is called.
    const KIND: &str;

    fn hash(&self) -> &Hash;
}

/// What becomes of a record that was read.
pub(super) enum Then {
    Keep,
    Put,
    Remove,
}

fn parse<R: Record>(id: &GrantId, bytes: &[u8]) -> Result<R, GrantError> {
    let record = serde_json::from_slice::<R>(bytes).ok();
    // One that stands under another's name is not what was written there.
    let record = record.filter(|record| GrantId::of(record.hash()) == *id);
    record.ok_or_else(|| GrantError::damaged(R::KIND, id))
}

fn to_bytes(record: &impl Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record is plain data with text keys")
}

/// Keeps a new record.
pub(super) fn create<R: Record>(store: &dyn RecordStore, record: &R) -> Result<(), GrantError> {
    let bytes = to_bytes(record);
    if bytes.len() > MAX_NEW {
        return Err(GrantError::TooLarge);
    }
    let name = GrantId::of(record.hash()).to_record_name();
    // No other has these 160 random bits.
    let mut change = |_: Option<&[u8]>| Change::Put(bytes.clone());
    store.update_record(R::COLLECTION, &name, &mut change)?;
    Ok(())
}

/// The record of that id; `None` where there is none.
pub(super) fn read<R: Record>(
    store: &dyn RecordStore,
    id: &GrantId,
) -> Result<Option<R>, GrantError> {
    match store.record(R::COLLECTION, &id.to_record_name()) {
        Ok(bytes) => parse(id, &bytes).map(Some),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The record that belongs to a secret's hash. It is looked up by what everybody may know of the hash, and all of that is
/// compared in constant time.
pub(super) fn find<R: Record>(
    store: &dyn RecordStore,
    hash: &Hash,
) -> Result<Option<R>, GrantError> {
    let record = read::<R>(store, &GrantId::of(hash))?;
    Ok(record.filter(|record| record.hash().ct_eq(hash).into()))
}

/// The ids of all records of a kind, in no order.
pub(super) fn ids<R: Record>(store: &dyn RecordStore) -> Result<Vec<GrantId>, GrantError> {
    let names = store.records(R::COLLECTION)?;
    // Nothing else names a grant, so nobody has a secret for it.
    Ok(names
        .iter()
        .filter_map(|name| name.as_str().parse().ok())
        .collect())
}

/// What there is of a kind.
#[derive(Debug)]
pub struct Listing<R> {
    /// All that can be read.
    pub grants: Vec<R>,
    /// An error for each that is damaged. It lets nobody in, and is no reason to keep the others from anybody.
    pub damaged: Vec<GrantError>,
}

/// All records of a kind, in no order.
pub(super) fn all<R: Record>(store: &dyn RecordStore) -> Result<Listing<R>, GrantError> {
    let mut listing = Listing {
        grants: Vec::new(),
        damaged: Vec::new(),
    };
    for id in ids::<R>(store)? {
        match read(store, &id) {
            Ok(Some(record)) => listing.grants.push(record),
            // Swept away while the others were read.
            Ok(None) => {}
            Err(error @ GrantError::Damaged { .. }) => listing.damaged.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

/// Changes one record: `decide` may be called again, with the record as it is then. `None` where there is none.
pub(super) fn update<R: Record, T, E: From<GrantError>>(
    store: &dyn RecordStore,
    id: &GrantId,
    mut decide: impl FnMut(&mut R) -> Result<(Then, T), E>,
) -> Result<Option<T>, E> {
    let mut outcome = Ok(None);
    let mut change = |bytes: Option<&[u8]>| {
        let Some(bytes) = bytes else {
            outcome = Ok(None);
            return Change::Keep;
        };
        let decided = parse::<R>(id, bytes)
            .map_err(E::from)
            .and_then(|mut record| {
                let (then, value) = decide(&mut record)?;
                let change = match then {
                    Then::Keep => Change::Keep,
                    Then::Put => Change::Put(to_bytes(&record)),
                    Then::Remove => Change::Remove,
                };
                Ok((change, value))
            });
        match decided {
            Ok((change, value)) => {
                outcome = Ok(Some(value));
                change
            }
            Err(error) => {
                outcome = Err(error);
                Change::Keep
            }
        }
    };
    let updated = store.update_record(R::COLLECTION, &id.to_record_name(), &mut change);
    updated.map_err(GrantError::from)?;
    outcome
}

/// Whether a grant has been over for so long that nobody looks for it any more.
pub(super) fn is_past(
    revoked: Option<SystemTime>,
    expires: Option<SystemTime>,
    now: SystemTime,
) -> bool {
    let over = revoked.into_iter().chain(expires).min();
    let past = over.and_then(|over| over.checked_add(KEEP_OVER));
    past.is_some_and(|past| past <= now)
}

/// Removes a record that `over` is true of, also at the moment of removing. Says whether it did.
pub(super) fn remove_if<R: Record>(
    store: &dyn RecordStore,
    id: &GrantId,
    over: impl Fn(&R) -> bool,
) -> Result<bool, GrantError> {
    // Most are not, and need no lock.
    if !read::<R>(store, id)?.is_some_and(|record| over(&record)) {
        return Ok(false);
    }
    let removed = update(store, id, |record: &mut R| {
        let over = over(record);
        let then = if over { Then::Remove } else { Then::Keep };
        Ok::<_, GrantError>((then, over))
    })?;
    Ok(removed == Some(true))
}

/// Removes every record that `over` is true of, and says how many. One that is damaged does not keep the others.
pub(super) fn sweep<R: Record>(
    store: &dyn RecordStore,
    over: impl Fn(&R) -> bool,
) -> Result<usize, GrantError> {
    let (mut removed, mut failed) = (0, Ok(()));
    for id in ids::<R>(store)? {
        match remove_if(store, &id, &over) {
            Ok(was) => removed += usize::from(was),
            Err(error) => failed = Err(error),
        }
    }
    failed.map(|()| removed)
}
