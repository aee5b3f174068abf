//! The record that says how much is taken of the quota, and how it comes to be.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Beat;
use crate::store::{Change, Collection, Lease, NodeId, RecordName, RecordStore, StoreError};

/// Whoever measures holds a lease for so long at a time, and renews it as often as this.
const LEASE: Duration = Duration::from_mins(1);
const RENEW: Duration = Duration::from_secs(15);
/// How often others look whether it is done, and how long they wait for it.
const LOOK: Duration = Duration::from_millis(500);
const LOOKS: u32 = 7200;

/// What is taken of the quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Usage {
    /// Bytes that are stored, or that a server has in hand.
    pub(super) taken: u64,
    /// When it was measured, in seconds of Unix time.
    pub(super) measured: u64,
    /// Whether somebody may have stored what is not counted here.
    pub(super) uncounted: bool,
}

/// Measures where nobody did so yet, or waits for who does.
pub(super) fn ensure(
    records: &dyn RecordStore,
    measure: &dyn Fn(&mut Beat<'_>) -> Result<u64, StoreError>,
) -> Result<(), StoreError> {
    let holder = NodeId::generate();
    let name: RecordName = "measure-quota".parse().expect("it is a name");
    for look in 0..LOOKS {
        if look == 1 {
            tracing::info!("waiting for another server to measure how much is stored");
        }
        if is_measured(records)? {
            return Ok(());
        }
        let now = SystemTime::now();
        let Some(mut lease) = Lease::take(records, &name, &holder, LEASE, now)? else {
            std::thread::sleep(LOOK);
            continue;
        };
        let measured = measure_and_put(records, &mut lease, measure);
        // Where it failed, another server tries.
        let given_up = lease.give_up(records, String::new());
        return measured.and(given_up);
    }
    Err(StoreError::Unavailable {
        source: "another server has been measuring for an hour how much is stored; wait until it is done, and start again".into(),
    })
}

fn measure_and_put(
    records: &dyn RecordStore,
    lease: &mut Lease,
    measure: &dyn Fn(&mut Beat<'_>) -> Result<u64, StoreError>,
) -> Result<(), StoreError> {
    // Somebody may have done so before the lease was free.
    if is_measured(records)? {
        return Ok(());
    }
    tracing::info!("measuring how much is stored");
    let mut renewed = Instant::now();
    let taken = measure(&mut |so_far| {
        if renewed.elapsed() < RENEW {
            return Ok(());
        }
        renewed = Instant::now();
        hold(records, lease)?;
        tracing::info!(bytes = so_far, "measuring how much is stored");
        Ok(())
    })?;
    hold(records, lease)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let usage = Usage {
        taken,
        measured: since.unwrap_or(Duration::ZERO).as_secs(),
        uncounted: false,
    };
    put(records, |_| Some(usage.clone())).map(drop)
}

fn hold(records: &dyn RecordStore, lease: &mut Lease) -> Result<(), StoreError> {
    if lease.renew(records, String::new(), SystemTime::now())? {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        source:
            "measuring how much is stored took so long that another server does it; start again"
                .into(),
    })
}

pub(super) fn is_measured(records: &dyn RecordStore) -> Result<bool, StoreError> {
    Ok(read(records)?.is_some_and(|usage| !usage.uncounted))
}

/// Notes that a server may store what it does not count.
pub(super) fn note_uncounted(records: &dyn RecordStore) -> Result<(), StoreError> {
    if !is_measured(records)? {
        return Ok(());
    }
    let uncounted = put(records, |usage| {
        let usage = usage.filter(|usage| !usage.uncounted)?;
        Some(Usage {
            uncounted: true,
            ..usage
        })
    });
    uncounted.map(drop)
}

pub(super) fn read(records: &dyn RecordStore) -> Result<Option<Usage>, StoreError> {
    match records.record(Collection::Usage, &name()) {
        Ok(bytes) => parse(&bytes).map(Some),
        Err(StoreError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts what `change` gives, where it gives something, and gives that.
pub(super) fn put(
    records: &dyn RecordStore,
    mut change: impl FnMut(Option<Usage>) -> Option<Usage>,
) -> Result<Option<Usage>, StoreError> {
    let mut outcome = Ok(None);
    records.update_record(Collection::Usage, &name(), &mut |bytes| {
        outcome = bytes.map(parse).transpose().map(&mut change);
        match &outcome {
            Ok(Some(usage)) => Change::Put(serde_json::to_vec(usage).expect("numbers are JSON")),
            _ => Change::Keep,
        }
    })?;
    outcome
}

fn parse(bytes: &[u8]) -> Result<Usage, StoreError> {
    serde_json::from_slice(bytes).map_err(|_| StoreError::DamagedRecord {
        collection: Collection::Usage.name(),
        name: name(),
    })
}

fn name() -> RecordName {
    "quota".parse().expect("it is a name")
}
