//! What can go wrong with links and tokens that is nobody's trespass.

use super::GrantId;
use crate::store::StoreError;

/// Why something could not be done with a link or a token.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is none of that name or id.
    #[error(
        "there is no such {kind}, or it was revoked or has expired; the list shows what there is"
    )]
    NotFound {
        /// "link" or "token".
        kind: &'static str,
    },

    /// Another token that is still good has the name.
    #[error("there is a token of this name already: rotate or revoke it, or choose another name")]
    NameTaken,

    /// More than a record holds.
    #[error(
        "the link says too much: shorten its texts, or give it fewer fields, types or recipients"
    )]
    TooLarge,

    /// A record is not what was written there. Nothing is allowed because of it.
    #[error(
        "the record {kind}s/{id} is damaged: restore it from a backup, or remove the file, which puts the {kind} out of use"
    )]
    Damaged {
        /// "link" or "token".
        kind: &'static str,
        /// Which one.
        id: String,
    },

    /// The operating system has no randomness to give.
    #[error("no randomness from the operating system: {0}")]
    Randomness(getrandom::Error),

    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl GrantError {
    pub(super) fn damaged(kind: &'static str, id: &GrantId) -> Self {
        Self::Damaged {
            kind,
            id: id.to_string(),
        }
    }
}
