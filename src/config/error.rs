//! Why settings are refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::certificate::MAX_NAMES;
use super::webhooks::MAX_WEBHOOKS;
use crate::http::PageSettingError;
use crate::store::{S3SettingsError, StoreError};
use crate::webhook::EndpointError;

/// Why the settings do not make a server.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A limit of nothing would let nothing in.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// A size that would not work.
    #[error("{setting} must be {least} MiB to {most} MiB")]
    NotWithin {
        /// The setting.
        setting: &'static str,
        /// The least, in MiB.
        least: u64,
        /// The most, in MiB.
        most: u64,
    },
    /// The bucket cannot be reached so.
    #[error("store: {0}")]
    Store(#[from] S3SettingsError),
    /// A setting that means nothing by itself.
    #[error("{setting} needs {needed}")]
    Alone {
        /// The setting.
        setting: &'static str,
        /// What it needs.
        needed: &'static str,
    },
    /// Two settings of which one makes the other impossible.
    #[error("{setting} does not go together with {other}; leave one of them out")]
    Conflict {
        /// The setting.
        setting: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// A webhook's URL cannot be told anything.
    #[error("webhook: {0}")]
    Webhook(#[from] EndpointError),
    /// Each webhook is told by itself.
    #[error("webhook: at most {MAX_WEBHOOKS} can be told")]
    TooManyWebhooks,
    /// An account at an authority is made only for somebody who agrees to its terms.
    #[error(
        "acme-domain needs acme-terms-agreed: read the terms of service that {0} names, and add --acme-terms-agreed if you agree"
    )]
    AcmeTerms(String),
    /// More names than authorities put into one certificate.
    #[error("acme-domain: a certificate is for at most {MAX_NAMES} names")]
    TooManyAcmeDomains,
    /// The page would make no sense.
    #[error(transparent)]
    Page(#[from] PageSettingError),
    /// The data folder cannot be read.
    #[error(transparent)]
    Data(#[from] StoreError),
    /// On an address that others can reach, and with a certificate for others, nothing is made up.
    #[error("{}, so nothing is made up; give {}", reason(*listen), missing.join("; and "))]
    Missing {
        /// Where it was to listen.
        listen: SocketAddr,
        /// What to give, a phrase each.
        missing: Vec<String>,
    },
}

fn reason(listen: SocketAddr) -> String {
    if listen.ip().to_canonical().is_loopback() {
        "a certificate for others is asked for (acme-domain)".to_owned()
    } else {
        format!("{listen} can be reached from other machines")
    }
}
