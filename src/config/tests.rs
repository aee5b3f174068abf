//! What is given, and what becomes of it.

use std::time::Duration;

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
    // An authority alone decides nothing: what its certificates let do has to be said.
    let authority = || ServeArgs {
        client_ca: Some("ca.pem".into()),
        ..given()
    };
    assert!(authority().resolve().is_err());
    let certificate = ServeArgs {
        client_scope: vec!["scanner.example.org=upload".parse().unwrap()],
        ..authority()
    };
    assert!(!certificate.resolve().unwrap().anonymous);
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
    let unconfigured = |args: ServeArgs| args.resolve().unwrap().setup == Setup::MadeUp;
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
        ServeArgs {
            trusted_proxy: vec!["127.0.0.1".parse().unwrap()],
            ..ServeArgs::default()
        },
        ServeArgs {
            client_ca: Some("ca.pem".into()),
            client_scope: vec!["*=upload".parse().unwrap()],
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

#[test]
fn what_means_nothing_by_itself_is_refused() {
    let alone = [
        (
            "proxy-protocol needs trusted-proxy",
            ServeArgs {
                proxy_protocol: Some(true),
                ..ServeArgs::default()
            },
        ),
        (
            "forwarded needs trusted-proxy",
            ServeArgs {
                forwarded: Some("forwarded".parse().unwrap()),
                ..ServeArgs::default()
            },
        ),
        (
            "client-scope needs client-ca",
            ServeArgs {
                client_scope: vec!["*=upload".parse().unwrap()],
                ..ServeArgs::default()
            },
        ),
        (
            "client-crl needs client-ca",
            ServeArgs {
                client_crl: vec!["crl.pem".into()],
                ..ServeArgs::default()
            },
        ),
        (
            "client-certificates needs client-ca",
            ServeArgs {
                client_certificates: Some("required".parse().unwrap()),
                ..ServeArgs::default()
            },
        ),
    ];
    for (message, args) in alone {
        assert_eq!(args.resolve().unwrap_err().to_string(), message);
    }
    // Saying that it is off needs nothing.
    let off = ServeArgs {
        proxy_protocol: Some(false),
        ..ServeArgs::default()
    };
    assert!(!off.resolve().unwrap().peers.proxies.protocol);
}

#[test]
fn what_tells_who_is_at_the_other_end_comes_from_the_file_too() {
    let (_folder, path) = file(
        "trusted-proxy = [\"10.0.0.0/8\", \"::1\"]\nproxy-protocol = true\nforwarded = \"x-forwarded-for\"\n\
         client-ca = \"ca.pem\"\nclient-crl = [\"crl.pem\"]\nclient-certificates = \"required\"\n\
         client-scope = [\"scanner.example.org=upload\", \"*=read\"]\n",
    );
    let args = ServeArgs {
        config: Some(path),
        ..ServeArgs::default()
    };
    let config = args.resolve().unwrap();
    let proxies = &config.peers.proxies;
    assert!(proxies.trust("10.1.2.3".parse().unwrap()) && proxies.protocol);
    assert_eq!(proxies.forwarded, "x-forwarded-for".parse().ok());
    assert_eq!(config.peers.client_scopes.len(), 2);
    let clients = config.tls.clients.unwrap();
    assert_eq!(clients.certificates, "required".parse().unwrap());
    assert_eq!(clients.crls, [PathBuf::from("crl.pem")]);
}
