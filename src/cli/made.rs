//! What one run has made, told apart from what was there before.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files and folders that this run made. They are known by what they are, since on some file systems `Invoice.pdf` and
/// `invoice.pdf` are one file; and by their paths, since on some a file has no number that it keeps.
#[derive(Default)]
pub(super) struct Made {
    paths: HashSet<PathBuf>,
    /// Device and inode.
    inodes: HashSet<(u64, u64)>,
}

impl Made {
    /// Remembers what stands at `path` now.
    pub(super) fn insert(&mut self, path: &Path) {
        self.inodes
            .extend(path.symlink_metadata().ok().as_ref().map(inode));
        self.paths.insert(path.to_owned());
    }

    /// Whether what stands at `path` is of this run. A link is not what it leads to.
    pub(super) fn contains(&self, path: &Path) -> bool {
        let there = path.symlink_metadata();
        self.paths.contains(path) || there.is_ok_and(|there| self.inodes.contains(&inode(&there)))
    }
}

fn inode(there: &Metadata) -> (u64, u64) {
    (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_known_under_every_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["Invoice.pdf", "other"] {
            fs::write(path(name), "x").unwrap();
        }
        fs::create_dir(path("Folder")).unwrap();
        let mut made = Made::default();
        made.insert(&path("Invoice.pdf"));
        made.insert(&path("Folder"));
        // As a file system does that does not tell upper case from lower.
        fs::hard_link(path("Invoice.pdf"), path("invoice.pdf")).unwrap();
        symlink(path("Invoice.pdf"), path("link")).unwrap();
        assert!(made.contains(&path("Invoice.pdf")) && made.contains(&path("invoice.pdf")));
        assert!(made.contains(&path("Folder")) && made.contains(&path("Folder/.")));
        for name in ["other", "link", "nothing"] {
            assert!(!made.contains(&path(name)), "{name}");
        }
    }

    #[test]
    fn a_path_stays_known_whatever_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut made = Made::default();
        fs::write(&path, "x").unwrap();
        made.insert(&path);
        fs::write(dir.path().join("b"), "y").unwrap();
        fs::rename(dir.path().join("b"), &path).unwrap();
        assert!(made.contains(&path));
    }
}
