//! What is given, and what becomes of it.

use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sealslot.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn what_is_given_wins_over_the_file_and_the_file_over_the_default() {
    let (_folder, path) = file("max-parts = 7\nmax-name = \"1KiB\"\nbody-timeout = \"5s\"\n");
    let args = ServeArgs {
        config: Some(path),
        max_parts: Some(9),
        ..ServeArgs::default()
    };
    let config = args.resolve().unwrap();
    assert_eq!(config.limits.max_parts, 9);
    assert_eq!(config.limits.max_name, 1024);
    assert_eq!(config.limits.body_timeout, Duration::from_secs(5));
    assert_eq!(config.limits.max_fields, 1 << 20);
    assert!(config.development && config.anonymous && !config.has_tokens);
}

#[test]
fn an_unknown_key_is_an_error_that_says_where() {
    let (_folder, path) = file("\nlisten-on = \"x\"\n");
    let args = ServeArgs {
        config: Some(path),
        ..ServeArgs::default()
    };
    let message = args.resolve().unwrap_err().to_string();
    assert!(
        message.contains("line 2") && message.contains("listen-on"),
        "{message}"
    );
}

#[test]
fn a_reachable_address_makes_nothing_up() {
    let certs = tempfile::tempdir().unwrap();
    let args = || ServeArgs {
        listen: Some("0.0.0.0:8443".parse().unwrap()),
        certs: Some(certs.path().into()),
        ..ServeArgs::default()
    };
    let message = args().resolve().unwrap_err().to_string();
    for missing in ["server.pem", "--recipient", "--allow-anonymous"] {
        assert!(message.contains(missing), "{message}");
    }
    for name in ["server.pem", "server.key"] {
        std::fs::write(certs.path().join(name), "").unwrap();
    }
    let given = || ServeArgs {
        recipient: vec!["k.pub".into()],
        ..args()
    };
    assert!(given().resolve().is_err());
    let anonymous = ServeArgs {
        allow_anonymous: Some(true),
        ..given()
    };
    assert!(anonymous.resolve().unwrap().anonymous);
    let token = ServeArgs {
        admin_token_file: Some("t".into()),
        ..given()
    };
    assert!(!token.resolve().unwrap().anonymous);
}

#[test]
fn loopback_is_loopback_in_every_form() {
    for (listen, development) in [
        ("127.0.0.1:1", true),
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("[::]:1", false),
        ("192.0.2.1:1", false),
    ] {
        let args = ServeArgs {
            listen: Some(listen.parse().unwrap()),
            ..ServeArgs::default()
        };
        assert_eq!(
            args.resolve().is_ok_and(|config| config.development),
            development,
            "{listen}"
        );
    }
}

#[test]
fn only_where_nothing_was_said_is_a_server_unconfigured() {
    let unconfigured = |args: ServeArgs| args.resolve().unwrap().unconfigured;
    assert!(unconfigured(ServeArgs {
        listen: Some("[::1]:1".parse().unwrap()),
        max_parts: Some(7),
        ..ServeArgs::default()
    }));
    let said = [
        ServeArgs {
            recipient: vec!["k.pub".into()],
            ..ServeArgs::default()
        },
        ServeArgs {
            identity: vec!["k".into()],
            ..ServeArgs::default()
        },
        ServeArgs {
            admin_token_file: Some("t".into()),
            ..ServeArgs::default()
        },
        ServeArgs {
            upload_token_file: Some("t".into()),
            ..ServeArgs::default()
        },
        ServeArgs {
            allow_anonymous: Some(true),
            ..ServeArgs::default()
        },
    ];
    for args in said {
        assert!(!unconfigured(args));
    }
}

#[test]
fn a_limit_of_nothing_is_refused() {
    let args = ServeArgs {
        max_parts: Some(0),
        ..ServeArgs::default()
    };
    assert!(matches!(
        args.resolve(),
        Err(ConfigError::Zero("max-parts"))
    ));
}
