//! Settings that mean nothing one without the other.

use super::ConfigError;

/// Refuses the first of these settings that was given, where what it needs is missing.
pub(super) fn alone(
    missing: bool,
    given: &[(&'static str, bool)],
    needed: &'static str,
) -> Result<(), ConfigError> {
    match given.iter().find(|(_, given)| *given) {
        Some((setting, _)) if missing => Err(ConfigError::Alone { setting, needed }),
        _ => Ok(()),
    }
}

/// Two settings that are given together or not at all.
pub(super) fn both<A, B>(
    (first, one): (&'static str, Option<A>),
    (second, other): (&'static str, Option<B>),
) -> Result<Option<(A, B)>, ConfigError> {
    let alone = |setting, needed| Err(ConfigError::Alone { setting, needed });
    match (one, other) {
        (Some(one), Some(other)) => Ok(Some((one, other))),
        (None, None) => Ok(None),
        (Some(_), None) => alone(first, second),
        (None, Some(_)) => alone(second, first),
    }
}
