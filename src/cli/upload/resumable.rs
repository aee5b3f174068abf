//! The client's side of the IETF draft "Resumable Uploads for HTTP", interop version 8: create, ask, append, cancel.

use std::fmt::Write as _;

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName, LOCATION,
};
use http::{HeaderValue, Method, Request, StatusCode};

use super::answers::{
    COMPLETE, OFFSET, Receipt, RequestError, accepted, has_code, is_complete, is_of_link, offset,
    refused,
};
use crate::cli::client::body::Body;
use crate::cli::client::endpoint::{Endpoint, UploadUrl};
use crate::cli::client::http_client::{Answer, HttpClient};
use crate::cli::client::problem::text;

const INTEROP_VERSION: HeaderName = HeaderName::from_static("upload-draft-interop-version");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// The upload whose submission a new one joins.
const SUBMISSION: HeaderName = HeaderName::from_static("sealslot-submission");

/// How far an upload has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) offset: u64,
    pub(super) complete: bool,
}

/// What came of appending.
pub(super) enum Appended {
    /// More may follow.
    UpTo(u64),
    /// The upload is complete.
    Finished(Receipt),
}

/// What an upload is created with. Without `Debug`: it holds a name and a token.
pub(super) struct Creation {
    /// The file's name, in whatever encoding.
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Whether it is an age file that was made here.
    pub(super) sealed: bool,
    /// `Bearer` and the token.
    pub(super) authorization: Option<HeaderValue>,
}

/// One server that takes resumable uploads.
pub(super) struct Resumable {
    endpoint: Endpoint,
    client: HttpClient,
}

impl Resumable {
    pub(super) fn new(endpoint: Endpoint, client: HttpClient) -> Self {
        Self { endpoint, client }
    }

    /// Creates an upload without sending anything of it yet, so that its URL is known whatever happens to the rest.
    /// Where there is an `anchor`, the upload joins its submission.
    pub(super) async fn create(
        &mut self,
        creation: &Creation,
        anchor: Option<&UploadUrl>,
    ) -> Result<UploadUrl, RequestError> {
        let mut request = request(Method::POST, self.endpoint.path(), Body::empty())?;
        let headers = request.headers_mut();
        headers.insert(COMPLETE, HeaderValue::from_static("?0"));
        if let Some(size) = creation.size {
            headers.insert(LENGTH, size.into());
        }
        if let Some(name) = &creation.name {
            headers.insert(CONTENT_DISPOSITION, disposition(name));
        }
        if creation.sealed {
            // The server looks whether it is one, for a key of its own.
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/age"));
        }
        if let Some(anchor) = anchor {
            let url = HeaderValue::from_str(anchor.path());
            let mut url = url.map_err(|_| RequestError::Nonsense("its upload URL is malformed"))?;
            url.set_sensitive(true);
            headers.insert(SUBMISSION, url);
        }
        if let Some(authorization) = &creation.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let path = self.endpoint.path().to_owned();
        let answer = self.client.send(request).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => return Err(RequestError::Unauthorized),
            StatusCode::CONFLICT if has_code(&answer, "unknown-submission") => {
                return Err(RequestError::UnknownSubmission);
            }
            // What a server says of its own links is said better.
            _ if is_of_link(&answer) => return Err(refused(&answer, &path, false)),
            status
            @ (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE) => {
                return Err(RequestError::NoEndpoint(status));
            }
            status if !status.is_success() => return Err(refused(&answer, &path, false)),
            _ => {}
        }
        // Without this header the server has taken the empty body for the whole.
        if is_complete(&answer.headers) != Some(false) {
            return Err(RequestError::NotResumable);
        }
        let location = text(&answer.headers, &LOCATION).ok_or(RequestError::NotResumable)?;
        let elsewhere = RequestError::Nonsense("its upload URL is on another server");
        self.endpoint.upload_url(location).ok_or(elsewhere)
    }

    /// Asks how far an upload has come.
    pub(super) async fn standing(&mut self, upload: &UploadUrl) -> Result<Standing, RequestError> {
        let answer = self.ask(Method::HEAD, upload, Body::empty()).await?;
        let complete = is_complete(&answer.headers);
        let offset = offset(&answer.headers);
        match (offset, complete) {
            (Some(offset), Some(complete)) => Ok(Standing { offset, complete }),
            _ => Err(RequestError::Nonsense(
                "it does not say how far the upload has come",
            )),
        }
    }

    /// Sends what follows `offset`, and where it is the `last` of it, gets the receipt.
    pub(super) async fn append(
        &mut self,
        upload: &UploadUrl,
        offset_before: u64,
        last: bool,
        body: Body,
    ) -> Result<Appended, RequestError> {
        let mut request = request(Method::PATCH, upload.path(), body)?;
        let headers = request.headers_mut();
        let partial = HeaderValue::from_static("application/partial-upload");
        headers.insert(CONTENT_TYPE, partial);
        headers.insert(OFFSET, offset_before.into());
        let complete = HeaderValue::from_static(if last { "?1" } else { "?0" });
        headers.insert(COMPLETE, complete);
        let answer = self.client.send(request).await?;
        let answer = accepted(answer, upload)?;
        if last {
            return Receipt::read(&answer.body)
                .map(Appended::Finished)
                .ok_or(RequestError::Nonsense("there is no receipt in it"));
        }
        offset(&answer.headers)
            .filter(|offset| *offset > offset_before)
            .map(Appended::UpTo)
            .ok_or(RequestError::Nonsense("it does not say how much arrived"))
    }

    /// Fetches the receipt of a complete upload.
    pub(super) async fn receipt(&mut self, upload: &UploadUrl) -> Result<Receipt, RequestError> {
        let answer = self.ask(Method::GET, upload, Body::empty()).await?;
        Receipt::read(&answer.body).ok_or(RequestError::Nonsense("there is no receipt in it"))
    }

    /// Has the server forget an upload.
    pub(super) async fn cancel(&mut self, upload: &UploadUrl) -> Result<(), RequestError> {
        let answer = self.ask(Method::DELETE, upload, Body::empty()).await;
        answer.map(|_| ())
    }

    async fn ask(
        &mut self,
        method: Method,
        upload: &UploadUrl,
        body: Body,
    ) -> Result<Answer, RequestError> {
        let request = request(method, upload.path(), body)?;
        accepted(self.client.send(request).await?, upload)
    }
}

fn request(method: Method, path: &str, body: Body) -> Result<Request<Body>, RequestError> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(INTEROP_VERSION, 8)
        .header(ACCEPT, "application/json")
        .body(body)
        .map_err(|_| RequestError::Nonsense("its upload URL is malformed"))
}

/// `attachment` with a file name of any bytes (RFC 6266, RFC 8187).
fn disposition(name: &[u8]) -> HeaderValue {
    const UNRESERVED: &[u8] = b"!#$&+-.^_`|~";
    let mut value = String::from("attachment; filename*=UTF-8''");
    for &byte in name {
        if byte.is_ascii_alphanumeric() || UNRESERVED.contains(&byte) {
            value.push(char::from(byte));
        } else {
            let _ = write!(value, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&value).expect("it is printable ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::form::disposition_filename;

    #[test]
    fn every_name_arrives_as_it_is() {
        let every: Vec<u8> = (0..=255).collect();
        for name in [&b"a b.pdf"[..], "Grüße; 100%".as_bytes(), b"'*\"\\", &every] {
            let value = disposition(name);
            let arrived = disposition_filename(value.as_bytes()).unwrap();
            assert_eq!(arrived.as_deref(), Some(name));
        }
        assert_eq!(
            disposition("é.txt".as_bytes()),
            "attachment; filename*=UTF-8''%C3%A9.txt"
        );
    }
}
