//! Why a link does not take an upload, and what else was agreed.

use http::StatusCode;

use super::Problem;
use crate::grant::Refused;
use crate::http::keep::KeepFieldError;

impl Problem {
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
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "link-bytes-used-up", detail)
    }

    pub(in crate::http) fn withdrawal_over() -> Self {
        let detail = "The time in which this could be taken back is over. Ask whoever received it to delete it.";
        Self::new(StatusCode::FORBIDDEN, "withdrawal-over", detail)
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
            error @ (Refused::NotReserved | Refused::Failed(_)) => Self::internal(error),
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
