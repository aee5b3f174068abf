//! `sealslot certs`: a development authority and server certificate.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::results::{note, print, print_json};
use crate::tls::{self, HostName, dev};

/// Make a development CA and a server certificate
///
/// Writes ca.pem, ca.key, server.pem and server.key. The authority can vouch for the named hosts only. The server
/// needs the two server files; ca.key is best kept elsewhere, or deleted.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot certs
  sealslot certs --dir /etc/sealslot/certs --host files.example.org,192.0.2.7")]
pub(super) struct CertsArgs {
    /// The folder that the four files go into
    #[arg(
        long,
        value_name = "DIR",
        env = "SEALSLOT_CERTS",
        default_value = "certs"
    )]
    dir: PathBuf,

    /// A DNS name or IP address that the certificate is for; may be repeated, or separated by commas
    #[arg(
        long = "host",
        value_name = "NAME",
        env = "SEALSLOT_HOST",
        value_delimiter = ',',
        default_values = dev::DEFAULT_HOSTS
    )]
    hosts: Vec<HostName>,

    /// Replace files that are there already
    #[arg(long)]
    force: bool,

    /// Print one JSON object: ca, ca_key, certificate, key, fingerprint, ca_fingerprint, hosts
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &CertsArgs) -> Result<(), Failure> {
    let files = dev::make(&args.dir, &args.hosts, dev::DEFAULT_DAYS, args.force)?;
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
    note("\nTo trust it:");
    note(dev::trust_instructions(&files.ca_pem).trim_end());
    Ok(())
}
