//! The settings of `serve`: what the user typed, apart from what the server uses.
//!
//! [`ServeArgs`] holds what was given on the command line, in the environment or in the file, in this order of
//! precedence; [`ServeArgs::resolve`] turns it into a [`Config`] in which everything is decided.

mod amounts;
mod bounds;
mod bucket;
mod certificate;
mod error;
mod file;
mod peers;
mod settings;
mod together;
mod webhooks;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::acme::AcmeSettings;
use crate::http::{CorsOrigin, Limits, PageSettings};
use crate::server::{ConnectionLimits, Peers};
use crate::store::{Collection, LocalRecords};
use crate::tls::{CertificateFiles, TlsSettings};
use crate::upload::SessionLimits;

pub use amounts::{
    Amount, AmountError, Size, SizeError, Span, SpanError, Term, TermError, TooFarError,
};
pub use bucket::{BucketArgs, BucketSettings, StoreSettings, aws_environment};
pub use error::ConfigError;
pub use file::{DataPlace, data_place};
pub use settings::{LogLevel, ServeArgs};
pub use webhooks::WebhookSettings;

/// Where keys, and who may do what, come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The settings say something of them.
    Given,
    /// All of it is made up: only in development.
    MadeUp,
}

/// Everything that a server needs to know, decided.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting of its own"
)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether what is missing may be made: only on loopback, and without ACME.
    pub development: bool,
    /// Whether anything was said of keys or of who may do what.
    pub setup: Setup,
    /// Where uploads are kept, or with a bucket for them, what is made in development.
    pub data: PathBuf,
    /// Where `server.pem` and `server.key` are, if [`Self::certificate`] does not say.
    pub certs: PathBuf,
    /// The files of the certificate, where they were named one by one.
    pub certificate: Option<CertificateFiles>,
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
    /// Where uploads are kept, and the bounds of it.
    pub store: StoreSettings,
    /// The bounds of uploads that come in several requests.
    pub sessions: SessionLimits,
    /// Whose pages may upload from elsewhere.
    pub cors_origins: Vec<CorsOrigin>,
    /// How the page presents itself.
    pub page: PageSettings,
    /// Whether phones may have the development authority.
    pub ca_page: bool,
    /// The file of the page's logo.
    pub page_logo: Option<PathBuf>,
    /// The bounds of connections.
    pub connections: ConnectionLimits,
    /// What tells who is at the other end of one.
    pub peers: Peers,
    /// How connections are secured.
    pub tls: TlsSettings,
    /// Where the certificate comes from, where it is a certificate authority.
    pub acme: Option<AcmeSettings>,
    /// Where to listen for plain HTTP.
    pub http_listen: Option<SocketAddr>,
    /// Whether HTTP/3 is served too.
    pub http3: bool,
    /// What was said of whoever shows nothing.
    allow_anonymous: Option<bool>,
    /// Whether settings say who may do what.
    names_who_may: bool,
}

impl ServeArgs {
    /// Fills in what was not given from the file, then with the defaults, and decides.
    ///
    /// Where uploads are kept in a bucket, nobody may upload yet who shows nothing, unless that was said:
    /// [`Config::with_tokens`] decides when it is known what is in there.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let file = file::read(self.config.as_deref())?;
        let given = self.or(file);
        let listen = given
            .listen
            .unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443));
        let acme = given.acme()?;
        // A certificate that the world trusts is for others, whatever passes them on to loopback.
        let development = listen.ip().to_canonical().is_loopback() && acme.is_none();
        let limits = given.limits()?;
        let store = given.store_settings()?;
        let connections = given.connection_limits()?;
        let sessions = given.session_limits()?;
        let webhooks = given.webhooks()?;
        let peers = given.peers()?;
        let http3 = given.http3.unwrap_or(false);
        if http3 && peers.proxies.protocol {
            // Proxies that speak it pass on TCP: over UDP, everybody would come with the proxy's address, or around it.
            return Err(ConfigError::Conflict {
                setting: "http3",
                other: "proxy-protocol",
            });
        }
        let tls = TlsSettings {
            min_version: given.tls_min.unwrap_or_default(),
            clients: given.client_auth()?,
            names: given.server_name.clone(),
            loopback: development,
            may_wait: acme.is_some(),
        };
        let certificate = given.certificate_files()?;
        let data = given.data.clone().unwrap_or_else(|| "data".into());
        let names_who_may = given.names_who_may();
        let config = Config {
            listen,
            development,
            setup: Setup::Given,
            data,
            certs: given.certs.unwrap_or_else(|| "certs".into()),
            certificate,
            recipients: given.recipient,
            identities: given.identity,
            anonymous: given.allow_anonymous.unwrap_or(false),
            has_tokens: false,
            admin_token_file: given.admin_token_file,
            upload_token_file: given.upload_token_file,
            metrics_listen: given.metrics_listen,
            audit_log: given.audit_log,
            webhooks,
            log: given.log.unwrap_or(LogLevel::Info),
            limits,
            store,
            sessions,
            cors_origins: given.cors_origin,
            page: PageSettings::new(
                given.page_title,
                given.page_text,
                given.page_colour,
                given.page_field,
            )?,
            ca_page: given.ca_page.unwrap_or(false),
            page_logo: given.page_logo,
            connections,
            peers,
            tls,
            acme,
            http_listen: given.http_listen,
            http3,
            allow_anonymous: given.allow_anonymous,
            names_who_may,
        };
        match config.store {
            StoreSettings::Folder(_) => {
                let has_tokens = LocalRecords::exist(&config.data, Collection::Tokens)?;
                config.with_tokens(has_tokens)
            }
            // Whether there are tokens, and with that who may upload, only the bucket knows: `with_tokens` decides it.
            StoreSettings::Bucket(_) => config.check(true),
        }
    }

    /// Whether the settings say of some tokens or certificates what they let do.
    fn names_who_may(&self) -> bool {
        self.upload_token_file.is_some()
            || self.admin_token_file.is_some()
            || !self.client_scope.is_empty()
    }
}

impl Config {
    /// Decides who may upload, now that it is known whether there are tokens in the store.
    pub fn with_tokens(mut self, has_tokens: bool) -> Result<Self, ConfigError> {
        // Where somebody is let in by a token or a certificate, or where there is a proxy in front, being on loopback decides
        // nothing.
        let by_name = has_tokens || self.names_who_may;
        let decided = self.allow_anonymous.is_some() || by_name;
        let open = self.development && !by_name && self.peers.proxies.trusted.is_empty();
        let nothing_said = self.recipients.is_empty() && self.identities.is_empty() && !decided;
        self.setup = if open && nothing_said {
            Setup::MadeUp
        } else {
            Setup::Given
        };
        self.anonymous = self.allow_anonymous.unwrap_or(open);
        self.has_tokens = has_tokens;
        self.check(decided)
    }

    /// On an address that others can reach, everything must have been given.
    fn check(self, decided: bool) -> Result<Self, ConfigError> {
        let mut missing = Vec::new();
        if !self.development {
            let paths = crate::tls::dev::DevCertificates::paths(&self.certs);
            let named = self.certificate.is_some() || self.acme.is_some();
            if !named && (!paths.server_pem.exists() || !paths.server_key.exists()) {
                missing.push(format!(
                    "a certificate: {} and {} (--certs DIR), --certificate FILE with --private-key FILE, or one by ACME \
                     (--acme-domain NAME)",
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

#[cfg(test)]
mod tests;
