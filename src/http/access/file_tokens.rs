//! Tokens that the operator keeps in files.

use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The shortest token that is accepted, in characters.
const MIN_TOKEN: usize = 22;

/// A token, of which only the hash is kept. Without `Debug`.
#[derive(Clone)]
pub struct FileToken([u8; 32]);

/// A token that could be guessed.
#[derive(Debug, thiserror::Error)]
#[error("a token has at least {MIN_TOKEN} characters: make one with `openssl rand -hex 32`")]
pub struct TokenTooShort;

impl FileToken {
    /// Takes a token as it is sent.
    pub fn new(token: &str) -> Result<Self, TokenTooShort> {
        if token.len() < MIN_TOKEN {
            return Err(TokenTooShort);
        }
        Ok(Self(Sha256::digest(token).into()))
    }
}

/// The tokens of one file as it was last read.
pub struct FileTokens(RwLock<Arc<[FileToken]>>);

impl FileTokens {
    /// These tokens; none where there is no file.
    pub fn new(tokens: Vec<FileToken>) -> Self {
        Self(RwLock::new(tokens.into()))
    }

    /// From now on these, and the former ones no more.
    pub fn replace(&self, tokens: Vec<FileToken>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tokens.into();
    }

    /// Whether a token is one of these. Every one is compared, in constant time.
    pub(super) fn know(&self, token: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let tokens = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let known = tokens
            .iter()
            .fold(Choice::from(0), |known, token| known | token.0.ct_eq(&hash));
        known.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_token_is_none() {
        assert!(FileToken::new("short").is_err());
    }

    #[test]
    fn only_whole_tokens_of_the_file_are_known() {
        let tokens = ["a-token-of-enough-characters", "another-token-for-uploads"];
        let read = tokens.map(|token| FileToken::new(token).unwrap());
        let file = FileTokens::new(read.to_vec());
        for token in tokens {
            assert!(file.know(token));
            assert!(!file.know(&token[1..]) && !file.know(&format!("{token}x")));
        }
        assert!(!file.know(""));
        file.replace(vec![FileToken::new(tokens[1]).unwrap()]);
        assert!(!file.know(tokens[0]) && file.know(tokens[1]));
        assert!(!FileTokens::new(Vec::new()).know(""));
    }
}
