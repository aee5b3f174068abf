//! The checksum of a file whose header was replaced, without a look at its payload.

use crc_fast::CrcAlgorithm::Crc64Nvme;
use crc_fast::{checksum, checksum_combine};

/// CRC-64/NVME over `new` and the payload that stands behind `old` now. `file`: the checksum of all that, `payload`: the
/// bytes of the payload.
///
/// A CRC is linear: what the old header contributes is taken out of it, and what the new one does is put in. Where `file` is not
/// the checksum of what is there, what comes out is not that of what will be: damage is still found.
pub(super) fn replaced_header(file: u64, old: &[u8], new: &[u8], payload: u64) -> u64 {
    let without = file ^ checksum_combine(Crc64Nvme, checksum(Crc64Nvme, old), 0, payload);
    checksum_combine(Crc64Nvme, checksum(Crc64Nvme, new), without, payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_that_of_the_new_file(
            old: Vec<u8>,
            new: Vec<u8>,
            payload in proptest::collection::vec(any::<u8>(), 0..5000),
            damage: u64,
        ) {
            let size = payload.len() as u64;
            let before = checksum(Crc64Nvme, &[&old[..], &payload].concat());
            let after = checksum(Crc64Nvme, &[&new[..], &payload].concat());
            prop_assert_eq!(replaced_header(before, &old, &new, size), after);
            // What was wrong stays wrong, by the same.
            prop_assert_eq!(replaced_header(before ^ damage, &old, &new, size), after ^ damage);
        }
    }

    #[test]
    fn long_payloads_take_no_time() {
        let (old, new) = (vec![1; 300], vec![2; 700]);
        let payload = vec![3; 1 << 24];
        let of = |start: &[u8]| checksum(Crc64Nvme, &[start, &payload].concat());
        assert_eq!(replaced_header(of(&old), &old, &new, 1 << 24), of(&new));
        // A terabyte that is not there: only its size matters.
        let back = replaced_header(replaced_header(7, &old, &new, 1 << 40), &new, &old, 1 << 40);
        assert_eq!(back, 7);
    }
}
