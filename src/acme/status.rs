//! How ordering and renewing goes, as plain data.

use std::time::SystemTime;

/// What kind of failure the last attempt ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeFailure {
    /// The authority was not reached, or was unwell.
    Unreachable,
    /// The authority has had enough for now.
    RateLimited,
    /// A name does not lead here, or not in the way that it is to be proved.
    Validation,
    /// The authority refused otherwise, or gave nonsense.
    Authority,
    /// Something on this machine.
    Local,
}

impl AcmeFailure {
    /// A word for it, which stays the same.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate-limited",
            Self::Validation => "validation",
            Self::Authority => "authority",
            Self::Local => "local",
        }
    }
}

/// How ordering and renewing goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcmeStatus {
    /// When it will be tried to get the next certificate.
    pub next_attempt: Option<SystemTime>,
    /// What the last attempt failed with. `None`: it succeeded, or there was none.
    pub last_failure: Option<AcmeFailure>,
    /// The first failure since the last success.
    pub failing_since: Option<SystemTime>,
    /// Certificates that were issued since the server started.
    pub issued: u64,
    /// Attempts that failed since the server started.
    pub failed: u64,
}
