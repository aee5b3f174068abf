//! The address that a request comes from, as proxies in front of the server say: `Forwarded` (RFC 7239) or
//! `X-Forwarded-For`.
//!
//! Every proxy adds its client's address at the end, and anybody may send the beginning. So the list is read from its end:
//! as long as an address is a trusted proxy's, what that proxy added in front of it counts. What is left of the first address that
//! is none is never looked at.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};

use super::proxies::Proxies;

/// As many proxies in a row are believed.
const MAX_PROXIES: usize = 32;

/// The field that proxies add addresses to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `Forwarded: for=192.0.2.7`.
    Forwarded,
    /// `X-Forwarded-For: 192.0.2.7`.
    XForwardedFor,
}

/// A text that names no [`ForwardedHeader`].
#[derive(Debug, thiserror::Error)]
#[error("it is `forwarded` or `x-forwarded-for`")]
pub struct ForwardedHeaderError;

impl FromStr for ForwardedHeader {
    type Err = ForwardedHeaderError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "forwarded" => Ok(Self::Forwarded),
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            _ => Err(ForwardedHeaderError),
        }
    }
}

impl ForwardedHeader {
    fn name(self) -> HeaderName {
        match self {
            Self::Forwarded => FORWARDED,
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        }
    }

    /// The address in one element of the list; `None` where it names none, or is malformed.
    fn address(self, element: &str) -> Option<IpAddr> {
        let node = match self {
            Self::Forwarded => forwarded_for(element)?,
            Self::XForwardedFor => element,
        };
        let plain = match self {
            Self::Forwarded => None,
            // Here IPv6 addresses often stand without brackets.
            Self::XForwardedFor => node.parse().ok(),
        };
        plain
            .or_else(|| node_address(node))
            .map(|address: IpAddr| address.to_canonical())
    }
}

/// Whom a request comes from that arrived from `connected`: the last address in the list that is no trusted proxy's. Where
/// a proxy does not say, or says what cannot be read, it is the proxy's own.
pub fn client_address(headers: &HeaderMap, connected: IpAddr, proxies: &Proxies) -> IpAddr {
    let mut address = connected;
    let Some(field) = proxies.forwarded else {
        return address;
    };
    let lines = headers.get_all(field.name()).iter().rev();
    let elements = lines.flat_map(|line| FromTheEnd(Some(line.as_bytes())));
    for element in elements.take(MAX_PROXIES) {
        if !proxies.trust(address) {
            break;
        }
        let element = std::str::from_utf8(element).ok();
        match element.and_then(|element| field.address(element)) {
            Some(before) => address = before,
            None => break,
        }
    }
    address
}

/// The elements of a comma-separated list, the last one first, without those that are empty. A comma in quotes separates
/// nothing. Read from the end, so that quotes which a client left open do not reach into what a proxy added.
struct FromTheEnd<'a>(Option<&'a [u8]>);

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.0.take()?;
            let mut element = rest;
            if let Some(comma) = last_comma(rest) {
                self.0 = Some(&rest[..comma]);
                element = &rest[comma + 1..];
            }
            let element = element.trim_ascii();
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

fn last_comma(list: &[u8]) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in list.iter().enumerate().rev() {
        match byte {
            b'"' if !is_escaped(&list[..at]) => quoted = !quoted,
            b',' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Whether what follows `before` has an odd number of backslashes in front of it.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The value of `for` in an element of `Forwarded`, without its quotes: `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(pairs) = rest {
        let (name, value) = pairs.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            // Addresses have nothing that needs a backslash. Where other values have one, the end is found all the same.
            Some(quoted) => {
                let end = end_of_quoted(quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if name.trim().eq_ignore_ascii_case("for") && found.replace(value.trim()).is_some() {
            return None;
        }
        let after = after.trim_start();
        rest = match after.strip_prefix(';') {
            // Some end their last pair as they separate them.
            Some(more) => Some(more.trim_start()).filter(|more| !more.is_empty()),
            None if after.is_empty() => None,
            None => return None,
        };
    }
    found
}

fn end_of_quoted(text: &str) -> Option<usize> {
    let quotes = text.match_indices('"').map(|(at, _)| at);
    quotes
        .into_iter()
        .find(|&at| !is_escaped(&text.as_bytes()[..at]))
}

/// The address in `192.0.2.7`, `192.0.2.7:4711`, `[2001:db8::7]` or `[2001:db8::7]:4711`; `None` in `unknown`, names that proxies
/// make up (`_hidden`), and everything else.
fn node_address(node: &str) -> Option<IpAddr> {
    if let Some(bracketed) = node.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = address.parse().ok()?;
        return fine.then_some(address.into());
    }
    let (address, port) = match node.split_once(':') {
        Some((address, port)) => (address, Some(port)),
        None => (node, None),
    };
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    port.is_none_or(is_port).then_some(address.into())
}

/// A port, or a name that a proxy makes up in its place.
fn is_port(text: &str) -> bool {
    let made_up = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(made_up),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
