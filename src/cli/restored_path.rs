//! From the name that a client gave to a place below the output folder. What browsers send of a folder has `/` in its names.

use serde::{Deserialize, Serialize};

use super::restored_name::restored_name;

/// The most folders and name together. Nobody's folders are deeper; what is says nothing that is worth a walk.
const MAX_DEPTH: usize = 32;
/// The longest folders together, in bytes: half of what the system takes, so that the output folder has room too.
const MAX_FOLDERS: usize = 2048;

/// Where something goes below the output folder: each part is as [`restored_name`] makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RestoredPath {
    /// From the outermost on; often none.
    pub(super) folders: Vec<String>,
    /// The file's name.
    pub(super) name: String,
}

/// Makes a path of `given`, which may be anything; only `/` parts it. The name is what follows the last one, or, where that
/// leaves nothing, `fallback`.
///
/// Folders that are empty or `.` say nothing and are left out, `..` and others of which nothing is left become `_`: no part
/// leads out or up. What is too deep or too long becomes part of the name, with `_` in between.
pub(super) fn restored_path(given: &str, fallback: &str) -> RestoredPath {
    let (above, name) = given.rsplit_once('/').unwrap_or(("", given));
    let mut folders = Vec::new();
    let mut length = 0;
    // What has no room as a folder.
    let mut rest = String::new();
    for part in above.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let folder = restored_name(part, "_");
        length += folder.len() + 1;
        if rest.is_empty() && folders.len() + 1 < MAX_DEPTH && length <= MAX_FOLDERS {
            folders.push(folder);
        } else {
            rest.push_str(part);
            rest.push('_');
        }
    }
    RestoredPath {
        folders,
        name: restored_name(&(rest + name), fallback),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::{Component, Path, PathBuf};

    impl RestoredPath {
        fn joined(&self) -> String {
            let parts = self.folders.iter().chain([&self.name]);
            parts.map(String::as_str).collect::<Vec<_>>().join("/")
        }
    }

    fn restored(given: &str) -> String {
        restored_path(given, "fallback").joined()
    }

    #[test]
    fn folders_stay() {
        for path in [
            "report.pdf",
            "photos/2026/a.jpg",
            "a b/été à l'été/報告書.docx",
            "-rf/_",
        ] {
            assert_eq!(restored(path), path);
        }
        let deep = format!("{}name.tar.gz", "d/".repeat(31));
        assert_eq!(restored(&deep), deep);
    }

    #[test]
    fn no_part_leads_anywhere() {
        for (given, path) in [
            ("../../etc/passwd", "_/_/etc/passwd"),
            ("/etc/passwd", "etc/passwd"),
            ("//host//share", "host/share"),
            ("./a/./b", "a/b"),
            ("a/../../b", "a/_/_/b"),
            (r"C:\Windows\system.ini", "C__Windows_system.ini"),
            (r"C:\x/..\y", "C__x/_y"),
            ("a/", "a/fallback"),
            ("a/.", "a/fallback"),
            ("a/..", "a/fallback"),
            ("/", "fallback"),
            ("..", "fallback"),
            ("", "fallback"),
            (" / /x", "_/_/x"),
            (".../x", "_/x"),
            (".git/hooks/post-commit", "git/hooks/post-commit"),
            ("nul/con.txt", "_nul/_con.txt"),
            ("a\0/b\n/\u{202e}c", "a_/b_/_c"),
            ("a:b/c?", "a_b/c_"),
            ("~/.ssh/authorized_keys", "~/ssh/authorized_keys"),
        ] {
            assert_eq!(restored(given), path, "{given:?}");
        }
    }

    #[test]
    fn what_is_too_deep_or_too_long_becomes_part_of_the_name() {
        let path = restored_path(&format!("{}name.txt", "d/".repeat(33)), "fallback");
        assert_eq!(path.folders.len(), 31);
        assert_eq!(path.name, "d_d_name.txt");
        let path = restored_path(&format!("{}name.txt", "d/".repeat(10_000)), "fallback");
        assert_eq!((path.folders.len(), path.name.len()), (31, 255));
        assert!(path.name.ends_with("_d.txt"), "{}", path.name);
        let long = "x".repeat(300) + "/";
        let path = restored_path(&format!("{}a/name.txt", long.repeat(9)), "fallback");
        assert_eq!(path.folders.len(), 8);
        assert!(path.name.ends_with("x.txt"), "{}", path.name);
    }

    fn any_path() -> impl Strategy<Value = String> {
        let hostile = prop::sample::select(vec![
            "/", "//", "..", ".", "\\", "\0", " ", ":", "\u{202e}", "é", "a", "NUL", "/../",
        ]);
        let part = prop_oneof![
            hostile.prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
            "[a-z]{1,300}/",
        ];
        prop::collection::vec(part, 0..100).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn every_path_stays_below(given in any_path()) {
            let path = restored_path(&given, "fallback");
            let joined = path.joined();
            let components: Vec<_> = Path::new(&joined).components().collect();
            let normal = |component: &Component| matches!(component, Component::Normal(_));
            prop_assert!(components.iter().all(normal), "{}", joined);
            prop_assert_eq!(components.len(), path.folders.len() + 1);
            prop_assert!(components.len() <= MAX_DEPTH && joined.len() <= MAX_FOLDERS + 255);
            // Each part is a safe name already: nothing is left to make safe.
            for part in path.folders.iter().chain([&path.name]) {
                prop_assert_eq!(&restored_name(part, ""), part);
            }
            prop_assert!(PathBuf::from("out").join(&joined).starts_with("out"));
            prop_assert_eq!(restored_path(&joined, "fallback"), path);
        }
    }
}
