//! Where messages go. The path of such a URL is often a secret, so that it is never shown.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use http::Uri;
use http::uri::Scheme;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Why a URL cannot be told anything. Never repeats it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Not a URL.
    #[error("that is not a URL: give https://HOST/PATH")]
    Malformed,
    /// Another scheme, or `http` to another machine.
    #[error(
        "webhooks go over TLS: give a URL that begins with https:// (http:// only to this machine)"
    )]
    NotHttps,
    /// `user:password@host`.
    #[error("the URL holds a name or password: messages are signed instead")]
    Credentials,
}

/// The URL of a receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    path: Zeroizing<String>,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let url: Uri = url.parse().map_err(|_| EndpointError::Malformed)?;
        let authority = url.authority().ok_or(EndpointError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() {
            return Err(EndpointError::Malformed);
        }
        let tls = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP && is_loopback(&host) => false,
            Some(_) => return Err(EndpointError::NotHttps),
            None => return Err(EndpointError::Malformed),
        };
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            tls,
            host,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: Zeroizing::new(if path.is_empty() { "/" } else { path }.to_owned()),
        })
    }
}

/// Only addresses: what a name means, others may decide.
fn is_loopback(host: &str) -> bool {
    let address = bare(host).parse::<core::net::IpAddr>();
    address.is_ok_and(|address| address.is_loopback())
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[');
    inner
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

impl Endpoint {
    /// Whether it is told over TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host as it is resolved.
    pub(super) fn host(&self) -> &str {
        bare(&self.host)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The path and query, which may be a secret.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Host and port, for the `Host` header and the log.
    pub(super) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// What the outbox calls it: the URL is not to be found there.
    pub(super) fn name(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let hash = Sha256::new()
            .chain_update(format!("{scheme}://{}:{}", self.host, self.port))
            .chain_update(self.path.as_bytes())
            .finalize();
        HEXLOWER.encode(&hash[..8])
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_strictly_and_not_repeated() {
        for (url, authority, path) in [
            ("https://host", "host", "/"),
            ("https://HOST:443/SECRET?a=b", "host", "/SECRET?a=b"),
            ("https://[::1]:8443/x", "[::1]:8443", "/x"),
            ("http://127.0.0.1:81/x", "127.0.0.1:81", "/x"),
            ("http://[::1]/x", "[::1]", "/x"),
        ] {
            let endpoint: Endpoint = url.parse().unwrap();
            assert_eq!(endpoint.authority(), authority, "{url}");
            assert_eq!(endpoint.path(), path, "{url}");
            assert!(!format!("{endpoint:?}").contains("SECRET"));
        }
        for (url, error) in [
            ("", EndpointError::Malformed),
            ("host", EndpointError::Malformed),
            ("host/x", EndpointError::Malformed),
            ("/x", EndpointError::Malformed),
            ("http://host/x", EndpointError::NotHttps),
            ("http://localhost/x", EndpointError::NotHttps),
            ("http://127.0.0.1.example/x", EndpointError::NotHttps),
            ("ftp://127.0.0.1/x", EndpointError::NotHttps),
            ("https://a:b@host/x", EndpointError::Credentials),
        ] {
            assert_eq!(url.parse::<Endpoint>().err(), Some(error), "{url}");
        }
    }

    #[test]
    fn names_differ_where_urls_do() {
        let name = |url: &str| url.parse::<Endpoint>().unwrap().name();
        assert_eq!(name("https://host/a"), name("https://HOST:443/a"));
        assert_ne!(name("https://host/a"), name("https://host/b"));
        assert_ne!(name("https://127.0.0.1:80/"), name("http://127.0.0.1/"));
    }
}
