//! Whom an upload is sealed to.

use std::sync::{Arc, PoisonError, RwLock};

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

/// The keys that uploads are sealed to where nothing else was agreed. They may be replaced at any time; whoever began with the
/// ones before keeps to them.
pub(super) struct Current(RwLock<Snapshot>);

#[derive(Clone)]
struct Snapshot {
    named: Arc<[NamedRecipient]>,
    sealed_to: SealedTo,
}

impl Current {
    pub(super) fn new(recipients: Vec<NamedRecipient>) -> Self {
        Self(RwLock::new(Snapshot::new(recipients)))
    }

    fn snapshot(&self) -> Snapshot {
        // It is replaced as a whole, so a panic elsewhere cannot have left it half done.
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Snapshot {
    fn new(recipients: Vec<NamedRecipient>) -> Self {
        Self {
            sealed_to: SealedTo::new(&recipients),
            named: recipients.into(),
        }
    }
}

impl Uploads {
    /// The keys that uploads are sealed to now where nothing else was agreed, with their names.
    pub fn named_recipients(&self) -> Arc<[NamedRecipient]> {
        self.current.snapshot().named
    }

    /// The keys that uploads are sealed to now where nothing else was agreed.
    pub fn recipients(&self) -> Arc<[Recipient]> {
        self.current.snapshot().sealed_to.recipients
    }

    /// From now on, seals to these keys, which must not be none. Requests that are being answered keep to the keys that they began
    /// with; the manifest of an upload in several requests goes to the keys of the one that ends it.
    pub fn seal_to(&self, recipients: Vec<NamedRecipient>) {
        let snapshot = Snapshot::new(recipients);
        *self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// The keys that an upload on these terms is sealed to.
    pub(super) fn sealed_to(&self, terms: &Terms) -> Result<SealedTo, ReceiveError> {
        match &terms.recipients {
            Some(lines) => SealedTo::parse(lines).map_err(ReceiveError::Recipients),
            None => Ok(self.current.snapshot().sealed_to),
        }
    }
}
