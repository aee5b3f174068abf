//! `sealslot certs show`: what is in the folder, and in which stores it is trusted.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use super::stores::{self, Found, Kind, Looked, Machine};
use super::{FolderArgs, in_words, print};
use crate::cli::results::print_json;
use crate::cli::{Exit, Failure};
use crate::tls::TlsError;
use crate::tls::dev::{CertificateFacts, DevCertificates, read_facts};

/// Show the certificates, until when they are good, and who trusts them
///
/// Works for certificates from elsewhere too. Changes nothing. Exits with 1 where the folder has no certificate at all, or one
/// that cannot be read.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot certs show
  sealslot certs show --dir /etc/sealslot/certs --json")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// Print one JSON object: ca, server, issued_by_ca, stores
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

pub(super) fn run(args: &ShowArgs) -> Result<(), Failure> {
    let files = DevCertificates::paths(&args.folder.dir);
    let now = SystemTime::now();
    let ca = Shown::of(&files.ca_pem, &files.ca_key)?;
    let server = Shown::of(&files.server_pem, &files.server_key)?;
    if ca.is_none() && server.is_none() {
        return Err(Failure::new(
            Exit::Other,
            format_args!(
                "there is no certificate in {}: make one with `sealslot certs`, or name the folder with --dir",
                args.folder.dir.display()
            ),
        ));
    }
    let issued = match (&ca, &server) {
        (Some(ca), Some(server)) => Some(server.facts.is_issued_by(&ca.facts)),
        _ => None,
    };
    let machine = Machine::this();
    let mut looked = stores::look(&machine, &[Kind::System, Kind::Nss]);
    looked.unseen.extend(machine.barred());
    if args.json {
        let certificate = |shown: &Option<Shown<'_>>| shown.as_ref().map(|shown| shown.json(now));
        return print_json(&json!({
            "ca": certificate(&ca),
            "server": certificate(&server),
            "issued_by_ca": issued,
            "stores": stores_json(ca.as_ref(), &looked),
            "unseen": looked.unseen,
        }));
    }
    if let Some(ca) = &ca {
        ca.print("authority", now)?;
    }
    if let Some(server) = &server {
        server.print("server", now)?;
        match issued {
            Some(true) => print("  issued by    the authority above")?,
            Some(false) => print(format_args!(
                "  issued by    {} (not the authority above)",
                server.facts.issuer
            ))?,
            None => print(format_args!("  issued by    {}", server.facts.issuer))?,
        }
    }
    print_stores(ca.as_ref(), &looked)
}

/// A certificate in its file, with its key's.
struct Shown<'a> {
    path: &'a Path,
    key: &'a Path,
    facts: CertificateFacts,
    /// The permission bits of the key's file, where there is one.
    key_mode: Option<u32>,
}

impl<'a> Shown<'a> {
    /// `None` where there is no such file.
    fn of(path: &'a Path, key: &'a Path) -> Result<Option<Self>, Failure> {
        let facts = match read_facts(path) {
            Ok(facts) => facts,
            Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let mode = fs::metadata(key).map(|data| data.permissions().mode() & 0o7777);
        Ok(Some(Self {
            path,
            key,
            facts,
            key_mode: mode.ok(),
        }))
    }

    fn json(&self, now: SystemTime) -> Value {
        let facts = &self.facts;
        json!({
            "file": self.path.to_string_lossy(),
            "subject": facts.subject,
            "issuer": facts.issuer,
            "names": facts.names,
            "permitted": facts.constraints.as_ref().map(|limits| &limits.permitted),
            "excluded": facts.constraints.as_ref().map(|limits| &limits.excluded),
            "not_before": humantime::format_rfc3339_seconds(facts.not_before).to_string(),
            "not_after": humantime::format_rfc3339_seconds(facts.not_after).to_string(),
            "seconds_left": facts.left(now).as_secs(),
            "fingerprint": facts.fingerprint(),
            "key": self.key_mode.map(|mode| json!({
                "file": self.key.to_string_lossy(),
                "mode": format!("{mode:04o}"),
            })),
        })
    }

    fn print(&self, what: &str, now: SystemTime) -> Result<(), Failure> {
        let facts = &self.facts;
        print(format_args!("{what}: {}", self.path.display()))?;
        let subject = if facts.subject.is_empty() {
            "(empty)"
        } else {
            &facts.subject
        };
        print(format_args!("  subject      {subject}"))?;
        if !facts.names.is_empty() {
            print(format_args!("  names        {}", facts.names.join(", ")))?;
        }
        match &facts.constraints {
            Some(limits) if limits.hosts().is_none() => print(format_args!(
                "  for          {limits}, and more (not limited to single hosts)"
            ))?,
            Some(limits) => print(format_args!(
                "  only for     {limits}, and names below them"
            ))?,
            None if facts.is_authority => {
                print("  only for     (not limited: it can vouch for every host)")?;
            }
            None => {}
        }
        let time = humantime::format_rfc3339_seconds;
        print(format_args!("  valid from   {}", time(facts.not_before)))?;
        let left = in_words(facts.left(now));
        print(format_args!(
            "  until        {} ({left})",
            time(facts.not_after)
        ))?;
        print(format_args!("  SHA-256      {}", facts.fingerprint()))?;
        match self.key_mode {
            Some(mode) if mode.trailing_zeros() >= 6 => print(format_args!(
                "  key          {} (mode {mode:04o})",
                self.key.display()
            )),
            Some(mode) => print(format_args!(
                "  key          {0} (mode {mode:04o}: others can read it, run chmod 600 {0})",
                self.key.display()
            )),
            None => print("  key          none here"),
        }
    }
}

fn is_own(ca: Option<&Shown<'_>>, found: &Found) -> bool {
    ca.is_some_and(|ca| ca.facts.der == found.certificate.der)
}

fn stores_json(ca: Option<&Shown<'_>>, looked: &Looked) -> Vec<Value> {
    let stores = looked.found.iter().map(|found| {
        json!({
            "store": found.place.kind(),
            "place": found.place.to_string(),
            "fingerprint": found.certificate.fingerprint(),
            "this_ca": is_own(ca, found),
        })
    });
    stores.collect()
}

fn print_stores(ca: Option<&Shown<'_>>, looked: &Looked) -> Result<(), Failure> {
    let (own, others): (Vec<_>, Vec<_>) = looked.found.iter().partition(|found| is_own(ca, found));
    if ca.is_some() {
        print(if own.is_empty() {
            "trusted by: no store that was found"
        } else {
            "trusted by:"
        })?;
        for found in own {
            print(format_args!("  {}", found.place))?;
        }
    }
    if !others.is_empty() {
        print(
            "other authorities of Sealslot in stores (`sealslot certs untrust` takes them out):",
        )?;
        for found in others {
            print(format_args!(
                "  {} in {}",
                found.certificate.subject, found.place
            ))?;
        }
    }
    for unseen in &looked.unseen {
        print(format_args!("not looked at: {unseen}"))?;
    }
    Ok(())
}
