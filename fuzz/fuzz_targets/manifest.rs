//! The manifest and the record: what is read and consistent is written as it was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealslot::upload::{Manifest, Record};
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|json: &[u8]| {
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(json) {
        let again = round_trip(&manifest);
        assert_eq!(manifest.is_consistent(), again.is_consistent());
        assert_eq!(manifest.is_client_sealed(), again.is_client_sealed());
    }
    if let Ok(record) = serde_json::from_slice::<Record>(json) {
        round_trip(&record);
    }
});

fn round_trip<T: Serialize + DeserializeOwned>(read: &T) -> T {
    let written = serde_json::to_vec(read).expect("plain data");
    let again = serde_json::from_slice(&written).expect("what was written");
    assert_eq!(serde_json::to_vec(&again).expect("plain data"), written);
    again
}
