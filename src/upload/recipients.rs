//! Whom an upload is sealed to.

use std::sync::Arc;

use super::receive::ReceiveError;
use super::terms::Terms;
use super::{NamedRecipient, Uploads};
use crate::keys::{KeyError, parse_recipients};
use crate::seal::Recipient;

/// The keys that an upload is sealed to, with what receipts call them. Cheap to clone.
#[derive(Clone)]
pub(super) struct SealedTo {
    pub(super) recipients: Arc<[Recipient]>,
    pub(super) fingerprints: Arc<[String]>,
}

impl SealedTo {
    pub(super) fn new(named: &[NamedRecipient]) -> Self {
        let recipients = named.iter().map(|named| named.recipient.clone());
        Self {
            recipients: recipients.collect(),
            fingerprints: named.iter().map(NamedRecipient::fingerprint).collect(),
        }
    }

    /// Reads lines of public keys. None at all are an error, like any that is not understood: what is to be sealed to
    /// somebody alone must never be sealed to somebody else.
    fn parse(lines: &[String]) -> Result<Self, KeyError> {
        parse_recipients(&lines.join("\n")).map(|named| Self::new(&named))
    }
}

impl Uploads {
    /// The keys that an upload on these terms is sealed to.
    pub(super) fn sealed_to(&self, terms: &Terms) -> Result<SealedTo, ReceiveError> {
        match &terms.recipients {
            Some(lines) => SealedTo::parse(lines).map_err(ReceiveError::Recipients),
            None => Ok(self.sealed_to.clone()),
        }
    }
}
