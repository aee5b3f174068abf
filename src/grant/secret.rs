//! The secrets of links and tokens: who has one is let in.

use std::str::FromStr;

use data_encoding::BASE32_DNSSEC;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{GrantError, GrantId};

/// Bytes of a secret: 160 random bits, which are 32 characters.
const SIZE: usize = 20;
const TEXT: usize = 32;

/// What a token's text begins with, so that those who look for leaked secrets know one.
const TOKEN_PREFIX: &str = "sst_";

/// SHA-256 over a secret's purpose and text: all that is kept of it.
pub(super) type Hash = [u8; 32];

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Secret([u8; SIZE]);

/// A text that is not a secret of the kind that was asked for. It does not say which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not a link's.
    #[error("not the secret of a link: expected the 32 characters after /d/ in its URL")]
    Link,
    /// Not a token.
    #[error(
        "not a token: expected {TOKEN_PREFIX} and 32 characters, as `sealslot token create` printed it"
    )]
    Token,
}

impl Secret {
    fn generate() -> Result<Self, GrantError> {
        let mut secret = Self([0; SIZE]);
        getrandom::fill(&mut secret.0).map_err(GrantError::Randomness)?;
        Ok(secret)
    }

    /// Reads it in the one way that it is written.
    fn read(text: &str) -> Option<Self> {
        // The decoder takes uppercase too, which would give one secret several texts.
        if text.len() != TEXT || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut secret = Self([0; SIZE]);
        let read = BASE32_DNSSEC.decode_mut(text.as_bytes(), &mut secret.0);
        read.is_ok().then_some(secret)
    }

    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_DNSSEC.encode(&self.0))
    }

    fn hash(&self, purpose: &str) -> Hash {
        let hash = Sha256::new().chain_update(purpose);
        hash.chain_update(self.text().as_bytes()).finalize().into()
    }
}

/// The secret of an upload link, which is what its URL ends in. Without `Debug`: whoever knows it may hand in.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LinkSecret(Secret);

impl LinkSecret {
    pub(super) fn generate() -> Result<Self, GrantError> {
        Secret::generate().map(Self)
    }

    /// As it stands in the URL.
    pub fn to_text(&self) -> Zeroizing<String> {
        self.0.text()
    }

    /// The public name of its link.
    pub fn id(&self) -> GrantId {
        GrantId::of(&self.hash())
    }

    pub(super) fn hash(&self) -> Hash {
        self.0.hash("sealslot/link/v1 ")
    }
}

impl FromStr for LinkSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Secret::read(text).map(Self).ok_or(SecretError::Link)
    }
}

/// A token, which a machine sends with its requests. Without `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct TokenSecret(Secret);

impl TokenSecret {
    pub(super) fn generate() -> Result<Self, GrantError> {
        Secret::generate().map(Self)
    }

    /// As it is printed once and sent with requests.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_PREFIX.len() + TEXT));
        text.push_str(TOKEN_PREFIX);
        text.push_str(&self.0.text());
        text
    }

    /// The public name of its record.
    pub fn id(&self) -> GrantId {
        GrantId::of(&self.hash())
    }

    pub(super) fn hash(&self) -> Hash {
        self.0.hash("sealslot/token/v1 ")
    }
}

impl FromStr for TokenSecret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        let secret = text.strip_prefix(TOKEN_PREFIX).and_then(Secret::read);
        secret.map(Self).ok_or(SecretError::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_read_as_they_are_written() {
        let link = LinkSecret::generate().unwrap();
        let text = link.to_text();
        assert_eq!(text.len(), 32);
        assert_eq!(text.parse::<LinkSecret>().ok().unwrap().id(), link.id());
        let token = TokenSecret::generate().unwrap();
        let text = token.to_text();
        assert_eq!(text.len(), 36);
        assert_eq!(text.parse::<TokenSecret>().ok().unwrap().id(), token.id());
        assert_ne!(
            *token.to_text(),
            *TokenSecret::generate().unwrap().to_text()
        );
    }

    #[test]
    fn ids_are_as_documented() {
        // printf 'sealslot/link/v1 %032d' 0 | sha256sum, and the same for tokens, the first 40 digits in base32hex.
        let zeros = "0".repeat(32);
        let link: LinkSecret = zeros.parse().ok().unwrap();
        let token: TokenSecret = format!("sst_{zeros}").parse().ok().unwrap();
        assert_eq!(link.id().to_string(), "d1cr98mpnqrcq5tnh00l42fq9k5faelf");
        assert_eq!(token.id().to_string(), "76cs63cbd1njns7j8mbo9u99s9hagq8s");
    }

    #[test]
    fn texts_that_are_no_secrets_are_refused() {
        let zeros = "0".repeat(32);
        let uppercase = format!("A{}", &zeros[1..]);
        let not_base32hex = format!("w{}", &zeros[1..]);
        let not_ascii = format!("ä{}", &zeros[2..]);
        let (short, long) = (&zeros[1..], format!("{zeros}0"));
        for text in ["", short, &long, &uppercase, &not_base32hex, &not_ascii] {
            assert!(text.parse::<LinkSecret>().is_err(), "{text:?}");
            let token = format!("sst_{text}");
            assert!(token.parse::<TokenSecret>().is_err(), "{token:?}");
        }
        for text in [&zeros, &format!("SST_{zeros}"), &format!(" sst_{zeros}")] {
            assert!(text.parse::<TokenSecret>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_has_two_readings(text in "(sst_)?[0-9a-wA-V]{30,34}|.{0,40}") {
            if let Ok(secret) = text.parse::<LinkSecret>() {
                prop_assert_eq!(&*secret.to_text(), &text);
            }
            if let Ok(secret) = text.parse::<TokenSecret>() {
                prop_assert_eq!(&*secret.to_text(), &text);
            }
        }
    }
}
