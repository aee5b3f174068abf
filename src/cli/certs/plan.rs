//! What is to be changed in trust stores, as steps that can be shown before they are done.

mod step;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::stores::{
    Found, Kind, Layout, Looked, Machine, PACKAGE, Place, database_argument, has_chromium,
    new_chromium_database, nickname,
};
use crate::tls::dev::CertificateFacts;

pub(super) use step::{Step, command_line};

/// What is done to one store: all of its steps, or none after one that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The store, for people.
    pub(super) store: String,
    pub(super) steps: Vec<Step>,
}

impl Change {
    pub(super) fn needs_root(&self) -> bool {
        self.steps.iter().any(Step::needs_root)
    }
}

/// What is done to all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    /// Stores that are already as they should be.
    pub(super) already: Vec<String>,
    /// What cannot be done here, and what would help.
    pub(super) undone: Vec<String>,
}

/// An authority that is to be trusted.
pub(super) struct Authority<'a> {
    pub(super) certificate: &'a CertificateFacts,
    pub(super) pem: String,
}

/// What makes the stores of these kinds trust an authority. `looked`: what is in them now.
pub(super) fn to_trust(
    machine: &Machine,
    kinds: &[Kind],
    authority: &Authority<'_>,
    looked: &Looked,
) -> Plan {
    let mut plan = Plan {
        undone: looked.unseen.clone(),
        ..Plan::default()
    };
    let is_it = |found: &&Found| found.certificate.der == authority.certificate.der;
    let there: Vec<_> = looked
        .found
        .iter()
        .filter(is_it)
        .map(|found| &found.place)
        .collect();
    if kinds.contains(&Kind::System) {
        let known = there.iter().find(|place| place.kind() == Kind::System);
        match (known, machine.system()) {
            (Some(place), _) => plan.already.push(place.to_string()),
            (None, Some(layout)) => plan.changes.push(in_system(&layout, authority)),
            // What was looked at says it.
            (None, None) => {}
        }
    }
    if kinds.contains(&Kind::Nss) {
        in_databases(machine, authority, &there, &mut plan);
    }
    plan
}

fn in_system(layout: &Layout, authority: &Authority<'_>) -> Change {
    match layout {
        Layout::Folder {
            family,
            anchors,
            update,
        } => Change {
            store: format!("the system's store ({})", family.name),
            steps: vec![
                Step::Write {
                    path: family.path_of(anchors, authority.certificate),
                    content: authority.pem.clone(),
                    as_root: true,
                },
                updating(update, &[]),
            ],
        },
        Layout::Other(system) => Change {
            store: system.store.to_owned(),
            steps: vec![Step::RunOnCopy {
                program: system.program(),
                arguments: system.add(),
                content: authority.pem.clone(),
                as_root: system.needs_root,
            }],
        },
    }
}

fn updating(update: &Path, arguments: &[OsString]) -> Step {
    Step::Run {
        program: update.to_owned(),
        arguments: arguments.to_vec(),
        input: String::new(),
        as_root: true,
    }
}

/// The steps that take files out where the program goes by a list of what there is. It gets another list for this once, in which
/// those that went are marked with `!`, as its own would be: then it takes their links away and tells its hooks.
fn listed_removal(list: &Path, anchors: &Path, update: &Path, files: Vec<PathBuf>) -> Vec<Step> {
    let Ok(mut text) = std::fs::read_to_string(list) else {
        let removing = files.into_iter().map(Step::Remove);
        let fresh = OsString::from("--fresh");
        return removing.chain([updating(update, &[fresh])]).collect();
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    for file in &files {
        if let Some(name) = file.file_name() {
            let _ = writeln!(text, "!{}", name.to_string_lossy());
        }
    }
    let marked = anchors.join("sealslot-dev.conf");
    let mut steps = vec![Step::Write {
        path: marked.clone(),
        content: text,
        as_root: true,
    }];
    steps.extend(
        files
            .into_iter()
            .filter(|file| *file != marked)
            .map(Step::Remove),
    );
    steps.push(updating(
        update,
        &["--certsconf".into(), marked.clone().into()],
    ));
    steps.push(Step::Remove(marked));
    steps
}

fn in_databases(machine: &Machine, authority: &Authority<'_>, there: &[&Place], plan: &mut Plan) {
    // What was looked at says why others are left alone.
    let (databases, _) = machine.databases();
    let mut databases: Vec<_> = databases.into_iter().map(|known| (known, false)).collect();
    let of_chromium = databases
        .iter()
        .any(|(known, _)| known.browser == "Chromium");
    if !of_chromium && machine.os == "linux" && has_chromium(machine) {
        databases.extend(new_chromium_database(machine).map(|new| (new, true)));
    }
    if databases.is_empty() {
        return;
    }
    let Some(certutil) = machine.programs.find("certutil") else {
        // Where there are databases, what was looked at says it.
        if databases.iter().all(|(_, new)| *new) {
            plan.undone.push(format!(
                "Chromium's NSS database: there is no certutil; install {PACKAGE}"
            ));
        }
        return;
    };
    for (database, new) in databases {
        let known = there
            .iter()
            .find(|place| matches!(place, Place::Nss(folder, _) if *folder == database.folder));
        if let Some(place) = known {
            plan.already.push(place.to_string());
            continue;
        }
        let with = |arguments: &[&str], input: String| {
            let mut all = vec!["-d".into(), database_argument(&database.folder)];
            all.extend(arguments.iter().map(OsString::from));
            Step::Run {
                program: certutil.clone(),
                arguments: all,
                input,
                as_root: false,
            }
        };
        let mut steps = Vec::new();
        if new {
            steps.push(Step::CreateFolder(database.folder.clone()));
            steps.push(with(&["-N", "--empty-password"], String::new()));
        }
        let name = nickname(authority.certificate);
        // For TLS servers alone: not for mail, not for programs.
        steps.push(with(
            &["-A", "-a", "-t", "C,,", "-n", &name],
            authority.pem.clone(),
        ));
        plan.changes.push(Change {
            store: format!("{}: {}", database.browser, database.folder.display()),
            steps,
        });
    }
}

/// What takes authorities of ours out of the stores that `looked` found them in: all, or the one with this fingerprint.
pub(super) fn to_untrust(
    machine: &Machine,
    fingerprint: Option<&str>,
    own: Option<&CertificateFacts>,
    looked: &Looked,
) -> Plan {
    let mut plan = Plan {
        undone: looked.unseen.clone(),
        ..Plan::default()
    };
    let chosen = |found: &&Found| {
        fingerprint.is_none_or(|fingerprint| found.certificate.fingerprint() == fingerprint)
    };
    let found: Vec<_> = looked.found.iter().filter(chosen).collect();
    let debris: &[PathBuf] = match fingerprint {
        None => &looked.debris,
        Some(_) => &[],
    };
    out_of_system(machine, &found, debris, own, &mut plan);
    out_of_databases(machine, &found, &mut plan);
    plan
}

fn out_of_system(
    machine: &Machine,
    found: &[&Found],
    debris: &[PathBuf],
    own: Option<&CertificateFacts>,
    plan: &mut Plan,
) {
    let mut files: Vec<_> = found
        .iter()
        .filter_map(|found| match &found.place {
            Place::File(path) => Some(path.clone()),
            _ => None,
        })
        .collect();
    files.extend(debris.iter().cloned());
    match machine.system() {
        Some(Layout::Folder {
            family,
            anchors,
            update,
        }) if !files.is_empty() => {
            plan.changes.push(Change {
                store: format!("the system's store ({})", family.name),
                steps: if let Some(list) = family.list {
                    listed_removal(&machine.root.join(list), &anchors, &update, files)
                } else {
                    let removing = files.into_iter().map(Step::Remove);
                    removing.chain([updating(&update, &[])]).collect()
                },
            });
        }
        Some(Layout::Other(system)) => {
            let entries = found
                .iter()
                .filter(|found| matches!(found.place, Place::Entry(_)));
            let mut entries: Vec<_> = entries.map(|found| &found.certificate).collect();
            if entries.is_empty() && system.cannot_be_read() {
                entries.extend(own);
            }
            plan.changes
                .extend(entries.into_iter().map(|certificate| Change {
                    store: system.store.to_owned(),
                    steps: vec![Step::Run {
                        program: system.program(),
                        arguments: system.remove(certificate),
                        input: String::new(),
                        as_root: system.needs_root,
                    }],
                }));
        }
        _ => {}
    }
}

/// A database takes out one of those with a name, and does not say which: so all of them go, one after the other, or none.
fn out_of_databases(machine: &Machine, found: &[&Found], plan: &mut Plan) {
    let Some(certutil) = machine.programs.find("certutil") else {
        return;
    };
    let mut done: Vec<&Place> = Vec::new();
    for one in found {
        let Place::Nss(folder, name) = &one.place else {
            continue;
        };
        if done.contains(&&one.place) {
            continue;
        }
        done.push(&one.place);
        let going = found.iter().filter(|other| other.place == one.place);
        if going.count() < one.namesakes {
            plan.undone.push(format!(
                "{}: {} certificates are called {name:?} there, and certutil cannot be told which of them to take out; take out \
                 that with SHA-256 {} in the settings of the browser, or all of them without --fingerprint",
                one.place,
                one.namesakes,
                one.certificate.fingerprint()
            ));
            continue;
        }
        let step = Step::Run {
            program: certutil.clone(),
            arguments: vec![
                "-d".into(),
                database_argument(folder),
                "-D".into(),
                "-n".into(),
                name.into(),
            ],
            input: String::new(),
            as_root: false,
        };
        plan.changes.push(Change {
            store: one.place.to_string(),
            steps: vec![step; one.namesakes],
        });
    }
}

#[cfg(test)]
mod tests;
