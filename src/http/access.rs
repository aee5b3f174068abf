//! Who the caller is, and what they may do.
//!
//! A caller shows a token, as a bearer token or as the password of HTTP basic authentication, or has a client certificate. Of a
//! request with both, the token speaks, and alone: what it may not do, the certificate does not add, and a wrong one is no less
//! wrong. So a caller can be less than the certificate that a proxy or a whole machine has, and never by mistake more.

mod file_tokens;
mod site;

use std::time::{Instant, SystemTime};

use data_encoding::BASE64;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::call::Call;
use super::problem::Problem;
use crate::grant::{Scope, Scopes, TokenSecret, Tokens};
pub use file_tokens::{FileToken, FileTokens, TokenTooShort};
pub(super) use site::refuse_cross_site;

/// Who may do what.
pub struct Access {
    /// The tokens with a record. They are looked up anew for each request, so that one that was revoked is good for nothing at once.
    pub tokens: Tokens,
    /// Who may do everything. With none, and no token that may, nobody does.
    pub admins: FileTokens,
    /// Who else may upload.
    pub uploaders: FileTokens,
    /// Whether anyone may upload.
    pub anonymous: bool,
}

/// Who sent a request.
pub(super) struct Caller {
    /// As the audit log calls them.
    pub(super) who: String,
    scopes: Scopes,
}

impl Caller {
    fn new(who: impl Into<String>, scopes: impl Into<Scopes>) -> Self {
        Self {
            who: who.into(),
            scopes: scopes.into(),
        }
    }
}

/// What a request shows of its caller.
enum Shown {
    Nothing,
    /// A token that is not known.
    Wrong,
    Right(Caller),
}

/// Lets only those pass who may do this, and says who it is; nobody, where no line could tell of it.
///
/// Where anyone may, a token that is not known is as none: browsers go on sending what was typed once.
pub(super) async fn require(call: Call<'_>, scope: Scope) -> Result<Caller, Problem> {
    let caller = identify(call, scope).await?;
    call.app.check_audit()?;
    Ok(caller)
}

/// The same for what is not written down.
pub(super) async fn identify(call: Call<'_>, scope: Scope) -> Result<Caller, Problem> {
    let anyone = scope == Scope::Upload && call.app.access.anonymous;
    let shown = shown(call).await?;
    if let Shown::Right(caller) = &shown {
        call.facts.are_of(&caller.who);
    }
    match shown {
        Shown::Right(caller) if anyone || caller.scopes.contains(scope) => Ok(caller),
        Shown::Right(_) => Err(Problem::forbidden()),
        _ if anyone => Ok(Caller::new("anonymous", Scope::Upload)),
        Shown::Nothing => Err(Problem::unauthorized()),
        Shown::Wrong => Err(Problem::unauthorized().of_a_guess()),
    }
}

async fn shown(call: Call<'_>) -> Result<Shown, Problem> {
    let Some(value) = call.head.headers.get(AUTHORIZATION) else {
        let certificate = call.peer.certificate.as_ref();
        return Ok(certificate.map_or(Shown::Nothing, |client| {
            let who = format!("certificate:{}", client.name);
            Shown::Right(Caller::new(who, client.scopes))
        }));
    };
    let Some(token) = token_in(value) else {
        return Ok(Shown::Wrong);
    };
    let access = &call.app.access;
    if access.admins.know(&token) {
        return Ok(Shown::Right(Caller::new("admin-token-file", Scope::Admin)));
    }
    if access.uploaders.know(&token) {
        let caller = Caller::new("upload-token-file", Scope::Upload);
        return Ok(Shown::Right(caller));
    }
    let Ok(secret) = token.parse::<TokenSecret>() else {
        return Ok(Shown::Wrong);
    };
    let look = move |app: &super::App| app.access.tokens.find(&secret, SystemTime::now());
    let found = call.app.blocking(look).await??;
    Ok(found.map_or(Shown::Wrong, |token| {
        Shown::Right(Caller::new(format!("token:{}", token.name), token.scopes))
    }))
}

/// The token in an `Authorization` header.
fn token_in(value: &HeaderValue) -> Option<Zeroizing<String>> {
    let (scheme, value) = value.to_str().ok()?.split_once(' ')?;
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

/// Counts a wrong credential, and lets its answer wait: the longer, the more there were from the same address. It is called when
/// nothing is held any more that others could need.
pub(super) async fn wait_for_guess(call: Call<'_>, problem: Problem) -> Problem {
    let app = call.app;
    app.metrics.guessed();
    let counted = app.failures.count(call.peer.address, Instant::now());
    let Some(waiting) = counted else {
        return Problem::too_many_guesses();
    };
    if !waiting.delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(waiting.delay) => {}
            () = app.draining.cancelled() => {}
        }
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-enough-characters";

    fn token_of(value: &str) -> Option<String> {
        let token = token_in(&value.parse().unwrap());
        token.map(|token| (*token).clone())
    }

    #[test]
    fn a_token_comes_as_bearer_and_as_password() {
        let basic = format!("Basic {}", BASE64.encode(format!("me:{TOKEN}").as_bytes()));
        for value in [
            format!("Bearer {TOKEN}"),
            format!("bearer  {TOKEN} "),
            basic,
        ] {
            assert_eq!(token_of(&value).as_deref(), Some(TOKEN), "{value}");
        }
    }

    #[test]
    fn all_else_is_none() {
        for value in ["Bearer", "Basic !", "Basic YQ==", "Digest x", TOKEN, ""] {
            assert_eq!(token_of(value), None, "{value}");
        }
    }
}
