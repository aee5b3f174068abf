//! `sealslot certs`: a development authority and server certificate, and whether this machine trusts them.

mod ask;
mod execute;
mod plan;
mod renew;
mod show;
mod stores;
mod trust;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::results::{self, print_json};
use crate::tls::{self, HostName, dev};

/// Make a development CA and a server certificate
///
/// Writes ca.pem, ca.key, server.pem and server.key. The authority can vouch for the named hosts only. The server
/// needs the two server files; while ca.key lies beside them, it renews its certificate by itself.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:
  sealslot certs
  sealslot certs --dir /etc/sealslot/certs --host files.example.org,192.0.2.7
  sealslot certs trust"
)]
pub(super) struct CertsArgs {
    #[command(subcommand)]
    action: Option<Action>,

    #[command(flatten)]
    folder: FolderArgs,

    /// A DNS name or IP address that the certificate is for; may be repeated, or separated by commas
    #[arg(
        long = "host",
        value_name = "NAME",
        env = "SEALSLOT_HOST",
        value_delimiter = ',',
        default_values = dev::DEFAULT_HOSTS
    )]
    hosts: Vec<HostName>,

    /// How many days the server's certificate is good for, at most 397
    #[arg(long, value_name = "N", default_value_t = dev::DEFAULT_DAYS, value_parser = days())]
    days: u16,

    /// Replace files that are there already
    #[arg(long)]
    force: bool,

    /// Print one JSON object: ca, ca_key, certificate, key, fingerprint, ca_fingerprint, hosts
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Action {
    Show(show::ShowArgs),
    Trust(trust::TrustArgs),
    Untrust(trust::UntrustArgs),
    Renew(renew::RenewArgs),
}

/// Where the files are.
#[derive(Args, Debug)]
struct FolderArgs {
    /// The folder of the four files
    #[arg(
        long,
        value_name = "DIR",
        env = "SEALSLOT_CERTS",
        default_value = "certs"
    )]
    dir: PathBuf,
}

fn days() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=i64::from(dev::MAX_DAYS))
}

pub(super) fn run(args: &CertsArgs) -> Result<(), Failure> {
    match &args.action {
        None => make(args),
        Some(Action::Show(args)) => show::run(args),
        Some(Action::Trust(args)) => trust::trust(args),
        Some(Action::Untrust(args)) => trust::untrust(args),
        Some(Action::Renew(args)) => renew::run(args),
    }
}

/// Prints a line of results. Names in certificates and stores are other people's: none of them talks to the terminal.
fn print(line: impl fmt::Display) -> Result<(), Failure> {
    results::print(dev::escaped(&line.to_string()))
}

/// Says a line on stderr, with the same care.
fn note(line: impl fmt::Display) {
    results::note(dev::escaped(&line.to_string()));
}

fn make(args: &CertsArgs) -> Result<(), Failure> {
    let files = dev::make(&args.folder.dir, &args.hosts, args.days, args.force)?;
    let fingerprint = tls::fingerprint(&files.server_pem)?;
    let ca_fingerprint = tls::fingerprint(&files.ca_pem)?;
    let hosts: Vec<_> = args.hosts.iter().map(ToString::to_string).collect();
    if args.json {
        return print_json(&json!({
            "ca": files.ca_pem.to_string_lossy(),
            "ca_key": files.ca_key.to_string_lossy(),
            "certificate": files.server_pem.to_string_lossy(),
            "key": files.server_key.to_string_lossy(),
            "fingerprint": fingerprint,
            "ca_fingerprint": ca_fingerprint,
            "hosts": hosts,
        }));
    }
    print(format_args!("certificate: {}", files.server_pem.display()))?;
    print(format_args!("key:         {}", files.server_key.display()))?;
    print(format_args!("hosts:       {}", hosts.join(", ")))?;
    print(format_args!("fingerprint: {fingerprint}"))?;
    print(format_args!(
        "authority:   {} (key: {})",
        files.ca_pem.display(),
        files.ca_key.display()
    ))?;
    note("");
    note("To trust it:");
    for line in dev::trust_instructions(&files.ca_pem).lines() {
        note(line);
    }
    Ok(())
}

/// A time that is left, for people: in days as long as there are some.
fn in_words(left: Duration) -> String {
    let (amount, unit) = match left.as_secs() {
        0 => return "expired".to_owned(),
        seconds @ 1..3600 => (seconds.div_ceil(60), "minute"),
        seconds @ 3600..172_800 => (seconds / 3600, "hour"),
        seconds => (seconds / 86_400, "day"),
    };
    let plural = if amount == 1 { "" } else { "s" };
    format!("{amount} {unit}{plural} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_in_the_unit_that_fits() {
        for (seconds, said) in [
            (0, "expired"),
            (1, "1 minute left"),
            (3599, "60 minutes left"),
            (3600, "1 hour left"),
            (172_799, "47 hours left"),
            (172_800, "2 days left"),
            (14 * 86_400 - 1, "13 days left"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), said);
        }
    }
}
