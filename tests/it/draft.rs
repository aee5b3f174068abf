//! What the IETF draft "Resumable Uploads for HTTP" demands of a server, in its text of interop version 8 and in what
//! differs for the older versions that are still in the field: a module for each section of it, a test for each demand.
//! Some tests hold us to more than that: to what we promise.

mod append;
mod cancellation;
mod concurrency;
mod creation;
mod interim;
mod offset_retrieval;
mod older_versions;
mod state;

use crate::client::Answer;
use crate::flight::Flight;
use crate::resumable::Client;

pub(crate) const PARTIAL_UPLOAD: (&str, &str) = ("content-type", "application/partial-upload");
pub(crate) const VERSION: (&str, &str) = ("upload-draft-interop-version", "8");
/// More is to come, or not.
pub(crate) const MORE: (&str, &str) = ("upload-complete", "?0");
pub(crate) const LAST: (&str, &str) = ("upload-complete", "?1");

const PROBLEMS: &str = "https://iana.org/assignments/http-problem-types#";

/// A refusal that has one of the draft's problem types.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, name: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["type"], format!("{PROBLEMS}{name}"), "{problem}");
    assert_eq!(problem["status"], status, "{problem}");
    assert!(problem["code"].is_string(), "{problem}");
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    let status = answer.status;
    assert!((400..500).contains(&status), "{status} {}", answer.text());
}

impl Client<'_> {
    #[track_caller]
    pub(crate) fn draft(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let headers = [&[VERSION], headers].concat();
        self.request(method, path, &headers, body)
    }

    /// Creates an upload of which more is to come; gives its URL.
    #[track_caller]
    pub(crate) fn draft_create(&self, headers: &[(&str, &str)], body: &[u8]) -> String {
        let headers = [&[MORE], headers].concat();
        let answer = self.draft("POST", "/uploads", &headers, body).is(201);
        answer.header("location").to_owned()
    }

    #[track_caller]
    pub(crate) fn draft_new(&self) -> String {
        self.draft_create(&[], b"")
    }

    /// Appends; `complete` is [`MORE`] or [`LAST`].
    #[track_caller]
    pub(crate) fn append(
        &self,
        url: &str,
        offset: usize,
        complete: (&str, &str),
        body: &[u8],
    ) -> Answer {
        self.append_with(url, offset, &[complete], body)
    }

    #[track_caller]
    pub(crate) fn append_with(
        &self,
        url: &str,
        offset: usize,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let offset = offset.to_string();
        let headers = [&[PARTIAL_UPLOAD, ("upload-offset", &offset)], headers].concat();
        self.draft("PATCH", url, &headers, body)
    }

    /// None where the server gives no answer, as it may to a request that another one has ended.
    fn try_append(
        &self,
        url: &str,
        offset: usize,
        complete: (&str, &str),
        body: &[u8],
    ) -> Option<Answer> {
        let offset = offset.to_string();
        let headers = [
            VERSION,
            PARTIAL_UPLOAD,
            ("upload-offset", &offset),
            complete,
        ];
        self.try_request("PATCH", url, &headers, body)
    }

    /// Begins to append.
    #[track_caller]
    pub(crate) fn begin_append(
        &self,
        url: &str,
        offset: usize,
        headers: &[(&str, &str)],
    ) -> Flight {
        let offset = offset.to_string();
        let all = [
            &[VERSION, PARTIAL_UPLOAD, ("upload-offset", &offset)],
            headers,
        ];
        self.begin("PATCH", url, &all.concat())
    }

    #[track_caller]
    pub(crate) fn draft_head(&self, url: &str) -> Answer {
        self.draft("HEAD", url, &[], b"").is(204)
    }

    #[track_caller]
    pub(crate) fn draft_offset(&self, url: &str) -> usize {
        let head = self.draft_head(url);
        head.header("upload-offset").parse().unwrap()
    }

    /// The upload is as it was: not complete, with this offset.
    #[track_caller]
    pub(crate) fn is_at(&self, url: &str, offset: usize) {
        let head = self.draft_head(url);
        assert_eq!(head.header("upload-offset"), offset.to_string());
        assert_eq!(head.header("upload-complete"), "?0");
        assert!(!self.is_listed(url));
    }
}
