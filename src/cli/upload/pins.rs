//! The keys that a server named when something was first sealed for it: whoever takes over the server can name others, and this
//! is where it shows.
//!
//! A file of the user's, a place on a line and behind it the fingerprints of its keys, with blanks in between. Places are
//! [`Endpoint::place`](crate::cli::client::endpoint::Endpoint::place), so no link stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::geteuid;

use super::state::make_private;

/// Far more than anybody's servers need, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// Fingerprints of keys: which ones they are, and in no order.
pub(super) type Fingerprints = BTreeSet<String>;

/// Why it is not clear what is pinned. What is not clear is never taken for nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum PinError {
    /// The system refused something.
    #[error("cannot {doing} the keys that are known of servers, {}", path.display())]
    Unusable {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could read, or write, it.
    #[error(
        "{0} holds the keys that are known of servers, and others can reach it (mode {mode:04o}): look at what it says, and \
         run `chmod 600 {0}`",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is another user's.
    #[error("{}, the keys that are known of servers, belongs to another user: look at what it says, and make it yours", .0.display())]
    Foreign(PathBuf),
    /// Not written by us.
    #[error(
        "{}, line {line}, is no place with its keys: correct the line, or remove it if you can do without what it says",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
    },
}

/// The file.
pub(super) struct Pins {
    folder: PathBuf,
    path: PathBuf,
}

impl Pins {
    /// In the folder that is the user's.
    pub(super) fn of(folder: PathBuf) -> Self {
        Self {
            path: folder.join("known_recipients"),
            folder,
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that are known of a place, if any are.
    pub(super) fn known(&self, place: &str) -> Result<Option<Fingerprints>, PinError> {
        Ok(self.read()?.remove(place))
    }

    /// Makes `keys` those that are known of a place, durably, and leaves all others as they are.
    pub(super) fn pin(&self, place: &str, keys: Fingerprints) -> Result<(), PinError> {
        let failed = |source| self.unusable("write", source);
        make_private(&self.folder).map_err(failed)?;
        let folder = File::open(&self.folder).map_err(failed)?;
        // Another command may be at it. Where the file system has no locks, that is a risk of little.
        let _ = flock(&folder, FlockOperation::LockExclusive);
        let mut all = self.read()?;
        all.insert(place.to_owned(), keys);
        self.write(&all)
            .and_then(|()| folder.sync_all())
            .map_err(failed)
    }

    fn write(&self, all: &BTreeMap<String, Fingerprints>) -> io::Result<()> {
        // Nobody but its owner reads what `tempfile` makes.
        let mut file = tempfile::Builder::new()
            .prefix(".sealslot-")
            .tempfile_in(&self.folder)?;
        for (place, keys) in all {
            write!(file, "{place}")?;
            for key in keys {
                write!(file, " {key}")?;
            }
            writeln!(file)?;
        }
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn read(&self) -> Result<BTreeMap<String, Fingerprints>, PinError> {
        let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.cast_signed())
            .open(&self.path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(self.unusable("read", error)),
        };
        let metadata = file
            .metadata()
            .map_err(|error| self.unusable("read", error))?;
        if metadata.uid() != geteuid().as_raw() {
            return Err(PinError::Foreign(self.path.clone()));
        }
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = self.path.clone();
            return Err(PinError::Exposed { path, mode });
        }
        let mut text = String::new();
        file.take(MAX_SIZE)
            .read_to_string(&mut text)
            .map_err(|error| self.unusable("read", error))?;
        self.parse(&text)
    }

    fn parse(&self, text: &str) -> Result<BTreeMap<String, Fingerprints>, PinError> {
        let mut all = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let damaged = || PinError::Damaged {
                path: self.path.clone(),
                line: number + 1,
            };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split(' ');
            let place = words.next().filter(|place| place.contains(':'));
            let keys: Fingerprints = words.map(str::to_owned).collect();
            let sound = !keys.is_empty() && keys.iter().all(|key| is_fingerprint(key));
            let place = place.filter(|_| sound).ok_or_else(damaged)?;
            if all.insert(place.to_owned(), keys).is_some() {
                return Err(damaged());
            }
        }
        // A line that was cut off may have lost keys.
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(PinError::Damaged {
                path: self.path.clone(),
                line: text.lines().count(),
            });
        }
        Ok(all)
    }

    fn unusable(&self, doing: &'static str, source: io::Error) -> PinError {
        PinError::Unusable {
            doing,
            path: self.path.clone(),
            source,
        }
    }
}

fn is_fingerprint(text: &str) -> bool {
    let rest = text.strip_prefix("SHA256:").or(text.strip_prefix("age1"));
    rest.is_some_and(|rest| !rest.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn keys(of: &[&str]) -> Fingerprints {
        of.iter().map(|key| (*key).to_owned()).collect()
    }

    fn pins() -> (tempfile::TempDir, Pins) {
        let dir = tempfile::tempdir().unwrap();
        let pins = Pins::of(dir.path().join("state/sealslot"));
        (dir, pins)
    }

    #[test]
    fn what_is_pinned_is_known_again_and_nobody_else_reads_it() {
        let (_dir, pins) = pins();
        assert_eq!(pins.known("host:443").unwrap(), None);
        pins.pin("host:443", keys(&["SHA256:b", "SHA256:a"]))
            .unwrap();
        pins.pin("host:443/00", keys(&["age1x"])).unwrap();
        assert_eq!(
            pins.known("host:443").unwrap(),
            Some(keys(&["SHA256:a", "SHA256:b"]))
        );
        pins.pin("host:443", keys(&["age1y"])).unwrap();
        assert_eq!(pins.known("host:443").unwrap(), Some(keys(&["age1y"])));
        assert_eq!(pins.known("host:443/00").unwrap(), Some(keys(&["age1x"])));
        let mode = pins.path.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let text = fs::read_to_string(&pins.path).unwrap();
        assert_eq!(text, "host:443 age1y\nhost:443/00 age1x\n");
    }

    #[test]
    fn what_is_not_clear_is_not_taken_for_nothing() {
        let (_dir, pins) = pins();
        pins.pin("host:443", keys(&["age1y"])).unwrap();
        for (text, line) in [
            ("host:443\n", 1),
            ("# mine\n\nhost:443 \n", 3),
            ("host age1y\n", 1),
            ("host:443 age1y", 1),
            ("host:443 SHA256:\n", 1),
            ("host:443 x\n", 1),
            ("host:443 age1y\nhost:443 age1z\n", 2),
        ] {
            fs::write(&pins.path, text).unwrap();
            let failed = pins.known("host:443");
            assert!(
                matches!(failed, Err(PinError::Damaged { line: found, .. }) if found == line),
                "{text:?}: {failed:?}"
            );
            // Nothing that somebody may still need is overwritten.
            assert!(pins.pin("other:443", keys(&["age1y"])).is_err());
            assert_eq!(fs::read_to_string(&pins.path).unwrap(), text);
        }
        fs::write(&pins.path, "\u{0}\u{ff}").unwrap();
        assert!(pins.known("host:443").is_err());
        fs::write(&pins.path, [0xff]).unwrap();
        assert!(matches!(
            pins.known("host:443"),
            Err(PinError::Unusable { .. })
        ));
    }

    #[test]
    fn what_others_can_reach_is_not_believed() {
        let (_dir, pins) = pins();
        pins.pin("host:443", keys(&["age1y"])).unwrap();
        for mode in [0o640, 0o602, 0o644] {
            fs::set_permissions(&pins.path, PermissionsExt::from_mode(mode)).unwrap();
            assert!(matches!(
                pins.known("host:443"),
                Err(PinError::Exposed { .. })
            ));
        }
        fs::remove_file(&pins.path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &pins.path).unwrap();
        assert!(pins.known("host:443").is_err());
    }
}
