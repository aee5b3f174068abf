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

fn with_bucket() -> ServeArgs {
    ServeArgs {
        store: Some("s3://uploads/here".parse().unwrap()),
        ..ServeArgs::default()
    }
}

#[test]
fn what_is_of_a_bucket_needs_one_and_what_is_of_a_disk_does_not_go_with_it() {
    let size = |mebibytes: u64| Some(Size(mebibytes << 20));
    let refused = [
        (
            "store-endpoint needs store",
            ServeArgs {
                store_endpoint: Some("https://s3.example.org".into()),
                ..ServeArgs::default()
            },
        ),
        (
            "store-memory needs store",
            ServeArgs {
                store_memory: size(1),
                ..ServeArgs::default()
            },
        ),
        (
            "min-free does not go together with store; leave one of them out",
            ServeArgs {
                min_free: size(1),
                ..with_bucket()
            },
        ),
        (
            "store-part-size must be 8 MiB to 64 MiB",
            ServeArgs {
                store_part_size: size(7),
                ..with_bucket()
            },
        ),
        (
            "store-part-size must be 8 MiB to 64 MiB",
            ServeArgs {
                store_part_size: size(65),
                ..with_bucket()
            },
        ),
        (
            "store-segment-size must be 8 MiB to 4096 MiB",
            ServeArgs {
                store_segment_size: size(1),
                ..with_bucket()
            },
        ),
    ];
    for (message, args) in refused {
        assert_eq!(args.resolve().unwrap_err().to_string(), message);
    }
    let (_folder, path) = file("store = \"https://uploads/here\"\n");
    let args = ServeArgs {
        config: Some(path),
        ..ServeArgs::default()
    };
    let message = args.resolve().unwrap_err().to_string();
    assert!(message.contains("line 1: not an S3 address"), "{message}");
}

#[test]
fn parts_in_memory_bound_how_many_uploads_a_bucket_takes_at_a_time() {
    let uploads = |part: Option<u64>, given| {
        let args = ServeArgs {
            store_part_size: part.map(|mebibytes| Size(mebibytes << 20)),
            max_uploads: given,
            ..with_bucket()
        };
        args.limits().unwrap().max_uploads
    };
    assert_eq!(ServeArgs::default().limits().unwrap().max_uploads, 1000);
    assert_eq!(uploads(None, None), 128);
    assert_eq!(uploads(Some(64), None), 16);
    assert_eq!(uploads(Some(64), Some(500)), 500);
}

#[test]
fn commands_work_where_the_server_keeps_things() {
    let (folder, path) = file("data = \"there\"\n");
    let place = |data: Option<&str>, store: Option<&str>| {
        let store = store.map(|store| store.parse().unwrap());
        let data = data.map(PathBuf::from);
        data_place(data, store, BucketArgs::default(), Some(&path))
    };
    let is_folder = |place, folder: &str| matches!(place, Ok(DataPlace::Folder(is)) if is.as_os_str() == folder);
    assert!(is_folder(place(None, None), "there"));
    assert!(is_folder(place(Some("here"), None), "here"));
    let both = place(Some("here"), Some("s3://uploads/here"));
    assert!(matches!(both, Err(ConfigError::Conflict { .. })));
    // What is typed goes before a bucket in the file.
    std::fs::write(
        folder.path().join("sealslot.toml"),
        "store = \"s3://uploads/x\"\n",
    )
    .unwrap();
    assert!(is_folder(place(Some("here"), None), "here"));
}

#[test]
fn a_bucket_leaves_it_open_who_may_upload_until_its_tokens_are_known() {
    // As it is decided for a folder, where the tokens are known at once.
    let config = || ServeArgs::default().resolve().unwrap();
    let open = config().with_tokens(false).unwrap();
    assert!(open.anonymous && open.setup == Setup::MadeUp);
    let closed = config().with_tokens(true).unwrap();
    assert!(!closed.anonymous && closed.has_tokens && closed.setup == Setup::Given);
    let said = ServeArgs {
        allow_anonymous: Some(true),
        ..ServeArgs::default()
    };
    assert!(said.resolve().unwrap().with_tokens(true).unwrap().anonymous);
}
