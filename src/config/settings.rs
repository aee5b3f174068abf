//! The settings one by one, as they may be given.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use super::{Size, Span};
use crate::acme::{AcmeChallenge, AcmeDirectory, AcmeEmail, AcmeName, AcmeProfile};
use crate::http::{Colour, CorsOrigin, PageText, PageTitle, Rate, TextField};
use crate::server::{ClientScope, ForwardedHeader, Network};
use crate::store::S3Url;
use crate::tls::{ClientCertificates, HostName, TlsVersion};

/// A URL as it was given, not read yet: it may hold a secret, and what cannot be read is repeated where that is told.
#[derive(Clone, Deserialize)]
pub struct UnreadUrl(String);

impl UnreadUrl {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnreadUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for UnreadUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UnreadUrl")
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
            pub(super) fn or(self, file: Self) -> Self {
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
    /// Where uploads are kept [default: data]. With --store only the key and the token that are made in development
    #[arg(long, env = "SEALSLOT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Keep uploads in this bucket of an S3-compatible engine, below the prefix, and nothing on this machine; any number of servers
    /// may share it. Credentials are those of `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, of `AWS_PROFILE`, or of
    /// `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`
    #[arg(long, env = "SEALSLOT_STORE", value_name = "s3://BUCKET/PREFIX")]
    #[serde(deserialize_with = "super::bucket::from_text")]
    store: Option<S3Url>,
    /// Where the engine is, like <https://s3.example.org:8333> [default: `AWS_ENDPOINT_URL`, else Amazon's of the region]
    #[arg(long, env = "SEALSLOT_STORE_ENDPOINT", value_name = "URL")]
    store_endpoint: Option<String>,
    /// The region that requests to the engine are signed for [default: `AWS_REGION`, else us-east-1]
    #[arg(long, env = "SEALSLOT_STORE_REGION", value_name = "REGION")]
    store_region: Option<String>,
    /// Trust the certificate authorities in FILE (PEM) for the engine instead of the system's
    #[arg(long, env = "SEALSLOT_STORE_CACERT", value_name = "FILE")]
    store_cacert: Option<PathBuf>,
    /// Name the bucket in the host and not in the path
    #[arg(long, env = "SEALSLOT_STORE_VIRTUAL_HOST", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    store_virtual_host: Option<bool>,
    /// Let requests to the engine go over plain HTTP to other machines: whoever listens on the way sees what the engine sees
    #[arg(long, env = "SEALSLOT_STORE_ALLOW_HTTP", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    store_allow_http: Option<bool>,
    /// Bytes that are sent to the engine at a time of a large upload, 8MiB to 64MiB; each upload under way holds so many in memory
    /// [default: 8MiB]
    #[arg(long, env = "SEALSLOT_STORE_PART_SIZE", value_name = "SIZE", allow_hyphen_values = true)]
    store_part_size: Option<Size>,
    /// Bytes after which an upload to the engine goes on in another object: what is lost of a resumable one with a server is less
    /// than this [default: 256MiB]
    #[arg(long, env = "SEALSLOT_STORE_SEGMENT_SIZE", value_name = "SIZE", allow_hyphen_values = true)]
    store_segment_size: Option<Size>,
    /// Memory for parts on their way to the engine while the next ones are filled, for all uploads together [default: 256MiB]
    #[arg(long, env = "SEALSLOT_STORE_MEMORY", value_name = "SIZE", allow_hyphen_values = true)]
    store_memory: Option<Size>,
    /// Where server.pem and server.key are [default: certs]
    #[arg(long, env = "SEALSLOT_CERTS", value_name = "DIR")]
    certs: Option<PathBuf>,
    /// The certificate chain in PEM, the server's own first; taken up as soon as it is replaced. Instead of --certs
    #[arg(long, env = "SEALSLOT_CERTIFICATE", value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// The private key of --certificate; may be in the same file
    #[arg(long, env = "SEALSLOT_PRIVATE_KEY", value_name = "FILE")]
    private_key: Option<PathBuf>,
    /// A further name or address that clients may call this server by, beside those in its certificate; may be repeated
    #[arg(long, env = "SEALSLOT_SERVER_NAME", value_name = "HOST", value_delimiter = '\n')]
    server_name: Vec<HostName>,
    /// Offer the development CA to phones, at /ca with a QR code; for as long as they need to install it
    #[arg(long, env = "SEALSLOT_CA_PAGE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ca_page: Option<bool>,
    /// A public key to seal to, a file of them, or a folder of *.pub files; may be repeated. What changes in files and folders is
    /// taken up while the server runs. Post-quantum keys (`age1pq1...`) and others do not go together
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
    /// Let anyone upload [default: only on loopback, and where no token, client scope or trusted proxy is given]
    #[arg(long, env = "SEALSLOT_ALLOW_ANONYMOUS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_anonymous: Option<bool>,
    /// A proxy in front that is believed, or a network of them: 192.0.2.7, 10.0.0.0/8; may be repeated
    #[arg(long, env = "SEALSLOT_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = '\n')]
    trusted_proxy: Vec<Network>,
    /// Connections from trusted proxies begin with a header of the PROXY protocol, version 1 or 2
    #[arg(long, env = "SEALSLOT_PROXY_PROTOCOL", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    proxy_protocol: Option<bool>,
    /// The header that names clients' addresses, believed from trusted proxies: `forwarded` or `x-forwarded-for` [default: none].
    /// The proxies must add to it or replace it, and not pass on what clients send
    #[arg(long, env = "SEALSLOT_FORWARDED", value_name = "HEADER")]
    forwarded: Option<ForwardedHeader>,
    /// The oldest version of TLS that is spoken: `1.2` or `1.3` [default: 1.2]
    #[arg(long, env = "SEALSLOT_TLS_MIN", value_name = "VERSION")]
    tls_min: Option<TlsVersion>,
    /// Have a certificate for this DNS name (or IP address, where the authority gives such) from a certificate authority by ACME, and renew it; may be
    /// repeated. Then server.pem and server.key are not used
    #[arg(long, env = "SEALSLOT_ACME_DOMAIN", value_name = "NAME", value_delimiter = '\n')]
    acme_domain: Vec<AcmeName>,
    /// Where the authority may write to [default: nowhere]
    #[arg(long, env = "SEALSLOT_ACME_EMAIL", value_name = "ADDRESS")]
    acme_email: Option<AcmeEmail>,
    /// The authority's directory [default: Let's Encrypt's, <https://acme-v02.api.letsencrypt.org/directory>]
    #[arg(long, env = "SEALSLOT_ACME_DIRECTORY", value_name = "URL")]
    acme_directory: Option<AcmeDirectory>,
    /// Trust the certificate authorities in FILE (PEM) for talking to the ACME directory instead of the system's
    #[arg(long, env = "SEALSLOT_ACME_CACERT", value_name = "FILE")]
    acme_cacert: Option<PathBuf>,
    /// You have read the authority's terms of service and agree to them
    #[arg(long, env = "SEALSLOT_ACME_TERMS_AGREED", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    acme_terms_agreed: Option<bool>,
    /// The account at the authority that was made elsewhere (external account binding), by its key identifier
    #[arg(long, env = "SEALSLOT_ACME_EAB_KID", value_name = "ID")]
    acme_eab_kid: Option<String>,
    /// The file of that account's key, in base64url as the authority gives it
    #[arg(long, env = "SEALSLOT_ACME_EAB_KEY_FILE", value_name = "FILE")]
    acme_eab_key_file: Option<PathBuf>,
    /// The kind of certificate, by the authority's name for it, such as `shortlived` [default: the authority's choice]
    #[arg(long, env = "SEALSLOT_ACME_PROFILE", value_name = "PROFILE")]
    acme_profile: Option<AcmeProfile>,
    /// How names are proved: `tls-alpn-01`, over port 443, or `http-01`, over port 80, which needs http-listen [default: tls-alpn-01]
    #[arg(long, env = "SEALSLOT_ACME_CHALLENGE", value_name = "CHALLENGE")]
    acme_challenge: Option<AcmeChallenge>,
    /// Listen for plain HTTP too, usually on 0.0.0.0:80, only to send browsers on to HTTPS and to answer certificate authorities
    #[arg(long, env = "SEALSLOT_HTTP_LISTEN", value_name = "ADDR:PORT")]
    http_listen: Option<SocketAddr>,
    /// Serve HTTP/3 too, over UDP at the same address and port, and tell clients of it (experimental)
    #[arg(long, env = "SEALSLOT_HTTP3", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    http3: Option<bool>,
    /// Ask clients for certificates of the authorities in this PEM file; read again when it changes
    #[arg(long, env = "SEALSLOT_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Whether clients have to show a certificate: `optional` or `required` [default: optional]. Never on --metrics-listen
    #[arg(long, env = "SEALSLOT_CLIENT_CERTIFICATES", value_name = "WHICH")]
    client_certificates: Option<ClientCertificates>,
    /// A revocation list of a client authority, in PEM or DER; may be repeated; read again when it changes. With any, every
    /// authority in a certificate's chain needs one that is not past its time, or the certificate is refused
    #[arg(long, env = "SEALSLOT_CLIENT_CRL", value_name = "FILE", value_delimiter = '\n')]
    client_crl: Vec<PathBuf>,
    /// What clients may do by their certificate: `upload`, `read` or `admin`. NAME is a DNS name, an e-mail address or a URI among
    /// its subject alternative names, `sha256:` and its fingerprint, or `*` for every one; may be repeated
    #[arg(long, env = "SEALSLOT_CLIENT_SCOPE", value_name = "NAME=SCOPE[,SCOPE]", value_delimiter = '\n')]
    client_scope: Vec<ClientScope>,
    /// Serve health, readiness and metrics here too, over TLS and without a token
    #[arg(long, env = "SEALSLOT_METRICS_LISTEN", value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Write who did what to this file, as JSON lines that hang together; with --store, `store` puts them there, a log for each server
    /// [default: nowhere]
    #[arg(long, env = "SEALSLOT_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// A URL to tell of every finished upload, over https; may be repeated
    #[arg(long, env = "SEALSLOT_WEBHOOK", value_name = "URL", value_delimiter = '\n')]
    webhook: Vec<UnreadUrl>,
    /// The file of the secret that webhooks are signed with: whsec_ and base64, or any text of at least 24 bytes
    #[arg(long, env = "SEALSLOT_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// Trust the certificate authorities in FILE (PEM) for webhooks instead of the system's
    #[arg(long, env = "SEALSLOT_WEBHOOK_CACERT", value_name = "FILE")]
    webhook_cacert: Option<PathBuf>,
    /// How much to log [default: info]
    #[arg(long, env = "SEALSLOT_LOG", value_name = "LEVEL")]
    log: Option<LogLevel>,
    /// Largest body of one upload request [default: 100GiB]
    #[arg(long, env = "SEALSLOT_MAX_SIZE", value_name = "SIZE", allow_hyphen_values = true)]
    max_size: Option<Size>,
    /// Most files and fields in one form [default: 1000]
    #[arg(long, env = "SEALSLOT_MAX_PARTS", value_name = "N", allow_hyphen_values = true)]
    max_parts: Option<usize>,
    /// Largest headers of one part of a form [default: 64KiB]
    #[arg(long, env = "SEALSLOT_MAX_PART_HEADERS", value_name = "SIZE", allow_hyphen_values = true)]
    max_part_headers: Option<Size>,
    /// Longest name of a file or field [default: 32KiB]
    #[arg(long, env = "SEALSLOT_MAX_NAME", value_name = "SIZE", allow_hyphen_values = true)]
    max_name: Option<Size>,
    /// Largest text fields of one form, all together [default: 1MiB]
    #[arg(long, env = "SEALSLOT_MAX_FIELDS", value_name = "SIZE", allow_hyphen_values = true)]
    max_fields: Option<Size>,
    /// Largest data of /encrypt and /decrypt, which work in memory [default: 1MiB]
    #[arg(long, env = "SEALSLOT_MAX_DATA", value_name = "SIZE", allow_hyphen_values = true)]
    max_data: Option<Size>,
    /// Most upload requests at the same time [default: 1000; with --store as many as hold 1GiB of parts in memory, 128]
    #[arg(long, env = "SEALSLOT_MAX_UPLOADS", value_name = "N", allow_hyphen_values = true)]
    max_uploads: Option<usize>,
    /// Most upload requests at the same time from one address, or IPv6 network of 64 bits [default: half of max-uploads]
    #[arg(long, env = "SEALSLOT_MAX_UPLOADS_PER_ADDRESS", value_name = "N", allow_hyphen_values = true)]
    max_uploads_per_address: Option<usize>,
    /// Most upload requests at the same time with one token or client certificate [default: half of max-uploads]
    #[arg(long, env = "SEALSLOT_MAX_UPLOADS_PER_TOKEN", value_name = "N", allow_hyphen_values = true)]
    max_uploads_per_token: Option<usize>,
    /// How many uploads one address may begin in how long a time, like 60/1m [default: any]
    #[arg(long, env = "SEALSLOT_ADDRESS_RATE", value_name = "N/TIME", allow_hyphen_values = true)]
    address_rate: Option<Rate>,
    /// How many uploads may be begun with one token or client certificate in how long a time [default: any]
    #[arg(long, env = "SEALSLOT_TOKEN_RATE", value_name = "N/TIME", allow_hyphen_values = true)]
    token_rate: Option<Rate>,
    /// How long the answer to a first wrong token or link waits; each further one of the same address twice as
    /// long, 5s at the most [default: 50ms; 0s: none waits]
    #[arg(long, env = "SEALSLOT_FAILURE_DELAY", value_name = "TIME", allow_hyphen_values = true)]
    failure_delay: Option<Span>,
    /// Least that a body brings a second, over any body-timeout that it is waited for [default: 1KiB; 0: any speed]
    #[arg(long, env = "SEALSLOT_MIN_SPEED", value_name = "SIZE", allow_hyphen_values = true)]
    min_speed: Option<Size>,
    /// Most that is kept, as the bytes of all sealed files [default: as much as there is room for]
    #[arg(long, env = "SEALSLOT_QUOTA", value_name = "SIZE", allow_hyphen_values = true)]
    quota: Option<Size>,
    /// How much of the disk stays free; not with --store [default: 16MiB]
    #[arg(long, env = "SEALSLOT_MIN_FREE", value_name = "SIZE", allow_hyphen_values = true)]
    min_free: Option<Size>,
    /// How long an upload that comes in several requests may take, and its URL answers [default: 7d]
    #[arg(long, env = "SEALSLOT_UPLOAD_LIFETIME", value_name = "TIME", allow_hyphen_values = true)]
    upload_lifetime: Option<Span>,
    /// How long finished uploads are kept, unless their link or sender says less [default: until somebody deletes them]
    #[arg(long, env = "SEALSLOT_KEEP", value_name = "TIME", allow_hyphen_values = true)]
    keep: Option<Span>,
    /// How long whoever sent a finished upload in several requests may take it back, by DELETE of its URL [default: not at all]
    #[arg(long, env = "SEALSLOT_WITHDRAW_FOR", value_name = "TIME", allow_hyphen_values = true)]
    withdraw_for: Option<Span>,
    /// After how many bytes of one body a resumable upload is made durable as far as it has come [default: 256MiB]
    #[arg(long, env = "SEALSLOT_CHECKPOINT", value_name = "SIZE", allow_hyphen_values = true)]
    checkpoint: Option<Size>,
    /// Let pages of this other origin upload, named by scheme and host, or `*` for all; may be repeated
    #[arg(long, env = "SEALSLOT_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = '\n')]
    cors_origin: Vec<CorsOrigin>,
    /// What the page calls whoever receives what is sent; in the file also by language, { en = "…", ko = "…" }
    #[arg(long, env = "SEALSLOT_PAGE_TITLE", value_name = "TEXT")]
    page_title: Option<PageTitle>,
    /// What the page says below its heading; in the file also by language
    #[arg(long, env = "SEALSLOT_PAGE_TEXT", value_name = "TEXT")]
    page_text: Option<PageText>,
    /// A picture for the top of the page: SVG, PNG, JPEG, WebP or GIF of at most 64 KiB
    #[arg(long, env = "SEALSLOT_PAGE_LOGO", value_name = "FILE")]
    page_logo: Option<PathBuf>,
    /// The colour of buttons and links, like #1f5f4a; lightened or darkened where it could not be read
    #[arg(long, env = "SEALSLOT_PAGE_COLOUR", value_name = "COLOUR")]
    page_colour: Option<Colour>,
    /// A text field of the form, with its label; `message`, `name` and `reference` have labels; may be repeated. In the file also
    /// { name = "…", label = "…", lines = 4, required = true }
    #[arg(long, env = "SEALSLOT_PAGE_FIELD", value_name = "NAME[=LABEL]", value_delimiter = '\n')]
    page_field: Vec<TextField>,
    /// Most connections at the same time [default: 4000]
    #[arg(long, env = "SEALSLOT_MAX_CONNECTIONS", value_name = "N", allow_hyphen_values = true)]
    max_connections: Option<usize>,
    /// Most connections at the same time whose TLS handshake is not over, half of them from one address, or IPv6 network of 64 bits;
    /// beyond, the one that waits longest is closed [default: a quarter of max-connections, at least 64]
    #[arg(long, env = "SEALSLOT_MAX_HANDSHAKES", value_name = "N", allow_hyphen_values = true)]
    max_handshakes: Option<usize>,
    /// Longest TLS handshake [default: 10s]
    #[arg(long, env = "SEALSLOT_HANDSHAKE_TIMEOUT", value_name = "TIME", allow_hyphen_values = true)]
    handshake_timeout: Option<Span>,
    /// Longest wait for a request's headers, and longest idle time of a connection [default: 60s]
    #[arg(long, env = "SEALSLOT_HEADER_TIMEOUT", value_name = "TIME", allow_hyphen_values = true)]
    header_timeout: Option<Span>,
    /// Longest standstill of a body [default: 60s]
    #[arg(long, env = "SEALSLOT_BODY_TIMEOUT", value_name = "TIME", allow_hyphen_values = true)]
    body_timeout: Option<Span>,
    /// Longest time for one request's body [default: 24h]
    #[arg(long, env = "SEALSLOT_REQUEST_TIMEOUT", value_name = "TIME", allow_hyphen_values = true)]
    request_timeout: Option<Span>,
    /// Longest time that a client may leave an answer unread [default: 60s]
    #[arg(long, env = "SEALSLOT_WRITE_TIMEOUT", value_name = "TIME", allow_hyphen_values = true)]
    write_timeout: Option<Span>,
    /// How long requests may go on after SIGTERM [default: 30s]
    #[arg(long, env = "SEALSLOT_GRACE", value_name = "TIME", allow_hyphen_values = true)]
    grace: Option<Span>,
}
