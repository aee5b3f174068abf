//! The trust stores of a machine: where they are, and what of ours is in them.
//!
//! Nothing here changes anything. What is to be changed is a [`plan`](super::plan).

mod nss;
mod other_systems;
mod owned;
mod programs;
mod system;

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::tls::dev::CertificateFacts;

pub(super) use nss::{
    Database, PACKAGE, has_chromium, named as database_argument, new_chromium_database, nickname,
};
pub(super) use programs::{Programs, run};
pub(super) use system::Layout;

/// What a store is called on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// That of the system, which curl and most programs read
    System,
    /// Those of Firefox and Chromium (NSS databases) of this user
    Nss,
}

/// The machine, as far as its stores go. Only [`Machine::this`] asks the environment, so that tests have one of their own.
#[derive(Debug)]
pub(super) struct Machine {
    /// `linux`, `macos` or `windows`.
    pub(super) os: &'static str,
    /// `/`
    pub(super) root: PathBuf,
    /// This user's home; the only one that is looked at.
    pub(super) home: Option<PathBuf>,
    /// `$XDG_CONFIG_HOME`, or `.config` in the home.
    pub(super) config_home: Option<PathBuf>,
    /// `$XDG_DATA_HOME`, or `.local/share` in the home.
    pub(super) data_home: Option<PathBuf>,
    /// Whether this user may change the system's store.
    pub(super) is_root: bool,
    /// The user and the group that this process acts as.
    pub(super) acts_as: (u32, u32),
    /// Who has called this by `sudo`.
    pub(super) called_by: Option<String>,
    pub(super) programs: Programs,
}

impl Machine {
    /// The one that this runs on.
    pub(super) fn this() -> Self {
        let absolute = |name: &str| {
            let path = PathBuf::from(env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let home = absolute("HOME");
        let below = |name: &str, place: &str| {
            absolute(name).or_else(|| home.as_ref().map(|home| home.join(place)))
        };
        let user = rustix::process::geteuid();
        let is_root = user.is_root();
        Self {
            os: env::consts::OS,
            root: "/".into(),
            config_home: below("XDG_CONFIG_HOME", ".config"),
            data_home: below("XDG_DATA_HOME", ".local/share"),
            home,
            is_root,
            acts_as: (user.as_raw(), rustix::process::getegid().as_raw()),
            called_by: env::var("SUDO_USER").ok().filter(|user| !user.is_empty()),
            programs: Programs::of(Path::new("/"), search_path(is_root)),
        }
    }

    /// Where the system keeps its store; `None` where that is not known.
    pub(super) fn system(&self) -> Option<Layout> {
        Layout::of(self)
    }

    /// The NSS databases of this user that are nobody else's to change, and what is wrong with others.
    pub(super) fn databases(&self) -> (Vec<Database>, Vec<String>) {
        if self.os == "windows" || self.barred().is_some() {
            return (Vec::new(), Vec::new());
        }
        nss::find(self)
    }

    /// Why no NSS database is looked at, and what to do. NSS runs the libraries that a database names: in one of somebody else they
    /// would run as this user, who may be root.
    pub(super) fn barred(&self) -> Option<String> {
        let home = self.home.as_ref()?;
        let why = match &self.called_by {
            Some(user) => format!("this runs under sudo for {user}"),
            None => format!(
                "the home {}: {}",
                home.display(),
                owned::why_not(home, self.acts_as)?
            ),
        };
        Some(format!(
            "the databases of browsers: {why}; run it as the user whose browsers they are, without sudo: it uses sudo itself for the \
             system's store"
        ))
    }
}

/// Absolute folders of the search path. Root's programs are looked for in the system's own folders alone.
fn search_path(is_root: bool) -> Vec<PathBuf> {
    let path = env::var_os("PATH").filter(|_| !is_root);
    let folders = path.iter().flat_map(env::split_paths);
    folders.filter(|folder| folder.is_absolute()).collect()
}

/// An authority of ours that was found in a store.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) certificate: CertificateFacts,
    /// How many certificates, itself among them, have the name by which it would be taken out.
    pub(super) namesakes: usize,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file among those that the system's store is made of.
    File(PathBuf),
    /// A database of NSS, and what it is called in there.
    Nss(PathBuf, String),
    /// The keychain or store of another system.
    Entry(&'static str),
}

impl Place {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::File(_) | Self::Entry(_) => Kind::System,
            Self::Nss(..) => Kind::Nss,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the system's store: {}", path.display()),
            Self::Nss(folder, _) => write!(f, "NSS database {}", folder.display()),
            Self::Entry(store) => f.write_str(store),
        }
    }
}

/// What a look at the stores brought.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// The authorities of ours.
    pub(super) found: Vec<Found>,
    /// Files that are called like ours and hold no certificate.
    pub(super) debris: Vec<PathBuf>,
    /// What could not be looked at, and why.
    pub(super) unseen: Vec<String>,
}

/// Looks for authorities of ours in all stores of these kinds.
pub(super) fn look(machine: &Machine, kinds: &[Kind]) -> Looked {
    let mut looked = Looked::default();
    if kinds.contains(&Kind::System) {
        match machine.system() {
            Some(layout) => layout.look(&mut looked),
            None => looked.unseen.push(
                "the system's store: none of a kind that is known here (on Debian and its relatives, install ca-certificates)"
                    .to_owned(),
            ),
        }
    }
    if kinds.contains(&Kind::Nss) {
        let (databases, others) = machine.databases();
        looked.unseen.extend(others);
        nss::look(machine, &databases, &mut looked);
    }
    looked
}

/// The name of a file with an authority of ours.
fn file_name(certificate: &CertificateFacts, extension: &str) -> String {
    let fingerprint = certificate.fingerprint().replace(':', "");
    format!(
        "sealslot-dev-{}.{extension}",
        fingerprint[..16].to_ascii_lowercase()
    )
}

/// Whether a file was named by us: now, or by the instructions of before.
fn is_our_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with("sealslot-dev"))
}
