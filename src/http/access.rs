//! Who may do what: bearer tokens, or the same as the password of HTTP basic authentication.

use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method};
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
/// say where they come from.
pub(super) fn refuse_cross_site(
    app: &App,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    check_site(&app.cors_origins, method, headers)
}

fn check_site(trusted: &[CorsOrigin], method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers
        .get("sec-fetch-site")
        .and_then(|site| site.to_str().ok());
    let safe = matches!(site, None | Some("same-origin" | "none"))
        || cors::allowed(trusted, headers).is_some();
    if method.is_safe() || safe || !headers.contains_key(AUTHORIZATION) {
        Ok(())
    } else {
        Err(Problem::cross_site())
    }
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

    #[test]
    fn another_site_cannot_use_a_remembered_password() {
        let mut headers = with("Basic x");
        assert!(check_site(&[], &Method::POST, &headers).is_ok());
        headers.insert("sec-fetch-site", "cross-site".parse().unwrap());
        assert!(check_site(&[], &Method::POST, &headers).is_err());
        assert!(check_site(&[], &Method::GET, &headers).is_ok());
    }
}
