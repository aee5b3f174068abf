//! What is to be known of the certificate that is presented, and when its end is told of.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::watched::WatchedCertificate;

/// The most that is left of a certificate when its end is told of; of short-lived ones, a fifth of their time.
const SOON: Duration = Duration::from_hours(24 * 21);
const SOON_PART: u32 = 5;
/// How often it is told of.
const REMIND: Duration = Duration::from_hours(24);

/// What there is to present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateState {
    /// Nothing yet: no handshake succeeds.
    Missing,
    /// A certificate whose time has not come.
    NotYetValid,
    /// A certificate in its time.
    Valid,
    /// A certificate whose time is over.
    Expired,
}

/// What is presented, and whether what is to replace it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStatus {
    /// The names and addresses of the certificate, wildcards among them. Those of `--server-name` are not.
    pub names: Vec<String>,
    /// From when it is valid; the beginning of 1970 where there is none.
    pub not_before: SystemTime,
    /// Until when it is valid; the beginning of 1970 where there is none.
    pub not_after: SystemTime,
    /// Whether it is in its time.
    pub state: CertificateState,
    /// Whether the files hold what cannot be used, and that for more than a moment.
    pub failing: bool,
    /// Why, in a word that names no file.
    pub failure: Option<&'static str>,
    /// How many certificates have taken another's place since the start.
    pub replacements: u64,
}

impl CertificateStatus {
    pub(super) fn of(certificate: &WatchedCertificate, now: SystemTime) -> Self {
        let failure = certificate.failure().map(|error| error.class());
        let mut status = Self {
            names: Vec::new(),
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH,
            state: CertificateState::Missing,
            failing: failure.is_some(),
            failure,
            replacements: certificate.replacements(),
        };
        if let Some(presented) = certificate.presented() {
            status.names.clone_from(&presented.names);
            status.not_before = presented.not_before;
            status.not_after = presented.not_after;
            status.state = if presented.not_after < now {
                CertificateState::Expired
            } else if now < presented.not_before {
                CertificateState::NotYetValid
            } else {
                CertificateState::Valid
            };
        }
        status
    }

    /// Whether it ends so soon that another should be there.
    fn ends_soon(&self, now: SystemTime) -> bool {
        let lifetime = self.not_after.duration_since(self.not_before);
        let soon = (lifetime.unwrap_or_default() / SOON_PART).min(SOON);
        self.state == CertificateState::Valid && self.not_after <= now + soon
    }
}

/// When the end of which certificate was told of.
#[derive(Default)]
pub(super) struct Reminder(Mutex<Option<(SystemTime, SystemTime)>>);

impl Reminder {
    /// Tells of a certificate that is not in its time or soon will not be, once a day.
    pub(super) fn tell(&self, status: &CertificateStatus, now: SystemTime) {
        let out_of_time = matches!(
            status.state,
            CertificateState::Expired | CertificateState::NotYetValid
        );
        if !out_of_time && !status.ends_soon(now) {
            return;
        }
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recently = |told: SystemTime| now.duration_since(told).is_ok_and(|past| past < REMIND);
        if told.is_some_and(|(of, when)| of == status.not_after && recently(when)) {
            return;
        }
        *told = Some((status.not_after, now));
        let not_after = humantime::format_rfc3339_seconds(status.not_after);
        match status.state {
            CertificateState::Expired => {
                tracing::error!(%not_after, "the certificate has expired: clients refuse it; replace its files");
            }
            CertificateState::NotYetValid => {
                tracing::error!(
                    "the certificate is not valid yet: clients refuse it; is the clock right?"
                );
            }
            _ => {
                tracing::warn!(%not_after, "the certificate ends soon, and there is no other: replace its files");
            }
        }
    }
}
