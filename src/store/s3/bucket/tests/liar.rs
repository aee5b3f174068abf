//! An engine over real sockets that keeps what S3 promises, except for what it is told not to.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// What it does not do as it should.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a lie of its own")]
pub(in crate::store::s3) struct Lies {
    pub(in crate::store::s3) ignores_conditions: bool,
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
    /// Writes to what has this name are answered with 403.
    pub(in crate::store::s3) refuses_key: Option<&'static str>,
    pub(in crate::store::s3) listing: Listing,
    /// How long writes take.
    pub(in crate::store::s3) delay: Duration,
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
}

impl State {
    pub(in crate::store::s3) fn keys(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }

    pub(in crate::store::s3) fn body(&self, key: &str) -> Option<&Bytes> {
        self.objects.get(key).map(|object| &object.body)
    }

    /// Makes an object look older.
    pub(in crate::store::s3) fn age(&mut self, key: &str, age: Duration) {
        self.objects.get_mut(key).unwrap().modified -= age;
    }
}

pub(in crate::store::s3) struct Liar {
    pub(in crate::store::s3) address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    pub(in crate::store::s3) fn start(lies: Lies) -> Self {
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
                    () = serve(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(in crate::store::s3) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let _ = self.thread.take().unwrap().join();
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            // Clients come and go as they like.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
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
    let mut state = state.lock().unwrap();
    if let Some((status, code)) = state.lies.refuses {
        return Ok(failure(status, code));
    }
    if is_own(state.lies.refuses_key) {
        return Ok(failure(403, "AccessDenied"));
    }
    if take_one(&mut state.lies.slow_down) {
        return Ok(failure(503, "SlowDown"));
    }
    let query = query(head.uri.query().unwrap_or_default());
    let key = head
        .uri
        .path()
        .strip_prefix("/bucket")
        .unwrap()
        .trim_start_matches('/');
    let answer = state.answer(&head.method, key, &query, &head.headers, body);
    if is_write && take_one(&mut state.lies.drops_answers) {
        Err(Cut)
    } else {
        Ok(answer)
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

impl State {
    fn answer(
        &mut self,
        method: &Method,
        key: &str,
        query: &BTreeMap<String, String>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Answer {
        let upload = query.get("uploadId");
        match (method, upload) {
            (&Method::PUT, Some(id)) => self.put_part(id, &query["partNumber"], body),
            (&Method::PUT, None) => self.put(key, headers, body),
            (&Method::POST, Some(id)) => self.complete(key, id),
            (&Method::POST, None) if query.contains_key("uploads") => self.begin(),
            (&Method::POST, None) => self.delete_many(&body),
            (&Method::DELETE, Some(id)) => match self.uploads.remove(id) {
                Some(_) => Response::new(Full::default()),
                None => failure(404, "NoSuchUpload"),
            },
            (&Method::DELETE, None) => {
                self.objects.remove(key);
                Response::new(Full::default())
            }
            (&Method::GET, _) if key.is_empty() => self.list(query),
            _ => self.get(key, headers, method == Method::HEAD),
        }
    }

    fn put(&mut self, key: &str, headers: &HeaderMap, body: Bytes) -> Answer {
        let value = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        if let Some(source) = value("x-amz-copy-source") {
            if self.lies.has_no_copy {
                return failure(501, "NotImplemented");
            }
            let source = source
                .trim_start_matches('/')
                .strip_prefix("bucket/")
                .unwrap();
            let Some(object) = self.objects.get(source).cloned() else {
                return failure(404, "NoSuchKey");
            };
            self.objects.insert(key.to_owned(), object);
            return xml("<CopyObjectResult><ETag>\"x\"</ETag></CopyObjectResult>".to_owned());
        }
        let sha = HEXLOWER.encode(&Sha256::digest(&body));
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &body);
        let crc = BASE64.encode(&crc.to_be_bytes());
        let sent = value("x-amz-content-sha256").filter(|sent| *sent != "UNSIGNED-PAYLOAD");
        let damaged = sent.is_some_and(|sent| sent != sha)
            || value("x-amz-checksum-crc64nvme").is_some_and(|sent| sent != crc);
        if damaged && !self.lies.ignores_damage {
            return failure(400, "XAmzContentSHA256Mismatch");
        }
        let there = self.objects.get(key).map(|object| &*object.etag);
        let fails = value("if-none-match").is_some() && there.is_some()
            || value("if-match").is_some_and(|etag| there != Some(etag));
        if fails && !self.lies.ignores_conditions {
            return failure(412, "PreconditionFailed");
        }
        let notes = headers
            .iter()
            .filter(|_| !self.lies.forgets_notes)
            .filter_map(|(name, value)| {
                let name = name.as_str();
                let fits = name.starts_with("x-amz-meta-");
                fits.then(|| (name.to_owned(), value.to_str().unwrap().to_owned()))
            });
        let notes = notes.collect();
        let etag = self.store(key, body, notes);
        let mut answer = Response::new(Full::default());
        answer.headers_mut().insert("etag", etag.parse().unwrap());
        if self.lies.keeps_versions {
            let version = self.writes.to_string().parse().unwrap();
            answer.headers_mut().insert("x-amz-version-id", version);
        }
        answer
    }

    fn store(&mut self, key: &str, body: Bytes, notes: Vec<(String, String)>) -> String {
        self.writes += 1;
        let etag = format!("\"{:032x}\"", self.writes);
        let object = Stored {
            body,
            notes,
            etag: etag.clone(),
            modified: SystemTime::now(),
        };
        self.objects.insert(key.to_owned(), object);
        etag
    }

    fn get(&self, key: &str, headers: &HeaderMap, only_head: bool) -> Answer {
        let Some(object) = self.objects.get(key) else {
            return failure(404, "NoSuchKey");
        };
        let size = object.body.len();
        let mut answer = Response::builder()
            .header("etag", &object.etag)
            .header("last-modified", httpdate::fmt_http_date(object.modified));
        for (name, value) in &object.notes {
            answer = answer.header(name, value);
        }
        if only_head {
            let answer = answer.header("content-length", size);
            return answer.body(Full::default()).unwrap();
        }
        let Some(range) = headers.get("range") else {
            return answer.body(Full::from(object.body.clone())).unwrap();
        };
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        if from >= size {
            return failure(416, "InvalidRange");
        }
        let to = size.min(to.parse::<usize>().unwrap() + 1);
        let answer = answer.status(206);
        let answer = answer.header("content-range", format!("bytes {from}-{}/{size}", to - 1));
        answer
            .body(Full::from(object.body.slice(from..to)))
            .unwrap()
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let value = |name: &str| query.get(name).map_or("", String::as_str);
        let (prefix, after) = (
            value("prefix"),
            value("start-after").max(value("continuation-token")),
        );
        let most: usize = value("max-keys").parse().unwrap();
        if let Some(answer) = self.lies.listing.answer(prefix, after, most) {
            return answer;
        }
        let (mut contents, mut last, mut found) = (String::new(), String::new(), 0);
        let mut more = false;
        for (key, object) in self.objects.range(after.to_owned()..) {
            if !key.starts_with(prefix) || key <= &after.to_owned() {
                continue;
            }
            let folder = key[prefix.len()..]
                .split_once('/')
                .filter(|_| value("delimiter") == "/");
            let folder = folder.map(|(name, _)| format!("{prefix}{name}/"));
            if folder
                .as_ref()
                .is_some_and(|folder| last.starts_with(&**folder))
            {
                last.clone_from(key);
                continue;
            }
            if found == most {
                more = true;
                break;
            }
            found += 1;
            last.clone_from(key);
            match folder {
                Some(folder) => {
                    write!(contents, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>")
                }
                None => write!(
                    contents,
                    "<Contents><Key>{key}</Key><Size>{}</Size><ETag>{}</ETag><LastModified>{}</LastModified></Contents>",
                    object.body.len(),
                    object.etag,
                    humantime::format_rfc3339_seconds(object.modified),
                ),
            }
            .unwrap();
        }
        let token = if more {
            format!("<NextContinuationToken>{last}</NextContinuationToken>")
        } else {
            String::new()
        };
        xml(format!(
            "<ListBucketResult>{contents}{token}</ListBucketResult>"
        ))
    }

    fn begin(&mut self) -> Answer {
        self.writes += 1;
        let id = format!("upload-{}", self.writes);
        self.uploads.insert(id.clone(), BTreeMap::new());
        xml(format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn put_part(&mut self, id: &str, number: &str, body: Bytes) -> Answer {
        let Some(parts) = self.uploads.get_mut(id) else {
            return failure(404, "NoSuchUpload");
        };
        parts.insert(number.parse().unwrap(), body);
        let mut answer = Response::new(Full::default());
        answer
            .headers_mut()
            .insert("etag", "\"part\"".parse().unwrap());
        answer
    }

    fn complete(&mut self, key: &str, id: &str) -> Answer {
        let Some(parts) = self.uploads.remove(id) else {
            return failure(404, "NoSuchUpload");
        };
        let whole = parts.into_values().collect::<Vec<_>>().concat();
        let etag = self.store(key, whole.into(), Vec::new());
        xml(format!(
            "<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"
        ))
    }

    fn delete_many(&mut self, body: &Bytes) -> Answer {
        if self.lies.has_no_bulk_delete {
            return failure(501, "NotImplemented");
        }
        let text = std::str::from_utf8(body).unwrap();
        let mut deleted = String::new();
        for part in text.split("<Key>").skip(1) {
            let (key, _) = part.split_once("</Key>").unwrap();
            self.objects.remove(key);
            write!(deleted, "<Deleted><Key>{key}</Key></Deleted>").unwrap();
        }
        xml(format!("<DeleteResult>{deleted}</DeleteResult>"))
    }
}
