//! What goes wrong, as an answer: a status, a stable code and a sentence (RFC 9457), or a small page for a browser.

mod links;
mod resumable;
mod rewrap;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ALLOW, CONTENT_RANGE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::body::BodyError;
use super::form::FormError;
use super::multipart::MultipartError;
use super::negotiate::Form;
use super::page::LinkPage;
use super::{App, Response, page, respond_with};
use crate::store::StoreError;
use crate::upload::{ClientSealedError, ReadError};

/// What a client is told when something does not work, and what only the log is told.
pub(super) struct Problem {
    status: StatusCode,
    /// Stable: programs may depend on it.
    code: &'static str,
    detail: Cow<'static, str>,
    /// The problem type, where one is registered.
    kind: Option<Box<Kind>>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The link that it was met at.
    link: Option<Box<LinkPage>>,
    /// Whether the caller showed a secret that is not known.
    guess: bool,
    /// For the log: what the server itself has to do with it.
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// A registered problem type.
struct Kind {
    /// Its name, behind [`TYPES`].
    name: &'static str,
    /// Further members that the type gives the document.
    members: Vec<(&'static str, u64)>,
}

/// RFC 9457, section 3.
#[derive(Serialize)]
struct Document<'a> {
    r#type: Cow<'static, str>,
    title: &'a str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(flatten)]
    members: std::collections::BTreeMap<&'static str, u64>,
}

/// Where problem types are registered (RFC 9457, section 4.2).
const TYPES: &str = "https://iana.org/assignments/http-problem-types#";

const QUOTA_REACHED: &str = "quota-reached";
const STORE_UNAVAILABLE: &str = "store-unavailable";

/// How often the log is told that the store is away: every request fails meanwhile.
const TELL_AWAY: Duration = Duration::from_secs(10);

/// Whether the log was told of late that the store is away. If not, it is now.
fn was_told() -> bool {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_some_and(|told| told.elapsed() < TELL_AWAY) {
        return true;
    }
    *told = Some(Instant::now());
    false
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            kind: None,
            headers: Vec::new(),
            link: None,
            guess: false,
            cause: None,
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    fn because(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.cause = Some(Box::new(cause));
        self
    }

    /// The caller showed a secret that is not known: the answer waits, and is counted.
    pub(super) fn of_a_guess(mut self) -> Self {
        self.guess = true;
        self
    }

    pub(super) fn is_of_a_guess(&self) -> bool {
        self.guess
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here.")
    }

    pub(super) fn malformed_path() -> Self {
        let detail = "The path is not properly percent-encoded.";
        Self::new(StatusCode::BAD_REQUEST, "malformed-path", detail)
    }

    pub(super) fn malformed_query() -> Self {
        let detail =
            "The query takes `after`, the id of an upload, and `limit`, a number from 1 to 1000.";
        Self::new(StatusCode::BAD_REQUEST, "malformed-query", detail)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = "This does not answer to that method.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail).with(ALLOW, allow)
    }

    pub(super) fn expectation_failed() -> Self {
        let detail = "No expectation is met but `Expect: 100-continue`.";
        Self::new(StatusCode::EXPECTATION_FAILED, "expectation-failed", detail)
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "This needs a token: send it as `Authorization: Bearer TOKEN`, or as the password of basic \
                      authentication.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).with(
            WWW_AUTHENTICATE,
            "Basic realm=\"Sealslot\", charset=\"UTF-8\"",
        )
    }

    pub(super) fn forbidden() -> Self {
        let detail = "This token or certificate is known, and may not do that.";
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(super) fn cross_site() -> Self {
        let detail = "Another site made the browser send this.";
        Self::new(StatusCode::FORBIDDEN, "cross-site", detail)
    }

    pub(super) fn busy() -> Self {
        let detail = "The server is taking in as many uploads as it can: try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).with(RETRY_AFTER, "5")
    }

    pub(super) fn audit_unavailable() -> Self {
        let detail = "The server cannot write down who did what, so it takes nothing in now. Tell whoever runs it, and \
                      try again later.";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "audit-unavailable", detail).with(RETRY_AFTER, "30")
    }

    /// What the store is kept in does not answer.
    fn store_unavailable(detail: &'static str, cause: StoreError) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, STORE_UNAVAILABLE, detail)
            .with(RETRY_AFTER, "5")
            .because(cause)
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn too_many_uploads() -> Self {
        let detail = "As many uploads as are allowed at a time are under way from this address, with this token or through \
                      this link: try again when one of them has ended.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-uploads", detail).with(RETRY_AFTER, "5")
    }

    /// `wait`: until there may be another one.
    pub(super) fn too_many_requests(wait: Duration) -> Self {
        let detail = "More uploads were begun than are allowed in this time: try again later.";
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail)
            .with(RETRY_AFTER, &seconds.max(1).to_string())
    }

    /// As many wrong credentials of one address as may wait for their answer do so already.
    pub(super) fn too_many_guesses() -> Self {
        let detail = "Too many wrong tokens or links came from this address at a time.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail).with(RETRY_AFTER, "5")
    }

    /// No certificate, or one that clients refuse.
    pub(super) fn certificate_invalid() -> Self {
        let detail = "The server's certificate has expired, is not valid yet, or is missing: clients refuse to connect.";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "certificate-invalid", detail).with(RETRY_AFTER, "30")
    }

    pub(super) fn malformed_host() -> Self {
        let detail = "A request names the host that it is for once, with or without a port.";
        Self::new(StatusCode::BAD_REQUEST, "malformed-host", detail)
    }

    pub(super) fn malformed_length() -> Self {
        let detail = "A request says once how long it is, or not at all.";
        Self::new(StatusCode::BAD_REQUEST, "malformed-length", detail)
    }

    /// RFC 9110, section 15.5.20.
    pub(super) fn misdirected() -> Self {
        let detail = "This server has another name: use one that its certificate is for. Whoever runs it can give it more names, \
                      with --server-name.";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", detail)
    }

    pub(super) fn stopping() -> Self {
        let detail = "The server is about to stop.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).with(RETRY_AFTER, "5")
    }

    pub(super) fn empty_form() -> Self {
        let detail = "The form holds neither a file nor a text: choose a file.";
        Self::new(StatusCode::BAD_REQUEST, "empty-form", detail)
    }

    pub(super) fn fields_too_large(limit: usize) -> Self {
        let detail =
            format!("The texts and names of the form are longer than {limit} bytes in all.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "fields-too-large", detail)
    }

    pub(super) fn name_too_long(limit: usize) -> Self {
        let detail = format!("The name is longer than {limit} bytes.");
        Self::new(StatusCode::BAD_REQUEST, "name-too-long", detail)
    }

    pub(super) fn missing_data() -> Self {
        let detail = "The form has no field `data`.";
        Self::new(StatusCode::BAD_REQUEST, "missing-field", detail)
    }

    pub(super) fn unsupported_form() -> Self {
        let detail = "Send a form: `application/x-www-form-urlencoded` or `multipart/form-data`.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            detail,
        )
    }

    pub(super) fn no_private_key() -> Self {
        let detail = "This server holds no private key: it can only seal. Fetch the sealed file and open it where the \
                      key is, with `sealslot open` or `age -d`.";
        Self::new(StatusCode::NOT_IMPLEMENTED, "no-private-key", detail)
    }

    pub(super) fn does_not_open() -> Self {
        let detail = "This does not open: it is damaged, or not sealed to this server's key.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "does-not-open", detail)
    }

    pub(super) fn precondition_failed() -> Self {
        let detail = "What is there is not what `If-Match` names: it has changed. Fetch it anew.";
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            detail,
        )
    }

    pub(super) fn unsatisfiable(size: u64) -> Self {
        let detail = format!("There are {size} bytes, and the range lies behind them.");
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range-not-satisfiable",
            detail,
        )
        .with(CONTENT_RANGE, &format!("bytes */{size}"))
    }

    /// A task or thread of the server's own is gone. What a panic had to say is not repeated: it may hold anything.
    #[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
    pub(super) fn abandoned(error: tokio::task::JoinError) -> Self {
        let cause = if error.is_panic() {
            "a task panicked"
        } else {
            "a task was cancelled"
        };
        Self::internal(std::io::Error::other(cause))
    }

    /// A defect of the server's own.
    pub(super) fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        let detail = "The server failed. Nothing was kept; try again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).because(cause)
    }

    /// Logs what the operator has to know of. What clients do wrong is no news.
    pub(super) fn log(&self, route: &'static str) {
        let status = self.status.as_u16();
        let cause = self.cause.as_deref().map(|cause| cause as &dyn StdError);
        let is_away = self.code == STORE_UNAVAILABLE;
        if self.status.is_server_error() && self.cause.is_some() && !(is_away && was_told()) {
            tracing::error!(route, status, code = self.code, cause, "a request failed");
        } else {
            tracing::debug!(
                route,
                status,
                code = self.code,
                cause,
                "a request was refused"
            );
        }
    }

    /// The answer, in the form that the client prefers.
    pub(super) fn into_response(self, app: &App, head: &Parts) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut response =
            if Form::preferred(&head.headers, &[Form::Json, Form::Html]) == Form::Html {
                page::Reader::of(app, head)
                    .at(self.link.as_deref())
                    .problem(self.code, &self.detail)
            } else {
                let (kind, members) = match self.kind {
                    Some(kind) => (format!("{TYPES}{}", kind.name).into(), kind.members),
                    None => ("about:blank".into(), Vec::new()),
                };
                let document = Document {
                    r#type: kind,
                    title,
                    status: self.status.as_u16(),
                    code: self.code,
                    detail: &self.detail,
                    members: members.into_iter().collect(),
                };
                let mut text = serde_json::to_vec(&document).expect("a problem is plain data");
                text.push(b'\n');
                respond_with("application/problem+json", text)
            };
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl BodyError {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            BodyError::Stalled(_) | BodyError::TooLong(_) => {
                (StatusCode::REQUEST_TIMEOUT, "timeout")
            }
            BodyError::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, "too-slow"),
            BodyError::Broken(_) | BodyError::CutOff => {
                (StatusCode::BAD_REQUEST, "body-incomplete")
            }
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let detail = format!("Nothing was kept: {error}.");
        Self::of_body(error, detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(),
            StoreError::Full { .. } => {
                let detail = "The server has no room left. Nothing was kept; tell whoever runs it, and try again later.";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "store-full", detail).because(error)
            }
            StoreError::QuotaReached => {
                let detail = "The server keeps as much as it may. Nothing was kept; tell whoever runs it, and try again later.";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, QUOTA_REACHED, detail)
            }
            StoreError::Unrecorded => Self::audit_unavailable(),
            error @ StoreError::Unavailable { .. } => {
                let detail = "What stores the uploads does not answer the server. Nothing was kept; try again in a moment.";
                Self::store_unavailable(detail, error)
            }
            StoreError::Overtaken => Self::taken_over(),
            StoreError::Replaced => {
                let detail = "It was sealed anew or deleted in this moment: ask again.";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "replaced", detail).with(RETRY_AFTER, "1")
            }
            error @ StoreError::Unsettled { .. } => {
                let detail = "The server failed while it made this visible. It may be stored, whole or, of several files, \
                              some of them: ask whoever runs it before you send it again.";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "unsettled", detail).because(error)
            }
            error => Self::internal(error),
        }
    }
}

impl From<ReadError> for Problem {
    /// Every failure to open is the same to the caller; the log knows more.
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            error => Self::does_not_open().because(error),
        }
    }
}

impl From<ClientSealedError> for Problem {
    fn from(error: ClientSealedError) -> Self {
        let code = match error {
            ClientSealedError::NotAge => "not-age",
            ClientSealedError::NotForUs => "not-sealed-to-us",
        };
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            code,
            format!("Nothing was kept: {error}."),
        )
    }
}

impl From<FormError> for Problem {
    fn from(error: FormError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed-form",
            format!("{error}"),
        )
    }
}

impl From<MultipartError> for Problem {
    fn from(error: MultipartError) -> Self {
        use MultipartError as E;
        let (status, code) = match error {
            E::MissingBoundary => (StatusCode::BAD_REQUEST, "missing-boundary"),
            E::DuplicateBoundary => (StatusCode::BAD_REQUEST, "duplicate-boundary"),
            E::TooManyParts => (StatusCode::PAYLOAD_TOO_LARGE, "too-many-parts"),
            E::PartHeadersTooLarge => (StatusCode::BAD_REQUEST, "part-headers-too-large"),
            E::NameTooLong => (StatusCode::BAD_REQUEST, "name-too-long"),
            E::Truncated => (StatusCode::BAD_REQUEST, "truncated-form"),
            _ => (StatusCode::BAD_REQUEST, "malformed-form"),
        };
        Self::new(status, code, format!("Nothing was kept: {error}."))
    }
}

#[cfg(test)]
mod tests;
