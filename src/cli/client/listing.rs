//! The uploads on a server, page by page.

use std::time::SystemTime;

use http::Method;
use serde::{Deserialize, Serialize};

use super::http_client::HttpError;
use super::patient_server::{PatienceError, PatientServer};
use super::{ServerError, document};
use crate::store::UploadId;
use crate::upload::FileEntry;

/// Uploads on a page. The server gives no more.
const PAGE: usize = 1000;

/// No label of a link is longer, nor any time, in bytes: 200 characters are what a server takes.
const MAX_TEXT: usize = 800;

/// An upload, as a server lists it. The server may say more.
#[derive(Clone, Deserialize)]
pub(in crate::cli) struct Listed {
    /// Its id.
    pub(in crate::cli) id: UploadId,
    /// When the last byte had arrived (RFC 3339).
    pub(in crate::cli) time: String,
    /// Bytes of its segments.
    pub(in crate::cli) sealed_size: u64,
    /// Its segments.
    pub(in crate::cli) files: Vec<FileEntry>,
    /// The link that it came through.
    pub(in crate::cli) link: Option<String>,
    /// When it is to be deleted (RFC 3339).
    pub(in crate::cli) expires: Option<String>,
    /// Its manifest, still sealed. Servers before 0.2 do not tell.
    #[serde(default)]
    pub(in crate::cli) meta: Option<ListedMeta>,
}

/// What a server tells of `meta.age`: another one than before was written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct ListedMeta {
    /// In bytes.
    pub(in crate::cli) size: u64,
    /// CRC-64/NVME in 16 digits of hex, where the server has it.
    pub(in crate::cli) crc64nvme: Option<String>,
}

impl Listed {
    /// When the last byte had arrived.
    pub(in crate::cli) fn received(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.time).ok()
    }

    /// Whether a Sealslot server would say that: what is shown in columns has the length of such.
    fn is_sound(&self) -> bool {
        let texts = [self.link.as_ref(), self.expires.as_ref()];
        let is_long = |text: &String| text.len() > MAX_TEXT;
        self.received().is_some() && !texts.into_iter().flatten().any(is_long)
    }
}

#[derive(Deserialize)]
struct Page {
    uploads: Vec<Listed>,
    next: Option<UploadId>,
}

/// All uploads in the order of their ids, which is that of the times at which they began.
pub(in crate::cli) struct Pages {
    server: PatientServer,
    after: Option<UploadId>,
    size: usize,
    ended: bool,
}

impl Pages {
    /// Those after `after`.
    pub(in crate::cli) fn of(server: PatientServer, after: Option<UploadId>) -> Self {
        Self {
            server,
            after,
            size: PAGE,
            ended: false,
        }
    }

    /// The next page; `None` when there are no more.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Vec<Listed>>, PatienceError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.read().await?;
        // Whatever a server says, this comes to an end.
        let mut before = self.after;
        for listed in &page.uploads {
            if before.is_some_and(|before| listed.id <= before) || !listed.is_sound() {
                return Err(ServerError::Nonsense.into());
            }
            before = Some(listed.id);
        }
        match page.next {
            Some(next) if Some(next) < before || Some(next) <= self.after => {
                return Err(ServerError::Nonsense.into());
            }
            Some(next) => self.after = Some(next),
            None => self.ended = true,
        }
        Ok(Some(page.uploads))
    }

    async fn read(&mut self) -> Result<Page, PatienceError> {
        loop {
            let after = self.after.map(|id| format!("&after={id}"));
            let path = format!("/uploads?limit={}{}", self.size, after.unwrap_or_default());
            let answer = self.server.ask(Method::GET, &path, None).await;
            match answer {
                Ok(answer) => return Ok(document(&answer)?),
                // Uploads of very many segments.
                Err(PatienceError::Server(ServerError::Http(HttpError::AnswerTooLarge)))
                    if self.size > 1 =>
                {
                    self.size = (self.size / 8).max(1);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
