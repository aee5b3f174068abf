//! What a line tells.

use core::net::IpAddr;

use serde::Serialize;

use crate::store::UploadId;

/// The longest name of somebody, in characters.
const MAX_ACTOR: usize = 160;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// An upload was begun.
    Created,
    /// An upload is whole, sealed and durable.
    Finished,
    /// Something was handed out to somebody who may read.
    Read,
    /// An upload was deleted by an admin.
    Deleted,
    /// An upload was sealed to other keys by an admin.
    Rewrapped,
    /// A finished upload was taken back by whoever brought it, and deleted.
    Withdrawn,
    /// An upload URL was given up. Of an unfinished upload all is gone; a finished one stays, where it was not withdrawn.
    Cancelled,
    /// An upload was deleted because its time was over.
    Expired,
    /// A request was refused.
    Refused,
    /// A link was made.
    LinkCreated,
    /// A link was revoked.
    LinkRevoked,
    /// The server began to write this log.
    Started,
    /// The server stopped in order: the last line of a run.
    Stopped,
    /// Writing went on after a torn line; `torn` bytes before this are no whole line.
    Resumed,
    /// The first line of a file that goes on where another ended.
    Rotated,
}

/// Who did it: `anonymous`, `token:NAME`, `link:ID`, `certificate:NAME`, `admin-token-file`. Names are the operator's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Actor(String);

impl Actor {
    /// Takes a name. What is neither a letter, a digit nor of the punctuation that such names have becomes `_`, so that
    /// no name can look like anything else in a line.
    pub fn new(name: &str) -> Self {
        let plain = |c: char| match c {
            c if c.is_ascii_alphanumeric() || "-_.:@*=".contains(c) => c,
            _ => '_',
        };
        Self(name.chars().take(MAX_ACTOR).map(plain).collect())
    }
}

/// The public id of a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct LinkId(String);

impl LinkId {
    /// `None` for what is not an id: 32 characters of lowercase base32hex. The token in a link's URL has the same form; its
    /// caller has the id.
    pub fn new(id: &str) -> Option<Self> {
        let known = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'v').contains(&byte);
        (id.len() == 32 && id.bytes().all(known)).then(|| Self(id.to_owned()))
    }
}

/// One line, without what the log itself adds: number, time and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Which upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<UploadId>,
    /// Which submission it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submission: Option<UploadId>,
    /// Through which link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkId>,
    /// Bytes of plaintext.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The route, as logs call it: never with an id or a name in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'static str>,
    /// The status that was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The problem's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// How many of the same were not written one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Bytes before this line that are no whole line. Said by the log itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub torn: Option<u64>,
    /// Entries that found no place while the log could not be written. Said by the log itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}

impl Entry {
    /// An entry that says nothing but what happened.
    pub fn new(event: Event) -> Self {
        Self {
            event,
            by: None,
            address: None,
            upload: None,
            submission: None,
            link: None,
            size: None,
            route: None,
            status: None,
            code: None,
            times: None,
            torn: None,
            lost: None,
        }
    }
}
