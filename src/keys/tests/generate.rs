//! New keys and the files they go to.

use super::*;

#[test]
fn a_written_pair_is_private_complete_and_readable() {
    for (passphrase, label) in [
        (None, "BEGIN RSA PRIVATE KEY"),
        (Some(PASSPHRASE), "BEGIN OPENSSH PRIVATE KEY"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        let files = write_keypair(&path, key(), passphrase, "me@here").unwrap();
        assert_eq!(files.private, path);
        assert_eq!(files.public, folder.path().join("identity.pem.pub"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&files.private), mode(&files.public)), (0o600, 0o644));
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing else is left behind"
        );

        assert_eq!(
            fs::read_to_string(&files.public).unwrap(),
            format!("{} me@here\n", public_line())
        );
        let private = fs::read_to_string(&files.private).unwrap();
        assert!(private.contains(label));
        let identities = match passphrase {
            None => read(&private),
            Some(passphrase) => read_with(&private, passphrase),
        };
        assert_eq!(lines(identities.unwrap()), [public_line()]);
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_left_behind() {
    for taken in ["key", "key.pub"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(taken), "precious").unwrap();
        let error = write_keypair(&folder.path().join("key"), key(), None, "").unwrap_err();
        assert!(
            matches!(&error, KeyError::Exists { path } if path.ends_with(taken)),
            "{error:?}"
        );
        assert_eq!(
            fs::read_to_string(folder.path().join(taken)).unwrap(),
            "precious"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.path().join("key")).unwrap();
    let error = write_keypair(&folder.path().join("key"), key(), None, "").unwrap_err();
    assert!(matches!(error, KeyError::Exists { .. }));

    let missing = write_keypair(&folder.path().join("no/such/key"), key(), None, "").unwrap_err();
    assert!(matches!(missing, KeyError::Write { .. }));
    let empty = write_keypair(&folder.path().join("new"), key(), Some(""), "").unwrap_err();
    assert!(matches!(empty, KeyError::EmptyPassphrase));
    let short = write_keypair(&folder.path().join("new"), short_key(), None, "").unwrap_err();
    assert!(matches!(short, KeyError::Bits { bits: 1024 }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn keys_are_made_in_the_accepted_sizes_only() {
    assert_eq!(key().n().bit_width_vartime(), 2048);
    for bits in [0, 1024, 2047, 8193, usize::MAX] {
        assert!(matches!(generate(bits), Err(KeyError::Bits { bits: found }) if found == bits));
    }
}

#[test]
fn a_size_that_is_no_multiple_of_8_works_like_any_other() {
    let odd = super::generate(2051).unwrap();
    let pem = odd.to_pkcs1_pem(LineEnding::LF).unwrap();
    assert_eq!(
        lines(read(&pem).unwrap()),
        [ssh_line(&odd.e_bytes(), &odd.n_bytes())]
    );
}
