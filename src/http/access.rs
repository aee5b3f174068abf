//! Who may do what: bearer tokens, or the same as the password of HTTP basic authentication.

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use super::App;
use super::cors::{self, CorsOrigin};
use super::problem::Problem;

/// The shortest token that is accepted, in characters.
const MIN_TOKEN: usize = 22;

/// A token, of which only the hash is kept. Without `Debug`.
#[derive(Clone)]
pub struct Token([u8; 32]);

/// A token that could be guessed.
#[derive(Debug, thiserror::Error)]
#[error("a token has at least {MIN_TOKEN} characters: make one with `openssl rand -hex 32`")]
pub struct TokenTooShort;

impl Token {
    /// Takes a token as it is sent.
    pub fn new(token: &str) -> Result<Self, TokenTooShort> {
        if token.len() < MIN_TOKEN {
            return Err(TokenTooShort);
        }
        Ok(Self(Sha256::digest(token).into()))
    }
}

/// Who may do what.
pub struct Access {
    /// Who may see, fetch and delete, and also upload. With none, nobody may.
    pub admins: Vec<Token>,
    /// Who else may upload.
    pub uploaders: Vec<Token>,
    /// Whether anyone may upload.
    pub anonymous: bool,
}

impl Access {
    /// Lets only an admin pass.
    pub(super) fn admin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        permit(presented(headers), &[&self.admins])
    }

    /// Lets only those pass who may upload.
    pub(super) fn uploader(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if self.anonymous {
            return Ok(());
        }
        permit(presented(headers), &[&self.uploaders, &self.admins])
    }
}

/// Passes where the token is one of these. Every one is compared, in constant time.
fn permit(presented: Option<Zeroizing<String>>, tokens: &[&[Token]]) -> Result<(), Problem> {
    let presented = presented.ok_or_else(Problem::unauthorized)?;
    let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
    let known = tokens
        .iter()
        .flat_map(|tokens| tokens.iter())
        .fold(Choice::from(0), |known, token| known | token.0.ct_eq(&hash));
    if known.into() {
        Ok(())
    } else {
        Err(Problem::unauthorized())
    }
}

/// The token in the request, if there is one.
fn presented(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let (scheme, value) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(value.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(BASE64.decode(value.as_bytes()).ok()?);
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

/// A browser that remembers a basic password would send it along with what another site makes it send. Such requests
/// say where they come from: in `Sec-Fetch-Site`, or, from browsers that do not have that yet, in `Origin`.
pub(super) fn refuse_cross_site(app: &App, method: &Method, head: &Parts) -> Result<(), Problem> {
    check_site(&app.cors_origins, method, head)
}

fn check_site(trusted: &[CorsOrigin], method: &Method, head: &Parts) -> Result<(), Problem> {
    let headers = &head.headers;
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
    if method.is_safe() || safe || !headers.contains_key(AUTHORIZATION) {
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

    const TOKEN: &str = "a-token-of-enough-characters";

    fn access() -> Access {
        Access {
            admins: vec![Token::new(TOKEN).unwrap()],
            uploaders: vec![Token::new("another-token-for-uploads").unwrap()],
            anonymous: false,
        }
    }

    fn with(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_passes_as_bearer_and_as_password() {
        let basic = format!("Basic {}", BASE64.encode(format!("me:{TOKEN}").as_bytes()));
        for value in [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}"), basic] {
            assert!(access().admin(&with(&value)).is_ok(), "{value}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        let values = [
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            "Basic !",
            "Basic YQ==",
            TOKEN,
        ];
        for value in values {
            assert!(access().admin(&with(value)).is_err(), "{value}");
        }
        assert!(access().admin(&HeaderMap::new()).is_err());
        let nobody = Access {
            admins: vec![],
            uploaders: vec![],
            anonymous: true,
        };
        assert!(nobody.admin(&with("Bearer ")).is_err());
    }

    #[test]
    fn an_upload_token_only_uploads() {
        let headers = with("Bearer another-token-for-uploads");
        assert!(access().uploader(&headers).is_ok());
        assert!(access().admin(&headers).is_err());
        assert!(access().uploader(&with(&format!("Bearer {TOKEN}"))).is_ok());
        assert!(access().uploader(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_short_token_is_none() {
        assert!(Token::new("short").is_err());
    }

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
            check_site(trusted, &method, &head("/uploads", headers)).is_ok()
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
                    check_site(&trusted, &Method::POST, &head).is_ok()
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
        assert!(check_site(&[], &Method::POST, &nameless).is_err());
    }
}
