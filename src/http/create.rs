//! Uploads coming in whole: forms, raw bodies, `PUT`, and what the client sealed itself.

mod form;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use tokio::sync::oneshot;

use super::access;
use super::body::RequestBody;
use super::call::Call;
use super::digest_fields::{self, CONTENT_DIGEST, REPR_DIGEST};
use super::keep;
use super::limits::Permit;
use super::links;
use super::multipart::Boundary;
use super::negotiate::Form;
use super::problem::Problem;
use super::resumable::{draft, tus};
use super::submission::{self, place_upload};
use super::tus_fields::UploadMetadata;
use super::{App, Response, json};
use crate::grant::{Link, Scope};
use crate::store::{StoreError, UploadId};
use crate::upload::{
    Algorithm, ClientName, ClientSealedCheck, ExpectedDigest, Kind, NewUpload, Receipt, Received,
    Receiver, SessionError, Terms, is_client_sealed, needs_sha512,
};

/// The receipts of one form.
#[derive(Serialize)]
pub(super) struct Submission {
    pub(super) submission: UploadId,
    pub(super) uploads: Vec<Receipt>,
}

/// `POST /uploads`: tus, the draft, a form, or else a raw body.
pub(super) async fn from_post(
    call: Call<'_>,
    door: Door,
    body: RequestBody,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    let headers = &head.headers;
    if tus::is_spoken(headers) {
        return tus::create(call, door, body).await;
    }
    let version = draft::Version::of(headers);
    if version.completes(headers) == Some(false) {
        return draft::create(call, door, None, body, version).await;
    }
    let content_type = text_header(headers, CONTENT_TYPE);
    let boundary = content_type.map_or(Ok(None), Boundary::from_content_type)?;
    let Admission { permit, terms } = admit(call, &door, &body).await?;
    let Some(boundary) = boundary else {
        let new = new_file(app, headers, None, &body, terms)?;
        let new = place_upload(app, headers, &door, &body, new).await?;
        return receive_alone(call, &door, body, new, permit).await;
    };
    submission::refuse(
        headers,
        "A form is a submission by itself: leave Sealslot-Submission and Sealslot-Kind out.",
    )?;
    count(call, &terms)?;
    let form = form::Incoming {
        boundary,
        terms,
        door,
        fields: call.reader().field_names(),
    };
    let max_size = form.terms.max_size;
    let task = form::receive(Arc::clone(app), body, form, permit);
    let received = run_to_the_end(app, task).await;
    let submission = received.map_err(|problem| problem.within(max_size))?;
    let mut response = match Form::preferred(headers, &[Form::Json, Form::Html]) {
        Form::Html => call.reader().receipt(&submission),
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
    call: Call<'_>,
    door: Door,
    name: Option<ClientName>,
    body: RequestBody,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    let headers = &head.headers;
    let version = draft::Version::of(headers);
    if version.completes(headers) == Some(false) {
        return draft::create(call, door, name, body, version).await;
    }
    let Admission { permit, terms } = admit(call, &door, &body).await?;
    let new = new_file(app, headers, name, &body, terms)?;
    let new = place_upload(app, headers, &door, &body, new).await?;
    receive_alone(call, &door, body, new, permit).await
}

/// The way in.
pub(super) enum Door {
    /// `/uploads`
    Uploads,
    /// `/d/{token}`
    Link(Box<Link>),
}

impl Door {
    /// Refuses a file of a kind that is not taken here.
    pub(super) fn check_kind(
        &self,
        name: Option<&ClientName>,
        media_type: Option<&str>,
    ) -> Result<(), Problem> {
        match self {
            Self::Uploads => Ok(()),
            Self::Link(link) => links::check_kind(link, name, media_type),
        }
    }

    /// Refuses what is known to become larger than is taken here.
    pub(super) fn check_size(&self, terms: &Terms, size: Option<u64>) -> Result<(), Problem> {
        let Some(size) = size else {
            return Ok(());
        };
        if size > terms.max_size {
            return Err(Problem::too_large(terms.max_size).within(terms.max_size));
        }
        match self {
            Self::Uploads => Ok(()),
            Self::Link(link) => links::check_left(link, size),
        }
    }

    /// On what terms an upload is taken here.
    fn terms(&self, call: Call<'_>, by: String) -> Result<Terms, Problem> {
        let Call {
            app, head, peer, ..
        } = call;
        let link = match self {
            Self::Uploads => None,
            Self::Link(link) => Some(link),
        };
        let recipients = link.map(|link| link.recipients.clone());
        let keep = [app.limits.keep, link.and_then(|link| link.keep)];
        Ok(Terms {
            by,
            link: link.map(|link| link.id()),
            from: Some(peer.address),
            recipients: recipients.filter(|keys| !keys.is_empty()),
            max_size: link.map_or(app.limits.max_size, |link| links::max_file(app, link)),
            keep: keep::shortest(&head.headers, &keep)?,
        })
    }
}

/// What lets an upload in.
pub(super) struct Admission {
    /// The right to bring it.
    pub(super) permit: Permit,
    /// On what terms it is taken.
    pub(super) terms: Terms,
}

/// Everything that can refuse an upload before its body is asked for.
pub(super) async fn admit(
    call: Call<'_>,
    door: &Door,
    body: &RequestBody,
) -> Result<Admission, Problem> {
    let Call { app, head, .. } = call;
    let by = match door {
        Door::Uploads => {
            // It brings something, whatever the method that it is sent with.
            access::refuse_cross_site(call, &Method::POST)?;
            access::require(call, Scope::Upload).await?.who
        }
        // Whoever knows the link may, and what else a browser adds by itself lets nobody in here.
        Door::Link(link) => {
            let by = format!("link:{}", link.id());
            call.facts.are_of(&by);
            links::check(link, &head.headers)?;
            by
        }
    };
    body.check_announced()?;
    let permit = app.uploaders.permit_for(take_place(call)?, &by)?;
    // Also what later requests will bring.
    let length = draft::length(&head.headers).max(body.announced());
    room(app, length).await??;
    Ok(Admission {
        permit,
        terms: door.terms(call, by)?,
    })
}

/// The same for a request that goes on with an upload.
pub(super) async fn admit_more(call: Call<'_>, body: &RequestBody) -> Result<Permit, Problem> {
    let permit = take_place(call)?;
    body.check_announced()?;
    let room = room(call.app, body.announced()).await?;
    room.map_err(SessionError::from)?;
    Ok(permit)
}

/// Counts what is about to be created. Comes last, when nothing else refuses it any more before its body.
pub(super) fn count(call: Call<'_>, terms: &Terms) -> Result<(), Problem> {
    call.app
        .uploaders
        .count_creation(call.peer.address, &terms.by)
}

fn take_place(call: Call<'_>) -> Result<Permit, Problem> {
    call.app.check_audit()?;
    if call.app.is_draining() {
        return Err(Problem::stopping());
    }
    call.app.uploaders.permit(call.peer.address)
}

/// Whether it would fit, if nothing else came meanwhile. What others have announced does not count: anybody may announce
/// everything. What does not fit in the end is found when it is written.
async fn room(app: &Arc<App>, length: Option<u64>) -> Result<Result<(), StoreError>, Problem> {
    let bytes = length.unwrap_or(0);
    if let Some(told) = app.uploads.has_room_now(bytes) {
        return Ok(told);
    }
    app.blocking(move |app| app.uploads.has_room(bytes)).await
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
    headers: &HeaderMap,
    name: Option<ClientName>,
    body: &RequestBody,
    terms: Terms,
) -> Result<NewUpload, Problem> {
    // Of a request that does not speak the draft, what is meant for it says nothing.
    let metadata = match draft::Version::of(headers).completes(headers) {
        Some(_) => tus::metadata(headers)?,
        None => UploadMetadata::default(),
    };
    let (name, media_type) = draft::description(headers, name, &metadata)?;
    check_name(app, name.as_ref())?;
    Ok(NewUpload {
        submission: None,
        kind: Kind::File,
        name,
        media_type,
        length: body.announced(),
        terms,
    })
}

/// What a client says of a body that is one upload, and wants to be told.
struct Claimed {
    digests: Vec<ExpectedDigest>,
    wants: Option<Algorithm>,
    length: Option<u64>,
}

impl Claimed {
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
    call: Call<'_>,
    door: &Door,
    mut body: RequestBody,
    new: NewUpload,
    permit: Permit,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    let headers = &head.headers;
    let claimed = Claimed::of(headers, &body)?;
    let max_size = new.terms.max_size;
    door.check_size(&new.terms, claimed.length.max(body.announced()))?;
    body.limit(max_size)?;
    count(call, &new.terms)?;
    let task = {
        let app = Arc::clone(app);
        async move {
            let _permit = permit;
            let with_sha512 = needs_sha512(&claimed.digests, claimed.wants);
            let mut file = IncomingFile::begin(&app, new, with_sha512).await?;
            while let Some(data) = body.next().await? {
                file.write(&data).await?;
            }
            // Boxed when it comes to that: an upload may take hours, and its future need not have room for its end all the while.
            let received = Box::pin(file.finish()).await?;
            claimed.verify(&received)?;
            let digest = claimed.told(&received);
            Ok((publish(&app, vec![received]).await?, digest))
        }
    };
    let received = run_to_the_end(app, task).await;
    let (receipts, digest) = received.map_err(|problem| problem.within(max_size))?;
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
        Form::Html => call.reader().receipt(&Submission {
            submission: receipt.submission,
            uploads: vec![receipt],
        }),
        _ => json(&receipt),
    };
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().extend(about);
    Ok(response)
}

/// Begins an upload as a task of its own, whether or not its answer is waited for: it ends in order, and what went wrong in the server is logged, also where the
/// connection is gone and nobody waits for the answer any more.
pub(super) fn run_to_the_end<T, F>(
    app: &App,
    task: F,
) -> impl Future<Output = Result<T, Problem>> + use<T, F>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    // Boxed: what is moved into a future and awaited there takes its size twice.
    let task = Box::pin(task);
    app.tasks.spawn(async move {
        if let Err(Err(problem)) = answer.send(task.await) {
            problem.log("/uploads");
        }
    });
    async { answered.await.map_err(Problem::internal)? }
}

async fn publish(app: &Arc<App>, received: Vec<Received>) -> Result<Vec<Receipt>, Problem> {
    let sizes: u64 = received.iter().map(Received::size).sum();
    let receipts = app.blocking(|app| app.uploads.publish(received)).await??;
    app.metrics.published(receipts.len(), sizes);
    Ok(receipts)
}

/// One file on its way in, checked where the client says that it sealed it.
struct IncomingFile {
    receiver: Receiver,
    check: Option<ClientSealedCheck>,
}

impl IncomingFile {
    async fn begin(app: &App, new: NewUpload, with_sha512: bool) -> Result<Self, Problem> {
        let sealed = new.media_type.as_deref().is_some_and(is_client_sealed);
        let receiver = Receiver::begin(&app.uploads, new, with_sha512).await?;
        let check = || ClientSealedCheck::new(Arc::clone(receiver.recipients()));
        Ok(Self {
            check: sealed.then(check),
            receiver,
        })
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

pub(super) fn text_header(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
