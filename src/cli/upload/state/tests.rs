//! States in folders that others may reach.

use super::*;
use std::fs::FileTimes;
use std::os::unix::fs::symlink;

const IDENTITY: Identity = Identity {
    device: 1,
    inode: 2,
    size: 3,
    modified: (4, 5),
};

fn endpoint(url: &str) -> Endpoint {
    url.parse().unwrap()
}

fn claim(folder: &StateFolder, path: &str) -> Result<State, StateError> {
    let host = endpoint("https://host/");
    folder.claim(&name(&host, Path::new(path), &IDENTITY, &[]))
}

fn folder() -> (tempfile::TempDir, StateFolder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = StateFolder::open(dir.path().join("a/b")).unwrap();
    (dir, folder)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o777
}

#[test]
fn everything_counts_for_the_name() {
    let host = endpoint("https://host/");
    let a = Path::new("/a");
    let other = |change: fn(&mut Identity)| {
        let mut identity = IDENTITY;
        change(&mut identity);
        name(&host, a, &identity, &[])
    };
    let mut names = vec![
        name(&host, a, &IDENTITY, &[]),
        name(&host, a, &IDENTITY, &[b"x"]),
        name(&host, a, &IDENTITY, &[b"x", b""]),
        name(&endpoint("https://host/d/x"), a, &IDENTITY, &[]),
        name(&endpoint("https://host:444/"), a, &IDENTITY, &[]),
        name(&host, Path::new("/b"), &IDENTITY, &[]),
        other(|identity| identity.device = 9),
        other(|identity| identity.inode = 9),
        other(|identity| identity.size = 9),
        other(|identity| identity.modified = (9, 5)),
        other(|identity| identity.modified = (4, 9)),
    ];
    assert_eq!(names[0], name(&host, a, &IDENTITY, &[]));
    assert_eq!(
        names[0],
        name(&endpoint("https://HOST:443/uploads"), a, &IDENTITY, &[])
    );
    assert!(names.iter().all(|name| is_ours(Path::new(name))));
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn what_is_kept_is_found_again_and_only_its_owner_reads_it() {
    let (_dir, folder) = folder();
    let upload: UploadUrl = "/uploads/a.secret".parse().unwrap();
    let mut state = claim(&folder, "/a").unwrap();
    assert!(state.upload().is_none());
    state.keep(&upload).unwrap();
    let path = state.path.clone();
    drop(state);
    assert_eq!((mode(&folder.0), mode(&path)), (0o700, 0o600));
    let mut state = claim(&folder, "/a").unwrap();
    assert_eq!(state.upload().unwrap().path(), upload.path());
    assert!(claim(&folder, "/b").unwrap().upload().is_none());
    state.forget();
    drop(state);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn a_folder_of_another_user_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("theirs");
    fs::create_dir(&path).unwrap();
    symlink("theirs", dir.path().join("link")).unwrap();
    make_private(&dir.path().join("link")).unwrap();
    assert_eq!(mode(&path), 0o700);
    // Only root gives folders away.
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        for name in ["theirs", "link"] {
            let refused = make_private(&dir.path().join(name)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        }
        assert_eq!(mode(&path), 0o777);
    }
}

#[test]
fn a_sealed_copy_is_kept_beside_its_upload_and_goes_with_it() {
    let (dir, folder) = folder();
    let spool = dir.path().join("spool");
    fs::write(&spool, "sealed").unwrap();
    let copy = SealedCopy {
        plaintext: (5, "ab".repeat(32)),
        size: 200,
    };
    let upload: UploadUrl = "/uploads/a.b".parse().unwrap();
    let mut state = claim(&folder, "/a").unwrap();
    state
        .keep(&"/uploads/of.another-copy".parse().unwrap())
        .unwrap();
    state.keep_sealed(copy.clone(), spool.clone()).unwrap();
    // An upload of an earlier copy is not gone on with.
    assert!(state.upload().is_none());
    drop(state);
    let mut state = claim(&folder, "/a").unwrap();
    assert_eq!(state.sealed(), Some(&copy));
    state.keep(&upload).unwrap();
    drop(state);
    let mut state = claim(&folder, "/a").unwrap();
    assert_eq!(state.sealed(), Some(&copy));
    assert_eq!(state.upload().unwrap().path(), upload.path());
    assert!(spool.exists());
    state.has_spool_at(spool.clone());
    state.forget();
    drop(state);
    assert!(!spool.exists());
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn what_makes_no_sense_is_nothing() {
    let (_dir, folder) = folder();
    let path = claim(&folder, "/a").unwrap().path.clone();
    let half = b"/uploads/a.b\nsealed 5 abc 7\n";
    for text in [
        &b""[..],
        b"\n",
        b"https://other/",
        b"//other/x",
        b"\xff",
        half,
    ] {
        fs::write(&path, text).unwrap();
        let state = claim(&folder, "/a").unwrap();
        assert!(state.upload().is_none() && state.sealed().is_none());
    }
}

#[test]
fn nobody_else_works_on_the_same_upload() {
    let (_dir, folder) = folder();
    let mut state = claim(&folder, "/a").unwrap();
    assert!(matches!(claim(&folder, "/a"), Err(StateError::Busy)));
    state.keep(&"/uploads/a.b".parse().unwrap()).unwrap();
    assert!(matches!(claim(&folder, "/a"), Err(StateError::Busy)));
    // As a process has it that is just being started.
    let inherited = state.file.try_clone().unwrap();
    drop(state);
    assert!(claim(&folder, "/a").is_ok());
    drop(inherited);
}

#[test]
fn what_is_old_is_swept_unless_it_is_worked_on() {
    let (_dir, folder) = folder();
    let upload = "/uploads/a.b".parse().unwrap();
    let mut kept = Vec::new();
    for path in ["/old", "/held", "/new"] {
        let mut state = claim(&folder, path).unwrap();
        state.keep(&upload).unwrap();
        kept.push((path, state));
    }
    let old = SystemTime::now() - LIFETIME - Duration::from_secs(5);
    for (path, state) in &kept {
        if *path != "/new" {
            let times = FileTimes::new().set_modified(old);
            state.file.set_times(times).unwrap();
        }
    }
    let foreign = folder.0.join("notes.txt");
    let file = File::create(&foreign).unwrap();
    file.set_times(FileTimes::new().set_modified(old)).unwrap();
    kept.retain(|(path, _)| *path == "/held");
    let folder = StateFolder::open(folder.0).unwrap();
    assert!(foreign.exists());
    drop(kept);
    assert!(claim(&folder, "/old").unwrap().upload().is_none());
    assert!(claim(&folder, "/held").unwrap().upload().is_some());
    assert!(claim(&folder, "/new").unwrap().upload().is_some());
}
