//! The PROXY protocol, versions 1 and 2: how a proxy that passes connections on says where they come from.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>. The header stands in front of the TLS handshake. It is read
//! to its last byte and no further.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its CRLF, in bytes.
const MAX_LINE: usize = 107;
/// The most that is taken behind the fixed part of version 2: addresses need 36 bytes, and what else a proxy says of its
/// client (TLS, names) stays well below this.
const MAX_BODY: usize = 2048;

/// Why a connection does not begin as a proxy's should.
#[derive(Debug, thiserror::Error)]
pub enum ProxyProtocolError {
    /// The connection broke, or ended within the header.
    #[error("the connection ended within its PROXY header")]
    Read(#[source] io::Error),
    /// Neither version 1 nor 2.
    #[error("the connection begins with no PROXY header")]
    Missing,
    /// A header that is wrong, or longer than is read.
    #[error("the PROXY header is malformed")]
    Malformed,
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From a client with this address.
    Client(IpAddr),
    /// From the proxy itself, or it does not know.
    Proxy,
}

/// Reads the header. Reads nothing beyond it. The caller bounds the time.
pub async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Source, ProxyProtocolError> {
    let mut start = [0; SIGNATURE.len()];
    fill(stream, &mut start).await?;
    if start == SIGNATURE {
        read_v2(stream).await
    } else if start.starts_with(b"PROXY ") {
        read_v1(stream, start.to_vec()).await
    } else {
        Err(ProxyProtocolError::Missing)
    }
}

async fn fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut [u8],
) -> Result<(), ProxyProtocolError> {
    let read = stream.read_exact(buffer).await;
    read.map(|_| ()).map_err(ProxyProtocolError::Read)
}

/// Version 1: a line of text, of which `line` has been read. Even the shortest is longer than that.
async fn read_v1<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut line: Vec<u8>,
) -> Result<Source, ProxyProtocolError> {
    while !line.ends_with(b"\n") {
        if line.len() == MAX_LINE {
            return Err(ProxyProtocolError::Malformed);
        }
        let mut byte = [0];
        fill(stream, &mut byte).await?;
        line.extend(byte);
    }
    parse_line(&line).ok_or(ProxyProtocolError::Malformed)
}

/// What a line of version 1 says.
fn parse_line(line: &[u8]) -> Option<Source> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // Whatever follows is to be ignored.
        return Some(Source::Proxy);
    }
    let (source, destination) = (words.next()?, words.next()?);
    let source: IpAddr = match family {
        "TCP4" => {
            destination.parse::<Ipv4Addr>().ok()?;
            source.parse::<Ipv4Addr>().ok()?.into()
        }
        "TCP6" => {
            destination.parse::<Ipv6Addr>().ok()?;
            source.parse::<Ipv6Addr>().ok()?.into()
        }
        _ => return None,
    };
    let ports = [words.next()?, words.next()?];
    let fine = ports.into_iter().all(is_port) && words.next().is_none();
    fine.then_some(Source::Client(source.to_canonical()))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Version 2: four bytes behind the signature, then as many as they say.
async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Source, ProxyProtocolError> {
    let mut fixed = [0; 4];
    fill(stream, &mut fixed).await?;
    let [version_and_command, family, length @ ..] = fixed;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_BODY {
        return Err(ProxyProtocolError::Malformed);
    }
    let mut body = vec![0; length];
    fill(stream, &mut body).await?;
    parse_body(version_and_command, family, &body).ok_or(ProxyProtocolError::Malformed)
}

/// What a header of version 2 says. What follows the addresses is not looked at.
fn parse_body(version_and_command: u8, family: u8, body: &[u8]) -> Option<Source> {
    match (version_and_command, family) {
        // LOCAL: the proxy itself, looking whether we live. Or a family without addresses of the Internet.
        (0x20, _) | (0x21, 0x00) => Some(Source::Proxy),
        // TCP over IPv4: two addresses and two ports.
        (0x21, 0x11) if body.len() >= 12 => {
            let (source, _) = body.split_first_chunk::<4>()?;
            Some(Source::Client(Ipv4Addr::from(*source).into()))
        }
        // TCP over IPv6.
        (0x21, 0x21) if body.len() >= 36 => {
            let (source, _) = body.split_first_chunk::<16>()?;
            Some(Source::Client(IpAddr::from(*source).to_canonical()))
        }
        // A UNIX socket's: two paths.
        (0x21, 0x31) if body.len() >= 216 => Some(Source::Proxy),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
