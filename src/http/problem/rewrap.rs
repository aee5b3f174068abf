//! Why an upload was not sealed anew.

use http::StatusCode;

use super::Problem;
use crate::store::StoreError;
use crate::upload::{ReadError, RewrapError};

/// What does not fit, or is damaged; the detail says what.
const REFUSED: &str = "rewrap-refused";

impl Problem {
    pub(in crate::http) fn precondition_required() -> Self {
        let detail = "If-Match is missing: say with it which meta.age the new one was made from, by the ETag that it came with.";
        let status = StatusCode::PRECONDITION_REQUIRED;
        Self::new(status, "precondition-required", detail)
    }

    pub(in crate::http) fn not_rewrapped() -> Self {
        let detail = "Send new headers as `application/vnd.sealslot.rewrapped`: `sealslot rewrap` makes them.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            detail,
        )
    }

    pub(in crate::http) fn malformed_header_count() -> Self {
        let detail = "Sealslot-Headers is not a whole number from 0 to 10000.";
        Self::new(StatusCode::BAD_REQUEST, "malformed-header-count", detail)
    }

    pub(in crate::http) fn of_rewrap(error: RewrapError) -> Self {
        let refused = |status, what: &dyn std::fmt::Display| {
            Self::new(status, REFUSED, format!("Nothing was changed: {what}."))
        };
        match error {
            RewrapError::Changed => Self::precondition_failed(),
            RewrapError::Refused(rule) => refused(StatusCode::UNPROCESSABLE_ENTITY, &rule),
            RewrapError::Store(error @ StoreError::CannotExchange) => {
                refused(StatusCode::CONFLICT, &error)
            }
            RewrapError::Store(error) | RewrapError::Read(ReadError::Store(error)) => error.into(),
            // What is stored does not let it: it is damaged.
            RewrapError::Read(error) => refused(StatusCode::CONFLICT, &error),
            RewrapError::Seal(error) => Self::internal(error),
        }
    }
}
