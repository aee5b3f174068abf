//! NSS databases: of Firefox one for each profile, of Chromium on Linux one for the user. `certutil` of libnss3-tools reads and
//! changes them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Found, Looked, Machine, Place, owned, run};
use crate::tls::dev::{CertificateFacts, OUR_AUTHORITIES, read_facts_of};

/// The package with `certutil`.
pub(in crate::cli::certs) const PACKAGE: &str = "libnss3-tools (Debian, Ubuntu), nss-tools (Fedora), nss (Arch, Homebrew) or mozilla-nss-tools (openSUSE)";
/// The file that makes a folder a database.
const FILE: &str = "cert9.db";
/// What NSS reads of one: among them the list of libraries that it loads.
const READ: [&str; 3] = [FILE, "key4.db", "pkcs11.txt"];
/// The most profiles that are looked at in one place.
const MAX_PROFILES: usize = 100;

/// Where Firefox has its profiles, below the home: as a package, by the rules of XDG, as a snap, as a Flatpak, on macOS.
const FIREFOX: [&str; 5] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/config/mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
];
/// Where Chromium has its database, below the home. The first is that of packages, and of Chrome; Flatpaks share it.
const CHROMIUM: [&str; 3] = [
    ".pki/nssdb",
    "snap/chromium/current/.pki/nssdb",
    ".var/app/org.chromium.Chromium/.pki/nssdb",
];
/// What Chromium and its relatives are called.
const CHROMIUMS: [&str; 7] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "brave-browser",
    "microsoft-edge",
    "vivaldi",
];

/// A database that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli::certs) struct Database {
    /// Its folder.
    pub(in crate::cli::certs) folder: PathBuf,
    /// Whose it is.
    pub(in crate::cli::certs) browser: &'static str,
}

/// The databases of this user, by paths without links, and why others are left alone.
pub(super) fn find(machine: &Machine) -> (Vec<Database>, Vec<String>) {
    let Some(home) = &machine.home else {
        return (Vec::new(), Vec::new());
    };
    let mut found: Vec<Database> = Vec::new();
    let mut others = Vec::new();
    let mut add = |folder: PathBuf, browser| {
        if !folder.join(FILE).is_file() {
            return;
        }
        let folder = fs::canonicalize(&folder).unwrap_or(folder);
        if found.iter().any(|known| known.folder == folder) {
            return;
        }
        let why = owned::why_not(&folder, machine.acts_as)
            .or_else(|| owned::why_not_files(&folder, &READ, machine.acts_as));
        match why {
            None => found.push(Database { folder, browser }),
            Some(why) => others.push(format!(
                "NSS database {}: {why}; make it yours alone (chown, chmod go-w), for NSS runs what it names",
                folder.display()
            )),
        }
    };
    let by_config = machine
        .config_home
        .iter()
        .map(|config| config.join("mozilla/firefox"));
    for place in FIREFOX
        .iter()
        .map(|place| home.join(place))
        .chain(by_config)
    {
        for profile in folders_in(&place) {
            add(profile, "Firefox");
        }
    }
    let by_data = machine.data_home.iter().map(|data| data.join("pki/nssdb"));
    for folder in CHROMIUM.iter().map(|place| home.join(place)).chain(by_data) {
        add(folder, "Chromium");
    }
    (found, others)
}

fn folders_in(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries
        .map(|entry| entry.path())
        .take(MAX_PROFILES)
        .collect();
    folders.sort();
    folders
}

/// Whether there is a Chromium that would read a database.
pub(in crate::cli::certs) fn has_chromium(machine: &Machine) -> bool {
    CHROMIUMS
        .iter()
        .any(|name| machine.programs.find(name).is_some())
}

/// Where a Chromium reads the database that does not exist yet. Old ones know this place alone, and new ones prefer it where it is
/// there.
pub(in crate::cli::certs) fn new_chromium_database(machine: &Machine) -> Option<Database> {
    let folder = machine.home.as_ref()?.join(CHROMIUM[0]);
    let ours = machine.barred().is_none() && owned::why_not(&folder, machine.acts_as).is_none();
    ours.then_some(Database {
        folder,
        browser: "Chromium",
    })
}

/// The argument that names a database.
pub(in crate::cli::certs) fn named(folder: &Path) -> OsString {
    let mut name = OsString::from("sql:");
    name.push(folder);
    name
}

/// Looks for authorities of ours that are trusted.
pub(super) fn look(machine: &Machine, databases: &[Database], looked: &mut Looked) {
    if databases.is_empty() {
        return;
    }
    let Some(certutil) = machine.programs.find("certutil") else {
        let unseen = format!("NSS databases: there is no certutil; install {PACKAGE}");
        return looked.unseen.push(unseen);
    };
    for Database { folder, .. } in databases {
        let list = ["-L".into(), "-d".into(), named(folder)];
        let listed = match run(certutil.as_os_str(), &list, b"") {
            Ok(ran) if ran.success => ran.stdout,
            Ok(ran) => {
                let said = ran.stderr.lines().next().unwrap_or_default().to_owned();
                looked
                    .unseen
                    .push(format!("NSS database {}: {said}", folder.display()));
                continue;
            }
            Err(error) => {
                looked
                    .unseen
                    .push(format!("NSS database {}: {error}", folder.display()));
                continue;
            }
        };
        for nickname in our_nicknames(&listed) {
            let show = [
                &list[..],
                &["-a".into(), "-n".into(), nickname.clone().into()],
            ]
            .concat();
            let shown = run(certutil.as_os_str(), &show, b"").map(|ran| ran.stdout);
            let named = read_facts_of(shown.unwrap_or_default().as_bytes());
            let namesakes = named.len();
            for certificate in named {
                if certificate.our_name().is_some() {
                    let place = Place::Nss(folder.clone(), nickname.clone());
                    looked.found.push(Found {
                        place,
                        certificate,
                        namesakes,
                    });
                }
            }
        }
    }
}

/// The names in what `certutil -L` prints that authorities of ours have: each line is a name and, behind spaces, its trust.
/// Behind it Firefox may have put more where somebody imported it by hand.
fn our_nicknames(listed: &str) -> Vec<String> {
    let names = listed.lines().filter_map(|line| {
        let (name, trust) = line.trim_end().rsplit_once(' ')?;
        let name = name.trim_end();
        (trust.matches(',').count() == 2 && name.starts_with(OUR_AUTHORITIES.trim_end()))
            .then(|| name.to_owned())
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.dedup();
    names
}

/// What an authority of ours is called in a database.
pub(in crate::cli::certs) fn nickname(certificate: &CertificateFacts) -> String {
    certificate.our_name().unwrap_or(OUR_AUTHORITIES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_out_of_what_certutil_lists() {
        let listed = "\nCertificate Nickname                                         Trust Attributes\n\
             \u{20}                                                            SSL,S/MIME,JAR/XPI\n\n\
             Sealslot development CA 0123abcd                             C,,  \n\
             Sealslot development CA 0123abcd                             C,,  \n\
             My Sealslot development CA                                   C,,\n\
             A CA                                                         CT,C,C\n";
        assert_eq!(our_nicknames(listed), ["Sealslot development CA 0123abcd"]);
    }
}
