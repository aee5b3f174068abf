//! Private keys: every form, every refusal, and who may reach the file.

use super::*;

#[test]
fn every_private_form_gives_the_same_key() {
    let pkcs1 = key().to_pkcs1_pem(LineEnding::LF).unwrap();
    let plain = [
        pkcs1.to_string(),
        key().to_pkcs1_pem(LineEnding::CRLF).unwrap().to_string(),
        key().to_pkcs8_pem(LineEnding::LF).unwrap().to_string(),
        openssh(None),
        format!("Bag Attributes\n    friendlyName: me\n{}", *pkcs1),
    ];
    for text in plain {
        assert_eq!(lines(read(&text).unwrap()), [public_line()]);
    }
    let scrypt = pbes2::Parameters::generate_scrypt_aes256cbc(
        rsa::pkcs8::pkcs5::scrypt::Params::new(4, 8, 1).unwrap(),
        b"salt of 16 bytes",
        [7; 16],
    );
    for text in [
        openssh(Some(PASSPHRASE)),
        encrypted_pkcs8(key(), pbkdf2(2048)),
        encrypted_pkcs8(key(), scrypt.unwrap()),
    ] {
        assert_eq!(
            lines(read_with(&text, PASSPHRASE).unwrap()),
            [public_line()]
        );
        for wrong in ["wrong", ""] {
            let error = read_with(&text, wrong).err().unwrap();
            assert!(
                matches!(error, KeyError::WrongPassphrase { .. }),
                "{error:?}"
            );
        }
    }
}

#[test]
fn the_passphrase_is_asked_for_the_file_and_its_refusal_is_the_answer() {
    let (_folder, path) = file(openssh(Some(PASSPHRASE)), 0o600);
    let mut asked = Vec::new();
    let answer = read_identities(&path, &mut |file| {
        asked.push(file.to_owned());
        Err(KeyError::PassphraseUnavailable {
            path: file.to_owned(),
            source: std::io::Error::other("no terminal"),
        })
    });
    assert!(matches!(
        answer,
        Err(KeyError::PassphraseUnavailable { .. })
    ));
    assert_eq!(asked, [path]);
}

#[test]
fn an_age_identity_file_may_hold_many_keys() {
    let ((one, one_public), (two, two_public)) = (age_pair(1), age_pair(2));
    let text = format!("# created: today\n# public key: {one_public}\n{one}\r\n\n{two}");
    assert_eq!(lines(read(&text).unwrap()), [one_public, two_public]);
}

#[test]
fn a_private_key_that_others_can_reach_is_refused() {
    let (identity, _) = age_pair(3);
    for mode in [0o640, 0o604, 0o644, 0o620, 0o601, 0o777] {
        let (_folder, path) = file(&identity, mode);
        let error = read_identities(&path, &mut never_asked).err().unwrap();
        assert!(
            matches!(&error, KeyError::Exposed { mode: found, .. } if *found == mode),
            "{error:?}"
        );
        assert!(
            error
                .to_string()
                .contains(&format!("chmod 600 {}", path.display()))
        );
    }
    for mode in [0o600, 0o400, 0o700] {
        let (_folder, path) = file(&identity, mode);
        assert!(read_identities(&path, &mut never_asked).is_ok(), "{mode:o}");
    }
}

#[test]
fn an_identity_comes_from_a_regular_file_of_bounded_size() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| read_identities(path, &mut never_asked).err().unwrap();
    assert!(matches!(
        refusal(folder.path()),
        KeyError::NotRegularFile { .. }
    ));
    assert!(matches!(
        refusal(Path::new("/dev/null")),
        KeyError::NotRegularFile { .. }
    ));
    assert!(matches!(
        refusal(&folder.path().join("none")),
        KeyError::Read { .. }
    ));
    let (_folder, path) = file("", 0o600);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(MAX_FILE + 1)
        .unwrap();
    assert!(matches!(refusal(&path), KeyError::FileTooLarge { .. }));
}

#[test]
fn other_kinds_of_identities_are_named() {
    let public = rsa::PublicKey::from(key());
    for text in [
        public_line(),
        age_pair(1).1,
        public.to_public_key_pem(LineEnding::LF).unwrap(),
    ] {
        assert!(matches!(refusal(&text), KeyError::PublicKeyGiven { .. }));
    }
    let cases = [
        ("PuTTY-User-Key-File-3: ssh-rsa", "PuTTY"),
        (
            "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
            "EC PRIVATE KEY",
        ),
    ];
    for (text, named) in cases {
        let error = refusal(text);
        assert!(matches!(error, KeyError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
    }
    let ed25519 = ssh_key::private::Ed25519Keypair {
        public: ssh_key::public::Ed25519PublicKey([1; 32]),
        private: ssh_key::private::Ed25519PrivateKey::from_bytes(&[2; 32]),
    };
    let ed25519 = ssh_key::PrivateKey::from(ed25519)
        .to_openssh(LineEnding::LF)
        .unwrap();
    assert!(refusal(&ed25519).to_string().contains("ssh-ed25519"));
}

#[test]
fn encryption_that_is_old_or_too_costly_is_refused_before_the_passphrase() {
    let legacy = key().to_pkcs1_pem(LineEnding::LF).unwrap().replace(
        "KEY-----\nMII",
        "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMII",
    );
    let error = refusal(&legacy);
    assert!(matches!(error, KeyError::LegacyEncryption { .. }));
    assert!(error.to_string().contains("ssh-keygen -p -f FILE"));

    for (iterations, cost) in [(u32::MAX, 16), (0, 16), (2048, u64::MAX), (2048, 0)] {
        let mut parameters = pbkdf2(2048);
        parameters.kdf = match parameters.kdf {
            pbes2::Kdf::Pbkdf2(mut kdf) if cost == 16 => {
                kdf.iteration_count = iterations;
                kdf.into()
            }
            pbes2::Kdf::Pbkdf2(kdf) => pbes2::Kdf::Scrypt(pbes2::ScryptParams {
                salt: kdf.salt,
                cost_parameter: cost,
                block_size: 8,
                parallelization: 1,
                key_length: None,
            }),
            other => other,
        };
        let costly = unopenable_pkcs8(parameters);
        assert!(matches!(
            refusal(&costly),
            KeyError::UnsupportedEncryption { .. }
        ));
    }
    let costly = openssh_with_rounds(u32::MAX);
    assert!(matches!(
        refusal(&costly),
        KeyError::UnsupportedEncryption { .. }
    ));
}

/// An OpenSSH key whose file asks for that many bcrypt rounds. What it holds does not matter, nobody gets there.
fn openssh_with_rounds(rounds: u32) -> String {
    let key = ssh_key::PrivateKey::from_openssh(openssh(Some(PASSPHRASE))).unwrap();
    let mut bytes = key.to_bytes().unwrap().to_vec();
    let mark = b"bcrypt\0\0\0\x18\0\0\0\x10";
    let start = bytes
        .windows(mark.len())
        .position(|window| window == mark)
        .unwrap();
    let field = start + mark.len() + 16;
    bytes[field..field + 4].copy_from_slice(&rounds.to_be_bytes());
    let base64 = BASE64.encode(&bytes);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(70)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let label = "OPENSSH PRIVATE KEY";
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[test]
fn damaged_private_keys_are_refused_without_a_word_of_them() {
    let pkcs1 = key().to_pkcs1_pem(LineEnding::LF).unwrap();
    let pkcs8 = key().to_pkcs8_pem(LineEnding::LF).unwrap();
    let (identity, _) = age_pair(4);
    let cases = [
        pkcs1.replace("MII", "MI!"),
        pkcs1.replace("-----END RSA PRIVATE KEY-----", ""),
        pkcs1.replace("RSA PRIVATE", "PRIVATE"),
        pkcs8.replace("PRIVATE", "RSA PRIVATE"),
        openssh(None).replace("b3Blbn", "b3Blbm"),
        format!("{identity}Q"),
        identity.replace("KEY-1", "KEY-1B"),
    ];
    for text in cases {
        let error = refusal(&text);
        assert!(
            matches!(error, KeyError::Malformed { source: None, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn numbers_that_do_not_belong_together_are_not_a_key() {
    let other = generate(2048).unwrap();
    let place = Place::given();
    let (n, e) = (key().n_bytes(), key().e_bytes());
    let primes = |key: &rsa::PrivateKey| {
        let parts = rsa::traits::PrivateKeyParts::primes(key);
        [parts[0].to_be_bytes(), parts[1].to_be_bytes()]
    };
    let d = |key: &rsa::PrivateKey| rsa::traits::PrivateKeyParts::d(key).to_be_bytes();
    let try_key = |d: &[u8], [p, q]: [Box<[u8]>; 2]| {
        numbers::private_key(
            &numbers::PrivateNumbers {
                n: &n,
                e: &e,
                d,
                p: &p,
                q: &q,
            },
            &place,
        )
    };
    assert!(try_key(&d(key()), primes(key())).is_ok());
    assert!(matches!(
        try_key(&d(&other), primes(key())),
        Err(KeyError::InvalidRsa { .. })
    ));
    assert!(matches!(
        try_key(&d(key()), primes(&other)),
        Err(KeyError::InvalidRsa { .. })
    ));
    assert!(matches!(
        try_key(&[0x7f; 5000], primes(key())),
        Err(KeyError::InvalidRsa { .. })
    ));
    assert!(matches!(
        try_key(&[], [Box::new([]), Box::new([])]),
        Err(KeyError::InvalidRsa { .. })
    ));
}
