//! Where an engine is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

/// Where an engine is: a scheme, a host and perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::s3) struct Endpoint {
    plain: bool,
    authority: Authority,
}

/// A text that is no address of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected https://host or https://host:port, without a path")]
pub struct EndpointError;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        // A fragment is not told of by `Uri`.
        if text.contains(['#', '?', '@']) {
            return Err(EndpointError);
        }
        let uri: Uri = text.parse().map_err(|_| EndpointError)?;
        let plain = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => false,
            Some(scheme) if *scheme == Scheme::HTTP => true,
            _ => return Err(EndpointError),
        };
        let authority = uri.authority().ok_or(EndpointError)?.clone();
        let rest = authority.as_str().strip_prefix(authority.host());
        let port = rest.is_some_and(|rest| rest.is_empty() || authority.port_u16().is_some());
        if authority.host().is_empty() || !port || uri.path() != "/" {
            return Err(EndpointError);
        }
        Ok(Self { plain, authority })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority)
    }
}

impl Endpoint {
    fn scheme(&self) -> &'static str {
        if self.plain { "http" } else { "https" }
    }

    /// Whether nothing keeps others on the way from reading and changing what goes there.
    pub(in crate::store::s3) fn is_plain(&self) -> bool {
        self.plain
    }

    /// Whether what goes there stays on this machine.
    pub(in crate::store::s3) fn is_loopback(&self) -> bool {
        let host = self.authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// The address of a bucket there.
    pub(super) fn bucket_url(&self, bucket: &str, virtual_host: bool) -> String {
        if virtual_host {
            format!("{}://{bucket}.{}", self.scheme(), self.authority)
        } else {
            format!("{self}/{bucket}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_and_a_host() {
        for (text, plain, loopback) in [
            ("https://s3.example.org", false, false),
            ("https://s3.example.org:9000", false, false),
            ("http://127.0.0.1:8333", true, true),
            ("http://[::1]:8333", true, true),
            ("http://localhost", true, true),
            ("http://10.0.0.1", true, false),
            ("http://localhost.example.org", true, false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
            assert_eq!(endpoint.is_plain(), plain, "{text}");
            assert_eq!(endpoint.is_loopback(), loopback, "{text}");
        }
        let slash: Endpoint = "https://s3.example.org/".parse().unwrap();
        assert_eq!(slash.to_string(), "https://s3.example.org");
    }

    #[test]
    fn nothing_else_is_one() {
        for text in [
            "",
            "s3.example.org",
            "s3.example.org:9000",
            "ftp://s3.example.org",
            "https://",
            "https://:9000",
            "https://s3.example.org:",
            "https://s3.example.org:99999",
            "https://s3.example.org/bucket",
            "https://key:secret@s3.example.org",
            "https://s3.example.org?x",
            "https://s3.example.org#x",
            "https://s3 example",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError), "{text:?}");
        }
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_the_host() {
        let endpoint: Endpoint = "https://s3.example.org:9000".parse().unwrap();
        assert_eq!(
            endpoint.bucket_url("b", false),
            "https://s3.example.org:9000/b"
        );
        assert_eq!(
            endpoint.bucket_url("b", true),
            "https://b.s3.example.org:9000"
        );
    }
}
