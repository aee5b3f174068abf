//! An engine over real sockets that keeps what S3 promises, except for what it is told not to.

mod objects;
mod temporary;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tempfile::{NamedTempFile, TempPath};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

pub(in crate::store::s3) use temporary::Temporary;

/// What it does not do as it should.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a lie of its own")]
pub(in crate::store::s3) struct Lies {
    pub(in crate::store::s3) ignores_conditions: bool,
    /// Compares an `ETag` as Ceph 16 does: only without quotation marks.
    pub(in crate::store::s3) compares_bare: bool,
    pub(in crate::store::s3) ignores_damage: bool,
    pub(in crate::store::s3) forgets_notes: bool,
    pub(in crate::store::s3) has_no_bulk_delete: bool,
    pub(in crate::store::s3) has_no_copy: bool,
    pub(in crate::store::s3) keeps_versions: bool,
    /// Answers to all requests.
    pub(in crate::store::s3) refuses: Option<(u16, &'static str)>,
    /// So many requests are answered with 503 `SlowDown`.
    pub(in crate::store::s3) slow_down: u32,
    /// So many writes are done, and the connection then cut without an answer.
    pub(in crate::store::s3) drops_answers: u32,
    /// So many requests are never answered.
    pub(in crate::store::s3) hangs: u32,
    /// Writes to what has this name are never answered, and not done.
    pub(in crate::store::s3) swallows: Option<&'static str>,
    /// Writes to what has a name that ends so are answered so.
    pub(in crate::store::s3) refuses_writes: Option<Refusal>,
    /// The next of these writes is done, and the connection then cut; from then on they are refused.
    pub(in crate::store::s3) loses_then_refuses: Option<Refusal>,
    /// The next write is done, and the connection cut when somebody says so.
    pub(in crate::store::s3) holds_answer: Option<Arc<Notify>>,
    /// Whoever drops parts is answered with 403.
    pub(in crate::store::s3) refuses_aborts: bool,
    /// Requests with this method wait for as long as it is in here, where their path has this in it.
    pub(in crate::store::s3) holds: Vec<(Method, String)>,
    /// As the first of these is deleted, the second one has just been put there.
    pub(in crate::store::s3) appears: Option<(String, String)>,
    pub(in crate::store::s3) listing: Listing,
    /// How long writes take.
    pub(in crate::store::s3) delay: Duration,
}

/// How the name of an object ends, and the status and code of the answer.
pub(in crate::store::s3) type Refusal = (&'static str, (u16, &'static str));

impl Lies {
    fn holds(&self, method: &Method, target: &Uri) -> bool {
        let is_held = |(held, part): &(Method, String)| {
            held == method && target.path().contains(part.as_str())
        };
        self.holds.iter().any(is_held)
    }
}

/// How it lists.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::store::s3) enum Listing {
    #[default]
    Truly,
    /// What nobody asked for.
    Foreign,
    /// Page after page with nothing in it, each after a while.
    Empty,
    /// Page after page of names that mean nothing.
    Endless,
}

#[derive(Clone)]
struct Stored {
    body: Bytes,
    notes: Vec<(String, String)>,
    etag: String,
    modified: SystemTime,
}

#[derive(Default)]
pub(in crate::store::s3) struct State {
    pub(in crate::store::s3) lies: Lies,
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, BTreeMap<u32, Bytes>>,
    writes: u64,
    pub(in crate::store::s3) requests: u64,
    /// Objects and parts that came with their checksum, and not signed.
    pub(in crate::store::s3) announced: u64,
    pub(in crate::store::s3) temporary: Temporary,
}

impl State {
    pub(in crate::store::s3) fn keys(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }

    pub(in crate::store::s3) fn body(&self, key: &str) -> Option<&Bytes> {
        self.objects.get(key).map(|object| &object.body)
    }

    /// How many parts there are of each object that is not complete.
    pub(in crate::store::s3) fn parts(&self) -> Vec<usize> {
        self.uploads.values().map(BTreeMap::len).collect()
    }

    /// Makes an object look older.
    pub(in crate::store::s3) fn age(&mut self, key: &str, age: Duration) {
        self.objects.get_mut(key).unwrap().modified -= age;
    }
}

pub(in crate::store::s3) struct Liar {
    pub(in crate::store::s3) address: SocketAddr,
    /// Over TLS: the authority that its certificate is from.
    pub(in crate::store::s3) authority: Option<TempPath>,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    pub(in crate::store::s3) fn start(lies: Lies) -> Self {
        Self::start_with(lies, None)
    }

    /// The same over TLS, with a certificate from an authority of its own.
    pub(in crate::store::s3) fn start_over_tls(lies: Lies) -> Self {
        let (authority, config) = tls();
        let mut liar = Self::start_with(lies, Some(config.into()));
        liar.authority = Some(authority);
        liar
    }

    fn start_with(lies: Lies, tls: Option<TlsAcceptor>) -> Self {
        let state = State {
            lies,
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async move {
                tokio::select! {
                    () = serve(listener, served, tls) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            authority: None,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(in crate::store::s3) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Writes. The answer is lost, but not before `meanwhile` is through, which begins when the write was done.
    pub(in crate::store::s3) fn lose_answer<T: Send>(
        &self,
        write: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(),
    ) -> T {
        let lost = Arc::new(Notify::new());
        self.state().lies.holds_answer = Some(Arc::clone(&lost));
        thread::scope(|scope| {
            let writing = scope.spawn(write);
            while self.state().lies.holds_answer.is_some() && !writing.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            meanwhile();
            lost.notify_one();
            writing.join().unwrap()
        })
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let _ = self.thread.take().unwrap().join();
    }
}

/// An authority's certificate, and what serves with one from it.
fn tls() -> (TempPath, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut file = NamedTempFile::new().unwrap();
    let pem = authority.self_signed(&key).unwrap().pem();
    file.write_all(pem.as_bytes()).unwrap();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    own.distinguished_name = DistinguishedName::new();
    let own = own.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth();
    let config = config.with_single_cert(vec![own.der().clone()], key);
    (file.into_temp_path(), Arc::new(config.unwrap()))
}

async fn serve(
    listener: std::net::TcpListener,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => converse(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    state: Arc<Mutex<State>>,
) {
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    // Clients come and go as they like.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

type Answer = Response<Full<Bytes>>;

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Answer, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let is_write = head.method == Method::PUT;
    let is_own = |name: Option<&str>| {
        is_write && name.is_some_and(|name| head.uri.path() == format!("/bucket/at/p/{name}"))
    };
    let (hangs, delay, is_slow) = {
        let mut state = state.lock().unwrap();
        state.requests += 1;
        let hangs = take_one(&mut state.lies.hangs) || is_own(state.lies.swallows);
        let is_slow = matches!(state.lies.listing, Listing::Empty);
        (hangs, state.lies.delay, is_slow)
    };
    if is_slow {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    if hangs {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
    if is_write {
        tokio::time::sleep(delay).await;
    }
    while state.lock().unwrap().lies.holds(&head.method, &head.uri) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (answer, lost) = state.lock().unwrap().converse(&head, body)?;
    let Some(lost) = lost else {
        return Ok(answer);
    };
    lost.notified().await;
    Err(Cut)
}

impl State {
    /// What it answers, unless it cuts the connection; that is cut later where somebody is to say when.
    fn converse(
        &mut self,
        head: &Parts,
        body: Bytes,
    ) -> Result<(Answer, Option<Arc<Notify>>), Cut> {
        let (path, is_write) = (head.uri.path(), head.method == Method::PUT);
        let query = query(head.uri.query().unwrap_or_default());
        if let Some(answer) = self.refusal(head, &query) {
            return Ok((answer, None));
        }
        let key = path.strip_prefix("/bucket").unwrap();
        let key = key.trim_start_matches('/');
        let answer = self.answer(&head.method, key, &query, &head.headers, body);
        if is_write && take_one(&mut self.lies.drops_answers) {
            return Err(Cut);
        }
        let ends_so = |(ending, _): &mut Refusal| is_write && path.ends_with(*ending);
        if let Some(refusal) = self.lies.loses_then_refuses.take_if(ends_so) {
            self.lies.refuses_writes = Some(refusal);
            return Err(Cut);
        }
        Ok((answer, self.lies.holds_answer.take_if(|_| is_write)))
    }

    /// What it answers where it does nothing.
    fn refusal(&mut self, head: &Parts, query: &BTreeMap<String, String>) -> Option<Answer> {
        if let Some((status, code)) = self.lies.refuses {
            return Some(failure(status, code));
        }
        if let Some((ending, (status, code))) = self.lies.refuses_writes
            && head.method == Method::PUT
            && head.uri.path().ends_with(ending)
        {
            return Some(failure(status, code));
        }
        if take_one(&mut self.lies.slow_down) {
            return Some(failure(503, "SlowDown"));
        }
        if let Some(answer) = self.temporary.answer(head, query) {
            return Some(answer);
        }
        let is_abort = head.method == Method::DELETE && query.contains_key("uploadId");
        (is_abort && self.lies.refuses_aborts).then(|| failure(403, "AccessDenied"))
    }
}

fn take_one(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

fn failure(status: u16, code: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn xml(body: String) -> Answer {
    Response::new(Full::from(body))
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        decoded.push(char::from(u8::from_str_radix(hex, 16).unwrap()));
        decoded += rest;
    }
    decoded
}

impl Listing {
    fn answer(self, prefix: &str, after: &str, most: usize) -> Option<Answer> {
        let object = |key: &str| {
            format!(
                "<Contents><Key>{key}</Key><Size>1</Size><ETag>\"e\"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            )
        };
        let list = |inside: &str, token: &str| {
            xml(format!(
                "<ListBucketResult>{inside}<NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
            ))
        };
        match self {
            Self::Truly => None,
            Self::Foreign => {
                let folder = "<CommonPrefixes><Prefix>at/p/s/</Prefix></CommonPrefixes>";
                let inside = object("at/p/s") + folder;
                Some(xml(format!(
                    "<ListBucketResult>{inside}</ListBucketResult>"
                )))
            }
            Self::Empty => Some(list("", "on")),
            Self::Endless => {
                let digits = after
                    .get(after.len().saturating_sub(9)..)
                    .unwrap_or_default();
                let from = digits.parse().unwrap_or(0) + 1;
                let keys = (from..from + most).map(|n| format!("{prefix}_{n:09}"));
                let keys: Vec<_> = keys.collect();
                let inside: String = keys.iter().map(|key| object(key)).collect();
                Some(list(&inside, &keys[most - 1]))
            }
        }
    }
}
