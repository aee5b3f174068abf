//! Proxies in front of the server, and what they are believed.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use super::client_address::ForwardedHeader;

/// The prefix of IPv4 addresses within IPv6 (RFC 4291, section 2.5.5.2), in bits.
const MAPPED_PREFIX: u8 = 96;

/// Which proxies there are, and how they say whom they speak for. By default there are none.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Where they connect from.
    pub trusted: Vec<Network>,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub protocol: bool,
    /// The field of their requests that names addresses.
    pub forwarded: Option<ForwardedHeader>,
}

impl Proxies {
    /// Whether this address is that of a proxy which is believed.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }
}

/// A network in CIDR notation, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// A text that is no [`Network`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no network: write it like 192.0.2.0/24, 2001:db8::/32 or, for one address, 192.0.2.7"
)]
pub struct NetworkError(String);

impl Network {
    /// Whether an address belongs to it. An IPv4 address is the same however a socket writes it.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        let network: IpNet = text.parse().map_err(|_| NetworkError(text.to_owned()))?;
        Ok(Self(canonical(network)))
    }
}

/// IPv4 networks that are written as IPv6 ones, as they are.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let length = v6.prefix_len().checked_sub(MAPPED_PREFIX);
    match (Ipv6Addr::to_ipv4_mapped(&v6.addr()), length) {
        (Some(address), Some(length)) => IpNet::new(address.into(), length).unwrap_or(network),
        _ => network,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> serde::Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:192.0.3.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.9/24", "192.0.2.200", "192.0.3.9"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.2"),
            ("::ffff:192.0.2.0/120", "192.0.2.1", "192.0.3.1"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "127.0.0.1"),
            ("0.0.0.0/0", "192.0.2.1", "2001:db8::1"),
            // Without IPv4, which is another family however a socket writes it.
            ("::/0", "2001:db8::1", "::ffff:192.0.2.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(
                parsed.contains(inside.parse().unwrap()),
                "{network} {inside}"
            );
            assert!(
                !parsed.contains(outside.parse().unwrap()),
                "{network} {outside}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/",
            "192.0.2/24",
            "2001:db8::/129",
            "proxy.example.org",
            "192.0.2.0 /24",
            "192.0.2.0-192.0.2.9",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
