//! The names a certificate can be made for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls::pki_types::DnsName;
use x509_cert::ext::pkix::name::GeneralName;

/// A host that a certificate speaks for: a DNS name in lower case without a final dot, or an IP address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostName {
    /// A DNS name; no wildcard.
    Dns(DnsName<'static>),
    /// An IP address that a client can connect to.
    Ip(IpAddr),
}

/// Why a text is no [`HostName`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// Neither a DNS name nor an IP address.
    #[error(
        "{0:?} is neither a DNS name nor an IP address; give it alone, without scheme, port, brackets or wildcard, \
         such as files.example.org, 192.0.2.7 or 2001:db8::7"
    )]
    Malformed(String),
    /// The address that stands for every address when listening.
    #[error("{0} is no address that a client connects to; name the host's own address or DNS name")]
    Unspecified(IpAddr),
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<IpAddr>() {
            // `::ffff:192.0.2.7` is 192.0.2.7: clients verify the address they connect to.
            let address = address.to_canonical();
            return if address.is_unspecified() {
                Err(HostNameError::Unspecified(address))
            } else {
                Ok(Self::Ip(address))
            };
        }
        let malformed = |_| HostNameError::Malformed(text.to_owned());
        let name = DnsName::try_from(text).map_err(malformed)?;
        // A certificate holds names without the root's final dot (RFC 5280, section 4.2.1.6). Taken off once the whole
        // is known to be valid, or two dots would pass as one.
        let relative = name.as_ref().strip_suffix('.').unwrap_or(name.as_ref());
        let name = DnsName::try_from(relative).map_err(malformed)?;
        Ok(Self::Dns(name.to_lowercase_owned()))
    }
}

impl<'de> serde::Deserialize<'de> for HostName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A subject alternative name as people write it. Other kinds than DNS names and addresses mean nothing to clients of servers.
pub(super) fn text_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(octets) => {
            address_of_octets(octets.as_bytes()).map(|address| address.to_string())
        }
        _ => None,
    }
}

/// The address as a certificate writes it (RFC 5280, section 4.2.1.6): 4 or 16 octets.
pub(super) fn address_of_octets(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(octets).ok().map(IpAddr::from))
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name.as_ref()),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        for (text, printed) in [
            ("Files.Example.ORG", "files.example.org"),
            ("localhost", "localhost"),
            ("example.org.", "example.org"),
            ("192.0.2.7", "192.0.2.7"),
            ("::1", "::1"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            let host: HostName = text.parse().unwrap();
            assert_eq!(host.to_string(), printed);
            assert_eq!(
                matches!(host, HostName::Ip(_)),
                printed.parse::<IpAddr>().is_ok()
            );
        }
    }

    #[test]
    fn what_a_certificate_cannot_name_is_refused() {
        let long = "a".repeat(64);
        for text in [
            "",
            ".",
            "*.example.org",
            "https://example.org",
            "example.org:8443",
            "[::1]",
            "127.1",
            "1.2.3.4.5",
            "exa mple",
            "example..org",
            "example.org..",
            "ex\u{e4}mple.org",
            "fe80::1%eth0",
            &long,
        ] {
            assert_eq!(
                text.parse::<HostName>(),
                Err(HostNameError::Malformed(text.to_owned()))
            );
        }
        for text in ["0.0.0.0", "::"] {
            assert!(matches!(
                text.parse::<HostName>(),
                Err(HostNameError::Unspecified(_))
            ));
        }
    }
}
