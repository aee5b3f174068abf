//! `sealslot certs renew`: a new server certificate below the same authority.

use std::time::SystemTime;

use clap::Args;
use serde_json::json;

use super::{FolderArgs, days, print};
use crate::cli::results::print_json;
use crate::cli::{Exit, Failure};
use crate::tls::dev::{self, DevCertificates, RenewError};

/// Make a new server certificate and key under the same CA
///
/// For the names of the one that is there. Whoever trusts the authority need do nothing; a running server takes it within
/// seconds. Needs ca.key. A server beside a ca.key does it by itself.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot certs renew
  sealslot certs renew --dir /etc/sealslot/certs --days 90")]
pub(super) struct RenewArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// How many days it is good for, at most 397; never longer than the CA
    #[arg(long, value_name = "N", default_value_t = dev::DEFAULT_DAYS, value_parser = days())]
    days: u16,

    /// Print one JSON object: certificate, key, fingerprint, ca_fingerprint, hosts, not_after
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &RenewArgs) -> Result<(), Failure> {
    let renewed = dev::renew(&args.folder.dir, args.days, SystemTime::now())?;
    let files = DevCertificates::paths(&args.folder.dir);
    let certificate = &renewed.certificate;
    let until = humantime::format_rfc3339_seconds(certificate.not_after);
    if args.json {
        return print_json(&json!({
            "certificate": files.server_pem.to_string_lossy(),
            "key": files.server_key.to_string_lossy(),
            "fingerprint": certificate.fingerprint(),
            "ca_fingerprint": renewed.authority.fingerprint(),
            "hosts": certificate.names,
            "not_after": until.to_string(),
        }));
    }
    print(format_args!("certificate: {}", files.server_pem.display()))?;
    print(format_args!("key:         {}", files.server_key.display()))?;
    print(format_args!(
        "hosts:       {}",
        certificate.names.join(", ")
    ))?;
    print(format_args!("until:       {until}"))?;
    print(format_args!("fingerprint: {}", certificate.fingerprint()))
}

impl From<RenewError> for Failure {
    fn from(error: RenewError) -> Self {
        Self::from_error(Exit::Other, &error)
    }
}
