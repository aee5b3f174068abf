//! Sends requests: pooled connections, deadlines for every step, answers of a bounded size, read whole before anybody sees them.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{HeaderValue, USER_AGENT};
use http::{Method, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use memchr::memmem;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService,
};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::{Instant as TokioInstant, timeout, timeout_at};
use tower_service::Service;

use super::counts::{Counts, Kind};
use super::error::{Answer, BucketError};
use super::exchange::{self, Call};
use super::health::Health;

/// How fast a body moves at the least, in bytes a second: what a long one may take more.
const SLOWEST: u64 = 256 << 10;
/// Bytes of an answer that come at least in the time for a stall.
const LEAST: usize = 16 << 10;
/// Connections to one host that nobody uses are kept so long: shorter than engines do.
const IDLE: Duration = Duration::from_secs(20);
const MAX_IDLE: usize = 64;
/// Of an answer that tells of an error.
const MAX_ERROR: u64 = 64 << 10;
const AGENT: &str = concat!("sealslot/", env!("CARGO_PKG_VERSION"));

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// Finding the engine, connecting, the handshake.
    pub(super) connect: Duration,
    /// Until an answer begins to come where nothing is to be done but to answer.
    pub(super) ask: Duration,
    /// Until an answer begins to come otherwise.
    pub(super) act: Duration,
    /// In which at least [`LEAST`] bytes of an answer have to come.
    pub(super) stall: Duration,
    /// In which a request that failed is sent again.
    pub(super) retry: Duration,
    /// After which requests to an engine that does not answer are not sent any more.
    pub(super) rest_after: Duration,
    /// For the question whether it answers.
    pub(super) check: Duration,
    /// For a list, with all its pages.
    pub(super) list: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            ask: Duration::from_secs(10),
            act: Duration::from_secs(30),
            stall: Duration::from_secs(10),
            retry: Duration::from_secs(15),
            rest_after: Duration::from_secs(10),
            check: Duration::from_secs(2),
            list: Duration::from_secs(45),
        }
    }
}

impl Deadlines {
    /// For so many bytes to move.
    fn moving(bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST)
    }

    /// For a whole call with all its attempts, whose bodies have so many bytes.
    pub(super) fn whole(&self, bytes: u64) -> Duration {
        self.retry + self.act + self.act + Self::moving(bytes)
    }

    fn until_answer(&self, kind: Kind, bytes: u64) -> Duration {
        if kind.only_asks() {
            self.ask
        } else {
            self.act + Self::moving(bytes)
        }
    }
}

/// Sends requests. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client<PromptConnector, HttpRequestBody>,
    deadlines: Deadlines,
    pub(super) counts: Arc<Counts>,
    pub(super) health: Arc<Health>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(mut tls: ClientConfig, deadlines: Deadlines) -> Self {
        // The connector offers what it speaks itself.
        tls.alpn_protocols.clear();
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(deadlines.connect));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let connector = PromptConnector {
            inner: https,
            deadline: deadlines.connect,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector);
        Self {
            client,
            deadlines,
            counts: Arc::default(),
            health: Arc::new(Health::new(deadlines.rest_after)),
        }
    }

    /// Sends a request and reads all of the answer.
    async fn exchange(
        &self,
        call: &Call,
        request: HttpRequest,
    ) -> Result<Response<Bytes>, BucketError> {
        let kind = Kind::of(&request);
        let is_head = *request.method() == Method::HEAD;
        let size = request.body().content_length() as u64;
        self.counts.request(kind, size, call.begin_attempt() > 0);
        let until_answer = self.deadlines.until_answer(kind, size);
        let answer = timeout(until_answer, self.client.request(request)).await;
        let answer = answer
            .map_err(|_| BucketError::TimedOut)?
            .map_err(|error| {
                if error.is_connect() {
                    BucketError::Connect(error.into())
                } else {
                    BucketError::Broken(error.into())
                }
            })?;
        let (head, body) = answer.into_parts();
        let fine = head.status.is_success();
        let most = if fine { call.most } else { MAX_ERROR };
        // The answer to HEAD tells of a body that does not come.
        let body = if is_head {
            Bytes::new()
        } else {
            match collect(body, most, self.deadlines.stall).await {
                Ok(body) => body,
                // What failed is in the head; what the body adds is not worth failing otherwise.
                Err(_) if !fine => Bytes::new(),
                Err(error) => return Err(error),
            }
        };
        // Whatever else it is, it would be taken for an empty list.
        if fine && kind == Kind::List && memmem::find(&body, b"ListBucketResult").is_none() {
            let answer = Answer::new(head.status.as_u16(), &body, None);
            return Err(if answer.code.is_empty() {
                BucketError::Unfit("its answer to the request for a list is none")
            } else {
                BucketError::Answered(answer)
            });
        }
        Ok(Response::from_parts(head, body))
    }

    async fn send(
        &self,
        call: &Call,
        request: HttpRequest,
    ) -> Result<Response<Bytes>, BucketError> {
        if !self.health.admits(Instant::now()) {
            return Err(BucketError::Resting);
        }
        let may_tell_later = *request.method() == Method::POST || Kind::of(&request) == Kind::Slow;
        let answer = self.exchange(call, request).await;
        let now = Instant::now();
        let (bytes, failure) = match &answer {
            Ok(answer) => (answer.body().len() as u64, refusal(answer, may_tell_later)),
            Err(_) => (0, None),
        };
        let fine = answer.is_ok() && !failure.as_ref().is_some_and(Answer::is_passing);
        self.counts.answer(bytes, fine);
        if fine {
            self.health.answered(now);
        } else {
            self.health.failed(now);
        }
        call.note(failure.map(BucketError::Answered));
        answer
    }
}

/// What an answer tells of a failure. Some begin to answer before they know.
fn refusal(answer: &Response<Bytes>, may_tell_later: bool) -> Option<Answer> {
    let fine = answer.status().is_success();
    if fine && !(may_tell_later && memmem::find(answer.body(), b"<Error>").is_some()) {
        return None;
    }
    let region = answer.headers().get("x-amz-bucket-region");
    let region = region.and_then(|region| region.to_str().ok());
    Some(Answer::new(answer.status().as_u16(), answer.body(), region))
}

/// Reads a body of at most so many bytes.
pub(super) async fn collect<B>(
    mut body: B,
    most: u64,
    stall: Duration,
) -> Result<Bytes, BucketError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    let announced = body.size_hint().lower();
    if announced > most {
        return Err(BucketError::TooLong(most));
    }
    let whole = TokioInstant::now() + stall + stall + Deadlines::moving(most);
    let mut all = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    let (mut until, mut before) = (TokioInstant::now() + stall, 0);
    loop {
        let Ok(frame) = timeout_at(until.min(whole), body.frame()).await else {
            // Something always comes where an engine sends a byte now and then.
            if TokioInstant::now() >= whole || all.len() - before < LEAST {
                return Err(BucketError::TimedOut);
            }
            // From now on: where this process stood still, the time of what comes next is not over already.
            (until, before) = (TokioInstant::now() + stall, all.len());
            continue;
        };
        let Some(frame) = frame else {
            return Ok(all.freeze());
        };
        let frame = frame.map_err(|error| BucketError::Broken(error.into()))?;
        if let Ok(data) = frame.into_data() {
            if all.len() as u64 + data.len() as u64 > most {
                return Err(BucketError::TooLong(most));
            }
            all.extend_from_slice(&data);
        }
    }
}

/// Damage as it happens on the way: the head stays, a bit of the body does not.
async fn damaged(request: HttpRequest) -> HttpRequest {
    let (head, body) = request.into_parts();
    let bytes = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes);
    let mut bytes = bytes.unwrap_or_default().to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    HttpRequest::from_parts(head, bytes.into())
}

/// What went wrong is noted with the call; this only says whether to try again, which nothing speaks against that is sent here.
fn kind(error: &BucketError) -> HttpErrorKind {
    match error {
        BucketError::Connect(_) => HttpErrorKind::Connect,
        BucketError::TimedOut | BucketError::Broken(_) => HttpErrorKind::Request,
        _ => HttpErrorKind::Unknown,
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let call = exchange::current();
        let agent = HeaderValue::from_static(AGENT);
        request.headers_mut().insert(USER_AGENT, agent);
        if call.damage {
            request = damaged(request).await;
        }
        match self.send(&call, request).await {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                // What cannot be done will not be done when it is asked for again, as other errors of its kind may.
                if matches!(
                    head.status,
                    StatusCode::NOT_IMPLEMENTED | StatusCode::INSUFFICIENT_STORAGE
                ) {
                    head.status = StatusCode::METHOD_NOT_ALLOWED;
                }
                // Of an error's body everything of use has been noted, and it may be of any kind.
                let body = if head.status.is_success() {
                    body
                } else {
                    Bytes::new()
                };
                Ok(HttpResponse::from_parts(head, body.into()))
            }
            Err(error) => {
                let failed = HttpError::new(kind(&error), Noted);
                call.note_last(error);
                Err(failed)
            }
        }
    }
}

/// Stands for an error that is noted with the call.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct Noted;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// Connects, with a deadline for the handshake too.
#[derive(Clone)]
struct PromptConnector {
    inner: HttpsConnector<TcpConnector>,
    deadline: Duration,
}

type Connected = MaybeHttpsStream<TokioIo<TcpStream>>;
type Connecting =
    Pin<Box<dyn Future<Output = Result<Connected, Box<dyn Error + Send + Sync>>> + Send>>;

impl Service<Uri> for PromptConnector {
    type Response = Connected;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Connecting;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let connecting = self.inner.call(uri);
        let deadline = self.deadline;
        Box::pin(async move {
            match timeout(deadline, connecting).await {
                Ok(connected) => connected,
                Err(late) => Err(late.into()),
            }
        })
    }
}
