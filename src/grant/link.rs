//! An upload link: what it lets hand in, and what of that has been used.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account::{Reservation, Usage};
use super::json::{self, Version1};
use super::record::Record;
use super::secret::Hash;
use super::{GrantId, MediaRange};
use crate::store::{Collection, UploadId};

/// What a new link is to let hand in. What is `None` or empty is not limited.
#[derive(Debug, Clone, Default)]
pub struct NewLink {
    /// What its maker calls it; not shown to who hands in.
    pub label: String,
    /// From when on nothing new is taken.
    pub expires: Option<SystemTime>,
    /// How many uploads, in all.
    pub max_uploads: Option<u64>,
    /// How many bytes, in all.
    pub max_bytes: Option<u64>,
    /// How many bytes one upload may have.
    pub max_file: Option<u64>,
    /// The media types that are taken.
    pub types: Vec<MediaRange>,
    /// The extensions of names that are taken, in lowercase and without the dot.
    pub extensions: Vec<String>,
    /// What its page says.
    pub page: LinkPage,
    /// Public keys, as `ssh-rsa` lines, that uploads are sealed to in place of the server's.
    pub recipients: Vec<String>,
    /// How long a finished upload is kept.
    pub keep: Option<Duration>,
}

/// What a link's page says, as JSON that is checked and read where pages are made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkPage {
    /// The title: a text, or one for each language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Value>,
    /// The text under it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Value>,
    /// The text fields of the form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Value>,
}

/// A link, as it was when its record was read. See [`NewLink`] for what it lets hand in.
///
/// Fields that this version does not know are refused, since they may be limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "they are those of `NewLink`")]
pub struct Link {
    v: Version1,
    #[serde(with = "json::hash")]
    hash: Hash,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// When it was made.
    #[serde(with = "json::time")]
    pub created: SystemTime,
    #[serde(default, with = "json::optional_time")]
    pub expires: Option<SystemTime>,
    /// When it was revoked, if it was.
    #[serde(default, with = "json::optional_time")]
    pub revoked: Option<SystemTime>,
    #[serde(default)]
    pub max_uploads: Option<u64>,
    #[serde(default)]
    pub max_bytes: Option<u64>,
    #[serde(default)]
    pub max_file: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<MediaRange>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    #[serde(default)]
    pub page: LinkPage,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    #[serde(default, with = "json::optional_seconds")]
    pub keep: Option<Duration>,
    /// What was handed in.
    pub used: Usage,
    /// What may be handed in by uploads that are under way.
    pub reserved: BTreeMap<UploadId, Reservation>,
}

/// What a link is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// It takes uploads.
    Open,
    /// It takes no new uploads; those under way come to their end.
    Expired,
    /// It takes nothing more, not even the rest of uploads under way.
    Revoked,
    /// All that it lets hand in has been handed in.
    UsedUp,
}

impl LinkState {
    /// As it is written: `open`, `expired`, `revoked` or `used-up`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::UsedUp => "used-up",
        }
    }
}

impl Link {
    pub(super) fn new(hash: Hash, new: NewLink, now: SystemTime) -> Self {
        Self {
            v: Version1,
            hash,
            label: new.label,
            created: json::recorded(now),
            expires: new.expires.map(json::recorded),
            revoked: None,
            max_uploads: new.max_uploads,
            max_bytes: new.max_bytes,
            max_file: new.max_file,
            types: new.types,
            extensions: new.extensions,
            page: new.page,
            recipients: new.recipients,
            keep: new.keep.map(|keep| Duration::from_secs(keep.as_secs())),
            used: Usage::default(),
            reserved: BTreeMap::new(),
        }
    }

    /// Its public name.
    pub fn id(&self) -> GrantId {
        GrantId::of(&self.hash)
    }

    /// What it is good for at a time. Bytes and uploads that are only reserved may be given back, so they use nothing up.
    pub fn state(&self, now: SystemTime) -> LinkState {
        let reached = |used: u64, limit: Option<u64>| limit.is_some_and(|limit| used >= limit);
        if self.revoked.is_some() {
            LinkState::Revoked
        } else if self.expires.is_some_and(|expires| expires <= now) {
            LinkState::Expired
        } else if reached(self.used.uploads, self.max_uploads)
            || reached(self.used.bytes, self.max_bytes)
        {
            LinkState::UsedUp
        } else {
            LinkState::Open
        }
    }
}

impl Record for Link {
    const COLLECTION: Collection = Collection::Links;
    const KIND: &str = "link";

    fn hash(&self) -> &Hash {
        &self.hash
    }
}
