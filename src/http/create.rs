//! Uploads coming in whole: forms, raw bodies, `PUT`, and what the client sealed itself.

use std::sync::Arc;
use std::time::SystemTime;

use data_encoding::BASE64;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::access::refuse_cross_site;
use super::body::{RequestBody, append};
use super::digest_fields::{self, CONTENT_DIGEST, REPR_DIGEST};
use super::form::disposition_filename;
use super::multipart::{self, Boundary, Event, PartHead};
use super::negotiate::Form;
use super::problem::Problem;
use super::resumable::{draft, tus};
use super::{App, Response, json, page};
use crate::store::UploadId;
use crate::upload::{
    Algorithm, ClientName, ClientSealedCheck, ExpectedDigest, Kind, NewUpload, Receipt, Received,
    Receiver, is_client_sealed,
};

/// The receipts of one form.
#[derive(Serialize)]
pub(super) struct Submission {
    pub(super) submission: UploadId,
    pub(super) uploads: Vec<Receipt>,
}

/// `POST /uploads`: tus, the draft, a form, or else a raw body.
pub(super) async fn from_post(
    app: &Arc<App>,
    head: &Parts,
    body: RequestBody,
) -> Result<Response, Problem> {
    let headers = &head.headers;
    if tus::is_spoken(headers) {
        return tus::create(app, head, body).await;
    }
    let version = draft::Version::of(headers);
    if version.completes(headers) == Some(false) {
        return draft::create(app, head, None, body, version).await;
    }
    let content_type = text_header(headers, CONTENT_TYPE);
    let boundary = content_type.map_or(Ok(None), Boundary::from_content_type)?;
    let permit = admit(app, head, &body)?;
    let Some(boundary) = boundary else {
        let name = match headers.get(CONTENT_DISPOSITION) {
            Some(value) => disposition_filename(value.as_bytes())?.map(ClientName::new),
            None => None,
        };
        let new = new_file(app, name, content_type)?;
        return receive_alone(app, headers, body, new, permit).await;
    };
    let task = receive_form(Arc::clone(app), body, boundary, permit);
    let submission = run_to_the_end(app, task).await?;
    let mut response = match Form::preferred(headers, &[Form::Json, Form::Html]) {
        Form::Html => page::receipt(&submission),
        _ => json(&submission),
    };
    *response.status_mut() = StatusCode::CREATED;
    if version.completes(headers) == Some(true) {
        version.add_completeness(response.headers_mut(), true);
    }
    Ok(response)
}

/// `PUT /uploads/{name}`: the draft, or else a raw body.
pub(super) async fn from_put(
    app: &Arc<App>,
    head: &Parts,
    name: Option<ClientName>,
    body: RequestBody,
) -> Result<Response, Problem> {
    let headers = &head.headers;
    let version = draft::Version::of(headers);
    if version.completes(headers) == Some(false) {
        return draft::create(app, head, name, body, version).await;
    }
    let permit = admit(app, head, &body)?;
    let new = new_file(app, name, text_header(headers, CONTENT_TYPE))?;
    receive_alone(app, headers, body, new, permit).await
}

/// The right to bring an upload, for as long as it lives.
pub(super) type Permit = tokio::sync::OwnedSemaphorePermit;

/// Everything that can refuse an upload before its body is asked for.
pub(super) fn admit(app: &App, head: &Parts, body: &RequestBody) -> Result<Permit, Problem> {
    refuse_cross_site(app, &head.method, &head.headers)?;
    app.access.uploader(&head.headers)?;
    body.check_announced()?;
    app.upload_permit()
}

/// Refuses a name that is too long to be kept.
pub(super) fn check_name(app: &App, name: Option<&ClientName>) -> Result<(), Problem> {
    let limit = app.limits.max_name;
    if name.is_some_and(|name| name.as_bytes().len() > limit) {
        return Err(Problem::name_too_long(limit));
    }
    Ok(())
}

fn new_file(
    app: &App,
    name: Option<ClientName>,
    media_type: Option<&str>,
) -> Result<NewUpload, Problem> {
    check_name(app, name.as_ref())?;
    Ok(NewUpload {
        submission: None,
        kind: Kind::File,
        name,
        media_type: media_type.map(str::to_owned),
    })
}

/// What a client says of a body that is one upload, and wants to be told.
struct Claims {
    digests: Vec<ExpectedDigest>,
    wants: Option<Algorithm>,
    length: Option<u64>,
}

impl Claims {
    fn of(headers: &HeaderMap, body: &RequestBody) -> Result<Self, Problem> {
        // Of a whole upload in one body, the content is the representation.
        let mut digests = digest_fields::digests(headers, CONTENT_DIGEST)?;
        digests.extend(digest_fields::digests(headers, REPR_DIGEST)?);
        let version = draft::Version::of(headers);
        let length = version
            .completes(headers)
            .and_then(|_| draft::length(headers));
        if length.is_some_and(|length| body.announced().is_some_and(|size| size != length)) {
            return Err(Problem::inconsistent_length());
        }
        Ok(Self {
            digests,
            wants: digest_fields::wanted(headers)?,
            length,
        })
    }

    fn with_sha512(&self) -> bool {
        let expected = self.digests.iter().map(|digest| digest.algorithm);
        expected
            .chain(self.wants)
            .any(|algorithm| algorithm == Algorithm::Sha512)
    }

    fn verify(&self, received: &Received) -> Result<(), Problem> {
        if self.length.is_some_and(|length| length != received.size()) {
            return Err(Problem::inconsistent_length());
        }
        Ok(received.verify(&self.digests)?)
    }

    /// `Repr-Digest`, where it is wanted.
    fn told(&self, received: &Received) -> Option<HeaderValue> {
        let algorithm = self.wants?;
        digest_fields::field_value((algorithm, received.digest(algorithm)?))
    }
}

/// A body that is one upload.
async fn receive_alone(
    app: &Arc<App>,
    headers: &HeaderMap,
    mut body: RequestBody,
    new: NewUpload,
    permit: Permit,
) -> Result<Response, Problem> {
    let claims = Claims::of(headers, &body)?;
    let task = {
        let app = Arc::clone(app);
        async move {
            let _permit = permit;
            let mut file = IncomingFile::new(&app, new, claims.with_sha512());
            while let Some(data) = body.next().await? {
                file.write(&data).await?;
            }
            let received = file.finish().await?;
            claims.verify(&received)?;
            let digest = claims.told(&received);
            Ok((publish(&app, vec![received]).await?, digest))
        }
    };
    let (receipts, digest) = run_to_the_end(app, task).await?;
    let [receipt] = <[Receipt; 1]>::try_from(receipts).map_err(|_| Problem::not_found())?;
    let mut about = HeaderMap::new();
    if let Ok(location) = HeaderValue::from_str(&format!("/uploads/{}", receipt.id)) {
        about.insert(LOCATION, location);
    }
    about.extend(digest.map(|digest| (HeaderName::from_static(REPR_DIGEST), digest)));
    let version = draft::Version::of(headers);
    if version.completes(headers).is_some() {
        version.add_completeness(&mut about, true);
        draft::add_offset(&mut about, receipt.size);
    }
    let mut response = match Form::preferred(headers, &[Form::Json, Form::Html]) {
        Form::Html => page::receipt(&Submission {
            submission: receipt.submission,
            uploads: vec![receipt],
        }),
        _ => json(&receipt),
    };
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().extend(about);
    Ok(response)
}

/// Runs an upload as a task of its own: it ends in order, and what went wrong in the server is logged, also where the
/// connection is gone and nobody waits for the answer any more.
pub(super) async fn run_to_the_end<T: Send + 'static>(
    app: &App,
    task: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let (answer, answered) = oneshot::channel();
    app.tasks.spawn(async move {
        if let Err(Err(problem)) = answer.send(task.await) {
            problem.log("/uploads");
        }
    });
    answered.await.map_err(Problem::internal)?
}

async fn publish(app: &Arc<App>, received: Vec<Received>) -> Result<Vec<Receipt>, Problem> {
    let sizes: u64 = received.iter().map(Received::size).sum();
    let receipts = app.blocking(|app| app.uploads.publish(received)).await??;
    app.metrics.published(receipts.len(), sizes);
    Ok(receipts)
}

/// One file on its way in, checked where the client says that it sealed it.
struct IncomingFile<'a> {
    receiver: Receiver,
    check: Option<ClientSealedCheck<'a>>,
}

impl<'a> IncomingFile<'a> {
    fn new(app: &'a App, new: NewUpload, with_sha512: bool) -> Self {
        let sealed = new.media_type.as_deref().is_some_and(is_client_sealed);
        Self {
            receiver: Receiver::new(&app.uploads, new, with_sha512),
            check: sealed.then(|| ClientSealedCheck::new(app.uploads.recipients())),
        }
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Problem> {
        if let Some(check) = &mut self.check {
            check.update(data)?;
        }
        Ok(self.receiver.write(data).await?)
    }

    async fn finish(self) -> Result<Received, Problem> {
        if let Some(check) = self.check {
            check.finish()?;
        }
        Ok(self.receiver.finish().await?)
    }
}

/// A part of a form on its way in.
enum Part<'a> {
    /// Between parts.
    None,
    File(Box<IncomingFile<'a>>),
    /// What a browser sends for a file field that was left empty; a file all the same if it holds something.
    Unnamed(PartHead),
    Text {
        name: Vec<u8>,
        value: Zeroizing<Vec<u8>>,
    },
}

/// One text field, as the upload of a form's fields lists it.
#[derive(Serialize)]
struct Field {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Where the value is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Drop for Field {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.name.zeroize();
        self.value.zeroize();
        self.base64.zeroize();
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    fields: &'a [Field],
}

/// A form as it comes in: its files one after another, its texts together in the end.
struct FormReceiver<'a> {
    app: &'a App,
    submission: UploadId,
    received: Vec<Received>,
    fields: Vec<Field>,
    /// Bytes of the texts, and of all names and media types: what is held in memory until the form ends.
    held: usize,
    part: Part<'a>,
}

async fn receive_form(
    app: Arc<App>,
    mut body: RequestBody,
    boundary: Boundary,
    _permit: Permit,
) -> Result<Submission, Problem> {
    let limits = multipart::Limits {
        parts: app.limits.max_parts,
        part_header_bytes: app.limits.max_part_headers,
        name_bytes: app.limits.max_name,
    };
    let mut parser = multipart::Parser::new(boundary, limits);
    let mut form = FormReceiver {
        app: &app,
        submission: UploadId::generate(SystemTime::now()),
        received: Vec::new(),
        fields: Vec::new(),
        held: 0,
        part: Part::None,
    };
    loop {
        match parser.next()? {
            Event::NeedMore => match body.next().await? {
                Some(frame) => parser.feed(frame),
                None => parser.finish(),
            },
            Event::Part(head) => form.begin(head)?,
            Event::Data(data) => form.write(&data).await?,
            Event::PartEnd => form.end().await?,
            Event::End => break,
        }
    }
    // The form is whole only when the body is.
    while body.next().await?.is_some() {}
    form.publish(&app).await
}

impl<'a> FormReceiver<'a> {
    fn begin(&mut self, head: PartHead) -> Result<(), Problem> {
        let names = [
            &head.filename.as_deref(),
            &head.content_type.as_deref().map(str::as_bytes),
        ];
        let names = names
            .iter()
            .filter_map(|name| name.map(<[u8]>::len))
            .sum::<usize>();
        self.hold(head.name.len() + names)?;
        self.part = match &head.filename {
            None => Part::Text {
                name: head.name,
                value: Zeroizing::new(Vec::new()),
            },
            Some(name) if name.is_empty() => Part::Unnamed(head),
            Some(_) => Part::File(Box::new(self.file(head))),
        };
        Ok(())
    }

    /// Counts what is held in memory until the form ends.
    fn hold(&mut self, size: usize) -> Result<(), Problem> {
        self.held += size;
        if self.held > self.app.limits.max_fields {
            return Err(Problem::fields_too_large(self.app.limits.max_fields));
        }
        Ok(())
    }

    fn file(&self, head: PartHead) -> IncomingFile<'a> {
        let name = head
            .filename
            .filter(|name| !name.is_empty())
            .map(ClientName::new);
        let new = NewUpload {
            submission: Some(self.submission),
            kind: Kind::File,
            name,
            media_type: head.content_type,
        };
        IncomingFile::new(self.app, new, false)
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Problem> {
        if let Part::Unnamed(_) = self.part
            && let Part::Unnamed(head) = std::mem::replace(&mut self.part, Part::None)
        {
            self.part = Part::File(Box::new(self.file(head)));
        }
        if matches!(self.part, Part::Text { .. }) {
            self.hold(data.len())?;
        }
        match &mut self.part {
            Part::File(file) => file.write(data).await?,
            Part::Text { value, .. } => append(value, data),
            Part::None | Part::Unnamed(_) => {}
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), Problem> {
        match std::mem::replace(&mut self.part, Part::None) {
            Part::File(file) => self.received.push(file.finish().await?),
            Part::Text { name, value } => {
                let text = std::str::from_utf8(&value).ok().map(str::to_owned);
                let base64 = text.is_none().then(|| BASE64.encode(&value));
                let name = String::from_utf8_lossy(&name).into_owned();
                self.fields.push(Field {
                    name,
                    value: text,
                    base64,
                });
            }
            Part::None | Part::Unnamed(_) => {}
        }
        Ok(())
    }

    async fn publish(mut self, app: &Arc<App>) -> Result<Submission, Problem> {
        if !self.fields.is_empty() {
            // Of the right size at once, escapes counted in: growing would leave copies behind.
            let mut text = Zeroizing::new(Vec::with_capacity(
                self.held * 6 + self.fields.len() * 32 + 16,
            ));
            serde_json::to_writer(
                &mut *text,
                &Fields {
                    fields: &self.fields,
                },
            )
            .map_err(Problem::internal)?;
            let mut receiver = Receiver::new(
                &app.uploads,
                NewUpload {
                    submission: Some(self.submission),
                    kind: Kind::Fields,
                    name: None,
                    media_type: Some("application/json".to_owned()),
                },
                false,
            );
            receiver.write(&text).await?;
            self.received.push(receiver.finish().await?);
        }
        if self.received.is_empty() {
            return Err(Problem::empty_form());
        }
        let uploads = publish(app, self.received).await?;
        Ok(Submission {
            submission: self.submission,
            uploads,
        })
    }
}

pub(super) fn text_header(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
