//! What another site makes a browser send.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method};

use crate::http::call::Call;
use crate::http::cors::{self, CorsOrigin};
use crate::http::problem::Problem;

/// A browser sends along what it remembers by itself, a basic password or a client certificate, also with what another site makes
/// it send. Such requests say where they come from: in `Sec-Fetch-Site`, or, from browsers that do not have that yet, in `Origin`.
pub(in crate::http) fn refuse_cross_site(call: Call<'_>, method: &Method) -> Result<(), Problem> {
    let has_certificate = call.peer.certificate.is_some();
    check_site(&call.app.cors_origins, method, call.head, has_certificate)
}

fn check_site(
    trusted: &[CorsOrigin],
    method: &Method,
    head: &Parts,
    has_certificate: bool,
) -> Result<(), Problem> {
    let headers = &head.headers;
    // With a token of its own, a request does not count as its certificate's.
    let bearer = has_scheme(headers, "bearer");
    let safe = match (headers.get("sec-fetch-site"), headers.get(ORIGIN)) {
        (Some(site), _) => {
            // A page of an origin that may upload has a token of its own. What a browser remembers and adds by itself is not that.
            let own_token = bearer && cors::allowed(trusted, headers).is_some();
            site == "same-origin" || site == "none" || own_token
        }
        // No browser adds such a token by itself.
        (None, Some(origin)) => bearer || is_own(origin, head),
        (None, None) => true,
    };
    let remembered = headers.contains_key(AUTHORIZATION) || has_certificate;
    if method.is_safe() || safe || !remembered {
        Ok(())
    } else {
        Err(Problem::cross_site())
    }
}

/// Whether an origin is the one that the request was made to. `null` is nobody's.
fn is_own(origin: &HeaderValue, head: &Parts) -> bool {
    let header = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let asked = head.uri.authority().map(Authority::as_str).or(header);
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| origin.strip_prefix("https://"));
    // Browsers leave the port out where it is the usual one.
    let host = |authority: &str| {
        let host = authority.strip_suffix(":443").unwrap_or(authority);
        host.to_ascii_lowercase()
    };
    match (origin, asked) {
        (Some(origin), Some(asked)) => host(origin) == host(asked),
        _ => false,
    }
}

fn has_scheme(headers: &HeaderMap, scheme: &str) -> bool {
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let given = value.and_then(|value| value.split(' ').next());
    given.is_some_and(|given| given.eq_ignore_ascii_case(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn another_site_cannot_use_a_remembered_password() {
        let fetch = |trusted: &[CorsOrigin], method: Method, headers: &[(&str, &str)]| {
            check_site(trusted, &method, &head("/uploads", headers), false).is_ok()
        };
        let basic = ("authorization", "Basic x");
        let bearer = ("authorization", "Bearer x");
        let origin = ("origin", "https://app.example");
        assert!(fetch(&[], Method::POST, &[basic]));
        for (site, safe) in [
            ("cross-site", false),
            ("same-site", false),
            ("what comes", false),
            ("same-origin", true),
            ("none", true),
        ] {
            let site = ("sec-fetch-site", site);
            assert_eq!(fetch(&[], Method::POST, &[basic, site]), safe, "{site:?}");
            assert!(fetch(&[], Method::GET, &[basic, site]));
            assert!(fetch(&[], Method::POST, &[site]));
        }
        // Not even a page that may upload: it has a token of its own, or none.
        let trusted = ["https://app.example".parse().unwrap()];
        let site = ("sec-fetch-site", "cross-site");
        assert!(!fetch(&trusted, Method::POST, &[basic, site, origin]));
        assert!(fetch(&trusted, Method::POST, &[bearer, site, origin]));
        assert!(!fetch(&[], Method::POST, &[bearer, site, origin]));
    }

    #[test]
    fn another_site_cannot_use_a_certificate() {
        let post = |headers: &[(&str, &str)]| {
            let trusted = ["https://app.example".parse().unwrap()];
            let head = head("https://drop.example/uploads", headers);
            check_site(&trusted, &Method::POST, &head, true).is_ok()
        };
        let cross = ("sec-fetch-site", "cross-site");
        let app = ("origin", "https://app.example");
        let bearer = ("authorization", "Bearer x");
        assert!(post(&[]));
        assert!(post(&[("sec-fetch-site", "same-origin")]));
        assert!(post(&[("origin", "https://drop.example")]));
        assert!(!post(&[cross]));
        assert!(!post(&[app]));
        // A page that may upload does so with a token of its own, and then as that.
        assert!(!post(&[cross, app]));
        assert!(post(&[cross, app, bearer]));
        assert!(!post(&[cross, app, ("authorization", "Basic x")]));
        let seen = head("/uploads", &[cross]);
        assert!(check_site(&[], &Method::GET, &seen, true).is_ok());
    }

    #[test]
    fn a_browser_that_names_the_origin_alone_is_held_to_it() {
        for (host, origin, own) in [
            ("drop.example", "https://drop.example", true),
            ("drop.example:443", "https://drop.example", true),
            ("DROP.example", "https://drop.example", true),
            ("drop.example:8443", "https://drop.example:8443", true),
            ("[::1]:8443", "https://[::1]:8443", true),
            ("drop.example", "null", false),
            ("drop.example", "", false),
            ("", "null", false),
            ("drop.example", "https://app.example", false),
            ("drop.example", "https://drop.example:8443", false),
            ("drop.example:8443", "https://drop.example", false),
            ("drop.example", "http://drop.example", false),
            ("drop.example", "https://drop.example.app.example", false),
        ] {
            let origin = ("origin", origin);
            // HTTP/1.1 has it in a header, HTTP/2 in the address.
            for (uri, named) in [
                ("/uploads".to_owned(), Some(("host", host))),
                (format!("https://{host}/uploads"), None),
            ] {
                if host.is_empty() && named.is_none() {
                    continue;
                }
                let post = |credentials: Option<(&'static str, &'static str)>| {
                    let all: Vec<_> = named.into_iter().chain(credentials).collect();
                    let head = head(&uri, &[&all[..], &[origin]].concat());
                    let trusted = ["https://app.example".parse().unwrap()];
                    check_site(&trusted, &Method::POST, &head, false).is_ok()
                };
                let basic = post(Some(("authorization", "Basic x")));
                assert_eq!(basic, own, "{uri} {origin:?}");
                // What no browser adds by itself is nobody else's doing.
                assert!(post(Some(("authorization", "Bearer x"))) && post(None));
            }
        }
        let nameless = head(
            "/uploads",
            &[
                ("authorization", "Basic x"),
                ("origin", "https://drop.example"),
            ],
        );
        assert!(check_site(&[], &Method::POST, &nameless, false).is_err());
    }
}
