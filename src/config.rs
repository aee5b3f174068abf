//! The settings of `serve`: what the user typed, apart from what the server uses.
//!
//! [`ServeArgs`] holds what was given on the command line, in the environment or in the file, in this order of
//! precedence; [`ServeArgs::resolve`] turns it into a [`Config`] in which everything is decided.

mod settings;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;

use crate::http::{CorsOrigin, Limits, PageSettingError, PageSettings};
use crate::server::{ConnectionLimits, Peers, Proxies};
use crate::store::{Collection, LocalRecords, StoreError, StoreLimits};
use crate::tls::{ClientAuth, ClientCertificates};
use crate::upload::SessionLimits;
use crate::webhook::{Endpoint, EndpointError};

pub use settings::{LogLevel, ServeArgs, Span};

/// The file that is read where none is named and it is there.
const DEFAULT_FILE: &str = "sealslot.toml";

/// URLs that are told of finished uploads.
const MAX_WEBHOOKS: usize = 16;

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
    /// A setting that means nothing by itself.
    #[error("{setting} needs {needed}")]
    Alone {
        /// The setting.
        setting: &'static str,
        /// What it needs.
        needed: &'static str,
    },
    /// A webhook's URL cannot be told anything.
    #[error("webhook: {0}")]
    Webhook(#[from] EndpointError),
    /// Each webhook is told by itself.
    #[error("webhook: at most {MAX_WEBHOOKS} can be told")]
    TooManyWebhooks,
    /// The page would make no sense.
    #[error(transparent)]
    Page(#[from] PageSettingError),
    /// The data folder cannot be read.
    #[error(transparent)]
    Data(#[from] StoreError),
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
    /// Whether it is, and nothing was said of keys or of who may do what: all of that is made up.
    pub unconfigured: bool,
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
    /// Whether there are tokens that were made by `sealslot token create`.
    pub has_tokens: bool,
    /// Where to serve operations too.
    pub metrics_listen: Option<SocketAddr>,
    /// The file of the audit log.
    pub audit_log: Option<PathBuf>,
    /// Who is told of finished uploads.
    pub webhooks: Option<WebhookSettings>,
    /// How much to log.
    pub log: LogLevel,
    /// The bounds of requests.
    pub limits: Limits,
    /// The bounds of the store.
    pub store: StoreLimits,
    /// The bounds of uploads that come in several requests.
    pub sessions: SessionLimits,
    /// Whose pages may upload from elsewhere.
    pub cors_origins: Vec<CorsOrigin>,
    /// How the page presents itself.
    pub page: PageSettings,
    /// The file of the page's logo.
    pub page_logo: Option<PathBuf>,
    /// The bounds of connections.
    pub connections: ConnectionLimits,
    /// What tells who is at the other end of one.
    pub peers: Peers,
    /// How clients are asked for certificates, where they are.
    pub client_auth: Option<ClientAuth>,
}

/// Who is told of finished uploads, and how.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Where to. At least one.
    pub endpoints: Vec<Endpoint>,
    /// The file of the secret that messages are signed with.
    pub secret_file: PathBuf,
    /// The file of the certificate authorities that are trusted; `None`: those of the system.
    pub cacert: Option<PathBuf>,
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
        let webhooks = given.webhooks()?;
        let peers = given.peers()?;
        let client_auth = given.client_auth()?;
        let quota = given
            .quota
            .map(|size| positive("quota", Some(size.0), 0))
            .transpose()?;
        let data = given.data.unwrap_or_else(|| "data".into());
        let has_tokens = LocalRecords::exist(&data, Collection::Tokens)?;
        // Where somebody is let in by a token or a certificate, or where there is a proxy in front, being on loopback decides
        // nothing.
        let by_name = given.upload_token_file.is_some()
            || given.admin_token_file.is_some()
            || !given.client_scope.is_empty()
            || has_tokens;
        let decided = given.allow_anonymous.is_some() || by_name;
        let open = development && !by_name && peers.proxies.trusted.is_empty();
        let unconfigured =
            open && given.recipient.is_empty() && given.identity.is_empty() && !decided;
        let config = Config {
            listen,
            development,
            unconfigured,
            data,
            certs: given.certs.unwrap_or_else(|| "certs".into()),
            recipients: given.recipient,
            identities: given.identity,
            anonymous: given.allow_anonymous.unwrap_or(open),
            has_tokens,
            admin_token_file: given.admin_token_file,
            upload_token_file: given.upload_token_file,
            metrics_listen: given.metrics_listen,
            audit_log: given.audit_log,
            webhooks,
            log: given.log.unwrap_or(LogLevel::Info),
            limits,
            store: StoreLimits {
                quota,
                min_free: given.min_free.map_or(16 << 20, |size| size.0),
            },
            sessions,
            cors_origins: given.cors_origin,
            page: PageSettings::new(
                given.page_title,
                given.page_text,
                given.page_colour,
                given.page_field,
            )?,
            page_logo: given.page_logo,
            connections,
            peers,
            client_auth,
        };
        config.check(decided)
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let max_uploads = positive("max-uploads", permits(self.max_uploads), 1000)?;
        let half = max_uploads.div_ceil(2);
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
            max_uploads,
            max_uploads_per_address: positive(
                "max-uploads-per-address",
                self.max_uploads_per_address,
                half,
            )?,
            max_uploads_per_token: positive(
                "max-uploads-per-token",
                self.max_uploads_per_token,
                half,
            )?,
            address_rate: self.address_rate,
            token_rate: self.token_rate,
            keep: lifetime("keep", self.keep)?,
            withdraw_for: lifetime("withdraw-for", self.withdraw_for)?,
            body_timeout: span("body-timeout", self.body_timeout, 60)?,
            min_speed: self.min_speed.map_or(1 << 10, |size| size.0),
            request_timeout: span("request-timeout", self.request_timeout, 24 * 60 * 60)?,
            failure_delay: self
                .failure_delay
                .map_or(Duration::from_millis(50), |span| bounded(span.0)),
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

    fn webhooks(&self) -> Result<Option<WebhookSettings>, ConfigError> {
        let alone = |setting, needed| Err(ConfigError::Alone { setting, needed });
        if self.webhook.is_empty() {
            return match (&self.webhook_secret_file, &self.webhook_cacert) {
                (Some(_), _) => alone("webhook-secret-file", "--webhook URL"),
                (_, Some(_)) => alone("webhook-cacert", "--webhook URL"),
                (None, None) => Ok(None),
            };
        }
        let Some(secret_file) = self.webhook_secret_file.clone() else {
            return alone("webhook", "--webhook-secret-file FILE");
        };
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for url in &self.webhook {
            let endpoint = url.as_str().parse()?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.len() > MAX_WEBHOOKS {
            return Err(ConfigError::TooManyWebhooks);
        }
        Ok(Some(WebhookSettings {
            endpoints,
            secret_file,
            cacert: self.webhook_cacert.clone(),
        }))
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

impl ServeArgs {
    /// Whom connections are believed to come from. How proxies speak means nothing without saying which.
    fn peers(&self) -> Result<Peers, ConfigError> {
        let protocol = self.proxy_protocol.unwrap_or(false);
        let untrusted = self.trusted_proxy.is_empty();
        let needs_proxy = [
            ("proxy-protocol", protocol),
            ("forwarded", self.forwarded.is_some()),
        ];
        alone(untrusted, &needs_proxy, "trusted-proxy")?;
        Ok(Peers {
            proxies: Proxies {
                trusted: self.trusted_proxy.clone(),
                protocol,
                forwarded: self.forwarded,
            },
            client_scopes: self.client_scope.clone(),
        })
    }

    /// How clients are asked for certificates. Without an authority they are not.
    fn client_auth(&self) -> Result<Option<ClientAuth>, ConfigError> {
        let needs_authority = [
            ("client-scope", !self.client_scope.is_empty()),
            ("client-crl", !self.client_crl.is_empty()),
            ("client-certificates", self.client_certificates.is_some()),
        ];
        alone(self.client_ca.is_none(), &needs_authority, "client-ca")?;
        Ok(self.client_ca.clone().map(|ca| ClientAuth {
            ca,
            crls: self.client_crl.clone(),
            certificates: self
                .client_certificates
                .unwrap_or(ClientCertificates::Optional),
        }))
    }
}

/// Refuses the first of these settings that was given, where what it needs is missing.
fn alone(
    missing: bool,
    given: &[(&'static str, bool)],
    needed: &'static str,
) -> Result<(), ConfigError> {
    match given.iter().find(|(_, given)| *given) {
        Some((setting, _)) if missing => Err(ConfigError::Alone { setting, needed }),
        _ => Ok(()),
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
                    "a decision about who may upload (`sealslot token create`, --upload-token-file FILE, \
                     --admin-token-file FILE, --client-ca FILE with --client-scope, or --allow-anonymous)"
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

/// The data folder of the server with these settings, for commands that work on it: as given, else what the file says.
pub fn data_folder(given: Option<PathBuf>, file: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let given = match given {
        Some(given) => Some(given),
        None => read_file(file)?.data,
    };
    Ok(given.unwrap_or_else(|| "data".into()))
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

fn lifetime(name: &'static str, given: Option<Span>) -> Result<Option<Duration>, ConfigError> {
    let given = given.map(|span| bounded(span.0));
    given
        .map(|time| positive(name, Some(time), time))
        .transpose()
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
mod tests;
