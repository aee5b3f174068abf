//! On what terms an upload is taken.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was agreed when an upload was created, and holds until it is finished, in however many requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Terms {
    /// Who brings it, as the audit log calls them: `anonymous`, `token:NAME`, `link:ID`.
    pub by: String,
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
            max_size: u64::MAX,
            keep: None,
        }
    }
}
