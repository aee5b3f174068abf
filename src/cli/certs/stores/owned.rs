//! Whether a place is this user's alone to change.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// That everybody may make files in a folder, and change nobody else's.
const STICKY: u32 = 0o1000;

/// Why somebody beside `user` and root could change what a path leads to, where that is so. The path is one without links. What does
/// not exist yet is nobody's.
pub(super) fn why_not(path: &Path, user: (u32, u32)) -> Option<String> {
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return why_not(path.parent()?, user);
        }
        Err(error) => return Some(error.to_string()),
    };
    let parents = path.ancestors().skip(1).find_map(|folder| {
        let why = wrong(folder, user, |owner| owner == user.0 || owner == 0)?;
        // Of what others put there, nothing is ours: what is ours in there is looked at by itself.
        let sticky = fs::metadata(folder).is_ok_and(|data| data.mode() & STICKY != 0);
        (!sticky).then_some(why)
    });
    parents.or_else(|| wrong(&path, user, |owner| owner == user.0))
}

/// The same for files in a folder, which may be missing but no links.
pub(super) fn why_not_files(folder: &Path, names: &[&str], user: (u32, u32)) -> Option<String> {
    names.iter().find_map(|name| {
        let path: PathBuf = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(data) if data.is_file() => wrong(&path, user, |owner| owner == user.0),
            Ok(_) => Some(format!("{} is no file", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("{}: {error}", path.display())),
        }
    })
}

fn wrong(path: &Path, user: (u32, u32), may_own: impl Fn(u32) -> bool) -> Option<String> {
    let data: Metadata = match fs::symlink_metadata(path) {
        Ok(data) => data,
        Err(error) => return Some(format!("{}: {error}", path.display())),
    };
    if !may_own(data.uid()) {
        return Some(format!("{} is another user's", path.display()));
    }
    let by_group = data.mode() & 0o020 != 0 && data.gid() != user.1;
    (by_group || data.mode() & 0o002 != 0)
        .then(|| format!("others can write to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_place_is_ours_where_nobody_else_can_change_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = fs::metadata(dir.path()).unwrap();
        let user = (data.uid(), data.gid());
        let place = dir.path().join("a/b");
        fs::create_dir_all(&place).unwrap();
        let open = |path: &str, mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(dir.path().join(path), mode).unwrap();
        };
        open("a", 0o755);
        open("a/b", 0o700);
        assert_eq!(why_not(&place, user), None);
        assert_eq!(why_not(&place.join("new/one"), user), None);
        assert!(why_not(&place, (user.0 + 1, user.1)).is_some());
        for path in ["a", "a/b"] {
            open(path, 0o777);
            assert!(why_not(&place, user).is_some(), "{path}");
            open(path, 0o775);
            assert_eq!(why_not(&place, user), None);
            assert!(why_not(&place, (user.0, user.1 + 1)).is_some(), "{path}");
            open(path, 0o755);
        }
        // By where a link leads, and not by where it is.
        open("a", 0o777);
        symlink(&place, dir.path().join("link")).unwrap();
        assert!(why_not(&dir.path().join("link"), user).is_some());
        open("a", 0o755);
        assert_eq!(why_not(&dir.path().join("link"), user), None);

        assert_eq!(why_not_files(&place, &["x"], user), None);
        fs::write(place.join("x"), "").unwrap();
        open("a/b/x", 0o600);
        assert_eq!(why_not_files(&place, &["x"], user), None);
        open("a/b/x", 0o666);
        assert!(why_not_files(&place, &["x"], user).is_some());
        symlink("x", place.join("y")).unwrap();
        assert!(why_not_files(&place, &["y"], user).is_some());
    }
}
