//! Keys as text: Bech32 (BIP 173) without its limit on the length (specification, "Conventions").

use std::fmt;

use bech32::primitives::checksum::Checksum;
use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use zeroize::Zeroizing;

/// A string that is not the age key that it should be. What it held is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not Bech32, or its checksum is wrong.
    #[error("not a valid age key: check that it was copied whole")]
    Bech32,
    /// Bech32 of something else.
    #[error("an age key of another kind")]
    Kind,
    /// Bech32 of the right kind and size, and still no public key.
    #[error("an age key whose numbers are not those of a public key")]
    Numbers,
}

/// [`Bech32`], for strings of any length.
enum Unlimited {}

impl Checksum for Unlimited {
    type MidstateRepr = <Bech32 as Checksum>::MidstateRepr;
    type CorrectionField = <Bech32 as Checksum>::CorrectionField;
    const ROOT_GENERATOR: Self::CorrectionField = Bech32::ROOT_GENERATOR;
    const ROOT_EXPONENTS: std::ops::RangeInclusive<usize> = Bech32::ROOT_EXPONENTS;
    const CODE_LENGTH: usize = usize::MAX;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32::TARGET_RESIDUE;
}

/// The `N` bytes in `text`, which begins with `hrp` (in lower case) and a `1` and is all lower or all upper case.
pub(super) fn decode<const N: usize>(
    text: &str,
    hrp: &str,
) -> Result<Zeroizing<[u8; N]>, EncodingError> {
    let checked = checked(text)?;
    if !checked.hrp().as_str().eq_ignore_ascii_case(hrp) {
        return Err(EncodingError::Kind);
    }
    let mut bytes = Zeroizing::new([0; N]);
    let mut size = 0;
    for byte in checked.byte_iter() {
        *bytes.get_mut(size).ok_or(EncodingError::Kind)? = byte;
        size += 1;
    }
    if size != N {
        return Err(EncodingError::Kind);
    }
    Ok(bytes)
}

fn checked(text: &str) -> Result<CheckedHrpstring<'_>, EncodingError> {
    CheckedHrpstring::new::<Unlimited>(text).map_err(|_| EncodingError::Bech32)
}

/// The plugin's name in an identity for a plugin, `AGE-PLUGIN-NAME-1...` (C2SP age-plugin, "Mapping recipients and
/// identities to plugin binaries"), in lower case. It is what the name of a program ends in: letters, digits and
/// `+._-`, and nothing that could lead to another folder.
pub fn plugin_name(identity: &str) -> Result<String, EncodingError> {
    let hrp = checked(identity)?.hrp().to_lowercase();
    let name = hrp
        .strip_prefix("age-plugin-")
        .and_then(|rest| rest.strip_suffix('-'))
        .ok_or(EncodingError::Kind)?;
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(EncodingError::Kind);
    }
    Ok(name.to_owned())
}

/// Writes a public key, in lower case.
pub(super) fn write_lower(f: &mut fmt::Formatter<'_>, hrp: &str, bytes: &[u8]) -> fmt::Result {
    let hrp = Hrp::parse_unchecked(hrp);
    bech32::encode_lower_to_fmt::<Unlimited, _>(f, hrp, bytes).map_err(|_| fmt::Error)
}

/// A private key's text, in upper case. It is of its final size at once, so that no copy is left behind by growing.
pub(super) fn encode_upper(hrp: &str, bytes: &[u8]) -> Zeroizing<String> {
    // Five bits to a character, the `1`, the checksum.
    let size = hrp.len() + 1 + bytes.len().div_ceil(5) * 8 + Unlimited::CHECKSUM_LENGTH;
    let mut text = Zeroizing::new(String::with_capacity(size));
    bech32::encode_upper_to_fmt::<Unlimited, _>(&mut *text, Hrp::parse_unchecked(hrp), bytes)
        .expect("writing to a string does not fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin(hrp: &str) -> Result<String, EncodingError> {
        plugin_name(&encode_upper(hrp, b"whatever"))
    }

    #[test]
    fn a_plugin_is_named_as_a_program_and_not_as_a_path() {
        assert_eq!(plugin("age-plugin-yubikey-").unwrap(), "yubikey");
        assert_eq!(plugin("age-plugin-a.b+c_d-2-").unwrap(), "a.b+c_d-2");
        for odd in [
            "age-plugin-",
            "age-plugin--",
            "age-plugin-x",
            "age-",
            "age-secret-key-",
        ] {
            assert_eq!(plugin(odd), Err(EncodingError::Kind), "{odd}");
        }
        for path in [
            "age-plugin-../x-",
            "age-plugin-/bin/sh-",
            "age-plugin-a\\b-",
            "age-plugin-$x-",
        ] {
            assert_eq!(plugin(path), Err(EncodingError::Kind), "{path}");
        }
        assert_eq!(
            plugin_name("AGE-PLUGIN-X-1QQQQQQ"),
            Err(EncodingError::Bech32)
        );
    }

    #[test]
    fn a_private_keys_text_never_grows() {
        for size in [0, 1, 32, 33, 1216] {
            let text = encode_upper("age-secret-key-pq-", &vec![7; size]);
            let rest = text.capacity() - text.len();
            assert!(rest < 8, "{size}: {rest} bytes to spare");
        }
    }
}
