//! Where uploads are created, and where one goes on: URLs of which parts are secret.

use std::str::FromStr;

use data_encoding::HEXLOWER;
use http::Uri;
use http::uri::Scheme;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Where a Sealslot server takes uploads.
const UPLOADS: &str = "/uploads";

/// Why a URL names no place to upload to. Never repeats the URL: it may hold a link's token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(in crate::cli) enum UrlError {
    /// Not a URL.
    #[error("that is not a URL: give https://HOST/ or https://HOST:PORT/")]
    Malformed,
    /// Another scheme, `http` mostly.
    #[error("uploads go over TLS only: give a URL that begins with https://")]
    NotHttps,
    /// `user:password@host`.
    #[error("the URL holds a name or password: give a token with --token-file FILE")]
    Credentials,
    /// A link, but not of the server that is named.
    #[error("the link is that of another server, or of none: give its own server as the URL")]
    OtherServer,
    /// Not what stands behind `/d/`.
    #[error("that is no link: give it whole, or what stands behind /d/ in it")]
    NoLink,
}

/// A server, and the URL on it that creates uploads.
#[derive(Clone)]
pub(in crate::cli) struct Endpoint {
    host: String,
    port: u16,
    /// Of the creation URL. A link's path is a secret.
    path: Zeroizing<String>,
}

impl FromStr for Endpoint {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let url: Uri = url.parse().map_err(|_| UrlError::Malformed)?;
        let authority = url.authority().ok_or(UrlError::Malformed)?;
        match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => {}
            Some(_) => return Err(UrlError::NotHttps),
            None => return Err(UrlError::Malformed),
        }
        if authority.as_str().contains('@') {
            return Err(UrlError::Credentials);
        }
        if authority.host().is_empty() {
            return Err(UrlError::Malformed);
        }
        let path = match url.path_and_query() {
            Some(path) if !matches!(path.path(), "" | "/") => path.as_str(),
            _ => UPLOADS,
        };
        Ok(Self {
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(443),
            path: Zeroizing::new(path.to_owned()),
        })
    }
}

impl Endpoint {
    /// The host as it is resolved: an IPv6 address without its brackets.
    pub(in crate::cli) fn host(&self) -> &str {
        let inner = self.host.strip_prefix('[');
        inner
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The port to connect to.
    pub(in crate::cli) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as the `Host` header and people have them.
    pub(in crate::cli) fn authority(&self) -> String {
        if self.port == 443 {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The path of the creation URL.
    pub(in crate::cli) fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is that of a server, and not of a link or of something below.
    pub(in crate::cli) fn is_of_server(&self) -> bool {
        *self.path == *UPLOADS
    }

    /// The path below which a link, or the server, answers, without a slash at its end: a secret where it is that of a link.
    fn base(&self) -> &str {
        let path = self.path.split('?').next().unwrap_or(&self.path);
        path.trim_end_matches('/')
    }

    /// The path of the public keys that what is sent here is sealed to; `None` where it is not clear what is here.
    pub(in crate::cli) fn recipients_path(&self) -> Option<Zeroizing<String>> {
        let base = self.base();
        let below = match base.strip_suffix(UPLOADS) {
            Some(prefix) => prefix,
            None if base.rsplit('/').nth(1) == Some("d") => base,
            None => return None,
        };
        Some(Zeroizing::new(format!("{below}/recipients")))
    }

    /// What names this place in a file that outlives the command: host and port, and of a link a hash, which tells nobody the
    /// link.
    pub(in crate::cli) fn place(&self) -> String {
        // A dot at the end of a name, and a slash at that of a path, lead nowhere else, and so have no keys of their own.
        let server = format!("{}:{}", self.host.trim_end_matches('.'), self.port);
        if self.base() == UPLOADS {
            return server;
        }
        let hash = Sha256::digest(self.base().as_bytes());
        format!("{server}/{}", HEXLOWER.encode(&hash[..16]))
    }

    /// The link on this server that `link` names: its token, or its whole URL.
    pub(in crate::cli) fn with_link(&self, link: &str) -> Result<Self, UrlError> {
        if link.contains("://") {
            let other: Self = link.parse()?;
            let same = (&other.host, other.port) == (&self.host, self.port);
            return if same && !other.is_of_server() {
                Ok(other)
            } else {
                Err(UrlError::OtherServer)
            };
        }
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if link.is_empty() || !link.bytes().all(is_token) {
            return Err(UrlError::NoLink);
        }
        let path = Zeroizing::new(format!("/d/{link}"));
        Ok(Self {
            path,
            ..self.clone()
        })
    }

    /// The creation URL in one form, however it was typed. A secret where it is that of a link.
    pub(in crate::cli) fn url(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("https://{}:{}{}", self.host, self.port, *self.path))
    }

    /// The upload URL that a `Location` on this server names; `None` where that is elsewhere, or no URL.
    pub(in crate::cli) fn upload_url(&self, location: &str) -> Option<UploadUrl> {
        if location.starts_with('/') && !location.starts_with("//") {
            return location.parse().ok();
        }
        let other: Self = location.parse().ok()?;
        let path = other.path.parse().ok()?;
        (other.host == self.host && other.port == self.port).then_some(path)
    }
}

/// The path of an upload in progress. Whoever has it can bring the upload to its end, so it is without `Debug`.
#[derive(Clone)]
pub(in crate::cli) struct UploadUrl(Zeroizing<String>);

impl FromStr for UploadUrl {
    type Err = UrlError;

    fn from_str(path: &str) -> Result<Self, UrlError> {
        // One that begins with two slashes would name another host.
        let is_path = path.len() > 1 && path.starts_with('/') && !path.starts_with("//");
        let parses = path.parse::<Uri>().is_ok_and(|uri| uri.host().is_none());
        if is_path && parses && !path.contains('#') {
            Ok(Self(Zeroizing::new(path.to_owned())))
        } else {
            Err(UrlError::Malformed)
        }
    }
}

impl UploadUrl {
    /// The path as requests have it.
    pub(in crate::cli) fn path(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        let parsed = url.parse::<Endpoint>();
        parsed.unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn a_url_without_a_path_means_uploads() {
        for (url, authority, path) in [
            ("https://host", "host", "/uploads"),
            ("https://HOST:443/", "host", "/uploads"),
            ("https://host:8443/uploads", "host:8443", "/uploads"),
            ("https://host/uploads/", "host", "/uploads/"),
            ("https://host/d/TOKEN", "host", "/d/TOKEN"),
            ("https://host/d/TOKEN?a=b", "host", "/d/TOKEN?a=b"),
            ("https://127.0.0.1:1/", "127.0.0.1:1", "/uploads"),
            ("https://[::1]:8443/", "[::1]:8443", "/uploads"),
        ] {
            let endpoint = endpoint(url);
            assert_eq!(endpoint.authority(), authority, "{url}");
            assert_eq!(endpoint.path(), path, "{url}");
        }
        assert_eq!(endpoint("https://[::1]/").host(), "::1");
        assert_eq!(&*endpoint("https://A/").url(), "https://a:443/uploads");
    }

    #[test]
    fn what_names_no_server_is_refused_without_repeating_it() {
        for (url, expected) in [
            ("", UrlError::Malformed),
            ("host", UrlError::Malformed),
            ("host:443", UrlError::Malformed),
            ("/d/SECRET", UrlError::Malformed),
            ("https://", UrlError::Malformed),
            ("https:///d/SECRET", UrlError::Malformed),
            ("https://ho st/SECRET", UrlError::Malformed),
            ("http://host/SECRET", UrlError::NotHttps),
            ("https://SECRET@host/", UrlError::Credentials),
            ("https://a:SECRET@host/", UrlError::Credentials),
        ] {
            let error = url.parse::<Endpoint>().err();
            assert!(!format!("{error:?}").contains("SECRET"));
            assert_eq!(error, Some(expected), "{url}");
        }
    }

    #[test]
    fn keys_are_asked_for_beside_what_takes_the_uploads() {
        for (url, path) in [
            ("https://a", Some("/recipients")),
            ("https://a/uploads/", Some("/recipients")),
            ("https://a/below/uploads", Some("/below/recipients")),
            ("https://a/d/token", Some("/d/token/recipients")),
            (
                "https://a/below/d/token/?lang=ko",
                Some("/below/d/token/recipients"),
            ),
            ("https://a/elsewhere", None),
        ] {
            let found = endpoint(url).recipients_path();
            assert_eq!(found.as_ref().map(|path| path.as_str()), path, "{url}");
        }
    }

    #[test]
    fn a_place_is_named_without_its_secret() {
        assert_eq!(endpoint("https://A").place(), "a:443");
        let link = endpoint("https://a/d/SECRET");
        assert!(link.place().starts_with("a:443/") && !link.place().contains("SECRET"));
        assert_eq!(
            link.place(),
            endpoint("https://a:443/d/SECRET/?lang=ko").place()
        );
        assert_ne!(link.place(), endpoint("https://a/d/OTHER").place());
        for same in [
            "https://a./",
            "https://A:443/uploads/",
            "https://a/uploads?x",
        ] {
            assert_eq!(endpoint(same).place(), "a:443", "{same}");
        }
        assert_ne!(link.place(), endpoint("https://a:444/d/SECRET").place());
    }

    #[test]
    fn a_link_is_a_token_or_a_url_of_the_same_server() {
        let server = endpoint("https://host:8443/");
        for link in ["token", "https://HOST:8443/d/token"] {
            assert_eq!(server.with_link(link).ok().unwrap().path(), "/d/token");
        }
        for link in [
            "https://host/d/token",
            "https://host:8443/",
            "https://x:8443/d/token",
        ] {
            assert_eq!(server.with_link(link).err(), Some(UrlError::OtherServer));
        }
        for link in ["", "a/b", "..", "a b", "a?b", "/d/token"] {
            assert_eq!(
                server.with_link(link).err(),
                Some(UrlError::NoLink),
                "{link}"
            );
        }
    }

    #[test]
    fn a_location_is_on_the_same_server() {
        let endpoint = endpoint("https://host:8443/");
        for location in ["/uploads/a.b", "https://HOST:8443/uploads/a.b"] {
            let url = endpoint.upload_url(location).unwrap();
            assert_eq!(url.path(), "/uploads/a.b");
        }
        for location in [
            "",
            "/",
            "//other/a.b",
            "a.b",
            "https://host/a.b",
            "https://other:8443/a.b",
            "http://host:8443/a.b",
            "/a b",
            "/a#b",
        ] {
            assert!(endpoint.upload_url(location).is_none(), "{location}");
        }
    }
}
