//! On what terms an upload is taken.

use core::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::grant::GrantId;

/// What was agreed when an upload was created, and holds until it is finished, in however many requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Who brings it, as the audit log calls them: `anonymous`, `token:NAME`, `link:ID`.
    pub by: String,
    /// From which address they began it. For observers; nothing of it is kept.
    #[serde(skip)]
    pub from: Option<IpAddr>,
    /// The link that it comes through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<GrantId>,
    /// The public keys that it is sealed to, as `ssh-rsa` lines; `None`: those of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Vec<String>>,
    /// Bytes that it may have.
    pub max_size: u64,
    /// How long it is kept once it is finished; `None`: until somebody deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Duration>,
}

impl Default for Terms {
    /// Anybody, any size, for ever.
    fn default() -> Self {
        Self {
            by: "anonymous".to_owned(),
            from: None,
            link: None,
            recipients: None,
            max_size: u64::MAX,
            keep: None,
        }
    }
}

impl Terms {
    /// Whether a part that was taken on these terms may go into an upload on those: it must come through the same link, and be
    /// sealed to the same keys.
    pub(super) fn fits(&self, whole: &Self) -> bool {
        self.link == whole.link && self.recipients == whole.recipients
    }

    /// The link that it comes through, as its record names it.
    pub(super) fn link_id(&self) -> Option<String> {
        self.link.map(|link| link.to_string())
    }

    /// When an upload is to be deleted that was finished at `time`.
    pub(super) fn expires(&self, time: SystemTime) -> Option<SystemTime> {
        // A time so late that it cannot be told is as good as none.
        self.keep.and_then(|keep| time.checked_add(keep))
    }
}
