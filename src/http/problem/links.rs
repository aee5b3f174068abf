//! What goes wrong with upload links, and with what else was agreed.

use http::StatusCode;

use super::Problem;
use crate::grant::{GrantError, MediaRange, Refused};
use crate::http::keep::KeepFieldError;
use crate::http::new_link::MalformedLink;
use crate::http::page::LinkPage;
use crate::http::resumable::draft::UPLOAD_LIMIT;

impl Problem {
    /// Says that it was met at a link: its page leads back there.
    pub(in crate::http) fn at(mut self, link: LinkPage) -> Self {
        self.link = Some(Box::new(link));
        self
    }

    /// Says what would not have been too large, where that was it.
    pub(in crate::http) fn within(self, max_size: u64) -> Self {
        let said = self.headers.iter().any(|(name, _)| *name == UPLOAD_LIMIT);
        if self.status != StatusCode::PAYLOAD_TOO_LARGE || said {
            return self;
        }
        self.with(UPLOAD_LIMIT, &format!("max-size={max_size}"))
    }

    pub(in crate::http) fn no_such_link() -> Self {
        let detail = "There is no such link: it may have been cut off or mistyped on its way.";
        Self::new(StatusCode::NOT_FOUND, "no-such-link", detail)
    }

    pub(in crate::http) fn link_expired() -> Self {
        let detail = "The link has expired and takes nothing new: ask for another one.";
        Self::new(StatusCode::GONE, "link-expired", detail)
    }

    pub(in crate::http) fn link_revoked() -> Self {
        let detail = "The link was revoked and takes nothing more: ask for another one.";
        Self::new(StatusCode::GONE, "link-revoked", detail)
    }

    pub(in crate::http) fn link_used_up() -> Self {
        let detail = "The link takes no more uploads: it has them all, or they are under way. Ask for another one.";
        Self::new(StatusCode::FORBIDDEN, "link-used-up", detail)
    }

    pub(in crate::http) fn link_bytes_used_up(left: u64) -> Self {
        let detail = format!(
            "The link takes {left} more bytes, and this is more. What was acknowledged is kept, nothing else."
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "link-bytes-used-up", detail).within(left)
    }

    pub(in crate::http) fn type_not_accepted(types: &[MediaRange], extensions: &[String]) -> Self {
        let types = types.iter().map(ToString::to_string);
        let extensions = extensions.iter().map(|extension| format!(".{extension}"));
        let accepted: Vec<_> = types.chain(extensions).collect();
        let detail = format!(
            "The link takes {} alone: name the file and its Content-Type as they are. Nothing was kept.",
            accepted.join(", ")
        );
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "type-not-accepted",
            detail,
        )
    }

    pub(in crate::http) fn withdrawal_over() -> Self {
        let detail = "The time in which this could be taken back is over. Ask whoever received it to delete it.";
        Self::new(StatusCode::FORBIDDEN, "withdrawal-over", detail)
    }

    /// A body that is small took too long.
    pub(in crate::http) fn too_slow(limit: std::time::Duration) -> Self {
        let detail = format!("The body took longer than {} s.", limit.as_secs());
        Self::new(StatusCode::REQUEST_TIMEOUT, "too-slow", detail)
            .with(http::header::CONNECTION, "close")
    }
}

impl From<MalformedLink> for Problem {
    fn from(error: MalformedLink) -> Self {
        let detail = format!("No link was made: {error}.");
        Self::new(StatusCode::BAD_REQUEST, "malformed-link", detail)
    }
}

impl From<GrantError> for Problem {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::NotFound { .. } => Self::no_such_link(),
            GrantError::TooLarge => {
                let detail = format!("No link was made: {error}.");
                Self::new(StatusCode::BAD_REQUEST, "malformed-link", detail)
            }
            GrantError::Store(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::no_such_link(),
            Refused::Expired => Self::link_expired(),
            Refused::Revoked => Self::link_revoked(),
            Refused::UploadsUsedUp => Self::link_used_up(),
            Refused::BytesUsedUp { left } => Self::link_bytes_used_up(left),
            Refused::TooManyAtOnce => Self::too_many_uploads(),
            Refused::Failed(error) => error.into(),
            // Its reservation is gone, and what it has with it: it can only begin anew.
            refused @ Refused::NotReserved => {
                let detail = "What was set aside for this upload is given back. Begin anew.";
                Self::new(StatusCode::GONE, "upload-lost", detail).because(refused)
            }
        }
    }
}

impl From<KeepFieldError> for Problem {
    fn from(error: KeepFieldError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed-keep",
            format!("{error}."),
        )
    }
}
