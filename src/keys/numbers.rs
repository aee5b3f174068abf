//! RSA keys from their numbers, whatever form these came in. All limits on RSA keys are held here.

use super::{KeyError, MAX_BITS, MIN_BITS, Place};
use rsa::BoxedUint;

/// The numbers of a two-prime private key, big-endian and unsigned, with or without leading zeros.
pub(super) struct PrivateNumbers<'a> {
    pub(super) n: &'a [u8],
    pub(super) e: &'a [u8],
    pub(super) d: &'a [u8],
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
}

/// The public key of modulus `n` and exponent `e`, big-endian, if it keeps the limits.
pub(super) fn public_key(n: &[u8], e: &[u8], place: &Place) -> Result<rsa::PublicKey, KeyError> {
    let (n, e) = public_numbers(n, e, place)?;
    rsa::PublicKey::new(n, e).map_err(|source| invalid(place, source))
}

/// The private key of these numbers, if it keeps the limits and `n`, `e`, `d` and the primes belong together.
pub(super) fn private_key(
    numbers: &PrivateNumbers<'_>,
    place: &Place,
) -> Result<rsa::PrivateKey, KeyError> {
    let (n, e) = public_numbers(numbers.n, numbers.e, place)?;
    // The width comes from the public modulus, never from a secret number.
    let width = n.bits_precision();
    let secret = |bytes: &[u8]| {
        BoxedUint::from_be_slice(without_zeros(bytes), width)
            .map_err(|_| invalid(place, rsa::Error::InvalidModulus))
    };
    let primes = vec![secret(numbers.p)?, secret(numbers.q)?];
    // Ends with `PrivateKey::validate`.
    rsa::PrivateKey::from_components(n, e, secret(numbers.d)?, primes)
        .map_err(|source| invalid(place, source))
}

/// Checks the sizes before any arithmetic: its cost grows with the cube of theirs.
fn public_numbers(n: &[u8], e: &[u8], place: &Place) -> Result<(BoxedUint, BoxedUint), KeyError> {
    let n = without_zeros(n);
    let bits = bit_length(n);
    if bits < MIN_BITS {
        return Err(KeyError::TooShort {
            place: place.clone(),
            bits,
        });
    }
    if bits > MAX_BITS {
        return Err(KeyError::TooLong {
            place: place.clone(),
            bits,
        });
    }
    let e = exponent(e).ok_or_else(|| KeyError::Exponent {
        place: place.clone(),
    })?;
    let n = BoxedUint::from_be_slice(n, bits)
        .map_err(|_| invalid(place, rsa::Error::InvalidModulus))?;
    Ok((n, BoxedUint::from(e)))
}

/// The public exponent, if it is odd and from 3 up to what `rsa` accepts.
fn exponent(bytes: &[u8]) -> Option<u64> {
    let bytes = without_zeros(bytes);
    let mut number = [0; 8];
    let start = number.len().checked_sub(bytes.len())?;
    number[start..].copy_from_slice(bytes);
    let e = u64::from_be_bytes(number);
    (e % 2 == 1 && (3..=rsa::PublicKey::MAX_PUB_EXPONENT).contains(&e)).then_some(e)
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    &bytes[zeros..]
}

/// The length in bits of a number without leading zero bytes.
fn bit_length(number: &[u8]) -> u32 {
    let Some(first) = number.first() else {
        return 0;
    };
    let bytes = u32::try_from(number.len()).unwrap_or(u32::MAX);
    bytes.saturating_mul(8) - first.leading_zeros()
}

/// A key that keeps the limits, and that cannot be computed with all the same.
pub(super) fn unusable(place: &Place) -> KeyError {
    invalid(place, rsa::Error::InvalidModulus)
}

fn invalid(place: &Place, source: rsa::Error) -> KeyError {
    KeyError::InvalidRsa {
        place: place.clone(),
        source,
    }
}
