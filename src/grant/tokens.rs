//! Tokens for machines.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::json::{self, Version1};
use super::record::{self, Listing, Record, Then};
use super::secret::Hash;
use super::{GrantError, GrantId, Scopes, TokenSecret};
use crate::store::{Collection, RecordStore};

/// What people call a token: 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, and not what an id looks like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(String);

/// A text that cannot name a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name for a token: expected 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and not what could be an id"
)]
pub struct TokenNameError;

impl TokenName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TokenName {
    type Err = TokenNameError;

    fn from_str(text: &str) -> Result<Self, TokenNameError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let sound = (1..=64).contains(&text.len()) && text.bytes().all(fits);
        // Tokens are revoked by name or id, and it must be clear which of the two is meant.
        if sound && text.parse::<GrantId>().is_err() {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenNameError)
        }
    }
}

impl Serialize for TokenName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A token, as it was when its record was read.
///
/// Fields that this version does not know are refused, since they may be limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    v: Version1,
    #[serde(with = "json::hash")]
    hash: Hash,
    /// What it is called.
    pub name: TokenName,
    /// What it lets do.
    pub scopes: Scopes,
    /// When it was made.
    #[serde(with = "json::time")]
    pub created: SystemTime,
    /// From when on it is good for nothing.
    #[serde(default, with = "json::optional_time")]
    pub expires: Option<SystemTime>,
    /// When it was revoked, if it was.
    #[serde(default, with = "json::optional_time")]
    pub revoked: Option<SystemTime>,
}

/// Whether a token is good for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It is.
    Live,
    /// Its time is over.
    Expired,
    /// Somebody ended it.
    Revoked,
}

impl TokenState {
    /// As it is written: `live`, `expired` or `revoked`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl Token {
    /// Its public name.
    pub fn id(&self) -> GrantId {
        GrantId::of(&self.hash)
    }

    /// Whether it is good for anything at a time.
    pub fn state(&self, now: SystemTime) -> TokenState {
        if self.revoked.is_some() {
            TokenState::Revoked
        } else if self.expires.is_some_and(|expires| expires <= now) {
            TokenState::Expired
        } else {
            TokenState::Live
        }
    }

    fn is_live(&self, now: SystemTime) -> bool {
        self.state(now) == TokenState::Live
    }
}

impl Record for Token {
    const COLLECTION: Collection = Collection::Tokens;
    const KIND: &str = "token";

    fn hash(&self) -> &Hash {
        &self.hash
    }
}

/// The tokens of a store. Cheap to clone; all calls may block.
#[derive(Clone)]
pub struct Tokens {
    store: Arc<dyn RecordStore>,
}

impl Tokens {
    /// The tokens of `store`.
    pub fn new(store: Arc<dyn RecordStore>) -> Self {
        Self { store }
    }

    /// Makes a token. Its secret is known to nobody but who gets it here. A name that a live token has is
    /// [`GrantError::NameTaken`].
    pub fn create(
        &self,
        name: TokenName,
        scopes: Scopes,
        expires: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<(TokenSecret, Token), GrantError> {
        if !self.live(&name, now)?.grants.is_empty() {
            return Err(GrantError::NameTaken);
        }
        let (secret, token) = self.put(name, scopes, expires, now)?;
        // Somebody may have made one of the same name at the same time. Both see both then, and neither is kept.
        let namesakes = self.live(&token.name, now)?.grants;
        if namesakes.iter().any(|other| other.id() != token.id()) {
            record::remove_if(&*self.store, &token.id(), |_: &Token| true)?;
            return Err(GrantError::NameTaken);
        }
        Ok((secret, token))
    }

    /// The token that a secret belongs to, unless it has expired or was revoked.
    pub fn find(&self, secret: &TokenSecret, now: SystemTime) -> Result<Option<Token>, GrantError> {
        let token = record::find::<Token>(&*self.store, &secret.hash())?;
        Ok(token.filter(|token| token.is_live(now)))
    }

    /// All tokens, by name and the newest first.
    pub fn list(&self) -> Result<Listing<Token>, GrantError> {
        let mut tokens = record::all::<Token>(&*self.store)?;
        let newest_first = |token: &Token| std::cmp::Reverse(token.created);
        tokens.grants.sort_by(|one, other| {
            let by_name = one.name.cmp(&other.name);
            by_name.then_with(|| newest_first(one).cmp(&newest_first(other)))
        });
        Ok(tokens)
    }

    /// Ends the token of that id, or the live ones of that name: from now on they are good for nothing. None is
    /// [`GrantError::NotFound`].
    pub fn revoke(&self, name_or_id: &str, now: SystemTime) -> Result<Vec<Token>, GrantError> {
        let ids = if let Ok(id) = name_or_id.parse::<GrantId>() {
            vec![id]
        } else {
            let name = name_or_id.parse().map_err(|_| NOT_FOUND)?;
            self.some_live(&name, now)?.iter().map(Token::id).collect()
        };
        let mut revoked = Vec::new();
        for id in ids {
            revoked.extend(record::update(&*self.store, &id, |token: &mut Token| {
                if token.revoked.is_some() {
                    return Ok::<_, GrantError>((Then::Keep, token.clone()));
                }
                token.revoked = Some(json::recorded(now));
                Ok((Then::Put, token.clone()))
            })?);
        }
        if revoked.is_empty() {
            return Err(NOT_FOUND);
        }
        Ok(revoked)
    }

    /// Makes a new token of the same name and scopes, good for as long from now on as the old one was when it was made.
    /// What was live under the name ends after `overlap`, or before, where it would have.
    pub fn rotate(
        &self,
        name: &TokenName,
        overlap: Duration,
        now: SystemTime,
    ) -> Result<(TokenSecret, Token), GrantError> {
        let former = self.some_live(name, now)?;
        let newest = former.iter().max_by_key(|token| token.created);
        let newest = newest.ok_or(NOT_FOUND)?;
        let lifetime = newest.expires.map(|expires| {
            let lifetime = expires.duration_since(newest.created);
            lifetime.unwrap_or(Duration::ZERO)
        });
        let expires = lifetime.map(|lifetime| later(now, lifetime));
        // The new one first: whatever fails then, one of them is good.
        let (secret, token) = self.put(name.clone(), newest.scopes, expires, now)?;
        let end = later(now, overlap);
        for old in &former {
            record::update(&*self.store, &old.id(), |token: &mut Token| {
                if token.expires.is_some_and(|expires| expires <= end) {
                    return Ok::<_, GrantError>((Then::Keep, ()));
                }
                token.expires = Some(end);
                Ok((Then::Put, ()))
            })?;
        }
        Ok((secret, token))
    }

    /// Removes tokens that have been over for 30 days. Says how many. The newest one stays: that there ever was one is what
    /// keeps a server from letting in everybody.
    pub fn sweep(&self, now: SystemTime) -> Result<usize, GrantError> {
        let tokens = record::all::<Token>(&*self.store)?.grants;
        let newest = tokens.iter().map(|token| (token.created, token.id())).max();
        let over = |token: &Token| {
            let may_go = newest.is_some_and(|newest| (token.created, token.id()) < newest);
            may_go && record::is_past(token.revoked, token.expires, now)
        };
        record::sweep(&*self.store, over)
    }

    fn put(
        &self,
        name: TokenName,
        scopes: Scopes,
        expires: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<(TokenSecret, Token), GrantError> {
        let secret = TokenSecret::generate()?;
        let token = Token {
            v: Version1,
            hash: secret.hash(),
            name,
            scopes,
            created: json::recorded(now),
            expires: expires.map(json::recorded),
            revoked: None,
        };
        record::create(&*self.store, &token)?;
        Ok((secret, token))
    }

    fn live(&self, name: &TokenName, now: SystemTime) -> Result<Listing<Token>, GrantError> {
        let mut tokens = record::all::<Token>(&*self.store)?;
        let is_meant = |token: &Token| token.name == *name && token.is_live(now);
        tokens.grants.retain(is_meant);
        Ok(tokens)
    }

    /// At least one. Where there is none, a damaged one may have been of that name.
    fn some_live(&self, name: &TokenName, now: SystemTime) -> Result<Vec<Token>, GrantError> {
        let Listing { grants, damaged } = self.live(name, now)?;
        if grants.is_empty() {
            return Err(damaged.into_iter().next().unwrap_or(NOT_FOUND));
        }
        Ok(grants)
    }
}

const NOT_FOUND: GrantError = GrantError::NotFound { kind: Token::KIND };

fn later(now: SystemTime, by: Duration) -> SystemTime {
    let time = now.checked_add(by);
    // Later than records can say is the last time that they can.
    time.map_or(json::last(), json::recorded)
}
