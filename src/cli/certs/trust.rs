//! `sealslot certs trust` and `untrust`: our authorities into this machine's trust stores, and out again.

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use clap::Args;
use data_encoding::BASE64;
use serde_json::json;

use super::execute::{Root, carry_out, with_sudo};
use super::plan::{Authority, Change, Plan, command_line, to_trust, to_untrust};
use super::stores::{self, Kind, Machine};
use super::{FolderArgs, ask, note, print};
use crate::cli::exit::chain;
use crate::cli::results::print_json;
use crate::cli::{Exit, Failure};
use crate::tls::HostName;
use crate::tls::dev::{CertificateFacts, Constraints, DevCertificates, read_all_facts, read_facts};

/// Which stores, and whether to ask.
#[derive(Args, Debug)]
struct StoreArgs {
    /// Only this store; may be repeated [default: all]
    #[arg(long = "store", value_name = "STORE", value_enum)]
    stores: Vec<Kind>,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print one JSON object: changed, already, undone
    #[arg(long, env = "SEALSLOT_JSON", value_parser = clap::builder::BoolishValueParser::new())]
    json: bool,
}

/// Have this machine trust the development CA
///
/// Puts ca.pem into the system's store and into the databases of Firefox and Chromium of this user. It shows what it would
/// change, and asks. The system's store takes root: run it as yourself, and it uses sudo for that part if you agree. `certs
/// untrust` takes everything out again.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot certs trust
  sealslot certs trust --store nss --yes
  sealslot certs trust --dir /etc/sealslot/certs --host build7")]
pub(super) struct TrustArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// A host of the CA without a dot in its name, such as build7, which could be a whole top-level domain; may be repeated
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<HostName>,

    #[command(flatten)]
    stores: StoreArgs,
}

/// Take our development CAs out of this machine's stores
///
/// All that `certs trust` ever put there, also those of other folders and of earlier ones: they are found by what they say, so
/// ca.pem need not be there any more. It shows what it would change, and asks.
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  sealslot certs untrust
  sealslot certs untrust --yes --store system")]
pub(super) struct UntrustArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// Only the CA with this SHA-256 fingerprint, as `certs show` prints it
    #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
    fingerprint: Option<String>,

    #[command(flatten)]
    stores: StoreArgs,
}

/// A fingerprint with or without its colons.
fn fingerprint(text: &str) -> Result<String, String> {
    let digits = text.replace([':', ' '], "").to_ascii_uppercase();
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(
            "a SHA-256 fingerprint has 64 hexadecimal digits, as `sealslot certs show` prints them"
                .to_owned(),
        );
    }
    let pairs: Vec<_> = (0..64).step_by(2).map(|at| &digits[at..at + 2]).collect();
    Ok(pairs.join(":"))
}

impl StoreArgs {
    fn kinds(&self) -> Vec<Kind> {
        if self.stores.is_empty() {
            vec![Kind::System, Kind::Nss]
        } else {
            self.stores.clone()
        }
    }
}

pub(super) fn trust(args: &TrustArgs) -> Result<(), Failure> {
    let path = DevCertificates::paths(&args.folder.dir).ca_pem;
    let certificate = trustworthy(&path, args)?;
    let machine = Machine::this();
    let kinds = args.stores.kinds();
    let authority = Authority {
        certificate: &certificate,
        pem: pem(&certificate),
    };
    let plan = to_trust(
        &machine,
        &kinds,
        &authority,
        &stores::look(&machine, &kinds),
    );
    describe(&certificate);
    Undertaking {
        machine: &machine,
        args: &args.stores,
        kinds: &kinds,
        question: "Trust this authority in these stores?",
        going: &[],
        again: &format!("certs trust --dir {}", args.folder.dir.display()),
    }
    .run(plan)
}

/// The one certificate in ca.pem, where it may be put into stores.
fn trustworthy(path: &Path, args: &TrustArgs) -> Result<CertificateFacts, Failure> {
    let refused = |why: &dyn fmt::Display| {
        let path = path.display();
        Failure::new(
            Exit::Other,
            format_args!("{path} is not put into any store: {why}"),
        )
    };
    let mut all = read_all_facts(path)?;
    if all.len() > 1 {
        let several = format!("it holds {} certificates, and one is wanted", all.len());
        return Err(refused(&several));
    }
    let certificate = all.remove(0);
    certificate
        .check_trustworthy(SystemTime::now())
        .map_err(|reason| refused(&reason))?;
    let limits = certificate.constraints.iter();
    if let Some(host) = limits
        .flat_map(Constraints::broad)
        .find(|host| !args.hosts.contains(host))
    {
        return Err(refused(&format_args!(
            "it can stand for {host} and for every name below it, which may be a whole domain of many owners; where it is a host \
             of yours, add --host {host}"
        )));
    }
    Ok(certificate)
}

pub(super) fn untrust(args: &UntrustArgs) -> Result<(), Failure> {
    let machine = Machine::this();
    let kinds = args.stores.kinds();
    let looked = stores::look(&machine, &kinds);
    let own = read_facts(&DevCertificates::paths(&args.folder.dir).ca_pem).ok();
    let plan = to_untrust(&machine, args.fingerprint.as_deref(), own.as_ref(), &looked);
    let chosen = |wanted: &CertificateFacts| {
        args.fingerprint
            .as_ref()
            .is_none_or(|fingerprint| wanted.fingerprint() == *fingerprint)
    };
    let mut going: Vec<Vec<u8>> = Vec::new();
    for found in looked
        .found
        .iter()
        .filter(|found| chosen(&found.certificate))
    {
        if !going.contains(&found.certificate.der) {
            going.push(found.certificate.der.clone());
            describe(&found.certificate);
        }
    }
    if going.is_empty() && plan.changes.is_empty() && !args.stores.json {
        note("There is no authority of Sealslot in these stores.");
    }
    Undertaking {
        machine: &machine,
        args: &args.stores,
        kinds: &kinds,
        question: "Take them out of these stores?",
        going: &going,
        again: "certs untrust",
    }
    .run(plan)
}

/// As it goes into the stores: the certificate that was checked and nothing else that is in the file.
fn pem(certificate: &CertificateFacts) -> String {
    let text = BASE64.encode(&certificate.der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// Says which authority it is about.
fn describe(certificate: &CertificateFacts) {
    note(certificate.our_name().unwrap_or(&certificate.subject));
    note(format_args!("  SHA-256  {}", certificate.fingerprint()));
    match certificate
        .constraints
        .as_ref()
        .map(|limits| (limits, limits.hosts()))
    {
        Some((_, Some(hosts))) => {
            note("  whoever has its key can stand for");
            for host in hosts {
                let below = match host {
                    HostName::Dns(_) => ", and every name below it",
                    HostName::Ip(_) => "",
                };
                note(format_args!("    {host}{below}"));
            }
        }
        Some((limits, None)) => note(format_args!("  for      {limits}, and more")),
        None => note("  whoever has its key can stand for every host there is"),
    }
    note(format_args!(
        "  until    {}",
        humantime::format_rfc3339_seconds(certificate.not_after)
    ));
}

/// A plan on its way.
struct Undertaking<'a> {
    machine: &'a Machine,
    args: &'a StoreArgs,
    kinds: &'a [Kind],
    question: &'a str,
    /// The certificates that are taken out.
    going: &'a [Vec<u8>],
    /// The command that does what is left.
    again: &'a str,
}

impl Undertaking<'_> {
    /// Shows the plan, asks, and does it.
    fn run(self, mut plan: Plan) -> Result<(), Failure> {
        let somebody = ask::somebody_is_there();
        let root = self.root(&mut plan, somebody);
        for change in &plan.changes {
            show(change, &root);
        }
        for already in &plan.already {
            note(format_args!("already there: {already}"));
        }
        if let Some(barred) = self.machine.barred()
            && self.kinds.contains(&Kind::Nss)
        {
            if self.args.stores.contains(&Kind::Nss) {
                plan.undone.push(barred);
            } else {
                note(format_args!("not touched: {barred}"));
            }
        }
        if !plan.changes.is_empty() && !self.args.yes {
            if !somebody {
                return Err(Failure::usage(
                    "there is nobody to ask whether to change this: say --yes",
                ));
            }
            if !ask::agreed(self.question)? {
                return Err(Failure::new(Exit::Other, "nothing was changed"));
            }
        }
        let changed = self.change(&mut plan, &root)?;
        if self.args.json {
            print_json(
                &json!({ "changed": changed, "already": plan.already, "undone": plan.undone }),
            )?;
        }
        for undone in &plan.undone {
            note(format_args!("sealslot: not done: {undone}"));
        }
        if plan.undone.is_empty() {
            return Ok(());
        }
        Err(Failure::reported(Exit::Other))
    }

    /// Does what the plan says; gives the stores that were changed.
    fn change(&self, plan: &mut Plan, root: &Root) -> Result<Vec<String>, Failure> {
        let mut changed = Vec::new();
        for change in &plan.changes {
            let store = &change.store;
            match carry_out(change, root) {
                Ok(()) if self.is_left_in(store) => plan.undone.push(format!(
                    "{store}: what was to go is still there; close the browser and run this once more"
                )),
                Ok(()) => {
                    if !self.args.json {
                        print(format_args!("changed: {store}"))?;
                    }
                    changed.push(store.clone());
                }
                Err(error) => plan.undone.push(format!("{store}: {}", chain(&error))),
            }
        }
        if changed
            .iter()
            .any(|store| store.starts_with("Firefox") || store.starts_with("NSS"))
        {
            note("A browser that is running sees it when it is started again.");
        }
        Ok(changed)
    }

    /// Whether one that was to go is still in a database: they are taken out by a name, which is not theirs alone.
    fn is_left_in(&self, store: &str) -> bool {
        store.starts_with("NSS")
            && stores::look(self.machine, &[Kind::Nss])
                .found
                .iter()
                .any(|found| {
                    found.place.to_string() == store && self.going.contains(&found.certificate.der)
                })
    }

    /// How steps of root are done. Where they cannot be, their changes leave the plan.
    fn root(&self, plan: &mut Plan, somebody: bool) -> Root {
        if self.machine.is_root {
            return Root::Ours;
        }
        if let Some(program) = self.machine.programs.find("sudo") {
            return Root::Sudo {
                program,
                may_ask: somebody,
            };
        }
        let (impossible, possible) = std::mem::take(&mut plan.changes)
            .into_iter()
            .partition(Change::needs_root);
        plan.changes = possible;
        let impossible: Vec<Change> = impossible;
        plan.undone.extend(impossible.into_iter().map(|change| {
            format!(
                "{}: run this as root: sealslot {} --store system",
                change.store, self.again
            )
        }));
        Root::Ours
    }
}

/// Shows what is done to a store, in the words that it is done with.
fn show(change: &Change, root: &Root) {
    note("");
    note(&change.store);
    for step in &change.steps {
        match root {
            Root::Sudo { program, .. } if step.needs_root() => {
                let (program, arguments, _) = with_sudo(step, program, true);
                note(format_args!("  run {}", command_line(&program, &arguments)));
            }
            _ => note(format_args!("  {step}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_taken_in_every_usual_form() {
        let printed = vec!["AB"; 32].join(":");
        for text in ["ab".repeat(32), printed.clone(), printed.to_lowercase()] {
            assert_eq!(fingerprint(&text).as_ref(), Ok(&printed));
        }
        for text in ["", "ab", &"xy".repeat(32), &"é".repeat(32)] {
            assert!(fingerprint(text).is_err(), "{text}");
        }
    }
}
