//! The settings of `serve`: what the user typed, apart from what the server uses.
//!
//! [`ServeArgs`] holds what was given on the command line, in the environment or in the file, in this order of
//! precedence; [`ServeArgs::resolve`] turns it into a [`Config`] in which everything is decided.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use crate::http::{CorsOrigin, Limits};
use crate::server::ConnectionLimits;
use crate::upload::SessionLimits;

/// The file that is read where none is named and it is there.
const DEFAULT_FILE: &str = "sealslot.toml";

/// A length of time as people write it: `30s`, `5m`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// How much is logged of what Sealslot does. What its libraries would log is never shown beyond warnings: at their
/// finer levels they write out what clients send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what needs attention.
    Warn,
    /// And what happens now and then.
    Info,
    /// And every request.
    Debug,
    /// And everything else.
    Trace,
}

/// Declares the settings once: as flags, environment variables, keys of the file, and how the file's values stand in
/// for those that were not given.
macro_rules! settings {
    ($($(#[$attribute:meta])* $name:ident: $type:ty,)*) => {
        /// The settings of `serve`, as they were given. Nothing is decided yet.
        #[derive(Debug, Default, clap::Args, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct ServeArgs {
            /// Read settings from this file [default: sealslot.toml, where it exists]
            #[arg(long, env = "SEALSLOT_CONFIG", value_name = "FILE")]
            #[serde(skip)]
            pub config: Option<PathBuf>,
            $($(#[$attribute])* pub $name: $type,)*
        }

        impl ServeArgs {
            fn or(self, file: Self) -> Self {
                Self { config: self.config, $($name: self.$name.or_given(file.$name),)* }
            }
        }
    };
}

/// A setting that may not have been given.
trait OrGiven {
    fn or_given(self, other: Self) -> Self;
}

impl<T> OrGiven for Option<T> {
    fn or_given(self, other: Self) -> Self {
        self.or(other)
    }
}

impl<T> OrGiven for Vec<T> {
    fn or_given(self, other: Self) -> Self {
        if self.is_empty() { other } else { self }
    }
}

settings! {
    /// Where to listen [default: 127.0.0.1:8443]
    #[arg(long, env = "SEALSLOT_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where uploads are kept [default: data]
    #[arg(long, env = "SEALSLOT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where server.pem and server.key are [default: certs]
    #[arg(long, env = "SEALSLOT_CERTS", value_name = "DIR")]
    certs: Option<PathBuf>,
    /// A public key to seal to, or a file of them; may be repeated
    #[arg(long, env = "SEALSLOT_RECIPIENT", value_name = "RECIPIENT", value_delimiter = '\n')]
    recipient: Vec<String>,
    /// A private key that this server shall hold, for /decrypt and plaintext downloads; may be repeated
    // Not SEALSLOT_IDENTITY: that is set for `open`, and would bring the key to a server that should do without.
    #[arg(long, env = "SEALSLOT_SERVE_IDENTITY", value_name = "FILE", value_delimiter = '\n')]
    identity: Vec<PathBuf>,
    /// The file of the token that may list, fetch and delete
    #[arg(long, env = "SEALSLOT_ADMIN_TOKEN_FILE", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// A file of tokens that may upload, one a line
    #[arg(long, env = "SEALSLOT_UPLOAD_TOKEN_FILE", value_name = "FILE")]
    upload_token_file: Option<PathBuf>,
    /// Let anyone upload [default: only on loopback, and where no token file is given]
    #[arg(long, env = "SEALSLOT_ALLOW_ANONYMOUS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_anonymous: Option<bool>,
    /// Serve health, readiness and metrics here too, over TLS and without a token
    #[arg(long, env = "SEALSLOT_METRICS_LISTEN", value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// How much to log [default: info]
    #[arg(long, env = "SEALSLOT_LOG", value_name = "LEVEL")]
    log: Option<LogLevel>,
    /// Largest body of one upload request [default: 100GiB]
    #[arg(long, env = "SEALSLOT_MAX_SIZE", value_name = "SIZE")]
    max_size: Option<ByteSize>,
    /// Most files and fields in one form [default: 1000]
    #[arg(long, env = "SEALSLOT_MAX_PARTS", value_name = "N")]
    max_parts: Option<usize>,
    /// Largest headers of one part of a form [default: 64KiB]
    #[arg(long, env = "SEALSLOT_MAX_PART_HEADERS", value_name = "SIZE")]
    max_part_headers: Option<ByteSize>,
    /// Longest name of a file or field [default: 32KiB]
    #[arg(long, env = "SEALSLOT_MAX_NAME", value_name = "SIZE")]
    max_name: Option<ByteSize>,
    /// Largest text fields of one form, all together [default: 1MiB]
    #[arg(long, env = "SEALSLOT_MAX_FIELDS", value_name = "SIZE")]
    max_fields: Option<ByteSize>,
    /// Largest data of /encrypt and /decrypt, which work in memory [default: 1MiB]
    #[arg(long, env = "SEALSLOT_MAX_DATA", value_name = "SIZE")]
    max_data: Option<ByteSize>,
    /// Most upload requests at the same time [default: 1000]
    #[arg(long, env = "SEALSLOT_MAX_UPLOADS", value_name = "N")]
    max_uploads: Option<usize>,
    /// How long an upload that comes in several requests may take, and its URL answers [default: 7d]
    #[arg(long, env = "SEALSLOT_UPLOAD_LIFETIME", value_name = "TIME")]
    upload_lifetime: Option<Span>,
    /// After how many bytes of one body a resumable upload is made durable as far as it has come [default: 256MiB]
    #[arg(long, env = "SEALSLOT_CHECKPOINT", value_name = "SIZE")]
    checkpoint: Option<ByteSize>,
    /// Let pages of this other origin upload, named by scheme and host, or `*` for all; may be repeated
    #[arg(long, env = "SEALSLOT_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = '\n')]
    cors_origin: Vec<CorsOrigin>,
    /// Most connections at the same time [default: 4000]
    #[arg(long, env = "SEALSLOT_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,
    /// Longest TLS handshake [default: 10s]
    #[arg(long, env = "SEALSLOT_HANDSHAKE_TIMEOUT", value_name = "TIME")]
    handshake_timeout: Option<Span>,
    /// Longest wait for a request's headers, and longest idle time of a connection [default: 60s]
    #[arg(long, env = "SEALSLOT_HEADER_TIMEOUT", value_name = "TIME")]
    header_timeout: Option<Span>,
    /// Longest standstill of a body [default: 60s]
    #[arg(long, env = "SEALSLOT_BODY_TIMEOUT", value_name = "TIME")]
    body_timeout: Option<Span>,
    /// Longest time for one request's body [default: 24h]
    #[arg(long, env = "SEALSLOT_REQUEST_TIMEOUT", value_name = "TIME")]
    request_timeout: Option<Span>,
    /// Longest time that a client may leave an answer unread [default: 60s]
    #[arg(long, env = "SEALSLOT_WRITE_TIMEOUT", value_name = "TIME")]
    write_timeout: Option<Span>,
    /// How long requests may go on after SIGTERM [default: 30s]
    #[arg(long, env = "SEALSLOT_GRACE", value_name = "TIME")]
    grace: Option<Span>,
}

/// Why the settings do not make a server.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A limit of nothing would let nothing in.
    #[error("{0} must be more than zero")]
    Zero(&'static str),
    /// On an address that others can reach, nothing is made up.
    #[error("{listen} can be reached from other machines, so nothing is made up; give {}", missing.join("; and "))]
    Missing {
        /// Where it was to listen.
        listen: SocketAddr,
        /// What to give, a phrase each.
        missing: Vec<String>,
    },
}

/// Everything that a server needs to know, decided.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether what is missing may be made: only on loopback.
    pub development: bool,
    /// Where uploads are kept.
    pub data: PathBuf,
    /// Where `server.pem` and `server.key` are.
    pub certs: PathBuf,
    /// Public keys to seal to, or files of them. Empty: those of the identities, or in development of a key to be made.
    pub recipients: Vec<String>,
    /// Private keys to hold.
    pub identities: Vec<PathBuf>,
    /// The file of the admin token.
    pub admin_token_file: Option<PathBuf>,
    /// The file of the upload tokens.
    pub upload_token_file: Option<PathBuf>,
    /// Whether anyone may upload.
    pub anonymous: bool,
    /// Where to serve operations too.
    pub metrics_listen: Option<SocketAddr>,
    /// How much to log.
    pub log: LogLevel,
    /// The bounds of requests.
    pub limits: Limits,
    /// The bounds of uploads that come in several requests.
    pub sessions: SessionLimits,
    /// Whose pages may upload from elsewhere.
    pub cors_origins: Vec<CorsOrigin>,
    /// The bounds of connections.
    pub connections: ConnectionLimits,
}

impl ServeArgs {
    /// Fills in what was not given from the file, then with the defaults, and decides.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let file = read_file(self.config.as_deref())?;
        let given = self.or(file);
        let listen = given
            .listen
            .unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443));
        let development = listen.ip().to_canonical().is_loopback();
        let limits = given.limits()?;
        let connections = given.connection_limits()?;
        let sessions = given.session_limits()?;
        let decided = given.allow_anonymous.is_some()
            || given.upload_token_file.is_some()
            || given.admin_token_file.is_some();
        // Where tokens were given, being on loopback may well mean a proxy in front: it decides nothing then.
        let open =
            development && given.upload_token_file.is_none() && given.admin_token_file.is_none();
        let config = Config {
            listen,
            development,
            data: given.data.unwrap_or_else(|| "data".into()),
            certs: given.certs.unwrap_or_else(|| "certs".into()),
            recipients: given.recipient,
            identities: given.identity,
            anonymous: given.allow_anonymous.unwrap_or(open),
            admin_token_file: given.admin_token_file,
            upload_token_file: given.upload_token_file,
            metrics_listen: given.metrics_listen,
            log: given.log.unwrap_or(LogLevel::Info),
            limits,
            sessions,
            cors_origins: given.cors_origin,
            connections,
        };
        config.check(decided)
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        Ok(Limits {
            max_size: positive("max-size", self.max_size.map(|size| size.0), 100 << 30)?,
            max_parts: positive("max-parts", self.max_parts, 1000)?,
            max_part_headers: positive(
                "max-part-headers",
                in_memory(self.max_part_headers),
                64 << 10,
            )?,
            max_name: positive("max-name", in_memory(self.max_name), 32 << 10)?,
            max_fields: positive("max-fields", in_memory(self.max_fields), 1 << 20)?,
            max_data: positive("max-data", in_memory(self.max_data), 1 << 20)?,
            max_uploads: positive("max-uploads", permits(self.max_uploads), 1000)?,
            body_timeout: span("body-timeout", self.body_timeout, 60)?,
            request_timeout: span("request-timeout", self.request_timeout, 24 * 60 * 60)?,
        })
    }

    fn session_limits(&self) -> Result<SessionLimits, ConfigError> {
        let usual = SessionLimits::default();
        let lifetime = self.upload_lifetime.map(|span| bounded(span.0));
        let checkpoint = self.checkpoint.map(|size| size.0);
        Ok(SessionLimits {
            upload_lifetime: positive("upload-lifetime", lifetime, usual.upload_lifetime)?,
            checkpoint: positive("checkpoint", checkpoint, usual.checkpoint)?,
        })
    }

    fn connection_limits(&self) -> Result<ConnectionLimits, ConfigError> {
        Ok(ConnectionLimits {
            max_connections: positive("max-connections", permits(self.max_connections), 4000)?,
            handshake_timeout: span("handshake-timeout", self.handshake_timeout, 10)?,
            header_timeout: span("header-timeout", self.header_timeout, 60)?,
            write_timeout: span("write-timeout", self.write_timeout, 60)?,
            grace: self
                .grace
                .map_or(Duration::from_secs(30), |span| bounded(span.0)),
        })
    }
}

impl Config {
    /// On an address that others can reach, everything must have been given.
    fn check(self, decided: bool) -> Result<Self, ConfigError> {
        let mut missing = Vec::new();
        if !self.development {
            let paths = crate::tls::dev::DevCertificates::paths(&self.certs);
            if !paths.server_pem.exists() || !paths.server_key.exists() {
                missing.push(format!(
                    "a certificate: {} and {} (--certs DIR)",
                    paths.server_pem.display(),
                    paths.server_key.display()
                ));
            }
            if self.recipients.is_empty() && self.identities.is_empty() {
                missing.push("a public key to seal to (--recipient FILE.pub)".to_owned());
            }
            if !decided {
                missing.push(
                    "a decision about who may upload (--upload-token-file FILE, --admin-token-file FILE or \
                     --allow-anonymous)"
                        .to_owned(),
                );
            }
        }
        if missing.is_empty() {
            Ok(self)
        } else {
            Err(ConfigError::Missing {
                listen: self.listen,
                missing,
            })
        }
    }
}

fn read_file(named: Option<&Path>) -> Result<ServeArgs, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(ServeArgs::default());
        }
        Err(source) => {
            return Err(ConfigError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map_or(0, |span| text[..span.start].matches('\n').count() + 1);
        let message = error.message().replace('\n', " ");
        ConfigError::File {
            path: path.to_owned(),
            message: format!("line {line}: {message}"),
        }
    })
}

fn positive<T: Default + PartialEq>(
    name: &'static str,
    given: Option<T>,
    default: T,
) -> Result<T, ConfigError> {
    match given {
        Some(value) if value == T::default() => Err(ConfigError::Zero(name)),
        value => Ok(value.unwrap_or(default)),
    }
}

fn span(name: &'static str, given: Option<Span>, default: u64) -> Result<Duration, ConfigError> {
    let given = given.map(|span| bounded(span.0));
    positive(name, given, Duration::from_secs(default))
}

/// Ten years are as good as for ever, and can be added to any time.
fn bounded(time: Duration) -> Duration {
    time.min(Duration::from_hours(10 * 365 * 24))
}

fn in_memory(size: Option<ByteSize>) -> Option<usize> {
    // What is held in memory is not counted in more than 1 GiB.
    size.map(|size| usize::try_from(size.0.min(1 << 30)).unwrap_or(1 << 30))
}

fn permits(number: Option<usize>) -> Option<usize> {
    number.map(|number| number.min(tokio::sync::Semaphore::MAX_PERMITS))
}

#[cfg(test)]
mod tests {
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
        assert!(config.development && config.anonymous);
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
}
