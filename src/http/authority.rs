//! Whom a request is for: the host that its client believes to be connected to (RFC 9110, section 7.2).

use core::net::IpAddr;

use http::header::{CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Version};

use super::problem::Problem;
use super::route::Route;
use super::{App, Surface};

/// Tells whether a host, without port or brackets, is this server.
pub type OwnName = dyn Fn(&str) -> bool + Send + Sync;

/// The route, where the request names one host as it should, and that is this server.
///
/// Probes of load balancers and orchestrators go to an address, so health and readiness are told under any name; operations are for
/// the operator's own machines, which may call the server what they like.
pub(super) fn checked(
    app: &App,
    surface: Surface,
    head: &Parts,
    route: Result<Route, Problem>,
) -> Result<Route, Problem> {
    let authority = authority(head)?;
    // Who is in front of us may have believed the other one (RFC 9110, section 8.6). Some versions of HTTP refuse it before us.
    if head.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(Problem::malformed_length());
    }
    let probe = matches!(route, Ok(Route::Health | Route::Ready));
    if surface == Surface::Operations || probe {
        return route;
    }
    if let (Some(authority), Some(is_own_name)) = (authority, &app.is_own_name)
        && !is_own_name(host(&authority))
    {
        return Err(Problem::misdirected());
    }
    route
}

/// The authority of the request's target. None: HTTP/1.0 may do without.
fn authority(head: &Parts) -> Result<Option<Authority>, Problem> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let named = hosts.next().map(parse).transpose()?;
    if hosts.next().is_some() {
        return Err(Problem::malformed_host());
    }
    let target = head.uri.authority().cloned();
    let target = target.map(well_formed).transpose()?;
    match head.version {
        Version::HTTP_09 | Version::HTTP_10 => Ok(target.or(named)),
        // RFC 9112, section 3.2: there is one, and section 3.2.2: what stands in the target goes before.
        Version::HTTP_11 => {
            let named = named.ok_or_else(Problem::malformed_host)?;
            Ok(Some(target.unwrap_or(named)))
        }
        // RFC 9113, section 8.3.1, and RFC 9114, section 4.3.1: either, and where both, the same.
        _ => match (target, named) {
            (Some(target), Some(named)) if target != named => Err(Problem::malformed_host()),
            (None, None) => Err(Problem::malformed_host()),
            (target, named) => Ok(target.or(named)),
        },
    }
}

fn parse(value: &HeaderValue) -> Result<Authority, Problem> {
    let authority = Authority::try_from(value.as_bytes());
    well_formed(authority.map_err(|_| Problem::malformed_host())?)
}

/// Host and port alone, as the header has it (RFC 9110, section 7.2).
fn well_formed(authority: Authority) -> Result<Authority, Problem> {
    let text = authority.as_str();
    let behind = text.strip_prefix(authority.host());
    let port = behind.and_then(|behind| match behind {
        "" | ":" => Some(()),
        port => port.strip_prefix(':')?.parse::<u16>().ok().map(|_| ()),
    });
    let host = authority.host();
    let address = within_brackets(host)
        .is_none_or(|host| host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()));
    if port.is_some() && address && !host.is_empty() {
        Ok(authority)
    } else {
        Err(Problem::malformed_host())
    }
}

/// The host without the brackets of an IPv6 address.
fn host(authority: &Authority) -> &str {
    let host = authority.host();
    within_brackets(host).unwrap_or(host)
}

fn within_brackets(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn of(version: Version, uri: &str, hosts: &[&str]) -> Result<Option<String>, &'static str> {
        let mut request = Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let authority = authority(&head).map_err(|problem| problem.code())?;
        Ok(authority.map(|authority| host(&authority).to_owned()))
    }

    #[test]
    fn a_request_names_one_host() {
        const H1: Version = Version::HTTP_11;
        const H2: Version = Version::HTTP_2;
        let full = "https://Files.example.org:8443/x";
        for (version, uri, hosts, named) in [
            (H1, "/x", &["files.example.org"][..], "files.example.org"),
            (H1, "/x", &["files.example.org:8443"], "files.example.org"),
            (H1, "/x", &["files.example.org:"], "files.example.org"),
            (H1, "/x", &["[::1]:8443"], "::1"),
            (H1, "/x", &["[::1]"], "::1"),
            (H1, "/x", &["192.0.2.7"], "192.0.2.7"),
            (H1, full, &["other.example.org"], "Files.example.org"),
            (H2, full, &[], "Files.example.org"),
            (H2, full, &["files.example.org:8443"], "Files.example.org"),
            (H2, "/x", &["files.example.org"], "files.example.org"),
        ] {
            let found = of(version, uri, hosts);
            assert_eq!(found, Ok(Some(named.to_owned())), "{uri} {hosts:?}");
        }
        assert_eq!(of(Version::HTTP_10, "/x", &[]), Ok(None));
        for (version, uri, hosts) in [
            (H1, "/x", &[][..]),
            (H1, full, &[]),
            (H1, "/x", &["a.example", "a.example"]),
            (H1, "/x", &[""]),
            (H1, "/x", &["a b"]),
            (H1, "/x", &["a.example/"]),
            (H1, "/x", &["user@a.example"]),
            (H1, "/x", &["a.example:http"]),
            (H1, "/x", &["a.example:99999"]),
            (H1, "/x", &["a.example, b.example"]),
            (H1, "/x", &["[::1"]),
            (H1, "/x", &["[a.example]"]),
            (H1, full, &["a.example", "b.example"]),
            (H2, "/x", &[]),
            (H2, full, &["other.example.org:8443"]),
            (H2, full, &["files.example.org"]),
        ] {
            assert_eq!(
                of(version, uri, hosts),
                Err("malformed-host"),
                "{uri} {hosts:?}"
            );
        }
    }
}
