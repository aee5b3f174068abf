//! Public keys: every form, every refusal.

use super::*;

#[test]
fn every_public_form_gives_the_same_recipient() {
    let public = rsa::PublicKey::from(key());
    let forms = [
        public_line(),
        format!("# mine\r\n\r\n  {}\t \r\n", public_line()),
        public.to_public_key_pem(LineEnding::LF).unwrap(),
        public.to_public_key_pem(LineEnding::CRLF).unwrap(),
        public.to_pkcs1_pem(LineEnding::LF).unwrap(),
        format!(
            "Public-Key: (2048 bit)\n{}\n",
            public.to_public_key_pem(LineEnding::LF).unwrap()
        ),
    ];
    for form in forms {
        let recipients = parse_recipients(&form).unwrap();
        assert_eq!(recipients.len(), 1);
        assert_eq!(recipients[0].to_line(), public_line());
        assert_eq!(recipients[0].bits(), Some(2048));
        assert!(recipients[0].is_weak());
        let (_folder, path) = file(&form, 0o644);
        assert_eq!(
            read_recipients(path.to_str().unwrap()).unwrap()[0].to_line(),
            public_line()
        );
    }
    assert_eq!(
        read_recipients(&public_line()).unwrap()[0].to_line(),
        public_line()
    );
}

#[test]
fn a_recipients_file_may_hold_many_keys_and_comments() {
    let (_, age) = age_pair(1);
    let text = format!(
        "# team\n{} ann@example.org laptop\n\n{age}\n",
        public_line()
    );
    let recipients = parse_recipients(&text).unwrap();
    assert_eq!(recipients[0].comment(), Some("ann@example.org laptop"));
    assert_eq!(
        recipients[0].to_line(),
        format!("{} ann@example.org laptop", public_line())
    );
    assert_eq!(recipients[1].to_line(), age);
    assert_eq!(recipients[1].fingerprint(), age);
    assert_eq!(
        (recipients[1].bits(), recipients[1].is_weak()),
        (None, false)
    );
    assert_eq!(read_recipients(&age).unwrap()[0].to_line(), age);
}

#[test]
fn the_fingerprint_is_that_of_ssh_keygen() {
    let digest = Sha256::digest(wire(&key().e_bytes(), &key().n_bytes()));
    let expected = format!("SHA256:{}", BASE64_NOPAD.encode(&digest));
    assert_eq!(
        parse_recipients(&public_line()).unwrap()[0].fingerprint(),
        expected
    );
    let other = ssh_key::PublicKey::from_openssh(&public_line()).unwrap();
    assert_eq!(
        other.fingerprint(ssh_key::HashAlg::Sha256).to_string(),
        expected
    );
}

#[test]
fn a_comment_may_look_like_pem() {
    let line = format!("{} -----BEGIN here", public_line());
    assert_eq!(parse_recipients(&line).unwrap()[0].to_line(), line);
}

#[test]
fn a_comment_stays_on_its_line() {
    let line = format!("{} a\u{1b}[2Jb\u{7}", public_line());
    let recipient = parse_recipients(&line).unwrap().remove(0);
    assert_eq!(recipient.comment(), Some("a [2Jb"));
    let two_lines = NamedRecipient::new(recipient.recipient, "x\nage1evil");
    assert_eq!(two_lines.to_line(), format!("{} x age1evil", public_line()));
}

#[test]
fn rsa_keys_outside_the_limits_are_refused() {
    let odd = |bytes: usize| {
        let mut n = vec![0xff; bytes];
        n[0] = 0x80;
        n
    };
    let e: &[u8] = &[1, 0, 1];
    let accepted = |e: &[u8], n: &[u8]| parse_recipients(&ssh_line(e, n));
    assert!(matches!(
        accepted(e, &odd(128)),
        Err(KeyError::TooShort { bits: 1024, .. })
    ));
    assert!(matches!(
        accepted(e, &[&[0x7f], &odd(255)[..]].concat()),
        Err(KeyError::TooShort { bits: 2047, .. })
    ));
    assert_eq!(accepted(e, &odd(256)).unwrap()[0].bits(), Some(2048));
    assert!(accepted(e, &[&[0x0f], &odd(383)[..]].concat()).unwrap()[0].is_weak());
    assert!(!accepted(e, &odd(384)).unwrap()[0].is_weak());
    assert_eq!(accepted(e, &odd(1024)).unwrap()[0].bits(), Some(8192));
    assert!(matches!(
        accepted(e, &[&[1], &odd(1024)[..]].concat()),
        Err(KeyError::TooLong { bits: 8193, .. })
    ));
    assert!(matches!(
        accepted(e, &odd(60_000)),
        Err(KeyError::TooLong { .. })
    ));

    assert!(accepted(&[3], &odd(256)).is_ok());
    let too_large = [0x02, 0, 0, 0, 1];
    for e in [
        &[1][..],
        &[2],
        &[1, 0, 0],
        &too_large,
        &[0x7f; 9],
        &[0x7f; 5000],
    ] {
        assert!(
            matches!(accepted(e, &odd(256)), Err(KeyError::Exponent { .. })),
            "{e:?}"
        );
    }
    let mut even = odd(256);
    even[255] = 0xfe;
    assert!(matches!(
        accepted(e, &even),
        Err(KeyError::InvalidRsa { .. })
    ));

    for text in [
        short_key().to_pkcs1_pem(LineEnding::LF).unwrap(),
        short_key().to_pkcs8_pem(LineEnding::LF).unwrap(),
    ] {
        assert!(matches!(
            refusal(&text),
            KeyError::TooShort { bits: 1024, .. }
        ));
    }
}

#[test]
fn a_private_key_is_not_a_recipient_and_is_not_repeated() {
    let (identity, _) = age_pair(2);
    let pkcs1 = key().to_pkcs1_pem(LineEnding::LF).unwrap();
    let texts = [
        identity.clone(),
        identity.to_lowercase(),
        pkcs1.to_string(),
        openssh(None),
        "AGE-PLUGIN-YUBIKEY-1Q".into(),
    ];
    for text in texts {
        for error in [
            recipient_refusal(&text),
            read_recipients(&text).unwrap_err(),
        ] {
            assert!(
                matches!(error, KeyError::PrivateKeyGiven { .. }),
                "{error:?}"
            );
            let message = error.to_string();
            assert!(message.contains(".pub"), "{message}");
            assert!(!message.contains(text.lines().last().unwrap()), "{message}");
        }
    }
}

#[test]
fn other_kinds_of_recipients_are_named() {
    let cases = [
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me", "ssh-ed25519"),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNh me", "ecdsa-sha2-nistp256"),
        ("age1yubikey1qqqq", "plugin"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "CERTIFICATE",
        ),
    ];
    for (text, named) in cases {
        let error = read_recipients(text).unwrap_err();
        assert!(matches!(error, KeyError::Unsupported { .. }), "{error:?}");
        let message = error.to_string();
        assert!(
            message.contains(named) && message.contains("`ssh-rsa`, `age1...`"),
            "{message}"
        );
    }
}

#[test]
fn a_line_that_is_no_key_is_an_error_with_its_number() {
    let (_folder, path) = file(format!("# keys\n{}\nhello\n", public_line()), 0o644);
    let error = read_recipients(path.to_str().unwrap()).unwrap_err();
    assert!(matches!(error, KeyError::Unrecognized { .. }));
    assert!(
        error
            .to_string()
            .contains(&format!("{}, line 3", path.display())),
        "{error}"
    );

    assert!(matches!(
        recipient_refusal("# none\n\n"),
        KeyError::Empty { .. }
    ));
    let public = rsa::PublicKey::from(key())
        .to_public_key_pem(LineEnding::LF)
        .unwrap();
    let twice = format!("{public}{public}");
    let beside = format!("{public}{}\n", age_pair(1).1);
    for mixed in [twice, beside] {
        assert!(matches!(recipient_refusal(&mixed), KeyError::Mixed { .. }));
    }
}

#[test]
fn damaged_public_keys_are_malformed() {
    let public = rsa::PublicKey::from(key());
    let pem = public.to_public_key_pem(LineEnding::LF).unwrap();
    let trailing = [wire(&[1, 0, 1], &key().n_bytes()), vec![0]].concat();
    let cases = [
        pem.replace("MIIB", "MIIC"),
        pem.replace("-----END PUBLIC KEY-----", ""),
        pem.replace("BEGIN PUBLIC", "BEGIN RSA PUBLIC")
            .replace("END PUBLIC", "END RSA PUBLIC"),
        "-----BEGIN PUBLIC KEY".to_owned(),
        "ssh-rsa".to_owned(),
        "ssh-rsa !!!!".to_owned(),
        "ssh-rsa AAAAB3NzaC1yc2E= me".to_owned(),
        format!("ssh-rsa {}", BASE64.encode(&trailing)),
        age_pair(1).1.replace("age1", "age1q"),
    ];
    for text in cases {
        let error = recipient_refusal(&text);
        assert!(
            matches!(error, KeyError::Malformed { .. }),
            "{text}: {error:?}"
        );
    }
}

#[test]
fn recipient_files_are_bounded_and_must_be_text() {
    let missing = read_recipients("/nowhere/at/all.pub").unwrap_err();
    assert!(matches!(missing, KeyError::Read { .. }) && missing.source().is_some());
    let (_folder, path) = file([0x30, 0x82, 0xff, 0xfe], 0o644);
    assert!(matches!(
        read_recipients(path.to_str().unwrap()),
        Err(KeyError::NotText { .. })
    ));
    let (_folder, path) = file(vec![b'#'; usize::try_from(MAX_FILE).unwrap() + 1], 0o644);
    assert!(matches!(
        read_recipients(path.to_str().unwrap()),
        Err(KeyError::FileTooLarge { .. })
    ));
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC*|(ssh-rsa |age1|AGE-SECRET-KEY-1|-----(BEGIN|END) (RSA )?(PUBLIC|PRIVATE) KEY-----|[A-Za-z0-9+/=]{0,40}|\n| ){0,12}") {
        let _ = parse_recipients(&text);
        let place = Place::given();
        if let Ok(Some(block)) = text::pem_block(&text, &place) {
            let _ = block.description();
        }
    }

    #[test]
    fn no_wire_encoding_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), head in any::<bool>()) {
        let head = if head { &wire(&[3], &[0x80])[..15] } else { &[] };
        let wire = [head, &bytes].concat();
        let _ = parse_recipients(&format!("ssh-rsa {}", BASE64.encode(&wire)));
    }
}
