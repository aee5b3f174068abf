//! Post-quantum keys, identity files that a passphrase seals, and identities for plugins.

use super::*;
use crate::seal::{OpenError, mlkem768x25519, scrypt, seal};

/// The pair of the specification's examples.
const IDENTITY: &str =
    "AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR";
const RECIPIENT_START: &str =
    "age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zrqtzdxz95paef6caq5aapdmwjj";
const RECIPIENT_END: &str = "fzv49zc0k";

fn recipient() -> NamedRecipient {
    let identity: mlkem768x25519::Identity = IDENTITY.parse().unwrap();
    NamedRecipient::new(Recipient::MlKem768X25519(identity.to_recipient()), "")
}

#[test]
fn a_post_quantum_pair_is_read_in_files_and_as_arguments() {
    let line = recipient().to_line();
    assert!(
        line.starts_with(RECIPIENT_START) && line.ends_with(RECIPIENT_END),
        "{line}"
    );
    for text in [format!("# mine\n{IDENTITY}\n"), IDENTITY.to_lowercase()] {
        assert_eq!(*lines(read(&text).unwrap()), *std::slice::from_ref(&line));
    }
    let (_folder, path) = file(format!("# hers\n{line}\n\n{line}\n"), 0o644);
    for (argument, count) in [(line.as_str(), 1), (path.to_str().unwrap(), 2)] {
        let read = read_recipients(argument).unwrap();
        assert_eq!(read.len(), count);
        for read in read {
            assert_eq!(
                (read.to_line(), read.bits(), read.is_weak()),
                (line.clone(), None, false)
            );
            // `SHA256:` and 43 digits: what people compare is no longer for the length of the key.
            assert_eq!(read.fingerprint().len(), 50);
            assert_eq!(read.fingerprint(), recipient().fingerprint());
        }
    }
    assert!(matches!(
        read_recipients(IDENTITY),
        Err(KeyError::PrivateKeyGiven { .. })
    ));
    assert!(matches!(refusal(&line), KeyError::PublicKeyGiven { .. }));
}

#[test]
fn damaged_post_quantum_keys_are_refused_without_a_word_of_them() {
    let line = recipient().to_line();
    for text in [
        line.replace("x34n", "x35n"),
        line[..line.len() - 1].to_owned(),
        "age1pq1qqqqqqqq".to_owned(),
    ] {
        assert!(
            matches!(recipient_refusal(&text), KeyError::Malformed { .. }),
            "{text}"
        );
    }
    for text in [
        IDENTITY.replace("XX76", "XX77"),
        IDENTITY.replace("XX76", "xx76"),
        IDENTITY.replace("PQ-1", "PQ-11"),
        "AGE-SECRET-KEY-PQ-1QQQQ".to_owned(),
    ] {
        let error = refusal(&text);
        assert!(matches!(error, KeyError::Malformed { .. }), "{error:?}");
        assert!(
            error.source().is_none() && !error.to_string().contains("XX7"),
            "{error}"
        );
    }
}

#[test]
fn post_quantum_and_other_recipients_do_not_go_together() {
    let (_, x25519) = age_pair(7);
    let parse = |lines: &[&str]| parse_recipients(&lines.join("\n")).unwrap();
    let (hybrid, rsa) = (recipient().to_line(), public_line());
    for fine in [&[&*hybrid, &hybrid][..], &[&*x25519, &rsa], &[&*hybrid]] {
        check_together(&parse(fine)).unwrap();
    }
    for mixed in [[&*hybrid, &x25519], [&*rsa, &hybrid]] {
        let answer = check_together(&parse(&mixed));
        assert!(matches!(answer, Err(KeyError::PostQuantumMixed)));
    }
}

#[test]
fn a_written_post_quantum_key_looks_like_age_keygens_and_is_read_again() {
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_hours(498_774);
    for passphrase in [None, Some(PASSPHRASE)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.txt");
        let identity = mlkem768x25519::Identity::generate().unwrap();
        let line =
            NamedRecipient::new(Recipient::MlKem768X25519(identity.to_recipient()), "").to_line();
        let files = write_identity(&path, &identity, passphrase, created).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&files.private), mode(&files.public)), (0o600, 0o644));
        assert_eq!(
            fs::read_to_string(&files.public).unwrap(),
            format!("{line}\n")
        );
        let text = fs::read_to_string(&files.private).unwrap();
        let read = match passphrase {
            None => {
                let expected = format!(
                    "# created: 2026-11-25T06:00:00Z\n# public key: {line}\n{}\n",
                    *identity.to_line()
                );
                assert_eq!(text, expected);
                read(&text)
            }
            Some(passphrase) => {
                assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
                read_with(&text, passphrase)
            }
        };
        assert_eq!(lines(read.unwrap()), [line]);
        let again = write_identity(&path, &identity, passphrase, created);
        assert!(matches!(again, Err(KeyError::Exists { .. })));
    }
    let folder = tempfile::tempdir().unwrap();
    let identity = IDENTITY.parse().unwrap();
    let empty = write_identity(&folder.path().join("k"), &identity, Some(""), created);
    assert!(matches!(empty, Err(KeyError::EmptyPassphrase)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_identity_file_that_a_passphrase_seals_holds_any_form() {
    let (secret, public) = age_pair(9);
    let binary =
        |text: &str| crate::seal::seal_with_passphrase(PASSPHRASE, text.as_bytes()).unwrap();
    let pkcs1 = key().to_pkcs1_pem(LineEnding::LF).unwrap();
    for (inside, expected) in [
        (
            format!("{secret}\n{IDENTITY}\n"),
            vec![public, recipient().to_line()],
        ),
        (pkcs1.to_string(), vec![public_line()]),
    ] {
        let (_folder, path) = file(binary(&inside), 0o600);
        let mut given = |_: &Path| Ok(Zeroizing::new(PASSPHRASE.to_owned()));
        assert_eq!(lines(read_identities(&path, &mut given).unwrap()), expected);
        let mut wrong = |_: &Path| Ok(Zeroizing::new("wrong".to_owned()));
        let wrong = read_identities(&path, &mut wrong).err().unwrap();
        assert!(
            matches!(wrong, KeyError::WrongPassphrase { .. }),
            "{wrong:?}"
        );
    }
}

#[test]
fn what_is_sealed_otherwise_is_refused_before_the_passphrase() {
    let (folder, path) = file("", 0o600);
    let recipient = recipient().recipient;
    let to_a_key = seal(&[recipient], &[], IDENTITY.as_bytes()).unwrap();
    fs::write(&path, to_a_key).unwrap();
    let error = read_identities(&path, &mut never_asked).err().unwrap();
    assert!(error.to_string().contains("age -d"), "{error}");
    for broken in [
        "age-encryption.org/v1\n-> scrypt",
        "-----BEGIN AGE ENCRYPTED FILE-----\nAAAA\n-----END AGE ENCRYPTED FILE-----\n",
    ] {
        assert!(matches!(refusal(broken), KeyError::Sealed { .. }));
    }
    drop(folder);
    // Hours of work, or more memory than there is.
    let costly = format!(
        "age-encryption.org/v1\n-> scrypt {} {}\n{}\n--- {}\n{}",
        BASE64_NOPAD.encode(&[1; 16]),
        scrypt::MAX_LOG_N + 1,
        BASE64_NOPAD.encode(&[2; 32]),
        BASE64_NOPAD.encode(&[3; 32]),
        "nonce of 16 byte"
    );
    let error = read_with(&costly, PASSPHRASE).err().unwrap();
    assert!(
        matches!(
            error,
            KeyError::Sealed {
                source: OpenError::Header(_),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_plugins_identity_goes_to_whoever_can_run_plugins() {
    let hrp = Hrp::parse("age-plugin-test.2-").unwrap();
    let line = bech32::encode_upper::<Bech32>(hrp, b"anything").unwrap();
    let text = format!("# card\n{line}\n{IDENTITY}\n");
    let (_folder, path) = file(&text, 0o600);
    let mut seen = Vec::new();
    let mut plugin = |identity: PluginIdentity| {
        seen.push((identity.name, identity.line.to_string()));
        Identity::External(Box::new(scrypt::Identity::new(identity.line)))
    };
    let identities = read_identities_and_plugins(&path, &mut never_asked, &mut plugin).unwrap();
    assert_eq!(identities.len(), 2);
    assert_eq!(seen, [("test.2".to_owned(), line.clone())]);
    // Only the other one can be sealed to.
    assert_eq!(lines(identities), [recipient().to_line()]);
    assert!(matches!(refusal(&text), KeyError::PluginUnattended { .. }));
    assert!(matches!(
        read_recipients(&line),
        Err(KeyError::PrivateKeyGiven { .. })
    ));

    let (_folder, path) = file("AGE-PLUGIN-YUBIKEY-1QQQQ", 0o600);
    let mut never = |_: PluginIdentity| panic!("a plugin was made of a damaged line");
    let error = read_identities_and_plugins(&path, &mut never_asked, &mut never)
        .err()
        .unwrap();
    assert!(matches!(error, KeyError::Malformed { .. }), "{error:?}");
}
