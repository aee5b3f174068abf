//! One request over HTTP/3, and its answer.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::reason::Reason;
use super::transport::{Both, Connection, ReceiveHalf, SendHalf};
use crate::http::{ClientIdentity, Incoming, Peer, Response, respond};
use crate::server::Shared;
use crate::server::client_address::client_address;
use crate::server::traffic::{Exchange, Traffic};

type Sending = RequestStream<SendHalf, Bytes>;
type Receiving = RequestStream<ReceiveHalf, Bytes>;

/// Fields of connections, which HTTP/3 has none of (RFC 9114, section 4.2).
const OF_CONNECTIONS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Who is at the other end of a connection.
pub(super) struct Client {
    /// Where the handshake was done. Not where the connection is said to be now: that is believed before it is validated.
    pub(super) address: IpAddr,
    pub(super) identity: Option<ClientIdentity>,
}

/// What a stream came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A request, whatever became of it.
    Request,
    /// Nothing: it ended or stopped before there was one, or that was malformed.
    Nothing,
}

/// Reads a request, and answers it.
pub(super) async fn run(
    shared: Arc<Shared>,
    client: Arc<Client>,
    traffic: Arc<Traffic>,
    request: RequestResolver<Connection, Bytes>,
) -> Outcome {
    let resolved = timeout(shared.limits.header_timeout, request.resolve_request()).await;
    let (request, mut stream) = match resolved {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => {
            log(&error);
            return Outcome::Nothing;
        }
        Err(_) => {
            tracing::debug!("the head of a request took too long");
            return Outcome::Nothing;
        }
    };
    let Some(length) = well_formed(&request) else {
        tracing::debug!("a malformed request over HTTP/3");
        stream.stop_sending(Code::H3_MESSAGE_ERROR);
        stream.stop_stream(Code::H3_MESSAGE_ERROR);
        return Outcome::Nothing;
    };
    // Only now: a connection whose streams come to nothing is idle.
    let exchange = traffic.begin();
    answer(&shared, &client, (request, length, stream), exchange).await;
    Outcome::Request
}

/// Answers a request with a body of this length, until the client has the answer.
async fn answer(
    shared: &Shared,
    client: &Client,
    (request, length, stream): (Request<()>, Option<u64>, RequestStream<Both, Bytes>),
    exchange: Exchange,
) {
    let peer = Peer {
        address: client_address(request.headers(), client.address, &shared.peers.proxies),
        certificate: client.identity.clone(),
    };
    let method = request.method().clone();
    let (mut sending, receiving) = stream.split();
    let receiving_after = Arc::new(Mutex::new(None));
    let mut content = Content::new(receiving, length, Arc::clone(&receiving_after));
    let wanted = content.wanted(request.headers());
    content.look().await;
    let request = request.map(|()| Incoming::Other(content.boxed()));
    let answered = respond(Arc::clone(&shared.app), shared.surface, &peer, request);
    let response = interim(&mut sending, Box::pin(answered), wanted).await;
    if let Err(error) = send(&mut sending, &method, response, exchange, || {
        // Only now: a client that is told to stop sending reads the answer (RFC 9114, section 4.1).
        drop(lock(&receiving_after).take());
    })
    .await
    {
        log(&error);
        sending.stop_stream(Code::H3_INTERNAL_ERROR);
    }
}

fn log(error: &StreamError) {
    let reason = Reason::from(error);
    tracing::debug!(%reason, "a request over HTTP/3 broke off");
}

/// Whether a request may be looked at, and how long its body says it is; `None` where it is malformed (RFC 9114, section 4.1.2) in a
/// way that h3 does not see.
#[expect(clippy::option_option, reason = "malformed, or without a length")]
fn well_formed(request: &Request<()>) -> Option<Option<u64>> {
    let (uri, headers) = (request.uri(), request.headers());
    let path = uri.path().starts_with('/') || uri.path() == "*";
    let complete = uri.scheme_str() == Some("https") && path;
    let whole = complete || request.method() == Method::CONNECT;
    let of_connections = OF_CONNECTIONS.iter().any(|name| headers.contains_key(name));
    let te = headers.get_all(header::TE).iter();
    let te = te.map(HeaderValue::as_bytes).all(|te| te == b"trailers");
    let hosts = headers.get_all(header::HOST).iter().count() <= 1;
    if !whole || of_connections || !te || !hosts {
        return None;
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return Some(None);
    };
    let digits = length.to_str().ok()?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if lengths.next().is_some() || !number {
        return None;
    }
    digits.parse().ok().map(Some)
}

/// Waits for the answer; meanwhile asks for the body, where the client wants to be asked and somebody wants to read it.
async fn interim(
    sending: &mut Sending,
    answered: impl Future<Output = Response>,
    wanted: Option<oneshot::Receiver<()>>,
) -> Response {
    let mut answered = pin!(answered);
    if let Some(wanted) = wanted {
        let wanted = tokio::select! {
            response = answered.as_mut() => return response,
            wanted = wanted => wanted,
        };
        if wanted.is_ok() {
            let mut go_on = http::Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            // Where it cannot be sent, the body will tell.
            let _ = sending.send_response(go_on).await;
        }
    }
    answered.await
}

/// Sends an answer, and waits until the client has it. When all is on its way, `sent` is called.
async fn send(
    sending: &mut Sending,
    method: &Method,
    response: Response,
    exchange: Exchange,
    sent: impl FnOnce(),
) -> Result<(), StreamError> {
    let (mut head, body) = response.into_parts();
    complete(&mut head, method, body.size_hint().exact());
    let mut body = exchange.answer(body);
    sending
        .send_response(http::Response::from_parts(head, ()))
        .await?;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            // It was logged where it failed. The client has to see that something is missing.
            sending.stop_stream(Code::H3_INTERNAL_ERROR);
            return Ok(());
        };
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            sending.send_data(data).await?;
        }
    }
    let (finished, ()) = tokio::join!(sending.finish(), async { sent() });
    // Until here it counts as being sent.
    drop(body);
    finished
}

/// Adds what hyper adds over other versions of HTTP.
fn complete(head: &mut http::response::Parts, method: &Method, length: Option<u64>) {
    let none = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status);
    if let Some(length) = length.filter(|_| !none && method != Method::HEAD) {
        let entry = head.headers.entry(header::CONTENT_LENGTH);
        entry.or_insert_with(|| length.into());
    }
    let now = httpdate::fmt_http_date(SystemTime::now());
    if let Ok(now) = HeaderValue::from_str(&now) {
        head.headers.entry(header::DATE).or_insert(now);
    }
}

/// What of a stream is left to its request when nobody reads its body any more.
type Rest = Arc<Mutex<Option<Receiving>>>;

fn lock(rest: &Rest) -> std::sync::MutexGuard<'_, Option<Receiving>> {
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Data,
    Trailers,
    End,
}

/// A request's body. Its end is the stream's: a reset, or a connection that is lost, is an error.
struct Content {
    receiving: Option<Receiving>,
    at: At,
    /// What was seen of it before it was asked for.
    seen: Option<Result<Frame<Bytes>, ContentError>>,
    /// How many bytes may come still, where that was said.
    left: Option<u64>,
    asked: Option<oneshot::Sender<()>>,
    rest: Rest,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
enum ContentError {
    #[error("{0}")]
    Stream(Reason),
    #[error("more came than its length says")]
    TooLong,
}

impl From<StreamError> for ContentError {
    /// Whoever logs it must not repeat what the client sent.
    fn from(error: StreamError) -> Self {
        Self::Stream(error.into())
    }
}

impl Content {
    fn new(receiving: Receiving, length: Option<u64>, rest: Rest) -> Self {
        Self {
            receiving: Some(receiving),
            at: At::Data,
            seen: None,
            left: length,
            asked: None,
            rest,
        }
    }

    /// What tells that the body is asked for, where the client waits for that.
    fn wanted(&mut self, headers: &HeaderMap) -> Option<oneshot::Receiver<()>> {
        let expect = headers.get(header::EXPECT)?;
        if !expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return None;
        }
        let (asked, wanted) = oneshot::channel();
        self.asked = Some(asked);
        Some(wanted)
    }

    /// Looks at what has come with the head: whether there is a body at all mostly stands in the same packet.
    async fn look(&mut self) {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Some(seen)) = self.poll_content(cx) {
                self.seen = Some(seen);
            }
            Poll::Ready(())
        })
        .await;
    }

    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        let Some(receiving) = &mut self.receiving else {
            return Poll::Ready(None);
        };
        loop {
            match self.at {
                At::Data => match ready!(receiving.poll_recv_data(cx))? {
                    Some(mut data) => {
                        let data = data.copy_to_bytes(data.remaining());
                        if let Some(left) = &mut self.left {
                            let Some(rest) = left.checked_sub(data.len() as u64) else {
                                receiving.stop_sending(Code::H3_MESSAGE_ERROR);
                                return Poll::Ready(Some(Err(ContentError::TooLong)));
                            };
                            *left = rest;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    None => self.at = At::Trailers,
                },
                At::Trailers => {
                    let trailers = ready!(receiving.poll_recv_trailers(cx))?;
                    self.at = At::End;
                    if let Some(trailers) = trailers {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
                At::End => return Poll::Ready(None),
            }
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(asked) = self.asked.take() {
            // Nobody waits where the answer is there already.
            let _ = asked.send(());
        }
        if let Some(seen) = self.seen.take() {
            return Poll::Ready(Some(seen.map_err(Into::into)));
        }
        self.poll_content(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.seen.is_none() && self.at == At::End
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        // The end of it is told to the client after the answer.
        *lock(&self.rest) = self.receiving.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// None: it is malformed. `any`: it does not say.
    fn length(headers: &[(&'static str, &str)]) -> Option<String> {
        let mut request = Request::put("https://localhost/uploads/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let length = well_formed(&request.body(()).unwrap())?;
        Some(length.map_or_else(|| "any".to_owned(), |length| length.to_string()))
    }

    #[test]
    fn lengths_are_one_number() {
        assert_eq!(length(&[]).unwrap(), "any");
        assert_eq!(length(&[("content-length", "12")]).unwrap(), "12");
        for wrong in ["+1", "1, 1", "", "0x1", "99999999999999999999"] {
            assert_eq!(length(&[("content-length", wrong)]), None, "{wrong}");
        }
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(length(&twice), None);
    }

    #[test]
    fn what_belongs_to_connections_is_malformed() {
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
            assert_eq!(length(&[(name, "close")]), None, "{name}");
        }
        assert_eq!(length(&[("te", "trailers")]).unwrap(), "any");
        assert_eq!(length(&[("te", "gzip")]), None);
        let wrong = Request::get("/uploads").body(()).unwrap();
        assert_eq!(well_formed(&wrong), None);
        let plain = Request::get("http://localhost/").body(()).unwrap();
        assert_eq!(well_formed(&plain), None);
    }
}
