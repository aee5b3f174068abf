//! HTTP: what clients send, and what they are answered.
//!
//! [`respond`] is the way in: it finds the route, asks whether the caller may, and turns headers into what
//! `upload` understands. Nothing here knows TLS, sockets or files.

pub mod accept_language;
mod access;
mod audit;
mod authority;
mod body;
mod call;
mod certificate;
mod conditions;
mod cors;
mod create;
mod crypt;
pub mod digest_fields;
pub mod disposition;
mod download;
pub mod form;
pub mod keep;
mod limits;
mod links;
mod metrics;
pub mod multipart;
mod negotiate;
pub mod new_link;
mod page;
mod problem;
pub mod range;
mod readiness;
mod resumable;
mod rewrap;
mod route;
pub mod submission;
pub mod tus_fields;
mod weight;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use access::{Access, FileToken, FileTokens, TokenTooShort};
use audit::Facts;
pub use authority::OwnName;
pub use body::Incoming;
use body::RequestBody;
use call::Call;
pub use call::{ClientIdentity, Peer};
pub use certificate::CertificateHealth;
pub use cors::{CorsOrigin, CorsOriginError};
use create::Door;
pub use limits::{ClientNetwork, Limits, Rate, RateError};
use limits::{Failures, Uploaders};
pub use metrics::Metrics;
pub use page::{
    AuthorityPage, Colour, Logo, LogoError, MAX_LOGO, PageSettingError, PageSettings, PageText,
    PageTitle, Pages, Phone, QrDrawing, TextField, Welcome,
};
use problem::Problem;
pub use readiness::NodeStatus;
pub use route::ROUTES;
use route::Route;

use crate::audit::AuditLog;
use crate::grant::{Links, Scope};
use crate::store::SealedFile;
use crate::upload::{ClientName, Uploads};
use crate::webhook::Counters;

/// Requests to `/encrypt` and `/decrypt` at the same time: each may hold its data in memory several times over.
const MAX_DATA_REQUESTS: usize = 16;

/// What a response's body may fail with: reading what is stored.
type ReadFailure = Box<dyn std::error::Error + Send + Sync>;

/// A response with a body of any kind.
pub type Response = hyper::Response<UnsyncBoxBody<Bytes, ReadFailure>>;

/// Everything that answering takes, shared by all connections.
pub struct App {
    /// The use cases.
    pub uploads: Arc<Uploads>,
    /// What lets people hand in without an account.
    pub links: Links,
    /// Who may do what.
    pub access: Access,
    /// How much one request may ask.
    pub limits: Limits,
    /// Whose pages may upload from elsewhere.
    pub cors_origins: Vec<CorsOrigin>,
    /// What all pages have in common.
    pub pages: Pages,
    /// Whether browsers are told to insist on TLS for this name. Not in development.
    pub hsts: bool,
    /// What is counted.
    pub metrics: Metrics,
    /// Where who did what is written, where it is.
    pub audit: Option<Arc<AuditLog>>,
    /// What is counted of webhooks, where there are any.
    pub webhooks: Option<Arc<Counters>>,
    /// How the server's certificate is, where that is known.
    pub certificate: Option<Arc<dyn Fn() -> CertificateHealth + Send + Sync>>,
    /// This server among those that share the store, where there may be others.
    pub node: Option<Arc<NodeStatus>>,
    /// Whether a host, without port or brackets, is this server. Where it is not known, all are.
    pub is_own_name: Option<Arc<OwnName>>,
    /// Uploads run as tasks of their own, so that one whose connection went away is ended in order.
    pub tasks: TaskTracker,
    /// Cancelled when the server is about to stop.
    pub draining: CancellationToken,
    uploaders: Uploaders,
    failures: Failures,
    data_permits: Semaphore,
    private_key_turn: Semaphore,
    rewrap_permits: Semaphore,
}

impl App {
    /// Puts it together.
    pub fn new(
        uploads: Arc<Uploads>,
        links: Links,
        access: Access,
        limits: Limits,
        cors_origins: Vec<CorsOrigin>,
        pages: Pages,
        hsts: bool,
    ) -> Self {
        Self {
            uploads,
            links,
            access,
            cors_origins,
            pages,
            hsts,
            metrics: Metrics::default(),
            audit: None,
            webhooks: None,
            certificate: None,
            node: None,
            is_own_name: None,
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            uploaders: Uploaders::new(&limits),
            failures: Failures::new(limits.failure_delay),
            data_permits: Semaphore::new(MAX_DATA_REQUESTS),
            private_key_turn: Semaphore::new(1),
            rewrap_permits: Semaphore::new(rewrap::MAX_AT_ONCE),
            limits,
        }
    }

    /// Whether the server is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Runs what blocks on a thread that may.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let app = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&app))
            .await
            .map_err(Problem::abandoned)
    }
}

/// Which routes a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// All of them.
    Public,
    /// Only health, readiness and metrics, and those without a token.
    Operations,
}

/// Answers one request. Never fails: what goes wrong is an answer too.
pub async fn respond(
    app: Arc<App>,
    surface: Surface,
    peer: &Peer,
    request: Request<Incoming>,
) -> Response {
    let began = Instant::now();
    let (head, incoming) = request.into_parts();
    let route = Route::of(head.uri.path());
    let name = route.as_ref().map_or("none", Route::name);
    let method = head.method.clone();
    let for_other_origins = match &route {
        Ok(route) => route.is_for_other_origins(&method),
        // A name that cannot be read.
        Err(_) => ["/uploads/", "/d/"]
            .iter()
            .any(|below| head.uri.path().starts_with(below)),
    };
    let body = RequestBody::new(incoming, &head, &app.limits);
    let facts = Facts::of(&route, &head);
    let call = Call {
        app: &app,
        peer,
        head: &head,
        facts: &facts,
        link: None,
    };
    let answer = match authority::checked(&app, surface, &head, route) {
        // RFC 9110, section 10.1.1.
        _ if expects_more(&head.headers) => Err(Problem::expectation_failed()),
        _ if has_no_end(&head) => Err(Problem::length_required()),
        Ok(route) if surface == Surface::Public || route.is_operational() => {
            dispatch(call, surface, route, body).await
        }
        Err(problem) if surface == Surface::Public => Err(problem),
        _ => Err(Problem::not_found()),
    };
    call.record(name, &answer);
    let answer = match answer {
        Err(problem) if problem.is_of_a_guess() => Err(access::wait_for_guess(call, problem).await),
        answer => answer,
    };
    let mut response = answer.unwrap_or_else(|problem| {
        app.metrics.refused(problem.code());
        problem.log(name);
        problem.into_response(&app, &head)
    });
    if resumable::tus::is_spoken(&head.headers) {
        resumable::tus::add_version(response.headers_mut());
    }
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        resumable::add_limit(&app, response.headers_mut());
    }
    if surface == Surface::Public && for_other_origins {
        cors::add_headers(&app.cors_origins, &head.headers, response.headers_mut());
    }
    if method == Method::HEAD {
        *response.body_mut() = empty();
    }
    add_security_headers(&mut response, app.hsts);
    let status = response.status();
    app.metrics.answered(status);
    let certificate = peer.certificate.as_ref().map(|client| &client.name[..]);
    tracing::debug!(method = logged(&method), route = name, address = %peer.address, certificate, status = status.as_u16(), elapsed = ?began.elapsed(), "answered");
    response
}

/// Whether a client expects anything but to be asked for its body.
fn expects_more(headers: &HeaderMap) -> bool {
    let mut expected = headers.get_all(header::EXPECT).iter();
    expected.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Whether a body may come whose end nobody could tell from a broken connection (RFC 1945, section 7.2.2): hyper would take it for
/// none.
fn has_no_end(head: &Parts) -> bool {
    let brings = [Method::POST, Method::PUT, Method::PATCH].contains(&head.method);
    brings && head.version < Version::HTTP_11 && !head.headers.contains_key(header::CONTENT_LENGTH)
}

/// The method as the log calls it. One that is not known may be any text that a client chose.
fn logged(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 7] = [
        (Method::GET, "GET"),
        (Method::HEAD, "HEAD"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::OPTIONS, "OPTIONS"),
    ];
    let known = KNOWN.iter().find(|(known, _)| known == method);
    known.map_or("other", |(_, name)| name)
}

async fn dispatch(
    call: Call<'_>,
    surface: Surface,
    route: Route,
    body: RequestBody,
) -> Result<Response, Problem> {
    let Call { app, head, .. } = call;
    if head.method == Method::OPTIONS && route.takes_uploads() {
        return Ok(resumable::options::answer_options(
            app.limits.max_size,
            route.methods(),
        ));
    }
    let allowed = route.methods();
    let method = match &head.method {
        &Method::HEAD => &Method::GET,
        method => method,
    };
    match (method, route) {
        (_, Route::Session(url)) => resumable::at_url(call, url, body).await,
        (_, Route::Uploads | Route::NamedUpload(None)) if resumable::creates(head) => {
            create::from_post(call, Door::Uploads, body).await
        }
        (&Method::GET, Route::Page(page)) => page.respond(call).await,
        (&Method::PUT, Route::NamedUpload(name)) => {
            create::from_put(call, Door::Uploads, name, body).await
        }
        // Nothing is put to an id: a name that looks like one, as checksums do, is a name.
        (&Method::PUT, Route::Upload(id)) => {
            let name = Some(ClientName::new(id.to_string()));
            create::from_put(call, Door::Uploads, name, body).await
        }
        (
            &Method::OPTIONS,
            Route::Link(token) | Route::NamedAtLink(token, _) | Route::LinkRecipients(token),
        ) => links::options(call, token, allowed).await,
        (_, Route::Link(token)) if resumable::creates(head) => links::post(call, token, body).await,
        (&Method::GET, Route::Link(token)) => links::page(call, token).await,
        (&Method::PUT, Route::Link(token)) => links::put(call, token, None, body).await,
        (&Method::PUT, Route::NamedAtLink(token, name)) => {
            links::put(call, token, Some(name), body).await
        }
        (&Method::PUT, Route::LinkRecipients(token)) => {
            let name = Some(ClientName::new("recipients"));
            links::put(call, token, name, body).await
        }
        (&Method::GET, Route::LinkRecipients(token)) => links::recipients(call, token).await,
        (&Method::POST, Route::Links) => links::create(call, body).await,
        (&Method::GET, Route::Links) => links::list(call).await,
        (&Method::GET, Route::LinkById(id)) => links::show(call, id).await,
        (&Method::DELETE, Route::LinkById(id)) => links::revoke(call, id).await,
        (&Method::GET, Route::Uploads) => {
            access::require(call, Scope::Read).await?;
            download::list(app, head.uri.query()).await
        }
        (&Method::GET, Route::Upload(id)) => {
            access::require(call, Scope::Admin).await?;
            download::plaintext(app, id, head).await
        }
        (&Method::DELETE, Route::Upload(id)) => {
            access::require(call, Scope::Admin).await?;
            access::refuse_cross_site(call, &head.method)?;
            download::delete(call, id).await
        }
        (&Method::GET, Route::SealedFile(id, file)) => {
            access::require(call, Scope::Read).await?;
            download::sealed_file(app, id, file, head).await
        }
        (&Method::PUT, Route::SealedFile(id, SealedFile::Meta)) => {
            rewrap::put(call, id, body).await
        }
        (&Method::POST, Route::Encrypt) => crypt::encrypt(call, body).await,
        (&Method::POST, Route::Decrypt) => crypt::decrypt(call, body).await,
        (&Method::GET, Route::Recipients) => Ok(recipients(app)),
        (&Method::GET, Route::Health) => Ok(text("ok\n")),
        (&Method::GET, Route::Ready) => readiness::respond(app, head).await,
        (&Method::GET, Route::Metrics) => {
            if surface == Surface::Public {
                access::identify(call, Scope::Admin).await?;
            }
            Ok(text(metrics::text(app)))
        }
        _ => Err(Problem::method_not_allowed(allowed)),
    }
}

/// The public keys, a line each, ready for `age -R`.
fn recipients(app: &App) -> Response {
    let recipients = app.uploads.named_recipients();
    text(
        recipients
            .iter()
            .map(|recipient| recipient.to_line() + "\n")
            .collect::<String>(),
    )
}

fn empty() -> UnsyncBoxBody<Bytes, ReadFailure> {
    full(Bytes::new())
}

fn full(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, ReadFailure> {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn respond_with(content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let bytes = bytes.into();
    let size = bytes.len();
    let mut response = Response::new(full(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, size.into());
    response
}

fn text(text: impl Into<Bytes>) -> Response {
    respond_with("text/plain; charset=utf-8", text)
}

fn json(value: &impl serde::Serialize) -> Response {
    let mut text = serde_json::to_vec(value).expect("answers are plain data");
    text.push(b'\n');
    respond_with("application/json", text)
}

/// What an answer carries that does not say otherwise (DESIGN.md section 3.3). As a document of its own it may do nothing:
/// what it holds may come from anybody.
fn add_security_headers(response: &mut Response, hsts: bool) {
    const FIXED: [(HeaderName, &str); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; sandbox",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        // Answers to CORS requests are not bound by it.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if hsts {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
}
