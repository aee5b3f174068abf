//! What the answers of a server mean: how far an upload is, its receipt, or what to do about a failure.

use std::time::{Duration, SystemTime};

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sfv::{Item, Parser};

use crate::cli::Exit;
use crate::cli::client::endpoint::UploadUrl;
use crate::cli::client::http_client::{Answer, HttpError};
use crate::cli::client::problem::{retry_after, said};

/// Whether a request or an answer is about the whole upload.
pub(super) const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
/// How many bytes the server has.
pub(super) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Why a request did not do what it should. Holds neither a token nor an upload URL.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// There was no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server will not take anything from whoever this is.
    #[error(
        "the server wants a token that it knows (401): give --token-file FILE, or set SEALSLOT_TOKEN"
    )]
    Unauthorized,
    /// The creation URL leads nowhere.
    #[error(
        "no uploads are taken at this path ({0}): give https://HOST/, or the link that you were sent"
    )]
    NoEndpoint(StatusCode),
    /// The upload whose submission this one was to join is not known any more.
    #[error("the server does not know the upload any more that others were to join")]
    UnknownSubmission,
    /// The upload is not known any more.
    #[error("the server does not know this upload any more ({0})")]
    Gone(StatusCode),
    /// Anything else but success.
    #[error("the server answered {status}{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Refused {
        /// What kind of refusal.
        status: StatusCode,
        /// How the server explains it.
        said: Option<String>,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
        /// Whether the same request can succeed later.
        passing: bool,
    },
    /// Success, but none that helps.
    #[error("the server takes no resumable uploads: send the file with `curl -T FILE`")]
    NotResumable,
    /// An answer that a Sealslot server would not give.
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(&'static str),
}

/// What to do about an error.
pub(super) enum Verdict {
    /// Try again, after so long where the server said it.
    Retry(Option<Duration>),
    /// Begin anew.
    Gone,
    /// Nothing.
    Final,
}

impl RequestError {
    /// Whether the server found something wrong with this request in particular.
    pub(super) fn is_about_request(&self) -> bool {
        matches!(self, Self::Refused { passing: false, .. })
    }

    /// What it makes of the command where it was the end.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Unauthorized => Exit::Refused,
            Self::NoEndpoint(status) | Self::Refused { status, .. } => Exit::of_status(*status),
            Self::Http(error) if error.is_passing() => Exit::Later,
            // Of an upload, 410 says no more than that it is not there.
            Self::Http(_)
            | Self::Gone(_)
            | Self::UnknownSubmission
            | Self::NotResumable
            | Self::Nonsense(_) => Exit::Other,
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Http(error) if error.is_passing() => Verdict::Retry(None),
            Self::Refused {
                passing: true,
                retry_after,
                ..
            } => Verdict::Retry(*retry_after),
            Self::Gone(_) => Verdict::Gone,
            _ => Verdict::Final,
        }
    }
}

/// Proof that an upload is sealed and on disk, as the server gave it. Without `Debug`: it holds a name.
pub(super) struct Receipt {
    /// On one line.
    pub(super) json: String,
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) name: Option<String>,
}

impl Receipt {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let json = std::str::from_utf8(body).ok()?.trim();
        let value: Value = serde_json::from_str(json).ok()?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            // Within JSON, line breaks stand between values only.
            json: json.replace(['\r', '\n'], " "),
            id: text("id")?,
            size: value.get("size")?.as_u64()?,
            sha256: text("sha256")?,
            name: text("name"),
        })
    }
}

/// The answer from an upload URL, if it is a success.
pub(super) fn accepted(answer: Answer, upload: &UploadUrl) -> Result<Answer, RequestError> {
    match answer.status {
        status if status.is_success() => Ok(answer),
        status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => Err(RequestError::Gone(status)),
        // The offset was wrong, or another request of ours was in between: asking again shows where to go on.
        StatusCode::CONFLICT => Err(refused(&answer, upload.path(), true)),
        _ => Err(refused(&answer, upload.path(), false)),
    }
}

pub(super) fn refused(answer: &Answer, path: &str, conflict: bool) -> RequestError {
    let status = answer.status;
    let passing = conflict || Exit::of_status(status) == Exit::Later;
    RequestError::Refused {
        status,
        said: said(answer, path),
        retry_after: retry_after(&answer.headers, SystemTime::now()),
        passing,
    }
}

/// Whether a problem is that of an upload link: that there is none, or none any more.
pub(super) fn is_of_link(answer: &Answer) -> bool {
    code(answer).is_some_and(|code| code.starts_with("link-") || code == "no-such-link")
}

/// Whether it is the problem with this code.
pub(super) fn has_code(answer: &Answer, expected: &str) -> bool {
    code(answer).is_some_and(|code| code == expected)
}

fn code(answer: &Answer) -> Option<String> {
    let problem: Value = serde_json::from_slice(&answer.body).ok()?;
    Some(problem.get("code")?.as_str()?.to_owned())
}

/// `Upload-Complete`.
pub(super) fn is_complete(headers: &HeaderMap) -> Option<bool> {
    item(headers, &COMPLETE)?.bare_item.as_boolean()
}

/// `Upload-Offset`.
pub(super) fn offset(headers: &HeaderMap) -> Option<u64> {
    let offset = item(headers, &OFFSET)?.bare_item.as_integer()?;
    u64::try_from(i64::from(offset)).ok()
}

/// A structured field (RFC 9651).
fn item(headers: &HeaderMap, name: &HeaderName) -> Option<Item> {
    Parser::new(headers.get(name)?.as_bytes()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::problem::MAX_SAID;
    use http::header::{CONTENT_TYPE, RETRY_AFTER};

    fn answer(status: u16, headers: &[(HeaderName, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.into(),
        }
    }

    fn upload() -> UploadUrl {
        "/uploads/id.secret".parse().unwrap()
    }

    #[test]
    fn what_passes_is_tried_again() {
        for status in [408, 409, 425, 429, 500, 502, 503, 507] {
            let error = accepted(answer(status, &[], ""), &upload()).err().unwrap();
            assert!(matches!(error.verdict(), Verdict::Retry(None)), "{status}");
        }
        for status in [301, 400, 401, 403, 413, 415, 422] {
            let error = accepted(answer(status, &[], ""), &upload()).err().unwrap();
            assert!(matches!(error.verdict(), Verdict::Final), "{status}");
        }
        for status in [404, 410] {
            let error = accepted(answer(status, &[], ""), &upload()).err().unwrap();
            assert!(matches!(error.verdict(), Verdict::Gone), "{status}");
        }
        assert!(matches!(
            refused(&answer(409, &[], ""), "/uploads", false).verdict(),
            Verdict::Final
        ));
    }

    #[test]
    fn the_server_says_when_to_come_back() {
        let date = "Fri, 01 Jan 2100 00:00:10 GMT";
        let now = httpdate::parse_http_date("Fri, 01 Jan 2100 00:00:00 GMT").unwrap();
        for (value, expected) in [
            ("7", Some(7)),
            (date, Some(10)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = answer(503, &[(RETRY_AFTER, value)], "").headers;
            let expected = expected.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now), expected, "{value}");
        }
    }

    #[test]
    fn an_explanation_is_passed_on_unless_it_tells_the_url() {
        let problem = |body: &str| answer(400, &[(CONTENT_TYPE, "application/problem+json")], body);
        let said_of = |body: &str| said(&problem(body), upload().path());
        let detail = said_of(r#"{"title":"t","detail":"No room left."}"#);
        assert_eq!(detail.as_deref(), Some("No room left"));
        assert_eq!(said_of(r#"{"title":"t"}"#).as_deref(), Some("t"));
        assert_eq!(said_of("{}"), None);
        assert_eq!(said_of("<html>"), None);
        assert_eq!(said_of(r#"{"detail":"no /uploads/id.secret here"}"#), None);
        let token = "0123456789abcdefghijklmnopqrstuv";
        for path in ["", "/", "?lang=ko", "/a"].map(|end| format!("/d/{token}{end}")) {
            let answer = problem(&format!(r#"{{"detail":"no {token}"}}"#));
            assert_eq!(said(&answer, &path), None, "{path}");
            let answer = problem(r#"{"detail":"d uploads lang"}"#);
            assert!(said(&answer, &path).is_some());
        }
        let long = said_of(&format!(r#"{{"detail":"{}"}}"#, "ü".repeat(9000)));
        assert_eq!(long.unwrap().chars().count(), MAX_SAID);
        let html = answer(400, &[(CONTENT_TYPE, "text/html")], r#"{"detail":"x"}"#);
        assert_eq!(said(&html, "/uploads"), None);
    }

    #[test]
    fn a_receipt_stays_on_one_line() {
        let receipt = Receipt::read(
            b"{\n \"id\": \"abc\",\r\n \"size\": 5, \"sha256\": \"00\", \"name\": \"a\\nb\"}\n",
        )
        .unwrap();
        assert_eq!(receipt.json.lines().count(), 1);
        assert_eq!(receipt.name.as_deref(), Some("a\nb"));
        assert!(serde_json::from_str::<Value>(&receipt.json).is_ok());
        for body in ["", "{}", r#"{"id":"a","size":-1,"sha256":"0"}"#] {
            assert!(Receipt::read(body.as_bytes()).is_none());
        }
    }

    #[test]
    fn fields_are_read_as_they_are_written() {
        for (value, expected) in [
            ("?1", Some(true)),
            (" ?0 ", Some(false)),
            ("?1;a=b", Some(true)),
            ("1", None),
            ("true", None),
        ] {
            let headers = answer(200, &[(COMPLETE, value)], "").headers;
            assert_eq!(is_complete(&headers), expected, "{value}");
        }
        for (value, expected) in [("0", Some(0)), ("12;a", Some(12)), ("-1", None), ("", None)] {
            let headers = answer(200, &[(OFFSET, value)], "").headers;
            assert_eq!(offset(&headers), expected, "{value}");
        }
    }
}
