//! What goes wrong with uploads that come in several requests.

use std::borrow::Cow;

use http::header::CONNECTION;
use http::{HeaderName, StatusCode};

use super::{Kind, Problem, QUOTA_REACHED};
use crate::http::body::BodyError;
use crate::http::digest_fields::DigestFieldError;
use crate::http::resumable::draft::Version;
use crate::http::submission::SubmissionFieldError;
use crate::http::tus_fields::TusFieldError;
use crate::store::StoreError;
use crate::upload::{ReceiveError, SessionError};

/// "Checksum Mismatch" (tus, "Checksum").
const CHECKSUM_MISMATCH: u16 = 460;
const COMPLETED: &str = "completed-upload";
const FOREIGN: &str = "foreign-fields";
const DIGEST_MISMATCH: &str = "digest-mismatch";

impl Problem {
    /// Says how far an upload is after all.
    pub(in crate::http) fn with_offset(self, offset: u64) -> Self {
        self.with(
            HeaderName::from_static("upload-offset"),
            &offset.to_string(),
        )
    }

    /// Says until when the upload can be gone on with.
    pub(in crate::http) fn with_expiry(self, expires: std::time::SystemTime) -> Self {
        let name = HeaderName::from_static("upload-expires");
        self.with(name, &httpdate::fmt_http_date(expires))
    }

    /// Says in the draft's way whether the upload is complete.
    pub(in crate::http) fn with_completeness(mut self, version: Version, complete: bool) -> Self {
        let mut headers = http::HeaderMap::new();
        version.add_completeness(&mut headers, complete);
        let headers = headers.into_iter();
        self.headers
            .extend(headers.filter_map(|(name, value)| Some((name?, value))));
        self
    }

    /// What is refused in the draft leaves the upload incomplete, where nothing else is said.
    pub(in crate::http) fn in_draft(self, version: Version) -> Self {
        let mut said = http::HeaderMap::new();
        version.add_completeness(&mut said, false);
        if self.headers.iter().any(|(name, _)| said.contains_key(name)) {
            return self;
        }
        self.with_completeness(version, false)
    }

    fn of_type(mut self, name: &'static str, members: &[(&'static str, u64)]) -> Self {
        let members = members.to_vec();
        self.kind = Some(Box::new(Kind { name, members }));
        self
    }

    /// A body that goes with an upload in several requests broke off. `kept`: whether what arrived of it counts.
    pub(in crate::http) fn interrupted(error: BodyError, kept: bool) -> Self {
        let detail = match error {
            BodyError::TooLarge { .. } => format!("This upload cannot become that long: {error}."),
            _ if kept => format!("What arrived was kept, go on behind it: {error}."),
            _ => format!("What this request brought was not kept, send it again: {error}."),
        };
        Self::of_body(error, detail)
    }

    pub(super) fn of_body(error: BodyError, detail: String) -> Self {
        let (status, code) = error.status();
        let problem = Self::new(status, code, detail).because(error);
        if status == StatusCode::REQUEST_TIMEOUT {
            problem.with(CONNECTION, "close")
        } else {
            problem
        }
    }

    pub(in crate::http) fn taken_over() -> Self {
        let detail =
            "A later request for this upload took over. Ask where it stands, and go on from there.";
        Self::new(StatusCode::CONFLICT, "upload-taken-over", detail)
    }

    pub(in crate::http) fn fields_without_length() -> Self {
        let detail = "Say with Upload-Length or Content-Length how long the fields are.";
        Self::new(StatusCode::LENGTH_REQUIRED, "length-required", detail)
    }

    pub(in crate::http) fn length_required() -> Self {
        let detail = "Say with Content-Length how long the body is: in a version of HTTP this old a broken connection would look like its end.";
        Self::new(StatusCode::LENGTH_REQUIRED, "length-required", detail)
    }

    /// The uploads of this request have their place already.
    pub(in crate::http) fn placed_already(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, FOREIGN, detail)
    }

    /// There is nothing to join. Whatever the reason, it is the same to the client.
    pub(in crate::http) fn no_submission(error: SessionError) -> Self {
        if let SessionError::Receive(error) = error {
            return error.into();
        }
        let detail = "The upload that Sealslot-Submission names is not here: it was never created, was cancelled or has expired. \
                      Name another one, or none.";
        Self::new(StatusCode::CONFLICT, "unknown-submission", detail)
    }

    pub(in crate::http) fn tus_version() -> Self {
        let detail = "This server speaks tus 1.0.0: send `Tus-Resumable: 1.0.0`.";
        Self::new(StatusCode::PRECONDITION_FAILED, "tus-version", detail)
    }

    pub(in crate::http) fn malformed_tus(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-tus", detail)
    }

    pub(in crate::http) fn media_type(expected: &'static str) -> Self {
        let detail = format!("Send this with `Content-Type: {expected}`.");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            detail,
        )
    }

    pub(in crate::http) fn form_in_parts() -> Self {
        let detail = "A form cannot come in several requests: send it whole, or each of its files by itself.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "form-in-parts", detail)
    }

    pub(in crate::http) fn too_large(limit: u64) -> Self {
        BodyError::TooLarge { limit }.into()
    }

    pub(in crate::http) fn longer_than_upload(left: u64) -> Self {
        let detail = format!(
            "Only {left} bytes are left of the length that was given. Nothing of this was kept."
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "longer-than-upload", detail)
    }

    pub(in crate::http) fn mismatching_offset(expected: u64, provided: u64) -> Self {
        let detail = format!("The upload has {expected} bytes: go on there.");
        let members = [("expected-offset", expected), ("provided-offset", provided)];
        Self::new(StatusCode::CONFLICT, "mismatching-upload-offset", detail)
            .of_type("mismatching-upload-offset", &members)
    }

    pub(in crate::http) fn inconsistent_length() -> Self {
        let detail =
            "The lengths that were given for this upload contradict each other, or what was sent.";
        Self::new(
            StatusCode::BAD_REQUEST,
            "inconsistent-upload-length",
            detail,
        )
        .of_type("inconsistent-upload-length", &[])
    }

    pub(in crate::http) fn overlong() -> Self {
        let detail =
            "More was sent than the length that was given. The upload is void: begin anew.";
        Self::new(
            StatusCode::BAD_REQUEST,
            "inconsistent-upload-length",
            detail,
        )
        .of_type("inconsistent-upload-length", &[])
    }

    pub(in crate::http) fn completed_upload() -> Self {
        let detail = "The upload is complete and takes nothing more.";
        Self::new(StatusCode::BAD_REQUEST, COMPLETED, detail).of_type(COMPLETED, &[])
    }

    pub(in crate::http) fn missing_offset() -> Self {
        let detail = "Upload-Offset is missing, or is no number of bytes.";
        Self::new(StatusCode::BAD_REQUEST, "missing-upload-offset", detail)
    }

    pub(in crate::http) fn missing_completeness() -> Self {
        let detail =
            "Upload-Complete is missing: say ?1 where this is the end of the upload, and else ?0.";
        Self::new(StatusCode::BAD_REQUEST, "missing-upload-complete", detail)
    }

    pub(in crate::http) fn foreign_fields() -> Self {
        let detail = "Upload-Offset and what says that an upload is complete belong to requests that append: leave them out.";
        Self::new(StatusCode::BAD_REQUEST, FOREIGN, detail)
    }

    /// The store failed in the midst of an upload that can be gone on with.
    fn of_store(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => {
                let detail = "The server has no room left. What was acknowledged is kept: tell whoever runs it, and go on later.";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "store-full", detail).because(error)
            }
            StoreError::Unrecorded => Self::audit_unavailable(),
            error @ StoreError::Unavailable { .. } => {
                let detail = "What stores the uploads does not answer the server. What was acknowledged is kept: ask in a moment where \
                              the upload stands, and go on there.";
                Self::store_unavailable(detail, error)
            }
            StoreError::Overtaken => Self::taken_over(),
            StoreError::QuotaReached => {
                let detail = "The server keeps as much as it may. What was acknowledged is kept: tell whoever runs it, and go on later.";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, QUOTA_REACHED, detail)
            }
            error => {
                let detail = "The server failed. What was acknowledged is kept: ask where the upload stands, and go on there.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).because(error)
            }
        }
    }

    pub(in crate::http) fn final_upload() -> Self {
        let detail = "A final upload is made of its parts and takes nothing else.";
        Self::new(StatusCode::FORBIDDEN, "final-upload", detail)
    }

    /// A digest that does not fit has a status of its own in tus.
    pub(in crate::http) fn in_tus(self) -> Self {
        if self.code != DIGEST_MISMATCH {
            return self;
        }
        let mut problem = Self::checksum_mismatch();
        problem.headers = self.headers;
        problem
    }

    pub(in crate::http) fn checksum_mismatch() -> Self {
        let detail = "What arrived does not have the checksum that was given. Nothing of it was kept: send it again.";
        let status = StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, "checksum-mismatch", detail)
    }

    pub(in crate::http) fn digest_mismatch() -> Self {
        let detail = "What arrived does not have the digest that was given. Nothing of it was kept: send it again.";
        Self::new(StatusCode::BAD_REQUEST, DIGEST_MISMATCH, detail)
    }
}

impl From<DigestFieldError> for Problem {
    fn from(error: DigestFieldError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed-digest",
            format!("{error}."),
        )
    }
}

impl From<SubmissionFieldError> for Problem {
    fn from(error: SubmissionFieldError) -> Self {
        let code = match error {
            SubmissionFieldError::Submission => "malformed-submission",
            SubmissionFieldError::Kind => "malformed-kind",
        };
        Self::new(StatusCode::BAD_REQUEST, code, format!("{error}."))
    }
}

impl From<TusFieldError> for Problem {
    fn from(error: TusFieldError) -> Self {
        match error {
            TusFieldError::Part => SessionError::Unknown.into(),
            error => Self::malformed_tus(format!("{error}.")),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Unknown => {
                let detail = "There is no such upload: it was never created, was cancelled or has expired. Begin anew.";
                Self::new(StatusCode::NOT_FOUND, "no-such-upload", detail)
            }
            SessionError::Lost => {
                let detail = "What the server kept of this upload is damaged. Begin anew.";
                Self::new(StatusCode::GONE, "upload-lost", detail)
            }
            SessionError::TooManySegments => {
                let detail = error.to_string();
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-segments", detail)
            }
            SessionError::TooLong => Self::overlong(),
            SessionError::Complete => Self::completed_upload(),
            SessionError::PartIncomplete => {
                Self::new(StatusCode::CONFLICT, "part-incomplete", error.to_string())
            }
            SessionError::PartUsed => {
                Self::new(StatusCode::CONFLICT, "part-used", error.to_string())
            }
            SessionError::PartTwice => {
                Self::new(StatusCode::BAD_REQUEST, "part-twice", error.to_string())
            }
            SessionError::PartForeign => {
                Self::new(StatusCode::CONFLICT, "part-foreign", error.to_string())
            }
            SessionError::LinkRevoked => Self::link_revoked(),
            SessionError::WithdrawalOver => Self::withdrawal_over(),
            SessionError::TooLarge(limit) => Self::too_large(limit),
            SessionError::ClientSealed(error) => error.into(),
            SessionError::Receive(ReceiveError::Store(error)) => Self::of_store(error),
            SessionError::Receive(error) => error.into(),
            error @ SessionError::Randomness(_) => Self::internal(error),
        }
    }
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Store(error) => error.into(),
            ReceiveError::Digest(_) => Self::digest_mismatch(),
            ReceiveError::TooLarge(limit) => Self::too_large(limit),
            ReceiveError::Refused(refused) => refused.into(),
            error => Self::internal(error),
        }
    }
}
