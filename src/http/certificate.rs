//! How the server's own certificate is, as `/readyz` and `/metrics` tell it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::App;
use super::problem::Problem;

/// How the certificate is that clients are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateHealth {
    /// Whether there is one, and it is in its time.
    pub valid: bool,
    /// Until when it is valid, where there is one.
    pub not_after: Option<SystemTime>,
    /// Why what was to replace it is not used, in a word; anybody may see it.
    pub failing: Option<&'static str>,
    /// How many have taken another's place since the start.
    pub replacements: u64,
}

impl CertificateHealth {
    /// The end in seconds since 1970; 0 where there is no certificate.
    pub(super) fn not_after_seconds(&self) -> u64 {
        let since = self
            .not_after
            .and_then(|end| end.duration_since(UNIX_EPOCH).ok());
        since.unwrap_or_default().as_secs()
    }
}

impl App {
    /// A server whose certificate clients refuse is not ready.
    pub(super) fn check_certificate(&self) -> Result<(), Problem> {
        match &self.certificate {
            Some(health) if !health().valid => Err(Problem::certificate_invalid()),
            _ => Ok(()),
        }
    }
}

/// A line about a replacement that is not used: uploads are taken still, and somebody has to look before the present certificate ends.
pub(super) fn warning(app: &App) -> String {
    let failing = app.certificate.as_ref().and_then(|health| health().failing);
    failing.map_or_else(String::new, |class| {
        format!("warning: the new certificate is not used: {class}\n")
    })
}
