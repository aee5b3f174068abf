//! Holds the modules to the order of DESIGN.md section 5.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which module may use which others.
const MAY_USE: [(&str, &[&str]); 15] = [
    ("memory", &[]),
    ("seal", &["memory"]),
    // Of `tls` what connections to a bucket are made with.
    ("store", &["memory", "tls"]),
    ("keys", &["seal"]),
    ("grant", &["store"]),
    ("upload", &["grant", "memory", "seal", "keys", "store"]),
    // Observers of `upload`.
    ("audit", &["upload", "store"]),
    ("webhook", &["upload", "store", "tls"]),
    // Of `store` and `seal` the types that requests name: ids, sealed files, errors.
    (
        "http",
        &[
            "audit", "upload", "grant", "keys", "memory", "seal", "store", "webhook",
        ],
    ),
    ("tls", &[]),
    // Beside `tls`: it makes what that serves with.
    ("acme", &["tls"]),
    ("server", &["acme", "grant", "http", "memory", "tls"]),
    // Of `upload` the limits that are settings.
    (
        "config",
        &[
            "acme", "grant", "http", "server", "store", "tls", "upload", "webhook",
        ],
    ),
    (
        "cli",
        &[
            "acme", "audit", "config", "grant", "http", "keys", "seal", "server", "store", "tls",
            "upload", "webhook",
        ],
    ),
    ("main", &["cli"]),
];

/// What a module must not know of the world outside.
const MUST_NOT_NAME: [(&str, &[&str]); 8] = [
    (
        "seal",
        &[
            "std::fs",
            "std::net",
            "std::env",
            "std::path",
            "tokio",
            "hyper",
            "http::",
            "rustls",
            "tracing",
        ],
    ),
    (
        "store",
        &[
            "chacha20poly1305",
            "rsa::",
            "hyper",
            "http::",
            "rustls",
            "std::net",
            "std::env",
            "tokio",
        ],
    ),
    (
        "keys",
        &["tokio", "hyper", "http::", "rustls", "std::net", "std::env"],
    ),
    (
        "grant",
        &[
            "hyper",
            "http::",
            "rustls",
            "std::net",
            "std::env",
            "std::fs",
            "tokio",
            "SystemTime::now",
        ],
    ),
    (
        "upload",
        &[
            "hyper",
            "http::",
            "rustls",
            "std::net",
            "std::env",
            "std::fs",
            "StatusCode",
        ],
    ),
    (
        "http",
        &[
            "rustls",
            "std::fs",
            "std::path",
            "std::net",
            "std::env",
            "tokio::net",
            "tokio::fs",
        ],
    ),
    ("tls", &["hyper", "http::", "std::net::Tcp", "std::env"]),
    ("server", &["std::fs", "std::path", "std::env"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file of the package with the module that it belongs to.
fn files() -> Vec<(String, PathBuf)> {
    let (mut files, mut folders) = (Vec::new(), vec![source()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(source()).unwrap();
                let first = inside.components().next().unwrap();
                let module = Path::new(first.as_os_str()).file_stem().unwrap();
                files.push((module.to_str().unwrap().to_owned(), path));
            }
        }
    }
    files
}

/// The code of a file: without comments, and without its tests, which may reach further.
fn code(path: &Path) -> String {
    let named = |name: &str| path.components().any(|part| part.as_os_str() == name);
    // The audit of seals is a test's, too: it is in no build that is used.
    let tests = [
        "tests",
        "tests.rs",
        "testing.rs",
        "vectors.rs",
        "conformance.rs",
    ];
    if tests.into_iter().any(named) || path.ends_with("seal/audit.rs") {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names of the modules that a path from the root of the crate begins with.
fn used(code: &str) -> BTreeSet<&str> {
    let roots = ["crate::", "sealslot::"];
    let after = roots.into_iter().flat_map(|root| code.split(root).skip(1));
    let name = |rest: &str| {
        rest.find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len())
    };
    after.map(|rest| &rest[..name(rest)]).collect()
}

#[test]
fn dependencies_point_one_way() {
    let mut seen = BTreeSet::new();
    for (module, path) in files() {
        if module == "lib" {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module);
        let (name, allowed) =
            allowed.unwrap_or_else(|| panic!("{module} has no place in the order"));
        seen.insert(*name);
        let code = code(&path);
        for used in used(&code) {
            let fine = used == module || allowed.contains(&used);
            assert!(fine, "{} uses {used:?}", path.display());
        }
        // A module's own root has the crate above it.
        let is_root =
            path.parent() == Some(&source()) || path.ends_with(format!("{module}/mod.rs"));
        assert!(!(is_root && code.contains("super::")), "{}", path.display());
    }
    assert_eq!(seen.len(), MAY_USE.len());
}

#[test]
fn modules_do_not_know_what_is_not_theirs() {
    for (module, path) in files() {
        // The store over a bucket knows nothing of requests; its client is all about them.
        let is_client = path.starts_with(source().join("store/s3/bucket"));
        let forbidden = MUST_NOT_NAME.iter().find(|(name, _)| *name == module);
        let code = code(&path);
        for name in forbidden.map_or(&[][..], |(_, names)| names) {
            // `http::` is the crate; `crate::http::` has been looked at above.
            let code = code.replace("crate::http::", "");
            if is_client && ["http::", "hyper", "rustls", "tokio", "std::net"].contains(name) {
                continue;
            }
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn only_the_command_line_reads_the_environment() {
    for (module, path) in files() {
        if ["cli", "config", "main"].contains(&&module[..]) {
            continue;
        }
        let code = code(&path);
        for reading in ["env::var", "env::args", "std::env::"] {
            assert!(
                !code.contains(reading),
                "{} reads {reading}",
                path.display()
            );
        }
    }
}

#[test]
fn no_document_is_a_draft() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for folder in ["", "docs", "bench"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            // What stands for what is still to be found out.
            for sign in ["‹", "TODO", "TBD", "FIXME"] {
                assert!(!text.contains(sign), "{} has {sign}", path.display());
            }
        }
    }
    assert!(seen > 5, "{seen}");
}
