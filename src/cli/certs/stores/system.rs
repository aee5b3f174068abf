//! The system's own store, told by the layout of the file system: each family has a folder for certificates that were added, and a
//! program that makes the store of it anew.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::other_systems::OtherSystem;
use super::{Found, Looked, Machine, Place, file_name, is_our_file};
use crate::tls::dev::{CertificateFacts, read_facts_of};

/// The most that is read of a file in such a folder, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most files of such a folder that are looked at.
const MAX_FILES: usize = 10_000;

/// A family of Linux distributions.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::certs) struct Family {
    pub(in crate::cli::certs) name: &'static str,
    /// The folder of what was added, below the root.
    anchors: &'static str,
    /// What the names of its files end with; others may be overlooked.
    extension: &'static str,
    pub(in crate::cli::certs) update: &'static str,
    /// The list of what that program takes, below the root, where it has to be told in it what went: else it would leave the links,
    /// and not tell the stores that are made of this one, as Java's is.
    pub(in crate::cli::certs) list: Option<&'static str>,
}

/// Each folder is no other family's, so their order does not matter where a system has one alone. Debian's comes last: others have
/// packages that make it.
const FAMILIES: [Family; 4] = [
    Family {
        name: "Fedora, RHEL",
        anchors: "etc/pki/ca-trust/source/anchors",
        extension: "pem",
        update: "update-ca-trust",
        list: None,
    },
    Family {
        name: "Arch Linux",
        anchors: "etc/ca-certificates/trust-source/anchors",
        extension: "crt",
        update: "update-ca-trust",
        list: None,
    },
    Family {
        name: "openSUSE",
        anchors: "etc/pki/trust/anchors",
        extension: "pem",
        update: "update-ca-certificates",
        list: None,
    },
    Family {
        name: "Debian, Ubuntu",
        anchors: "usr/local/share/ca-certificates",
        extension: "crt",
        update: "update-ca-certificates",
        list: Some("etc/ca-certificates.conf"),
    },
];

impl Family {
    /// What the file of an authority is called in there.
    pub(in crate::cli::certs) fn path_of(
        &self,
        anchors: &Path,
        certificate: &CertificateFacts,
    ) -> PathBuf {
        anchors.join(file_name(certificate, self.extension))
    }
}

/// How a system keeps its store.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::certs) enum Layout {
    /// A folder of files, and a program.
    Folder {
        family: &'static Family,
        anchors: PathBuf,
        /// The program that makes the store of it.
        update: PathBuf,
    },
    /// Commands alone.
    Other(&'static OtherSystem),
}

impl Layout {
    /// A family is recognised by its folder together with its program.
    pub(super) fn of(machine: &Machine) -> Option<Self> {
        if machine.os != "linux" {
            return OtherSystem::of(machine.os).map(Self::Other);
        }
        FAMILIES.iter().find_map(|family| {
            let anchors = machine.root.join(family.anchors);
            let update = machine.programs.find(family.update)?;
            anchors.is_dir().then_some(Self::Folder {
                family,
                anchors,
                update,
            })
        })
    }

    /// Looks for authorities of ours, also those that were put there by hand under another name.
    pub(super) fn look(&self, looked: &mut Looked) {
        let anchors = match self {
            Self::Folder { anchors, .. } => anchors,
            Self::Other(system) => return system.look(looked),
        };
        let Ok(entries) = fs::read_dir(anchors) else {
            let unseen = format!("the system's store: {} cannot be read", anchors.display());
            return looked.unseen.push(unseen);
        };
        let mut paths: Vec<_> = entries
            .take(MAX_FILES)
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .collect();
        paths.sort();
        for path in paths {
            let Some(mut certificates) = read(&path) else {
                if is_our_file(&path) {
                    let unseen = format!("the system's store: {} cannot be read", path.display());
                    looked.unseen.push(unseen);
                }
                continue;
            };
            if certificates.is_empty() && is_our_file(&path) {
                looked.debris.push(path);
                continue;
            }
            // A file with more than that is somebody else's. One alone may be under any name: of before `certs trust`, or of Arch's
            // `trust anchor --store`, which writes PEM into a file of its own form.
            let one = (certificates.len() == 1)
                .then(|| certificates.pop())
                .flatten();
            let Some(certificate) = one.filter(|facts| facts.our_name().is_some()) else {
                continue;
            };
            looked.found.push(Found {
                place: Place::File(path),
                certificate,
                namesakes: 1,
            });
        }
    }
}

/// The certificates in a file. A pipe would never end, and a link leads to something that is not the store's.
fn read(path: &Path) -> Option<Vec<CertificateFacts>> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return Some(Vec::new());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(read_facts_of(&bytes))
}
